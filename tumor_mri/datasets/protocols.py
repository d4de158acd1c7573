"""Who trains and who validates: each protocol as arrays of manifest rows."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

SPLIT_SEED = 1337
VALIDATION_SHARE = 0.2
GROUPED_FOLDS = 5


@dataclass(frozen=True)
class Split:
    """Row numbers of the manifest: two disjoint integer arrays."""

    train: np.ndarray
    validation: np.ndarray


def testing_folder(manifest: pd.DataFrame) -> Split:
    """Split A of the report: train on ``Training``, validate on ``Testing``."""
    is_testing = (manifest["split"] == "Testing").to_numpy()
    return Split(np.flatnonzero(~is_testing), np.flatnonzero(is_testing))


def training_only(manifest: pd.DataFrame) -> Split:
    """Split B of the report: a random 80/20 split of ``Training``, by image.

    The same images, to the file, as Keras' ``image_dataset_from_directory(..., validation_split=0.2, seed=1337)``:
    files sorted by class and name, shuffled by ``RandomState(1337)``, the last fifth validates.
    """
    rows = np.flatnonzero((manifest["split"] == "Training").to_numpy())
    np.random.RandomState(SPLIT_SEED).shuffle(rows)
    validation_count = int(VALIDATION_SHARE * len(rows))
    return Split(rows[:-validation_count], rows[-validation_count:])


def grouped(manifest: pd.DataFrame, fold: int = 0) -> Split:
    """One of five folds of ``Training`` that keep each known patient, and each set of near-copies, on one side."""
    check_fold("grouped", fold)
    rows = np.flatnonzero((manifest["split"] == "Training").to_numpy())
    training = manifest.iloc[rows]
    train, validation = _folds(tuple(training["class"]), tuple(training["group"]))[fold]
    return Split(rows[train], rows[validation])


@lru_cache(maxsize=8)
def _folds(classes, groups):
    """The five folds of images with these classes and groups: runs of all folds and seeds are checked against them."""
    splitter = StratifiedGroupKFold(GROUPED_FOLDS, shuffle=True, random_state=SPLIT_SEED)
    return list(splitter.split(classes, classes, groups))


def testing_parts(manifest: pd.DataFrame) -> dict:
    """``Testing`` in three disjoint parts, by name, as arrays of rows.

    ``near-copies`` of an image in ``Training``; of the others, ``foreign gliomas``, which are no slices of the Cheng set as all
    gliomas in ``Training`` are; and ``others``.
    """
    testing = (manifest["split"] == "Testing").to_numpy()
    near = testing & manifest["near_copy"].to_numpy(dtype=bool)
    foreign = testing & ~near & (manifest["class"] == "glioma_tumor").to_numpy() & manifest["cheng_slice"].isna().to_numpy()
    parts = {"near-copies": near, "foreign gliomas": foreign, "others": testing & ~near & ~foreign}
    return {name: np.flatnonzero(part) for name, part in parts.items()}


def unseen_testing(manifest: pd.DataFrame) -> np.ndarray:
    """Rows of ``Testing`` that no network trained on ``Training`` has met: no near-copy, no known patient in common; 133 images.

    They hold no scan of class no_tumor: each of those is a near-copy of a Training image.
    """
    is_testing = manifest["split"] == "Testing"
    known = set(manifest.loc[~is_testing, "group"])  # a group holds all images of a patient, and all near-copies of an image
    return np.flatnonzero(is_testing & ~manifest["near_copy"].astype(bool) & ~manifest["group"].isin(known))


def is_unseen(paths, manifest: pd.DataFrame) -> np.ndarray:
    """Which images are of unseen Testing, bool, (paths,)."""
    return np.isin(paths, manifest["path"].iloc[unseen_testing(manifest)])


def foreign_halves(manifest: pd.DataFrame) -> tuple:
    """The foreign gliomas in two halves that keep groups whole: two arrays of rows."""
    rows = testing_parts(manifest)["foreign gliomas"]
    first, second = next(GroupKFold(2).split(rows, groups=manifest["group"].iloc[rows]))
    return rows[first], rows[second]


def foreign_added(manifest: pd.DataFrame, fold: int = 0) -> Split:
    """Split B, with one half of the foreign gliomas in the place of as many Cheng gliomas that train.

    Nothing else differs from `training_only` with the same seed: the one tells what foreign gliomas are worth, the other what as
    many Cheng gliomas are. Both are judged on the other half, ``foreign_halves(manifest)[1 - fold]``.
    """
    if fold not in (0, 1):
        raise ValueError(f"fold {fold} does not exist: foreign_added has folds 0 and 1")
    split = training_only(manifest)
    added = foreign_halves(manifest)[fold]
    gliomas = np.flatnonzero((manifest["class"].iloc[split.train] == "glioma_tumor").to_numpy())
    train = split.train.copy()
    train[np.random.RandomState(SPLIT_SEED).choice(gliomas, len(added), replace=False)] = added
    return Split(train, split.validation)


PROTOCOLS = ("testing_folder", "training_only", "grouped", "foreign_added")
FOLD_COUNTS = {"testing_folder": 1, "training_only": 1, "grouped": GROUPED_FOLDS, "foreign_added": 2}


def check_fold(protocol: str, fold: int = 0) -> None:
    """Make sure that there is such a protocol, and that it has such a fold.

    Raises:
        ValueError: naming those there are.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"unknown protocol {protocol!r}: choose one of {', '.join(PROTOCOLS)}")
    folds = FOLD_COUNTS[protocol]
    if not 0 <= fold < folds:
        raise ValueError(
            f"fold {fold} does not exist: {protocol} has {'only fold 0' if folds == 1 else f'folds 0 to {folds - 1}'}"
        )


def split(manifest: pd.DataFrame, protocol: str, fold: int = 0) -> Split:
    """The rows that train and the rows that validate under a protocol.

    Args:
        manifest: the table of `dataset.load_manifest`, in its own order.
        protocol: one of `PROTOCOLS`.
        fold: 0 to 4 for ``grouped``, 0 or 1 for ``foreign_added``; the other protocols have one fold, 0.

    Raises:
        ValueError: for an unknown protocol, or a fold that the protocol does not have.
    """
    check_fold(protocol, fold)
    if protocol == "grouped":
        return grouped(manifest, fold)
    if protocol == "foreign_added":
        return foreign_added(manifest, fold)
    return testing_folder(manifest) if protocol == "testing_folder" else training_only(manifest)
