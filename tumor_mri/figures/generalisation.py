"""Figures of notebooks 8 and 9: the ingredients of the recipe, scores of two networks, heat maps, robustness, abstention."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from tumor_mri import stats
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
        "cropped to it",
        "grey levels\nevened out",
        *(f"varied:\n{family}" for family in preprocessing.FAMILIES),
    )
    paths = _first_of_each_class(manifest)
    figure, axes = plt.subplots(len(paths), len(titles), figsize=(1.4 * len(titles), 1.47 * len(paths) + 0.4))
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
        axis.set_title(title, fontsize=9)
    what = "drawn phantoms, not scans" if folder is None else "one scan of Training a class"
    return style.finish(figure, f"What the network is shown: {what}, each in {len(titles)} steps.")


def tries(table: pd.DataFrame) -> Figure:
    """All experiments, unsuccessful ones too: accuracy on the first grouped fold, which decided, and on Testing, which did not.

    Args:
        table: ``data/tries.csv``.
    """
    columns = {
        "grouped": (protocols.GROUPED.colour, "o"),
        "testing": (protocols.TESTING_FOLDER.colour, "s"),
        "unseen": (style.TRAINING, "^"),
    }
    names = {"grouped": "grouped, first fold (it chose)", "testing": "all of Testing", "unseen": "unseen Testing"}
    figure, axis = plt.subplots(figsize=(8.5, 0.6 * len(table) + 1.1))
    for column, (colour, mark) in columns.items():
        axis.plot(100 * table[column], range(len(table)), mark, color=colour, markeredgecolor="black", label=names[column])
    words = (table["pixels"].astype(str) + " px, " + table["variation"] + ", " + table["epochs"].astype(str) + " epochs").tolist()
    others = [textwrap.fill(text, 34) for text in table["otherwise"].fillna("")]
    labels = [f"{number}: {text}\n{other}".strip() for number, text, other in zip(table["try"], words, others, strict=True)]
    axis.set(yticks=range(len(table)), yticklabels=labels, xlabel="accuracy (%), one run each", xlim=(35, 100))
    axis.invert_yaxis()
    axis.grid(alpha=0.3, axis="x")
    figure.legend(*axis.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    said = "; ".join(f"{names[column]}: {', '.join(f'{100 * value:.1f}' for value in table[column])}" for column in columns)
    return style.finish(figure, f"Accuracy of the {len(table)} tries in percent. {said[0].upper()}{said[1:]}.")


def two_networks(differences: pd.DataFrame, names: Sequence[str]) -> Figure:
    """The recall of each class with two networks, on the same images.

    Args:
        differences: `evaluation.recall_differences`.
        names: names of the two networks.
    """
    figure, axis = plt.subplots(figsize=(8, 0.55 * len(differences) + 1.1))
    said = []
    for number, row in enumerate(differences.itertuples()):
        colour = "#444444" if row[1] == "all" else manifests.label_colour(row[1])
        first, second = 100 * row.first, 100 * row.second
        axis.plot([first, second], [number, number], color=colour, linewidth=2)
        axis.plot(first, number, "o", color="white", markeredgecolor=colour, markeredgewidth=2, markersize=8)
        axis.plot(second, number, "o", color=colour, markeredgecolor="black", markersize=8)
        span = style.span_in_words(row.difference, row.low, row.high, "+.1f")
        axis.text(max(first, second) + 1.2, number, span, va="center", fontsize=9)
        said.append(f"{row[1]} {first:.1f} and {second:.1f}, difference {span}")
    labels = [f"{row[1]} ({row.images})" for row in differences.itertuples()]
    style.label_rows(axis, labels, f"recall (%): {names[0]} (hollow), {names[1]} (full); points gained, with their 95 % interval")
    axis.set_xlim(min(55, 100 * differences["first"].min() - 3), 112)
    axis.set_xticks([tick for tick in axis.get_xticks() if tick <= 100])
    return style.finish(figure, f"Recall in percent of {names[0]} and {names[1]}: {'; '.join(said)}.")


def abstention(curves: Mapping[str, pd.DataFrame], thresholds: Mapping[str, float]) -> Figure:
    """The accuracy of the given answers, by the share of scans that are answered.

    Args:
        curves: the result of `stats.abstention` for each network, by name.
        thresholds: the confidence below which a network abstains, by name; it is marked in the figure.
    """
    figure, axis = plt.subplots(figsize=(7, 3.6))
    said = []
    colours = style.colours_of(curves)
    for name, curve in curves.items():
        colour = colours[name]
        axis.plot(100 * curve["answered"], 100 * curve["accuracy"], color=colour, linewidth=2, label=name)
        if name in thresholds:
            row = curve[curve["threshold"] >= thresholds[name]].iloc[0]
            axis.plot(100 * row["answered"], 100 * row["accuracy"], "o", color=colour, markeredgecolor="black", markersize=9)
            said.append(f"{name} answers {100 * row['answered']:.0f} % of scans, {100 * row['accuracy']:.1f} % of them correctly")
    axis.set(xlabel="scans that are answered, the surest first (%)", ylabel="right answers (%)", xlim=(0, 101))
    axis.grid(alpha=0.3)
    axis.legend(loc="lower left")
    return style.finish(figure, f"With the published threshold (the dot): {'; '.join(said)}.")


def looks(
    inspected: Sequence[inspection.Inspection],
    manifest: pd.DataFrame,
    wrong: bool,
    folder: Path | str | None = None,
    columns: int = 2,
) -> Figure:
    """Grad-CAM heat maps of two networks on the same scans, each for the predicted class; phantoms without a dataset.

    The scans are a few of each class: of those that may be shown, the ones on which the second network is most confident. Each
    scan is drawn as the network sees it, under its heat map.

    Args:
        inspected: the inspections of the two networks.
        manifest: table of the images.
        wrong: show scans that the second network misclassifies; otherwise scans that it classifies correctly.
        folder: the dataset's folder, or None.
        columns: scans of each class.
    """
    second, labels = inspected[1], manifests.dataset_of(manifest).labels
    truth = scoring.truth(second.paths, manifest)
    answers, sure = second.probabilities[0].argmax(axis=1), second.probabilities[0].max(axis=1)
    chosen = ((answers != truth) if wrong else (answers == truth)) & manifests.may_be_shown(manifest)[second.paths].to_numpy()
    groups = manifests.groups_of(second.paths, manifest)
    shown = []
    for index in range(len(labels)):
        rows = [row for row in np.argsort(-sure, kind="stable") if chosen[row] and truth[row] == index]
        shown += [row for place, row in enumerate(rows) if groups[row] not in groups[rows[:place]]][:columns]
    figure, axes = plt.subplots(2, len(shown), figsize=(1.3 * len(shown) + 0.4, 4.1), squeeze=False)
    for line, found, config in zip(axes, inspected, inspection.CONFIGS, strict=True):
        for axis, row in zip(line, shown, strict=True):
            _draw_heat(axis, found, config, row, folder)
        line[0].set_ylabel(found.network)
    for axis, row in zip(axes[0], shown, strict=True):
        axis.set_title(f"{labels[truth[row]]}:\n{axis.get_title()}", fontsize=8)
    counts = [int((chosen & (truth == index)).sum()) for index in range(len(labels))]
    kind = "wrongly" if wrong else "correctly"
    told = ", ".join(f"{name} {count}" for name, count in zip(labels, counts, strict=True))
    sentence = f"Scans (licence permitting) that {second.network} classifies {kind}: {told}; {len(shown)} are drawn"
    sentence += ", as phantoms, under the heat of the scans." if folder is None else "."
    return style.finish(figure, sentence)


def _draw_heat(axis, found, config, row, folder):
    """Draw one scan as a network sees it, with its heat map and the answer of the network."""
    path = found.paths[row]
    picture = inspection.view(config, _scan(path, folder, seed=int(row)))
    style.show_picture(axis, picture, drawn=folder is None)
    side = picture.shape[::-1]
    heat = np.asarray(Image.fromarray(found.heat[row]).resize(side, Image.Resampling.BICUBIC)).clip(0, 1)
    axis.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=0.7 * heat**0.7)  # without heat, the scan is visible
    shares = found.probabilities[0, row]
    axis.set_title(f"says {manifests.get(config.dataset).labels[shares.argmax()]}\n{shares.max():.0%} sure", fontsize=8)


def heat_on_dark(inspected: Sequence[inspection.Inspection], manifest: pd.DataFrame) -> Figure:
    """The share of the heat on dark pixels, and the share of the picture that is dark. Most dark pixels surround the head.

    Args:
        inspected: the inspections of the networks.
        manifest: table of the images; the interval of the heat is over its groups.
    """
    figure, axis = plt.subplots(figsize=(8, 0.6 * len(inspected) + 0.9))
    said = []
    colours = style.colours_of(found.network for found in inspected)
    for number, found in enumerate(inspected):
        colour = colours[found.network]
        warm = ~np.isnan(found.dark)
        interval = stats.group_interval(found.dark[warm], manifests.groups_of(found.paths[warm], manifest))
        heat, low, high, area = 100 * np.array([np.nanmean(found.dark), *interval, found.dark_area.mean()])
        axis.plot([heat, area], [number, number], color=colour, linewidth=1)
        axis.plot([low, high], [number, number], color=colour, linewidth=5, alpha=0.5, solid_capstyle="butt")
        axis.plot(heat, number, "o", color=colour, markeredgecolor="black", markersize=9)
        axis.plot(area, number, "|", color=colour, markersize=16, markeredgewidth=3)
        said.append(
            f"{found.network} {heat:.0f} % of the heat ({low:.1f} to {high:.1f} over groups) on {area:.0f} % of the picture "
            f"({found.dark_ratio:.2f} times its share)"
        )
    label = "share on dark pixels (%): heat (dot, in its 95 % interval), area (stroke)"
    style.label_rows(axis, [found.network for found in inspected], label)
    axis.set_xlim(left=0)
    return style.finish(figure, f"On dark pixels, mean over the scans: {'; '.join(said)}.")


def corrupted_scans(path: str, folder: Path | str | None = None) -> Figure:
    """One scan with each kind of corruption at each strength; a phantom without a dataset.

    Args:
        path: path of a scan that may be shown.
        folder: the dataset's folder, or None.
    """
    scan = _scan(path, folder)
    kinds = corruptions.STRENGTHS
    figure, axes = plt.subplots(3, 1 + len(kinds), figsize=(1.5 * (1 + len(kinds)), 5))
    for axis in axes[1:, 0]:
        axis.axis("off")
    style.show_picture(axes[0, 0], inspection.view(inspection.REPORT, scan), drawn=folder is None)
    axes[0, 0].set_title("as it is", fontsize=9)
    for column, (kind, strengths) in zip(axes.T[1:], kinds.items(), strict=True):
        for axis, strength in zip(column, strengths, strict=True):
            corrupted = corruptions.corrupt(scan, kind, strength, path)
            style.show_picture(axis, inspection.view(inspection.REPORT, corrupted), drawn=folder is None)
            axis.set_title(f"{kind} {strength}", fontsize=9)
    what = "A drawn phantom, not a scan" if folder is None else "One scan"
    return style.finish(figure, f"{what}, and corrupted in {len(kinds)} ways, three strengths each.")


def robustness_curves(table: pd.DataFrame) -> Figure:
    """Accuracy of networks on corrupted scans, with its 95 % interval over groups; one panel per kind of corruption.

    Args:
        table: `inspection.robustness_table`.
    """
    kinds = list(corruptions.STRENGTHS)
    names = list(table["network"].unique())
    colours, shifts = style.colours_of(names), np.linspace(-0.08, 0.08, len(names))
    figure, axes = plt.subplots(1, len(kinds), figsize=(2.05 * len(kinds), 3.3), sharey=True)
    for axis, kind in zip(axes, kinds, strict=True):
        labels = ["none", *map(str, corruptions.STRENGTHS[kind])]
        for name, mark, shift in zip(names, style.NETWORK_MARKS[: len(names)], shifts, strict=True):
            colour = colours[name]
            found = table[(table["network"] == name) & table["kind"].isin(("as it is", kind))]
            places = np.arange(len(found)) + shift
            axis.vlines(places, 100 * found["low"], 100 * found["high"], color=colour, linewidth=2, alpha=0.6)
            axis.plot(places, 100 * found["accuracy"], mark + "-", color=colour, markeredgecolor="black", label=name)
        axis.set(title=kind, xticks=range(len(labels)), xticklabels=labels)
        axis.grid(alpha=0.3, axis="y")
    axes[0].set_ylabel("accuracy (%)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    strongest = table.groupby(["network", "kind"], sort=False).last()["points"].drop("as it is", level="kind")
    said = "; ".join(
        f"{name}: {', '.join(f'{kind} {points:+.1f}' for kind, points in strongest[name].items())}" for name in names
    )
    return style.finish(figure, f"Points of accuracy at the strongest, against the scans as they are: {said}.")


def missed_tumours(table: pd.DataFrame) -> Figure:
    """The share of missed tumours, and the share of false alarms among scans without a tumour, by network and protocol.

    Args:
        table: `evaluation.missed_tumours`.
    """
    found = table.set_index(["protocol", "network"])
    keys = [(protocol, name) for protocol in style.protocols_of(table) for name in table["network"].unique()]
    keys = [key for key in keys if key in found.index]  # not every network was trained under every protocol
    figure, axes = plt.subplots(1, 2, figsize=(9, 0.5 * len(keys) + 1), sharey=True)
    titles = ("missed tumours (%)", "false alarms (% of scans without a tumour)")
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
    missed, alarms = "; ".join(said[: len(keys)]), "; ".join(said[len(keys) :])
    sentence = f"In percent, with 95 % intervals over groups: missed tumours: {missed}. "
    sentence += f"False alarms among scans without a tumour: {alarms}."
    return style.finish(figure, sentence)
