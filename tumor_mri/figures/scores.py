"""Figures of scores: confusion, accuracy, recall, differences, calibration."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from tumor_mri import stats, text
from tumor_mri.audit import near_copies
from tumor_mri.datasets import manifests, protocols
from tumor_mri.evaluation import comparisons, scoring
from tumor_mri.figures import style
from tumor_mri.runs import configs
from tumor_mri.study import gap

_CORRELATION_BINS = (-1.0, 0.8, 0.9, 0.95, near_copies.NEAR_COPY, 1.0)  # edges; the last bin holds near-duplicates
FEWEST_GROUPS = 20  # of a class, for an interval over groups: that of fewer misses the truth too often
_FEWEST_PAIRS = 3  # of runs, for a row of p values
_LONGEST_SENTENCE = 300  # characters
_OVER_SEEDS = {"linewidth": 1.3, "marker": "|", "markersize": 9}  # the line of an interval over seeds
_CORRELATION_NAMES = ("0.80 or less", "to 0.90", "to 0.95", "to 0.99", "near-copies")

FEW_ANSWERS = 20  # per training: a bin of a reliability diagram with fewer is faint, because chance decides its accuracy


def confusion_heat_map(
    matrix: np.ndarray | pd.DataFrame, title: str, labels: Sequence[str] = manifests.BRAIN_TUMOUR_MRI.labels
) -> Figure:
    """F9: the confusion matrix with counts and shares of the true class. Colours show the errors alone; the diagonal is grey.

    Args:
        matrix: counts, (classes, classes); rows are the truth, columns the prediction.
        title: title of the figure.
        labels: names of the classes.
    """
    matrix = np.asarray(matrix)
    shares = 100 * matrix / matrix.sum(axis=1, keepdims=True)
    correct = np.eye(len(matrix), dtype=bool)  # on a scale up to 100 % all errors would look white
    words = np.array(
        [f"{count:,}\n{share:.1f} %" if count else "0" for count, share in zip(matrix.flat, shares.flat, strict=True)]
    )
    words = words.reshape(matrix.shape)
    figure, axis = plt.subplots(figsize=(5.6, 4.4))
    axis.set_facecolor("#E4E4E4")
    sns.heatmap(
        shares,
        mask=correct,
        annot=words,
        fmt="",
        cmap="Oranges",
        vmin=0,
        vmax=max(shares[~correct].max(), 1),
        xticklabels=labels,
        yticklabels=labels,
        cbar_kws={"label": "errors, share of the true class (%)"},
        ax=axis,
    )
    for place in np.flatnonzero(np.diag(correct)):
        axis.text(place + 0.5, place + 0.5, words[place, place], ha="center", va="center", fontweight="bold")
    axis.set(xlabel="predicted", ylabel="truth", title=title)
    axis.tick_params(axis="x", rotation=20)
    axis.tick_params(axis="y", rotation=0)
    right, total = int(np.trace(matrix)), int(matrix.sum())
    said = f"{title}: {right:,} of {total:,} correct, {100 * right / total:.2f} %."
    worst = scoring.confused_pairs(matrix, labels).head(1)
    said += "".join(
        f" Most frequent error: {row.truth} taken for {row.predicted}, {row.count:,}." for row in worst.itertuples(index=False)
    )
    return style.finish(figure, said)


def confused_scans(
    run: configs.Run,
    manifest: pd.DataFrame,
    pairs: pd.DataFrame,
    folder: Path | str | None = None,
    columns: int = 5,
) -> Figure:
    """Scans of some confusions, one row per confusion, the most confident errors first; phantoms without a dataset.

    Scans of tumours are shown only if they are slices of the Cheng set, whose licence allows this.

    Args:
        run: the scans are its validation images.
        manifest: table of the images.
        pairs: rows of `evaluation.confused_pairs`.
        folder: the dataset's folder, or None.
        columns: scans per row, at most.
    """
    dataset = manifests.dataset_of(manifest)
    truth = scoring.truth(run.val_paths, manifest)
    confidence = run.val_probabilities.max(axis=1)
    rows = _errors_shown(run, manifest, pairs, truth)
    drawn = [row[:columns] for row in rows]
    width = max(1, *map(len, drawn))
    figure, axes = plt.subplots(len(rows), width, figsize=(1.45 * width + 1.2, 1.75 * len(rows)), squeeze=False)
    for axis in axes.ravel():
        axis.axis("off")
    for row, indices, pair in zip(axes, drawn, pairs.itertuples(), strict=True):
        row[0].axis("on")
        row[0].set(xticks=[], yticks=[])
        row[0].set_ylabel(f"{pair.truth}\ntaken for\n{pair.predicted}", rotation=0, ha="right", va="center")
        for axis, index in zip(row, indices, strict=False):
            axis.axis("on")
            style.show_scan(axis, run.val_paths[index], dataset.classes[truth[index]], folder, seed=int(index))
            axis.set_title(f"{100 * confidence[index]:.0f} % sure", fontsize=9)
    said = ", ".join(f"{p.truth} taken for {p.predicted} ({p.count})" for p in pairs.itertuples())
    count = sum(map(len, drawn))
    what = f"{count} scans drawn (the licence allows these)" if folder else f"{count} are drawn, as phantoms"
    return style.finish(figure, f"Confusions: {said}; {what}.")


def _errors_shown(run, manifest, pairs, truth):
    """For each pair, the validation images that are confused so and may be shown, the most confident first, as indices."""
    labels = list(manifests.dataset_of(manifest).labels)
    predicted, confidence = run.val_probabilities.argmax(axis=1), run.val_probabilities.max(axis=1)
    shown = manifests.may_be_shown(manifest)[run.val_paths].to_numpy()
    found = []
    for pair in pairs.itertuples():
        wrong = (truth == labels.index(pair.truth)) & (predicted == labels.index(pair.predicted)) & shown
        found.append(sorted(np.flatnonzero(wrong), key=lambda index: -confidence[index]))
    return found


def accuracy_by_nearest(runs: Sequence[configs.Run], manifest: pd.DataFrame, thumbnails: np.ndarray) -> Figure:
    """Accuracy on validation images by their correlation with the most similar training image, with intervals over groups.

    Args:
        runs: runs of the same protocol and fold.
        manifest: table of the images.
        thumbnails: `audit.manifest_thumbnails`.
    """
    correlation = gap.nearest_trained(runs[0], manifest, thumbnails)["correlation"]
    bins = pd.cut(correlation.clip(-1, 1), _CORRELATION_BINS, labels=_CORRELATION_NAMES, include_lowest=True)
    bins = bins.cat.remove_unused_categories()
    groups = manifest.set_index("path")["group"][correlation.index]
    figure, axis = plt.subplots(figsize=(7.2, 3.4))
    found = {}
    for number, run in enumerate(runs):
        right = scoring.answers(run, manifest)["right"]
        accuracy = found[run.config.key] = right.groupby(bins, observed=True).mean()
        colour, shift = str(0.6 * number / max(len(runs) - 1, 1)), 0.16 * (number - (len(runs) - 1) / 2)
        for place, name in enumerate(accuracy.index):
            low, high = stats.group_interval(right[bins == name], groups[bins == name])
            axis.vlines(place + shift, 100 * low, 100 * high, color=colour, linewidth=2)
        axis.plot(np.arange(len(accuracy)) + shift, 100 * accuracy, "osD^v"[number % 5], color=colour, label=style.run_name(run))
    counts = bins.value_counts(sort=False)
    axis.set(xticks=range(len(counts)), xticklabels=[f"{name}\n{count} images" for name, count in counts.items()])
    axis.set(xlabel="correlation with the most similar training image", ylabel="accuracy (%)", ylim=(None, 101))
    axis.grid(alpha=0.3, axis="y")
    axis.legend(loc="lower right", fontsize=9)
    spans = pd.DataFrame(found).T  # one row per run
    ends = [f"{text.span(spans[name])} ({name}, {counts[name]} images)" for name in (counts.index[0], counts.index[-1])]
    sentence = f"Accuracy of {len(runs)} networks by the correlation with the most similar training image: from {ends[0]}"
    return style.finish(figure, f"{sentence} to {ends[1]}.")


def errors_by_part(scores: pd.DataFrame) -> Figure:
    """Errors on each part of Testing, one stacked bar per network and split; means over seeds.

    Args:
        scores: `evaluation.testing_scores`.
    """
    parts = list(reversed(style.PART_COLOURS))  # most errors first
    errors = scores[scores["part"].isin(parts)].groupby(["protocol", "network", "part"])["errors"].mean().unstack("part")
    rows = [(protocol, name) for protocol in style.only_report_splits(scores) for name in style.network_names(scores, protocol)]
    errors = errors.loc[rows, parts]
    figure, axis = plt.subplots(figsize=(6.5, 0.42 * len(rows) + 1.3))
    start = np.zeros(len(rows))
    for part in parts:
        colour = style.PART_COLOURS[part]
        bars = axis.barh(range(len(rows)), errors[part], left=start, color=colour, edgecolor="white", label=part)
        counts = [f"{count:.0f}" if count >= 4 else "" for count in errors[part]]
        axis.bar_label(bars, counts, label_type="center", color=style.readable_on(colour), fontsize=9)
        start += errors[part].to_numpy()
    style.label_rows(axis, [style.row_label(*row) for row in rows], "errors on Testing (images, mean over seeds)")
    axis.set_axisbelow(True)
    axis.set_xlim(0, start.max() * 1.03)
    figure.legend(loc="outside upper center", ncols=3)
    share, near = (100 * errors[part] / errors.sum(axis=1) for part in ("foreign gliomas", "near-copies"))
    images = scores.drop_duplicates("part").set_index("part")["images"]
    sentence = (
        f"Of the errors on Testing {share.min():.0f} to {share.max():.0f} % are on the {images['foreign gliomas']} "
        f"foreign gliomas, at most {near.max():.0f} % on the {images['near-copies']} near-copies (means over seeds)."
    )
    return style.finish(figure, sentence)


def accuracy_by_part(scores: pd.DataFrame) -> Figure:
    """Accuracy on each part of Testing and on unseen Testing, which overlaps the parts; one point per run, one colour per split.

    Args:
        scores: `evaluation.testing_scores`.
    """
    parts = [*style.PART_COLOURS, "unseen"]
    images = scores.drop_duplicates("part").set_index("part")["images"]
    figure, axis = plt.subplots(figsize=(6.5, 3.4))
    shown = style.only_report_splits(scores)
    for protocol, shift in zip(shown, (-0.2, 0.2)[: len(shown)], strict=True):
        colour = protocols.get(protocol).colour
        for row, part in enumerate(parts):
            chosen = scores[(scores["protocol"] == protocol) & (scores["part"] == part)]["accuracy"]
            rows = row + shift + np.linspace(-0.14, 0.14, len(chosen) + 2)[1:-1]  # so that points do not hide one another
            axis.plot(100 * chosen, rows, "o", color=colour, alpha=0.8, markeredgecolor="black", markersize=5)
    style.label_rows(axis, [f"{part} ({images[part]})" for part in parts], "accuracy (%)")
    axis.set_xlim(-3, 103)
    line = len(style.PART_COLOURS) - 0.5
    axis.axhline(line, color="black", linewidth=0.8)
    axis.text(101, line + 0.06, "overlaps the parts above", ha="right", va="top", fontsize=8, color="#555555")
    style.split_legend(axis, 1)
    said = "; ".join(f"{part} {text.span(scores.loc[scores['part'] == part, 'accuracy'])}" for part in parts)
    return style.finish(figure, f"Accuracy on the parts of Testing, over all runs on splits A and B: {said}.")


def foreign_answers(runs: Sequence[configs.Run], manifest: pd.DataFrame) -> Figure:
    """What runs take the foreign gliomas of Testing for, beside the classes of the Training images that are not Cheng slices.

    Left: the share of the answers that each class gets; bars are means over runs, points are runs. Right: numbers of images.

    Args:
        runs: runs that did not train on foreign gliomas.
        manifest: table of the images.

    Raises:
        EvaluationError: if a run trained on one of them.
    """
    dataset = manifests.dataset_of(manifest)
    paths = list(manifest["path"].iloc[protocols.testing_parts(manifest)["foreign gliomas"]])
    shares = np.stack([_answer_shares(run, paths, manifest) for run in runs])
    elsewhere = manifest[~manifests.is_testing(manifest) & manifest["cheng_slice"].isna()]["class"]
    counts = elsewhere.value_counts().reindex(dataset.classes, fill_value=0).to_numpy()
    rows, means = np.arange(len(dataset.labels)), shares.mean(axis=0)
    figure, axes = plt.subplots(1, 2, figsize=(6.8, 0.5 * len(rows) + 1.1), sharey=True)
    axes[0].barh(rows, means, height=0.7, color=dataset.colours, alpha=0.75)
    for points, shift in zip(shares, np.linspace(-0.25, 0.25, len(runs) + 2)[1:-1], strict=True):
        axes[0].plot(points, rows + shift, "o", color="white", markeredgecolor="black", markersize=4)
    bars = axes[1].barh(rows, counts, height=0.7, color=dataset.colours, alpha=0.75)
    axes[1].bar_label(bars, padding=3)
    axes[1].set_xlim(0, max(1, 1.15 * counts.max()))
    for axis, label in zip(axes, ("share of the answers (%)", "images"), strict=True):
        style.label_rows(axis, dataset.labels, label)
        axis.set_axisbelow(True)
    axes[0].set_title(f"answers to {len(paths)} foreign gliomas", fontsize=10)
    axes[1].set_title("Training, not from the Cheng set", fontsize=10)
    order = np.argsort(-means, kind="stable")
    said = ", ".join(f"{dataset.labels[index]} {means[index]:.0f} %" for index in order)
    there = ", ".join(f"{counts[index]} {dataset.labels[index]}" for index in order)
    return style.finish(
        figure,
        f"The {len(paths)} foreign gliomas are taken for: {said} (mean of {len(runs)} runs). "
        f"Training images that are not from the Cheng set: {there}.",
    )


def _answer_shares(run, paths, manifest):
    """What share of some images of Testing a run puts into each class, in percent, (classes,)."""
    scoring.testing_right(run, paths, manifest)  # refuses a run that trained on one of them
    answers = pd.Series(run.test_probabilities.argmax(axis=1), index=run.test_paths).loc[paths]
    return 100 * np.bincount(answers, minlength=run.test_probabilities.shape[1]) / len(paths)


def foreign_gliomas_added(scores: pd.DataFrame) -> Figure:
    """Recall on each half of the foreign gliomas, without and with the other half in training; one line per seed.

    Args:
        scores: `evaluation.foreign_scores`.
    """
    effect, pairs = gap.foreign_effect(scores), gap.foreign_recall(scores)
    figure, axes = plt.subplots(1, 2, figsize=(6.2, 3.2), sharey=True)
    above = {"textcoords": "offset points", "ha": "center", "fontsize": 9}
    for half, axis in enumerate(axes):
        found = pairs[pairs["half"] == half]
        for pair in found[["without", "with"]].to_numpy():
            axis.plot([0, 1], 100 * pair, color="#777777", linewidth=1)
        for place, (column, colour) in enumerate({"without": style.TRAINING, "with": manifests.label_colour("glioma")}.items()):
            points = 100 * found[column]
            axis.plot(np.full(len(points), place), points, "o", color=colour, alpha=0.8, markeredgecolor="black", markersize=7)
            if len(found):
                counts = sorted({round(share * images) for share, images in zip(found[column], found["images"], strict=True)})
                words = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
                axis.annotate(f"{words} of {found['images'].iloc[0]}", (place, points.max()), (0, 9), **above)
        images = f"{found['images'].iloc[0]} images" if len(found) else "no runs"
        axis.set_title(f"scored on half {half + 1} ({images})", fontsize=10)
        axis.set(xlim=(-0.5, 1.5), ylim=(-4, 104), xticks=[0, 1])
        axis.set_xticklabels(["without foreign\ngliomas in training", "with the\nother half"])
        axis.grid(alpha=0.3, axis="y")
    axes[0].set_ylabel("recall on foreign gliomas (%)")
    rise = (pairs["with"] > pairs["without"]).sum()
    sentence = (
        f"Recall on held-out foreign gliomas: {100 * effect['without']:.1f} % without and {100 * effect['with']:.1f} % with the "
        f"other half in training, {effect['points']:+.1f} points (95 % interval {effect['low']:.1f} to {effect['high']:.1f}, "
        f"over groups); it rises in {rise} of {effect['pairs']} pairs of runs."
    )
    return style.finish(figure, sentence)


def neighbours_beside_network(neighbours: pd.DataFrame, runs: Sequence[configs.Run], manifest: pd.DataFrame) -> Figure:
    """The accuracy of a 1-nearest-neighbour classifier, which needs no training, and of networks on splits A and B.

    Args:
        neighbours: `audit.neighbour_scores`.
        runs: the runs of the networks.
        manifest: table of the images.
    """
    summary = scoring.summarise(runs, manifest)
    figure, axis = plt.subplots(figsize=(6.8, 3.6))
    axis.barh(range(len(neighbours)), 100 * neighbours["accuracy"], height=0.55, color="#BBBBBB", label="nearest neighbour")
    for row, value in enumerate(neighbours["accuracy"]):
        axis.text(2, row, f"{100 * value:.1f}", va="center")
    style.only_report_splits(summary)
    for row, split in enumerate(protocols.REPORT_SPLITS):
        found = 100 * summary.loc[summary["protocol"] == split.name, "val_accuracy"]
        rows = row + np.linspace(-0.25, 0.25, len(found) + 2)[1:-1]  # so that points do not hide one another
        points = {"color": split.colour, "alpha": 0.8, "markeredgecolor": "black", "markersize": 5}
        axis.plot(found, rows, "o", label=f"networks, {split.short}", **points)
    labels = [textwrap.fill(f"{name} ({count})", 34) for name, count in neighbours["images"].items()]
    style.label_rows(axis, labels, "accuracy (%)")
    axis.set_xlim(0, 103)
    figure.legend(loc="outside upper center", ncols=3, fontsize=9)
    by_split = summary.groupby("protocol")["val_accuracy"]
    networks = {protocols.get(name).short: text.span(found) for name, found in by_split}
    said = [f"{100 * neighbours.loc[name, 'accuracy']:.1f} % on {name}, networks {found}" for name, found in networks.items()]
    rest = [f"{name} {100 * value:.1f} %" for name, value in neighbours["accuracy"].items() if name not in networks]
    return style.finish(figure, f"Copying the class of the most similar training image scores {'; '.join([*said, *rest])}.")


def draws_beside_testing(ranges: pd.DataFrame, pairs: pd.DataFrame) -> Figure:
    """The middle 95 % of the accuracy on random samples of split B's validation images, and the accuracy on Testing.

    Args:
        ranges: `evaluation.draw_ranges` for runs of split B.
        pairs: `claims.testing_pairs`.
    """
    sizes = ranges["size"].unique()
    rows = [(name, size) for name in style.network_names(ranges) for size in sizes]
    figure, axis = plt.subplots(figsize=(6.8, 0.6 * len(rows) + 1.4))
    for row, (name, size) in enumerate(rows):
        chosen = ranges[(ranges["network"] == name) & (ranges["size"] == size)]
        for shift, draw in zip(np.linspace(-0.35, 0.35, len(chosen) + 2)[1:-1], chosen.itertuples(), strict=True):
            axis.plot(
                [100 * draw.low, 100 * draw.high], [row + shift] * 2, color=style.TRAINING, linewidth=3, solid_capstyle="butt"
            )
            axis.plot(100 * draw.middle, row + shift, "o", color=style.TRAINING, markeredgecolor="black", markersize=5)
        found = 100 * pairs.loc[pairs["network"] == name, "testing"]
        shifts = np.linspace(-0.35, 0.35, len(found) + 2)[1:-1]
        axis.plot(found, row + shifts, "o", color=style.VALIDATION, alpha=0.8, markeredgecolor="black", markersize=5)
    labels = [name if len(sizes) == 1 else f"{name} · {size} images" for name, size in rows]
    style.label_rows(axis, labels, "accuracy (%)")
    line = plt.Line2D
    handles = [
        line([], [], color=style.VALIDATION, marker="o", ls="", mec="black", label="split A, on Testing"),
        line([], [], color=style.TRAINING, marker="o", mec="black", linewidth=3, label="split B, draws: median, middle 95 %"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, fontsize=9)
    ends = ranges.groupby("size")[["low", "high"]].agg({"low": "min", "high": "max"})
    said = ", ".join(f"{size} each: {100 * row['low']:.1f} to {100 * row['high']:.1f} %" for size, row in ends.iterrows())
    sentence = f"On Testing {text.span(pairs['testing'])} of the answers are correct, in random draws of split B's validation"
    return style.finish(figure, f"{sentence} images (middle 95 %, {said}).")


def benchmark_scores(scores: pd.DataFrame, own: str = "") -> Figure:
    """Accuracy with its 95 % interval over groups: a row per network or baseline, a panel per protocol, on one scale.

    The first panel is the protocol whose score is quoted, which keeps patients together; it also orders the rows. Networks
    without a score there come last.

    Args:
        scores: rows of `benchmark.table`; all of them are drawn.
        own: the network to highlight; empty for none.
    """
    shown = style.protocols_of(scores)
    quoted = next((name for name in shown if protocols.get(name).interval == "groups"), shown[-1])
    found = {name: scores[scores["protocol"] == name].set_index("network") for name in shown}
    ranks = found[quoted]["accuracy"].reindex(scores["network"].unique()).sort_values(ascending=False, kind="stable")
    names = list(ranks.index)
    figure, axes = plt.subplots(1, len(shown), figsize=(9, 0.42 * len(names) + 1.1), sharex=True, sharey=True, squeeze=False)
    for axis, name in zip(axes[0], sorted(shown, key=lambda name: name != quoted), strict=True):
        protocol, table = protocols.get(name), 100 * found[name][["accuracy", "low", "high"]]
        for row in table.itertuples():
            place = names.index(row.Index)
            axis.hlines(place, row.low, row.high, color=protocol.colour, linewidth=3)
            axis.plot(row.accuracy, place, "o", color=protocol.colour, markeredgecolor="black", markersize=5)
            axis.text(row.low - 3, place, f"{row.accuracy:.1f}", ha="right", va="center", fontsize=8)
        if own in names:
            axis.axhspan(names.index(own) - 0.45, names.index(own) + 0.45, color="#FFF3C4", zorder=0)
        style.label_rows(axis, [textwrap.fill(name, 22, break_on_hyphens=False) for name in names], "accuracy (%)")
        axis.set(title=protocol.title, xlim=(0, 102))
    if own in names:
        axes[0, 0].get_yticklabels()[names.index(own)].set_fontweight("bold")
    rows = 100 * found[quoted][["accuracy", "low", "high"]]
    said = {name: style.span_in_words(*values) for name, values in rows.iterrows()}
    leader = f"{names[0]} leads with {said[names[0]]} %"
    if own in said and own != names[0]:
        leader = f"{own} reaches {said[own]} %, place {names.index(own) + 1} of the {len(names)} rows; {leader}"
    return style.finish(figure, f"{protocols.get(quoted).title}, {leader}. In brackets and as lines: 95 % intervals over groups.")


def honest_accuracies(scores: pd.DataFrame) -> Figure:
    """Accuracy by protocol and network, cross-fitted if an epoch was chosen: all runs, their mean, its 95 % interval over groups.

    Every interval is over groups, under all protocols, since bars are compared by eye. The points are single runs.

    Args:
        scores: `evaluation.image_scores`.
    """
    runs = scoring.run_scores(scores)
    _, rows = style.in_order(runs)
    figure, axis = plt.subplots(figsize=(8, 0.5 * len(rows) + 1.1))
    said, spans = [], {}  # by row; by protocol
    for number, (protocol, name) in enumerate(rows):
        of_row = (runs["protocol"] == protocol) & (runs["network"] == name)
        found = scores[(scores["protocol"] == protocol) & (scores["network"] == name)]
        spread = 100 * np.array([scoring.per_image(found)["right"].mean(), *comparisons.over_groups(found)])
        style.draw_row(axis, number, 100 * runs.loc[of_row, "accuracy"], *spread, protocols.get(protocol).colour)
        said.append(f"{style.row_label(protocol, name)} {style.span_in_words(*spread)}")
        spans.setdefault(protocols.get(protocol).short, []).append(spread)
    points = "points: runs (grouped: one fold each); bars: 95 % interval over groups"
    label = f"accuracy (%), cross-fitted where an epoch was chosen\n{points}"
    style.label_rows(axis, [style.row_label(*row) for row in rows], label)
    if len("; ".join(said)) > _LONGEST_SENTENCE - 60:
        said = [_range_in_words(short, np.array(spreads)) for short, spreads in spans.items()]
    return style.finish(figure, _in_short("Accuracy in percent (95 % interval over groups)", said))


def _range_in_words(name, spreads):
    """The least and the largest mean of several networks, and the ends of their intervals, (networks, 3)."""
    least, largest = f"{spreads[:, 0].min():.1f}", f"{spreads[:, 0].max():.1f}"
    means = least if least == largest else f"{least} to {largest}"
    count = len(spreads)
    return f"{name} {means} ({spreads[:, 1].min():.1f} to {spreads[:, 2].max():.1f}; {count} network{'s' * (count > 1)})"


def network_differences(scores: pd.DataFrame, reference: str = scoring.BASE, on: str | None = None) -> Figure:
    """Accuracy minus that of a reference network with the same protocol and seed: all pairs, their mean, its 95 % interval.

    A thick bar is an interval over groups, a thin one with caps an interval over seeds.

    Args:
        scores, reference: see `evaluation.network_differences`.
        on: name of the scored images for the axis label, if they are not the validation images of the protocol.
    """
    table, pairs = (find(scores, reference) for find in (comparisons.network_differences, comparisons.run_differences))
    _, rows = style.in_order(table)
    found = table.set_index(["protocol", "network"]).loc[rows]
    figure, axis = plt.subplots(figsize=(8, 0.5 * len(rows) + 1.2))
    axis.axvline(0, color="black", linewidth=1)
    said = []
    for number, ((protocol, name), row) in enumerate(found.iterrows()):
        points = pairs[(pairs["protocol"] == protocol) & (pairs["network"] == name)]["difference"]
        spread = row[["difference", "low", "high"]].astype(float)
        _draw_row(axis, number, points, *spread, protocols.get(protocol).colour, row["over"])
        said.append(f"{style.row_label(protocol, name)} {style.span_in_words(*spread, '+.1f')}")
    alone = len({protocol for protocol, _ in rows}) == 1
    where = f", {on or protocols.get(rows[0][0]).short}" if alone or on else ""
    labels = [name if alone else style.row_label(protocol, name) for protocol, name in rows]
    style.label_rows(axis, labels, f"accuracy minus that of {reference} (points{where})")
    _legend_of_intervals(figure, set(found["over"]))
    clear = ((found["low"] > 0) | (found["high"] < 0)).sum()
    start = f"{clear} of {len(found)} intervals (95 %) exclude 0; difference" if len(found) > 1 else "Difference"
    return style.finish(figure, _in_short(f"{start} to {reference} in points", said))


def _draw_row(axis, row, points, mean, low, high, colour, over):
    """As `style.draw_row`, but with a thin line with caps if the interval is over seeds: the two kinds must not look alike."""
    if over == "groups":
        style.draw_row(axis, row, points, mean, low, high, colour)
        return
    style.draw_row(axis, row, points, mean, np.nan, np.nan, colour)
    axis.plot([low, high], [row + 0.2] * 2, **_OVER_SEEDS, color=colour)


def _legend_of_intervals(figure, kinds):
    """Say above the axes which line is an interval over what."""
    lines = {
        "seeds": plt.Line2D([], [], **_OVER_SEEDS, color="#444444", label="95 % interval over seeds"),
        "groups": plt.Line2D([], [], linewidth=3, color="#444444", label="95 % interval over groups"),
    }
    handles = [line for kind, line in lines.items() if kind in kinds]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)


def _in_short(start, parts, most=_LONGEST_SENTENCE):
    """A sentence from its start and its parts, as many of them as fit; the others are counted."""
    for count in range(len(parts), -1, -1):
        rest = f"; and {len(parts) - count} more" if count < len(parts) else ""
        sentence = f"{start}: {'; '.join(parts[:count])}{rest}."
        if len(sentence) <= most:
            return sentence
    return f"{start}."


def mcnemar_pairs(pairs: pd.DataFrame) -> Figure:
    """The p value of McNemar's test for all pairs of runs of a protocol that differ only in the seed, or only in the widths.

    A protocol with fewer than three pairs of a kind has no row of that kind, if there are other rows; the sentence counts them.

    Args:
        pairs: `evaluation.mcnemar_pairs`.
    """
    kinds = {"seed": "same network, other seed", "network": "other network, same seed"}
    found = {key: of_kind["p"] for key, of_kind in pairs.groupby(["protocol", "differ"])}
    rows = [(protocol, kind) for protocol in style.protocols_of(pairs) for kind in kinds if (protocol, kind) in found]
    rows = [row for row in rows if len(found[row]) >= _FEWEST_PAIRS] or rows
    figure, axis = plt.subplots(figsize=(8, 0.45 * len(rows) + 1.1))
    for number, (protocol, kind) in enumerate(rows):
        p = found[protocol, kind]
        shifts = np.linspace(-0.25, 0.25, len(p) + 2)[1:-1]  # so that points do not hide one another
        axis.plot(
            p, number + shifts, "o", color=protocols.get(protocol).colour, alpha=0.75, markeredgecolor="black", markersize=5
        )
    axis.axvline(0.05, color="black", linestyle=":")
    axis.set(xscale="log")
    labels = [f"{style.row_label(protocol, kinds[kind])} ({len(found[protocol, kind])})" for protocol, kind in rows]
    style.label_rows(axis, labels, "p of McNemar's test (dotted: 0.05)\nheights within a row only keep points apart")
    drawn = {
        kind: pd.concat([found[row] for row in rows if row[1] == kind]) for kind in kinds if kind in {row[1] for row in rows}
    }
    said = [f"{(p < 0.05).sum()} of {len(p)} ({kinds[kind]})" for kind, p in drawn.items()]
    without = len(pairs) - sum(map(len, drawn.values()))
    left_out = f"; not drawn: {without} pair{'s' * (without > 1)} of too small a row" if without else ""
    return style.finish(figure, f"Pairs of runs that differ with p below 0.05: {', '.join(said)}{left_out}.")


def flattery(scores: pd.DataFrame) -> Figure:
    """Accuracy at the best epoch minus cross-fitted accuracy: all runs, their mean, and its 95 % interval over seeds.

    Networks and folds with the same seed are averaged first. With fewer than three seeds there is no interval.

    Args:
        scores: `evaluation.image_scores`.
    """
    runs = scoring.run_scores(scores)
    shown, _ = style.in_order(runs)
    figure, axis = plt.subplots(figsize=(8, 0.55 * len(shown) + 1.2))
    said = []
    for number, protocol in enumerate(shown):
        points = runs[runs["protocol"] == protocol]["flattery"]
        by_seed = runs[runs["protocol"] == protocol].groupby("seed")["flattery"].mean()
        mean, half = stats.interval(by_seed) if len(by_seed) >= comparisons.SEEDS_FOR_AN_INTERVAL else (points.mean(), np.nan)
        _draw_row(axis, number, points, mean, mean - half, mean + half, protocols.get(protocol).colour, "seeds")
        spread = f"{mean:.2f} points" if np.isnan(half) else text.say(by_seed, " points", 2)
        said.append(f"{protocols.get(protocol).short} {spread} ({len(points)} runs)")
    axis.axvline(0, color="black", linewidth=1)
    label = "accuracy at the best epoch minus cross-fitted accuracy (points)"
    style.label_rows(axis, [f"{protocols.get(name).short} ({(runs['protocol'] == name).sum()} runs)" for name in shown], label)
    _legend_of_intervals(figure, {"seeds"})
    return style.finish(figure, _in_short("Choosing the epoch on the scored images flatters by", said))


def class_recalls(scores: pd.DataFrame) -> Figure:
    """Recall of each class by protocol: all runs, their mean, and its 95 % interval over groups.

    The interval is `stats.group_interval`, a logit-t interval. A class with fewer than `FEWEST_GROUPS` groups has none: that of
    so few misses the truth too often. Its row says how many of its images are classified correctly, on average over the runs.

    Args:
        scores: `evaluation.image_scores` or `evaluation.unseen_scores`.
    """
    table = comparisons.class_recalls(scores)
    shown, _ = style.in_order(table.assign(network=""))
    keys = [(name, protocol) for name in manifests.in_class_order(table["class"]) for protocol in shown]
    found = table.set_index(["class", "protocol"]).loc[keys]
    groups = scores.groupby(["class", "protocol"])["group"].nunique()
    runs = 100 * scores.groupby(["class", "protocol", "network", "seed", "fold"])["right"].mean()
    figure, axis = plt.subplots(figsize=(8, 0.5 * len(keys) + 1.1))
    labels, said = [], []
    for number, ((name, protocol), row) in enumerate(found.iterrows()):
        few = groups[name, protocol] < FEWEST_GROUPS
        spread = 100 * row[["recall", "low", "high"]].astype(float)
        count = f"{row['recall'] * row['images']:.1f} of {row['images']:.0f}" if few else f"{row['images']:.0f}"
        drawn = (spread["recall"], np.nan, np.nan) if few else spread
        style.draw_row(axis, number, runs.loc[(name, protocol)], *drawn, manifests.label_colour(name))
        labels.append(f"{name} · {protocols.get(protocol).short} ({count})")
        said.append(f"{name}, {protocols.get(protocol).short} {f'{count} images' if few else style.span_in_words(*spread)}")
    few = f"; below {FEWEST_GROUPS} groups: mean count" if (groups < FEWEST_GROUPS).any() else ""
    style.label_rows(axis, labels, f"recall (%); bars: 95 % interval over groups{few}")
    return style.finish(figure, _in_short("Recall in percent (95 % interval over groups)", said))


def reliability(panels: Mapping[str, pd.DataFrame], columns: int = 3) -> Figure:
    """Reliability diagrams: accuracy by confidence, one panel per set of images, all runs pooled.

    A larger dot stands for more answers. Bins with fewer than `FEW_ANSWERS` answers per training are faint, and the line leaves
    them out. The calibration error (ECE) is that of all folds of a seed together, averaged over the seeds; with three seeds or
    more it has an interval over them. Beside it is its noise floor, see `stats.calibration_noise`.

    Args:
        panels: `evaluation.image_scores` or `evaluation.unseen_scores` of one protocol, by title.
        columns: panels in a row.
    """
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(2.5 * columns + 0.3, 3.1 * rows), sharex=True, sharey=True, squeeze=False)
    said = []
    for axis, (title, scores) in zip(axes.flat, panels.items(), strict=False):
        curve = stats.reliability(scores["confidence"], scores["right_at_best"])
        enough = curve["images"] >= FEW_ANSWERS * scores["seed"].nunique()
        colour = protocols.get(scores["protocol"].iloc[0]).colour
        axis.plot([0, 100], [0, 100], color="black", linewidth=0.8, linestyle=":")
        axis.plot(*(100 * curve.loc[enough, ["confidence", "accuracy"]].to_numpy().T), color=colour, linewidth=1.2)
        sizes = 10 + 250 * curve["images"] / curve["images"].sum()
        shades = np.where(enough, 1.0, 0.25)
        axis.scatter(
            100 * curve["confidence"], 100 * curve["accuracy"], sizes, color=colour, edgecolors="black", alpha=shades, zorder=3
        )
        by_seed = 100 * scores.groupby("seed")[["confidence", "right_at_best"]].apply(_calibration)
        ece = text.say(by_seed["ece"]) if len(by_seed) > 1 else f"{by_seed['ece'].mean():.1f}"
        axis.set_title(f"{title}\nECE {ece}\n(noise {by_seed['noise'].mean():.1f})", fontsize=10)
        axis.set(xlim=(20, 106), ylim=(-4, 106), xticks=[25, 50, 75, 100])
        axis.grid(alpha=0.3)
        means = 100 * scores[["confidence", "right_at_best"]].mean()
        said.append(f"{title} {means['confidence']:.0f} and {means['right_at_best']:.0f}, ECE {ece}")
    for axis in axes[:, 0]:
        axis.set_ylabel("accuracy (%)")
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for number in range(max(0, len(panels) - columns), len(panels)):  # the last panel of each column
        axes.flat[number].set_xlabel("confidence (%)")
        axes.flat[number].tick_params(labelbottom=True)
    sentence = "; ".join(said).replace("\n", " ")
    return style.finish(figure, f"Mean confidence and accuracy in percent, calibration error (ECE) in points: {sentence}.")


def _calibration(scores):
    """The calibration error of some answers, and its noise floor; of 1."""
    error = stats.calibration_error(scores["confidence"], scores["right_at_best"])
    return pd.Series({"ece": error, "noise": stats.calibration_noise(scores["confidence"])})
