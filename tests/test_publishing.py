"""The network that is published, against its record."""

import time

import numpy as np
import pytest
import sklearn.datasets
from PIL import Image

from tumor_mri import stats
from tumor_mri.datasets import download, manifests, phantoms
from tumor_mri.evaluation import calibration
from tumor_mri.models import fingerprint, onnx_file, published
from tumor_mri.runs import records, training
from tumor_mri.study import publishing, refusals


def test_the_published_files_are_whole_and_come_from_the_records(manifest):
    said = published.about()  # held against their digests
    assert said["record"] == publishing.CONFIG.key
    temperature, threshold = calibration.calibrate(publishing.grouped_runs(), manifest)
    assert (said["temperature"], said["abstain_below"]) == pytest.approx((temperature, threshold))
    assert said["likeness_below"] == refusals.likeness_below()


def test_the_published_files_are_the_networks_and_all_of_training():
    network = published.load()
    built = training.build_network(publishing.CONFIG, published.size())
    assert len(network.paths) == 2870 and fingerprint.describe(published.load_keras()) == fingerprint.describe(built)


@pytest.mark.needs_dataset
def test_the_published_network_says_what_its_record_says(manifest):
    """In float32 and from the files, where the record was made in bfloat16; and a hundred scans take seconds."""
    run = records.find(publishing.CONFIG, [records.RECORDED])
    network, folder = published.load(), download.locate()
    some = np.linspace(0, len(run.test_paths) - 1, 100).astype(int)
    started = time.process_time()
    found = published.predict([folder / run.test_paths[number] for number in some], network)
    assert time.process_time() - started < 30  # seconds of processor, of all threads together
    odds = found[list(manifests.BRAIN_TUMOUR_MRI.labels)].to_numpy(dtype=float)
    recorded = stats.soften(run.test_probabilities[some], network.temperature)
    assert (odds.argmax(axis=1) == recorded.argmax(axis=1)).mean() >= 0.97
    assert np.abs(odds - recorded).mean() < 0.02


@pytest.mark.needs_dataset
def test_a_scan_that_was_seen_in_training_is_told_from_others(manifest):
    """`SEEN`: of Testing, images with a copy in Training exceed it, unseen ones do not, nor do Training scans of other groups."""
    network, testing = published.load(), manifests.is_testing(manifest)
    scans = published.recipe().load(manifest, "")[..., None]
    features = published.unit_length(onnx_file.answer(network.session, scans)[0])
    groups = manifests.load_groups(2)["group"].to_numpy()
    likeness = features @ network.features.T
    seen = np.isin(groups[testing], groups[~testing])
    closest = likeness[testing].max(axis=1)
    assert (closest[seen] > published.SEEN).mean() > 0.93
    assert (closest[~seen] > published.SEEN).mean() == 0
    others = np.where(groups[~testing][:, None] == groups[~testing], -1, likeness[~testing]).max(axis=1)
    assert (others > published.SEEN).mean() < 0.01


@pytest.mark.needs_dataset
def test_pictures_without_a_head_get_no_class_and_every_scan_gets_one(manifest, tmp_path):
    """Blank, noise and drawn shapes are refused. Grey photographs are not all: their features come closer to those of scans."""
    network = published.load()
    for name, pixels in phantoms.no_heads().items():
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    found = published.predict(published.files_in(tmp_path), network)
    assert found["problem"].str.contains("shows no head like those that the network knows").all() and found["answer"].isna().all()
    scans = published.recipe().load(manifest, "")[..., None]
    features = published.unit_length(onnx_file.answer(network.session, scans)[0])
    assert (features @ network.features.T).max(axis=1).min() > network.familiar_above


def test_the_least_cosine_is_that_of_the_published_features(manifest):
    network = published.load()
    groups = manifests.groups_of(network.paths, manifest)
    assert published.about()["familiar_above"] == pytest.approx(publishing.familiar_above(network.features, groups), abs=0.01)


def test_photographs_in_colour_are_no_heads(tmp_path):
    for name in ("china.jpg", "flower.jpg"):
        Image.fromarray(sklearn.datasets.load_sample_image(name)).save(tmp_path / name)
    found = published.predict(sorted(tmp_path.iterdir()), published.load(), False)
    assert found["problem"].str.contains("it is in colour: red, green and blue differ by").all() and found["answer"].isna().all()


def test_a_scan_stored_in_colours_that_are_all_grey_is_answered(tmp_path):
    """As all files of the dataset are; and a marking in colour, as some programs draw it, does no harm."""
    scan = np.repeat(phantoms.draw("glioma_tumor")[..., None], 3, axis=2)
    Image.fromarray(scan).save(tmp_path / "1.png")
    scan[:6, :30] = (255, 0, 0)
    Image.fromarray(scan).save(tmp_path / "2.png")
    found = published.predict(sorted(tmp_path.iterdir()), published.load(), False)
    assert not found["problem"].str.contains("colour").any()
