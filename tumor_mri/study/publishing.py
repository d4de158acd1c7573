"""Publishing a network: train it, calibrate it on the grouped folds, and write it with the digests of its files."""

import hashlib
import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from tumor_mri import text
from tumor_mri.datasets import manifests, protocols
from tumor_mri.evaluation import calibration, scoring
from tumor_mri.models import half_precision, onnx_file, published
from tumor_mri.runs import configs, records, training
from tumor_mri.study import refusals

CONFIG = configs.config_of(published.NETWORK, "testing_folder")  # all of Training, the first seed
ROOM = 0.02  # below the least cosine of a scan of Training to another group


def publish() -> Path:
    """Train the published network on all of Training, write its files and its record, and return the folder.

    Temperature and threshold come from the recorded runs of the same recipe on the grouped folds. They rest on patients that
    those networks had not trained on, and on no scan of Testing.

    Raises:
        PredictionError: if those runs are not recorded.
    """
    manifest = manifests.load_manifest()
    temperature, threshold = calibration.calibrate(grouped_runs(), manifest)
    with tempfile.TemporaryDirectory() as scratch:
        trained = Path(scratch) / "trained.keras"
        run = training.train(CONFIG, manifest=manifest, save_to=trained)
        limits = {"temperature": temperature, "abstain_below": threshold, "likeness_below": refusals.likeness_below()}
        write(published.FOLDER, trained, {**limits, "record": CONFIG.key}, manifest)
    records.save(run, records.RECORDED, overwrite=True)
    return published.FOLDER


def grouped_runs() -> list[configs.Run]:
    """The runs of the published network on the grouped folds, with the first seed.

    Raises:
        PredictionError: if not all of them are recorded.
    """
    grouped = protocols.GROUPED
    wanted = [replace(CONFIG, protocol=grouped.name, fold=fold) for fold in range(grouped.folds)]
    runs = [records.find(config, [records.RECORDED]) for config in wanted]
    if None in runs:
        raise published.PredictionError(
            "its confidence cannot be calibrated: not all grouped folds of the same recipe are recorded"
        )
    return runs


def write(folder: str | Path, trained: str | Path, about: Mapping, manifest: pd.DataFrame) -> None:
    """Write the files of the published network, for Keras and as ONNX. Kernels are rounded to float16; it computes in float32.

    Among the files are the features of all Training scans, for finding the scans most similar to a new one.

    Args:
        folder: to write to.
        trained: path of the trained network, in Keras' format.
        about: temperature, abstain_below, likeness_below and further facts about the network.
        manifest: table of the images.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    scans = published.recipe().load(manifest, CONFIG.without)
    model = training.load_trained(CONFIG, scans.shape[1:], trained)
    half_precision.round_kernels(model)
    kept = (manifest["split"] == "Training").to_numpy()
    features, _, _ = onnx_file.with_outputs(model).predict(published.as_input(scans[kept]), verbose=0)
    names = (published.MODEL, published.ONNX, published.FEATURES, published.ABOUT, published.SUMS)
    with text.whole(*(folder / name for name in names)) as temporaries:  # together: each belongs to the others
        *contents, sums = temporaries
        half_precision.write(model, contents[0])
        onnx_file.write(model, contents[1])
        np.savez_compressed(contents[2], features=features.astype(np.float16), paths=manifest["path"].to_numpy(str)[kept])
        familiar = familiar_above(features, manifests.groups_of(manifest["path"][kept], manifest))
        contents[3].write_text(json.dumps({**about, "familiar_above": familiar}, indent=2) + "\n", encoding="utf-8", newline="\n")
        digests = [hashlib.sha256(content.read_bytes()).hexdigest() for content in contents]
        lines = [f"{digest}  {name}\n" for digest, name in zip(digests, names[:-1], strict=True)]
        sums.write_text("".join(lines), encoding="utf-8", newline="\n")


def familiar_above(features: np.ndarray, groups: np.ndarray) -> float:
    """A cosine that every scan of Training reaches with a scan of another group, with some room below.

    Args:
        features: of the scans of Training, (scans, features).
        groups: of these scans, (scans,).
    """
    unit = published.unit_length(features.astype(np.float32))
    likeness = np.where(groups[:, None] == groups, -1, unit @ unit.T).max(axis=1)
    return math.floor(100 * (float(likeness.min()) - ROOM)) / 100


def answered_table(manifest: pd.DataFrame) -> pd.DataFrame:
    """`calibration.answered` of the published network: for new patients of Training, for Testing and for unseen Testing.

    One row each, named in the column images. No images choose their own temperature and threshold: for each grouped fold they
    come from the other four folds.
    """
    said, testing = published.about(), records.find(CONFIG, [records.RECORDED])
    truth, groups = scoring.truth(testing.test_paths, manifest), manifests.groups_of(testing.test_paths, manifest)
    unseen = protocols.is_unseen(testing.test_paths, manifest)
    fitted = said["temperature"], said["abstain_below"]
    sets = {
        "new patients of Training (grouped)": _each_calibrated_by_the_others(grouped_runs(), manifest),
        "Testing": (testing.test_probabilities, truth, *fitted, groups),
        "unseen Testing": (testing.test_probabilities[unseen], truth[unseen], *fitted, groups[unseen]),
    }
    return pd.DataFrame([{"images": name, **calibration.answered(*some)} for name, some in sets.items()])


def _each_calibrated_by_the_others(runs, manifest):
    """Probabilities, truth, temperature, threshold and group of each image; temperature and threshold come from other folds."""
    parts = []
    for run in runs:
        chosen = calibration.calibrate([other for other in runs if other is not run], manifest)
        ours = [np.full(len(run.val_paths), value) for value in chosen]
        groups = manifests.groups_of(run.val_paths, manifest)
        parts.append((run.val_probabilities, scoring.truth(run.val_paths, manifest), *ours, groups))
    return [np.concatenate(part) for part in zip(*parts, strict=True)]
