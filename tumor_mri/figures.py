"""Every plot, in one style. Each figure prints one sentence, computed from the data that it plots.

Where ``TUMOR_MRI_FIGURES`` is set, to a folder and the start of a file's name, each figure is also written as SVG, for print.
"""

import inspect
import itertools
import os

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

from tumor_mri import audit, claims, dataset, evaluation, network, phantoms, protocols, statistics, wording

# Okabe and Ito's palette, which colour-blind readers can tell apart (https://jfly.uni-koeln.de/color/)
CLASS_COLOURS = dict(zip(dataset.NAMES, ("#0072B2", "#E69F00", "#009E73", "#CC79A7")))
TRAINING, VALIDATION = "#56B4E9", "#D55E00"
PROTOCOL_NAMES = {
    "testing_folder": "Split A: Testing folder",
    "training_only": "Split B: Training only",
    "grouped": "Grouped by patient",
    "foreign_added": "Split B, foreign gliomas added",
}
SHORT_NAMES = {"testing_folder": "split A", "training_only": "split B", "grouped": "grouped"}
SPLIT_COLOURS = {"testing_folder": VALIDATION, "training_only": TRAINING}
PROTOCOL_COLOURS = SPLIT_COLOURS | {"grouped": "#444444"}
PART_COLOURS = {"near-copies": "#CCCCCC", "others": "#777777", "foreign gliomas": CLASS_COLOURS["glioma"]}
_STYLE = {
    "figure.constrained_layout.use": True,
    "figure.dpi": 100,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "legend.frameon": False,
    "svg.hashsalt": "tumor_mri",  # the same figure makes the same file
}
plt.rcParams.update(_STYLE)
_NUMBERS = itertools.count(1)  # of the figures of a notebook, in order

PAIRS = 24  # of near-copies that a picture holds
_CLOSENESS = (-1.0, 0.8, 0.9, 0.95, audit.NEAR_COPY, 1.0)  # edges of bins of correlation, the last one of near-copies
_CLOSENESS_NAMES = ("0.80 or less", "to 0.90", "to 0.95", "to 0.99", "near-copies")


def finish(figure, sentence):
    """Show the figure, then say what it shows: nbval compares text, so the sentence keeps the picture honest."""
    plt.show()
    print(sentence)
    if start := os.environ.get("TUMOR_MRI_FIGURES"):
        name = inspect.currentframe().f_back.f_code.co_name  # of the function that drew it
        _write_for_print(figure, f"{start}-{next(_NUMBERS)}-{name}.svg")
    return figure


def _write_for_print(figure, path):
    """Write a figure as SVG. Scans go into it with the pixels that they have, at most 150 a side, not enlarged."""
    for image in itertools.chain.from_iterable(axis.get_images() for axis in figure.axes):
        image.set_interpolation("none")
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})


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
    return finish(figure, sentence)


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
    return finish(figure, f"Different image sizes among the Training images of each class: {sizes}.")


def scan_of_each_class(manifest, folder=None):
    """F1: one scan a class, at most 150 pixels a side; drawn phantoms where `folder` is None."""
    figure, axes = plt.subplots(1, 4, figsize=(6.2, 1.9))
    training = manifest[manifest["split"] == "Training"]
    for axis, name, class_name in zip(axes, dataset.NAMES, dataset.CLASSES):
        of_class = training[training["class"] == class_name]
        chosen = of_class.sort_values("cheng_slice", kind="stable").iloc[0]
        show_scan(axis, chosen["path"], class_name, folder)
        axis.set_title(name, color="black")
    what = "drawn phantoms, not scans" if folder is None else "one scan of each class"
    return finish(figure, f"The four classes in index order, {what}: {', '.join(dataset.NAMES)}.")


def show_scan(axis, path, class_name, folder, seed=0):
    """Draw one scan into an axis, or a phantom of its class where there is no dataset."""
    picture = phantoms.draw(class_name, seed) if folder is None else dataset.scan(path, folder)
    show_picture(axis, picture, drawn=folder is None)


def show_picture(axis, picture, drawn=False):
    """Draw grey levels into an axis, uint8, (height, width); `drawn` says that they are of a phantom, and is written on it."""
    axis.imshow(picture, cmap="gray", vmin=0, vmax=255)
    if drawn:
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
    return finish(figure, " ".join(_curve_sentence(title, group) for title, group in panels.items()))


def _panels(runs, by):
    panels = {}
    for run in runs:
        name = PROTOCOL_NAMES[run.config.protocol] if by == "protocol" else evaluation.network_name(run.config)
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
        f"{title}: at the restored epoch training {wording.say(training, ' %')}, "
        f"validation {wording.say(validation, ' %')}, gap {wording.say(gap, ' points')}."
    )


def gaps(summary):
    """The gap of every run, a row for each network and a colour for each split, with the mean as a bar."""
    order = [name for name in map(network.label, network.REPORT_WIDTHS) if name in set(summary["widths"])]
    figure, axis = plt.subplots(figsize=(7.5, 3.4))
    for protocol, colour in SPLIT_COLOURS.items():
        for row, widths in enumerate(order):
            chosen = summary[(summary["protocol"] == protocol) & (summary["widths"] == widths)]["gap"]
            if len(chosen):
                axis.plot(chosen, [row] * len(chosen), "o", color=colour, alpha=0.85, markeredgecolor="black")
                axis.plot([chosen.mean()] * 2, [row - 0.25, row + 0.25], color=colour, linewidth=3)
    axis.set(yticks=range(len(order)), yticklabels=order, xlabel="gap at the restored epoch (percentage points)")
    axis.set(ylabel="widths", xlim=(min(0, summary["gap"].min() - 1), summary["gap"].max() + 2))
    axis.invert_yaxis()
    axis.grid(alpha=0.3, axis="x")
    handles = [plt.Line2D([], [], color=c, marker="o", label=PROTOCOL_NAMES[p]) for p, c in SPLIT_COLOURS.items()]
    axis.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=2)
    ranges = summary.groupby("protocol")["gap"].agg(["min", "max"])
    said = [f"{PROTOCOL_NAMES[p]}: {r['min']:.1f} to {r['max']:.1f} points" for p, r in ranges.iterrows()]
    return finish(figure, f"Gap over all networks and seeds. {'; '.join(said)}.")


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
    return finish(figure, f"{title}: {right} of {total} on the diagonal, accuracy {right / total:.2%}.")


def may_be_shown(manifest):
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
    shown = may_be_shown(manifest)
    figure, axes = plt.subplots(len(pairs), columns, figsize=(1.55 * columns, 2.1 * len(pairs)), squeeze=False)
    for axis in axes.ravel():
        axis.axis("off")
    drawn = 0
    for row, pair in zip(axes, pairs.itertuples()):
        wrong = (truth == dataset.NAMES.index(pair.truth)) & (predicted == dataset.NAMES.index(pair.predicted))
        wrong &= shown[run.val_paths].to_numpy()
        order = sorted(np.flatnonzero(wrong), key=lambda index: -confidence[index])
        for axis, index in zip(row, order):
            drawn += 1
            axis.axis("on")
            show_scan(axis, run.val_paths[index], dataset.CLASSES[truth[index]], folder, seed=int(index))
            axis.set_title(f"{pair.truth}\ntaken for {pair.predicted}\n{confidence[index]:.0%} sure", fontsize=8)
    said = ", ".join(f"{p.truth} taken for {p.predicted} ({p.count})" for p in pairs.itertuples())
    what = f"{drawn} scans are drawn that may be shown" if folder else f"{drawn} are drawn, as phantoms"
    return finish(figure, f"The most frequent confusions: {said}; {what}.")


def run_name(run):
    """A run in words: its network, its protocol and fold, its seed."""
    name = f"{evaluation.network_name(run.config)} on {PROTOCOL_NAMES[run.config.protocol]}"
    fold = f", fold {run.config.fold}" if protocols.FOLD_COUNTS[run.config.protocol] > 1 else ""
    return f"{name}{fold}, seed {run.config.seed}"


def accuracy_by_nearest(runs, manifest, thumbnails):
    """Accuracy on validation images, by their correlation with the most alike image that trained; intervals over groups.

    Args:
        runs: list of `training.Run`, all of one protocol and fold.
        thumbnails: `audit.manifest_thumbnails`.
    """
    alike = audit.nearest_trained(runs[0], manifest, thumbnails)["correlation"]
    bins = pd.cut(alike.clip(-1, 1), _CLOSENESS, labels=_CLOSENESS_NAMES, include_lowest=True).cat.remove_unused_categories()
    groups = manifest.set_index("path")["group"][alike.index]
    figure, axis = plt.subplots(figsize=(8, 3.4))
    found = {}
    for number, run in enumerate(runs):
        right = evaluation.answers(run, manifest)["right"]
        accuracy = found[run.config.key] = right.groupby(bins, observed=True).mean()
        colour, shift = str(0.6 * number / max(len(runs) - 1, 1)), 0.16 * (number - (len(runs) - 1) / 2)
        for place, name in enumerate(accuracy.index):
            if groups[bins == name].nunique() > 1:
                low, high = statistics.group_interval(right[bins == name], groups[bins == name])
                axis.vlines(place + shift, 100 * low, 100 * high, color=colour, linewidth=2)
        axis.plot(np.arange(len(accuracy)) + shift, 100 * accuracy, "osD^v"[number % 5], color=colour, label=run_name(run))
    counts = bins.value_counts(sort=False)
    axis.set(xticks=range(len(counts)), xticklabels=[f"{name}\n{count} images" for name, count in counts.items()])
    axis.set(xlabel="correlation with the most alike image that trained", ylabel="accuracy (%)", ylim=(None, 101))
    axis.grid(alpha=0.3, axis="y")
    axis.legend(loc="lower right")
    spans = pd.DataFrame(found).T  # a row a run
    said = "; ".join(f"{name} {wording.span(spans[name])} ({count} images)" for name, count in counts.items())
    return finish(figure, f"Accuracy of {len(runs)} networks by the correlation with the most alike image that trained: {said}.")


def near_copy_pairs(pairs, folder=None, manifest=None, columns=4, of_each=None):
    """The first pairs of near-copies side by side, 24 at the most, each with its class and split; phantoms without a dataset.

    Args:
        pairs: `audit.Audit.near_copies`, the most telling first.
        folder: the folder that was audited, or None.
        manifest: where the picture is to be published: only pairs that may be shown are; None shows any.
        columns: pairs a row.
        of_each: pairs to show of each class at the most; None for no such limit.

    Raises:
        ValueError: where there is no pair to show.
    """
    if manifest is not None:
        shown = may_be_shown(manifest)
        pairs = pairs[shown[pairs["first"]].to_numpy() & shown[pairs["second"]].to_numpy()]
    if not len(pairs):
        raise ValueError("there are no near-copies to show")
    different = pairs.drop_duplicates("second")  # a copy of a copy would be the same picture again
    drawn = (different if of_each is None else different.groupby("first_class").head(of_each).sort_values("first_class"))[:PAIRS]
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
    return finish(figure, sentence)


def _network_names(table, protocol=None):
    """Labels of the networks in a table, the base one first, those that are not the report's last."""
    if protocol is not None:
        table = table[table["protocol"] == protocol]
    report = [network.label(widths) for widths in network.REPORT_WIDTHS]
    there = list(dict.fromkeys(table["widths"]))
    return [name for name in report if name in there] + [name for name in there if name not in report]


def errors_by_part(scores):
    """Errors on Testing, one stacked bar a network and split, divided among the parts of Testing; means over seeds.

    Args:
        scores: `evaluation.testing_scores`.
    """
    errors = scores[scores["part"].isin(PART_COLOURS)].groupby(["protocol", "widths", "part"])["errors"].mean().unstack("part")
    rows = [(protocol, name) for protocol in SPLIT_COLOURS for name in _network_names(scores, protocol)]
    errors = errors.loc[rows, list(PART_COLOURS)]
    figure, axis = plt.subplots(figsize=(8.5, 0.55 * len(rows) + 1.5))
    start = np.zeros(len(rows))
    for part, colour in PART_COLOURS.items():
        bars = axis.barh(range(len(rows)), errors[part], left=start, color=colour, edgecolor="white", label=part)
        text = [f"{count:.0f}" if count >= 4 else "" for count in errors[part]]
        axis.bar_label(bars, text, label_type="center", color="black" if part == "near-copies" else "white", fontsize=9)
        start += errors[part].to_numpy()
    axis.set(yticks=range(len(rows)), yticklabels=[row_label(*row) for row in rows])
    axis.set(xlabel="errors on Testing (images, mean over seeds)", xlim=(0, start.max() * 1.03))
    axis.invert_yaxis()
    axis.legend(loc="lower center", bbox_to_anchor=(0.4, 1), ncols=3)
    share, near = (errors[part] / errors.sum(axis=1) for part in ("foreign gliomas", "near-copies"))
    images = scores.drop_duplicates("part").set_index("part")["images"]
    sentence = (
        f"Of the errors on Testing {share.min():.0%} to {share.max():.0%} fall on the {images['foreign gliomas']} "
        f"foreign gliomas, {near.max():.0%} at the most on the {images['near-copies']} near-copies."
    )
    return finish(figure, sentence)


def accuracy_by_part(scores):
    """Accuracy on each part of Testing and on unseen Testing, every run a point, a colour for each split."""
    parts = [*PART_COLOURS, "unseen"]
    images = scores.drop_duplicates("part").set_index("part")["images"]
    figure, axis = plt.subplots(figsize=(8, 3.2))
    for (protocol, colour), shift in zip(SPLIT_COLOURS.items(), (-0.14, 0.14)):
        for row, part in enumerate(parts):
            chosen = scores[(scores["protocol"] == protocol) & (scores["part"] == part)]["accuracy"]
            axis.plot(100 * chosen, np.full(len(chosen), row + shift), "o", color=colour, alpha=0.8, markeredgecolor="black")
    axis.set(yticks=range(len(parts)), yticklabels=[f"{part} ({images[part]})" for part in parts])
    axis.set(xlabel="accuracy (%)", xlim=(-3, 103))
    axis.axhline(len(PART_COLOURS) - 0.5, color="black", linewidth=0.8)
    axis.invert_yaxis()
    axis.grid(alpha=0.3, axis="x")
    _split_legend(axis, 1)
    said = "; ".join(f"{part} {wording.span(scores.loc[scores['part'] == part, 'accuracy'])}" for part in parts)
    return finish(figure, f"Accuracy on the parts of Testing, over all runs on splits A and B: {said}.")


def _split_legend(axis, height, **settings):
    line = plt.Line2D
    handles = [line([], [], color=c, marker="o", ls="", mec="black", label=PROTOCOL_NAMES[p]) for p, c in SPLIT_COLOURS.items()]
    axis.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.4, height), ncols=2, **settings)


def two_kinds_of_glioma(manifest, folder=None, columns=5):
    """Gliomas of Testing: slices of the Cheng set above, foreign ones below; phantoms without a dataset.

    No Cheng slice can stand in for a foreign glioma, so a few are shown, credited, at most 150 pixels a side.
    """
    testing = manifest[(manifest["split"] == "Testing") & (manifest["class"] == "glioma_tumor")]
    foreign = manifest.iloc[protocols.testing_parts(manifest)["foreign gliomas"]]
    kinds = {"Cheng set": testing[testing["cheng_slice"].notna()], "foreign": foreign}
    figure, axes = plt.subplots(2, columns, figsize=(1.6 * columns, 3.15))
    for row, (kind, images) in zip(axes, kinds.items()):
        different = images.drop_duplicates("group")
        chosen = different.iloc[np.linspace(0, len(different) - 1, columns).astype(int)]  # spread over the folder, not picked
        for number, (axis, path) in enumerate(zip(row, chosen["path"])):
            show_scan(axis, path, "glioma_tumor", folder, seed=number)
        row[0].set_ylabel(f"{kind} ({len(images)})")
    what = "drawn phantoms, not scans" if folder is None else f"{columns} of each kind, spread evenly over the folder"
    known = ", ".join(f"{len(images)} {kind}" for kind, images in kinds.items())
    return finish(figure, f"Gliomas of Testing, {what}: {known}, of {len(testing)}.")


def foreign_gliomas_added(scores):
    """Recall on each half of the foreign gliomas, without and with the other half in training; a line a seed.

    Args:
        scores: `evaluation.foreign_scores`.
    """
    effect, pairs = evaluation.foreign_effect(scores), evaluation.foreign_recall(scores)
    figure, axes = plt.subplots(1, 2, figsize=(7.5, 3.4), sharey=True)
    for half, axis in enumerate(axes):
        found = pairs[pairs["half"] == half]
        for pair in found[["without", "with"]].to_numpy():
            axis.plot([0, 1], 100 * pair, color="#777777", linewidth=1)
        for place, (column, colour) in enumerate({"without": TRAINING, "with": CLASS_COLOURS["glioma"]}.items()):
            points = 100 * found[column]
            axis.plot(np.full(len(points), place), points, "o", color=colour, alpha=0.8, markeredgecolor="black", markersize=7)
        images = f"{found['images'].iloc[0]} images" if len(found) else "no runs"
        axis.set(title=f"scored on half {half + 1} ({images})", xlim=(-0.4, 1.4), ylim=(-4, 104))
        axis.set(xticks=[0, 1], xticklabels=["Cheng gliomas\nalone", "the other half\nin their place"])
        axis.grid(alpha=0.3, axis="y")
    axes[0].set_ylabel("recall (%)")
    rise = (pairs["with"] > pairs["without"]).sum()
    sentence = (
        f"Recall on foreign gliomas that did not train: {effect['without']:.1%} with Cheng gliomas alone in training, "
        f"{effect['with']:.1%} with the other half of the foreign ones in the place of as many, "
        f"{effect['points']:+.1f} points (95 % interval {effect['low']:.1f} to {effect['high']:.1f}, over groups); "
        f"it rises in {rise} of {effect['pairs']} pairs of runs."
    )
    return finish(figure, sentence)


def neighbours_beside_network(neighbours, runs, manifest):
    """1-nearest-neighbour, without training, beside the runs of networks on splits A and B.

    Args:
        neighbours: `audit.neighbour_scores`.
        runs: list of `training.Run`.
    """
    summary = evaluation.summarise(runs, manifest)
    figure, axis = plt.subplots(figsize=(8.5, 3.4))
    axis.barh(range(len(neighbours)), 100 * neighbours["accuracy"], height=0.55, color="#BBBBBB")
    for row, value in enumerate(neighbours["accuracy"]):
        axis.text(2, row, f"{100 * value:.1f}", va="center")
    for row, (protocol, colour) in enumerate(SPLIT_COLOURS.items()):
        found = 100 * summary.loc[summary["protocol"] == protocol, "val_accuracy"]
        axis.plot(found, np.full(len(found), row), "o", color=colour, alpha=0.8, markeredgecolor="black")
    axis.set(yticks=range(len(neighbours)), yticklabels=[f"{n} ({c})" for n, c in neighbours["images"].items()])
    axis.set(xlabel="accuracy (%); bars: nearest neighbour, circles: the report's networks", xlim=(0, 103))
    axis.invert_yaxis()
    said = "; ".join(f"{name} {value:.1%}" for name, value in neighbours["accuracy"].items())
    splits = summary.groupby("protocol")["val_accuracy"]
    networks = ", ".join(f"{PROTOCOL_NAMES[name]} {wording.span(found)}" for name, found in splits)
    return finish(figure, f"The class of the most alike training image: {said}. The trained networks: {networks}.")


def draws_beside_testing(ranges, pairs):
    """Where the middle 95 % of random draws of split B's validation images lie, beside the accuracy on Testing.

    Args:
        ranges: `evaluation.draw_ranges` of split B runs.
        pairs: `claims.testing_pairs`.
    """
    rows = [(name, size) for name in _network_names(ranges) for size in ranges["size"].unique()]
    figure, axis = plt.subplots(figsize=(8, 0.45 * len(rows) + 1.5))
    for row, (name, size) in enumerate(rows):
        chosen = ranges[(ranges["widths"] == name) & (ranges["size"] == size)]
        for shift, draw in zip(np.linspace(-0.3, 0.3, len(chosen) + 2)[1:-1], chosen.itertuples()):
            axis.plot([100 * draw.low, 100 * draw.high], [row + shift] * 2, color=TRAINING, linewidth=3, solid_capstyle="butt")
            axis.plot(100 * draw.middle, row + shift, "o", color=TRAINING, markeredgecolor="black")
        found = 100 * pairs.loc[pairs["widths"] == name, "testing"]
        axis.plot(found, np.full(len(found), row), "o", color=VALIDATION, alpha=0.8, markeredgecolor="black")
    axis.set(yticks=range(len(rows)), yticklabels=[f"{name} · {size} images" for name, size in rows], xlabel="accuracy (%)")
    axis.invert_yaxis()
    axis.grid(alpha=0.3, axis="x")
    line = plt.Line2D
    handles = [
        line([], [], color=VALIDATION, marker="o", ls="", mec="black", label="split A, on Testing"),
        line([], [], color=TRAINING, marker="o", mec="black", linewidth=3, label="split B, middle 95 % of random draws"),
    ]
    axis.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.4, 1), ncols=2)
    lowest = ranges.groupby("size")[["low", "high"]].agg({"low": "min", "high": "max"})
    said = "; ".join(f"of {size} images {100 * row['low']:.1f} to {100 * row['high']:.1f} %" for size, row in lowest.iterrows())
    return finish(figure, f"Random draws of split B's validation images: {said}. On Testing: {wording.span(pairs['testing'])}.")


def benchmark_scores(scores):
    """Every network and baseline of the benchmark: accuracy by protocol, its 95 % interval over groups, and on unseen Testing.

    Args:
        scores: `benchmark.table`.
    """
    names = list(scores["network"].unique())
    figure, axes = plt.subplots(1, 2, figsize=(9, 0.52 * len(names) + 1.3), sharey=True, width_ratios=(3, 2))
    for (protocol, colour), shift in zip(PROTOCOL_COLOURS.items(), (-0.22, 0, 0.22)):
        found = scores[scores["protocol"] == protocol]
        rows = np.array([names.index(name) for name in found["network"]]) + shift
        axes[0].hlines(rows, 100 * found["low"], 100 * found["high"], color=colour, linewidth=3)
        for axis, column in zip(axes, ("accuracy", "unseen_testing")):
            axis.plot(100 * found[column], rows, "o", color=colour, markeredgecolor="black", label=PROTOCOL_NAMES[protocol])
    label_rows(axes[0], names, "accuracy (%) with its 95 % interval over groups")
    label_rows(axes[1], names, "accuracy on unseen Testing (%)")
    axes[1].set_xlim(0, max(50, 110 * scores["unseen_testing"].max()))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    grouped = scores[scores["protocol"] == "grouped"]
    said = [f"{row.network} {span_in_words(100 * row.accuracy, 100 * row.low, 100 * row.high)}" for row in grouped.itertuples()]
    spans = [f"{SHORT_NAMES[name]} {wording.span(found)}" for name, found in scores.groupby("protocol")["accuracy"]]
    sentence = f"Accuracy grouped by patient, in percent, with its 95 % interval over groups: {'; '.join(said)}. "
    unseen = wording.span(scores["unseen_testing"].dropna())
    return finish(figure, f"{sentence}Over all rows: {', '.join(spans)}; unseen Testing {unseen}.")


def quality(images, manifest):
    """Size and contrast of the images of Training, of Testing and of its foreign gliomas, by class: median, half and 95 %.

    The dotted line is the side that the network sees.

    Args:
        images: `audit.Scans.table`, whole and in the manifest's order.
    """
    foreign = np.isin(np.arange(len(manifest)), protocols.testing_parts(manifest)["foreign gliomas"])
    kinds = {"Training": images["split"] == "Training", "Testing": (images["split"] == "Testing") & ~foreign, "foreign": foreign}
    shown = [(folder, name, kind) for folder, name in zip(dataset.CLASSES, dataset.NAMES) for kind in kinds]
    shown = [(folder, name, kind) for folder, name, kind in shown if kind != "foreign" or name == "glioma"]
    measures = {"shorter side (pixels)": images[["width", "height"]].min(axis=1), "contrast (std of grey levels)": images["std"]}
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), sharey=True)
    medians = {}
    for axis, (measure, values) in zip(axes, measures.items()):
        groups = [values[kinds[kind] & (images["class"] == folder)] for folder, _, kind in shown]
        for row, (group, (_, name, kind)) in enumerate(zip(groups, shown)):
            low, quarter, middle, three_quarters, high = group.quantile([0.025, 0.25, 0.5, 0.75, 0.975])
            colour = CLASS_COLOURS[name]
            axis.plot([low, high], [row, row], color=colour, linewidth=1.5)
            axis.plot([quarter, three_quarters], [row, row], color=colour, linewidth=7, solid_capstyle="butt")
            face = {"Training": "white", "Testing": "black", "foreign": "#F0E442"}[kind]
            axis.plot(middle, row, "o", color=face, markeredgecolor="black")
        axis.set(xlabel=measure)
        axis.grid(alpha=0.3, axis="x")
        medians[measure] = [f"{group.median():.0f}" for group in groups]
    axes[0].axvline(dataset.IMAGE_SIZE[0], color="black", linestyle=":")
    axes[0].set_xlim(left=0)
    axes[0].set(yticks=range(len(shown)), yticklabels=[f"{name}, {kind}" for _, name, kind in shown])
    axes[0].invert_yaxis()
    said = ", ".join(f"{name} {kind} {side} and {std}" for (_, name, kind), side, std in zip(shown, *medians.values()))
    sides = measures["shorter side (pixels)"][images["split"] == "Testing"]
    small = (sides < dataset.IMAGE_SIZE[0]).sum()
    sentence = f"Median shorter side in pixels and contrast in grey levels: {said}. "
    return finish(figure, f"{sentence}{small} of {len(sides)} Testing images have a side below {dataset.IMAGE_SIZE[0]} pixels.")


def _in_order(table):
    """Protocols of a table in the order of the story, and its rows of protocol and network, the base network first."""
    shown = [protocol for protocol in PROTOCOL_COLOURS if protocol in set(table["protocol"])]
    return shown, [(protocol, name) for protocol in shown for name in _network_names(table, protocol)]


def _draw_row(axis, row, points, mean, low, high, colour):
    """Every point above, and below it the mean as a stroke through its 95 % interval."""
    axis.plot(points, np.full(len(points), row - 0.14), "o", color=colour, alpha=0.75, markeredgecolor="black", markersize=5)
    axis.plot([low, high], [row + 0.2] * 2, color=colour, linewidth=3, solid_capstyle="butt")
    axis.plot([mean] * 2, [row + 0.06, row + 0.34], color=colour, linewidth=3)


def label_rows(axis, labels, xlabel):
    """Name the rows of a figure, the first on top, and what is measured across them."""
    axis.set(yticks=range(len(labels)), yticklabels=labels, xlabel=xlabel, ylim=(len(labels) - 0.5, -0.5))
    axis.grid(alpha=0.3, axis="x")


def row_label(protocol, name):
    """A protocol and a network, as rows are named."""
    return f"{SHORT_NAMES[protocol]} · {name}"


def span_in_words(mean, low, high, form=".1f"):
    """A mean and its interval in words; 0 has no sign."""
    mean, low, high = (format(round(value, 1) + 0.0, form) for value in (mean, low, high))
    return f"{mean} ({low} to {high})"


def honest_accuracies(scores):
    """Accuracy by protocol and network, cross-fitted where an epoch was chosen, with its 95 % interval over seeds or groups.

    Args:
        scores: `evaluation.image_scores`.
    """
    table, runs = evaluation.accuracy_table(scores), evaluation.run_scores(scores)
    _, rows = _in_order(table)
    found = table.set_index(["protocol", "widths"])
    figure, axis = plt.subplots(figsize=(8, 0.5 * len(rows) + 0.9))
    said = []
    for number, (protocol, name) in enumerate(rows):
        points = runs[(runs["protocol"] == protocol) & (runs["widths"] == name)]["accuracy"]
        row = found.loc[(protocol, name)]
        spread = 100 * row[["accuracy", "low", "high"]].astype(float)
        _draw_row(axis, number, 100 * points, *spread, PROTOCOL_COLOURS[protocol])
        said.append(f"{row_label(protocol, name)} {span_in_words(*spread)} over {row['over']}")
    label_rows(axis, [row_label(*row) for row in rows], "accuracy (%), cross-fitted where an epoch was chosen")
    return finish(
        figure, f"Accuracy in percent, cross-fitted where an epoch was chosen, with its 95 % interval: {'; '.join(said)}."
    )


def network_differences(scores, reference=evaluation.BASE, on=None):
    """How each network differs from a reference of the same protocol and seed: every pair, the mean, its 95 % interval.

    Args:
        scores, reference: as `evaluation.network_differences` takes them.
        on: the images scored, for the axis, where they are not those on which the protocol validates.
    """
    table, pairs = (find(scores, reference) for find in (evaluation.network_differences, evaluation.run_differences))
    _, rows = _in_order(table)
    found = table.set_index(["protocol", "widths"]).loc[rows]
    figure, axis = plt.subplots(figsize=(8, 0.5 * len(rows) + 0.9))
    axis.axvline(0, color="black", linewidth=1)
    said = []
    for number, ((protocol, name), row) in enumerate(found.iterrows()):
        points = pairs[(pairs["protocol"] == protocol) & (pairs["widths"] == name)]["difference"]
        spread = row[["difference", "low", "high"]].astype(float)
        _draw_row(axis, number, points, *spread, PROTOCOL_COLOURS[protocol])
        said.append(f"{row_label(protocol, name)} {span_in_words(*spread, '+.1f')}")
    alone = len({protocol for protocol, _ in rows}) == 1
    where = f", {on or SHORT_NAMES[rows[0][0]]}" if alone or on else ""
    labels = [name if alone else row_label(protocol, name) for protocol, name in rows]
    label_rows(axis, labels, f"accuracy minus that of {reference} (points{where})")
    across = ((found["low"] <= 0) & (found["high"] >= 0)).sum()
    sentence = f"Difference to {reference} in points, with its 95 % interval: {'; '.join(said)}."
    return finish(figure, f"{sentence} {across} of {len(found)} intervals hold 0." if len(found) > 1 else sentence)


def mcnemar_pairs(pairs):
    """The p value of McNemar's test for every two runs of a protocol that differ in the seed alone, or in the widths alone.

    Args:
        pairs: `evaluation.mcnemar_pairs`.
    """
    kinds = {"seed": "same network, other seed", "widths": "other network, same seed"}
    found = {key: of_kind["p"] for key, of_kind in pairs.groupby(["protocol", "differ"])}
    rows = [(protocol, kind) for protocol in PROTOCOL_COLOURS for kind in kinds if (protocol, kind) in found]
    figure, axis = plt.subplots(figsize=(8, 0.45 * len(rows) + 0.9))
    for number, (protocol, kind) in enumerate(rows):
        p = found[protocol, kind]
        shifts = np.linspace(-0.25, 0.25, len(p) + 2)[1:-1]  # else points hide each other
        axis.plot(p, number + shifts, "o", color=PROTOCOL_COLOURS[protocol], alpha=0.75, markeredgecolor="black", markersize=5)
    axis.axvline(0.05, color="black", linestyle=":")
    axis.set(xscale="log")
    labels = [row_label(protocol, kinds[kind]) for protocol, kind in rows]
    label_rows(axis, labels, "p of McNemar's test (dotted: 0.05)")
    counts = pairs.assign(below=pairs["p"] < 0.05).groupby("differ")["below"].agg(["sum", "size"])
    said = [f"{counts.loc[kind, 'sum']} of {counts.loc[kind, 'size']} ({kinds[kind]})" for kind in kinds if kind in counts.index]
    return finish(figure, f"Pairs of runs that differ with p below 0.05: {', '.join(said)}.")


def stopping_epochs(summary):
    """After how many epochs each run ended, beside the span that the report names.

    Args:
        summary: `evaluation.summarise`.
    """
    shown, rows = _in_order(summary)
    figure, axis = plt.subplots(figsize=(8, 0.4 * len(rows) + 0.9))
    low, high = claims.REPORT_ENDS
    axis.axvspan(low - 0.5, high + 0.5, color="#DDDDDD", zorder=0)
    for number, (protocol, name) in enumerate(rows):
        ends = summary[(summary["protocol"] == protocol) & (summary["widths"] == name)]["epochs_run"]
        axis.plot(ends, np.full(len(ends), number), "o", color=PROTOCOL_COLOURS[protocol], alpha=0.75, markeredgecolor="black")
    label = f"epochs trained when the run ended (grey: {low} to {high}, the report)"
    label_rows(axis, [row_label(*row) for row in rows], label)
    axis.set_xlim(0, 61)
    ends = summary.groupby("protocol")["epochs_run"]
    said = "; ".join(
        f"{SHORT_NAMES[name]} {ends.min()[name]} to {ends.max()[name]}, mean {ends.mean()[name]:.0f}" for name in shown
    )
    within = summary["epochs_run"].between(low, high)
    sentence = f"Runs ended after so many epochs: {said}. {within.sum()} of {len(within)} ended after {low} to {high}, "
    return finish(figure, f"{sentence}{(summary['epochs_run'] > high).sum()} later.")


def flattery(scores):
    """By how much accuracy at the best epoch exceeds the cross-fitted one: every run, the mean, its 95 % interval over seeds.

    Networks of one seed are averaged first, and so are folds. With fewer than three seeds there is no interval.

    Args:
        scores: `evaluation.image_scores`.
    """
    runs = evaluation.run_scores(scores)
    shown, _ = _in_order(runs)
    figure, axis = plt.subplots(figsize=(8, 0.55 * len(shown) + 0.9))
    said = []
    for number, protocol in enumerate(shown):
        points = runs[runs["protocol"] == protocol]["flattery"]
        by_seed = runs[runs["protocol"] == protocol].groupby("seed")["flattery"].mean()
        mean, half = statistics.interval(by_seed) if len(by_seed) >= evaluation.SEEDS_FOR_AN_INTERVAL else (points.mean(), np.nan)
        _draw_row(axis, number, points, mean, mean - half, mean + half, PROTOCOL_COLOURS[protocol])
        spread = f"{mean:.2f} points" if np.isnan(half) else wording.say(by_seed, " points", 2)
        said.append(f"{SHORT_NAMES[protocol]} {spread} ({len(points)} runs)")
    axis.axvline(0, color="black", linewidth=1)
    label = "accuracy at the best epoch minus cross-fitted accuracy (points)"
    label_rows(axis, [f"{SHORT_NAMES[name]} ({(runs['protocol'] == name).sum()} runs)" for name in shown], label)
    return finish(figure, f"Choosing the epoch on the scored images flatters by: {'; '.join(said)}.")


def class_recalls(scores):
    """Recall of each class by protocol: every run, the mean, and its 95 % interval over groups.

    Args:
        scores: `evaluation.image_scores` or `evaluation.unseen_scores`.
    """
    table = evaluation.class_recalls(scores)
    shown, _ = _in_order(table.assign(widths=""))
    keys = [(name, protocol) for name in dataset.NAMES if name in set(table["class"]) for protocol in shown]
    found = table.set_index(["class", "protocol"]).loc[keys]
    runs = 100 * scores.groupby(["class", "protocol", "widths", "seed", "fold"])["right"].mean()
    figure, axis = plt.subplots(figsize=(8, 0.5 * len(keys) + 0.9))
    said = []
    for number, ((name, protocol), row) in enumerate(found.iterrows()):
        spread = 100 * row[["recall", "low", "high"]].astype(float)
        _draw_row(axis, number, runs.loc[(name, protocol)], *spread, CLASS_COLOURS[name])
        said.append(f"{name}, {SHORT_NAMES[protocol]} {span_in_words(*spread)}")
    labels = [f"{name} · {SHORT_NAMES[protocol]} ({found.loc[(name, protocol), 'images']})" for name, protocol in keys]
    label_rows(axis, labels, "recall (%)")
    return finish(figure, f"Recall in percent, with its 95 % interval over groups: {'; '.join(said)}.")


def reliability(panels):
    """How often networks are right by how sure they are: a panel a set of images, all runs together; larger dots hold more.

    Args:
        panels: by title, ``evaluation.image_scores`` or ``unseen_scores`` of one protocol. The calibration error is the mean over
            runs; its interval, from three seeds on, is over seeds, since folds of one seed share what they trained on.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(2.1 * len(panels), 3), sharey=True, squeeze=False)
    said = []
    for axis, (title, scores) in zip(axes[0], panels.items()):
        curve = statistics.reliability(scores["confidence"], scores["right_at_best"])
        colour = PROTOCOL_COLOURS[scores["protocol"].iloc[0]]
        axis.plot([0, 100], [0, 100], color="black", linewidth=0.8, linestyle=":")
        axis.plot(100 * curve["confidence"], 100 * curve["accuracy"], color=colour, linewidth=1.2)
        share = curve["images"] / curve["images"].sum()
        sizes = 10 + 250 * share
        axis.scatter(100 * curve["confidence"], 100 * curve["accuracy"], s=sizes, color=colour, edgecolors="black", zorder=3)
        errors = evaluation.calibration_errors(scores)
        by_seed = errors.groupby("seed")["ece"].mean()
        ece = wording.say(by_seed) if len(by_seed) >= evaluation.SEEDS_FOR_AN_INTERVAL else f"{by_seed.mean():.1f}"
        axis.set(title=f"{title}\nECE {ece}", xlabel="confidence (%)")
        axis.set(xlim=(20, 106), ylim=(-4, 106), xticks=[25, 50, 75, 100])
        axis.grid(alpha=0.3)
        means = errors[["confidence", "accuracy"]].mean()
        said.append(f"{title} {means['confidence']:.0f} and {means['accuracy']:.0f}, ECE {ece}")
    axes[0][0].set_ylabel("accuracy (%)")
    return finish(figure, f"Mean confidence and accuracy in percent, calibration error (ECE) in points: {'; '.join(said)}.")
