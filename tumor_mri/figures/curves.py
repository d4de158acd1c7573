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


def learning_curves(runs: Sequence[configs.Run], by: str = "protocol", log: pd.DataFrame | None = None) -> Figure:
    """Training and validation accuracy per epoch of every run, with one panel per protocol or per network.

    Args:
        runs: the runs to draw.
        by: ``protocol`` or ``network``: one panel for each of these.
        log: the report's own log (columns epoch, accuracy, val_accuracy), drawn in a separate panel.

    Raises:
        ValueError: if there are no runs.
    """
    if not runs:
        raise ValueError("there are no runs to draw: train the study first (`python -m tumor_mri train --help`)")
    panels = _panels(runs, by)
    count = len(panels) + (log is not None)
    figure, axes = plt.subplots(1, count, figsize=(max(3.3 * count, 5), 3.4), sharey=True, squeeze=False)
    axes = list(axes[0])
    if log is not None:
        axis = axes.pop(0)
        axis.plot(log["epoch"], 100 * log["accuracy"], color=style.TRAINING)
        axis.plot(log["epoch"], 100 * log["val_accuracy"], color=style.VALIDATION)
        axis.set_title("the report's own log")
    for axis, (title, group) in zip(axes, panels.items(), strict=True):
        for run in group:
            _draw_run(axis, run)
        axis.set_title(f"{title}\n{len(group)} run{'s' if len(group) > 1 else ''}")
    for axis in figure.axes:
        axis.set(xlabel="epoch", ylim=(20, 102))
        axis.grid(alpha=0.3)
    figure.axes[0].set_ylabel("accuracy (%)")
    figure.axes[-1].legend(handles=_curve_handles(), loc="lower right", fontsize=9)
    return style.finish(figure, " ".join(_curve_sentence(title, group) for title, group in panels.items()))


def _panels(runs, by):
    panels = {}
    for run in runs:
        name = protocols.get(run.config.protocol).title if by == "protocol" else run.label
        panels.setdefault(name, []).append(run)
    return panels


def _draw_run(axis, run):
    epochs = np.arange(1, run.epochs_run + 1)
    for curve, colour in (("accuracy", style.TRAINING), ("val_accuracy", style.VALIDATION)):
        values = 100 * np.array(run.history[curve])
        axis.plot(epochs, values, color=colour, alpha=0.75, linewidth=1.2)
        axis.plot(run.best_epoch, values[run.best_epoch - 1], "o", color=colour, markeredgecolor="black", markersize=6)


def _curve_handles():
    line = plt.Line2D
    return [
        line([], [], color=style.TRAINING, label="training"),
        line([], [], color=style.VALIDATION, label="validation"),
        line([], [], color="white", marker="o", markeredgecolor="black", label="restored epoch"),
    ]


def _curve_sentence(title, group):
    best = [run.best_epoch - 1 for run in group]
    training = [100 * run.history["accuracy"][epoch] for run, epoch in zip(group, best, strict=True)]
    validation = [100 * run.history["val_accuracy"][epoch] for run, epoch in zip(group, best, strict=True)]
    gap = np.subtract(training, validation)
    return (
        f"{title}: at the restored epoch training {text.say(training, ' %')}, "
        f"validation {text.say(validation, ' %')}, gap {text.say(gap, ' points')}."
    )


def gaps(summary: pd.DataFrame) -> Figure:
    """The gap between training and validation accuracy of every run: one row per network, one colour per split, means as lines.

    Args:
        summary: `evaluation.summarise`.
    """
    order, shown = style.network_names(summary), style.only_report_splits(summary)
    figure, axis = plt.subplots(figsize=(7.5, 3.4))
    for protocol in shown:
        colour = protocols.get(protocol).colour
        for row, widths in enumerate(order):
            chosen = summary[(summary["protocol"] == protocol) & (summary["network"] == widths)]["gap"]
            if len(chosen):
                axis.plot(chosen, [row] * len(chosen), "o", color=colour, alpha=0.85, markeredgecolor="black")
                axis.plot([chosen.mean()] * 2, [row - 0.25, row + 0.25], color=colour, linewidth=3)
    axis.set(yticks=range(len(order)), yticklabels=order, xlabel="gap at the restored epoch (percentage points)")
    axis.set(ylabel="network", xlim=(min(0, summary["gap"].min() - 1), summary["gap"].max() + 2))
    axis.invert_yaxis()
    axis.grid(alpha=0.3, axis="x")
    handles = [plt.Line2D([], [], color=one.colour, marker="o", label=one.title) for one in protocols.REPORT_SPLITS]
    axis.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=2)
    ranges = summary.groupby("protocol")["gap"].agg(["min", "max"])
    said = [f"{protocols.get(p).title}: {r['min']:.1f} to {r['max']:.1f} points" for p, r in ranges.iterrows()]
    return style.finish(figure, f"Gap over all networks and seeds. {'; '.join(said)}.")


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
    axis.set_xlim(0, 61)
    ends = summary.groupby("protocol")["epochs_run"]
    said = "; ".join(
        f"{protocols.get(name).short} {ends.min()[name]} to {ends.max()[name]}, mean {ends.mean()[name]:.0f}" for name in shown
    )
    within = summary["epochs_run"].between(low, high)
    sentence = f"Runs ended after so many epochs: {said}. {within.sum()} of {len(within)} ended after {low} to {high}, "
    return style.finish(figure, f"{sentence}{(summary['epochs_run'] > high).sum()} later.")
