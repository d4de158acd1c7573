"""Calibration: does confidence match accuracy? Calibration error, temperature scaling and abstention."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tumor_mri import stats
from tumor_mri.evaluation import scoring


def calibration_errors(scores: pd.DataFrame) -> pd.DataFrame:
    """Calibration of each run at its restored epoch, one row per run, from `scoring.image_scores`.

    Columns: protocol, network, seed, fold; accuracy, confidence (mean) and ece (expected calibration error), in percent.
    """
    rows = []
    for key, found in scores.groupby(["protocol", "network", "seed", "fold"], sort=False):
        figures = found["right_at_best"].mean(), found["confidence"].mean()
        figures += (stats.calibration_error(found["confidence"], found["right_at_best"]),)
        rows.append((*key, *(100 * figure for figure in figures)))
    return pd.DataFrame(rows, columns=["protocol", "network", "seed", "fold", "accuracy", "confidence", "ece"])


def calibrate(runs: Sequence[scoring.Scored], manifest: pd.DataFrame) -> tuple[float, float]:
    """Temperature and abstention threshold, from the predictions of one network's runs for their validation images."""
    truth = np.concatenate([scoring.truth(run.val_paths, manifest) for run in runs])
    probabilities = np.concatenate([run.val_probabilities for run in runs])
    temperature = stats.fit_temperature(probabilities, truth)
    calibrated = stats.soften(probabilities, temperature)
    return temperature, stats.choose_threshold(calibrated.max(axis=1), calibrated.argmax(axis=1) == truth)


def answered(
    probabilities: np.ndarray,
    truth: np.ndarray,
    temperature: float | np.ndarray,
    abstain_below: float | np.ndarray,
    groups: np.ndarray,
) -> dict[str, float]:
    """Accuracy, coverage and calibration of a network that abstains when its calibrated confidence is low.

    Args:
        probabilities: predicted by the network, not calibrated, (scans, 4).
        truth: class indices, (scans,).
        temperature, abstain_below: as in `models.Published`; one number for all scans, or one per scan, (scans,).
        groups: the group of each scan, (scans,).

    Returns:
        scans (how many); accuracy (of all); answered (share of the scans that the network does not abstain from);
        accuracy_answered (of those), low and high (its 95 % interval over groups); ece and ece_calibrated (calibration error
        before and after temperature scaling). All but the first are shares of 1.

    Example:
        >>> probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.55, 0.45]])
        >>> found = answered(probabilities, np.array([0, 1, 1, 1]), 1, 0.7, groups=np.arange(4))
        >>> found["answered"].item(), found["accuracy_answered"].item()
        (0.5, 1.0)
    """
    calibrated = stats.soften(probabilities, np.broadcast_to(temperature, len(truth))[:, None])
    right, confidence = probabilities.argmax(axis=1) == truth, calibrated.max(axis=1)
    sure = confidence >= abstain_below
    low, high = stats.group_interval(right[sure], np.asarray(groups)[sure]) if sure.any() else (np.nan, np.nan)
    return {
        "scans": len(truth),
        "accuracy": right.mean(),
        "answered": sure.mean(),
        "accuracy_answered": right[sure].mean() if sure.any() else np.nan,
        "low": low,
        "high": high,
        "ece": stats.calibration_error(probabilities.max(axis=1), right),
        "ece_calibrated": stats.calibration_error(confidence, right),
    }
