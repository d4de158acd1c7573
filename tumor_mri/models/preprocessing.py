"""Preparing scans (crop to the head, equalise grey levels) and data augmentation.

Framing, size and contrast differ between the sources of this dataset, and so do the classes. A network that recognises the source
of a scan can guess its class without looking at the tumour. Preparation removes most of these hints.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy import ndimage
from tqdm.auto import tqdm

from tumor_mri.datasets import decoding, download, image_files, manifests

SIDE = 96  # pixels of a prepared scan, unless a recipe asks for others
SMALL = 96  # pixels per side of the reduced copy in which the head is searched for
FRAME = 2  # pixels ignored at each border of that copy: some scans have a drawn frame
EDGE_BRIGHTNESS = 0.12  # threshold for the edge of the head, from the background (0) to bright tissue (1)
MARGIN = 0.02  # kept around the head, as a share of its longer side
FOREGROUND = 0.05  # grey level, from 0 to 1, below which a pixel is background
EQUALISED = 0.5  # weight of the rank in an equalised grey level


def find_head(scan: np.ndarray) -> tuple[float, float, float, float]:
    """The bounding box of the head: all that is brighter than the background, except for small specks.

    Args:
        scan: grey, uint8, (height, width).

    Returns:
        left, top, right, bottom in pixels; the whole scan if nothing is brighter than the background.

    Example:
        >>> from tumor_mri.datasets import draw
        >>> [round(float(edge)) for edge in find_head(draw("no_tumor"))]
        [20, 11, 130, 139]
    """
    height, width = scan.shape
    small = np.asarray(Image.fromarray(scan).resize((SMALL, SMALL), Image.Resampling.BOX), dtype=float)
    inner = small[FRAME:-FRAME, FRAME:-FRAME]
    ring = np.concatenate([inner[:2].ravel(), inner[-2:].ravel(), inner[:, :2].ravel(), inner[:, -2:].ravel()])
    # a low quantile of the ring: the corners are background even if the head touches the border
    background, tissue = np.quantile(ring, 0.25), np.quantile(inner, 0.95)
    bright = np.zeros(small.shape, dtype=bool)
    bright[FRAME:-FRAME, FRAME:-FRAME] = inner > background + EDGE_BRIGHTNESS * (tissue - background)
    parts, count = ndimage.label(ndimage.binary_opening(bright, iterations=2))
    if count == 0:
        return 0, 0, width, height
    sizes = np.bincount(parts.ravel())[1:]
    head = np.isin(parts, 1 + np.flatnonzero(sizes >= 0.1 * sizes.max()))
    rows, columns = np.flatnonzero(head.any(axis=1)), np.flatnonzero(head.any(axis=0))
    across, down = width / SMALL, height / SMALL
    return columns[0] * across, rows[0] * down, (columns[-1] + 1) * across, (rows[-1] + 1) * down


def crop_to_head(scan: np.ndarray, side: int = SIDE) -> np.ndarray:
    """The square around the head, with its proportions kept, uint8, (side, side); black outside the scan."""
    left, top, right, bottom = find_head(scan)
    half = max(right - left, bottom - top) * (0.5 + MARGIN)
    middle = np.array([left + right, top + bottom, left + right, top + bottom]) / 2
    box = np.rint(middle + half * np.array([-1, -1, 1, 1])).astype(int)
    return _resize(Image.fromarray(scan).crop(tuple(int(edge) for edge in box)), side)


def equalise(scan: np.ndarray, share: float = EQUALISED) -> np.ndarray:
    """Partial histogram equalisation.

    Grey levels are stretched from the 2nd to the 99th percentile. They are then averaged with their rank among the pixels of the
    head. Full histogram equalisation (`share` 1) removes the contrast of the scanner, but also some contrast of the tumour.

    Args:
        scan: uint8, (height, width).
        share: weight of the rank in the result, 0 to 1.

    Returns:
        uint8, of the same shape.
    """
    low, high = np.quantile(scan, (0.02, 0.99))
    stretched = np.clip((scan - low) / max(high - low, 1), 0, 1)
    head = stretched > FOREGROUND
    rank = np.zeros_like(stretched)
    rank[head] = pd.Series(stretched[head]).rank(pct=True)
    return np.rint(255 * ((1 - share) * stretched + share * rank)).astype(np.uint8)


def prepare(scan: np.ndarray, *, crop: bool = True, equalised: bool = True, side: int = SIDE) -> np.ndarray:
    """A scan prepared for a network, uint8, (side, side).

    Args:
        scan: grey, uint8, (height, width).
        crop: crop to the head; otherwise the whole scan is resized to the square, as in the report.
        equalised: apply `equalise`.
        side: of the result, in pixels.

    Example:
        >>> from tumor_mri.datasets import draw
        >>> prepare(draw("glioma_tumor")).shape
        (96, 96)
    """
    square = crop_to_head(scan, side) if crop else _resize(Image.fromarray(scan), side)
    return equalise(square) if equalised else square


def _resize(image, side):
    shrinks = min(image.size) >= side  # a box filter averages when it shrinks an image, but makes blocks when it enlarges one
    return np.asarray(image.resize((side, side), Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR))


def load_prepared(
    manifest: pd.DataFrame | None = None,
    folder: Path | str | None = None,
    *,
    crop: bool = True,
    equalised: bool = True,
    side: int = SIDE,
    progress: bool = True,
) -> np.ndarray:
    """All prepared scans in the order of the manifest, uint8, (rows, side, side); made once from the files, then cached.

    Args:
        manifest: table of the images; None for the manifest of the project.
        folder: the dataset's folder; None finds or downloads it, if the scans are not in the cache.
        crop, equalised, side: see `prepare`.
        progress: show a bar while the scans are prepared.

    Raises:
        DatasetError: if there are no images, or they differ from the manifest.
    """
    manifest = manifests.load_manifest() if manifest is None else manifest

    def make():
        found = download.locate(manifests.dataset_of(manifest)) if folder is None else Path(folder)
        manifests.check(found, manifest)
        paths = tqdm(manifest["path"], desc="preparing scans", unit="scan", disable=not progress)
        return np.stack([prepare(image_files.read(found / path), crop=crop, equalised=equalised, side=side) for path in paths])

    name = "-".join(["heads" if crop else "scans", *(["equalised"] if equalised else [])])
    return decoding.cached(name, (side, side), manifest, make)


def vary(scan: np.ndarray, generator: np.random.Generator, families: Iterable[str]) -> np.ndarray:
    """Data augmentation of a prepared scan: random changes that can occur between two scans of the same tumour.

    Args:
        scan: uint8, (side, side).
        generator: source of the random numbers.
        families: names from `FAMILIES`, applied in this order.

    Returns:
        float32, (side, side), in 0 to 255.
    """
    varied = scan.astype(np.float32) / 255
    for family in families:
        varied = FAMILIES[family](varied, generator)
    return 255 * np.clip(varied, 0, 1, dtype=np.float32)


def _geometry(scan, generator):
    """Mirroring left to right, rotation by up to 12 degrees, scaling by up to 15 %, and a shift of up to 5 % of the side."""
    if generator.random() < 0.5:
        scan = scan[:, ::-1]
    angle = np.deg2rad(generator.uniform(-12, 12))
    down, across = np.exp(generator.uniform(-0.12, 0.12) + generator.uniform(-0.03, 0.03, 2))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / [[down], [across]]
    middle = (np.array(scan.shape) - 1) / 2
    shift = generator.uniform(-0.05, 0.05, 2) * scan.shape
    return ndimage.affine_transform(scan, turn, offset=middle - turn @ (middle + shift), order=1)


def _intensity(scan, generator):
    """A random increasing curve of grey levels, and a smooth brightness field like that of a receiver coil."""
    points = 5
    heights = np.append(0, np.cumsum(generator.dirichlet(np.full(points - 1, 8.0))))
    scan = np.interp(scan, np.linspace(0, 1, points), heights).astype(np.float32)
    field = generator.uniform(-0.25, 0.25, (4, 4)).astype(np.float32)
    smooth = ndimage.zoom(field, scan.shape[0] / 4, order=1, grid_mode=True, mode="nearest")
    return scan * np.exp(smooth) * np.float32(generator.uniform(0.8, 1.2))


def _degradation(scan, generator):
    """Blur, noise or neither; in 15 % of scans a black rectangle, so that the network does not rely on a single place."""
    kind = generator.random()
    if kind < 0.2:
        scan = ndimage.gaussian_filter(scan, generator.uniform(0.4, 1.0))
    elif kind < 0.4:
        noise = generator.standard_normal(scan.shape, dtype=np.float32)
        scan = scan + noise * np.float32(generator.uniform(0.01, 0.05))
    if generator.random() < 0.15:
        side = scan.shape[0]
        height, width = generator.integers(side // 8, side // 3, 2)
        top, left = generator.integers(0, (side - height, side - width))
        scan = scan.copy()
        scan[top : top + height, left : left + width] = 0
    return scan


FAMILIES = {"geometry": _geometry, "intensity": _intensity, "degradation": _degradation}
