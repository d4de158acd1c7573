"""Audit of any folder with one subfolder per class: copies, label conflicts and shortcuts, from the images alone."""

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from PIL import Image, ImageChops, ImageStat
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.tree import DecisionTreeClassifier

from tumor_mri.audit import near_copies
from tumor_mri.datasets import folders, protocols

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
TABLES = ("facts.csv", "near_copies.csv", "unreadable.csv")  # of an audit, in its output folder
GALLERY = "gallery.png"


@dataclass(frozen=True)
class Scans:
    """The readable images of a folder, and a list of those that cannot be read.

    `table` has one row per image: path, split (empty if there are only class folders), class, sha256, width, height (pixels),
    mean, std (grey levels), colour (whether R, G and B differ anywhere). `thumbnails` are those images as `standardise` makes
    them, in the same order. `unreadable` has the columns path and reason.
    """

    table: pd.DataFrame
    thumbnails: np.ndarray
    unreadable: pd.DataFrame


@dataclass(frozen=True)
class Audit:
    """The results of an audit.

    `facts`: fact, figure (a count), share (of 1; NaN if the count is not part of a whole). `near_copies`: one row per pair of
    near-duplicates; pairs across classes come first, then pairs across splits, in ascending order of correlation. `scans`: the
    images that were read.
    """

    facts: pd.DataFrame
    near_copies: pd.DataFrame
    scans: Scans

    @property
    def unreadable(self) -> pd.DataFrame:
        """Path and reason of each image that could not be read."""
        return self.scans.unreadable

    def __str__(self):
        width = self.facts["fact"].str.len().max()
        shares = ["" if np.isnan(share) else f"{share:.1%}" for share in self.facts["share"]]
        lines = [
            f"{row.fact:<{width}} {row.figure:>9,} {share:>7}" for row, share in zip(self.facts.itertuples(), shares, strict=True)
        ]
        return "\n".join(line.rstrip() for line in lines)


def audit_folder(folder: str | Path) -> Audit:
    """Audit any dataset: ``<folder>/<class>/<image>`` or ``<folder>/<split>/<class>/<image>``.

    If there are several splits, the largest is taken to be the training split.

    Raises:
        AuditError: if there is no image to audit, or if there are more pairs of near-duplicates than `MOST_PAIRS`.
    """
    images, passed_over = list_images(folder)
    scans = _with_left_out(read(folder, images), left_out(folder))
    pairs = near_copies.near_copy_pairs(scans.thumbnails)
    facts = [fact("files passed over: no image by name, or in no class folder", passed_over)]
    facts += image_facts(scans, pairs, near_copies.near_copy_sets(len(scans.table), pairs))
    return Audit(pd.DataFrame(facts), told_pairs(pairs, scans.table), scans)


def list_images(folder: str | Path) -> tuple[pd.DataFrame, int]:
    """A table of the images of a folder, with path (relative, with slashes), split and class; and the number of other files.

    Links to folders are followed. The gallery that an earlier audit has written into the folder is another file.

    Raises:
        AuditError: if there is no folder, or no image in a class folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise near_copies.AuditError(f"there is no folder {folder}")
    paths = [path.relative_to(folder) for path in folders.listing(folder).files]
    ours = {path.parent / GALLERY for path in paths if path.name == TABLES[0]}
    kept = [path for path in paths if path.suffix.lower() in SUFFIXES and len(path.parts) in (2, 3) and path not in ours]
    if not kept:
        unread = left_out(folder)
        locked = ""
        if len(unread):
            locked = f". {len(unread)} cannot be read; the first is {unread['path'][0]}, which {unread['reason'][0]}"
        raise near_copies.AuditError(
            f"{folder} holds no image in a class folder: expected {folder.name}/CLASS/IMAGE or {folder.name}/SPLIT/CLASS/IMAGE, "
            f"with images named {', '.join(SUFFIXES)}{locked}"
        )
    rows = [(path.as_posix(), "/".join(path.parts[:-2]), path.parts[-2]) for path in kept]
    return pd.DataFrame(rows, columns=["path", "split", "class"]), len(paths) - len(kept)


def left_out(folder: str | Path) -> pd.DataFrame:
    """What below a folder could be or hold images but cannot be read, such as a locked folder: a table with path and reason."""
    found = folders.listing(folder).left_out.items()
    told = [(path, reason) for path, reason in found if path.suffix.lower() in SUFFIXES or path.is_dir()]
    return pd.DataFrame([(path.relative_to(folder).as_posix(), reason) for path, reason in told], columns=["path", "reason"])


def _with_left_out(scans, rows):
    unreadable = pd.concat([scans.unreadable, rows], ignore_index=True)
    return replace(scans, unreadable=unreadable.sort_values("path", ignore_index=True))


def read(folder: str | Path, images: pd.DataFrame) -> Scans:
    """Hash, measure and shrink every image of a table with path, split and class; each file is read once.

    Raises:
        AuditError: if none can be read.
    """
    folder = Path(folder)
    thumbnails = np.empty((len(images), near_copies.SIDE * near_copies.SIDE), dtype=np.float32)
    measured, unreadable = [], []
    with ThreadPoolExecutor() as pool:
        done = pool.map(lambda path: _measure(folder / path), images["path"])
        for path, (values, thumbnail, reason) in zip(
            images["path"], near_copies.progress_bar(done, "decode", len(images)), strict=True
        ):
            if reason:
                unreadable.append((path, reason))
                continue
            thumbnails[len(measured)] = thumbnail
            measured.append({"path": path, **values})
    unreadable = pd.DataFrame(unreadable, columns=["path", "reason"])
    if not measured:
        first = f"{unreadable['path'][0]}: {unreadable['reason'][0]}"
        raise near_copies.AuditError(f"none of the {len(images)} images in {folder} can be read; the first is {first}")
    return Scans(images.merge(pd.DataFrame(measured), on="path"), thumbnails[: len(measured)], unreadable)


def _measure(path):
    """The entries of `Scans` for one file: values, thumbnail and None; or None, None and the reason why it cannot be read."""
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            grey, colour = grey_levels(image), _has_colour(image)
    except Exception as error:  # decoders fail in many ways, and one bad file must not end the audit
        return None, None, " ".join(str(error).split())[:200] or type(error).__name__
    values = {"sha256": hashlib.sha256(content).hexdigest(), "width": grey.width, "height": grey.height, "colour": colour}
    values["mean"], values["std"] = _mean_and_std(grey)
    thumbnail = grey.convert("F").resize(
        (near_copies.SIDE, near_copies.SIDE), Image.Resampling.BOX
    )  # floats, since rounding would turn faint images into noise
    return values, near_copies.standardise(np.asarray(thumbnail)), None


def grey_levels(image: Image.Image) -> Image.Image:
    """Grey levels in 8 bits; as 32-bit floats if the image has more than 8 bits, which would be clipped."""
    return image.convert("F") if image.mode.startswith(("I", "F")) else image.convert("L")


def _mean_and_std(grey):
    if grey.mode == "L":
        counted = ImageStat.Stat(grey)  # from the histogram, several times faster than from the pixels
        return counted.mean[0], counted.stddev[0]
    pixels = np.asarray(grey, dtype=float)
    return float(pixels.mean()), float(pixels.std())


def _has_colour(image):
    if image.mode in ("1", "L", "LA", "F") or image.mode.startswith("I"):
        return False
    red, green, blue = image.convert("RGB").split()
    return any(ImageChops.difference(red, other).getbbox() for other in (green, blue))


def byte_identical(table: pd.DataFrame) -> pd.DataFrame:
    """Sets of files with the same SHA-256, one row per set, largest first: numbers of files, splits and classes.

    Example:
        >>> from tumor_mri.datasets import manifests
        >>> byte_identical(manifests.load_manifest()).iloc[0].to_dict()
        {'files': 9, 'splits': 2, 'classes': 1}
    """
    sets = table.groupby("sha256").agg(files=("path", "size"), splits=("split", "nunique"), classes=("class", "nunique"))
    return sets[sets["files"] > 1].sort_values("files", ascending=False, kind="stable")


def shortcut(features: pd.DataFrame, labels: ArrayLike, groups: ArrayLike) -> np.ndarray | None:
    """Whether a decision tree of depth 3 predicts each image's label from a few numbers, bool, (images,).

    By cross-validation in up to 5 folds that keep groups whole; None if a class has fewer than 2 groups.
    """
    labels, groups = np.asarray(labels), np.asarray(groups)
    folds = min(protocols.GROUPED_FOLDS, pd.Series(groups).groupby(labels).nunique().min())
    if folds < 2:
        return None
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=protocols.SPLIT_SEED)
    tree = DecisionTreeClassifier(max_depth=3, random_state=protocols.SPLIT_SEED)
    return cross_val_predict(tree, features, labels, groups=groups, cv=splitter) == labels


def fact(fact: str, figure: int, of: int | None = None) -> dict:
    """A row of `Audit.facts`: a count, and its share of `of`."""
    return {"fact": fact, "figure": int(figure), "share": figure / of if of else np.nan}


def image_facts(scans: Scans, pairs: pd.DataFrame, groups: ArrayLike) -> list[dict]:
    """Facts that follow from the images alone.

    Args:
        scans: the images.
        pairs: their near-duplicates, as `near_copy_pairs` finds them.
        groups: a label per image, (images,); images with the same label stay in one fold when shortcuts are tested.
    """
    table = scans.table
    facts = [fact("images", len(table)), fact("images that cannot be read", len(scans.unreadable))]
    facts += [fact("uniform images, left out of the neighbour search", (~scans.thumbnails.any(axis=1)).sum())]
    facts.append(fact("images in colour", table["colour"].sum(), len(table)))
    for key, rows in table.groupby(["split", "class"]):
        facts.append(fact(f"{folder_name(*key)}: images", len(rows), len(table)))
        facts.append(fact("  different sizes", len(rows[["width", "height"]].drop_duplicates())))
        if rows["colour"].any():
            facts.append(fact("  in colour", rows["colour"].sum(), len(rows)))
    facts += _identical_facts(table) + _near_copy_facts(table, pairs)
    return facts + _neighbour_facts(scans, pairs) + _shortcut_facts(table, groups)


def folder_name(split: str, name: str) -> str:
    """A class folder for people: ``split/class``, or ``class`` if there are no splits."""
    return f"{split}/{name}" if split else name


def _largest_split(table):
    return table["split"].value_counts().index[0]


def _identical_facts(table):
    sets = byte_identical(table)
    facts = [
        fact("sets of byte-identical files", len(sets)),
        fact("surplus files in them", table.duplicated("sha256").sum(), len(table)),
        fact("files in the largest set", sets["files"].max() if len(sets) else 0),
        fact("sets across classes", (sets["classes"] > 1).sum(), len(sets)),
    ]
    training = _largest_split(table)
    for split, rows in table.groupby("split"):
        if table["split"].nunique() > 1:
            facts.append(fact(f"{split}: surplus files inside it", rows.duplicated("sha256").sum(), len(rows)))
        if split != training:
            copies = rows["sha256"].isin(table.loc[table["split"] == training, "sha256"])
            facts.append(fact(f"{split}: files byte-identical to one of {training}", copies.sum(), len(rows)))
    return facts


def _near_copy_facts(table, pairs):
    splits, classes = table["split"].to_numpy(), table["class"].to_numpy()
    first, second = pairs["first"], pairs["second"]
    copied = np.union1d(first, second)
    facts = [
        fact("images with a near-copy", len(copied), len(table)),
        fact("pairs of near-copies", len(pairs)),
        fact("pairs across classes: label conflicts", (classes[first] != classes[second]).sum(), len(pairs)),
    ]
    if table["split"].nunique() > 1:
        facts.append(fact("pairs across splits", (splits[first] != splits[second]).sum(), len(pairs)))
    training = _largest_split(table)
    near = _near_training(table, pairs)
    for split, rows in table.groupby("split"):
        if split != training:
            text = f"near-copy in {training}"
            facts.append(fact(f"{split}: images with a {text}", near[rows.index].sum(), len(rows)))
            facts += [fact(f"  of {name}", near[some.index].sum(), len(some)) for name, some in rows.groupby("class")]
    return facts


def _near_training(table, pairs):
    """Whether each image has a near-duplicate in the largest split, bool, (images,)."""
    trains = (table["split"] == _largest_split(table)).to_numpy()
    near = np.zeros(len(table), dtype=bool)
    near[pairs["first"][trains[pairs["second"]]]] = True
    near[pairs["second"][trains[pairs["first"]]]] = True
    return near


def _neighbour_facts(scans, pairs):
    """1-nearest-neighbour: the other splits with the largest as reference; a single split with and without near-duplicates."""
    table, labels = scans.table, scans.table["class"].to_numpy()
    trains = (table["split"] == _largest_split(table)).to_numpy()
    if trains.all():
        right = near_copies.one_nearest_neighbour(scans.thumbnails, labels)
        alone = near_copies.one_nearest_neighbour(scans.thumbnails, labels, groups=near_copies.near_copy_sets(len(table), pairs))
        return [
            fact("class of the nearest other image is right", right.sum(), len(right)),
            fact("the same, near-copies banned", alone.sum(), len(alone)),
        ]
    rows = np.flatnonzero(~trains)
    right = near_copies.one_nearest_neighbour(scans.thumbnails, labels, rows, np.flatnonzero(trains))
    near = _near_training(table, pairs)[rows]
    text = f"outside {_largest_split(table)}: class of the nearest image in it is right"
    return [
        fact(text, right.sum(), len(right)),
        fact("the same, images with a near-copy in it", right[near].sum(), near.sum()),
        fact("the same, images without", right[~near].sum(), (~near).sum()),
    ]


def _shortcut_facts(table, groups):
    """How often size and brightness alone predict the class, in the largest split; a network should not need them."""
    trains = (table["split"] == _largest_split(table)).to_numpy()
    training, groups = table[trains], np.asarray(groups)[trains]
    facts = [fact("largest class: right by always saying it", training["class"].value_counts().iloc[0], len(training))]
    for text, names in {
        "width and height": ["width", "height"],
        "mean and deviation of grey": ["mean", "std"],
        "all four": ["width", "height", "mean", "std"],
    }.items():
        right = shortcut(training[names], training["class"], groups)
        if right is not None:
            facts.append(fact(f"class told by a small tree from {text}", right.sum(), len(right)))
    return facts


def told_pairs(pairs: pd.DataFrame, table: pd.DataFrame, groups: np.ndarray | None = None) -> pd.DataFrame:
    """Pairs of images with their paths, splits and classes, in the order of `Audit.near_copies`.

    Args:
        pairs: as `near_copy_pairs` finds them.
        table: that of `Scans`.
        groups: a label per image, (images,); adds the column same_group.
    """
    first, second = table.iloc[pairs["first"]].reset_index(), table.iloc[pairs["second"]].reset_index()
    told = pd.DataFrame({"correlation": pairs["correlation"].round(4)})
    for side, rows in {"first": first, "second": second}.items():
        told[[side, f"{side}_split", f"{side}_class"]] = rows[["path", "split", "class"]]
    told["byte_identical"] = first["sha256"] == second["sha256"]
    if groups is not None:
        told["same_group"] = groups[pairs["first"]] == groups[pairs["second"]]
    order = pd.DataFrame({"same_class": first["class"] == second["class"], "same_split": first["split"] == second["split"]})
    order = order.join(told[["correlation", "first", "second"]]).sort_values(list(order) + ["correlation", "first", "second"])
    return told.loc[order.index].reset_index(drop=True)
