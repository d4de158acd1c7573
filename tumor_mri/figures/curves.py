"""Figures of training: learning curves, gaps, stopping epochs."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tumor_mri import text
from tumor_mri.datasets import protocols
from tumor_mri.figures import style
from tumor_mri.runs import configs
from tumor_mri.study import claims

FEW_RUNS = 5  # with fewer, a sentence says the least and the largest value: a t interval of three values may pass 100 %


def learning_curves(
    runs: Sequence[configs.Run], by: str = "protocol", log: pd.DataFrame | None = None, lowest: float = 20
) -> Figure:
    """Training and validation accuracy per epoch of every run, with one panel per protocol or per network, all on the same axes.

    Args:
        runs: the runs to draw.
        by: ``protocol`` or ``network``: one panel for each of these.
        log: the report's own log (columns epoch, accuracy, val_accuracy), drawn in a separate panel.
        lowest: where the axis begins, in percent; a higher value shows better how much the curves oscillate.

    Raises:
        ValueError: if there are no runs.
    """
    if not runs:
        raise ValueError("there are no runs to draw: train the study first (`python -m tumor_mri train --help`)")
    panels = _panels(runs, by)
    count = len(panels) + (log is not None)
    figure, axes = plt.subplots(1, count, figsize=(max(3.3 * count, 5), 3.4), sharex=True, sharey=True, squeeze=False)
    axes = list(axes[0])
    if log is not None:
        axis = axes.pop(0)
        _draw_curves(axis, log["epoch"].to_numpy(), log, int(log["val_accuracy"].argmax()))
        axis.set_title("the report's own log\n1 run")
    for axis, (title, group) in zip(axes, panels.items(), strict=True):
        for run in group:
            _draw_curves(axis, np.arange(1, run.epochs_run + 1), run.history, run.best_epoch - 1)
        axis.set_title(f"{title}\n{len(group)} run{'s' if len(group) > 1 else ''}")
    for axis in figure.axes:
        axis.set(xlabel="epoch", ylim=(lowest, 100 + 0.025 * (100 - lowest)))
        axis.grid(alpha=0.3)
    figure.axes[0].set_ylabel("accuracy (%)")
    figure.axes[-1].legend(handles=_curve_handles(), loc="lower right", fontsize=9)
    say = _range if min(map(len, panels.values())) < FEW_RUNS else text.say
    said = "; ".join(_curve_words(title, group, say) for title, group in panels.items())
    return style.finish(figure, f"At the restored epoch: {said}.")


def _panels(runs, by):
    panels = {}
    for run in runs:
        name = protocols.get(run.config.protocol).title if by == "protocol" else run.label
        panels.setdefault(name, []).append(run)
    return panels


def _draw_curves(axis, epochs, history, best):
    """Both curves of one run; a dot marks the restored epoch, whose place is `best`."""
    for curve, colour in (("accuracy", style.TRAINING), ("val_accuracy", style.VALIDATION)):
        values = 100 * np.array(history[curve])
        axis.plot(epochs, values, color=colour, alpha=0.75, linewidth=1.2)
        axis.plot(epochs[best], values[best], "o", color=colour, markeredgecolor="black", markersize=6)


def _curve_handles():
    line = plt.Line2D
    return [
        line([], [], color=style.TRAINING, label="training"),
        line([], [], color=style.VALIDATION, label="validation"),
        line([], [], color="white", marker="o", markeredgecolor="black", label="restored epoch"),
    ]


def _curve_words(title, group, say):
    best = [run.best_epoch - 1 for run in group]
    training = [100 * run.history["accuracy"][epoch] for run, epoch in zip(group, best, strict=True)]
    validation = [100 * run.history["val_accuracy"][epoch] for run, epoch in zip(group, best, strict=True)]
    gap = say(np.subtract(training, validation), " points")
    return f"{title} gap {gap} (training accuracy {say(training, ' %')}, validation {say(validation, ' %')})"


def _range(values, unit):
    """Least and largest value in words."""
    low, high = f"{min(values):.1f}", f"{max(values):.1f}"
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"


def gaps(summary: pd.DataFrame) -> Figure:
    """The gap between training and validation accuracy of every run: one row per network, the smallest first; one colour per
    split; means as lines.

    Args:
        summary: `evaluation.summarise`.
    """
    shown = style.only_report_splits(summary)
    sizes = summary.groupby("network")["parameters"].first().sort_values(kind="stable")
    figure, axis = plt.subplots(figsize=(7, 0.5 * len(sizes) + 1.2))
    for protocol in shown:
        colour = protocols.get(protocol).colour
        for row, name in enumerate(sizes.index):
            chosen = summary[(summary["protocol"] == protocol) & (summary["network"] == name)]["gap"]
            if len(chosen):
                axis.plot(chosen, [row] * len(chosen), "o", color=colour, alpha=0.85, markeredgecolor="black")
                axis.plot([chosen.mean()] * 2, [row - 0.25, row + 0.25], color=colour, linewidth=3)
    labels = [f"{name}\n{size / 1e6:.1f} million parameters" for name, size in sizes.items()]
    style.label_rows(axis, labels, "gap at the restored epoch (percentage points)")
    axis.set_xlim(min(0, summary["gap"].min() - 1), summary["gap"].max() + 2)
    style.split_legend(axis, 1.0)
    ranges = summary.groupby("protocol")["gap"].agg(["min", "max"])
    said = [f"{row['min']:.1f} to {row['max']:.1f} points on {protocols.get(name).short}" for name, row in ranges.iterrows()]
    return style.finish(figure, f"Over {len(sizes)} networks and all seeds, the gap is {' and '.join(said)}.")


def stopping_epochs(summary: pd.DataFrame) -> Figure:
    """The number of epochs after which each run ended, with the range given in the report.

    Args:
        summary: `evaluation.summarise`.
    """
    shown, rows = style.in_order(summary)
    figure, axis = plt.subplots(figsize=(8, 0.4 * len(rows) + 0.9))
    low, high = claims.REPORT_ENDS
    axis.axvspan(low - 0.5, high + 0.5, color="#DDDDDD", zorder=0)
    for number, (protocol, name) in enumerate(rows):
        ends = summary[(summary["protocol"] == protocol) & (summary["network"] == name)]["epochs_run"]
        axis.plot(
            ends, np.full(len(ends), number), "o", color=protocols.get(protocol).colour, alpha=0.75, markeredgecolor="black"
        )
    label = f"epochs trained when the run ended (grey: {low} to {high}, the report)"
    style.label_rows(axis, [style.row_label(*row) for row in rows], label)
    axis.set_xlim(0, max(60, summary["epochs_run"].max()) + 1)
    ends, within = summary["epochs_run"], summary["epochs_run"].between(low, high)
    early, late = (ends < low).sum(), (ends > high).sum()
    counts = f"{early} ended before epoch {low}, {within.sum()} after {low} to {high} epochs, {late} later"
    by_protocol = summary.groupby("protocol")["epochs_run"].agg(["min", "max"])
    said = [f"{protocols.get(name).short} {by_protocol['min'][name]} to {by_protocol['max'][name]}" for name in shown]
    return style.finish(figure, f"Of {len(ends)} runs, {counts}. Range: {', '.join(said)}.")
