"""Figures of the dataset: classes, sizes, scans, near-duplicates."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tumor_mri.datasets import decoding, manifests, protocols
from tumor_mri.figures import style

PAIRS = 24  # pairs of near-duplicates in a figure, at most
_KINDS = {"Training": "white", "Testing": "black", "foreign": "#F0E442"}  # colours of medians


def class_counts(manifest: pd.DataFrame) -> Figure:
    """The share of each class in each folder, as bars on one scale, labelled with the number of images."""
    dataset = manifests.dataset_of(manifest)
    counts = pd.crosstab(manifest["class"], manifest["split"]).loc[list(dataset.classes), list(manifests.SPLITS)]
    shares = 100 * counts / counts.sum()
    figure, axis = plt.subplots(figsize=(6.5, 0.85 * len(counts) + 0.6))
    rows = np.arange(len(counts))
    for split, offset, alpha in zip(counts.columns, (-0.2, 0.2), (1, 0.45), strict=True):
        bars = axis.barh(rows + offset, shares[split], height=0.36, color=dataset.colours, alpha=alpha)
        axis.bar_label(bars, [f"{split}: {count:,} images" for count in counts[split]], padding=3, fontsize=9)
    axis.set(xlabel="share of the folder's images (%)", xlim=(0, shares.to_numpy().max() * 1.5))
    axis.set(yticks=rows, yticklabels=dataset.labels)
    axis.invert_yaxis()
    training, testing = counts.columns
    most = int((shares[testing] - shares[training]).abs().to_numpy().argmax())
    in_training, in_testing = shares.iloc[most]
    sentence = (
        f"The folders mix the classes differently: {dataset.labels[most]} makes up {in_training:.0f} % of {training} and "
        f"{in_testing:.0f} % of {testing}. "
    )
    sizes = (
        f"{split}: {of_split.sum():,} images, {of_split.min()} to {of_split.max()} per class"
        for split, of_split in counts.items()
    )
    return style.finish(figure, f"{sentence}{'; '.join(sizes)}.")


def copy_calibration(table: pd.DataFrame) -> Figure:
    """How many copies made on purpose the search for aligned copies finds, by kind of change; its strengths are the points.

    The axis begins below the least share. The strength is written beside each point below 99 %.

    Args:
        table: ``data/near_copies_calibration.csv``, or what `audit.copy_calibration.calibrate` returns.
    """
    made = table[table["strength"].notna()]
    kinds = list(made.groupby("kind")["share"].min().sort_values(kind="stable").index)  # the hardest first
    figure, axis = plt.subplots(figsize=(6.5, 0.27 * len(kinds) + 0.9))
    for row, kind in enumerate(kinds):
        found = made[made["kind"] == kind]
        places = row + np.linspace(-0.22, 0.22, len(found))
        axis.plot(100 * found["share"], places, "o", color=style.TRAINING, markeredgecolor="black", markersize=4.5)
        for place, share, strength in zip(places, found["share"], found["strength"], strict=True):
            if share < 0.99:
                axis.annotate(f"{strength:g}", (100 * share, place), (6, 0), textcoords="offset points", va="center", fontsize=9)
    axis.axvline(99, color="grey", linewidth=1, linestyle=":")
    style.label_rows(axis, kinds, f"found (% of {made['copies'].iloc[0]:.0f} copies, one point per strength; dotted: 99 %)")
    worst = made.loc[made["share"].idxmin()]
    slices = table[table["kind"] == "same slice"].iloc[0]
    others = table[table["pairs"].notna()]
    sentence = (
        f"{(made['share'] >= 0.99).sum()} of {len(made)} kinds and strengths of change are found in at least 99 % of copies; "
        f"least of all {worst['kind']} {worst['strength']:g}, {100 * worst['share']:.1f} %. Of {slices['copies']:.0f} known same "
        f"slices {slices['found']:.0f} are found; of {others['pairs'].sum():,.0f} pairs of different patients "
        f"{others['false'].sum():.0f} are taken for copies."
    )
    return style.finish(figure, sentence)


def image_sizes(manifest: pd.DataFrame) -> Figure:
    """Height against width of every Training image, one panel per class, all on the same axes."""
    training = manifest[manifest["split"] == "Training"]
    dataset = manifests.dataset_of(manifest)
    columns = min(len(dataset.classes), 2)
    rows = -(-len(dataset.classes) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3.1 * columns, 2.8 * rows), sharex=True, sharey=True, squeeze=False)
    for axis in axes.ravel()[len(dataset.classes) :]:
        axis.axis("off")
    kinds = {}
    for axis, name, folder in zip(axes.ravel(), dataset.labels, dataset.classes, strict=False):
        images = training[training["class"] == folder]
        kinds[name] = len(images[["width", "height"]].drop_duplicates())
        axis.scatter(images["width"], images["height"], s=14, alpha=0.35, color=manifests.label_colour(name), linewidths=0)
        axis.set(title=f"{name}: {kinds[name]} size{'s' if kinds[name] > 1 else ''}")
        axis.set(xlabel="width (pixels)", ylabel="height (pixels)")
        axis.tick_params(labelbottom=True, labelleft=True)
    fewest, most = min(kinds, key=kinds.get), max(kinds, key=kinds.get)
    sizes = ", ".join(f"{name} {count}" for name, count in kinds.items())
    sentence = (
        f"Training images differ in size by class: those of {fewest} come in {kinds[fewest]} size{'s' * (kinds[fewest] > 1)}, "
        f"those of {most} in {kinds[most]}. Sizes in each class: {sizes}."
    )
    return style.finish(figure, sentence)


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
        pairs: `audit.Audit.near_copies`, in the order in which pairs are shown. With a column ``whole``, the correlation of whole
            thumbnails, both correlations are written below a pair: whole on the left, aligned on the right.
        folder: the folder that was audited, or None.
        manifest: for a published figure: only pairs that may be shown are drawn; None draws any pair.
        columns: pairs per row.
        of_each: maximum number of pairs per class; None for no limit.

    Raises:
        ValueError: if there is no pair to show.
    """
    labels = {}
    total, across = len(pairs), (pairs["first_class"] != pairs["second_class"]).sum()
    if manifest is not None:
        dataset, shown = manifests.dataset_of(manifest), manifests.may_be_shown(manifest)
        labels = dict(zip(dataset.classes, dataset.labels, strict=True))
        pairs = pairs[shown[pairs["first"]].to_numpy() & shown[pairs["second"]].to_numpy()]
    if not len(pairs):
        raise ValueError("there are no near-copies to show")
    different = pairs.drop_duplicates("second")  # a second copy of the same image would show the same picture again
    drawn = (different if of_each is None else different.groupby("first_class").head(of_each).sort_values("first_class"))[:PAIRS]
    rows = -(-len(drawn) // columns)
    figure, axes = plt.subplots(rows, 2 * columns, figsize=(2.05 * columns, 1.7 * rows), squeeze=False)
    for axis in axes.ravel():
        axis.axis("off")
    for number, pair in enumerate(drawn.itertuples()):
        below = (f"correlation {pair.correlation:.3f}", "")
        if hasattr(pair, "whole"):
            below = (f"whole {pair.whole:.3f}", f"aligned {pair.correlation:.3f}")
        for axis, side, words in zip(axes.reshape(-1, 2)[number], ("first", "second"), below, strict=True):
            axis.axis("on")
            name, split = getattr(pair, f"{side}_class"), getattr(pair, f"{side}_split")
            style.show_scan(axis, getattr(pair, side), name, folder, seed=number)
            colour = "black" if pair.first_class == pair.second_class else style.VALIDATION
            axis.set_title(f"{labels.get(name, name)}\n{split}", fontsize=8, color=colour)
            axis.set_xlabel(words, fontsize=8)
    licence = f" of the {len(pairs):,} that may be shown" if len(pairs) < total else ""
    said = f"{total:,} pairs of near-copies, {across:,} of them across classes. Drawn: {len(drawn)}{licence}"
    ranges = {"whole thumbnails correlate": drawn["whole"]} if "whole" in drawn else {}
    ranges["aligned scans" if ranges else "they correlate"] = drawn["correlation"]
    spans = ", ".join(f"{name} {values.min():.3f} to {values.max():.3f}" for name, values in ranges.items())
    return style.finish(figure, f"{said}; {spans}.")


def two_kinds_of_glioma(manifest: pd.DataFrame, folder: Path | str | None = None, columns: int = 5) -> Figure:
    """Gliomas of Testing: slices of the Cheng set above, foreign gliomas below; phantoms without a dataset.

    A slice of the Cheng set cannot represent a foreign glioma. A few foreign gliomas are therefore shown, with credit, at most
    150 pixels per side.
    """
    testing = manifest[(manifest["split"] == "Testing") & (manifest["class"] == "glioma_tumor")]
    foreign = manifest.iloc[protocols.testing_parts(manifest)["foreign gliomas"]]
    kinds = {"Cheng set": testing[testing["cheng_slice"].notna()], "foreign": foreign}
    figure, axes = plt.subplots(2, columns, figsize=(1.15 * columns, 2.3))
    for row, (kind, images) in zip(axes, kinds.items(), strict=True):
        different = images.drop_duplicates("group")
        chosen = different.iloc[np.linspace(0, len(different) - 1, columns).astype(int)]  # evenly spaced, not selected by eye
        for number, (axis, path) in enumerate(zip(row, chosen["path"], strict=True)):
            style.show_scan(axis, path, "glioma_tumor", folder, seed=number)
        row[0].set_ylabel(f"{kind} ({len(images)})", fontsize=9)
    what = "drawn phantoms, not scans" if folder is None else f"{columns} of each kind, spread evenly over the folder"
    known = ", ".join(f"{len(images)} {kind}" for kind, images in kinds.items())
    rest = len(testing) - sum(map(len, kinds.values()))
    also = f"; {rest} more: near-copies of Training images" if rest else ""
    return style.finish(figure, f"Gliomas of Testing, {what}: {known}, of {len(testing)}{also}.")


def quality(images: pd.DataFrame, manifest: pd.DataFrame) -> Figure:
    """Size, sharpness and contrast of the images of Training, of Testing and of its foreign gliomas, by class.

    The point is the median. The thick line holds the middle half of the images, the thin line the middle 95 %. The dotted line is
    the side of the network's input.

    Args:
        images: `audit.Scans.table`, complete and in the order of the manifest. With a column ``head``, the standard deviation of
            the grey levels of the head alone, that is the contrast; else ``std``, that of the whole image, is.
        manifest: table of the images.
    """
    dataset = manifests.dataset_of(manifest)
    foreign = np.isin(np.arange(len(manifest)), protocols.testing_parts(manifest)["foreign gliomas"])
    kinds = {"Training": images["split"] == "Training", "Testing": (images["split"] == "Testing") & ~foreign, "foreign": foreign}
    shown = [(folder, name, kind) for folder, name in zip(dataset.classes, dataset.labels, strict=True) for kind in kinds]
    shown = [(folder, name, kind) for folder, name, kind in shown if kind != "foreign" or name == "glioma"]
    measures = {"shorter side (pixels)": images[["width", "height"]].min(axis=1)}
    if "sharpness" in images:
        measures["sharpness (grey levels)"] = images["sharpness"]
    of_head = "head" in images
    measures["contrast in the head (grey levels)" if of_head else "contrast (grey levels)"] = images["head" if of_head else "std"]
    figure, axes = plt.subplots(1, len(measures), figsize=(2.6 * len(measures) + 0.8, 3.8), sharey=True)
    medians = {}
    for axis, (measure, values) in zip(axes, measures.items(), strict=True):
        groups = [values[kinds[kind] & (images["class"] == folder)] for folder, _, kind in shown]
        for row, (group, (_, name, kind)) in enumerate(zip(groups, shown, strict=True)):
            _draw_spread(axis, row, group, manifests.label_colour(name), _KINDS[kind])
        style.label_rows(axis, [f"{name}, {kind}" for _, name, kind in shown], measure)
        medians[measure] = {row[1:]: group.median() for row, group in zip(shown, groups, strict=True)}
    axes[0].axvline(decoding.IMAGE_SIZE[0], color="black", linestyle=":")
    axes[0].set_xlim(left=0)
    line = plt.Line2D
    handles = [line([], [], color=face, marker="o", ls="", mec="black", label=f"{kind}: median") for kind, face in _KINDS.items()]
    handles += [line([], [], color="grey", linewidth=7, label="middle half"), line([], [], color="grey", label="middle 95 %")]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=9)
    sides = next(iter(measures.values()))[images["split"] == "Testing"]
    small = f"{(sides < decoding.IMAGE_SIZE[0]).sum()} of {len(sides)} Testing images have a side below the network's input."
    of = [("glioma", kind) for kind in ("foreign", "Training")]
    said = [f"{measure} {found[of[0]]:.0f} and {found[of[1]]:.0f}" for measure, found in medians.items() if of[0] in found]
    medians_said = f"Medians of foreign gliomas and of the gliomas of Training: {', '.join(said)}. " if said else ""
    return style.finish(figure, f"{medians_said}{small}")


def _draw_spread(axis, row, values, colour, face):
    """Draw the median, the middle half and the middle 95 % of some values into a row."""
    low, quarter, middle, three_quarters, high = values.quantile([0.025, 0.25, 0.5, 0.75, 0.975])
    axis.plot([low, high], [row, row], color=colour, linewidth=1.5)
    axis.plot([quarter, three_quarters], [row, row], color=colour, linewidth=7, solid_capstyle="butt")
    axis.plot(middle, row, "o", color=face, markeredgecolor="black")
    if low == high:
        axis.annotate(f"all {middle:.0f}", (middle, row), (7, 0), textcoords="offset points", va="center", fontsize=9)
