"""Corrupted scans: noise, blur, low contrast, rotation and JPEG compression, each at three strengths.

A scan is corrupted at the resolution of its file, before any preprocessing. After Hendrycks and Dietterich, Benchmarking Neural
Network Robustness to Common Corruptions (2019, https://arxiv.org/abs/1903.12261).
"""

import io
import zlib

import numpy as np
from PIL import Image
from scipy import ndimage


def corrupt(scan: np.ndarray, kind: str, strength: float, path: str = "") -> np.ndarray:
    """A corrupted copy of a scan, at the resolution of its file.

    The same noise matters less in a scan of more pixels, because shrinking the scan averages it out.

    Args:
        scan: grey, uint8, (height, width).
        kind: one of `CORRUPTIONS`.
        strength: the parameter of the corruption, such as one of `STRENGTHS`.
        path: of the scan; it seeds the random numbers, which makes them the same for each network and in each session.

    Returns:
        uint8, of the same shape.

    Raises:
        ValueError: for an unknown kind.

    Example:
        >>> scan = np.array([[0, 100], [100, 200]], dtype=np.uint8)
        >>> corrupt(scan, "contrast", 0.5).tolist()
        [[50, 100], [100, 150]]
    """
    if kind not in CORRUPTIONS:
        raise ValueError(f"unknown corruption {kind!r}: choose one of {', '.join(CORRUPTIONS)}")
    generator = np.random.default_rng(zlib.crc32(f"{path} {kind} {strength}".encode()))
    corrupted = CORRUPTIONS[kind](scan, strength, generator)
    return np.clip(np.rint(corrupted), 0, 255).astype(np.uint8)


def _noise(scan, deviation, generator):
    """Independent Gaussian noise; its standard `deviation` in grey levels."""
    return scan + generator.normal(0, deviation, scan.shape)


def _blur(scan, share, generator):
    """Gaussian blur; its standard deviation is `share` percent of the longer side."""
    return ndimage.gaussian_filter(scan.astype(float), share / 100 * max(scan.shape), mode="nearest")


def _contrast(scan, factor, generator):
    """Grey levels moved towards their mean: `factor` 1 keeps them, 0 makes all of them equal."""
    return scan.mean() + factor * (scan - scan.mean())


def _rotation(scan, degrees, generator):
    """Rotation about the centre, in a random direction; the corners are filled with black."""
    return ndimage.rotate(scan.astype(float), degrees * generator.choice((-1, 1)), reshape=False, order=1)


def _jpeg(scan, quality, generator):
    """JPEG compression; `quality` on Pillow's scale, 1 to 95."""
    buffer = io.BytesIO()
    Image.fromarray(scan).save(buffer, "JPEG", quality=int(quality))
    with Image.open(buffer) as image:
        return np.asarray(image, dtype=float)


CORRUPTIONS = {"noise": _noise, "blur": _blur, "contrast": _contrast, "rotation": _rotation, "JPEG quality": _jpeg}
STRENGTHS = {  # weak, medium, strong
    "noise": (10, 25, 50),
    "blur": (0.5, 1.0, 2.0),
    "contrast": (0.75, 0.5, 0.25),
    "rotation": (5, 15, 30),
    "JPEG quality": (50, 20, 5),
}
