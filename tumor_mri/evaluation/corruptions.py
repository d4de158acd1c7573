"""What worse scans do to a network: noise, blur, weak contrast, a tilted head, strong JPEG compression, three strengths of each.

A scan is spoiled as its file holds it, before anything that a network does with it. After Hendrycks and Dietterich, Benchmarking
Neural Network Robustness to Common Corruptions (2019, https://arxiv.org/abs/1903.12261).
"""

import io
import zlib

import numpy as np
from PIL import Image
from scipy import ndimage


def spoil(scan, kind, strength, path="") -> np.ndarray:
    """A scan made worse, in the pixels of its file: equal noise is less in a scan of more pixels, once it is shrunk.

    Args:
        scan: grey, uint8, (height, width).
        kind: one of `SPOILS`.
        strength: the number that `kind` takes, such as one of `STRENGTHS`.
        path: names the scan; noise depends on it, so that it is the same for each network and in each session.

    Returns:
        uint8, of the same shape.

    Raises:
        ValueError: for an unknown kind.
    """
    if kind not in SPOILS:
        raise ValueError(f"unknown kind {kind!r}: choose one of {', '.join(SPOILS)}")
    generator = np.random.default_rng(zlib.crc32(f"{path} {kind} {strength}".encode()))
    spoiled = SPOILS[kind](scan, strength, generator)
    return np.clip(np.rint(spoiled), 0, 255).astype(np.uint8)


def _noise(scan, deviation, generator):
    """Independent Gaussian noise; `deviation` in grey levels."""
    return scan + generator.normal(0, deviation, scan.shape)


def _blur(scan, share, generator):
    """A Gaussian blur; its deviation is a `share` of the longer side, in percent."""
    return ndimage.gaussian_filter(scan.astype(float), share / 100 * max(scan.shape), mode="nearest")


def _contrast(scan, factor, generator):
    """Grey levels drawn towards their mean: `factor` 1 keeps them, 0 leaves one grey."""
    return scan.mean() + factor * (scan - scan.mean())


def _rotation(scan, degrees, generator):
    """Turned about its middle, to either side; black where there was nothing."""
    return ndimage.rotate(scan.astype(float), degrees * generator.choice((-1, 1)), reshape=False, order=1)


def _jpeg(scan, quality, generator):
    """Compressed and read again; `quality` as Pillow counts it, 1 to 95."""
    buffer = io.BytesIO()
    Image.fromarray(scan).save(buffer, "JPEG", quality=int(quality))
    with Image.open(buffer) as image:
        return np.asarray(image, dtype=float)


SPOILS = {"noise": _noise, "blur": _blur, "contrast": _contrast, "rotation": _rotation, "JPEG quality": _jpeg}
STRENGTHS = {  # weak, medium, strong
    "noise": (10, 25, 50),
    "blur": (0.5, 1.0, 2.0),
    "contrast": (0.75, 0.5, 0.25),
    "rotation": (5, 15, 30),
    "JPEG quality": (50, 20, 5),
}
