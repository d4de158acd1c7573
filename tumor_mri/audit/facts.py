"""What a folder's images say about it: copies, label conflicts, shortcuts, and differences between its splits."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats as scipy_stats
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.tree import DecisionTreeClassifier

from tumor_mri.audit import near_copies
from tumor_mri.audit.scans import MEASURES, Scans, is_training, training_split
from tumor_mri.datasets import protocols


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
    """A row of the facts of an audit: a count, and its share of `of`."""
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
    if table["split"].nunique() > 1:
        facts.append(fact(f"of the split that trains, {split_name(training_split(table))}", is_training(table).sum(), len(table)))
    facts += [fact("uniform images, left out of the neighbour search", (~scans.thumbnails.any(axis=1)).sum())]
    facts.append(fact("images in colour", table["colour"].sum(), len(table)))
    for key, rows in table.groupby(["split", "class"]):
        facts.append(fact(f"{folder_name(*key)}: images", len(rows), len(table)))
        facts.append(fact("  different sizes", len(rows[["width", "height"]].drop_duplicates())))
        if rows["colour"].any():
            facts.append(fact("  in colour", rows["colour"].sum(), len(rows)))
    facts += _class_facts(table) + _identical_facts(table) + _near_copy_facts(table, pairs)
    return facts + _neighbour_facts(scans, pairs) + _shortcut_facts(table, groups)


def folder_name(split: str, name: str) -> str:
    """A class folder for people: ``split/class``, or ``class`` for one that is in no split."""
    return f"{split}/{name}" if split else name


def split_name(split: str) -> str:
    """A split for people: its name, or ``(no split)`` for class folders beside splits."""
    return split or "(no split)"


def _class_facts(table):
    """Classes that some splits have and others lack."""
    classes = table.groupby("split")["class"].agg(set)
    return [
        fact(f"{split_name(split)}: classes of other splits that it lacks: {', '.join(sorted(lacking))}", len(lacking))
        for split, own in classes.items()
        if (lacking := set(table["class"]) - own)
    ]


def _identical_facts(table):
    sets = byte_identical(table)
    facts = [
        fact("sets of byte-identical files", len(sets)),
        fact("surplus files in them", table.duplicated("sha256").sum(), len(table)),
        fact("files in the largest set", sets["files"].max() if len(sets) else 0),
        fact("sets across classes", (sets["classes"] > 1).sum(), len(sets)),
    ]
    training = training_split(table)
    for split, rows in table.groupby("split"):
        if table["split"].nunique() > 1:
            facts.append(fact(f"{split_name(split)}: surplus files inside it", rows.duplicated("sha256").sum(), len(rows)))
        if split != training:
            copies = rows["sha256"].isin(table.loc[table["split"] == training, "sha256"])
            facts.append(
                fact(f"{split_name(split)}: files byte-identical to one of {split_name(training)}", copies.sum(), len(rows))
            )
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
    training = training_split(table)
    near = near_copies.linked_to(is_training(table), pairs)
    for split, rows in table.groupby("split"):
        if split != training:
            text = f"near-copy in {split_name(training)}"
            facts.append(fact(f"{split_name(split)}: images with a {text}", near[rows.index].sum(), len(rows)))
            facts += [fact(f"  of {name}", near[some.index].sum(), len(some)) for name, some in rows.groupby("class")]
    return facts


def _neighbour_facts(scans, pairs):
    """1-nearest-neighbour: the other splits with the largest as reference; a single split with and without near-duplicates."""
    table, labels = scans.table, scans.table["class"].to_numpy()
    trains = is_training(table)
    if trains.all():
        right = near_copies.one_nearest_neighbour(scans.thumbnails, labels)
        alone = near_copies.one_nearest_neighbour(scans.thumbnails, labels, groups=near_copies.near_copy_sets(len(table), pairs))
        return [
            fact("class of the nearest other image is right", right.sum(), len(right)),
            fact("the same, near-copies banned", alone.sum(), len(alone)),
        ]
    rows = np.flatnonzero(~trains)
    right = near_copies.one_nearest_neighbour(scans.thumbnails, labels, rows, np.flatnonzero(trains))
    near = near_copies.linked_to(trains, pairs)[rows]
    text = f"outside {split_name(training_split(table))}: class of the nearest image in it is right"
    return [
        fact(text, right.sum(), len(right)),
        fact("the same, images with a near-copy in it", right[near].sum(), near.sum()),
        fact("the same, images without", right[~near].sum(), (~near).sum()),
    ]


def _shortcut_facts(table, groups):
    """How often size and brightness alone predict the class, in the largest split; a network should not need them."""
    trains = is_training(table)
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
    if "aligned" in pairs:
        told["aligned"] = pairs["aligned"].to_numpy()
    if groups is not None:
        told["same_group"] = groups[pairs["first"]] == groups[pairs["second"]]
    order = pd.DataFrame({"same_class": first["class"] == second["class"], "same_split": first["split"] == second["split"]})
    order = order.join(told[["correlation", "first", "second"]]).sort_values(list(order) + ["correlation", "first", "second"])
    return told.loc[order.index].reset_index(drop=True)


def drift(table: pd.DataFrame) -> pd.DataFrame:
    """How the images of the other splits differ from those of the split that trains.

    Args:
        table: that of `Scans`.

    Returns:
        A row per split and quantity: split, quantity, median (of the split), training_median, and distance, 0 to 1: the
        Kolmogorov-Smirnov statistic of the two samples, or for ``class`` half the sum of the differences between class shares.
    """
    trains, rows = is_training(table), []
    for split, part in table[~trains].groupby("split"):
        for name in ("width", "height", *MEASURES):
            here, there = part[name], table.loc[trains, name]
            distance = scipy_stats.ks_2samp(here, there, method="asymp").statistic
            rows.append((split_name(split), name, here.median(), there.median(), distance))
        shares = [some["class"].value_counts(normalize=True) for some in (part, table[trains])]
        distance = shares[0].sub(shares[1], fill_value=0).abs().sum() / 2
        rows.append((split_name(split), "class", np.nan, np.nan, distance))
    found = pd.DataFrame(rows, columns=["split", "quantity", "median", "training_median", "distance"])
    return found.round({"median": 3, "training_median": 3, "distance": 4})
