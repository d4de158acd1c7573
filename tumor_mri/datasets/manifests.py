"""Datasets: their classes, their manifests (tables of all images), and the check of a folder against a manifest."""

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd

from tumor_mri import registry, text
from tumor_mri.datasets import folders

_PACKAGE = Path(__file__).resolve().parents[1]
_INSTALLED = (_PACKAGE / "data").is_dir()  # a wheel contains the data inside the package, a checkout has them beside it
DATA = _PACKAGE / "data" if _INSTALLED else _PACKAGE.parent / "data"  # manifest, numbers of the report, recorded runs: read-only
ROOT = Path.cwd() if _INSTALLED else _PACKAGE.parent  # generated files go below this folder: images, caches, runs, pages
LOCAL_DATA = ROOT / "data"
SPLITS = ("Training", "Testing")
PROBLEMS_SHOWN = 10  # at most, for a folder that differs from the manifest
COLUMNS = ["path", "sha256", "bytes", "width", "height", "split", "class", "cheng_slice", "cheng_label", "patient", "group"]
COLUMNS += ["nearest_training", "nearest_training_corr", "near_copy"]
GROUP_COLUMNS = ["path", "group", "fold", "version"]
GROUPS_VERSION = 2  # of the groups in the committed manifest and in data/groups.csv; others are in files of their own


class DatasetError(text.ProjectError):
    """The images are missing or differ from the manifest; the message says what was found and what to do."""


@dataclass(frozen=True)
class Dataset:
    """A dataset of images in class folders. After `register`, every protocol, record, score and figure can use it.

    Attributes:
        name: the name of its folder; it is stored in records.
        classes: folder names of the classes, in the order of the class indices.
        labels: names of the classes for readers, in English.
        spanish: names of the classes for readers, in Spanish.
        colours: colours of the classes in figures; a label that occurs in two datasets has the same colour in both.
        negative: the class of scans without a tumour.
        manifest: the table of its images, a CSV file.
        manifest_sha256: of that table, see `table_sha256`; empty: it is not checked.
        kaggle: its handle on Kaggle, ``OWNER/NAME``; empty if it is not on Kaggle.
        archive: address of a ``.tar.gz`` with its images; empty if there is none.
        licensed: a column of the manifest. A scan of a tumour may be shown in a stored figure only if it has a value in this
            column. Empty: all scans may be shown.
    """

    name: str
    classes: tuple[str, ...]
    labels: tuple[str, ...]
    spanish: tuple[str, ...]
    colours: tuple[str, ...]
    negative: str
    manifest: Path
    kaggle: str = ""
    archive: str = ""
    manifest_sha256: str = ""
    licensed: str = ""

    def __post_init__(self):
        if len({len(self.classes), len(self.labels), len(self.spanish), len(self.colours)}) > 1:
            raise ValueError(f"{self.name}: classes, labels, spanish and colours must have the same length")
        if self.negative not in self.classes:
            raise ValueError(
                f"{self.name}: the class without a tumour, {self.negative!r}, is not one of {', '.join(self.classes)}"
            )

    @property
    def negative_index(self) -> int:
        """The index of the class without a tumour."""
        return self.classes.index(self.negative)

    @property
    def negative_label(self) -> str:
        """The label of the class without a tumour."""
        return self.labels[self.negative_index]

    def label_of(self, folder: str) -> str:
        """The label of a class folder.

        Raises:
            DatasetError: if the dataset has no such class.

        Example:
            >>> BRAIN_TUMOUR_MRI.label_of("no_tumor")
            'no tumour'
        """
        if folder not in self.classes:
            raise DatasetError(f"{self.name} has no class {folder!r}: its classes are {', '.join(self.classes)}")
        return self.labels[self.classes.index(folder)]


DATASETS: dict[str, Dataset] = {}


def register(dataset: Dataset) -> Dataset:
    """Add a dataset to the registry, and return it.

    Raises:
        ValueError: if a different dataset has the same name, or if one of its labels has another colour in another dataset.
    """
    registry.add(DATASETS, "dataset", dataset)
    for label, colour in zip(dataset.labels, dataset.colours, strict=True):
        if _colours().get(label) != colour:
            del DATASETS[dataset.name]
            raise ValueError(f"{dataset.name}: {label!r} is drawn in {_colours()[label]} elsewhere, not in {colour}")
    return dataset


def _colours():
    """A dict from all labels to their colours; the first dataset that has a label gives its colour."""
    pairs = [pair for dataset in reversed(DATASETS.values()) for pair in zip(dataset.labels, dataset.colours, strict=True)]
    return dict(pairs)


# colours from the colour-blind-safe palette of Okabe and Ito (https://jfly.uni-koeln.de/color/)
BRAIN_TUMOUR_MRI = register(
    Dataset(
        name="brain-tumor-classification-mri",
        classes=("glioma_tumor", "meningioma_tumor", "no_tumor", "pituitary_tumor"),
        labels=("glioma", "meningioma", "no tumour", "pituitary"),
        spanish=("glioma", "meningioma", "sin tumor", "tumor hipofisario"),
        colours=("#0072B2", "#E69F00", "#009E73", "#CC79A7"),
        negative="no_tumor",
        manifest=DATA / "manifest.csv",
        kaggle="sartajbhuvaji/brain-tumor-classification-mri",
        archive="https://github.com/SartajBhuvaji/Brain-Tumor-Classification-DataSet/archive/3ea9f4e.tar.gz",
        manifest_sha256="5474ab6eaa7f7e3f08b0edf1045d58b7105ba8ad5c1cd3c11d4e60c00ab7747d",
        licensed="cheng_slice",  # CC BY 4.0
    )
)


def get(name: str) -> Dataset:
    """The registered dataset with this name.

    Raises:
        ValueError: if there is none; the message lists the registered datasets.
    """
    return registry.named(DATASETS, "dataset", name)


def dataset_of(manifest: pd.DataFrame) -> Dataset:
    """The dataset of a manifest: the one it was loaded for, or the dataset of the project if this is unknown.

    Raises:
        DatasetError: if the manifest contains a class that the dataset does not have.

    Example:
        >>> dataset_of(load_manifest()).labels
        ('glioma', 'meningioma', 'no tumour', 'pituitary')
    """
    dataset = get(manifest.attrs.get("dataset", BRAIN_TUMOUR_MRI.name))
    foreign = set(manifest["class"]) - set(dataset.classes)
    if foreign:
        raise DatasetError(
            f"the manifest of {dataset.name} lists the classes {', '.join(sorted(foreign))}, which it does not have: it has "
            f"{', '.join(dataset.classes)}"
        )
    return dataset


def label_colour(label: str) -> str:
    """The colour of a class in figures.

    Raises:
        ValueError: if no registered dataset has such a label.
    """
    if label not in _colours():
        raise ValueError(f"no registered dataset has a class labelled {label!r}")
    return _colours()[label]


def in_class_order(labels: Iterable[str]) -> list[str]:
    """Distinct class labels, in the class order of the first dataset that has all of them.

    Raises:
        ValueError: if no dataset has all of them.

    Example:
        >>> in_class_order(["pituitary", "glioma", "pituitary"])
        ['glioma', 'pituitary']
    """
    wanted = set(labels)
    for dataset in DATASETS.values():
        if wanted <= set(dataset.labels):
            return [label for label in dataset.labels if label in wanted]
    raise ValueError(f"no registered dataset has all of the classes {', '.join(sorted(wanted))}")


@dataclass(frozen=True)
class Problem:
    """A file that differs from the manifest; `kind` is missing, extra, renamed, truncated or altered."""

    path: str
    kind: str
    detail: str

    def __str__(self):
        return f"{self.kind}: {self.path}" + (f" ({self.detail})" if self.detail else "")


def load_manifest(dataset: Dataset | None = None) -> pd.DataFrame:
    """The table of all images of a dataset; the row number of an image is its index in every array of this package.

    Args:
        dataset: None for the project's.

    Raises:
        DatasetError: if the file is not the registered one, down to the last cell.

    Example:
        >>> len(load_manifest())
        3264
    """
    dataset = BRAIN_TUMOUR_MRI if dataset is None else dataset
    if dataset.manifest_sha256:
        check_table(dataset.manifest, dataset.manifest_sha256)
    table = pd.read_csv(dataset.manifest, dtype={"cheng_slice": "Int64", "patient": "string", "cheng_label": "string"})
    table.attrs["dataset"] = dataset.name
    return table


def table_sha256(path: str | Path) -> str:
    """SHA-256 of a table's text, whatever line ends a checkout gave it: that of the committed file."""
    return hashlib.sha256(Path(path).read_text(encoding="utf-8-sig", errors="replace").encode()).hexdigest()


def check_table(path: str | Path, sha256: str, columns: list[str] = COLUMNS) -> None:
    """Make sure that a committed table is as it was committed: every row and every column.

    Raises:
        DatasetError: naming the file and, if it can be told, what is wrong.
    """
    if table_sha256(path) == sha256:
        return
    lines = Path(path).read_text(encoding="utf-8-sig", errors="replace").splitlines() or [""]
    absent = [name for name in columns if name not in lines[0].split(",")]
    found = f"it has {len(lines) - 1:,} rows, and at least one cell or row differs"
    if absent:
        found = f"it lacks the columns {', '.join(absent)}" if any(lines) else "it is empty"
    raise DatasetError(f"{path} is not the table that was committed: {found}; restore it, or install the package again")


def load_groups(version: int = GROUPS_VERSION) -> pd.DataFrame:
    """The committed groups of one version: path, group, fold and version; a table without a version is of version 1.

    Raises:
        DatasetError: if the file is no such table, or holds nothing of that version.
    """
    path = DATA / ("groups.csv" if version == GROUPS_VERSION else f"groups_{version}.csv")
    table = read_text(path)
    table = table if "version" in table else table.assign(version="1")
    if list(table.columns) != GROUP_COLUMNS or not (table["version"] == str(version)).any():
        raise DatasetError(f"{path} needs the columns {', '.join(GROUP_COLUMNS)}, and rows of version {version}")
    try:
        return table[table["version"] == str(version)].astype(dict.fromkeys(GROUP_COLUMNS[1:], int)).reset_index(drop=True)
    except ValueError as error:
        raise DatasetError(f"{path} has a group or fold that is not a number: {error}") from error


def read_text(path: str | Path | TextIO) -> pd.DataFrame:
    """A table of texts, empty for what is missing, as a CSV file prints them.

    Raises:
        DatasetError: if it cannot be read as a table.
    """
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except ValueError as error:  # no text, nothing in it, or lines of different lengths
        raise DatasetError(f"{path} cannot be read as a table: {' '.join(str(error).split())}") from error


def class_indices(manifest: pd.DataFrame) -> np.ndarray:
    """The true class of each row, as an index into the dataset's classes, int64, (rows,)."""
    return manifest["class"].map({name: index for index, name in enumerate(dataset_of(manifest).classes)}).to_numpy()


def fingerprint(manifest: pd.DataFrame) -> str:
    """Twelve hexadecimal digits that change with any path, any image's content and the order of rows."""
    lines = "\n".join(manifest["path"] + " " + manifest["sha256"])
    return hashlib.sha256(lines.encode()).hexdigest()[:12]


def verify(folder: Path | str, manifest: pd.DataFrame) -> list[Problem]:
    """All differences between a folder and the manifest, by SHA-256; an empty list if there are none.

    Raises:
        DatasetError: if the folder does not exist, or a folder in it cannot be opened.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}: run `python -m tumor_mri download`")
    expected = manifest.set_index("path")
    sizes = {path: size_of(folder / path) for path in _list_files(folder)}
    known = set(expected["bytes"])  # a file of any other size is not an image of the manifest; it may be huge and is not read
    with ThreadPoolExecutor() as pool:
        read = pool.map(lambda path: _sha256(folder / path) if sizes[path] in known else "", sizes)
        hashes = dict(zip(sizes, read, strict=True))
    missing = {}  # several paths per hash: byte-identical images have the same SHA-256
    for path in expected.index.difference(list(sizes)):
        missing.setdefault(expected.at[path, "sha256"], []).append(path)
    problems, renamed = [], set()
    for path in sorted(set(sizes) - set(expected.index)):
        was = missing.get(hashes[path])
        if was:
            renamed.add(was[0])
            problems.append(Problem(path, "renamed", f"was {was.pop(0)}"))
        else:
            problems.append(Problem(path, "extra", "an empty folder" if (folder / path).is_dir() else ""))
    for path, row in expected.iterrows():
        if path not in hashes:
            if path not in renamed:
                problems.append(Problem(path, "missing", ""))
        elif hashes[path] != row["sha256"]:
            kind = "truncated" if sizes[path] < row["bytes"] else "altered"
            problems.append(Problem(path, kind, f"{sizes[path]:,} bytes, expected {row['bytes']:,}"))
    return problems


def check(folder: Path | str, manifest: pd.DataFrame) -> None:
    """Make sure that a folder contains the images of the manifest and nothing else.

    Raises:
        DatasetError: naming the first problems, the folder, and what to do.
    """
    problems = verify(folder, manifest)
    if problems:
        raise DatasetError(
            f"{in_short(problems)}. Complete or correct {folder}, or remove it and run `python -m tumor_mri download`"
        )


def in_short(problems: list[Problem]) -> str:
    """How many problems there are, and the first three."""
    shown = "; ".join(str(problem) for problem in problems[:3])
    return f"{len(problems)} files differ from the manifest: {shown}{' …' if len(problems) > 3 else ''}"


def _list_files(folder):
    """Paths of all files in the two splits, hidden ones too, and of empty folders: either would change the report's split.

    Raises:
        DatasetError: if a folder cannot be opened, or is a link to one that it lies in.
    """
    kept = []
    for split in SPLITS:
        if not (folder / split).is_dir():
            continue
        found = folders.listing(folder / split)
        for path, reason in found.left_out.items():
            if path.is_dir():
                raise DatasetError(f"{path} {reason}: mend or remove it")
        kept += [*found.files, *(path for path in found.empty if path != folder / split), *found.left_out]
    return sorted(path.relative_to(folder).as_posix() for path in kept)


def size_of(path: Path) -> int:
    """The size of a regular file in bytes; 0 for anything else, such as an empty folder or a broken link."""
    return path.stat().st_size if path.is_file() else 0


def _sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def may_be_shown(manifest: pd.DataFrame) -> pd.Series:
    """Whether each image may be shown in a stored figure: if it is licensed, or has no tumour; bool, indexed by path."""
    dataset, row_of = dataset_of(manifest), manifest.set_index("path")
    if not dataset.licensed:
        return pd.Series(True, index=row_of.index)
    return row_of[dataset.licensed].notna() | (row_of["class"] == dataset.negative)


def is_testing(manifest: pd.DataFrame) -> np.ndarray:
    """Which rows belong to Testing, bool, (rows,).

    Example:
        >>> int(is_testing(load_manifest()).sum())
        394
    """
    return (manifest["split"] == SPLITS[1]).to_numpy()


def groups_of(paths: Iterable[str], manifest: pd.DataFrame) -> np.ndarray:
    """The group of each image, (paths,)."""
    return manifest.set_index("path")["group"].loc[list(paths)].to_numpy()
