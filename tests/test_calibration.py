"""Answers that are sure and right."""

import numpy as np
import pytest

from tumor_mri.evaluation import calibration


def test_answered_counts_what_is_sure_and_right():
    odds = np.array([[0.9, 0.1, 0, 0], [0.2, 0.8, 0, 0], [0.4, 0.3, 0.3, 0], [0.1, 0.1, 0.1, 0.7]])
    truth = np.array([0, 1, 0, 0])
    groups = np.arange(4)
    found = calibration.answered(odds, truth, 1.0, 0.75, groups)
    assert [found[name] for name in ("scans", "accuracy", "answered", "accuracy_answered")] == [4, 0.75, 0.5, 1.0]
    assert (found["low"], found["high"]) == pytest.approx((0.1581, 1), abs=1e-4)  # 2 of 2, exact: 0.025 ** (1 / 2)
    assert found["ece"] == pytest.approx(found["ece_calibrated"])
    per_scan = np.array([0.95, 0.75, 0.75, 0.6])
    assert calibration.answered(odds, truth, 1.0, per_scan, groups)["answered"] == 0.5
    softer = calibration.answered(odds, truth, 5.0, 0.75, groups)
    assert softer["answered"] == 0 and np.isnan(softer["accuracy_answered"]) and softer["accuracy"] == 0.75
