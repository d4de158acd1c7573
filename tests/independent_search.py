"""A second judge of copies that shares nothing with `tumor_mri.audit.alignment`: other boxes, other filter, other optimiser.

`judge` registers two images: a grid of scales, each with the shift of the highest cross-correlation by FFT, then the search of
Nelder and Mead over scales, shifts and rotation, scored by the correlation of high-pass filtered images at 128 x 128 pixels.
About 0.3 s a pair. `suspects` says which pairs across two sets of images to judge. Copies score above `COPY`.

    python tests/independent_search.py    # judges the pairs of data/aligned_copies.csv and as many that are no copies
"""

import numpy as np
from PIL import Image
from scipy.fft import irfft2, rfft2
from scipy.ndimage import gaussian_filter, map_coordinates, zoom
from scipy.optimize import minimize

COPY = 0.85  # copies of the project's dataset score higher, different known patients lower
SIDE = 128
SCALES = (0.75, 0.87, 1.0, 1.15, 1.33)


def load(path) -> np.ndarray:
    """Grey levels of what is brighter than a tenth of the maximum, 0 to 1, float, (128, 128)."""
    with Image.open(path) as image:
        grey = np.asarray(image.convert("L"), dtype=np.float32)
    bright = grey > 0.1 * grey.max()
    rows, columns = (np.flatnonzero(bright.mean(axis=axis) > 0.03) for axis in (1, 0))
    if len(rows) and len(columns):
        grey = grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.asarray(Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) / 255


def judge(first: np.ndarray, second: np.ndarray) -> float:
    """The highest correlation of the overlap of two loaded images that a search over maps finds, -1 to 1."""
    return max(_judge(first, second), _judge(first, second[:, ::-1]))


def _judge(first, second):
    coarse = [_detail(zoom(image, 0.25, order=1), 0.5, 3) for image in (first, second)]
    fine = [_detail(image, 1.0, 4) for image in (first, second)]
    starts = sorted((_shifted(*coarse, across, down) for across in SCALES for down in SCALES), key=lambda found: -found[0])
    start = max((_search(coarse, start, 0.08) for _, start in starts[:4]), key=lambda numbers: _likeness(*coarse, numbers))
    for images, size in (([part[::2, ::2] for part in fine], 0.05), (fine, 0.01)):
        start = _search(images, start, size)
    return _likeness(*fine, start)


def _search(images, start, size):
    options = {"initial_simplex": np.vstack([start, start + size * np.eye(5)]), "maxfev": 160, "xatol": 1e-3, "fatol": 1e-4}
    return minimize(lambda numbers: -_likeness(*images, numbers), start, method="Nelder-Mead", options=options).x


def _detail(image, narrow, wide):
    image = gaussian_filter(image, narrow)
    return image - gaussian_filter(image, wide)


def _shifted(first, second, across, down):
    """The best shift at given scales, by cross-correlation with the edges padded: its height, and the five numbers."""
    side = len(first)
    there = _moved(second, np.array([np.log(across), np.log(down), 0, 0, 0]))[0]
    shape = (2 * side, 2 * side)
    product = irfft2(rfft2(first, shape) * np.conj(rfft2(there, shape)), shape)
    row, column = np.unravel_index(product.argmax(), shape)
    row, column = ((place + side) % (2 * side) - side for place in (row, column))
    height = product.max() / (np.linalg.norm(first) * np.linalg.norm(there) + 1e-9)
    return height, np.array([np.log(across), np.log(down), -2 * across * column / side, -2 * down * row / side, 0])


def _moved(image, numbers):
    """An image as the five numbers show it, and what of it lies inside: log scales, shifts (half sides), rotation (radians)."""
    across, down, right, lower, angle = numbers
    rows, columns = np.mgrid[-1 : 1 : len(image) * 1j, -1 : 1 : len(image) * 1j]
    x = np.exp(across) * (np.cos(angle) * columns - np.sin(angle) * rows) + right
    y = np.exp(down) * (np.sin(angle) * columns + np.cos(angle) * rows) + lower
    places = (np.stack([y, x]) + 1) * (len(image) - 1) / 2
    inside = (np.abs(x) <= 1) & (np.abs(y) <= 1)
    return map_coordinates(image, places, order=1), inside


def _likeness(first, second, numbers):
    moved, inside = _moved(second, numbers)
    if inside.mean() < 0.4:
        return -1.0
    ours, theirs = first[inside] - first[inside].mean(), moved[inside] - moved[inside].mean()
    return float(ours @ theirs / (np.linalg.norm(ours) * np.linalg.norm(theirs) + 1e-9))


def suspects(ours, theirs, each=2) -> list:
    """For each of our loaded images the numbers of the most similar of theirs, by thumbnails of 16 x 16: pairs (our, their)."""

    def thumbnails(images):
        small = np.array([zoom(gaussian_filter(image, 4), 0.125, order=1).ravel() for image in images])
        small -= small.mean(axis=1, keepdims=True)
        return small / (np.linalg.norm(small, axis=1, keepdims=True) + 1e-9)

    likeness = thumbnails(ours) @ thumbnails(theirs).T
    return [(row, column) for row, line in enumerate(likeness) for column in np.argsort(-line, kind="stable")[:each]]


def main(most=60):
    """Judge pairs of `data/aligned_copies.csv`, and images of different known patients that look most alike."""
    import pandas as pd

    from tumor_mri.datasets import download, manifests

    folder, manifest = download.find(), manifests.load_manifest()
    copies = pd.read_csv(manifests.DATA / "aligned_copies.csv").iloc[:most]
    found = [judge(load(folder / row.first), load(folder / row.second)) for row in copies.itertuples()]
    known = manifest[manifest["patient"].notna()].drop_duplicates("patient")["path"].iloc[:150]
    images = [load(folder / path) for path in known]
    pairs = [(one, other) for one, other in suspects(images, images) if one != other][:most]
    others = [judge(images[one], images[other]) for one, other in pairs]
    print(f"{sum(value > COPY for value in found)} of {len(found)} aligned copies confirmed, the lowest at {min(found):.3f}")
    print(
        f"{sum(value > COPY for value in others)} of {len(others)} pairs of different patients, the highest at {max(others):.3f}"
    )


if __name__ == "__main__":
    main()
