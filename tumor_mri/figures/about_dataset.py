"""Figures of the dataset: classes, sizes, scans, near-duplicates."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tumor_mri.datasets import decoding, manifests, protocols
from tumor_mri.figures import style

PAIRS = 24  # pairs of near-duplicates in a figure, at most


def class_counts(manifest: pd.DataFrame) -> Figure:
    """The number of images of each class in each folder, as bars."""
    dataset = manifests.dataset_of(manifest)
    counts = pd.crosstab(manifest["class"], manifest["split"]).loc[list(dataset.classes), list(manifests.SPLITS)]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2))
    for axis, split in zip(axes, counts.columns, strict=True):
        bars = axis.barh(dataset.labels, counts[split], color=dataset.colours)
        axis.bar_label(bars, padding=3)
        axis.set(title=f"{split}: {counts[split].sum():,} images", xlabel="images", xlim=(0, counts[split].max() * 1.15))
        axis.invert_yaxis()
    smallest, largest = counts["Training"].min(), counts["Training"].max()
    sentence = (
        f"Training holds {counts['Training'].sum():,} images, {smallest} to {largest} a class; "
        f"Testing holds {counts['Testing'].sum()}, {counts['Testing'].min()} to {counts['Testing'].max()} a class."
    )
    return style.finish(figure, sentence)


def copy_calibration(table: pd.DataFrame) -> Figure:
    """How many copies made on purpose the search for aligned copies finds, by kind of change and its strength.

    Args:
        table: ``data/near_copies_calibration.csv``, or what `audit.copy_calibration.calibrate` returns.
    """
    made = table[table["strength"].notna()]
    kinds = list(dict.fromkeys(made["kind"]))
    figure, axis = plt.subplots(figsize=(8, 0.34 * len(kinds) + 1))
    for row, kind in enumerate(kinds):
        found = made[made["kind"] == kind]
        places = row + np.linspace(-0.22, 0.22, len(found))
        axis.plot(100 * found["share"], places, "o", color=style.TRAINING, markersize=5)
        for place, share, strength in zip(places, found["share"], found["strength"], strict=True):
            axis.annotate(f"{strength:g}", (100 * share, place), (4, 0), textcoords="offset points", va="center", fontsize=6)
    axis.axvline(99, color="grey", linewidth=1, linestyle=":")
    style.label_rows(axis, kinds, "found (% of 200 copies); numbers are strengths; dotted: 99 %")
    worst = made.loc[made["share"].idxmin()]
    slices = table[table["kind"] == "same slice"].iloc[0]
    others = table[table["pairs"].notna()]
    sentence = (
        f"Of {len(made)} kinds and strengths of change, {(made['share'] >= 0.99).sum()} are found in at least 99 % of copies; "
        f"least of all {worst['kind']} {worst['strength']:g}, {100 * worst['share']:.1f} %. Of the known same slices "
        f"{slices['found']:.0f} of {slices['copies']:.0f} are found. Of {others['pairs'].sum():,.0f} pairs of different patients "
        f"{others['false'].sum():.0f} are taken for copies."
    )
    return style.finish(figure, sentence)


def image_sizes(manifest: pd.DataFrame) -> Figure:
    """Height against width of every Training image, one panel per class."""
    training = manifest[manifest["split"] == "Training"]
    dataset = manifests.dataset_of(manifest)
    count = len(dataset.classes)
    figure, axes = plt.subplots(1, count, figsize=(2.5 * count, 3), sharex=True, sharey=True)
    kinds = {}
    for axis, name, folder in zip(axes, dataset.labels, dataset.classes, strict=True):
        images = training[training["class"] == folder]
        kinds[name] = len(images[["width", "height"]].drop_duplicates())
        axis.scatter(images["width"], images["height"], s=14, alpha=0.35, color=manifests.label_colour(name), linewidths=0)
        axis.set(title=f"{name}\n{kinds[name]} size{'s' if kinds[name] > 1 else ''}", xlabel="width (pixels)")
    axes[0].set_ylabel("height (pixels)")
    sizes = ", ".join(f"{name} {count}" for name, count in kinds.items())
    return style.finish(figure, f"Different image sizes among the Training images of each class: {sizes}.")


def scan_of_each_class(manifest: pd.DataFrame, folder: Path | str | None = None) -> Figure:
    """F1: one scan per class, at most 150 pixels per side; phantoms if `folder` is None."""
    dataset = manifests.dataset_of(manifest)
    count = len(dataset.classes)
    figure, axes = plt.subplots(1, count, figsize=(1.55 * count, 1.9))
    training = manifest[manifest["split"] == "Training"]
    for axis, name, class_name in zip(axes, dataset.labels, dataset.classes, strict=True):
        of_class = training[training["class"] == class_name]
        chosen = of_class.sort_values("cheng_slice", kind="stable").iloc[0]
        style.show_scan(axis, chosen["path"], class_name, folder)
        axis.set_title(name, color="black")
    what = "drawn phantoms, not scans" if folder is None else "one scan of each class"
    return style.finish(figure, f"The {count} classes in index order, {what}: {', '.join(dataset.labels)}.")


def near_copy_pairs(
    pairs: pd.DataFrame,
    folder: Path | str | None = None,
    manifest: pd.DataFrame | None = None,
    columns: int = 4,
    of_each: int | None = None,
) -> Figure:
    """The first pairs of near-duplicates side by side, at most 24, each with class and split; phantoms without a dataset.

    Args:
        pairs: `audit.Audit.near_copies`, in the order in which pairs are shown.
        folder: the folder that was audited, or None.
        manifest: for a published figure: only pairs that may be shown are drawn; None draws any pair.
        columns: pairs per row.
        of_each: maximum number of pairs per class; None for no limit.

    Raises:
        ValueError: if there is no pair to show.
    """
    if manifest is not None:
        shown = manifests.may_be_shown(manifest)
        pairs = pairs[shown[pairs["first"]].to_numpy() & shown[pairs["second"]].to_numpy()]
    if not len(pairs):
        raise ValueError("there are no near-copies to show")
    different = pairs.drop_duplicates("second")  # a second copy of the same image would show the same picture again
    drawn = (different if of_each is None else different.groupby("first_class").head(of_each).sort_values("first_class"))[:PAIRS]
    rows = -(-len(drawn) // columns)
    figure, axes = plt.subplots(rows, 2 * columns, figsize=(2.9 * columns, 1.95 * rows), squeeze=False)
    for axis in axes.ravel():
        axis.axis("off")
    for number, pair in enumerate(drawn.itertuples()):
        for axis, side in zip(axes.reshape(-1, 2)[number], ("first", "second"), strict=True):
            axis.axis("on")
            name, split = getattr(pair, f"{side}_class"), getattr(pair, f"{side}_split")
            style.show_scan(axis, getattr(pair, side), name, folder, seed=number)
            axis.set_title(
                f"{name}\n{split}", fontsize=7, color="black" if pair.first_class == pair.second_class else style.VALIDATION
            )
            axis.set_xlabel(f"{pair.correlation:.4f}" if side == "first" else "", fontsize=7)
    classes = (drawn["first_class"] != drawn["second_class"]).sum()
    splits = (drawn["first_split"] != drawn["second_split"]).sum()
    sentence = (
        f"{len(drawn)} of {len(pairs):,} pairs of near-copies: {classes} across classes, {splits} across splits, "
        f"correlation {drawn['correlation'].min():.4f} to {drawn['correlation'].max():.4f}."
    )
    return style.finish(figure, sentence)


def two_kinds_of_glioma(manifest: pd.DataFrame, folder: Path | str | None = None, columns: int = 5) -> Figure:
    """Gliomas of Testing: slices of the Cheng set above, foreign gliomas below; phantoms without a dataset.

    A slice of the Cheng set cannot represent a foreign glioma. A few foreign gliomas are therefore shown, with credit, at most
    150 pixels per side.
    """
    testing = manifest[(manifest["split"] == "Testing") & (manifest["class"] == "glioma_tumor")]
    foreign = manifest.iloc[protocols.testing_parts(manifest)["foreign gliomas"]]
    kinds = {"Cheng set": testing[testing["cheng_slice"].notna()], "foreign": foreign}
    figure, axes = plt.subplots(2, columns, figsize=(1.6 * columns, 3.15))
    for row, (kind, images) in zip(axes, kinds.items(), strict=True):
        different = images.drop_duplicates("group")
        chosen = different.iloc[np.linspace(0, len(different) - 1, columns).astype(int)]  # evenly spaced, not selected by eye
        for number, (axis, path) in enumerate(zip(row, chosen["path"], strict=True)):
            style.show_scan(axis, path, "glioma_tumor", folder, seed=number)
        row[0].set_ylabel(f"{kind} ({len(images)})")
    what = "drawn phantoms, not scans" if folder is None else f"{columns} of each kind, spread evenly over the folder"
    known = ", ".join(f"{len(images)} {kind}" for kind, images in kinds.items())
    return style.finish(figure, f"Gliomas of Testing, {what}: {known}, of {len(testing)}.")


def quality(images: pd.DataFrame, manifest: pd.DataFrame) -> Figure:
    """Size and contrast of the images of Training, of Testing and of its foreign gliomas, by class.

    The point is the median. The thick line holds the middle half of the images, the thin line the middle 95 %. The dotted line is
    the side of the network's input.

    Args:
        images: `audit.Scans.table`, complete and in the order of the manifest.
        manifest: table of the images.
    """
    dataset = manifests.dataset_of(manifest)
    foreign = np.isin(np.arange(len(manifest)), protocols.testing_parts(manifest)["foreign gliomas"])
    kinds = {"Training": images["split"] == "Training", "Testing": (images["split"] == "Testing") & ~foreign, "foreign": foreign}
    shown = [(folder, name, kind) for folder, name in zip(dataset.classes, dataset.labels, strict=True) for kind in kinds]
    shown = [(folder, name, kind) for folder, name, kind in shown if kind != "foreign" or name == "glioma"]
    measures = {"shorter side (pixels)": images[["width", "height"]].min(axis=1), "contrast (std of grey levels)": images["std"]}
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), sharey=True)
    medians = {}
    for axis, (measure, values) in zip(axes, measures.items(), strict=True):
        groups = [values[kinds[kind] & (images["class"] == folder)] for folder, _, kind in shown]
        for row, (group, (_, name, kind)) in enumerate(zip(groups, shown, strict=True)):
            low, quarter, middle, three_quarters, high = group.quantile([0.025, 0.25, 0.5, 0.75, 0.975])
            colour = manifests.label_colour(name)
            axis.plot([low, high], [row, row], color=colour, linewidth=1.5)
            axis.plot([quarter, three_quarters], [row, row], color=colour, linewidth=7, solid_capstyle="butt")
            face = {"Training": "white", "Testing": "black", "foreign": "#F0E442"}[kind]
            axis.plot(middle, row, "o", color=face, markeredgecolor="black")
        axis.set(xlabel=measure)
        axis.grid(alpha=0.3, axis="x")
        medians[measure] = [f"{group.median():.0f}" for group in groups]
    axes[0].axvline(decoding.IMAGE_SIZE[0], color="black", linestyle=":")
    axes[0].set_xlim(left=0)
    axes[0].set(yticks=range(len(shown)), yticklabels=[f"{name}, {kind}" for _, name, kind in shown])
    axes[0].invert_yaxis()
    said = ", ".join(
        f"{name} {kind} {side} and {std}" for (_, name, kind), side, std in zip(shown, *medians.values(), strict=True)
    )
    sides = measures["shorter side (pixels)"][images["split"] == "Testing"]
    small = (sides < decoding.IMAGE_SIZE[0]).sum()
    sentence = f"Median shorter side in pixels and contrast in grey levels: {said}. "
    return style.finish(
        figure, f"{sentence}{small} of {len(sides)} Testing images have a side below {decoding.IMAGE_SIZE[0]} pixels."
    )
