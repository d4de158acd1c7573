"""What networks make of good and corrupted scans: untrained ones of phantoms, and what is recorded of the real ones."""

import numpy as np
import pytest
from PIL import Image

from tumor_mri.datasets import decoding, manifests, phantoms
from tumor_mri.evaluation import corruptions, scoring
from tumor_mri.models import published
from tumor_mri.runs import records, training
from tumor_mri.study import inspection


@pytest.fixture(scope="module")
def few(manifest):
    return manifest.groupby("class").head(2)


@pytest.fixture(scope="module")
def scans(few, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    for seed, (path, name) in enumerate(zip(few["path"], few["class"], strict=True)):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(phantoms.draw(name, seed)).save(folder / path, quality=95)
    return folder


@pytest.fixture(scope="module", params=inspection.CONFIGS, ids=lambda config: config.network)
def looked(request, few, scans, tmp_path_factory):
    from tumor_mri._keras import keras

    keras.utils.set_random_seed(1)
    config, path = request.param, tmp_path_factory.mktemp("trained") / "network.keras"
    training.build_network(config, inspection.view(config, phantoms.draw("glioma_tumor")).shape).save(path)
    return config, inspection.look(config, path, few["path"], scans, progress=False)


def test_what_is_recorded_of_the_real_networks_agrees_with_their_runs():
    """A few answers differ: the scans are read with another JPEG decoder than in training."""
    for config, found in zip(inspection.CONFIGS, inspection.read(), strict=True):
        run = records.find(config, [records.RECORDED])
        assert list(found.paths) == run.val_paths
        assert found.probabilities.shape == (len(inspection.CONDITIONS), len(found.paths), 4)
        agreement = (found.probabilities[0].argmax(axis=1) == run.val_probabilities.argmax(axis=1)).mean()
        assert agreement > 0.98


def test_each_scan_is_shown_in_each_condition(looked, few):
    _, found = looked
    assert list(found.paths) == list(few["path"])
    assert len(inspection.CONDITIONS) == 1 + 3 * len(corruptions.CORRUPTIONS)
    assert found.probabilities.shape == (len(inspection.CONDITIONS), len(few), 4)
    assert np.allclose(found.probabilities.sum(axis=2), 1, atol=1e-5)
    assert found.heat.shape == (len(few), inspection.SIDE, inspection.SIDE) and 0 <= found.heat.min() <= found.heat.max() <= 1
    corrupted = np.abs(found.probabilities[1:] - found.probabilities[0]).max(axis=(1, 2))
    assert (corrupted > 0).all()  # each condition changes something


def test_what_is_written_is_read_again(looked, tmp_path):
    config, found = looked
    inspection.write(tmp_path, config, found)
    again = inspection._read(tmp_path / f"{config.network}.npz")
    assert again.network == found.network and list(again.paths) == list(found.paths)
    for name, tolerance in {"probabilities": 1e-3, "heat": 1 / 255, "dark": 1e-6, "dark_area": 1e-6}.items():
        assert np.allclose(getattr(again, name), getattr(found, name), atol=tolerance, equal_nan=True)


def test_the_table_counts_what_was_answered(looked, few):
    _, found = looked
    truth, none = scoring.truth(found.paths, few), manifests.BRAIN_TUMOUR_MRI.classes.index("no_tumor")
    answers = np.tile(np.eye(4)[truth], (len(inspection.CONDITIONS), 1, 1))
    answers[3] = np.eye(4)[none]  # the third condition makes every scan look healthy
    told = inspection.Inspection(found.network, found.paths, answers, found.heat, found.dark, found.dark_area)
    table = inspection.robustness_table([told], few)
    assert list(zip(table["kind"], table["strength"], strict=True)) == list(inspection.CONDITIONS)
    assert table["accuracy"].tolist() == [1, 1, 1, 0.25] + [1] * (len(table) - 4)
    assert table["missed"].tolist() == [0, 0, 0, 1] + [0] * (len(table) - 4)
    assert table.loc[3, "points"] == pytest.approx(-75) and table.loc[3, "points_low"] < -75 < table.loc[3, "points_high"]


def test_the_report_sees_a_scan_as_keras_loads_it(tmp_path):
    from tumor_mri._keras import keras

    scan = np.random.default_rng(0).integers(0, 256, (180, 230), dtype=np.uint8)
    for name in "ab":
        (tmp_path / name).mkdir()
        Image.fromarray(scan).save(tmp_path / name / "scan.png")
    batches = keras.utils.image_dataset_from_directory(tmp_path, image_size=decoding.IMAGE_SIZE, verbose=False)
    loaded = next(iter(batches))[0].numpy()[0, ..., 0]
    assert np.abs(inspection.view(inspection.REPORT, scan) - loaded).max() <= 0.5
    assert inspection.view(inspection.OURS, scan).shape == published.size()
