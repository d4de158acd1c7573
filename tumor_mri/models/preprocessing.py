"""A scan without what tells its source: cropped to the head, grey levels evened out; and varied at random to train on.

Framing, size and contrast differ from source to source, and in this dataset so do the classes: whoever can read the source from
a scan has less need of the tumour. What is taken away here cannot be learned.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy import ndimage
from tqdm.auto import tqdm

from tumor_mri.datasets import decoding, download, manifests

SIDE = 96  # pixels of a prepared scan
SMALLEST = 32  # pixels a side of a scan that can show a head
SMALL = 96  # pixels of the copy in which the head is looked for
FRAME = 2  # pixels of that copy at each border that may be a drawn frame
FAINT = 0.12  # brightness of the head's edge, from the background (0) to bright tissue (1)
MARGIN = 0.02  # of the head's longer side, left around it
FOREGROUND = 0.05  # grey level, of 1, below which a pixel is background
EQUALISED = 0.5  # share of the rank in a grey level


def find_head(scan) -> tuple:
    """The box around the head: what is brighter than the background, specks left out.

    Args:
        scan: grey, uint8, (height, width).

    Returns:
        left, top, right, bottom in pixels; the whole scan where nothing stands out.
    """
    height, width = scan.shape
    small = np.asarray(Image.fromarray(scan).resize((SMALL, SMALL), Image.Resampling.BOX), dtype=float)
    inner = small[FRAME:-FRAME, FRAME:-FRAME]
    ring = np.concatenate([inner[:2].ravel(), inner[-2:].ravel(), inner[:, :2].ravel(), inner[:, -2:].ravel()])
    background, tissue = np.quantile(ring, 0.25), np.quantile(inner, 0.95)  # a head cut by the border leaves the corners
    bright = np.zeros(small.shape, dtype=bool)
    bright[FRAME:-FRAME, FRAME:-FRAME] = inner > background + FAINT * (tissue - background)
    parts, count = ndimage.label(ndimage.binary_opening(bright, iterations=2))
    if count == 0:
        return 0, 0, width, height
    sizes = np.bincount(parts.ravel())[1:]
    head = np.isin(parts, 1 + np.flatnonzero(sizes >= 0.1 * sizes.max()))
    rows, columns = np.flatnonzero(head.any(axis=1)), np.flatnonzero(head.any(axis=0))
    across, down = width / SMALL, height / SMALL
    return columns[0] * across, rows[0] * down, (columns[-1] + 1) * across, (rows[-1] + 1) * down


def crop_to_head(scan) -> np.ndarray:
    """The square around the head, its proportions kept, uint8, (96, 96); black where it reaches beyond the scan."""
    left, top, right, bottom = find_head(scan)
    half = max(right - left, bottom - top) * (0.5 + MARGIN)
    middle = np.array([left + right, top + bottom, left + right, top + bottom]) / 2
    box = np.rint(middle + half * np.array([-1, -1, 1, 1])).astype(int)
    return _resize(Image.fromarray(scan).crop(tuple(int(edge) for edge in box)))


def equalise(scan, share=EQUALISED) -> np.ndarray:
    """Grey levels stretched from the 2nd to the 99th percentile, then mixed with their rank among those of the head.

    Full histogram equalisation (`share` 1) takes away all that is left of a scanner's contrast, and some of a tumour's.

    Args:
        scan: uint8, (height, width).
        share: of the rank in the result, 0 to 1.

    Returns:
        uint8, of the same shape.
    """
    low, high = np.quantile(scan, (0.02, 0.99))
    stretched = np.clip((scan - low) / max(high - low, 1), 0, 1)
    head = stretched > FOREGROUND
    rank = np.zeros_like(stretched)
    rank[head] = pd.Series(stretched[head]).rank(pct=True)
    return np.rint(255 * ((1 - share) * stretched + share * rank)).astype(np.uint8)


def prepare(scan, crop=True, equalised=True) -> np.ndarray:
    """A scan as the residual network takes it, uint8, (96, 96).

    Args:
        scan: grey, uint8, (height, width).
        crop: to the head; else the whole scan is squeezed into the square, as the report does.
        equalised: grey levels evened out.
    """
    square = crop_to_head(scan) if crop else _resize(Image.fromarray(scan))
    return equalise(square) if equalised else square


def _resize(image):
    shrinks = min(image.size) >= SIDE  # then a box averages; where an image grows it would only make blocks
    return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR))


def load_prepared(manifest=None, folder=None, crop=True, equalised=True, progress=True) -> np.ndarray:
    """All scans, prepared, in the manifest's order, uint8, (rows, 96, 96); made once from the files, then read from a cache.

    Args:
        manifest: None for the project's.
        folder: the dataset's; None looks for it, and downloads it, if the cache does not hold the scans.
        crop, equalised: see `prepare`.
        progress: show a bar while they are made.

    Raises:
        dataset.DatasetError: where there are no images, or they are not the manifest's.
    """
    manifest = manifests.load_manifest() if manifest is None else manifest

    def make():
        found = download.locate() if folder is None else Path(folder)
        manifests.check(found, manifest)
        paths = tqdm(manifest["path"], desc="preparing scans", unit="scan", disable=not progress)
        return np.stack([prepare(read(found / path), crop, equalised) for path in paths])

    name = "-".join(["heads" if crop else "scans", *(["equalised"] if equalised else [])])
    return decoding.cached(name, (SIDE, SIDE), manifest, make)


def read(path) -> np.ndarray:
    """An image file as grey levels, uint8, (height, width): turned as its camera says, transparency black, the first of several.

    Images of more than 8 bits are scaled to their own range.

    Raises:
        ValueError: where the file is no image that can be read, holds no number, or is too small to show a head; says which
            file, and why.
    """
    try:
        with Image.open(path) as image:
            grey = _grey_levels(ImageOps.exif_transpose(image))
    except Exception as error:  # Pillow's decoders fail in many ways, and one bad file must not end a folder
        raise ValueError(f"{path} is no image that can be read: {_why(error)}") from None
    if min(grey.shape) < SMALLEST:
        raise ValueError(f"{path} has {grey.shape[1]} x {grey.shape[0]} pixels: too few to show a head, {SMALLEST} a side are")
    return grey


def _why(error):
    if isinstance(error, UnidentifiedImageError):
        return "its content is none that Pillow knows"
    return getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__


def _grey_levels(image):
    if image.mode.startswith(("I", "F")):
        levels = np.asarray(image, dtype=float)
        numbers = levels[np.isfinite(levels)]
        if numbers.size == 0:
            raise ValueError("none of its grey levels is a number")
        low, high = numbers.min(), numbers.max()
        scaled = (np.clip(levels, low, high) - low) / max(high - low, 1e-9)
        return np.rint(255 * np.nan_to_num(scaled)).astype(np.uint8)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image)
    return np.asarray(image.convert("L"))


def vary(scan, generator, families) -> np.ndarray:
    """A prepared scan, varied at random: what may differ between two scans of one tumour, and must not decide.

    Args:
        scan: uint8, (side, side).
        generator: a ``numpy.random.Generator``.
        families: names out of `FAMILIES`, applied in their order.

    Returns:
        float32, (side, side), in 0 to 255.
    """
    varied = scan.astype(np.float32) / 255
    for family in families:
        varied = FAMILIES[family](varied, generator)
    return 255 * np.clip(varied, 0, 1, dtype=np.float32)


def _geometry(scan, generator):
    """Mirrored left to right, turned by up to 12 degrees, scaled by up to 15 %, shifted by up to 5 % of the side."""
    if generator.random() < 0.5:
        scan = scan[:, ::-1]
    angle = np.deg2rad(generator.uniform(-12, 12))
    down, across = np.exp(generator.uniform(-0.12, 0.12) + generator.uniform(-0.03, 0.03, 2))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / [[down], [across]]
    middle = (np.array(scan.shape) - 1) / 2
    shift = generator.uniform(-0.05, 0.05, 2) * scan.shape
    return ndimage.affine_transform(scan, turn, offset=middle - turn @ (middle + shift), order=1)


def _intensity(scan, generator):
    """Grey levels through a random rising curve, under a smooth field of brightness as a receiver coil leaves it."""
    points = 5
    heights = np.append(0, np.cumsum(generator.dirichlet(np.full(points - 1, 8.0))))
    scan = np.interp(scan, np.linspace(0, 1, points), heights).astype(np.float32)
    field = generator.uniform(-0.25, 0.25, (4, 4)).astype(np.float32)
    smooth = ndimage.zoom(field, scan.shape[0] / 4, order=1, grid_mode=True, mode="nearest")
    return scan * np.exp(smooth) * np.float32(generator.uniform(0.8, 1.2))


def _degradation(scan, generator):
    """Blur, noise or neither; in one of seven a rectangle blacked out, so that no single place is relied upon."""
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
