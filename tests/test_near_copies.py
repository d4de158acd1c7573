"""Near-copies and neighbours among thumbnails."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest

from tumor_mri.audit import near_copies


def random_thumbnails(count, seed=0):
    generator = np.random.default_rng(seed)
    pixels = generator.normal(size=(count, near_copies.SIDE, near_copies.SIDE))
    pixels[count // 2 :] = pixels[: count - count // 2] + 0.1 * pixels[count // 2 :]  # copies: each has one, correlation 0.995
    return np.stack([near_copies.standardise(picture) for picture in pixels])


@pytest.mark.parametrize("tile", [1, 7, 30, 64, 1000])
def test_tiles_give_what_the_whole_gives(tile):
    thumbnails = random_thumbnails(60)
    whole = thumbnails @ thumbnails.T
    np.fill_diagonal(whole, -np.inf)
    neighbour, correlation = near_copies.nearest(thumbnails, tile=tile)
    assert np.array_equal(neighbour, whole.argmax(axis=1))
    assert np.allclose(correlation, whole.max(axis=1), atol=1e-6)
    pairs = near_copies.near_copy_pairs(thumbnails, tile=tile)
    assert set(zip(pairs["first"], pairs["second"], strict=True)) == set(
        zip(*np.nonzero(np.triu(whole, 1) > near_copies.NEAR_COPY), strict=True)
    )
    assert len(pairs) == 30


@pytest.mark.parametrize("tile", [5, 100])
def test_rows_reference_and_banned_groups_are_kept(tile):
    thumbnails = random_thumbnails(40)
    rows, reference = np.arange(0, 40, 3), np.arange(10, 40)
    groups = pd.Series(["a", "b", None, "c"] * 10)
    neighbour, correlation = near_copies.nearest(thumbnails, rows, reference, groups, tile)
    for row, found, value in zip(rows, neighbour, correlation, strict=True):
        allowed = [other for other in reference if other != row and (groups[row] is None or groups[other] != groups[row])]
        expected = max(allowed, key=lambda other: thumbnails[row] @ thumbnails[other])
        assert found == expected
        assert value == pytest.approx(thumbnails[row] @ thumbnails[expected], abs=1e-6)


def test_no_neighbour_allowed():
    thumbnails = random_thumbnails(4)
    neighbour, correlation = near_copies.nearest(thumbnails, groups=["a"] * 4)
    assert (neighbour == -1).all()
    assert np.isnan(correlation).all()
    assert not near_copies.one_nearest_neighbour(thumbnails, ["x"] * 4, groups=["a"] * 4).any()
    assert near_copies.one_nearest_neighbour(thumbnails, ["x", "y", "x", "z"]).tolist() == [True, False, True, False]


def test_an_image_of_one_grey_has_no_neighbour_and_is_nobodys():
    thumbnails = np.stack([near_copies.standardise(picture) for picture in np.random.default_rng(0).normal(size=(5, 8, 8))])
    thumbnails[[0, 3]] = 0
    neighbour, correlation = near_copies.nearest(thumbnails, tile=2)
    assert (neighbour == -1).tolist() == np.isnan(correlation).tolist() == [True, False, False, True, False]
    assert not set(neighbour) & {0, 3}
    assert not near_copies.one_nearest_neighbour(thumbnails, ["x"] * 5)[[0, 3]].any()


def most_memory(count, tile):
    """Bytes that finding near-copies and neighbours holds at most, in addition to the thumbnails."""
    thumbnails = np.stack([near_copies.standardise(picture) for picture in np.random.default_rng(0).normal(size=(count, 8, 8))])
    tracemalloc.start()
    try:
        near_copies.near_copy_pairs(thumbnails, tile=tile)
        near_copies.nearest(thumbnails, tile=tile)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_square_of_the_images():
    small, large = most_memory(1000, tile=200), most_memory(4000, tile=200)
    assert large < 3 * small  # tables of results grow with the number
    assert most_memory(4000, tile=4000) > 10 * large  # without tiles it would grow


@pytest.mark.parametrize("correlation, pairs", [(0.989, 0), (0.991, 1), (-0.999, 0)])
def test_the_threshold(correlation, pairs):
    along, across = np.eye(2, near_copies.SIDE**2, dtype=np.float32)
    other = (correlation * along + np.sqrt(1 - correlation**2) * across).astype(np.float32)
    assert len(near_copies.near_copy_pairs(np.stack([along, other]))) == pairs


def test_too_many_pairs_end_in_one_sentence(monkeypatch):
    monkeypatch.setattr(near_copies, "MOST_PAIRS", 29)
    with pytest.raises(near_copies.AuditError, match="more than 29 pairs"):
        near_copies.near_copy_pairs(random_thumbnails(60))


def test_near_copies_are_linked_into_sets():
    pairs = pd.DataFrame({"first": [0, 1], "second": [1, 4]})
    sets = near_copies.near_copy_sets(6, pairs)
    assert sets[0] == sets[1] == sets[4]
    assert len(set(sets)) == 4
    assert len(set(near_copies.near_copy_sets(3, pairs[:0]))) == 3
