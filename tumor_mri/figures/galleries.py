"""The gallery: correctly and wrongly classified scans, each next to its most similar training image."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tumor_mri.audit import near_copies
from tumor_mri.datasets import manifests
from tumor_mri.evaluation import scoring
from tumor_mri.figures import style
from tumor_mri.runs import configs
from tumor_mri.study import gap

# inches: side of a scan, gap between a scan and its neighbour, gap between pairs, heights of the title and the probabilities
_SIDE, _GAP, _PAIR_GAP, _TITLE, _BAR = 1.1, 0.08, 0.18, 0.38, 0.17


def pictures_in_a_row(pictures: Mapping[str, np.ndarray]) -> Figure:
    """Grey pictures side by side, each under its name.

    Args:
        pictures: by name, (height, width), grey levels from 0 to 255.
    """
    figure, axes = plt.subplots(1, len(pictures), figsize=(1.45 * len(pictures), 1.8), squeeze=False)
    for axis, (name, picture) in zip(axes[0], pictures.items(), strict=True):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=255)
        axis.set_title(name, fontsize=9)
        axis.axis("off")
    said = "; ".join(f"{name} {picture.mean():.0f} ± {picture.std():.0f}" for name, picture in pictures.items())
    return style.finish(figure, f"Grey levels of each picture, mean ± standard deviation: {said}.")


def gallery(
    run: configs.Run,
    manifest: pd.DataFrame,
    thumbnails: np.ndarray | None = None,
    folder: Path | str | None = None,
    classes: Sequence[str] | None = None,
    answers: Sequence[bool] = (True, False),
    columns: int = 2,
) -> Figure | None:
    """Correctly and wrongly classified scans, one row per class, each next to its most similar training image.

    The scans are a fixed sample of those that may be shown (see `manifests.may_be_shown`): evenly spaced from the most to the
    least confident answer. The colour of a frame is the class of the image, and the bars are the probabilities of the classes.
    Without a dataset, phantoms are drawn.

    Args:
        run: the scans are its validation images.
        manifest: table of the images.
        thumbnails: `audit.manifest_thumbnails`; None without a dataset, see `gap.nearest_trained`.
        folder: the dataset's folder, or None.
        classes: labels of the true classes; None for all.
        answers: True for correct answers, False for wrong ones, or both.
        columns: maximum number of scans of each class and kind of answer.

    Returns:
        The figure; None if no scan can be drawn, which the printed sentence then says.
    """
    classes = manifests.dataset_of(manifest).labels if classes is None else classes
    images = scoring.answers(run, manifest).join(gap.nearest_trained(run, manifest, thumbnails))
    images["probabilities"] = list(run.val_probabilities)
    images = images[images["truth"].isin(classes)]
    may_be_shown = manifests.may_be_shown(manifest)
    shown = images[may_be_shown[images.index].to_numpy()].sort_values("confidence", ascending=False, kind="stable")
    drawn = {}
    for name in classes:
        for right in answers:
            drawn[name, right] = _evenly_spaced(shown[(shown["truth"] == name) & (shown["right"] == right)], columns)
    sentence = _gallery_sentence(run, images, answers, drawn, folder)
    if not any(map(len, drawn.values())):
        print(sentence)
        return None
    figure, axes = _gallery_axes(run, images, classes, answers, columns)
    for kind, chosen in drawn.items():
        if not len(chosen):
            _write_text(axes[kind][0][0], f"{kind[0]}:\nnone to show")
        for triple, image in zip(axes[kind][: len(chosen)], chosen.itertuples(), strict=True):
            _draw_answer(triple, image, folder, may_be_shown, manifests.dataset_of(manifest).labels)
    return style.finish(figure, sentence)


def _evenly_spaced(images, count):
    """At most `count` rows, evenly spaced from the first to the last."""
    return images.iloc[np.linspace(0, len(images) - 1, min(count, len(images))).round().astype(int)]


def _gallery_axes(run, images, classes, answers, columns):
    """A figure, and a dict from class and kind of answer to triples of axes: scan, neighbour, probabilities below them."""
    dataset = manifests.get(run.config.dataset)
    pair, row = 2 * _SIDE + _GAP + _PAIR_GAP, _TITLE + _SIDE + _BAR + 0.16
    width, height = len(answers) * (columns * pair + _PAIR_GAP), 0.3 + len(classes) * row + 0.35
    figure = plt.figure(figsize=(width, height), layout="none")  # axes are placed by hand: all scans have the same size
    axes = {}
    for part, right in enumerate(answers):
        start = part * (columns * pair + _PAIR_GAP) + _PAIR_GAP
        count = f"{(images['right'] == right).sum()} of {len(images)}"
        title = f"{'correct' if right else 'wrong'} answers: {count}"
        figure.text((start + (columns * pair - _PAIR_GAP) / 2) / width, 1 - 0.15 / height, title, ha="center", va="center")
        for number, name in enumerate(classes):
            top = 0.3 + number * row + _TITLE
            lefts = start + pair * np.arange(columns)
            axes[name, right] = [_three_axes(figure, left, top) for left in lefts]
    handles = [
        plt.Rectangle((0, 0), 1, 1, color=colour, label=name)
        for name, colour in zip(dataset.labels, dataset.colours, strict=True)
    ]
    figure.legend(handles=handles, loc="lower center", ncols=len(handles), fontsize=9)
    return figure, axes


def _three_axes(figure, left, top):
    """Three empty axes at a position in inches from the upper left corner of the figure."""
    width, height = figure.get_size_inches()
    below = top + _SIDE + 0.06
    places = [(left, top, _SIDE, _SIDE), (left + _SIDE + _GAP, top, _SIDE, _SIDE), (left, below, 2 * _SIDE + _GAP, _BAR)]
    axes = [figure.add_axes((x / width, 1 - (y + high) / height, wide / width, high / height)) for x, y, wide, high in places]
    for axis in axes:
        axis.axis("off")
    return axes


def _draw_answer(axes, image, folder, may_be_shown, labels):
    """Draw a scan, its most similar training image, and the answer of the network."""
    scan, near, bar = axes
    _draw_framed(scan, image.Index, image.truth, folder)
    scan.set_title(f"{image.truth}\nanswer: {image.predicted}", fontsize=7.5, pad=3)
    if image.nearest is None:
        _write_text(near, "nearest not known\nwithout the dataset")
    else:
        group = "same group" if image.same_group else "other group"
        near.set_title(f"nearest: {image.nearest_class}\n{image.correlation:.3f}, {group}", fontsize=7.5, pad=3)
        if may_be_shown[image.nearest]:
            _draw_framed(near, image.nearest, image.nearest_class, folder)
        else:
            _write_text(near, "may not be shown:\nno slice of\nthe Cheng set")
    _draw_probabilities(bar, image.probabilities, labels)


def _write_text(axis, words):
    """Write words into the middle of an axis."""
    axis.text(0.5, 0.5, words, ha="center", va="center", fontsize=7.5, transform=axis.transAxes)


def _draw_framed(axis, path, name, folder):
    """Draw a scan in a square frame with the colour of its class."""
    axis.axis("on")
    style.show_scan(axis, path, Path(path).parent.name, folder, seed=zlib.crc32(path.encode()))
    axis.set_aspect("equal", adjustable="datalim")
    axis.set_facecolor("black")
    axis.spines[:].set(visible=True, color=manifests.label_colour(name), linewidth=2.5)


def _draw_probabilities(axis, probabilities, labels):
    """Draw the probabilities of the classes as parts of one bar; large ones are also written as numbers."""
    starts = np.cumsum(probabilities) - probabilities
    for name, start, share in zip(labels, starts, probabilities, strict=True):
        axis.barh(0, share, left=start, color=manifests.label_colour(name), edgecolor="white", linewidth=0.5)
        if share > 0.14:
            colour = style.readable_on(manifests.label_colour(name))
            axis.text(start + share / 2, 0, f"{share:.0%}", ha="center", va="center_baseline", fontsize=7.5, color=colour)
    axis.set(xlim=(0, 1), ylim=(-0.4, 0.4))


def _gallery_sentence(run, images, answers, drawn, folder):
    kinds = [(images[images["right"] == right], "correct" if right else "wrong") for right in answers]
    told = [(*_trained_shares(found), len(found), kind) for found, kind in kinds if len(found)]
    sentence = ""
    if told:
        shares = [f"{same} of the {count} {kind} {'ones' if n else 'answers'}" for n, (same, _, count, kind) in enumerate(told)]
        sentence = f"For {' and '.join(shares)}, the training set held an image of the same group"
        if images["nearest"].notna().all():
            sentence += f"; a near-copy for {' and '.join(near for _, near, *_ in told)}"
        sentence += ". "
    sentence += "".join(f"There are 0 {kind} answers. " for found, kind in kinds if not len(found))
    count = sum(map(len, drawn.values()))
    how = f"{count} drawn{' as phantoms' if folder is None else ''}, of those the licence allows"
    if not count:
        how = "None is drawn: the licence allows none"
    return f"{sentence}{how}. {style.run_name(run)}, images of {', '.join(dict.fromkeys(name for name, _ in drawn))}."


def _trained_shares(images):
    """For what share of some answers the training images included the same group, and a near-duplicate; in words."""
    near = images["correlation"] > near_copies.NEAR_COPY
    return f"{100 * images['group_trained'].mean():.0f} %", f"{100 * near.mean():.0f} %"
