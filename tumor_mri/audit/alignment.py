"""Aligned copies: the same scan after cropping, padding, scaling, shifting, slight rotation, mirroring or new grey levels.

Whole-image similarity (`near_copies`) misses these. This second stage works in four steps.

1. `sketches`: each image becomes the box of its head, 96 x 96 pixels, uint8. Borders and frames are gone.
2. `candidates`: for each image the most similar others. The whole box of one is compared with 169 windows of the other's box,
   plain and mirrored. A copy that was cropped is close to one of the windows, and the window is where the registration starts.
3. `register`: the six numbers of an affine map, by the efficient second-order method (Malis 2004; Baker and Matthews 2004 for the
   compositional update), from 24 to 48 to 96 pixels. Pairs that stay unlike at a coarse level go no further.
4. The score is the correlation of the overlap after local contrast normalisation. Flat areas count little, so that two heads
   of the same outline do not match by their outline alone.

`copy_calibration` measures what the threshold finds and what it invents. Memory: 9 KiB per image. Time: candidates grow with the
square of the number of images, all else with the number.
"""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image
from threadpoolctl import threadpool_limits

from tumor_mri.audit import near_copies
from tumor_mri.datasets import image_files

ALIGNED_COPY = 0.90  # score above which two images are aligned copies; chosen by `copy_calibration.calibrate`
SIDE = 96  # pixels of a sketch
NEIGHBOURS = 20  # candidates of each image; with 12, one crop in fifty is no candidate
LEAST_OVERLAP = 0.5  # of the smaller of the two boxes
MOST_ROTATION = 15.0  # degrees, either way
MOST_SHEAR = 0.15  # cosine of the angle between the two axes of the map; copies have none
SIZES = (24, 48, 96)  # pixels a side at which a pair is registered
STEPS = (8, 5, 4)  # updates at each size
UNLIKE = (0.6, 0.75)  # score at the first two sizes below which a pair is given up
GRID = 12  # pixels a side of a window
EDGES = (0.0, 0.1, 0.2, 0.3)  # shares of the box that a window may leave out at either end
LEAST_WINDOW = 0.55  # share of the box
WHOLE_NUMBERS = 4000  # norm of a window's vector; 4000 squared is below 2 to the 24th, see `_describe`
FRAME_LEVELS = 8  # grey levels within which a line is of one grey
TILE = 1024  # images a side of the square of similarities held at one time
BATCH = 128  # pairs registered at one time


class AlignmentError(near_copies.AuditError):
    """An image that cannot be sketched; the text says which, and why."""


@dataclass(frozen=True)
class Sketches:
    """What is kept of each image.

    `pixels`: grey levels of the head's box, uint8, (images, 96, 96). `boxes`: left, top, right, bottom of the box as shares of
    the image, float, (images, 4). `sizes`: width and height of the image in pixels, int, (images, 2).
    """

    pixels: np.ndarray
    boxes: np.ndarray
    sizes: np.ndarray

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, rows) -> "Sketches":
        return Sketches(self.pixels[rows], self.boxes[rows], self.sizes[rows])


@dataclass(frozen=True)
class Alignment:
    """How a second image lies on a first.

    `correlation`: of the overlap, -1 to 1; NaN if no plausible map was found. `scale`: pixels of the second per pixel of the
    first, along x and y. `shift`: from the centre of the second image to where the centre of the first falls in it, as shares of
    the second's width and height. `rotation`: degrees, clockwise on the screen. `mirrored`: whether left and right are exchanged.
    `overlap`: share of the smaller box that both images show, 0 to 1.
    """

    correlation: float
    scale: tuple
    shift: tuple
    rotation: float
    mirrored: bool
    overlap: float


# Sketches


def sketches(scans, progress: bool = True) -> Sketches:
    """Sketch images, in the order given.

    Args:
        scans: paths of image files, or arrays of grey levels (height, width) or colours (height, width, 3), uint8.
        progress: whether a bar may be shown.

    Raises:
        AlignmentError: for an image that cannot be read.
    """
    scans = list(scans)
    with ThreadPoolExecutor(2) as pool:
        rows = list(near_copies.progress_bar(pool.map(_sketch, scans), "sketch", len(scans), progress))
    if not rows:
        return Sketches(np.empty((0, SIDE, SIDE), np.uint8), np.empty((0, 4)), np.empty((0, 2), int))
    return Sketches(*(np.stack(column) for column in zip(*rows, strict=True)))


def _sketch(scan):
    try:
        grey, size = _grey(scan)
    except Exception as error:  # decoders fail in many ways
        name = f"array of shape {scan.shape}" if isinstance(scan, np.ndarray) else scan
        raise AlignmentError(f"{name} {image_files.reason(error)}") from None
    box = head_box(np.asarray(grey))
    shrunk = grey.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=box)  # Pillow averages over what it shrinks
    return np.asarray(shrunk), np.array(box) / (grey.size * 2), np.array(size)


def _grey(scan):
    """The image in 8-bit grey levels, at least 192 pixels a side if it has them, and its true size."""
    if isinstance(scan, np.ndarray):
        image = Image.fromarray(scan).convert("L")
        return image, image.size
    with image_files.open_quietly(scan) as image:
        full = image.width, image.height
        image.draft("L", (2 * SIDE, 2 * SIDE))  # the JPEG decoder itself shrinks, several times faster
        grey = image_files.grey_image(image)
    turned = (grey.width < grey.height) != (full[0] < full[1])  # by its EXIF orientation
    return grey, full[::-1] if turned else full


def head_box(grey: np.ndarray) -> tuple:
    """Left, top, right and bottom of what lies inside the borders, in pixels.

    Rows and columns at the edge are removed while at most 5 % of their pixels are bright, or while 95 % are of one bright grey.
    So the background goes, with black borders and white frames. Dark and bright are told apart by Otsu's method (1979) on a
    logarithmic scale, on which a change of gamma is a change of unit.
    """
    bright = grey > _otsu(grey)
    left, top, right, bottom = 0, 0, grey.shape[1], grey.shape[0]
    while True:
        rows = _content(grey[top:bottom, left:right], bright[top:bottom, left:right])
        if not len(rows):
            return 0, 0, grey.shape[1], grey.shape[0]
        top, bottom = top + rows[0], top + rows[-1] + 1
        columns = _content(grey[top:bottom, left:right].T, bright[top:bottom, left:right].T)
        if not len(columns):
            return 0, 0, grey.shape[1], grey.shape[0]
        narrower = columns[-1] + 1 - columns[0] < right - left
        left, right = left + columns[0], left + columns[-1] + 1
        if not narrower:
            return int(left), int(top), int(right), int(bottom)


def _content(grey, bright):
    """Numbers of the rows that are neither dark nor of one bright grey."""
    share = bright.mean(axis=1)
    frame = share > 0.95
    if frame.any():
        lines = grey[frame].astype(np.int16)
        flat = np.abs(lines - np.median(lines, axis=1, keepdims=True)) <= FRAME_LEVELS
        frame[frame] = flat.mean(axis=1) >= 0.95
    return np.flatnonzero((share > 0.05) & ~frame)


def _otsu(grey):
    counts = np.bincount(grey.ravel(), minlength=256).astype(float)
    levels = np.log(np.arange(256) + 4.0)  # plus 4: noise near black must not spread over the scale
    below, weight = np.cumsum(counts), counts.sum()
    sums = np.cumsum(counts * levels)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (sums[-1] * below / weight - sums) ** 2 / (below * (weight - below))
    return int(np.nanargmax(np.where(np.isfinite(between), between, -1.0)))


# Candidates


def _intervals():
    pairs = [(start, 1 - end) for start in EDGES for end in EDGES]
    return [(start, end) for start, end in pairs if end - start > LEAST_WINDOW - 1e-9]


INTERVALS = np.array(_intervals())  # (13, 2); the first is the whole box
VIEWS = np.array([(*across, *down) for down in INTERVALS for across in INTERVALS])  # (169, 4): left, right, top, bottom


def _averaging():
    """How much of each of the 96 pixels of a line falls in each of the 12 cells of each interval, in fifths, (13 * 12, 96).

    Fifths of a pixel make whole numbers, as all edges of cells are multiples of 0.8 pixels.
    """
    pixels = np.arange(SIDE)
    rows = []
    for start, end in INTERVALS * SIDE:
        edges = np.linspace(start, end, GRID + 1)
        for low, high in zip(edges[:-1], edges[1:], strict=True):
            rows.append(np.clip(np.minimum(pixels + 1, high) - np.maximum(pixels, low), 0, 1))
    return np.rint(5 * np.array(rows)).astype(np.float32)


def _smoothing(side, width):
    """A matrix that blurs a line of `side` pixels by a Gaussian of this standard deviation; its rows sum to 1."""
    pixels = np.arange(side)
    matrix = np.exp(-0.5 * ((pixels[:, None] - pixels) / width) ** 2)
    return (matrix / matrix.sum(axis=1, keepdims=True)).astype(np.float32)


def _broad():
    """A blur of 12 cells in each of the 13 intervals, in 256ths rounded down: whole numbers, (13 * 12, 13 * 12)."""
    return np.kron(np.eye(len(INTERVALS)), np.floor(256 * _smoothing(GRID, 2.0))).astype(np.float32)


_AVERAGING, _BROAD = _averaging(), _broad()
_AREAS = np.outer(_AVERAGING.sum(axis=1), _AVERAGING.sum(axis=1))


def _equalise(pixels):
    """Grey levels replaced by their ranks, 0 to 255, whole numbers: no monotonic change of them is left. (images, side, side)."""
    ranks = np.empty(pixels.shape, dtype=np.float32)
    for image, out in zip(pixels, ranks, strict=True):
        counts = np.bincount(image.ravel(), minlength=256)
        out[:] = np.rint(255 * (np.cumsum(counts) - counts / 2) / image.size)[image]
    return ranks


def _describe(pixels):
    """Vectors of all windows, (views, images, 144), float32 but whole numbers.

    A sum of products of whole numbers is exact in float32 while it stays below 2 to the 24th, in whatever order it is summed. All
    matrix products here and in `_best_window` are such. So candidates depend neither on threads nor on how images are tiled.
    """
    number, described = len(INTERVALS), np.empty((len(VIEWS), len(pixels), GRID * GRID), dtype=np.float32)
    for start in range(0, len(pixels), 64):
        means = np.rint(_AVERAGING @ _equalise(pixels[start : start + 64]) @ _AVERAGING.T / _AREAS)
        detail = means * 256**2 - _BROAD @ means @ _BROAD.T  # heads differ in detail, not in the large
        windows = detail.reshape(-1, number, GRID, number, GRID).transpose(1, 3, 0, 2, 4)
        vectors = windows.reshape(number * number, -1, GRID * GRID)
        vectors -= vectors.mean(axis=2, keepdims=True)
        norms = np.sqrt(np.einsum("vid,vid->vi", vectors, vectors))[:, :, None]
        described[:, start : start + 64] = np.rint(vectors * (WHOLE_NUMBERS / np.maximum(norms, 256)))
    return described


def _mirror(vectors):
    return vectors.reshape(*vectors.shape[:-1], GRID, GRID)[..., ::-1].reshape(vectors.shape)


def candidates(
    drawn: Sketches, neighbours: int = NEIGHBOURS, rows=None, among=None, tile: int = TILE, progress: bool = True
) -> pd.DataFrame:
    """The pairs worth registering: each image with its most similar others.

    Args:
        drawn: sketches of all images.
        neighbours: number of others for each image.
        rows: numbers of the images to find neighbours for; None for all.
        among: numbers of the images to look among; None for all.
        tile: images a side of the similarities held at one time.
        progress: whether a bar may be shown.

    Returns:
        first, second (numbers, first < second) and similarity (-1 to 1: the best over both directions, windows and mirroring), by
        first, then second.
    """
    count = len(drawn)
    asked = np.arange(count) if rows is None else np.unique(rows)
    best = np.full((count, neighbours), -np.inf, dtype=np.float32)
    whom = np.full((count, neighbours), -1)
    others = np.arange(count) if among is None else np.unique(among)
    once = rows is None and among is None  # then each two tiles meet once, and serve both
    blocks, tiled = ([which[start : start + tile] for start in range(0, len(which), tile)] for which in (asked, others))
    tiles = [(here, there) for number, here in enumerate(blocks) for there in tiled[number if once else 0 :]]
    drawn_for = None
    for here, there in near_copies.progress_bar(tiles, "compare", len(tiles), progress):
        if here is not drawn_for:
            drawn_for, ours = here, _describe(drawn.pixels[here])
        theirs = ours if np.array_equal(here, there) else _describe(drawn.pixels[there])
        similarity = _similarity(ours, theirs)
        similarity[here[:, None] == there] = -np.inf
        _keep_best(best, whom, here, there, similarity)
        if once and theirs is not ours:
            _keep_best(best, whom, there, here, similarity.T)
    best, whom = best[asked], whom[asked]
    first, second = np.repeat(asked, neighbours), whom.ravel()
    found = pd.DataFrame({"first": np.minimum(first, second), "second": np.maximum(first, second), "similarity": best.ravel()})
    found = found[second >= 0].drop_duplicates(["first", "second"])
    found["similarity"] /= WHOLE_NUMBERS**2
    return found.sort_values(["first", "second"], ignore_index=True)


def _similarity(ours, theirs):
    """The best product of a whole box and a window, in both directions, plain and mirrored, (ours, theirs)."""
    return np.maximum(_best_window(ours[0], theirs), _best_window(theirs[0], ours).T)


def _best_window(boxes, windows):
    best = np.full((boxes.shape[0], windows.shape[1]), -np.inf, dtype=np.float32)
    for vectors in (boxes, _mirror(boxes)):
        for window in windows:
            np.maximum(best, vectors @ window.T, out=best)
    return best


def _keep_best(best, whom, here, there, similarity):
    """Merge new similarities into the best so far, in place; ties go to the lower number, whatever the tiles."""
    values = np.hstack([best[here], similarity])
    numbers = np.hstack([whom[here], np.broadcast_to(there, similarity.shape)])
    least = np.partition(values, -best.shape[1], axis=1)[:, -best.shape[1]]
    for row, few in enumerate(values >= least[:, None]):
        few = np.flatnonzero(few)
        order = few[np.lexsort((numbers[row, few], -values[row, few]))][: best.shape[1]]
        best[here[row]], whom[here[row]] = values[row, order], numbers[row, order]


# Registration


def _starts(vectors, first, second):
    """The two maps to start from, the best plain one and the best mirrored one.

    Each takes the whole box of one image to the most similar window of the other. `vectors` are as `_describe` makes them;
    `first` and `second` are numbers of images, (pairs,).

    Returns:
        For plain, then mirrored: maps from coordinates of the whole box to those of the other, both -1 to 1, (pairs, 2, 3), and
        whether the whole box is the second image's, (pairs,).
    """
    boxes = np.stack([vectors[0], _mirror(vectors[0])], axis=2)  # (images, 144, 2)
    windows = vectors.transpose(1, 0, 2)
    forth, back = windows[second] @ boxes[first], windows[first] @ boxes[second]  # (pairs, views, 2)
    starts = []
    for side, sign in enumerate((1, -1)):
        turned = back[:, :, side].max(axis=1) > forth[:, :, side].max(axis=1)  # the more cropped image is laid on the other
        best = np.where(turned, back[:, :, side].argmax(axis=1), forth[:, :, side].argmax(axis=1))
        left, right, top, bottom = VIEWS[best].T
        maps = np.zeros((len(best), 2, 3))
        maps[:, 0, 0], maps[:, 1, 1] = sign * (right - left), bottom - top
        maps[:, 0, 2], maps[:, 1, 2] = left + right - 1, top + bottom - 1
        starts.append((maps, turned))
    return starts


def _normalise(images, blur, wide, weight=None):
    """Detail in units of local contrast: blur, subtract the local mean, divide by the local deviation, (images, side, side).

    With `weight` (0 or 1 a pixel), means and deviations are over the pixels that count.
    """

    def mean(values, matrix):
        if weight is None:
            return matrix @ values @ matrix.T
        return (matrix @ (values * weight) @ matrix.T) / np.maximum(matrix @ weight @ matrix.T, 1e-6)

    side = images.shape[-1]
    narrow, broad = _smoothing(side, blur), _smoothing(side, wide)
    detail = mean(images, narrow)
    detail = detail - mean(detail, broad)
    power = mean(detail * detail, broad)
    counted = np.ones_like(power) if weight is None else weight
    overall = (power * counted).sum(axis=(1, 2), keepdims=True) / np.maximum(counted.sum(axis=(1, 2), keepdims=True), 1)
    return detail / np.sqrt(power + FLOOR * overall + 1e-3)


FLOOR = 0.1  # of the image's mean power, below which local contrast is noise
DETAIL = {24: (0.7, 3.0), 48: (0.8, 3.0), 96: (1.0, 3.0)}  # pixels: standard deviations of the narrow and the wide blur


def shrink(pixels, side):
    factor = pixels.shape[-1] // side
    return pixels.reshape(-1, side, factor, side, factor).mean(axis=(2, 4), dtype=np.float32)


def _warp(images, maps):
    """Each image as its map shows it on the first one's grid, bilinear, and the mask of what lies inside, (pairs, side, side)."""
    count, side, _ = images.shape
    grid = ((2 * np.arange(side) + 1) / side - 1).astype(np.float32)
    maps = maps.astype(np.float32)

    def place(axis):
        row = maps[:, axis, :, None]
        across, down = row[:, 0] * grid + row[:, 2], row[:, 1] * grid
        return ((across[:, None, :] + down[:, :, None]) + 1) * (side / 2) - 0.5

    x, y = place(0), place(1)
    inside = (x >= 0) & (x <= side - 1) & (y >= 0) & (y <= side - 1)
    x, y = np.clip(x, 0, side - 1.001), np.clip(y, 0, side - 1.001)
    left, top = x.astype(np.int32), y.astype(np.int32)
    x -= left
    y -= top
    at = (np.arange(count, dtype=np.int32) * side * side)[:, None, None] + top * side + left
    flat = images.ravel()
    upper = flat[at] * (1 - x) + flat[at + 1] * x
    lower = flat[at + side] * (1 - x) + flat[at + side + 1] * x
    return upper * (1 - y) + lower * y, inside.astype(np.float32)


def _update(first, second, maps):
    """One step of the efficient second-order method: the maps after it, and the correlations before it."""
    count, side, _ = first.shape
    warped, inside = _warp(second, maps)
    number = np.maximum(inside.sum(axis=(1, 2), keepdims=True), 1)

    def centred(values):
        return (values - (values * inside).sum(axis=(1, 2), keepdims=True) / number) * inside

    ours, theirs = centred(first), centred(warped)
    norms = [np.sqrt((values * values).sum(axis=(1, 2), keepdims=True)) + 1e-6 for values in (ours, theirs)]
    correlation = (ours * theirs).sum(axis=(1, 2)) / (norms[0] * norms[1]).ravel()
    error = (ours * (norms[1] / norms[0]) - theirs).reshape(count, side * side, 1)
    both = ours * (norms[1] / norms[0]) + theirs
    slopes = np.zeros((2, *both.shape), dtype=np.float32)
    slopes[0, :, :, 1:-1] = (both[:, :, 2:] - both[:, :, :-2]) * (side / 8)  # of the mean of both, per unit of the grid
    slopes[1, :, 1:-1] = (both[:, 2:] - both[:, :-2]) * (side / 8)
    grid = ((2 * np.arange(side) + 1) / side - 1).astype(np.float32)
    parts = [part for slope in slopes for part in (slope * grid, slope * grid[:, None], slope)]
    jacobian = np.stack([(part * inside).reshape(count, side * side) for part in parts], axis=1)
    normal = (jacobian @ jacobian.transpose(0, 2, 1)).astype(float)
    normal += np.eye(6) * (1e-3 * np.trace(normal, axis1=1, axis2=2)[:, None, None] / 6 + 1e-6)
    step = np.linalg.solve(normal, (jacobian @ error).astype(float)).reshape(count, 2, 3)
    step = np.clip(step, -0.15, 0.15)
    moved = maps.copy()
    moved[:, :, :2] += maps[:, :, :2] @ step[:, :, :2]
    moved[:, :, 2] += (maps[:, :, :2] @ step[:, :, 2:])[:, :, 0]
    return moved, correlation


def register(pixels: np.ndarray, first: np.ndarray, second: np.ndarray) -> tuple:
    """Register pairs of sketches.

    Args:
        pixels: sketches, uint8, (images, 96, 96).
        first, second: numbers of the images of each pair, (pairs,).

    Returns:
        correlation (pairs,), NaN if given up; maps (pairs, 2, 3) from coordinates of the first box to those of the second, each
        -1 to 1; mirrored (pairs,); overlap (pairs,), 0 to 1.
    """
    used, number = np.unique(np.concatenate([first, second]), return_inverse=True)
    here, there = number.reshape(2, -1)
    one, other = pixels[first], pixels[second]
    return _register(one, other, _starts(_describe(pixels[used]), here, there))


def _register(one, other, starts):
    """As `register`, from given starts: both are tried at the coarsest size, and the better one goes on."""
    likeness, tried = [], []
    for maps, turned in starts:
        fixed, moving = _laid(one, other, turned)
        maps, found = _improve(fixed, moving, maps, SIZES[0], STEPS[0])
        likeness.append(found)
        tried.append((maps, turned))
    mirrored = likeness[1] > likeness[0]
    maps = np.where(mirrored[:, None, None], tried[1][0], tried[0][0])
    turned = np.where(mirrored, tried[1][1], tried[0][1])
    fixed, moving = _laid(one, other, turned)
    left = np.flatnonzero(np.maximum(*likeness) > UNLIKE[0])
    maps[left], found = _improve(fixed[left], moving[left], maps[left], SIZES[1], STEPS[1])
    left = left[found > UNLIKE[1]]
    maps[left], _ = _improve(fixed[left], moving[left], maps[left], SIZES[2], STEPS[2])
    correlation, overlap = np.full(len(one), np.nan), np.zeros(len(one))
    correlation[left], overlap[left] = _score(fixed[left], moving[left], maps[left])
    maps[turned] = _inverse(maps[turned])
    return correlation, maps, mirrored, overlap


def _laid(one, other, turned):
    """The sketches that stay fixed and those laid on them."""
    turned = turned[:, None, None]
    return np.where(turned, other, one), np.where(turned, one, other)


def _improve(fixed, moving, maps, side, steps):
    """The maps after some steps at a size, and the correlations before the last step."""
    first, second = (_normalise(shrink(part, side), *DETAIL[side]) for part in (fixed, moving))
    likeness = np.zeros(len(maps))
    for _ in range(steps):
        maps, likeness = _update(first, second, maps)
    return maps, likeness


def _score(fixed, moving, maps):
    """Correlation of the detail of the overlap, both normalised on the same grid, and the share of the smaller box in it."""
    warped, inside = _warp(moving.astype(np.float32), maps)
    ours, theirs = (_normalise(part.astype(np.float32), *DETAIL[SIDE], inside) * inside for part in (fixed, warped))
    number = np.maximum(inside.sum(axis=(1, 2), keepdims=True), 1)
    ours, theirs = ((part - part.sum(axis=(1, 2), keepdims=True) / number) * inside for part in (ours, theirs))
    power = (ours * ours).sum(axis=(1, 2)) * (theirs * theirs).sum(axis=(1, 2))
    correlation = (ours * theirs).sum(axis=(1, 2)) / np.sqrt(power + 1e-6)
    overlap = inside.mean(axis=(1, 2)) * np.maximum(np.abs(np.linalg.det(maps[:, :, :2])), 1)
    return correlation, np.minimum(overlap, 1)


def _inverse(maps):
    inverted = np.empty_like(maps)
    inverted[:, :, :2] = np.linalg.inv(maps[:, :, :2])
    inverted[:, :, 2] = -(inverted[:, :, :2] @ maps[:, :, 2:])[:, :, 0]
    return inverted


def _in_pixels(maps, first: Sketches, second: Sketches):
    """The maps from pixels of the first images to pixels of the second, both counted from the image's centre, (pairs, 2, 3)."""

    def boxes(drawn):
        low, high = drawn.boxes[:, :2] * drawn.sizes, drawn.boxes[:, 2:] * drawn.sizes
        return (high - low) / 2, (high + low - drawn.sizes) / 2  # half sizes and centres

    (half, centre), (half_there, centre_there) = boxes(first), boxes(second)
    linear = maps[:, :, :2] * half_there[:, :, None] / half[:, None, :]
    shift = maps[:, :, 2] * half_there + centre_there - (linear @ centre[:, :, None])[:, :, 0]
    return np.concatenate([linear, shift[:, :, None]], axis=2)


def _describe_maps(maps, mirrored, first, second):
    """Scales, shifts, rotation and shear of each map, as `Alignment` has them, as a table."""
    maps = _in_pixels(maps, first, second)
    linear = maps[:, :, :2].copy()
    linear[mirrored, :, 0] *= -1
    scale = np.linalg.norm(linear, axis=1)
    shear = (linear[:, :, 0] * linear[:, :, 1]).sum(axis=1) / np.maximum(scale.prod(axis=1), 1e-9)
    unit = linear / np.maximum(scale[:, None, :], 1e-9)
    rotation = np.degrees(np.arctan2(unit[:, 1, 0] - unit[:, 0, 1], unit[:, 0, 0] + unit[:, 1, 1]))
    shift = maps[:, :, 2] / second.sizes
    columns = {"scale_x": scale[:, 0], "scale_y": scale[:, 1], "shift_x": shift[:, 0], "shift_y": shift[:, 1]}
    return pd.DataFrame({**columns, "rotation": rotation, "mirrored": mirrored, "shear": shear})


def score_pairs(drawn: Sketches, first, second, progress: bool = True) -> pd.DataFrame:
    """Register pairs of sketched images.

    Returns:
        A row a pair, in the order given: first, second, correlation (NaN if given up, or if the map is not plausible), scale_x,
        scale_y, shift_x, shift_y, rotation, mirrored, overlap, as `Alignment` has them.
    """
    first, second = np.asarray(first, dtype=int), np.asarray(second, dtype=int)
    batches = [slice(start, start + BATCH) for start in range(0, len(first), BATCH)]
    with (
        threadpool_limits(1, "blas"),
        ThreadPoolExecutor(2) as pool,
    ):  # small products: threads inside them only wait for each other
        parts = pool.map(lambda batch: _score_batch(drawn, first[batch], second[batch]), batches)
        parts = list(near_copies.progress_bar(parts, "register", len(batches), progress))
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)
    return table[list(COLUMNS)]


def _score_batch(drawn, first, second):
    swapped = np.array(
        [_digest(drawn.pixels[one]) > _digest(drawn.pixels[other]) for one, other in zip(first, second, strict=True)]
    )
    here, there = np.where(swapped, second, first), np.where(swapped, first, second)  # the order given must not matter
    correlation, maps, mirrored, overlap = register(drawn.pixels, here, there)
    maps[swapped] = _inverse(maps[swapped])
    table = _describe_maps(maps, mirrored, drawn[first], drawn[second])
    plausible = (overlap >= LEAST_OVERLAP) & (table["shear"].abs() <= MOST_SHEAR) & (table["rotation"].abs() <= MOST_ROTATION)
    table["correlation"] = np.where(plausible, correlation, np.nan).round(4)
    return table.assign(first=first, second=second, overlap=overlap.round(4))


def _digest(pixels):
    return hashlib.blake2b(pixels.tobytes(), digest_size=16).digest()


def align(first, second) -> Alignment:
    """Register two images, whether or not they are copies.

    Args:
        first, second: paths of image files, or arrays as in `sketches`.

    Raises:
        AlignmentError: for an image that cannot be read.
    """
    row = score_pairs(sketches([first, second], progress=False), [0], [1], progress=False).iloc[0]
    scale, shift = (row["scale_x"], row["scale_y"]), (row["shift_x"], row["shift_y"])
    return Alignment(row["correlation"], scale, shift, row["rotation"], bool(row["mirrored"]), row["overlap"])


def aligned_copies(scans, threshold: float = ALIGNED_COPY, progress: bool = True) -> pd.DataFrame:
    """All pairs of images that show the same scan, however cropped, scaled, shifted or mirrored.

    Args:
        scans: paths of image files, arrays as in `sketches`, or `Sketches`.
        threshold: correlation above which a pair is returned.
        progress: whether bars may be shown.

    Returns:
        A row a pair: first, second (paths, or numbers if arrays were given; first comes earlier), correlation, scale_x, scale_y,
        shift_x, shift_y, rotation, mirrored, overlap, as `Alignment` has them. Of images with equal sketches, such as identical
        files, each is paired with the first of them, and only that one with others: enough to group them. Images of one grey have
        no copies. The pairs depend neither on the order of the images nor on the number of threads.

    Raises:
        AlignmentError: for an image that cannot be read.
    """
    names = None
    if not isinstance(scans, Sketches):
        scans = list(scans)
        names = None if any(isinstance(scan, np.ndarray) for scan in scans) else np.array([str(scan) for scan in scans], object)
    drawn = scans if isinstance(scans, Sketches) else sketches(scans, progress)
    textured = np.flatnonzero([image.min() < image.max() for image in drawn.pixels])
    digests = np.array([_digest(drawn.pixels[row]).hex() for row in textured], dtype="U32")
    _, at, same = np.unique(digests, return_index=True, return_inverse=True)  # sorted: ties do not depend on the order given
    kept = textured[at]
    pairs = candidates(drawn[kept], progress=progress)
    first, second = kept[pairs["first"]], kept[pairs["second"]]
    first, second = np.minimum(first, second), np.maximum(first, second)
    found = score_pairs(drawn, first, second, progress)
    found = found[found["correlation"] > threshold]
    repeated = np.flatnonzero(kept[same] != textured)
    equal = _equal(drawn, kept[same[repeated]], textured[repeated])
    parts = [part for part in (found, equal) if len(part)]
    found = pd.concat(parts) if parts else found
    found = found.sort_values(["first", "second"], ignore_index=True)
    if names is not None:
        found["first"], found["second"] = names[found["first"].astype(int)], names[found["second"].astype(int)]
    return found


def of_both_stages(whole: pd.DataFrame, aligned: pd.DataFrame) -> pd.DataFrame:
    """The pairs of `near_copies.near_copy_pairs` and of `aligned_copies`, each once: first, second, correlation and
    aligned (whether alignment alone found the pair; its correlation is then that of the overlap)."""
    found = aligned[["first", "second", "correlation"]].assign(aligned=True)
    parts = [part for part in (whole.assign(aligned=False), found) if len(part)]
    both = pd.concat(parts) if parts else whole.assign(aligned=False)
    return both.drop_duplicates(["first", "second"]).astype({"first": int, "second": int}).reset_index(drop=True)


def _equal(drawn, first, second):
    """Pairs whose sketches are equal."""
    maps = np.tile(np.eye(2, 3), (len(first), 1, 1))
    table = _describe_maps(maps, np.zeros(len(first), dtype=bool), drawn[first], drawn[second])
    return table.assign(first=first, second=second, correlation=1.0, overlap=1.0)[list(COLUMNS)]


COLUMNS = ("first", "second", "correlation", "scale_x", "scale_y", "shift_x", "shift_y", "rotation", "mirrored", "overlap")
