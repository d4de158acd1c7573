"""Figures of notebooks 8 to 11: the ingredients of the recipe, scores of two networks, heat maps, robustness, abstention."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from tumor_mri import stats, text
from tumor_mri.datasets import decoding, image_files, manifests, phantoms, protocols
from tumor_mri.evaluation import corruptions, scoring
from tumor_mri.figures import style
from tumor_mri.models import preprocessing
from tumor_mri.study import inspection


def _scan(path, folder, seed=0):
    """A scan at full size, grey, uint8, or a phantom of its class if `folder` is None."""
    return phantoms.draw(Path(path).parent.name, seed) if folder is None else image_files.read(Path(folder) / path)


def _first_of_each_class(manifest):
    """One path from Training per class: the first image of the folder that may be shown."""
    shown = manifest[(manifest["split"] == "Training") & manifests.may_be_shown(manifest)[manifest["path"]].to_numpy()]
    return [shown.loc[shown["class"] == name, "path"].iloc[0] for name in manifests.dataset_of(manifest).classes]


def ingredients(manifest: pd.DataFrame, folder: Path | str | None = None) -> Figure:
    """One scan of each class in each step of its preparation, and an example of each family of data augmentation.

    Without a dataset, phantoms are drawn.

    Args:
        manifest: table of the images.
        folder: the dataset's folder, or None.
    """
    titles = (
        "as the report\nsees it",
        "the head\nthat was found",
        "cropped\nto it",
        "partly\nequalised",
        *(f"varied:\n{family}" for family in preprocessing.FAMILIES),
    )
    paths = _first_of_each_class(manifest)
    figure, axes = plt.subplots(len(paths), len(titles), figsize=(1.15 * len(titles), 1.2 * len(paths) + 0.4))
    generator = np.random.default_rng(1)
    for row, path in zip(axes, paths, strict=True):
        scan = _scan(path, folder)
        small = scan if folder is None else decoding.scan(path, folder)
        cropped = preprocessing.crop_to_head(scan)
        prepared = preprocessing.prepare(scan)
        varied = [preprocessing.vary(prepared, generator, (family,)) for family in preprocessing.FAMILIES]
        for axis, picture in zip(row, (inspection.view(inspection.REPORT, scan), small, cropped, prepared, *varied), strict=True):
            style.show_picture(axis, picture, drawn=folder is None)
        scale = np.tile(np.divide(small.shape[::-1], scan.shape[::-1]), 2)
        left, top, right, bottom = scale * preprocessing.find_head(scan)
        row[1].add_patch(plt.Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor="#F0E442", linewidth=1.5))
        row[0].set_ylabel(manifests.dataset_of(manifest).label_of(Path(path).parent.name))
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=8)
    what = "Drawn phantoms, not scans, one" if folder is None else "One scan of Training"
    sentence = f"{what} for each class, in {len(titles)} steps: as the report's network is shown it, prepared, and varied by "
    sentence += f"{len(preprocessing.FAMILIES)} families of data augmentation."
    return style.finish(figure, sentence)


def tries(table: pd.DataFrame) -> Figure:
    """All experiments, unsuccessful ones too: accuracy on the first grouped fold, which decided, and scores on Testing.

    On unseen Testing this is the mean of the recalls of glioma and pituitary tumour. Of the earlier tries it is known only up to
    the answers to the few meningiomas, so it is drawn as a line from the least to the largest possible value.

    Args:
        table: ``data/tries.csv``, with two more columns: unseen_least and unseen_most, of 1.
    """
    marks = {"grouped": (protocols.GROUPED.colour, "o"), "testing": (protocols.TESTING_FOLDER.colour, "s")}
    names = {"grouped": "first grouped fold (it decided)", "testing": "all of Testing"}
    figure, axis = plt.subplots(figsize=(7, 0.5 * len(table) + 1.1))
    for column, (colour, mark) in marks.items():
        axis.plot(100 * table[column], range(len(table)), mark, color=colour, markeredgecolor="black", label=names[column])
    least, most = 100 * table["unseen_least"], 100 * table["unseen_most"]
    axis.hlines(range(len(table)), least, most, color=style.TRAINING, linewidth=6, label="unseen Testing,\nmean of two recalls")
    axis.axvline(50, color="black", linewidth=1, linestyle=":", label="always glioma,\nunseen Testing")
    numbers, pixels, epochs = (table[column].astype(str) for column in ("try", "pixels", "epochs"))
    what = table["otherwise"].fillna("").str.partition(":")[0]  # in short; the details come after a colon
    labels = numbers + ": " + pixels + " px, " + table["variation"] + ", " + epochs + " epochs" + what.map(_below)
    style.label_rows(axis, labels, "accuracy or mean of two recalls (%), one run each")
    axis.set_xlim(min(10 * np.floor(least.min() / 10), 40), 100)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=9)
    best, other = table.loc[table["grouped"].idxmax()], table.loc[most.idxmax()]
    sentence = f"On the fold that decided, try {best['try']} is the best of {len(table)} ({100 * best['grouped']:.1f} %)"
    if best["try"] != other["try"]:
        sentence += f"; on unseen Testing try {other['try']} may be: its mean of two recalls is {_between(other)}, that of try "
        sentence += f"{best['try']} {_between(best)}"
    return style.finish(figure, sentence + ".")


def choice(table: pd.DataFrame) -> Figure:
    """What the tries for a network were chosen by: new patients, a new source, and the score of both; a point for each seed.

    Args:
        table: ``data/tries_pretrained.csv``. Tries without a score are left out.
    """
    table = table.dropna(subset="score")
    measures = {
        "new patients": table[["fold0", "fold1"]].mean(axis=1),
        "new source": table[["source_meningioma", "source_pituitary"]].mean(axis=1),
        "score of the rule": table["score"],
    }
    of_try = table.groupby("try")["score"].agg(["mean", "size"]).sort_values("mean", ascending=False)
    last = of_try["size"] == of_try["size"].max()
    figure, axes = plt.subplots(1, len(measures), sharey=True, figsize=(8.6, 0.45 * len(of_try) + 1.1))
    for axis, (name, values) in zip(axes, measures.items(), strict=True):
        for row, attempt in enumerate(of_try.index):
            points, colour = 100 * values[table["try"] == attempt], "#444444" if last[attempt] else "#AAAAAA"
            axis.plot(points, np.full(len(points), row), "o", color=colour, alpha=0.75, markeredgecolor="black", markersize=5)
            axis.plot([points.mean()] * 2, [row - 0.3, row + 0.3], color=colour, linewidth=3)
        axis.set_title(name)
        style.label_rows(axis, of_try.index, "percent")
    said = "; ".join(f"{attempt} {100 * mean:.1f}" for attempt, mean in of_try.loc[last, "mean"].items())
    most = of_try["size"].max()
    sentence = f"Of {len(of_try)} tries, the best {last.sum()} were trained with {most} seeds (dark). Their mean scores: {said}."
    return style.finish(figure, sentence)


def steps_down(steps: pd.DataFrame) -> Figure:
    """A score that falls from step to step, as one advantage after another is taken away.

    Args:
        steps: one row per step, in order. Columns: step (its name), taken (what it takes away from the one before; empty for the
            first), score, low and high (its 95 % interval over groups), of 1.
    """
    figure, axis = plt.subplots(figsize=(8, 0.55 * len(steps) + 1.0))
    percent = 100 * steps[["score", "low", "high"]].to_numpy()
    right = percent[:, 2].max() + 1
    for row, (score, low, high) in enumerate(percent):
        before = percent[row - 1, 0] if row else score
        axis.barh(row, before - score, left=score, height=0.5, color="#E8B5A0" if before >= score else "#B5D5C0")
        axis.plot([low, high], [row] * 2, color="#444444", linewidth=3, solid_capstyle="butt")
        axis.plot(score, row, "o", color="#444444", markeredgecolor="black", markersize=8)
        if row:
            axis.annotate(f"{score - before:+.1f}: {steps['taken'].iloc[row]}", (right, row), va="center", fontsize=9)
    axis.annotate("points: what is no longer there", (right, 0), va="center", fontsize=9, style="italic")
    style.label_rows(axis, steps["step"], "correct (%), with 95 % intervals over groups")
    axis.set_xlim(right=right)
    said = [f"{name} {style.span_in_words(*values)}" for name, values in zip(steps["step"], percent, strict=True)]
    return style.finish(figure, f"Correct in percent (95 % interval over groups): {'; '.join(said)}.")


def _below(words):
    return f",\n{words}" if words else ""


def _between(row):
    return f"{100 * row['unseen_least']:.1f} to {100 * row['unseen_most']:.1f} %"


def two_networks(differences: pd.DataFrame, names: Sequence[str]) -> Figure:
    """The recall of each class with two networks, on the same images.

    Args:
        differences: `evaluation.recall_differences`.
        names: names of the two networks.
    """
    figure, axis = plt.subplots(figsize=(7.5, 0.5 * len(differences) + 1.2))
    beside = ("axes fraction", "data")
    axis.annotate("points gained\n(95 % interval)", (1.03, -0.55), xycoords=beside, fontsize=9, va="bottom")
    said = []
    for number, row in enumerate(differences.itertuples()):
        colour = "#444444" if row[1] == "all" else manifests.label_colour(row[1])
        first, second = 100 * row.first, 100 * row.second
        axis.plot([first, second], [number, number], color=colour, linewidth=2)
        axis.plot(first, number, "o", color="white", markeredgecolor=colour, markeredgewidth=2, markersize=8)
        axis.plot(second, number, "o", color=colour, markeredgecolor="black", markersize=8)
        span = style.span_in_words(row.difference, row.low, row.high, "+.1f")
        axis.annotate(span, (1.03, number), xycoords=beside, va="center", fontsize=9)
        said.append(f"{row[1]} {span}")
    labels = [f"{row[1]} ({row.images})" for row in differences.itertuples()]
    style.label_rows(axis, labels, f"correct (%): {names[0]} (hollow), {names[1]} (full)")
    axis.set_xlim(right=101)
    return style.finish(figure, f"Points that {names[1]} gains over {names[0]}, with 95 % intervals: {'; '.join(said)}.")


def ablation(
    table: pd.DataFrame,
    points: pd.DataFrame,
    reference: str,
    measures: Mapping[str, str] | None = None,
    over: str = "over groups",
) -> Figure:
    """Differences to a reference network on several sets of images, side by side; rows are shared, in families, and sorted.

    Args:
        table: one row per row and panel. Columns: on (the panel: which images are scored), family, row (its name), difference,
            low and high (its 95 % interval), in points. A row that a panel lacks is left out there.
        points: one row per pair of trainings. Columns: on, row, difference.
        reference: what the differences are taken from, after "minus that": ``of the whole network``.
        measures: what is measured in each panel, by the panel's name; otherwise ``score``.
        over: what the intervals are over.
    """
    panels = list(dict.fromkeys(table["on"]))
    places, labels = _rows_in_families(table)
    wide = 2.8 * len(panels) + 2.8
    figure, axes = plt.subplots(1, len(panels), figsize=(wide, 0.34 * len(labels) + 1.2), sharex=True, sharey=True, squeeze=False)
    dark, said = 0, []
    for axis, on in zip(axes[0], panels, strict=True):
        axis.axvline(0, color="black", linewidth=1)
        of_panel = table[table["on"] == on]
        for row in of_panel.itertuples():
            excludes = row.low > 0 or row.high < 0
            dark += excludes
            found = points[(points["on"] == on) & (points["row"] == row.row)]["difference"]
            style.draw_row(axis, places[row.row], found, row.difference, row.low, row.high, "#222222" if excludes else "#AAAAAA")
        style.label_rows(axis, labels, f"{(measures or {}).get(on, 'score')} minus\nthat {reference} (points)")
        axis.set_title(on)
        axis.tick_params(axis="y", length=0)
        largest = of_panel.sort_values("difference", key=abs, ascending=False).head(2)
        said.append(f"{on}: {', '.join(f'{row.row} {row.difference:+.1f}' for row in largest.itertuples())}")
    for label in axes[0, 0].get_yticklabels():
        if label.get_text() not in places:
            label.set_fontweight("bold")
    sentence = f"{dark} of {len(table)} intervals {over} exclude zero (dark). Largest, minus that {reference}, in points, "
    return style.finish(figure, f"{sentence}{'; '.join(said)}.")


def _rows_in_families(table):
    """The place of each row, by name, and the labels of all places: a family's name, if there are several, then its rows.

    In a family the rows are sorted by their difference in the first panel that has them, the largest loss first.
    """
    rows = table.drop_duplicates("row")
    places, labels = {}, []
    for family, found in rows.groupby("family", sort=False):
        labels += [family] if rows["family"].nunique() > 1 else []
        for name in found.sort_values("difference")["row"]:
            places[name] = len(labels)
            labels.append(name)
    return places, labels


def abstention(
    curves: Mapping[str, pd.DataFrame],
    thresholds: Mapping[str, float],
    intervals: Mapping[str, tuple[float, float]] | None = None,
) -> Figure:
    """The accuracy of the given answers, by the share of scans that are answered.

    Args:
        curves: the result of `stats.abstention` for each network or set of scans, by name.
        thresholds: the confidence below which a network abstains, by name; it is marked in the figure.
        intervals: the 95 % interval of the accuracy at that confidence (low, high, of 1), by name; it is drawn through the mark.
    """
    figure, axis = plt.subplots(figsize=(7, 3.8))
    said = []
    colours = style.colours_of(curves)
    for name, curve in curves.items():
        colour = colours[name]
        axis.plot(100 * curve["answered"], 100 * curve["accuracy"], color=colour, linewidth=2, label=name)
        if name in thresholds:
            row = curve[curve["threshold"] >= thresholds[name]].iloc[0]
            low, high = (intervals or {}).get(name, (row["accuracy"],) * 2)
            axis.vlines(100 * row["answered"], 100 * low, 100 * high, color=colour, linewidth=3, alpha=0.6)
            axis.plot([100 * row["answered"]] * 2, [100 * low, 100 * high], "_", color=colour, markersize=9, markeredgewidth=1.5)
            axis.plot(100 * row["answered"], 100 * row["accuracy"], "o", color=colour, markeredgecolor="black", markersize=4.5)
            said.append(f"{name} answers {100 * row['answered']:.0f} % of scans, {100 * row['accuracy']:.1f} % of them correctly")
    axis.set(xlabel="scans that are answered, the surest first (%)", ylabel="right, of those answered (%)", xlim=(0, 101))
    axis.set_ylim(top=103)
    axis.grid(alpha=0.3)
    axis.legend(loc="lower left")
    return style.finish(figure, f"At the threshold (the dot): {'; '.join(said)}.")


def maps_on_scans(scans: np.ndarray, maps: Mapping[str, np.ndarray], titles: Sequence[str], drawn: bool = False) -> Figure:
    """Scans, and in the rows below them several kinds of heat map on the same scans, each scaled to its own maximum.

    Args:
        scans: grey, uint8, (scans, height, width).
        maps: heat maps by name, (scans, rows, columns) each, of any resolution; values below 0 count as 0.
        titles: the heading of each scan.
        drawn: whether the scans are phantoms; they are then marked as drawings.
    """
    figure, axes = plt.subplots(1 + len(maps), len(scans), figsize=(1.4 * len(scans) + 0.9, 1.45 * (1 + len(maps)) + 0.3))
    axes = axes.reshape(1 + len(maps), len(scans))
    for axis, scan, title in zip(axes[0], scans, titles, strict=True):
        style.show_picture(axis, scan, drawn)
        axis.set_title(title, fontsize=10)
    axes[0, 0].set_ylabel("the picture")
    for row, (name, heat) in zip(axes[1:], maps.items(), strict=True):
        for axis, scan, one in zip(row, scans, heat, strict=True):
            _draw_heat(axis, scan, one, drawn)
        row[0].set_ylabel(name)
    _explain_colours(figure, axes)
    first, *others = maps
    said = []
    for other in others:
        apart = [_apart(one, two) for one, two in zip(maps[first], maps[other], strict=True)]
        near = sum(distance < 0.25 for distance in apart)
        said.append(f"{first} and {' '.join(other.split())} in {near} of {len(scans)} scans")
    pairs = f"Hottest less than a quarter of the side apart: {'; '.join(said)}" if said else f"{first} on {len(scans)} scans"
    return style.finish(figure, f"{pairs}{' (the pictures are phantoms)' if drawn else ''}.")


def _apart(one, other):
    """The distance of the hottest positions of two maps, as a share of the side."""
    places = [(np.array(np.unravel_index(heat.argmax(), heat.shape)) + 0.5) / heat.shape for heat in (one, other)]
    return float(np.hypot(*(places[0] - places[1])))


def _draw_heat(axis, picture, heat, drawn):
    """Draw a scan under its heat map, which is scaled to its own maximum and enlarged; without heat, the scan is visible."""
    scaled = (np.maximum(heat, 0) / max(heat.max(), 1e-9)).astype(np.float32)
    large = np.asarray(Image.fromarray(scaled).resize(picture.shape[::-1], Image.Resampling.BICUBIC)).clip(0, 1)
    style.show_picture(axis, picture, drawn)
    axis.imshow(large, cmap="inferno", vmin=0, vmax=1, alpha=0.7 * large**1.2)


def _explain_colours(figure, axes):
    """Add a colour bar for heat."""
    colours = plt.cm.ScalarMappable(plt.Normalize(0, 1), "inferno")
    figure.colorbar(colours, ax=axes, label="heat, 1 = the maximum of each map", shrink=0.5, aspect=30, pad=0.02)


def looks(
    inspected: Sequence[inspection.Inspection],
    manifest: pd.DataFrame,
    wrong: bool,
    folder: Path | str | None = None,
    of_each: int = 2,
) -> Figure:
    """Grad-CAM heat maps of two networks on the same scans, each for the predicted class; phantoms without a dataset.

    A column for each class. The scans are a few of each class: of those that may be shown, the ones on which the second network
    is most confident. Each scan is drawn by itself, and below as the networks see it, under their heat maps.

    Args:
        inspected: the inspections of the two networks.
        manifest: table of the images.
        wrong: show scans that the second network misclassifies; otherwise scans that it classifies correctly.
        folder: the dataset's folder, or None.
        of_each: scans of each class.
    """
    second, labels = inspected[1], manifests.dataset_of(manifest).labels
    truth = scoring.truth(second.paths, manifest)
    answers, sure = second.probabilities[0].argmax(axis=1), second.probabilities[0].max(axis=1)
    chosen = ((answers != truth) if wrong else (answers == truth)) & manifests.may_be_shown(manifest)[second.paths].to_numpy()
    groups = manifests.groups_of(second.paths, manifest)
    figure, axes = plt.subplots(3 * of_each, len(labels), figsize=(1.4 * len(labels) + 0.9, 4.8 * of_each + 0.6), squeeze=False)
    drawn = 0
    for index, (label, column) in enumerate(zip(labels, axes.T, strict=True)):
        rows = [row for row in np.argsort(-sure, kind="stable") if chosen[row] and truth[row] == index]
        shown = [row for place, row in enumerate(rows) if groups[row] not in groups[rows[:place]]][:of_each]
        drawn += len(shown)
        for axis in column[3 * len(shown) :]:
            axis.set_axis_off()
        for place, row in enumerate(shown):
            plain = inspection.view(inspection.REPORT, _scan(second.paths[row], folder, seed=int(row)))
            style.show_picture(column[3 * place], plain, drawn=folder is None)
            for axis, found, config in zip(column[3 * place + 1 :], inspected, inspection.CONFIGS, strict=False):
                picture = inspection.view(config, _scan(found.paths[row], folder, seed=int(row)))
                _draw_heat(axis, picture, found.heat[row], drawn=folder is None)
                axis.set_xlabel(_answer(found.probabilities[0, row], labels, index), fontsize=8.5)
        column[0].set_title(f"true class:\n{label}", fontsize=10, fontweight="bold")
    for number, axis in enumerate(axes[:, 0]):
        axis.set_ylabel(("the scan", *(found.network for found in inspected))[number % 3])
    _explain_colours(figure, axes)
    counts = ", ".join(f"{int((chosen & (truth == index)).sum())} {name}" for index, name in enumerate(labels))
    sentence = f"Of the scans that may be shown, {second.network} classifies {'wrongly' if wrong else 'correctly'}: {counts}; "
    sentence += f"the {drawn} on which it is surest are drawn"
    return style.finish(figure, sentence + (", as phantoms, under the heat of the scans." if folder is None else "."))


def _answer(probabilities, labels, truth):
    """The answer of a network for its picture, marked if it is wrong."""
    answer = probabilities.argmax()
    mark = "" if answer == truth else "✗ "  # not by colour alone
    return f"{mark}{labels[answer]}, {probabilities[answer]:.0%}"


def heat_on_dark(inspected: Sequence[inspection.Inspection], manifest: pd.DataFrame) -> Figure:
    """The share of the heat on dark pixels beside the share of the picture that is dark. Most dark pixels surround the head.

    Args:
        inspected: the inspections of the networks.
        manifest: table of the images; the interval of the heat is over its groups.
    """
    figure, axis = plt.subplots(figsize=(7, 0.8 * len(inspected) + 1.2))
    said = []
    colours = style.colours_of(found.network for found in inspected)
    for number, found in enumerate(inspected):
        colour = colours[found.network]
        warm = ~np.isnan(found.dark)
        interval = stats.group_interval(found.dark[warm], manifests.groups_of(found.paths[warm], manifest))
        heat, low, high, area = 100 * np.array([np.nanmean(found.dark), *interval, found.dark_area.mean()])
        axis.barh(number - 0.17, heat, height=0.3, color=colour)
        axis.barh(number + 0.17, area, height=0.3, color="white", edgecolor=colour, linewidth=1.5)
        axis.hlines(number - 0.17, low, high, color="black", linewidth=1.5)
        for place, value, what in ((-0.17, max(heat, high), "of the heat"), (0.17, area, "of the picture")):
            axis.text(value + 0.8, number + place, what, va="center", fontsize=9)
        said.append(
            f"{found.network} {heat:.0f} % of the heat ({low:.1f} to {high:.1f} over groups) on {area:.0f} % of the picture "
            f"({found.dark_ratio:.2f} times its share)"
        )
    style.label_rows(axis, [found.network for found in inspected], "share on dark pixels (%), with the 95 % interval of the heat")
    axis.set_xlim(0, 1.25 * axis.get_xlim()[1])
    return style.finish(figure, f"On dark pixels, mean over the scans: {'; '.join(said)}.")


def corrupted_scans(path: str, folder: Path | str | None = None) -> Figure:
    """One scan with each kind of corruption at each strength; a phantom without a dataset.

    Args:
        path: path of a scan that may be shown.
        folder: the dataset's folder, or None.
    """
    scan = _scan(path, folder)
    kinds = corruptions.STRENGTHS
    figure, axes = plt.subplots(3, 1 + len(kinds), figsize=(1.02 * (1 + len(kinds)), 3.5))
    for axis in axes[1:, 0]:
        axis.axis("off")
    style.show_picture(axes[0, 0], inspection.view(inspection.REPORT, scan), drawn=folder is None)
    axes[0, 0].set_title("as it is", fontsize=8)
    for column, (kind, strengths) in zip(axes.T[1:], kinds.items(), strict=True):
        for axis, strength in zip(column, strengths, strict=True):
            corrupted = corruptions.corrupt(scan, kind, strength, path)
            style.show_picture(axis, inspection.view(inspection.REPORT, corrupted), drawn=folder is None)
            axis.set_title(f"{kind} {strength}", fontsize=8)
    what = "A drawn phantom, not a scan" if folder is None else "One scan"
    return style.finish(figure, f"{what}, and corrupted in {len(kinds)} ways, three strengths each.")


UNITS = {  # of the strengths of corruptions; sd is a standard deviation
    "noise": "sd in grey levels",
    "blur": "sd in % of the side",
    "contrast": "share left",
    "rotation": "degrees",
    "JPEG quality": "of 100 (less is worse)",
}


def robustness_curves(table: pd.DataFrame) -> Figure:
    """Accuracy of networks on corrupted scans, with its 95 % interval over groups; one panel per kind of corruption.

    Args:
        table: `inspection.robustness_table`.
    """
    kinds = list(corruptions.STRENGTHS)
    names = list(table["network"].unique())
    colours, shifts = style.colours_of(names), np.linspace(-0.08, 0.08, len(names))
    rows = -(-(len(kinds) + 1) // 3)  # one panel is left for the legend
    figure, axes = plt.subplots(rows, 3, figsize=(7.2, 2.6 * rows), sharey=True)
    for axis, kind in zip(axes.flat, kinds, strict=False):
        labels = ["none", *map(str, corruptions.STRENGTHS[kind])]
        for name, mark, shift in zip(names, style.NETWORK_MARKS[: len(names)], shifts, strict=True):
            colour = colours[name]
            found = table[(table["network"] == name) & table["kind"].isin(("as it is", kind))]
            places = np.arange(len(found)) + shift
            axis.vlines(places, 100 * found["low"], 100 * found["high"], color=colour, linewidth=2, alpha=0.6)
            axis.plot(places, 100 * found["accuracy"], mark + "-", color=colour, markeredgecolor="black", label=name)
        axis.set(title=kind, xticks=range(len(labels)), xticklabels=labels, xlabel=UNITS[kind])
        axis.grid(alpha=0.3, axis="y")
    for axis in axes[:, 0]:
        axis.set_ylabel("accuracy (%)")
    for axis in axes.flat[len(kinds) :]:
        axis.set_axis_off()
    axes.flat[-1].legend(*axes.flat[0].get_legend_handles_labels(), loc="center", title="with 95 % intervals")
    strongest = table.groupby(["network", "kind"], sort=False).last()["points"].drop("as it is", level="kind")
    said = "; ".join(
        f"{name}: {', '.join(f'{kind} {points:+.1f}' for kind, points in strongest[name].items())}" for name in names
    )
    return style.finish(figure, f"Points of accuracy at the strongest, against the scans as they are: {said}.")


def missed_tumours(table: pd.DataFrame) -> Figure:
    """The share of missed tumours, and the share of false alarms among scans without a tumour, by protocol and network.

    The networks of one protocol stand below one another, so that like is compared with like.

    Args:
        table: `evaluation.missed_tumours`.
    """
    found = table.set_index(["protocol", "network"])
    keys = [(protocol, name) for protocol in style.protocols_of(table) for name in table["network"].unique()]
    keys = [key for key in keys if key in found.index]  # not every network was trained under every protocol
    figure, axes = plt.subplots(1, 2, figsize=(8, 0.5 * len(keys) + 1), sharex=True, sharey=True)
    titles = ("missed tumours (%)", "false alarms\n(% of scans without a tumour)")
    said = []
    for axis, columns, title in zip(
        axes, (("missed", "low", "high"), ("alarms", "alarms_low", "alarms_high")), titles, strict=True
    ):
        for number, key in enumerate(keys):
            mean, low, high = 100 * found.loc[key, list(columns)].astype(float)
            colour = protocols.get(key[0]).colour
            axis.hlines(number, low, high, color=colour, linewidth=3)
            axis.plot(mean, number, "o", color=colour, markeredgecolor="black")
            said.append(f"{style.row_label(*key)} {style.span_in_words(mean, low, high)}")
        style.label_rows(axis, [style.row_label(*key) for key in keys], title)
        axis.set_xlim(left=0)
        for number in range(1, len(keys)):
            if keys[number][0] != keys[number - 1][0]:
                axis.axhline(number - 0.5, color="grey", linewidth=0.8)
    alarms = text.span(table["alarms"])
    sentence = f"Missed tumours in percent, with 95 % intervals over groups: {'; '.join(said[: len(keys)])}. "
    return style.finish(figure, f"{sentence}False alarms: {alarms}.")


def refusals(table: pd.DataFrame, kept: str) -> Figure:
    """What each measure of familiarity refuses of each set of scans, and what the one that is kept refuses of right and of wrong
    answers.

    Args:
        table: `novelty.refused`.
        kept: a measure; the sets are in the order of what it refuses.
    """
    of_kept = table[table["measure"] == kept].sort_values("refused", kind="stable").set_index("set")
    names = list(of_kept.index)
    figure, axes = plt.subplots(1, 2, figsize=(9, 0.42 * len(names) + 1.6), sharex=True, sharey=True)
    for (measure, found), marker in zip(table.groupby("measure", sort=False), itertools.cycle("osD^"), strict=False):
        shares = 100 * found.set_index("set")["refused"].reindex(names)
        size = 9 if measure == kept else 6
        axes[0].plot(shares, range(len(names)), marker, markersize=size, markeredgecolor="black", label=measure, alpha=0.9)
    for column, marker, colour in (("right", "o", "#009E73"), ("wrong", "X", "#D55E00")):
        shares = 100 * of_kept[f"{column}_refused"]
        drawn = {"color": colour, "markersize": 8, "markeredgecolor": "black", "label": f"{column} answers"}
        axes[1].plot(shares, range(len(names)), marker, **drawn)
    labels = [f"{name} ({of_kept.loc[name, 'scans']})" for name in names]
    style.label_rows(axes[0], labels, "refused (% of the scans)")
    style.label_rows(axes[1], labels, f"refused by {kept}\n(% of right and of wrong answers)")
    for axis in axes:
        axis.set_xlim(-3, 103)
        axis.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, fontsize=8, frameon=False)
    said = "; ".join(f"{name} {100 * of_kept.loc[name, 'refused']:.0f}" for name in names)
    return style.finish(figure, f"Refused by {kept}, in percent of the scans: {said}.")
