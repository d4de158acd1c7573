"""Changes of style: grey levels and texture as another scanner, another file or another contrast would have them.

A network that knows a class from one source alone may recognise the source. These changes make the style of a scan a poor guide
to its class, and leave its shapes: the network has to look at those (Xu et al., 2021, https://arxiv.org/abs/2007.13003).
"""

import io
from collections.abc import Iterable

import numpy as np
from PIL import Image
from scipy import ndimage


def amplitude(scan: np.ndarray, other: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """The phase of a scan with an amplitude between its own and that of another (Xu et al., 2021, arxiv.org/abs/2105.11120)."""
    own, theirs = np.fft.rfft2(scan), np.fft.rfft2(other)
    size, weight = np.abs(own), generator.uniform(0, 1)
    mixed = own * ((1 - weight) * size + weight * np.abs(theirs)) / np.maximum(size, 1e-6)
    return np.fft.irfft2(mixed, scan.shape).astype(np.float32)


def convolution(scan: np.ndarray, other: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A blend of a scan with a random convolution of it (Xu et al., 2021, https://arxiv.org/abs/2007.13003)."""
    side = int(generator.choice([1, 3, 5]))
    kernel = generator.normal(0, 1 / side, (side, side)).astype(np.float32)
    changed = ndimage.convolve(scan, kernel, mode="nearest")
    changed = (changed - changed.mean()) / max(changed.std(), 1e-3) * scan.std() + scan.mean()
    weight = np.float32(generator.uniform(0, 1))
    return (1 - weight) * scan + weight * changed


def resolution(scan: np.ndarray, other: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A scan as if it had been stored with fewer pixels, or as a JPEG file of low quality."""
    picture = Image.fromarray(np.clip(scan, 0, 255).astype(np.uint8))
    side = int(scan.shape[0] * generator.uniform(0.35, 1))
    smaller = picture.resize((side, side), Image.Resampling.BOX if generator.random() < 0.5 else Image.Resampling.BICUBIC)
    if generator.random() < 0.5:
        file = io.BytesIO()
        smaller.save(file, "JPEG", quality=int(generator.integers(20, 80)))
        smaller = Image.open(file)
    return np.asarray(smaller.resize(picture.size, Image.Resampling.BICUBIC), dtype=np.float32)


def histogram(scan: np.ndarray, other: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A scan with grey levels between its own and those of another scan of the same rank."""
    order = np.argsort(scan, axis=None)
    matched = np.empty(scan.size, dtype=np.float32)
    matched[order] = np.sort(other, axis=None)
    weight = np.float32(generator.uniform(0, 1))
    return (1 - weight) * scan + weight * matched.reshape(scan.shape)


STYLES = {"amplitude": amplitude, "convolution": convolution, "resolution": resolution, "histogram": histogram}


def restyle(
    scan: np.ndarray, others: np.ndarray, generator: np.random.Generator, names: Iterable[str], share: float
) -> np.ndarray:
    """A scan after random changes of style.

    Args:
        scan: uint8, (side, side).
        others: scans from which a style may be taken, uint8, (scans, side, side).
        generator: source of the random numbers.
        names: keys of `STYLES`, applied in this order.
        share: of the scans that each of them changes, 0 to 1.

    Returns:
        float32, (side, side), in 0 to 255.
    """
    changed = scan.astype(np.float32)
    for name in names:
        if generator.random() < share:
            other = others[generator.integers(len(others))].astype(np.float32)
            changed = np.clip(STYLES[name](changed, other, generator), 0, 255)
    return changed
