"""Who trains and who validates: each protocol as arrays of manifest rows."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from tumor_mri.datasets import manifests

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
    testing = manifests.is_testing(manifest)
    return Split(np.flatnonzero(~testing), np.flatnonzero(testing))


def training_only(manifest: pd.DataFrame) -> Split:
    """Split B of the report: a random 80/20 split of ``Training``, by image.

    The same images, to the file, as Keras' ``image_dataset_from_directory(..., validation_split=0.2, seed=1337)``:
    files sorted by class and name, shuffled by ``RandomState(1337)``, the last fifth validates.
    """
    rows = np.flatnonzero(~manifests.is_testing(manifest))
    np.random.RandomState(SPLIT_SEED).shuffle(rows)
    validation_count = int(VALIDATION_SHARE * len(rows))
    return Split(rows[:-validation_count], rows[-validation_count:])


def grouped(manifest: pd.DataFrame, fold: int = 0) -> Split:
    """One of five folds of ``Training`` that keep each known patient, and each set of near-copies, on one side."""
    rows = np.flatnonzero(~manifests.is_testing(manifest))
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
    testing = manifests.is_testing(manifest)
    near = testing & manifest["near_copy"].to_numpy(dtype=bool)
    foreign = testing & ~near & is_foreign_glioma(manifest)
    parts = {"near-copies": near, "foreign gliomas": foreign, "others": testing & ~near & ~foreign}
    return {name: np.flatnonzero(part) for name, part in parts.items()}


def is_foreign_glioma(manifest: pd.DataFrame) -> np.ndarray:
    """Which rows are gliomas, but no slice of the Cheng set, as every glioma of ``Training`` is; bool, (rows,)."""
    return ((manifest["class"] == "glioma_tumor") & manifest["cheng_slice"].isna()).to_numpy()


def unseen_testing(manifest: pd.DataFrame) -> np.ndarray:
    """Rows of ``Testing`` that no network trained on ``Training`` has met: no near-copy, no known patient in common; 133 images.

    They hold no scan of class no_tumor: each of those is a near-copy of a Training image.
    """
    testing = manifests.is_testing(manifest)
    known = set(manifest.loc[~testing, "group"])  # a group holds all images of a patient, and all near-copies of an image
    return np.flatnonzero(testing & ~manifest["near_copy"].astype(bool) & ~manifest["group"].isin(known))


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
    split = training_only(manifest)
    added = foreign_halves(manifest)[fold]
    gliomas = np.flatnonzero((manifest["class"].iloc[split.train] == "glioma_tumor").to_numpy())
    train = split.train.copy()
    train[np.random.RandomState(SPLIT_SEED).choice(gliomas, len(added), replace=False)] = added
    return Split(train, split.validation)


@dataclass(frozen=True)
class Protocol:
    """How training and validation images are chosen. `register` one, and every run, score and figure knows it.

    Attributes:
        name: of runs and their records: letters, digits and ``_``.
        title: for the headings of figures.
        short: for rows of figures and tables.
        colour: of its points and rows.
        folds: how many; runs are made on folds 0 to `folds` - 1.
        divide: a function of a manifest and a fold that gives a `Split`.
        interval: what the main interval is over: ``groups``, if the protocol asks about other patients; else ``seeds``.
        benchmark: whether every network of the benchmark is trained under it.
    """

    name: str
    title: str
    short: str
    colour: str
    folds: int
    divide: Callable[[pd.DataFrame, int], Split]
    interval: str = "seeds"
    benchmark: bool = False

    def __post_init__(self):
        if not re.fullmatch(r"[A-Za-z0-9_]+", self.name):
            raise ValueError(f"the name of a protocol is made of letters, digits and _, got {self.name!r}")
        if self.folds < 1 or self.interval not in ("groups", "seeds"):
            raise ValueError(f"{self.name}: folds are at least 1, and the interval is over groups or seeds")

    def split(self, manifest: pd.DataFrame, fold: int = 0) -> Split:
        """The rows that train and the rows that validate.

        Args:
            manifest: the table of `manifests.load_manifest`, in its own order.
            fold: 0 to `folds` - 1.

        Raises:
            ValueError: for a fold that the protocol does not have.
        """
        self.check(fold)
        return self.divide(manifest, fold)

    def check(self, fold: int) -> None:
        """Make sure that there is such a fold.

        Raises:
            ValueError: naming those there are.
        """
        if not 0 <= fold < self.folds:
            there = "only fold 0" if self.folds == 1 else f"folds 0 to {self.folds - 1}"
            raise ValueError(f"fold {fold} does not exist: {self.name} has {there}")


PROTOCOLS: dict[str, Protocol] = {}  # in the order of rows and panels


def register(protocol: Protocol) -> Protocol:
    """Make a protocol known by its name.

    Raises:
        ValueError: if another one has the name.
    """
    if PROTOCOLS.setdefault(protocol.name, protocol) != protocol:
        raise ValueError(f"there is another protocol called {protocol.name!r}")
    return protocol


def get(name: str) -> Protocol:
    """The protocol of a name.

    Raises:
        ValueError: naming those that are registered.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"unknown protocol {name!r}: choose one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def in_benchmark() -> list[Protocol]:
    """The protocols under which every network of the benchmark is trained."""
    return [protocol for protocol in PROTOCOLS.values() if protocol.benchmark]


TESTING_FOLDER = register(
    Protocol(
        "testing_folder",
        "Split A: Testing folder",
        "split A",
        "#D55E00",
        folds=1,
        divide=lambda manifest, fold: testing_folder(manifest),
        benchmark=True,
    )
)
TRAINING_ONLY = register(
    Protocol(
        "training_only",
        "Split B: Training only",
        "split B",
        "#56B4E9",
        folds=1,
        divide=lambda manifest, fold: training_only(manifest),
        benchmark=True,
    )
)
GROUPED = register(
    Protocol(
        "grouped",
        "Grouped by patient",
        "grouped",
        "#444444",
        folds=GROUPED_FOLDS,
        divide=grouped,
        interval="groups",
        benchmark=True,
    )
)
FOREIGN_ADDED = register(
    Protocol(
        "foreign_added",
        "Split B, foreign gliomas added",
        "split B, foreign gliomas added",
        "#0072B2",
        folds=2,
        divide=foreign_added,
    )
)
REPORT_SPLITS = (TESTING_FOLDER, TRAINING_ONLY)  # the two that the report compares


def split(manifest: pd.DataFrame, protocol: str, fold: int = 0) -> Split:
    """The rows that train and the rows that validate under the protocol of a name: `Protocol.split`.

    Raises:
        ValueError: for an unknown protocol, or a fold that it does not have.

    Example:
        >>> from tumor_mri.datasets import load_manifest
        >>> len(split(load_manifest(), "training_only").validation)
        574
    """
    return get(protocol).split(manifest, fold)
