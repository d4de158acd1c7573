"""Drawn scans, which stand in for real ones."""

import numpy as np
import pytest

from tumor_mri.datasets import manifests, phantoms


@pytest.mark.parametrize("class_name", manifests.BRAIN_TUMOUR_MRI.classes)
def test_phantoms_are_drawn_the_same_each_time(class_name):
    first = phantoms.draw(class_name, 1)
    assert (first.shape, first.dtype) == ((150, 150), np.uint8)
    assert np.array_equal(first, phantoms.draw(class_name, 1))
    assert not np.array_equal(first, phantoms.draw(class_name, 2))
