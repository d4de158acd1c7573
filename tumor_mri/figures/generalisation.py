"""Figures of a network that generalises better: what it is shown, what it reaches, where it looks, what it bears."""

import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from tumor_mri import stats
from tumor_mri.datasets import decoding, manifests, phantoms, protocols
from tumor_mri.evaluation import corruptions, scoring
from tumor_mri.figures import style
from tumor_mri.models import preprocessing
from tumor_mri.study import inspection


def _scan(path, folder, seed=0):
    """A scan with all its pixels, grey, uint8, or a phantom of its class where there is no dataset."""
    return phantoms.draw(Path(path).parent.name, seed) if folder is None else preprocessing.read(Path(folder) / path)


def _first_of_each_class(manifest):
    """Paths of Training, one a class: the first of its folder that may be shown."""
    shown = manifest[(manifest["split"] == "Training") & manifests.may_be_shown(manifest)[manifest["path"]].to_numpy()]
    return [shown.loc[shown["class"] == name, "path"].iloc[0] for name in manifests.dataset_of(manifest).classes]


def ingredients(manifest, folder=None):
    """One scan of each class on its way into the network: whole, its head found, cropped, evened out, varied in each family.

    Phantoms without a dataset.

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


def tries(table):
    """Every try, the bad ones too: accuracy on the first grouped fold, which chose, and on Testing, which did not.

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


def two_networks(differences, names):
    """What each class gains: its recall with one network and with another, on the same images.

    Args:
        differences: `evaluation.recall_differences`, in which both networks name the same images.
        names: of the two networks.
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


def abstention(curves, thresholds):
    """What abstaining costs and saves: how often the answers that are given are right, by the share of scans answered.

    Args:
        curves: by network, `stats.abstention`.
        thresholds: by the same names, the confidence below which it abstains, marked; names without one have no mark.
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
            said.append(f"{name} answers {100 * row['answered']:.0f} % of scans, {100 * row['accuracy']:.1f} % of them rightly")
    axis.set(xlabel="scans that are answered, the surest first (%)", ylabel="right answers (%)", xlim=(0, 101))
    axis.grid(alpha=0.3)
    axis.legend(loc="lower left")
    return style.finish(figure, f"With the published threshold (the dot): {'; '.join(said)}.")


def looks(inspected, manifest, wrong, folder=None, columns=2):
    """Where two networks look in the same scans, for the class that each names; phantoms without a dataset.

    Of the scans that may be shown, those on which the second network is surest, a few of each class. Each scan is drawn as that
    network sees it, the heat of Grad-CAM over it.

    Args:
        inspected: two `inspection.Inspection`.
        wrong: scans that the second network names wrongly, else those that it names rightly.
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
    kind = "wrongly" if wrong else "rightly"
    told = ", ".join(f"{name} {count}" for name, count in zip(labels, counts, strict=True))
    sentence = f"Scans that may be shown, and that {second.network} names {kind}: {told}; {len(shown)} are drawn"
    sentence += ", as phantoms, under the heat of the scans." if folder is None else "."
    return style.finish(figure, sentence)


def _draw_heat(axis, found, config, row, folder):
    """One scan as a network sees it, its heat over it, and what it answers."""
    path = found.paths[row]
    picture = inspection.view(config, _scan(path, folder, seed=int(row)))
    style.show_picture(axis, picture, drawn=folder is None)
    side = picture.shape[::-1]
    heat = np.asarray(Image.fromarray(found.heat[row]).resize(side, Image.Resampling.BICUBIC)).clip(0, 1)
    axis.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=0.7 * heat**0.7)  # where there is none the scan shows
    shares = found.probabilities[0, row]
    axis.set_title(f"says {manifests.get(config.dataset).labels[shares.argmax()]}\n{shares.max():.0%} sure", fontsize=8)


def heat_on_dark(inspected, manifest):
    """How much of the heat lies on what is dark, most of it around the head, beside how much of the picture is so dark.

    Args:
        inspected: list of `inspection.Inspection`.
        manifest: table of the images: the interval of the heat is over its groups.
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


def spoiled_scans(path, folder=None):
    """One scan, spoiled in each way at each strength; a phantom without a dataset.

    Args:
        path: of a scan that may be shown.
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
            spoiled = corruptions.corrupt(scan, kind, strength, path)
            style.show_picture(axis, inspection.view(inspection.REPORT, spoiled), drawn=folder is None)
            axis.set_title(f"{kind} {strength}", fontsize=9)
    what = "A drawn phantom, no scan" if folder is None else "One scan"
    return style.finish(figure, f"{what}, and spoiled in {len(kinds)} ways, three strengths each.")


def robustness_curves(table):
    """Accuracy of networks on corrupted scans, with its 95 % interval over groups; a panel a kind.

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


def missed_tumours(table):
    """How often a tumour is named "no tumour", and how often a scan without one is given one, by network and protocol.

    Args:
        table: `evaluation.missed_tumours`.
    """
    found = table.set_index(["protocol", "network"])
    keys = [(protocol, name) for protocol in style.protocols_of(table) for name in table["network"].unique()]
    keys = [key for key in keys if key in found.index]  # not every network was trained under every protocol
    figure, axes = plt.subplots(1, 2, figsize=(9, 0.5 * len(keys) + 1), sharey=True)
    titles = ("tumours that are named 'no tumour' (%)", "scans without a tumour that are given one (%)")
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
    sentence = f"In percent, with 95 % intervals over groups: tumours named 'no tumour': {missed}. "
    sentence += f"Scans without a tumour that are given one: {alarms}."
    return style.finish(figure, sentence)
