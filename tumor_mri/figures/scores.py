"""Figures of scores: confusion, accuracy, recall, differences, calibration."""

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
from tumor_mri.evaluation import calibration, comparisons, scoring
from tumor_mri.figures import style
from tumor_mri.runs import configs
from tumor_mri.study import gap

_CORRELATION_BINS = (-1.0, 0.8, 0.9, 0.95, near_copies.NEAR_COPY, 1.0)  # edges; the last bin holds near-duplicates
_CORRELATION_NAMES = ("0.80 or less", "to 0.90", "to 0.95", "to 0.99", "near-copies")


def confusion_heat_map(
    matrix: np.ndarray | pd.DataFrame, title: str, labels: Sequence[str] = manifests.BRAIN_TUMOUR_MRI.labels
) -> Figure:
    """F9: the confusion matrix with counts, and with shares of the true class as colour and text.

    Args:
        matrix: counts, (classes, classes); rows are the truth, columns the prediction.
        title: title of the figure.
        labels: names of the classes.
    """
    matrix = np.asarray(matrix)
    shares = matrix / matrix.sum(axis=1, keepdims=True)
    text = [[f"{count}\n{share:.1%}" for count, share in zip(*rows, strict=True)] for rows in zip(matrix, shares, strict=True)]
    figure, axis = plt.subplots(figsize=(5.6, 4.6))
    sns.heatmap(
        shares,
        annot=text,
        fmt="",
        cmap="Blues",
        vmin=0,
        vmax=1,
        xticklabels=labels,
        yticklabels=labels,
        cbar_kws={"label": "share of the true class"},
        ax=axis,
    )
    axis.set(xlabel="predicted", ylabel="truth", title=title)
    axis.tick_params(axis="x", rotation=20)
    axis.tick_params(axis="y", rotation=0)
    right, total = int(np.trace(matrix)), int(matrix.sum())
    return style.finish(figure, f"{title}: {right} of {total} on the diagonal, accuracy {right / total:.2%}.")


def confused_scans(
    run: configs.Run,
    manifest: pd.DataFrame,
    pairs: pd.DataFrame,
    folder: Path | str | None = None,
    columns: int = 5,
) -> Figure:
    """Scans of the most frequent confusions, one row per confusion, the most confident errors first; phantoms without a dataset.

    Scans of tumours are shown only if they are slices of the Cheng set, whose licence allows this.

    Args:
        run: the scans are its validation images.
        manifest: table of the images.
        pairs: rows of `evaluation.confused_pairs`.
        folder: the dataset's folder, or None.
        columns: scans per row.
    """
    dataset = manifests.dataset_of(manifest)
    truth = scoring.truth(run.val_paths, manifest)
    predicted = run.val_probabilities.argmax(axis=1)
    confidence = run.val_probabilities.max(axis=1)
    shown = manifests.may_be_shown(manifest)
    figure, axes = plt.subplots(len(pairs), columns, figsize=(1.55 * columns, 2.1 * len(pairs)), squeeze=False)
    for axis in axes.ravel():
        axis.axis("off")
    drawn = 0
    for row, pair in zip(axes, pairs.itertuples(), strict=True):
        wrong = (truth == dataset.labels.index(pair.truth)) & (predicted == dataset.labels.index(pair.predicted))
        wrong &= shown[run.val_paths].to_numpy()
        order = sorted(np.flatnonzero(wrong), key=lambda index: -confidence[index])
        for axis, index in zip(row[: len(order)], order[: len(row)], strict=True):
            drawn += 1
            axis.axis("on")
            style.show_scan(axis, run.val_paths[index], dataset.classes[truth[index]], folder, seed=int(index))
            axis.set_title(f"{pair.truth}\ntaken for {pair.predicted}\n{confidence[index]:.0%} sure", fontsize=8)
    said = ", ".join(f"{p.truth} taken for {p.predicted} ({p.count})" for p in pairs.itertuples())
    what = f"{drawn} scans are drawn (those that the licence allows)" if folder else f"{drawn} are drawn, as phantoms"
    return style.finish(figure, f"The most frequent confusions: {said}; {what}.")


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
    figure, axis = plt.subplots(figsize=(8, 3.4))
    found = {}
    for number, run in enumerate(runs):
        right = scoring.answers(run, manifest)["right"]
        accuracy = found[run.config.key] = right.groupby(bins, observed=True).mean()
        colour, shift = str(0.6 * number / max(len(runs) - 1, 1)), 0.16 * (number - (len(runs) - 1) / 2)
        for place, name in enumerate(accuracy.index):
            if groups[bins == name].nunique() > 1:
                low, high = stats.group_interval(right[bins == name], groups[bins == name])
                axis.vlines(place + shift, 100 * low, 100 * high, color=colour, linewidth=2)
        axis.plot(np.arange(len(accuracy)) + shift, 100 * accuracy, "osD^v"[number % 5], color=colour, label=style.run_name(run))
    counts = bins.value_counts(sort=False)
    axis.set(xticks=range(len(counts)), xticklabels=[f"{name}\n{count} images" for name, count in counts.items()])
    axis.set(xlabel="correlation with the most similar training image", ylabel="accuracy (%)", ylim=(None, 101))
    axis.grid(alpha=0.3, axis="y")
    axis.legend(loc="lower right")
    spans = pd.DataFrame(found).T  # one row per run
    said = "; ".join(f"{name} {text.span(spans[name])} ({count} images)" for name, count in counts.items())
    return style.finish(
        figure, f"Accuracy of {len(runs)} networks by the correlation with the most similar training image: {said}."
    )


def errors_by_part(scores: pd.DataFrame) -> Figure:
    """Errors on each part of Testing, one stacked bar per network and split; means over seeds.

    Args:
        scores: `evaluation.testing_scores`.
    """
    errors = (
        scores[scores["part"].isin(style.PART_COLOURS)].groupby(["protocol", "network", "part"])["errors"].mean().unstack("part")
    )
    rows = [(protocol, name) for protocol in style.only_report_splits(scores) for name in style.network_names(scores, protocol)]
    errors = errors.loc[rows, list(style.PART_COLOURS)]
    figure, axis = plt.subplots(figsize=(8.5, 0.55 * len(rows) + 1.5))
    start = np.zeros(len(rows))
    for part, colour in style.PART_COLOURS.items():
        bars = axis.barh(range(len(rows)), errors[part], left=start, color=colour, edgecolor="white", label=part)
        text = [f"{count:.0f}" if count >= 4 else "" for count in errors[part]]
        axis.bar_label(bars, text, label_type="center", color="black" if part == "near-copies" else "white", fontsize=9)
        start += errors[part].to_numpy()
    axis.set(yticks=range(len(rows)), yticklabels=[style.row_label(*row) for row in rows])
    axis.set(xlabel="errors on Testing (images, mean over seeds)", xlim=(0, start.max() * 1.03))
    axis.invert_yaxis()
    axis.legend(loc="lower center", bbox_to_anchor=(0.4, 1), ncols=3)
    share, near = (errors[part] / errors.sum(axis=1) for part in ("foreign gliomas", "near-copies"))
    images = scores.drop_duplicates("part").set_index("part")["images"]
    sentence = (
        f"Of the errors on Testing {share.min():.0%} to {share.max():.0%} fall on the {images['foreign gliomas']} "
        f"foreign gliomas, {near.max():.0%} at the most on the {images['near-copies']} near-copies."
    )
    return style.finish(figure, sentence)


def accuracy_by_part(scores: pd.DataFrame) -> Figure:
    """Accuracy on each part of Testing and on unseen Testing, one point per run, one colour per split.

    Args:
        scores: `evaluation.testing_scores`.
    """
    parts = [*style.PART_COLOURS, "unseen"]
    images = scores.drop_duplicates("part").set_index("part")["images"]
    figure, axis = plt.subplots(figsize=(8, 3.2))
    shown = style.only_report_splits(scores)
    for protocol, shift in zip(shown, (-0.14, 0.14)[: len(shown)], strict=True):
        colour = protocols.get(protocol).colour
        for row, part in enumerate(parts):
            chosen = scores[(scores["protocol"] == protocol) & (scores["part"] == part)]["accuracy"]
            axis.plot(100 * chosen, np.full(len(chosen), row + shift), "o", color=colour, alpha=0.8, markeredgecolor="black")
    axis.set(yticks=range(len(parts)), yticklabels=[f"{part} ({images[part]})" for part in parts])
    axis.set(xlabel="accuracy (%)", xlim=(-3, 103))
    axis.axhline(len(style.PART_COLOURS) - 0.5, color="black", linewidth=0.8)
    axis.invert_yaxis()
    axis.grid(alpha=0.3, axis="x")
    style.split_legend(axis, 1)
    said = "; ".join(f"{part} {text.span(scores.loc[scores['part'] == part, 'accuracy'])}" for part in parts)
    return style.finish(figure, f"Accuracy on the parts of Testing, over all runs on splits A and B: {said}.")


def foreign_gliomas_added(scores: pd.DataFrame) -> Figure:
    """Recall on each half of the foreign gliomas, without and with the other half in training; one line per seed.

    Args:
        scores: `evaluation.foreign_scores`.
    """
    effect, pairs = gap.foreign_effect(scores), gap.foreign_recall(scores)
    figure, axes = plt.subplots(1, 2, figsize=(7.5, 3.4), sharey=True)
    for half, axis in enumerate(axes):
        found = pairs[pairs["half"] == half]
        for pair in found[["without", "with"]].to_numpy():
            axis.plot([0, 1], 100 * pair, color="#777777", linewidth=1)
        for place, (column, colour) in enumerate({"without": style.TRAINING, "with": manifests.label_colour("glioma")}.items()):
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
    return style.finish(figure, sentence)


def neighbours_beside_network(neighbours: pd.DataFrame, runs: Sequence[configs.Run], manifest: pd.DataFrame) -> Figure:
    """The accuracy of a 1-nearest-neighbour classifier, which needs no training, and of networks on splits A and B.

    Args:
        neighbours: `audit.neighbour_scores`.
        runs: the runs of the networks.
        manifest: table of the images.
    """
    summary = scoring.summarise(runs, manifest)
    figure, axis = plt.subplots(figsize=(8.5, 3.4))
    axis.barh(range(len(neighbours)), 100 * neighbours["accuracy"], height=0.55, color="#BBBBBB")
    for row, value in enumerate(neighbours["accuracy"]):
        axis.text(2, row, f"{100 * value:.1f}", va="center")
    style.only_report_splits(summary)
    for row, split in enumerate(protocols.REPORT_SPLITS):
        found = 100 * summary.loc[summary["protocol"] == split.name, "val_accuracy"]
        axis.plot(found, np.full(len(found), row), "o", color=split.colour, alpha=0.8, markeredgecolor="black")
    axis.set(yticks=range(len(neighbours)), yticklabels=[f"{n} ({c})" for n, c in neighbours["images"].items()])
    axis.set(xlabel="accuracy (%); bars: nearest neighbour, circles: the report's networks", xlim=(0, 103))
    axis.invert_yaxis()
    said = "; ".join(f"{name} {value:.1%}" for name, value in neighbours["accuracy"].items())
    splits = summary.groupby("protocol")["val_accuracy"]
    networks = ", ".join(f"{protocols.get(name).title} {text.span(found)}" for name, found in splits)
    return style.finish(figure, f"The class of the most similar training image: {said}. The trained networks: {networks}.")


def draws_beside_testing(ranges: pd.DataFrame, pairs: pd.DataFrame) -> Figure:
    """The middle 95 % of the accuracy on random samples of split B's validation images, and the accuracy on Testing.

    Args:
        ranges: `evaluation.draw_ranges` for runs of split B.
        pairs: `claims.testing_pairs`.
    """
    rows = [(name, size) for name in style.network_names(ranges) for size in ranges["size"].unique()]
    figure, axis = plt.subplots(figsize=(8, 0.45 * len(rows) + 1.5))
    for row, (name, size) in enumerate(rows):
        chosen = ranges[(ranges["network"] == name) & (ranges["size"] == size)]
        for shift, draw in zip(np.linspace(-0.3, 0.3, len(chosen) + 2)[1:-1], chosen.itertuples(), strict=True):
            axis.plot(
                [100 * draw.low, 100 * draw.high], [row + shift] * 2, color=style.TRAINING, linewidth=3, solid_capstyle="butt"
            )
            axis.plot(100 * draw.middle, row + shift, "o", color=style.TRAINING, markeredgecolor="black")
        found = 100 * pairs.loc[pairs["network"] == name, "testing"]
        axis.plot(found, np.full(len(found), row), "o", color=style.VALIDATION, alpha=0.8, markeredgecolor="black")
    axis.set(yticks=range(len(rows)), yticklabels=[f"{name} · {size} images" for name, size in rows], xlabel="accuracy (%)")
    axis.invert_yaxis()
    axis.grid(alpha=0.3, axis="x")
    line = plt.Line2D
    handles = [
        line([], [], color=style.VALIDATION, marker="o", ls="", mec="black", label="split A, on Testing"),
        line([], [], color=style.TRAINING, marker="o", mec="black", linewidth=3, label="split B, middle 95 % of random draws"),
    ]
    axis.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.4, 1), ncols=2)
    lowest = ranges.groupby("size")[["low", "high"]].agg({"low": "min", "high": "max"})
    said = "; ".join(f"of {size} images {100 * row['low']:.1f} to {100 * row['high']:.1f} %" for size, row in lowest.iterrows())
    return style.finish(
        figure, f"Random draws of split B's validation images: {said}. On Testing: {text.span(pairs['testing'])}."
    )


def benchmark_scores(scores: pd.DataFrame) -> Figure:
    """The accuracy of all networks and baselines of the benchmark, by protocol with 95 % intervals, and on unseen Testing.

    The intervals are over groups.

    Args:
        scores: `benchmark.table`.
    """
    names = list(scores["network"].unique())
    figure, axes = plt.subplots(1, 2, figsize=(9, 0.52 * len(names) + 1.3), sharey=True, width_ratios=(3, 2))
    shown = style.protocols_of(scores)
    for protocol, shift in zip(shown, np.linspace(-0.22, 0.22, len(shown)), strict=True):
        colour, found = protocols.get(protocol).colour, scores[scores["protocol"] == protocol]
        rows = np.array([names.index(name) for name in found["network"]]) + shift
        axes[0].hlines(rows, 100 * found["low"], 100 * found["high"], color=colour, linewidth=3)
        for axis, column in zip(axes, ("accuracy", "unseen_recall"), strict=True):
            axis.plot(100 * found[column], rows, "o", color=colour, markeredgecolor="black", label=protocols.get(protocol).title)
    style.label_rows(axes[0], names, "accuracy (%) with its 95 % interval over groups")
    style.label_rows(axes[1], names, "mean recall of glioma and pituitary\non unseen Testing (%)")
    axes[1].axvline(50, color="grey", linewidth=1, linestyle=":")  # of a constant answer
    axes[1].set_xlim(0, max(60, 110 * scores["unseen_recall"].max()))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    grouped = scores[scores["protocol"] == protocols.GROUPED.name]
    said = [
        f"{row.network} {style.span_in_words(100 * row.accuracy, 100 * row.low, 100 * row.high)}" for row in grouped.itertuples()
    ]
    spans = [f"{protocols.get(name).short} {text.span(found)}" for name, found in scores.groupby("protocol")["accuracy"]]
    sentence = f"Accuracy grouped by patient, in percent, with its 95 % interval over groups: {'; '.join(said)}. "
    unseen = text.span(scores["unseen_recall"].dropna())
    spans = f"{', '.join(spans)}; mean recall on unseen Testing {unseen}, and 50 % for a constant answer"
    return style.finish(figure, f"{sentence}Over all rows: {spans}.")


def honest_accuracies(scores: pd.DataFrame) -> Figure:
    """Accuracy by protocol and network, with its 95 % interval over seeds or groups; cross-fitted if an epoch was chosen.

    Args:
        scores: `evaluation.image_scores`.
    """
    table, runs = comparisons.accuracy_table(scores), scoring.run_scores(scores)
    _, rows = style.in_order(table)
    found = table.set_index(["protocol", "network"])
    figure, axis = plt.subplots(figsize=(8, 0.5 * len(rows) + 0.9))
    said = []
    for number, (protocol, name) in enumerate(rows):
        points = runs[(runs["protocol"] == protocol) & (runs["network"] == name)]["accuracy"]
        row = found.loc[(protocol, name)]
        spread = 100 * row[["accuracy", "low", "high"]].astype(float)
        style.draw_row(axis, number, 100 * points, *spread, protocols.get(protocol).colour)
        said.append(f"{style.row_label(protocol, name)} {style.span_in_words(*spread)} over {row['over']}")
    style.label_rows(axis, [style.row_label(*row) for row in rows], "accuracy (%), cross-fitted where an epoch was chosen")
    return style.finish(
        figure, f"Accuracy in percent, cross-fitted where an epoch was chosen, with its 95 % interval: {'; '.join(said)}."
    )


def network_differences(scores: pd.DataFrame, reference: str = scoring.BASE, on: str | None = None) -> Figure:
    """Accuracy minus that of a reference network with the same protocol and seed: all pairs, their mean, its 95 % interval.

    Args:
        scores, reference: see `evaluation.network_differences`.
        on: name of the scored images for the axis label, if they are not the validation images of the protocol.
    """
    table, pairs = (find(scores, reference) for find in (comparisons.network_differences, comparisons.run_differences))
    _, rows = style.in_order(table)
    found = table.set_index(["protocol", "network"]).loc[rows]
    figure, axis = plt.subplots(figsize=(8, 0.5 * len(rows) + 0.9))
    axis.axvline(0, color="black", linewidth=1)
    said = []
    for number, ((protocol, name), row) in enumerate(found.iterrows()):
        points = pairs[(pairs["protocol"] == protocol) & (pairs["network"] == name)]["difference"]
        spread = row[["difference", "low", "high"]].astype(float)
        style.draw_row(axis, number, points, *spread, protocols.get(protocol).colour)
        said.append(f"{style.row_label(protocol, name)} {style.span_in_words(*spread, '+.1f')}")
    alone = len({protocol for protocol, _ in rows}) == 1
    where = f", {on or protocols.get(rows[0][0]).short}" if alone or on else ""
    labels = [name if alone else style.row_label(protocol, name) for protocol, name in rows]
    style.label_rows(axis, labels, f"accuracy minus that of {reference} (points{where})")
    across = ((found["low"] <= 0) & (found["high"] >= 0)).sum()
    sentence = f"Difference to {reference} in points, with its 95 % interval: {'; '.join(said)}."
    return style.finish(figure, f"{sentence} {across} of {len(found)} intervals hold 0." if len(found) > 1 else sentence)


def mcnemar_pairs(pairs: pd.DataFrame) -> Figure:
    """The p value of McNemar's test for all pairs of runs of a protocol that differ only in the seed, or only in the widths.

    Args:
        pairs: `evaluation.mcnemar_pairs`.
    """
    kinds = {"seed": "same network, other seed", "network": "other network, same seed"}
    found = {key: of_kind["p"] for key, of_kind in pairs.groupby(["protocol", "differ"])}
    rows = [(protocol, kind) for protocol in style.protocols_of(pairs) for kind in kinds if (protocol, kind) in found]
    figure, axis = plt.subplots(figsize=(8, 0.45 * len(rows) + 0.9))
    for number, (protocol, kind) in enumerate(rows):
        p = found[protocol, kind]
        shifts = np.linspace(-0.25, 0.25, len(p) + 2)[1:-1]  # so that points do not hide one another
        axis.plot(
            p, number + shifts, "o", color=protocols.get(protocol).colour, alpha=0.75, markeredgecolor="black", markersize=5
        )
    axis.axvline(0.05, color="black", linestyle=":")
    axis.set(xscale="log")
    labels = [style.row_label(protocol, kinds[kind]) for protocol, kind in rows]
    style.label_rows(axis, labels, "p of McNemar's test (dotted: 0.05)")
    counts = pairs.assign(below=pairs["p"] < 0.05).groupby("differ")["below"].agg(["sum", "size"])
    said = [f"{counts.loc[kind, 'sum']} of {counts.loc[kind, 'size']} ({kinds[kind]})" for kind in kinds if kind in counts.index]
    return style.finish(figure, f"Pairs of runs that differ with p below 0.05: {', '.join(said)}.")


def flattery(scores: pd.DataFrame) -> Figure:
    """Accuracy at the best epoch minus cross-fitted accuracy: all runs, their mean, and its 95 % interval over seeds.

    Networks and folds with the same seed are averaged first. With fewer than three seeds there is no interval.

    Args:
        scores: `evaluation.image_scores`.
    """
    runs = scoring.run_scores(scores)
    shown, _ = style.in_order(runs)
    figure, axis = plt.subplots(figsize=(8, 0.55 * len(shown) + 0.9))
    said = []
    for number, protocol in enumerate(shown):
        points = runs[runs["protocol"] == protocol]["flattery"]
        by_seed = runs[runs["protocol"] == protocol].groupby("seed")["flattery"].mean()
        mean, half = stats.interval(by_seed) if len(by_seed) >= comparisons.SEEDS_FOR_AN_INTERVAL else (points.mean(), np.nan)
        style.draw_row(axis, number, points, mean, mean - half, mean + half, protocols.get(protocol).colour)
        spread = f"{mean:.2f} points" if np.isnan(half) else text.say(by_seed, " points", 2)
        said.append(f"{protocols.get(protocol).short} {spread} ({len(points)} runs)")
    axis.axvline(0, color="black", linewidth=1)
    label = "accuracy at the best epoch minus cross-fitted accuracy (points)"
    style.label_rows(axis, [f"{protocols.get(name).short} ({(runs['protocol'] == name).sum()} runs)" for name in shown], label)
    return style.finish(figure, f"Choosing the epoch on the scored images flatters by: {'; '.join(said)}.")


def class_recalls(scores: pd.DataFrame) -> Figure:
    """Recall of each class by protocol: all runs, their mean, and its 95 % interval over groups.

    Args:
        scores: `evaluation.image_scores` or `evaluation.unseen_scores`.
    """
    table = comparisons.class_recalls(scores)
    shown, _ = style.in_order(table.assign(network=""))
    keys = [(name, protocol) for name in manifests.in_class_order(table["class"]) for protocol in shown]
    found = table.set_index(["class", "protocol"]).loc[keys]
    runs = 100 * scores.groupby(["class", "protocol", "network", "seed", "fold"])["right"].mean()
    figure, axis = plt.subplots(figsize=(8, 0.5 * len(keys) + 0.9))
    said = []
    for number, ((name, protocol), row) in enumerate(found.iterrows()):
        spread = 100 * row[["recall", "low", "high"]].astype(float)
        style.draw_row(axis, number, runs.loc[(name, protocol)], *spread, manifests.label_colour(name))
        said.append(f"{name}, {protocols.get(protocol).short} {style.span_in_words(*spread)}")
    labels = [f"{name} · {protocols.get(protocol).short} ({found.loc[(name, protocol), 'images']})" for name, protocol in keys]
    style.label_rows(axis, labels, "recall (%)")
    return style.finish(figure, f"Recall in percent, with its 95 % interval over groups: {'; '.join(said)}.")


def reliability(panels: Mapping[str, pd.DataFrame]) -> Figure:
    """Reliability diagrams: accuracy by confidence, one panel per set of images, all runs pooled.

    A larger dot stands for more images. The calibration error is the mean over runs. With three seeds or more it has an interval
    over seeds, because the training images of folds with the same seed overlap.

    Args:
        panels: `evaluation.image_scores` or `evaluation.unseen_scores` of one protocol, by title.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(2.1 * len(panels), 3), sharey=True, squeeze=False)
    said = []
    for axis, (title, scores) in zip(axes[0], panels.items(), strict=True):
        curve = stats.reliability(scores["confidence"], scores["right_at_best"])
        colour = protocols.get(scores["protocol"].iloc[0]).colour
        axis.plot([0, 100], [0, 100], color="black", linewidth=0.8, linestyle=":")
        axis.plot(100 * curve["confidence"], 100 * curve["accuracy"], color=colour, linewidth=1.2)
        share = curve["images"] / curve["images"].sum()
        sizes = 10 + 250 * share
        axis.scatter(100 * curve["confidence"], 100 * curve["accuracy"], s=sizes, color=colour, edgecolors="black", zorder=3)
        errors = calibration.calibration_errors(scores)
        by_seed = errors.groupby("seed")["ece"].mean()
        ece = text.say(by_seed) if len(by_seed) >= comparisons.SEEDS_FOR_AN_INTERVAL else f"{by_seed.mean():.1f}"
        axis.set(title=f"{title}\nECE {ece}", xlabel="confidence (%)")
        axis.set(xlim=(20, 106), ylim=(-4, 106), xticks=[25, 50, 75, 100])
        axis.grid(alpha=0.3)
        means = errors[["confidence", "accuracy"]].mean()
        said.append(f"{title} {means['confidence']:.0f} and {means['accuracy']:.0f}, ECE {ece}")
    axes[0][0].set_ylabel("accuracy (%)")
    return style.finish(figure, f"Mean confidence and accuracy in percent, calibration error (ECE) in points: {'; '.join(said)}.")
