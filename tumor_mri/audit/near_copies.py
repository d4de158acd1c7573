"""Near-duplicates: pairs of images whose thumbnails correlate, and the nearest neighbour of each image.

Memory: 4 KiB per thumbnail, and one tile of correlations, whatever the number of images. Time: correlations grow with the
square of the number of images; ``performance/audit_cost.json`` has both as measured.
"""

import sys

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from tqdm.auto import tqdm

from tumor_mri import text

SIDE = 32  # pixels of a thumbnail
NEAR_COPY = 0.99  # correlation of thumbnails above which two images are near-copies
CONSTANT = 0.01  # grey levels; the norm of a centred thumbnail below which there is nothing to correlate
TILE = 2048  # images a side of the square of correlations held at one time
MOST_PAIRS = 10_000_000  # of near-copies held; a folder with more is copies throughout


class AuditError(text.ProjectError):
    """A folder that cannot be audited; the text says what was found and what was expected."""


def standardise(pixels: np.ndarray) -> np.ndarray:
    """A thumbnail as a vector of mean 0 and norm 1, float32, so that a product of two is their correlation.

    A constant image becomes all zeros: it correlates with none, not even itself.
    """
    centred = pixels.astype(float).ravel()
    centred -= centred.mean()
    norm = np.linalg.norm(centred)
    return (centred / norm if norm > CONSTANT else np.zeros_like(centred)).astype(np.float32)


def progress_bar(iterable, text, total):
    in_notebook = "ipykernel" in sys.modules  # its outputs are stored, and a bar is none
    return tqdm(iterable, desc=text, total=total, leave=False, disable=in_notebook or None)  # None: shown on a terminal only


def nearest(thumbnails, rows=None, reference=None, groups=None, tile=TILE, decimals=None) -> tuple:
    """The most alike other image of each row, tile by tile.

    Args:
        thumbnails: float32, (images, pixels), as `standardise` makes them.
        rows: numbers of the images asked about; None for all.
        reference: numbers of the images looked among; None for all.
        groups: a label an image, (images,): neighbours with the same label are banned; missing ones ban nothing.
        tile: images a side of the correlations held at one time.
        decimals: to which correlations are rounded before they are compared; with float64 thumbnails, copies of one image are
            then equally alike on any processor, and the first of them is the neighbour. None: as they are.

    Returns:
        Number of the neighbour, int64, and its correlation, of the thumbnails' type, both (rows,); -1 and NaN where no neighbour
        is allowed. Images of one grey have none, and are nobody's.
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


def near_copy_pairs(thumbnails, threshold=NEAR_COPY, tile=TILE) -> pd.DataFrame:
    """All pairs of images whose thumbnails correlate above a threshold, tile by tile: first < second, correlation.

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
            raise AuditError(f"more than {MOST_PAIRS:,} pairs of near-copies: remove byte-identical files first")
    return pd.concat(found, ignore_index=True)


def _tiles(rows, columns, tile, upper=False):
    """Pairs of slices that cover a (rows, columns) matrix, with a bar; its upper triangle only where asked."""
    starts = [(row, column) for row in range(0, rows, tile) for column in range(0, columns, tile) if not upper or column >= row]
    for row, column in progress_bar(starts, "correlate", len(starts)):
        yield slice(row, min(row + tile, rows)), slice(column, min(column + tile, columns))


def near_copy_sets(count: int, pairs: pd.DataFrame) -> np.ndarray:
    """A label for each of `count` images, (count,): images linked by near-copies, over others too, share one."""
    links = coo_array((np.ones(len(pairs), dtype=bool), (pairs["first"], pairs["second"])), shape=(count, count))
    return connected_components(links, directed=False)[1]


def one_nearest_neighbour(thumbnails, labels, rows=None, reference=None, groups=None) -> np.ndarray:
    """Whether the nearest image (as `nearest` finds it) has the true label, bool, (rows,); False where there is none."""
    labels = np.asarray(labels)
    neighbour, _ = nearest(thumbnails, rows, reference, groups)
    asked = labels if rows is None else labels[rows]
    return (neighbour >= 0) & (labels[neighbour] == asked)
