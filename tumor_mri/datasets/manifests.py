"""The table of images: the dataset's classes, its manifest, and the check of a folder against it."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tumor_mri import text
from tumor_mri.datasets import folders

_PACKAGE = Path(__file__).resolve().parents[1]
_INSTALLED = (_PACKAGE / "data").is_dir()  # a wheel carries the data inside the package, a checkout has them beside it
DATA = _PACKAGE / "data" if _INSTALLED else _PACKAGE.parent / "data"  # manifest, report's numbers, recorded runs: read only
ROOT = Path.cwd() if _INSTALLED else _PACKAGE.parent  # what is made here goes below it: images, caches, runs, pages
LOCAL_DATA = ROOT / "data"
SPLITS = ("Training", "Testing")
CLASSES = ("glioma_tumor", "meningioma_tumor", "no_tumor", "pituitary_tumor")
NAMES = ("glioma", "meningioma", "no tumour", "pituitary")
PROBLEMS_SHOWN = 10  # of a folder that differs from the manifest
NO_TUMOUR = CLASSES.index("no_tumor")


class DatasetError(text.ProjectError):
    """The images are missing or differ from the manifest; the text says what was found and what to do."""


@dataclass(frozen=True)
class Problem:
    """A file that is not as the manifest says; `kind` is missing, extra, renamed, truncated or altered."""

    path: str
    kind: str
    detail: str

    def __str__(self):
        return f"{self.kind}: {self.path}" + (f" ({self.detail})" if self.detail else "")


def load_manifest() -> pd.DataFrame:
    """The table of all 3,264 images; a row's number is the image's place in every array of this package."""
    return pd.read_csv(DATA / "manifest.csv", dtype={"cheng_slice": "Int64", "patient": "string", "cheng_label": "string"})


def class_indices(manifest: pd.DataFrame) -> np.ndarray:
    """The true class of each row as an index into `CLASSES`, int64, (rows,)."""
    return manifest["class"].map({name: index for index, name in enumerate(CLASSES)}).to_numpy()


def fingerprint(manifest: pd.DataFrame) -> str:
    """Twelve hexadecimal digits that change with any path, any image's content and the order of rows."""
    lines = "\n".join(manifest["path"] + " " + manifest["sha256"])
    return hashlib.sha256(lines.encode()).hexdigest()[:12]


def verify(folder, manifest: pd.DataFrame) -> list:
    """Every difference between a folder and the manifest, by SHA-256: a list of `Problem`, empty where there is none.

    Raises:
        DatasetError: if the folder does not exist, or a folder in it cannot be opened.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}: run `python -m tumor_mri download`")
    expected = manifest.set_index("path")
    sizes = {path: size_of(folder / path) for path in _list_files(folder)}
    known = set(
        expected["bytes"]
    )  # a file of another size cannot be an image of the manifest: it may be enormous, and is not read
    with ThreadPoolExecutor() as pool:
        read = pool.map(lambda path: _sha256(folder / path) if sizes[path] in known else "", sizes)
        hashes = dict(zip(sizes, read, strict=True))
    missing = {}  # byte-identical images share a SHA-256: several paths a hash
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


def check(folder, manifest: pd.DataFrame) -> None:
    """Make sure that a folder holds the manifest's images and nothing else.

    Raises:
        DatasetError: naming the first problems, the folder, and what to do.
    """
    problems = verify(folder, manifest)
    if problems:
        raise DatasetError(
            f"{in_short(problems)}. Complete or correct {folder}, or remove it and run `python -m tumor_mri download`"
        )


def in_short(problems) -> str:
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


def size_of(path):
    """Bytes of a plain file; 0 for anything else, such as an empty folder or a link to nothing."""
    return path.stat().st_size if path.is_file() else 0


def _sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def may_be_shown(manifest):
    """By path: slices of the Cheng set (CC BY) for tumours, and any image of the class without one, which has none of them."""
    row_of = manifest.set_index("path")
    return row_of["cheng_slice"].notna() | (row_of["class"] == "no_tumor")
