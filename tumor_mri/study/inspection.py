"""Predictions and heat maps of two networks on the scans of one grouped fold, clean and corrupted.

Both networks, the report's and the published one, trained on the other four folds. Their predictions and heat maps are recorded
in ``data/inspection``. Their weights are not, because the report's network has too many of them: `record` trains both again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from tumor_mri import stats, text
from tumor_mri.datasets import download, image_files, manifests, protocols
from tumor_mri.evaluation import corruptions, scoring
from tumor_mri.models import gradcam, published, recipes
from tumor_mri.runs import configs, training

if TYPE_CHECKING:
    import keras

FOLDER = manifests.DATA / "inspection"  # committed
FOLD = 3  # not the first, on which variants of the network were compared
REPORT = configs.config_of("cnn", "grouped", fold=FOLD)
OURS = configs.config_of(published.NETWORK, "grouped", fold=FOLD)
CONFIGS = (REPORT, OURS)
GOOD = ("as it is", 0)
CONDITIONS = (GOOD, *((kind, strength) for kind, strengths in corruptions.STRENGTHS.items() for strength in strengths))
SIDE = 32  # pixels per side of a recorded heat map
DARK = 26  # grey levels; darker pixels count as background


@dataclass(frozen=True)
class Inspection:
    """Predictions and heat maps of one network for the scans of the fold, in the order of `protocols.split`.

    Attributes:
        network: its name.
        paths: of the scans, (scans,).
        probabilities: float32, (conditions, scans, 4), for each of `CONDITIONS`.
        heat: float32, (scans, 32, 32), 0 to 1: Grad-CAM of the class predicted for the clean scan.
        dark: share of the heat on pixels darker than `DARK` in the network's input, (scans,); NaN for a map without heat.
        dark_area: share of the pixels that are darker than `DARK`, (scans,).
    """

    network: str
    paths: np.ndarray
    probabilities: np.ndarray
    heat: np.ndarray
    dark: np.ndarray
    dark_area: np.ndarray

    @property
    def dark_ratio(self) -> float:
        """Mean share of the heat on dark pixels, divided by their mean share of the image: 1 if heat is spread at random."""
        return float(np.nanmean(self.dark) / self.dark_area.mean())


def view(config: configs.RunConfig, scan: np.ndarray) -> np.ndarray:
    """A scan after the preprocessing of the network of `config`, uint8.

    Args:
        config: one of `CONFIGS`.
        scan: grey, uint8, (height, width).
    """
    return recipes.get(config.recipe).view(scan, config.without)


def look(
    config: configs.RunConfig, trained: str | Path, paths: Iterable[str], folder: str | Path, *, progress: bool = True
) -> Inspection:
    """Predictions and heat maps of a trained network for scans, clean and corrupted.

    Args:
        config: one of `CONFIGS`.
        trained: path of the network, as `training.train` saves it.
        paths: of the scans, relative to `folder`.
        folder: of the dataset.
        progress: show a progress bar.
    """
    paths = list(paths)
    scans = {path: image_files.read(Path(folder) / path) for path in paths}
    good = np.stack([view(config, scan) for scan in scans.values()])
    model = training.load_trained(config, good.shape[1:], trained)
    probabilities = []
    for kind, strength in tqdm(CONDITIONS, desc=config.label, unit="condition", disable=not progress):
        seen = np.stack([view(config, _corrupted(scans[path], kind, strength, path)) for path in paths])
        probabilities.append(predict(model, seen))
    heat = gradcam.heat_maps(model, good, probabilities[0].argmax(axis=1))
    dark = good < DARK
    with np.errstate(invalid="ignore"):
        share = (heat * dark).sum(axis=(1, 2)) / heat.sum(axis=(1, 2))
    small = np.stack([np.asarray(Image.fromarray(one).resize((SIDE, SIDE), Image.Resampling.BOX)) for one in heat])
    name = config.label
    return Inspection(name, np.array(paths, dtype=str), np.stack(probabilities), small, share, dark.mean(axis=(1, 2)))


def _corrupted(scan, kind, strength, path):
    return scan if (kind, strength) == GOOD else corruptions.corrupt(scan, kind, strength, path)


def predict(model: keras.Model, seen: np.ndarray) -> np.ndarray | list[np.ndarray]:
    """What a network makes of scans as `view` gives them, (scans, height, width): an array for each of its outputs.

    Grey is repeated as three equal channels if the network takes three.
    """
    return model.predict(np.repeat(seen[..., None], model.input_shape[-1], axis=-1), batch_size=64, verbose=0)


def record(folder: str | Path = FOLDER) -> None:
    """Train both networks here, inspect them with `look`, and write the results.

    Raises:
        DatasetError: if there are no images.
    """
    manifest, images = manifests.load_manifest(), download.locate()
    paths = manifest["path"].iloc[protocols.grouped(manifest, FOLD).validation]
    with tempfile.TemporaryDirectory() as scratch:
        for config in CONFIGS:
            trained = Path(scratch) / f"{config.network}.keras"
            training.train(config, manifest=manifest, save_to=trained)
            write(folder, config, look(config, trained, paths, images))


def write(folder: str | Path, config: configs.RunConfig, found: Inspection) -> None:
    """Write an inspection, with probabilities as float16 and heat as 8 bits to save space."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    with text.whole(Path(folder) / f"{config.network}.npz") as temporary:
        np.savez_compressed(
            temporary,
            network=found.network,
            paths=found.paths,
            probabilities=found.probabilities.astype(np.float16),
            heat=np.rint(255 * found.heat).astype(np.uint8),
            dark=found.dark.astype(np.float32),
            dark_area=found.dark_area.astype(np.float32),
        )


def read(folder: str | Path = FOLDER) -> list[Inspection]:
    """The recorded inspections of both networks, the report's first.

    Example:
        >>> [found.network for found in read()]
        ['32/64/128/128', 'lite0']
    """
    return [_read(Path(folder) / f"{config.network}.npz") for config in CONFIGS]


def _read(path):
    with np.load(path, allow_pickle=False) as stored:
        return Inspection(
            network=str(stored["network"]),
            paths=stored["paths"],
            probabilities=stored["probabilities"].astype(np.float32),
            heat=stored["heat"].astype(np.float32) / 255,
            dark=stored["dark"],
            dark_area=stored["dark_area"],
        )


def robustness_table(inspected: Sequence[Inspection], manifest: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of networks on corrupted scans, one row per network and condition.

    Columns: network, kind, strength, accuracy (of 1), low, high (95 % interval over groups), points (difference from the accuracy
    on the clean scans, in percentage points), points_low, points_high (its interval, by bootstrap over groups with paired scans),
    missed (share of the tumours classified as "no tumour", of 1).
    """
    none = manifests.dataset_of(manifest).negative_index
    rows = []
    for found in inspected:
        truth = scoring.truth(found.paths, manifest)
        groups = manifests.groups_of(found.paths, manifest)
        classes = found.probabilities.argmax(axis=2)
        right = [pd.DataFrame({"right": (row == truth).astype(float), "group": groups}) for row in classes]
        for (kind, strength), row, scored in zip(CONDITIONS, classes, right, strict=True):
            interval = stats.group_interval(scored["right"], scored["group"])
            points = [100 * value for value in stats.group_difference(right[0], scored)]
            missed = (row[truth != none] == none).mean()
            rows.append((found.network, kind, strength, scored["right"].mean(), *interval, *points, missed))
    columns = ["network", "kind", "strength", "accuracy", "low", "high", "points", "points_low", "points_high", "missed"]
    return pd.DataFrame(rows, columns=columns)
