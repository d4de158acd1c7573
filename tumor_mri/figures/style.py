"""The common style of all figures. Each figure prints one sentence, computed from the data that it plots.

If the environment variable ``TUMOR_MRI_FIGURES`` is set, each figure is also written as SVG, for print. Its value is a folder and
the start of the file names.
"""

import inspect
import itertools
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import colors
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tumor_mri import text
from tumor_mri.datasets import decoding, manifests, phantoms, protocols
from tumor_mri.models import networks
from tumor_mri.runs import configs

TRAINING, VALIDATION = "#56B4E9", "#D55E00"
PART_COLOURS = {"near-copies": "#CCCCCC", "others": "#777777", "foreign gliomas": manifests.label_colour("glioma")}
# for networks in one figure: none of these is the colour of a class
NETWORK_COLOURS = ("#444444", "#7B3FA0", "#0B7A75", "#B5651D", "#5B6B8C", "#8C2D3F")
NETWORK_MARKS = ("o", "s", "D", "^", "v", "P")
_STYLE = {
    "figure.constrained_layout.use": True,
    "figure.dpi": 100,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "legend.frameon": False,
    "svg.hashsalt": "tumor_mri",  # the same figure gives the same file
}
plt.rcParams.update(_STYLE)
if "ipykernel" in sys.modules:  # a notebook: twice as many pixels, shown at the same size
    from matplotlib_inline.backend_inline import set_matplotlib_formats

    set_matplotlib_formats("retina")
_NUMBERS = itertools.count(1)  # numbers of the figures in a notebook


def finish(figure: Figure, sentence: str) -> Figure:
    """Show the figure, then print what it shows. nbval compares this text, and so checks the data behind the picture."""
    plt.show()
    print(sentence)
    if start := os.environ.get("TUMOR_MRI_FIGURES"):
        name = inspect.currentframe().f_back.f_code.co_name  # the function that drew the figure
        _write_for_print(figure, f"{start}-{next(_NUMBERS)}-{name}.svg")
    return figure


def _write_for_print(figure, path):
    """Write a figure as SVG. Scans are embedded with their own pixels, at most 150 per side, and are not enlarged."""
    for image in itertools.chain.from_iterable(axis.get_images() for axis in figure.axes):
        image.set_interpolation("none")
    if all(axis.get_subplotspec() is None for axis in figure.axes):
        # axes placed by hand: an earlier savefig has put `layout="none"` back to the style's engine, which would warn of them
        figure.set_layout_engine("none")
    with text.whole(path) as temporary:
        figure.savefig(temporary, bbox_inches="tight", metadata={"Date": None})


def show_scan(axis: Axes, path: str, class_name: str, folder: Path | str | None, seed: int = 0) -> None:
    """Draw one scan into an axis, or a phantom of its class if `folder` is None."""
    picture = phantoms.draw(class_name, seed) if folder is None else decoding.scan(path, folder)
    show_picture(axis, picture, drawn=folder is None)


def show_picture(axis: Axes, picture: np.ndarray, drawn: bool = False) -> None:
    """Draw grey levels, uint8, (height, width), into an axis. With `drawn`, the picture is marked as a drawing."""
    axis.imshow(picture, cmap="gray", vmin=0, vmax=255)
    if drawn:
        axis.text(0.5, 0.02, "drawing, not a scan", color="white", fontsize=8, ha="center", transform=axis.transAxes)
    axis.set(xticks=[], yticks=[])
    sns.despine(ax=axis, left=True, bottom=True)


def run_name(run: configs.Run) -> str:
    """A run in words: its network, protocol, fold and seed."""
    protocol = protocols.get(run.config.protocol)
    fold = f", fold {run.config.fold}" if protocol.folds > 1 else ""
    return f"{run.label} on {protocol.title}{fold}, seed {run.config.seed}"


def readable_on(colour: str) -> str:
    """White or black, whichever is readable on a colour.

    Example:
        >>> readable_on("#0072B2"), readable_on("#E69F00")
        ('white', 'black')
    """
    red, green, blue = colors.to_rgb(colour)
    return "white" if 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 < 0.2 else "black"


def colours_of(names: Iterable[str]) -> dict[str, str]:
    """A colour for each network, in the given order.

    Raises:
        ValueError: if there are more networks than colours.
    """
    names = list(names)
    if len(names) > len(NETWORK_COLOURS):
        raise ValueError(f"at most {len(NETWORK_COLOURS)} networks can be told apart in one figure, got {len(names)}")
    return dict(zip(names, NETWORK_COLOURS[: len(names)], strict=True))


def network_names(table: pd.DataFrame, protocol: str | None = None) -> list[str]:
    """Labels of the networks in a table: the base network first, then the others of the report, then all others."""
    if protocol is not None:
        table = table[table["protocol"] == protocol]
    report = [networks.label(widths) for widths in networks.REPORT_WIDTHS]
    present = list(dict.fromkeys(table["network"]))
    return [name for name in report if name in present] + [name for name in present if name not in report]


def split_legend(axis: Axes, height: float, **settings: Any) -> None:
    """Add a legend for the report's two splits at a height, in axis coordinates."""
    line = plt.Line2D
    handles = [
        line([], [], color=split.colour, marker="o", ls="", mec="black", label=split.title) for split in protocols.REPORT_SPLITS
    ]
    axis.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.4, height), ncols=2, **settings)


def in_order(table: pd.DataFrame) -> tuple[list[str], list[tuple[str, str]]]:
    """The protocols of a table in the order of registration, and its pairs of protocol and network, the base network first.

    Raises:
        ValueError: if a protocol is not registered.
    """
    shown = protocols_of(table)
    return shown, [(protocol, name) for protocol in shown for name in network_names(table, protocol)]


def protocols_of(table: pd.DataFrame) -> list[str]:
    """Names of the protocols in a table, in the order of registration.

    Raises:
        ValueError: if a protocol is not registered.
    """
    present = {protocols.get(name).name for name in table["protocol"].unique()}
    return [name for name in protocols.PROTOCOLS if name in present]


def only_report_splits(table: pd.DataFrame) -> list[str]:
    """Names of the protocols in a table, for a figure that can show only the report's two splits.

    Raises:
        ValueError: if the table has another protocol.
    """
    known = [split.name for split in protocols.REPORT_SPLITS]
    others = [name for name in protocols_of(table) if name not in known]
    if others:
        raise ValueError(f"this figure is about {' and '.join(known)}, and has no place for {', '.join(others)}")
    return [name for name in known if name in set(table["protocol"])]


def draw_row(axis: Axes, row: int, points: Sequence[float], mean: float, low: float, high: float, colour: str) -> None:
    """Draw all points, and below them the mean and its 95 % interval."""
    axis.plot(points, np.full(len(points), row - 0.14), "o", color=colour, alpha=0.75, markeredgecolor="black", markersize=5)
    axis.plot([low, high], [row + 0.2] * 2, color=colour, linewidth=3, solid_capstyle="butt")
    axis.plot([mean] * 2, [row + 0.06, row + 0.34], color=colour, linewidth=3)


def label_rows(axis: Axes, labels: Sequence[str], xlabel: str) -> None:
    """Label the rows of a figure, the first at the top, and the x axis."""
    axis.set(yticks=range(len(labels)), yticklabels=labels, xlabel=xlabel, ylim=(len(labels) - 0.5, -0.5))
    axis.grid(alpha=0.3, axis="x")


def row_label(protocol: str, name: str) -> str:
    """The label of a row for a protocol and a network.

    Example:
        >>> row_label("training_only", "32/64/128/128")
        'split B · 32/64/128/128'
    """
    return f"{protocols.get(protocol).short} · {name}"


def span_in_words(mean: float, low: float, high: float, form: str = ".1f") -> str:
    """A mean and its interval in words; 0 has no minus sign.

    Example:
        >>> span_in_words(75, 70.04, 80)
        '75.0 (70.0 to 80.0)'
    """
    mean, low, high = (format(round(value, 1) + 0.0, form) for value in (mean, low, high))
    return f"{mean} ({low} to {high})"
