"""Scans made worse, in the ways and by the strengths that are named."""

import numpy as np
import pytest

from tumor_mri.evaluation import corruptions

SCAN = np.kron(np.random.default_rng(0).integers(40, 216, (12, 16)), np.ones((10, 10))).astype(np.uint8)  # patches


@pytest.mark.parametrize("kind", corruptions.CORRUPTIONS)
def test_the_stronger_the_worse(kind):
    corrupted = [corruptions.corrupt(SCAN, kind, strength) for strength in corruptions.STRENGTHS[kind]]
    assert all(one.shape == SCAN.shape and one.dtype == np.uint8 for one in corrupted)
    far = [np.abs(one.astype(float) - SCAN).mean() for one in corrupted]
    assert 0 < far[0] < far[1] < far[2]


def test_every_network_sees_the_same_corrupted_scan():
    first, again, other = (corruptions.corrupt(SCAN, "noise", 25, path) for path in ("a.jpg", "a.jpg", "b.jpg"))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert (first.astype(float) - SCAN).std() == pytest.approx(25, rel=0.1)


def test_kinds_do_what_they_say():
    assert np.ptp(corruptions.corrupt(SCAN, "contrast", 0.5)) == pytest.approx(np.ptp(SCAN) / 2, abs=2)
    step = np.repeat([[0, 255]], 100, axis=1).repeat(200, axis=0).astype(np.uint8)
    assert np.flatnonzero(np.diff(corruptions.corrupt(step, "blur", 1.0)[100].astype(int)) > 10).size == pytest.approx(8, abs=4)
    turned = corruptions.corrupt(np.full((101, 101), 200, dtype=np.uint8), "rotation", 30)
    assert turned[0, 0] == 0 and turned[50, 50] == 200


def test_unknown_kinds_are_named():
    with pytest.raises(ValueError, match="choose one of noise, blur"):
        corruptions.corrupt(SCAN, "rain", 1)
