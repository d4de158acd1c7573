"""Whether confidence can be trusted: calibration error, temperature, and what abstaining costs."""

import numpy as np
import pandas as pd

from tumor_mri import stats
from tumor_mri.evaluation import scoring


def calibration_errors(scores) -> pd.DataFrame:
    """One row a run of `image_scores`, at its restored epoch: accuracy, confidence (mean) and ece, in percent."""
    rows = []
    for key, found in scores.groupby(["protocol", "network", "seed", "fold"], sort=False):
        figures = found["right_at_best"].mean(), found["confidence"].mean()
        figures += (stats.calibration_error(found["confidence"], found["right_at_best"]),)
        rows.append((*key, *(100 * figure for figure in figures)))
    return pd.DataFrame(rows, columns=["protocol", "network", "seed", "fold", "accuracy", "confidence", "ece"])


def calibrate(runs, manifest) -> tuple:
    """Temperature and threshold, from what runs of one network predicted for images that they did not train on."""
    truth = np.concatenate([scoring.truth(run.val_paths, manifest) for run in runs])
    probabilities = np.concatenate([run.val_probabilities for run in runs])
    temperature = stats.fit_temperature(probabilities, truth)
    calibrated = stats.soften(probabilities, temperature)
    return temperature, stats.choose_threshold(calibrated.max(axis=1), calibrated.argmax(axis=1) == truth)


def answered(probabilities, truth, temperature, abstain_below) -> dict:
    """What a calibrated confidence does to some scans.

    Args:
        probabilities: of a network, not calibrated, (scans, 4).
        truth: class indices, (scans,).
        temperature, abstain_below: as in `Published`, for all scans or for each, (scans,).

    Returns:
        scans (how many); accuracy (of all); answered (share of the scans that it does not abstain from); accuracy_answered (of
        those); ece and ece_calibrated (calibration error before and after the temperature). All but the first are shares of 1.
    """
    calibrated = stats.soften(probabilities, np.broadcast_to(temperature, len(truth))[:, None])
    right, confidence = probabilities.argmax(axis=1) == truth, calibrated.max(axis=1)
    sure = confidence >= abstain_below
    return {
        "scans": len(truth),
        "accuracy": right.mean(),
        "answered": sure.mean(),
        "accuracy_answered": right[sure].mean() if sure.any() else np.nan,
        "ece": stats.calibration_error(probabilities.max(axis=1), right),
        "ece_calibrated": stats.calibration_error(confidence, right),
    }
