"""The audit of the real images, whose figures it derives again."""

import numpy as np
import pandas as pd
import pytest

from tumor_mri.audit import near_copies, scans, this_dataset
from tumor_mri.datasets import download, manifests
from tumor_mri.figures import about_dataset


def test_near_copies_of_testing_come_with_their_pair(manifest):
    pairs = this_dataset.testing_near_copies(manifest)
    assert len(pairs) == 258
    assert set(pairs["first_split"]) == {"Testing"}
    assert set(pairs["second_split"]) == {"Training"}
    assert (pairs["correlation"] > 0.99).all()


@pytest.mark.needs_dataset
def test_the_nearest_neighbour_scores(manifest):
    table = this_dataset.neighbour_scores(manifest, scans.manifest_thumbnails(download.find(), manifest))
    assert (100 * table["accuracy"]).round(1).tolist() == [76.6, 90.6, 67.4, 93.4, 69.1]
    assert table["images"].tolist() == [394, 574, 574, 453, 453]


def test_label_conflicts_are_those_of_the_cheng_labels(manifest):
    assert len(this_dataset.label_conflicts(manifest)) == 14
    changed = manifest.copy()
    changed.loc[0, "cheng_label"] = "pituitary"
    assert 0 in this_dataset.label_conflicts(changed).index


def test_published_galleries_show_only_what_may_be(manifest, capsys):

    foreign, slices = "Testing/glioma_tumor/image(48).jpg", manifest["path"][[0, 1]].tolist()
    pairs = pd.DataFrame({"first": [foreign, slices[0]], "second": [slices[1], slices[1]], "correlation": [0.995, 0.996]})
    for side in ("first", "second"):
        pairs[[f"{side}_split", f"{side}_class"]] = pairs[side].str.split("/", expand=True)[[0, 1]].to_numpy()
    about_dataset.near_copy_pairs(pairs, manifest=manifest)
    assert "2 pairs of near-copies, 0 of them across classes. Drawn: 1 of the 1 that may be shown;" in capsys.readouterr().out
    about_dataset.near_copy_pairs(pairs.assign(whole=0.5))
    assert "Drawn: 1; whole thumbnails correlate 0.500 to 0.500, aligned scans 0.995 to 0.995" in capsys.readouterr().out
    with pytest.raises(ValueError, match="no near-copies to show"):
        about_dataset.near_copy_pairs(pairs[:1], manifest=manifest)


@pytest.fixture(scope="module")
def real():
    manifest = manifests.load_manifest()
    return this_dataset.audit_dataset(download.find(), manifest)


@pytest.fixture(scope="module")
def shrunk():
    return scans.manifest_thumbnails(download.find(), manifests.load_manifest())


# fact, figure, share in per cent (None: a count without a whole), as measured from the images
FACTS = [
    ("sets of byte-identical files", 166, None),
    ("surplus files in them", 237, 7.3),
    ("files in the largest set", 9, None),
    ("sets across classes", 0, 0.0),
    ("Training: surplus files inside it", 93, 3.2),
    ("Testing: files byte-identical to one of Training", 88, 22.3),
    ("images in colour", 0, 0.0),
    ("Testing, with a near-copy of the whole image in Training", 258, 65.5),
    ("Testing, foreign gliomas among the others", 81, 20.6),
    ("Testing, neither", 55, 14.0),
    ("Testing, without such a near-copy, but of a patient in Training", 3, 0.8),
    ("Testing, without such a near-copy or a patient in Training", 133, 33.8),
    ("Testing, unseen: sharing no group with Training", 118, 29.9),
    ("Testing: nearest image in Training has the right class", 302, 76.6),
    ("  of glioma_tumor", 24, 24.0),
    ("  with a near-copy in Training", 257, 99.6),
    ("  without", 45, 33.1),
    ("  nearest image that trains has the right class", 520, 90.6),
    ("Training, Cheng slices: nearest of them has the right class", 2237, 96.5),
    ("  the same, neighbours of the same patient banned", 1560, 67.3),
    ("  byte-identical to one that trains", 35, 6.1),
    ("  in a group with one that trains", 504, 87.8),
    ("  of known patients, the patient trains too", 448, 98.9),
    ("Training: known patients", 202, None),
    ("Testing: known patients", 11, None),
    ("patients of Testing who are in Training too", 11, 100.0),
    ("images of no known patient", 919, 28.2),
    ("Training/glioma_tumor: slices of the Cheng set", 826, 100.0),
    ("Training/meningioma_tumor: slices of the Cheng set", 679, 82.6),
    ("Training/no_tumor: slices of the Cheng set", 0, 0.0),
    ("Training/pituitary_tumor: slices of the Cheng set", 812, 98.2),
    ("Testing/glioma_tumor: slices of the Cheng set", 18, 18.0),
    ("files whose class is another in the Cheng set", 14, None),
    ("slices that they are of", 6, None),
    ("patients that they are of", 2, None),
    # both stages: with the 3 of a patient in Training, the others are the 118 of unseen Testing by the groups of version 2
    ("Testing: images with a near-copy in Training", 273, 69.3),
    ("near-copy pairs that the manifest's groups separate", 0, 0.0),
]


@pytest.mark.needs_dataset
@pytest.mark.parametrize("fact, figure, share", FACTS, ids=[row[0].strip() for row in FACTS])
def test_figures_of_the_dataset(real, fact, figure, share):
    rows = real.facts[real.facts["fact"] == fact]
    # a neighbour's class may turn on the last bit of a product, and that on the processor: two images either way
    slack = 2 if "nearest" in fact or fact in ("  of glioma_tumor", "  the same, neighbours of the same patient banned") else 0
    agrees = abs(rows["figure"] - figure) <= slack
    if share is not None:
        agrees &= abs(100 * rows["share"] - share) <= 0.06 + 100 * slack / 394
    assert agrees.any()


@pytest.mark.needs_dataset
def test_parts_of_testing_by_class(manifest, shrunk):
    testing = (manifest["split"] == "Testing").to_numpy()
    _, correlation = near_copies.nearest(shrunk, np.flatnonzero(testing), np.flatnonzero(~testing))
    near = manifest[testing][correlation > near_copies.NEAR_COPY]
    assert near["class"].value_counts().to_dict() == {
        "meningioma_tumor": 109,
        "no_tumor": 105,
        "pituitary_tumor": 25,
        "glioma_tumor": 19,
    }
    assert set(near.loc[near["sha256"].isin(manifest.loc[~testing, "sha256"]), "class"]) == {"no_tumor"}


@pytest.mark.needs_dataset
def test_sizes_tell_the_source(manifest, real):
    training = manifest[manifest["split"] == "Training"]
    sizes = training.groupby("class")[["width", "height"]].agg(lambda side: side.nunique())
    assert sizes.loc["glioma_tumor"].tolist() == [1, 1]
    figure = real.facts["figure"].to_numpy()
    at = real.facts.index[real.facts["fact"] == "Training/no_tumor: images"][0]
    assert (real.facts["fact"][at + 1], figure[at + 1]) == ("  different sizes", 231)


@pytest.mark.needs_dataset
def test_the_manifests_near_copies_are_those_of_the_images(manifest, shrunk):
    training = np.flatnonzero(manifest["split"] == "Training")
    neighbour, correlation = near_copies.nearest(shrunk, reference=training)
    # the manifest rounds to four digits (0.00005), and JPEG decoders may differ by a grey level (some 0.001 of 32 x 32)
    assert np.abs(correlation - manifest["nearest_training_corr"]).max() < 0.001
    close = np.abs(manifest["nearest_training_corr"] - near_copies.NEAR_COPY) < 0.001
    whole, either = correlation > near_copies.NEAR_COPY, manifest["near_copy"].to_numpy(dtype=bool)
    assert (whole <= either)[~close].all()
    aligned = pd.read_csv(manifests.DATA / "aligned_copies.csv")  # the other stage of the search
    found = manifest["path"].isin([*aligned["first"], *aligned["second"]])
    asked = manifest["sha256"][either & ~whole & ~close]
    assert asked.isin(manifest["sha256"][found]).all()  # by content: of identical files, one pair is listed
    # byte-identical images are equally near, so that the neighbour is compared by what it correlates, not by name
    place = {path: row for row, path in enumerate(manifest["path"])}
    named = manifest["nearest_training"].map(place).to_numpy()
    assert np.abs((shrunk * shrunk[named]).sum(axis=1) - correlation).max() < 0.001
    assert (manifest["path"].to_numpy()[neighbour] == manifest["nearest_training"]).mean() > 0.9


@pytest.mark.needs_dataset
def test_the_manifests_groups_hold_its_near_copies(manifest, shrunk):
    pairs = near_copies.near_copy_pairs(shrunk, threshold=near_copies.NEAR_COPY + 0.001)  # decoders differ: see above
    groups = manifest["group"].to_numpy()
    assert (groups[pairs["first"]] == groups[pairs["second"]]).all()


@pytest.mark.needs_dataset
def test_two_label_conflicts_show_in_the_images(real):
    conflicts = real.near_copies[real.near_copies["first_class"] != real.near_copies["second_class"]]
    pairs = set(zip(conflicts["first"], conflicts["second"], strict=True))
    assert ("Training/meningioma_tumor/m1(192).jpg", "Testing/glioma_tumor/image(48).jpg") in pairs
    assert ("Training/meningioma_tumor/m1(123).jpg", "Testing/glioma_tumor/image(2).jpg") in pairs
    assert len(conflicts) == 10
    assert (real.near_copies["first_class"][:10] != real.near_copies["second_class"][:10]).all()
