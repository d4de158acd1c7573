"""Near-duplicates: pairs of images whose thumbnails correlate, and the nearest neighbour of each image.

Memory: 4 KiB per thumbnail plus one tile of correlations, whose size is fixed. Time: grows with the square of the number of
images. ``performance/audit_cost.json`` has measurements of both.
"""

import sys
from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm.auto import tqdm

from tumor_mri import text

SIDE = 32  # pixels per side of a thumbnail
NEAR_COPY = 0.99  # correlation of thumbnails above which two images are near-duplicates
CONSTANT = 0.01  # grey levels; below this norm a centred thumbnail is uniform and correlates with nothing
TILE = 2048  # images per side of a tile, the square of correlations held at one time
MOST_PAIRS = 10_000_000  # limit of near-duplicate pairs held; a folder with more consists of copies


class AuditError(text.ProjectError):
    """A folder that cannot be audited; the message says what was found and what was expected."""


def standardise(pixels: np.ndarray) -> np.ndarray:
    """A thumbnail as a vector with mean 0 and norm 1, float32; the dot product of two such vectors is their correlation.

    A uniform image becomes all zeros: its correlation with any image is 0, even with itself.

    Example:
        >>> first = standardise(np.array([[0, 10], [20, 30]]))
        >>> second = standardise(np.array([[5, 25], [45, 65]]))  # the same picture, brighter and with more contrast
        >>> round(float(first @ second), 3)
        1.0
    """
    centred = pixels.astype(float).ravel()
    centred -= centred.mean()
    norm = np.linalg.norm(centred)
    return (centred / norm if norm > CONSTANT else np.zeros_like(centred)).astype(np.float32)


def progress_bar(iterable: Iterable, text: str, total: int, shown: bool = True) -> tqdm:
    """The iterable with a progress bar, shown only on a terminal, and never if `shown` is false."""
    hidden = not shown or "ipykernel" in sys.modules  # a notebook stores its outputs, and a bar is not worth storing
    return tqdm(iterable, desc=text, total=total, leave=False, disable=hidden or None)  # None: shown on a terminal only


def nearest(
    thumbnails: np.ndarray,
    rows: ArrayLike | None = None,
    reference: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    tile: int = TILE,
    decimals: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest neighbour of each image: the other image whose thumbnail correlates most. Computed tile by tile.

    Args:
        thumbnails: float32, (images, pixels), as `standardise` makes them.
        rows: indices of the images whose neighbours are sought; None for all.
        reference: indices of the images that may be neighbours; None for all.
        groups: a label per image, (images,): an image with the same label is no neighbour; a missing label excludes nothing.
        tile: images per side of the correlations held at one time.
        decimals: to which correlations are rounded before they are compared; with float64 thumbnails, copies of one image are
            then equally alike on any processor, and the first of them is the neighbour. None: as they are.

    Returns:
        Index of the neighbour, int64, and its correlation, of the thumbnails' type, both (rows,); -1 and NaN if no
        neighbour is allowed. Uniform images neither have nor are neighbours.

    Example:
        >>> images = [[0, 1, 2], [0, 2, 4], [2, 1, 0]]
        >>> neighbour, correlation = nearest(np.stack([standardise(np.array(image)) for image in images]))
        >>> neighbour.tolist()
        [1, 0, 0]
    """
    rows = np.arange(len(thumbnails)) if rows is None else np.asarray(rows)
    reference = np.arange(len(thumbnails)) if reference is None else np.asarray(reference)
    codes = None if groups is None else pd.factorize(np.asarray(groups))[0]
    constant = ~thumbnails.any(axis=1)
    neighbour = np.full(len(rows), -1)
    best = np.full(len(rows), -np.inf, dtype=thumbnails.dtype)
    for at, to in _tiles(len(rows), len(reference), tile):
        here, there = rows[at], reference[to]
        correlation = thumbnails[here] @ thumbnails[there].T
        if decimals is not None:
            correlation = correlation.round(decimals)
        correlation[(here[:, None] == there) | constant[here][:, None] | constant[there]] = -np.inf
        if codes is not None:
            correlation[(codes[here][:, None] == codes[there]) & (codes[there] >= 0)] = -np.inf
        column = correlation.argmax(axis=1)
        found = correlation[np.arange(len(here)), column]
        neighbour[at] = np.where(found > best[at], there[column], neighbour[at])
        best[at] = np.maximum(found, best[at])
    return neighbour, np.where(neighbour < 0, np.nan, best)


def near_copy_pairs(thumbnails: np.ndarray, threshold: float = NEAR_COPY, tile: int = TILE) -> pd.DataFrame:
    """All pairs of images whose thumbnails correlate above a threshold: first < second (indices) and correlation.

    Raises:
        AuditError: for more than `MOST_PAIRS` pairs.
    """
    found, count = [], 0
    for at, to in _tiles(len(thumbnails), len(thumbnails), tile, upper=True):
        correlation = thumbnails[at] @ thumbnails[to].T
        first, second = np.nonzero(correlation > threshold)
        pair = first + at.start < second + to.start
        first, second = first[pair], second[pair]
        columns = {"first": first + at.start, "second": second + to.start, "correlation": correlation[first, second]}
        found.append(pd.DataFrame(columns))
        count += len(first)
        if count > MOST_PAIRS:
            raise AuditError(f"more than {MOST_PAIRS:,} pairs of near-duplicates: remove byte-identical files first")
    return pd.concat(found, ignore_index=True)


def _tiles(rows, columns, tile, upper=False):
    """Pairs of slices that cover a (rows, columns) matrix, or only its upper triangle, with a progress bar."""
    starts = [(row, column) for row in range(0, rows, tile) for column in range(0, columns, tile) if not upper or column >= row]
    for row, column in progress_bar(starts, "correlate", len(starts)):
        yield slice(row, min(row + tile, rows)), slice(column, min(column + tile, columns))


def near_copy_sets(count: int, pairs: pd.DataFrame) -> np.ndarray:
    """A label for each of `count` images, (count,): images linked by pairs, directly or through other images, share one.

    Example:
        >>> near_copy_sets(4, pd.DataFrame({"first": [0, 1], "second": [1, 2]})).tolist()  # 0 and 2 are linked through 1
        [0, 0, 0, 1]
    """
    links = coo_array((np.ones(len(pairs), dtype=bool), (pairs["first"], pairs["second"])), shape=(count, count))
    return connected_components(links, directed=False)[1]


def linked_to(among: np.ndarray, pairs: pd.DataFrame) -> np.ndarray:
    """Whether near-duplicates link each image to another one of those in `among`, directly or through other images.

    A search may find the pair of only one of two identical files: the other is linked through it.

    Args:
        among: which images count, bool, (images,).
        pairs: see `near_copy_sets`.

    Returns:
        bool, (images,).

    Example:
        >>> linked_to(np.array([True, False, False, True]), pd.DataFrame({"first": [0, 1], "second": [1, 2]})).tolist()
        [False, True, True, False]
    """
    sets = near_copy_sets(len(among), pairs)
    return np.bincount(sets[among], minlength=len(among))[sets] > among


def one_nearest_neighbour(
    thumbnails: np.ndarray,
    labels: ArrayLike,
    rows: ArrayLike | None = None,
    reference: ArrayLike | None = None,
    groups: ArrayLike | None = None,
) -> np.ndarray:
    """Whether 1-nearest-neighbour predicts each label correctly, bool, (rows,); False for an image without a neighbour.

    The arguments are those of `nearest`; `labels` are the classes, (images,).
    """
    labels = np.asarray(labels)
    neighbour, _ = nearest(thumbnails, rows, reference, groups)
    asked = labels if rows is None else labels[rows]
    return (neighbour >= 0) & (labels[neighbour] == asked)
