"""The protocols: who trains, who validates, and that nothing leaks."""

import numpy as np
import pandas as pd
import pytest

from tumor_mri.audit import copy_calibration, near_copies, scans
from tumor_mri.datasets import download, manifests, protocols


def counts(manifest, rows):
    return manifest["class"].iloc[rows].value_counts().reindex(manifests.BRAIN_TUMOUR_MRI.classes).tolist()


def test_split_a_is_the_two_folders(manifest):
    split = protocols.split(manifest, "testing_folder")
    assert (len(split.train), len(split.validation)) == (2870, 394)
    assert set(manifest["split"].iloc[split.validation]) == {"Testing"}


def test_split_b_has_the_reports_counts(manifest):
    split = protocols.split(manifest, "training_only")
    assert (len(split.train), len(split.validation)) == (2296, 574)
    assert counts(manifest, split.validation) == [158, 162, 83, 171]


@pytest.mark.needs_dataset
def test_split_b_is_keras_split_to_the_image(manifest):
    from tumor_mri._keras import keras

    folder = download.find()
    parts = keras.utils.image_dataset_from_directory(
        folder / "Training", validation_split=0.2, subset="both", seed=1337, verbose=False
    )
    split = protocols.split(manifest, "training_only")
    for rows, part in zip((split.train, split.validation), parts, strict=True):
        expected = [str(folder / path) for path in manifest["path"].iloc[rows]]
        assert sorted(expected) == sorted(part.file_paths)


def copied_pairs(manifest):
    """Rows of both images of each committed pair of near-copies, of whole images and aligned ones, (pairs, 2)."""
    near = manifest[manifest["nearest_training_corr"] > near_copies.NEAR_COPY]
    row_of = pd.Series(range(len(manifest)), index=manifest["path"])
    whole = np.column_stack([near.index, row_of[near["nearest_training"]]])
    return np.concatenate(
        [whole, row_of[pd.read_csv(copy_calibration.UNLINKED)[["first", "second"]].stack()].to_numpy().reshape(-1, 2)]
    )


def leaks(manifest, train, validation, pairs):
    """What stands on both sides of a split: images, files, groups, known patients, pairs of near-copies; how many of each."""
    sides = [manifest.iloc[rows] for rows in (train, validation)]
    shared = {
        name: set(sides[0][name].dropna()) & set(sides[1][name].dropna()) for name in ("path", "sha256", "group", "patient")
    }
    across = np.isin(pairs, train).any(axis=1) & np.isin(pairs, validation).any(axis=1)
    return {name: len(found) for name, found in shared.items()} | {"near-copies": int(across.sum())}


NOTHING = {"path": 0, "sha256": 0, "group": 0, "patient": 0, "near-copies": 0}


@pytest.mark.parametrize("fold", range(5))
def test_nothing_is_on_both_sides_of_a_grouped_fold(manifest, fold):
    split = protocols.split(manifest, "grouped", fold)
    assert leaks(manifest, split.train, split.validation, copied_pairs(manifest)) == NOTHING


@pytest.mark.needs_dataset
def test_no_pair_of_near_copies_is_on_both_sides_of_a_grouped_fold(manifest):
    """Of all pairs in the images, not only each image's nearest, found as the groups' were."""
    thumbnails = scans.manifest_thumbnails(download.find(), manifest)
    pairs = near_copies.near_copy_pairs(
        thumbnails, threshold=near_copies.NEAR_COPY + 0.001
    )  # JPEG decoders may differ by a grey level
    pairs = pairs[["first", "second"]].to_numpy()
    for fold in range(5):
        split = protocols.split(manifest, "grouped", fold)
        assert leaks(manifest, split.train, split.validation, pairs) == NOTHING
    split = protocols.split(manifest, "training_only")
    assert leaks(manifest, split.train, split.validation, pairs)["near-copies"] > 0


def test_nothing_of_training_is_in_unseen_testing(manifest):
    training = np.flatnonzero(manifest["split"] == "Training")
    assert leaks(manifest, training, protocols.unseen_testing(manifest), copied_pairs(manifest)) == NOTHING
    testing = np.flatnonzero(manifest["split"] == "Testing")
    assert min(value for name, value in leaks(manifest, training, testing, copied_pairs(manifest)).items() if name != "path") > 0


@pytest.mark.parametrize("fold", [0, 1])
def test_nothing_of_training_is_in_the_half_of_foreign_gliomas_that_scores(manifest, fold):
    train = protocols.split(manifest, "foreign_added", fold).train
    assert leaks(manifest, train, protocols.foreign_halves(manifest)[1 - fold], copied_pairs(manifest)) == NOTHING


@pytest.mark.parametrize(("protocol", "fold"), [(name, 0) for name in protocols.PROTOCOLS])
def test_no_image_trains_and_validates(manifest, protocol, fold):
    split = protocols.split(manifest, protocol, fold)
    assert not set(split.train) & set(split.validation)
    assert len(set(split.train)) == len(split.train) and len(set(split.validation)) == len(split.validation)


@pytest.mark.parametrize("name", ["path", "sha256", "group", "patient", "near-copies"])
def test_one_leaked_image_is_seen(manifest, name):
    """Each kind of leak in turn: an image validates whose like stays among those that train."""
    split, pairs = protocols.split(manifest, "grouped", 0), copied_pairs(manifest)
    trains = manifest.iloc[split.train]
    if name == "near-copies":
        leaked = pairs[np.isin(pairs, split.train).all(axis=1)][0, 0]
    elif name == "path":
        leaked = split.train[0]
    else:
        leaked = trains.index[trains[name].notna() & trains.duplicated(name)][0]
    train = split.train if name == "path" else split.train[split.train != leaked]
    assert leaks(manifest, train, np.append(split.validation, leaked), pairs)[name] > 0


def test_grouped_folds_partition_training(manifest):
    folds = [protocols.split(manifest, "grouped", fold) for fold in range(5)]
    assert sorted(np.concatenate([fold.validation for fold in folds])) == list(range(2870))
    assert all(len(fold.train) + len(fold.validation) == 2870 for fold in folds)


@pytest.mark.parametrize(("protocol", "fold"), [("random", 0), ("grouped", 5), ("grouped", -1), ("training_only", 1)])
def test_unknown_protocols_and_folds_are_named(manifest, protocol, fold):
    with pytest.raises(ValueError, match=r"choose one of|does not exist"):
        protocols.split(manifest, protocol, fold)


def test_the_parts_of_testing_are_disjoint_and_whole(manifest):
    parts = protocols.testing_parts(manifest)
    assert {name: len(rows) for name, rows in parts.items()} == {"near-copies": 273, "foreign gliomas": 77, "others": 44}
    rows = np.concatenate(list(parts.values()))
    assert sorted(rows) == protocols.testing_folder(manifest).validation.tolist()


def test_unseen_testing_shares_nothing_with_training(manifest):
    unseen = manifest.iloc[protocols.unseen_testing(manifest)]
    training = manifest[manifest["split"] == "Training"]
    assert unseen["class"].value_counts().reindex(manifests.BRAIN_TUMOUR_MRI.classes, fill_value=0).tolist() == [77, 2, 0, 39]
    assert not set(unseen["patient"].dropna()) & set(training["patient"].dropna())
    assert (unseen["nearest_training_corr"] <= 0.99).all()


def test_foreign_halves_share_no_group(manifest):
    first, second = protocols.foreign_halves(manifest)
    foreign, unseen = protocols.testing_parts(manifest)["foreign gliomas"], protocols.unseen_testing(manifest)
    assert sorted([*first, *second]) == sorted(set(foreign) & set(unseen))
    assert not set(manifest["group"].iloc[first]) & set(manifest["group"].iloc[second])
    assert abs(len(first) - len(second)) <= 1


@pytest.mark.parametrize("fold", [0, 1])
def test_foreign_gliomas_take_the_place_of_as_many_cheng_gliomas(manifest, fold):
    control, swapped = protocols.training_only(manifest), protocols.split(manifest, "foreign_added", fold)
    changed = swapped.train != control.train
    held_out = protocols.foreign_halves(manifest)[1 - fold]
    assert sorted(swapped.train[changed]) == sorted(protocols.foreign_halves(manifest)[fold])
    assert manifest["cheng_slice"].iloc[control.train[changed]].notna().all()
    assert set(manifest["class"].iloc[control.train[changed]]) == {"glioma_tumor"}
    assert np.array_equal(swapped.validation, control.validation)
    assert len(set(swapped.train)) == len(control.train)
    assert not set(manifest["group"].iloc[swapped.train]) & set(manifest["group"].iloc[held_out])


def test_folds_by_image_are_those_of_the_groups_but_for_who_is_in_them(manifest):
    labels, seen = manifests.class_indices(manifest), []
    for fold in range(5):
        control, wanted = protocols.by_image(manifest, fold), protocols.grouped(manifest, fold)
        for part in ("train", "validation"):
            assert np.array_equal(np.bincount(labels[getattr(control, part)]), np.bincount(labels[getattr(wanted, part)]))
        assert not set(control.train) & set(control.validation)
        seen.append(control.validation)
        groups = manifest["group"].to_numpy()
        assert len(set(groups[control.train]) & set(groups[control.validation])) > 50  # patients on both sides
    assert np.array_equal(np.sort(np.concatenate(seen)), np.flatnonzero(~manifests.is_testing(manifest)))
