"""The protocols: who trains, who validates, and that nothing leaks."""

import numpy as np
import pytest

from tumor_mri import dataset, protocols


def counts(manifest, rows):
    return manifest["class"].iloc[rows].value_counts().reindex(dataset.CLASSES).tolist()


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
    from tumor_mri.quiet import keras

    folder = dataset.find()
    parts = keras.utils.image_dataset_from_directory(
        folder / "Training", validation_split=0.2, subset="both", seed=1337, verbose=False
    )
    split = protocols.split(manifest, "training_only")
    for rows, part in zip((split.train, split.validation), parts):
        expected = [str(folder / path) for path in manifest["path"].iloc[rows]]
        assert sorted(expected) == sorted(part.file_paths)


def test_grouped_folds_partition_training_and_share_no_patient(manifest):
    folds = [protocols.split(manifest, "grouped", fold) for fold in range(5)]
    assert sorted(np.concatenate([fold.validation for fold in folds])) == list(range(2870))
    for fold in folds:
        for column in ("group", "patient"):
            train, validation = (set(manifest[column].iloc[rows].dropna()) for rows in (fold.train, fold.validation))
            assert not train & validation
        assert len(fold.train) + len(fold.validation) == 2870


def test_a_leaked_group_would_be_seen(manifest):
    leaked = protocols.split(manifest, "training_only")
    assert set(manifest["group"].iloc[leaked.train]) & set(manifest["group"].iloc[leaked.validation])


@pytest.mark.parametrize(("protocol", "fold"), [("random", 0), ("grouped", 5), ("grouped", -1), ("training_only", 1)])
def test_unknown_protocols_and_folds_are_named(manifest, protocol, fold):
    with pytest.raises(ValueError, match=r"choose one of|does not exist"):
        protocols.split(manifest, protocol, fold)
