"""Protocols: which images are used for training and which for validation, as arrays of manifest rows."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, train_test_split

from tumor_mri import registry
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

    The images are exactly those of Keras' ``image_dataset_from_directory(..., validation_split=0.2, seed=1337)``: files are
    sorted by class and name and shuffled with ``RandomState(1337)``. The last fifth is held out for validation.
    """
    rows = np.flatnonzero(~manifests.is_testing(manifest))
    np.random.RandomState(SPLIT_SEED).shuffle(rows)
    validation_count = int(VALIDATION_SHARE * len(rows))
    return Split(rows[:-validation_count], rows[-validation_count:])


def grouped(manifest: pd.DataFrame, fold: int = 0) -> Split:
    """One of five folds of ``Training``. All images of a known patient, and all near-duplicates of an image, are on one side."""
    rows = np.flatnonzero(~manifests.is_testing(manifest))
    training = manifest.iloc[rows]
    train, validation = _folds(tuple(training["class"]), tuple(training["group"]))[fold]
    return Split(rows[train], rows[validation])


def grouped_1(manifest: pd.DataFrame, fold: int = 0) -> Split:
    """One of five folds of ``Training`` as in `grouped`, with the groups of version 1, which miss copies that were cropped,
    rescaled or mirrored: some of these have one side each."""
    groups = manifests.load_groups(1).set_index("path")["group"]
    return grouped(manifest.assign(group=groups.loc[list(manifest["path"])].to_numpy()), fold)


def by_image(manifest: pd.DataFrame, fold: int = 0) -> Split:
    """A control of `grouped`: folds with as many images of each class, divided at random by image instead of by group."""
    labels = manifests.class_indices(manifest)
    chosen = []
    for label in np.unique(labels):
        rows = np.flatnonzero(~manifests.is_testing(manifest) & (labels == label))
        sizes = [(labels[grouped(manifest, number).validation] == label).sum() for number in range(GROUPED_FOLDS)]
        mixed = np.random.default_rng([SPLIT_SEED, label]).permutation(rows)
        chosen.append(np.split(mixed, np.cumsum(sizes)[:-1])[fold])
    validation = np.sort(np.concatenate(chosen))
    return Split(np.setdiff1d(np.flatnonzero(~manifests.is_testing(manifest)), validation), validation)


def held_out_source(manifest: pd.DataFrame) -> Split:
    """Validate on the tumours of ``Training`` that are not Cheng slices; train on the rest of ``Training``.

    It asks about a new source: a class that is known from one source only is seen from another. It stands in for the foreign
    gliomas of ``Testing``, whose origin is not documented. The training images contain all of ``no_tumor``, none of which is a
    Cheng slice.
    """
    training = ~manifests.is_testing(manifest)
    tumour = (manifest["class"] != manifests.dataset_of(manifest).negative).to_numpy()
    held = training & tumour & manifest["cheng_slice"].isna().to_numpy()
    return Split(np.flatnonzero(training & ~held), np.flatnonzero(held))


def merged(manifest: pd.DataFrame, share: float) -> Split:
    """Both folders merged and divided at random by image, as most public notebooks on this dataset do.

    Args:
        manifest: the table of all images.
        share: of the images, for validation.
    """
    train, validation = train_test_split(np.arange(len(manifest)), test_size=share, random_state=SPLIT_SEED)
    return Split(train, validation)


@lru_cache(maxsize=8)
def _folds(classes, groups):
    """The five folds of images with these classes and groups; cached, because every recorded run is checked against them."""
    splitter = StratifiedGroupKFold(GROUPED_FOLDS, shuffle=True, random_state=SPLIT_SEED)
    return list(splitter.split(classes, classes, groups))


def testing_parts(manifest: pd.DataFrame) -> dict[str, np.ndarray]:
    """``Testing`` in three disjoint parts: a dict from the name of the part to its rows.

    ``near-copies`` are near-duplicates of an image in ``Training``, whole or aligned. ``foreign gliomas`` are gliomas that are
    not slices of the Cheng set, whereas all gliomas in ``Training`` are. ``others`` are the remaining images.

    Example:
        >>> {name: len(rows) for name, rows in testing_parts(manifests.load_manifest()).items()}
        {'near-copies': 273, 'foreign gliomas': 77, 'others': 44}
    """
    testing = manifests.is_testing(manifest)
    near = testing & manifest["near_copy"].to_numpy(dtype=bool)
    foreign = testing & ~near & is_foreign_glioma(manifest)
    parts = {"near-copies": near, "foreign gliomas": foreign, "others": testing & ~near & ~foreign}
    return {name: np.flatnonzero(part) for name, part in parts.items()}


def is_foreign_glioma(manifest: pd.DataFrame) -> np.ndarray:
    """Which rows are gliomas that are not slices of the Cheng set, unlike every glioma of ``Training``; bool, (rows,)."""
    return ((manifest["class"] == "glioma_tumor") & manifest["cheng_slice"].isna()).to_numpy()


def unseen_testing(manifest: pd.DataFrame) -> np.ndarray:
    """The rows of ``Testing`` that share no group with ``Training``: 118 images.

    None of them is of class no_tumor: each image of that class is a near-duplicate of a ``Training`` image.

    Example:
        >>> len(unseen_testing(manifests.load_manifest()))
        118
    """
    testing = manifests.is_testing(manifest)
    # a group contains all images of a patient and all near-duplicates of an image
    return np.flatnonzero(testing & ~manifest["group"].isin(manifest.loc[~testing, "group"]))


def is_unseen(paths: Iterable[str], manifest: pd.DataFrame) -> np.ndarray:
    """Which images belong to unseen Testing, bool, (paths,)."""
    return np.isin(paths, manifest["path"].iloc[unseen_testing(manifest)])


def foreign_halves(manifest: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The foreign gliomas of unseen Testing in two halves, as arrays of rows; no group is divided."""
    rows = np.intersect1d(testing_parts(manifest)["foreign gliomas"], unseen_testing(manifest))
    first, second = next(GroupKFold(2).split(rows, groups=manifest["group"].iloc[rows]))
    return rows[first], rows[second]


def foreign_added(manifest: pd.DataFrame, fold: int = 0) -> Split:
    """Split B, with one half of the foreign gliomas in place of the same number of Cheng gliomas in the training images.

    Nothing else differs from `training_only` with the same seed. A comparison of the two shows the effect of training on foreign
    gliomas in place of Cheng gliomas. Both are scored on the other half, ``foreign_halves(manifest)[1 - fold]``.
    """
    split = training_only(manifest)
    added = foreign_halves(manifest)[fold]
    gliomas = np.flatnonzero((manifest["class"].iloc[split.train] == "glioma_tumor").to_numpy())
    train = split.train.copy()
    train[np.random.RandomState(SPLIT_SEED).choice(gliomas, len(added), replace=False)] = added
    return Split(train, split.validation)


@dataclass(frozen=True)
class Protocol:
    """How training and validation images are chosen. After `register`, every run, score and figure can use it.

    Attributes:
        name: used in the names of runs and records: letters, digits and ``_``.
        title: its name in headings of figures.
        short: its name in rows of figures and tables.
        colour: colour of its points and rows in figures.
        folds: number of folds; runs use folds 0 to `folds` - 1.
        divide: a function of a manifest and a fold that returns a `Split`.
        interval: what the main confidence interval is over: ``groups`` if the protocol asks about other patients, else ``seeds``.
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
        """The training rows and the validation rows.

        Args:
            manifest: the table of `manifests.load_manifest`, in its original order.
            fold: 0 to `folds` - 1.

        Raises:
            ValueError: if the protocol has no such fold.
        """
        self.check(fold)
        return self.divide(manifest, fold)

    def check(self, fold: int) -> None:
        """Make sure that a fold exists.

        Raises:
            ValueError: if it does not; the message lists the existing folds.
        """
        if not 0 <= fold < self.folds:
            there = "only fold 0" if self.folds == 1 else f"folds 0 to {self.folds - 1}"
            raise ValueError(f"fold {fold} does not exist: {self.name} has {there}")


PROTOCOLS: dict[str, Protocol] = {}  # figures show protocols in this order


def register(protocol: Protocol) -> Protocol:
    """Add a protocol to the registry, and return it.

    Raises:
        ValueError: if a different protocol has the same name.
    """
    return registry.add(PROTOCOLS, "protocol", protocol)


def get(name: str) -> Protocol:
    """The registered protocol with this name.

    Raises:
        ValueError: if there is none; the message lists the registered protocols.

    Example:
        >>> get("grouped").folds
        5
    """
    return registry.named(PROTOCOLS, "protocol", name)


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
GROUPED_1 = register(
    Protocol(
        "grouped_1",
        "Grouped by patient, version 1",
        "grouped, version 1",
        "#BBBBBB",
        folds=GROUPED_FOLDS,
        divide=grouped_1,
        interval="groups",
    )
)
BY_IMAGE = register(
    Protocol(
        "by_image",
        "Folds at random by image",
        "folds by image",
        "#999999",
        folds=GROUPED_FOLDS,
        divide=by_image,
    )
)
HELD_OUT_SOURCE = register(
    Protocol(
        "held_out_source",
        "Held-out source",
        "held-out source",
        "#009E73",
        folds=1,
        divide=lambda manifest, fold: held_out_source(manifest),
        interval="groups",
    )
)
MERGED_90, MERGED_80 = (
    register(
        Protocol(
            f"merged_{100 - held}",
            f"Both folders merged, {100 - held}/{held} at random",
            f"merged {100 - held}/{held}",
            colour,
            folds=1,
            divide=lambda manifest, fold, held=held: merged(manifest, held / 100),
        )
    )
    for held, colour in ((10, "#CC79A7"), (20, "#E69F00"))
)
REPORT_SPLITS = (TESTING_FOLDER, TRAINING_ONLY)  # the two splits that the report compares


def split(manifest: pd.DataFrame, protocol: str, fold: int = 0) -> Split:
    """The training rows and the validation rows of the protocol with this name, see `Protocol.split`.

    Raises:
        ValueError: if there is no such protocol or fold.

    Example:
        >>> from tumor_mri.datasets import load_manifest
        >>> len(split(load_manifest(), "training_only").validation)
        574
    """
    return get(protocol).split(manifest, fold)
