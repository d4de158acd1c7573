"""Likely label errors: found where they were planted, and the 14 known ones of the project's dataset."""

import numpy as np
import pandas as pd
import pytest

from tumor_mri.audit import grouping, labels, near_copies, scans, this_dataset
from tumor_mri.datasets import download, manifests


@pytest.fixture(scope="module")
def drawn():
    """Thumbnails and classes of 120 noisy images: bright at the left or at the right."""
    classes = np.array(["left", "right"] * 60)
    images = np.random.default_rng(0).normal(size=(120, 8, 8))
    images[::2, :, :4] += 1
    images[1::2, :, 4:] += 1
    return np.stack([near_copies.standardise(image) for image in images]), classes


def test_planted_errors_come_first(drawn):
    thumbnails, classes = drawn
    given = classes.copy()
    given[:2] = classes[1::-1]
    shares = labels.out_of_fold(thumbnails, given, np.arange(120) // 2 % 5)
    assert np.allclose(shares.sum(axis=1), 1) and shares.shape == (120, 2)
    found = labels.likely_errors(shares, given)
    assert set(found["row"][:2]) == {0, 1}
    assert found["likely_class"][:2].tolist() == [classes[row] for row in found["row"][:2]]
    assert (found["probability"] > found["own_probability"]).all()


def test_without_folds_or_with_one_class_there_is_no_answer(drawn):
    thumbnails, classes = drawn
    assert labels.out_of_fold(thumbnails, classes, np.full(120, -1)) is None
    assert labels.out_of_fold(thumbnails, np.full(120, "one"), np.arange(120) % 5) is None


def test_an_image_whose_own_class_is_plausible_is_not_listed():
    shares = pd.DataFrame({"no": [0.6, 0.5, 0.2], "yes": [0.4, 0.5, 0.8]})
    assert labels.likely_errors(shares, ["no", "no", "yes"]).empty  # 0.5 is below the mean of no, 0.55, and of yes, 0.8


@pytest.mark.slow
@pytest.mark.needs_dataset
def test_the_known_label_errors_of_the_dataset_are_among_the_first(manifest):
    folds = grouping.folds_of(manifest["class"], manifests.load_groups(2)["group"])
    thumbnails = scans.manifest_thumbnails(download.find(), manifest)
    found = labels.likely_errors(labels.out_of_fold(thumbnails, manifest["class"], folds), manifest["class"])
    known = manifest.index.isin(this_dataset.label_conflicts(manifest).index)
    assert known[found["row"]].sum() == known.sum() == 14
    assert known[found["row"][:200]].sum() >= 12
