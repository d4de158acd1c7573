"""Every plot, in one style. Each figure prints one sentence, computed from the data that it plots.

Where ``TUMOR_MRI_FIGURES`` is set, to a folder and the start of a file's name, each figure is also written as SVG, for print.
"""

import inspect
import itertools
import os

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib import colors

from tumor_mri import text
from tumor_mri.datasets import decoding, manifests, phantoms, protocols
from tumor_mri.models import networks

TRAINING, VALIDATION = "#56B4E9", "#D55E00"
PART_COLOURS = {"near-copies": "#CCCCCC", "others": "#777777", "foreign gliomas": manifests.label_colour("glioma")}
# networks beside one another: none has the colour of a class
NETWORK_COLOURS = ("#444444", "#7B3FA0", "#0B7A75", "#B5651D", "#5B6B8C", "#8C2D3F")
NETWORK_MARKS = ("o", "s", "D", "^", "v", "P")
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
    with text.whole(path) as temporary:
        figure.savefig(temporary, bbox_inches="tight", metadata={"Date": None})


def show_scan(axis, path, class_name, folder, seed=0):
    """Draw one scan into an axis, or a phantom of its class where there is no dataset."""
    picture = phantoms.draw(class_name, seed) if folder is None else decoding.scan(path, folder)
    show_picture(axis, picture, drawn=folder is None)


def show_picture(axis, picture, drawn=False):
    """Draw grey levels into an axis, uint8, (height, width); `drawn` says that they are of a phantom, and is written on it."""
    axis.imshow(picture, cmap="gray", vmin=0, vmax=255)
    if drawn:
        axis.text(0.5, 0.02, "drawing, no scan", color="white", fontsize=8, ha="center", transform=axis.transAxes)
    axis.set(xticks=[], yticks=[])
    sns.despine(ax=axis, left=True, bottom=True)


def run_name(run):
    """A run in words: its network, its protocol and fold, its seed."""
    protocol = protocols.get(run.config.protocol)
    fold = f", fold {run.config.fold}" if protocol.folds > 1 else ""
    return f"{run.label} on {protocol.title}{fold}, seed {run.config.seed}"


def readable_on(colour) -> str:
    """White or black, whichever can be read on a colour."""
    red, green, blue = colors.to_rgb(colour)
    return "white" if 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 < 0.2 else "black"


def colours_of(names) -> dict:
    """A colour for each of some networks, in their order.

    Raises:
        ValueError: if there are more than can be told apart.
    """
    names = list(names)
    if len(names) > len(NETWORK_COLOURS):
        raise ValueError(f"at most {len(NETWORK_COLOURS)} networks can be told apart in one figure, got {len(names)}")
    return dict(zip(names, NETWORK_COLOURS[: len(names)], strict=True))


def network_names(table, protocol=None):
    """Labels of the networks in a table, the base one first, those that are not the report's last."""
    if protocol is not None:
        table = table[table["protocol"] == protocol]
    report = [networks.label(widths) for widths in networks.REPORT_WIDTHS]
    there = list(dict.fromkeys(table["network"]))
    return [name for name in report if name in there] + [name for name in there if name not in report]


def split_legend(axis, height, **settings):
    line = plt.Line2D
    handles = [
        line([], [], color=split.colour, marker="o", ls="", mec="black", label=split.title) for split in protocols.REPORT_SPLITS
    ]
    axis.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.4, height), ncols=2, **settings)


def in_order(table):
    """Names of a table's protocols in the order of registration, and its rows of protocol and network, the base network first.

    Raises:
        ValueError: if one of them is not registered.
    """
    shown = protocols_of(table)
    return shown, [(protocol, name) for protocol in shown for name in network_names(table, protocol)]


def protocols_of(table) -> list:
    """Names of a table's protocols, in the order of registration.

    Raises:
        ValueError: if one of them is not registered.
    """
    there = {protocols.get(name).name for name in table["protocol"].unique()}
    return [name for name in protocols.PROTOCOLS if name in there]


def only_report_splits(table) -> list:
    """Names of a table's protocols, which a figure about the report's two splits can show.

    Raises:
        ValueError: if there is another one among them.
    """
    known = [split.name for split in protocols.REPORT_SPLITS]
    others = [name for name in protocols_of(table) if name not in known]
    if others:
        raise ValueError(f"this figure is about {' and '.join(known)}, and has no place for {', '.join(others)}")
    return [name for name in known if name in set(table["protocol"])]


def draw_row(axis, row, points, mean, low, high, colour):
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
    return f"{protocols.get(protocol).short} · {name}"


def span_in_words(mean, low, high, form=".1f"):
    """A mean and its interval in words; 0 has no sign."""
    mean, low, high = (format(round(value, 1) + 0.0, form) for value in (mean, low, high))
    return f"{mean} ({low} to {high})"
