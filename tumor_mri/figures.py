"""Every plot, in one style. Each figure prints one sentence, computed from the data that it plots."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from tumor_mri import dataset, evaluation, network, phantoms

# Okabe and Ito's palette, which colour-blind readers can tell apart (https://jfly.uni-koeln.de/color/)
CLASS_COLOURS = dict(zip(dataset.NAMES, ("#0072B2", "#E69F00", "#009E73", "#CC79A7")))
TRAINING, VALIDATION, REPORT = "#56B4E9", "#D55E00", "#000000"
PROTOCOL_NAMES = {
    "testing_folder": "Split A: Testing folder",
    "training_only": "Split B: Training only",
    "grouped": "Grouped by patient",
}
_STYLE = {
    "figure.constrained_layout.use": True,
    "figure.dpi": 100,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "legend.frameon": False,
}
plt.rcParams.update(_STYLE)


def _finish(figure, sentence):
    """Show the figure, then say what it shows: nbval compares text, so the sentence keeps the picture honest."""
    plt.show()
    print(sentence)
    return figure


def class_counts(manifest):
    """Images of each class in each folder, as bars."""
    counts = pd.crosstab(manifest["class"], manifest["split"])[["Training", "Testing"]]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2))
    for axis, split in zip(axes, counts.columns):
        bars = axis.barh(dataset.NAMES, counts[split], color=list(CLASS_COLOURS.values()))
        axis.bar_label(bars, padding=3)
        axis.set(title=f"{split}: {counts[split].sum():,} images", xlabel="images", xlim=(0, counts[split].max() * 1.15))
        axis.invert_yaxis()
    smallest, largest = counts["Training"].min(), counts["Training"].max()
    sentence = (
        f"Training holds {counts['Training'].sum():,} images, {smallest} to {largest} a class; "
        f"Testing holds {counts['Testing'].sum()}, {counts['Testing'].min()} to {counts['Testing'].max()} a class."
    )
    return _finish(figure, sentence)


def image_sizes(manifest):
    """Width against height of every Training image, a panel a class."""
    training = manifest[manifest["split"] == "Training"]
    figure, axes = plt.subplots(1, 4, figsize=(10, 3), sharex=True, sharey=True)
    kinds = {}
    for axis, name, folder in zip(axes, dataset.NAMES, dataset.CLASSES):
        images = training[training["class"] == folder]
        kinds[name] = len(images[["width", "height"]].drop_duplicates())
        axis.scatter(images["width"], images["height"], s=14, alpha=0.35, color=CLASS_COLOURS[name], linewidths=0)
        axis.set(title=f"{name}\n{kinds[name]} size{'s' if kinds[name] > 1 else ''}", xlabel="width (pixels)")
    axes[0].set_ylabel("height (pixels)")
    sizes = ", ".join(f"{name} {count}" for name, count in kinds.items())
    return _finish(figure, f"Different image sizes among the Training images of each class: {sizes}.")


def scan_of_each_class(manifest, folder=None):
    """F1: one scan a class, at most 150 pixels a side; drawn phantoms where `folder` is None."""
    figure, axes = plt.subplots(1, 4, figsize=(9, 2.8))
    training = manifest[manifest["split"] == "Training"]
    for axis, name, class_name in zip(axes, dataset.NAMES, dataset.CLASSES):
        of_class = training[training["class"] == class_name]
        chosen = of_class.sort_values("cheng_slice", kind="stable").iloc[0]
        show_scan(axis, chosen["path"], class_name, folder)
        axis.set_title(name, color="black")
    what = "drawn phantoms, not scans" if folder is None else "one scan of each class"
    return _finish(figure, f"The four classes in index order, {what}: {', '.join(dataset.NAMES)}.")


def show_scan(axis, path, class_name, folder, seed=0):
    """Draw one scan into an axis, or a phantom of its class where there is no dataset."""
    picture = phantoms.draw(class_name, seed) if folder is None else dataset.scan(path, folder)
    axis.imshow(picture, cmap="gray", vmin=0, vmax=255)
    if folder is None:
        axis.text(0.5, 0.02, "drawing, no scan", color="white", fontsize=8, ha="center", transform=axis.transAxes)
    axis.set(xticks=[], yticks=[])
    sns.despine(ax=axis, left=True, bottom=True)


def learning_curves(runs, by="protocol", log=None):
    """Training and validation accuracy per epoch, every run drawn, a panel for each protocol or each network.

    Args:
        runs: list of `training.Run`.
        by: ``protocol`` or ``widths``: what makes a panel.
        log: the report's own log (columns epoch, accuracy, val_accuracy), drawn as a panel of its own.
    """
    if not runs:
        raise ValueError("there are no runs to draw: train the study first (`python -m tumor_mri train --help`)")
    panels = _panels(runs, by)
    count = len(panels) + (log is not None)
    figure, axes = plt.subplots(1, count, figsize=(max(3.3 * count, 5), 3.4), sharey=True, squeeze=False)
    axes = list(axes[0])
    if log is not None:
        axis = axes.pop(0)
        axis.plot(log["epoch"], 100 * log["accuracy"], color=TRAINING)
        axis.plot(log["epoch"], 100 * log["val_accuracy"], color=VALIDATION)
        axis.set_title("the report's own log")
    for axis, (title, group) in zip(axes, panels.items()):
        for run in group:
            _draw_run(axis, run)
        axis.set_title(f"{title}\n{len(group)} run{'s' if len(group) > 1 else ''}")
    for axis in figure.axes:
        axis.set(xlabel="epoch", ylim=(20, 102))
        axis.grid(alpha=0.3)
    figure.axes[0].set_ylabel("accuracy (%)")
    figure.axes[-1].legend(handles=_curve_handles(), loc="lower right", fontsize=9)
    return _finish(figure, " ".join(_curve_sentence(title, group) for title, group in panels.items()))


def _panels(runs, by):
    panels = {}
    for run in runs:
        name = PROTOCOL_NAMES[run.config.protocol] if by == "protocol" else network.label(run.config.widths)
        panels.setdefault(name, []).append(run)
    return panels


def _draw_run(axis, run):
    epochs = np.arange(1, run.epochs_run + 1)
    for curve, colour in (("accuracy", TRAINING), ("val_accuracy", VALIDATION)):
        values = 100 * np.array(run.history[curve])
        axis.plot(epochs, values, color=colour, alpha=0.75, linewidth=1.2)
        axis.plot(run.best_epoch, values[run.best_epoch - 1], "o", color=colour, markeredgecolor="black", markersize=6)


def _curve_handles():
    line = plt.Line2D
    return [
        line([], [], color=TRAINING, label="training"),
        line([], [], color=VALIDATION, label="validation"),
        line([], [], color="white", marker="o", markeredgecolor="black", label="restored epoch"),
    ]


def _curve_sentence(title, group):
    best = [run.best_epoch - 1 for run in group]
    training = [100 * run.history["accuracy"][epoch] for run, epoch in zip(group, best)]
    validation = [100 * run.history["val_accuracy"][epoch] for run, epoch in zip(group, best)]
    gap = np.subtract(training, validation)
    return (
        f"{title}: at the restored epoch training {evaluation.say(training, ' %')}, "
        f"validation {evaluation.say(validation, ' %')}, gap {evaluation.say(gap, ' points')}."
    )


def gaps(summary):
    """The gap of every run, a row for each network and a colour for each split, with the mean as a bar."""
    order = [name for name in map(network.label, network.REPORT_WIDTHS) if name in set(summary["widths"])]
    colours = {"testing_folder": VALIDATION, "training_only": TRAINING}
    figure, axis = plt.subplots(figsize=(7.5, 3.4))
    for protocol, colour in colours.items():
        for row, widths in enumerate(order):
            chosen = summary[(summary["protocol"] == protocol) & (summary["widths"] == widths)]["gap"]
            if len(chosen):
                axis.plot(chosen, [row] * len(chosen), "o", color=colour, alpha=0.85, markeredgecolor="black")
                axis.plot([chosen.mean()] * 2, [row - 0.25, row + 0.25], color=colour, linewidth=3)
    axis.set(yticks=range(len(order)), yticklabels=order, xlabel="gap at the restored epoch (percentage points)")
    axis.set(ylabel="widths", xlim=(min(0, summary["gap"].min() - 1), summary["gap"].max() + 2))
    axis.invert_yaxis()
    axis.grid(alpha=0.3, axis="x")
    handles = [plt.Line2D([], [], color=c, marker="o", label=PROTOCOL_NAMES[p]) for p, c in colours.items()]
    axis.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=2)
    ranges = summary.groupby("protocol")["gap"].agg(["min", "max"])
    said = [f"{PROTOCOL_NAMES[p]}: {r['min']:.1f} to {r['max']:.1f} points" for p, r in ranges.iterrows()]
    return _finish(figure, f"Gap over all networks and seeds. {'; '.join(said)}.")


def confusion_heat_map(matrix, title):
    """F9: counts, and shares of the true class as colour and text, with class names."""
    matrix = np.asarray(matrix)
    shares = matrix / matrix.sum(axis=1, keepdims=True)
    text = [[f"{count}\n{share:.1%}" for count, share in zip(*rows)] for rows in zip(matrix, shares)]
    figure, axis = plt.subplots(figsize=(5.6, 4.6))
    sns.heatmap(
        shares,
        annot=text,
        fmt="",
        cmap="Blues",
        vmin=0,
        vmax=1,
        xticklabels=dataset.NAMES,
        yticklabels=dataset.NAMES,
        cbar_kws={"label": "share of the true class"},
        ax=axis,
    )
    axis.set(xlabel="predicted", ylabel="truth", title=title)
    axis.tick_params(axis="x", rotation=20)
    axis.tick_params(axis="y", rotation=0)
    right, total = int(np.trace(matrix)), int(matrix.sum())
    return _finish(figure, f"{title}: {right} of {total} on the diagonal, accuracy {right / total:.2%}.")


def _may_be_shown(manifest):
    """By path: slices of the Cheng set (CC BY) for tumours, and any image of the class without one, which has none of them."""
    row_of = manifest.set_index("path")
    return row_of["cheng_slice"].notna() | (row_of["class"] == "no_tumor")


def confused_scans(run, manifest, pairs, folder=None, columns=5):
    """Scans of the most frequent confusions, a row each, the most confident errors first; phantoms without a dataset.

    Of tumours only slices of the Cheng set are shown, whose licence allows it.

    Args:
        run: a `training.Run`, scored on its validation images.
        pairs: rows of `evaluation.confused_pairs`.
        folder: the dataset's folder, or None.
        columns: scans a row.
    """
    truth = evaluation.truth(run.val_paths, manifest)
    predicted = run.val_probabilities.argmax(axis=1)
    confidence = run.val_probabilities.max(axis=1)
    shown = _may_be_shown(manifest)
    figure, axes = plt.subplots(len(pairs), columns, figsize=(1.9 * columns, 2.35 * len(pairs)), squeeze=False)
    for axis in axes.ravel():
        axis.axis("off")
    for row, pair in zip(axes, pairs.itertuples()):
        wrong = (truth == dataset.NAMES.index(pair.truth)) & (predicted == dataset.NAMES.index(pair.predicted))
        wrong &= shown[run.val_paths].to_numpy()
        order = sorted(np.flatnonzero(wrong), key=lambda index: -confidence[index])
        for axis, index in zip(row, order):
            axis.axis("on")
            show_scan(axis, run.val_paths[index], dataset.CLASSES[truth[index]], folder, seed=int(index))
            axis.set_title(f"{pair.truth}\ntaken for {pair.predicted}\n{confidence[index]:.0%} sure", fontsize=8)
    said = ", ".join(f"{p.truth} taken for {p.predicted} ({p.count})" for p in pairs.itertuples())
    return _finish(figure, f"The most frequent confusions: {said}.")


def near_copy_pairs(pairs, folder=None, manifest=None, count=24, columns=4):
    """The first pairs of near-copies side by side, each with its class and split; phantoms without a dataset.

    Args:
        pairs: `audit.Audit.near_copies`, the most telling first.
        folder: the folder that was audited, or None.
        manifest: where the picture is to be published: only pairs that may be shown are; None shows any.
        count: pairs to show at the most.
        columns: pairs a row.

    Raises:
        ValueError: where there is no pair to show.
    """
    if manifest is not None:
        shown = _may_be_shown(manifest)
        pairs = pairs[shown[pairs["first"]].to_numpy() & shown[pairs["second"]].to_numpy()]
    if not len(pairs):
        raise ValueError("there are no near-copies to show")
    drawn = pairs.head(count)
    rows = -(-len(drawn) // columns)
    figure, axes = plt.subplots(rows, 2 * columns, figsize=(2.9 * columns, 1.95 * rows), squeeze=False)
    for axis in axes.ravel():
        axis.axis("off")
    for number, pair in enumerate(drawn.itertuples()):
        for axis, side in zip(axes.reshape(-1, 2)[number], ("first", "second")):
            axis.axis("on")
            name, split = getattr(pair, f"{side}_class"), getattr(pair, f"{side}_split")
            show_scan(axis, getattr(pair, side), name, folder, seed=number)
            axis.set_title(f"{name}\n{split}", fontsize=7, color="black" if pair.first_class == pair.second_class else VALIDATION)
            axis.set_xlabel(f"{pair.correlation:.4f}" if side == "first" else "", fontsize=7)
    classes = (drawn["first_class"] != drawn["second_class"]).sum()
    splits = (drawn["first_split"] != drawn["second_split"]).sum()
    sentence = (
        f"{len(drawn)} of {len(pairs):,} pairs of near-copies: {classes} across classes, {splits} across splits, "
        f"correlation {drawn['correlation'].min():.4f} to {drawn['correlation'].max():.4f}."
    )
    return _finish(figure, sentence)
