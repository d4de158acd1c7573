"""Changes of style: grey levels and texture change, shapes and range do not."""

import numpy as np
import pytest

from tumor_mri.datasets import phantoms
from tumor_mri.models import styles


@pytest.fixture
def scans():
    return np.stack([phantoms.draw(name, seed) for seed, name in enumerate(["glioma_tumor", "no_tumor", "pituitary_tumor"])])


@pytest.mark.parametrize("name", styles.STYLES)
def test_a_style_keeps_size_and_range_and_most_of_the_shapes(scans, name):
    changed = styles.restyle(scans[0], scans[1:], np.random.default_rng(1), [name], share=1.0)
    assert changed.shape == scans[0].shape and changed.dtype == np.float32
    assert changed.min() >= 0 and changed.max() <= 255
    assert not np.allclose(changed, scans[0])
    assert abs(np.corrcoef(changed.ravel(), scans[0].ravel())[0, 1]) > 0.5


def test_a_style_changes_the_share_of_scans_that_it_should(scans):
    generator = np.random.default_rng(0)
    same = [np.array_equal(styles.restyle(scans[0], scans, generator, ["histogram"], 0.3), scans[0]) for _ in range(300)]
    # histogram matching with the scan itself changes nothing either: a third of the 0.3
    assert 0.72 < np.mean(same) < 0.88


def test_without_names_a_scan_stays_as_it_is(scans):
    assert np.array_equal(styles.restyle(scans[0], scans, np.random.default_rng(0), [], 1.0), scans[0])


def test_matched_histograms_are_those_of_the_other_scan(scans):
    class Whole:
        def uniform(self, low, high):
            return 1.0

    changed = styles.histogram(scans[0].astype(np.float32), scans[1].astype(np.float32), Whole())
    assert np.array_equal(np.sort(changed, axis=None), np.sort(scans[1].astype(np.float32), axis=None))
