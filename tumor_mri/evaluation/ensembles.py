"""Ensembles: one run averaged over a scan and its mirror image (test-time augmentation), or runs of several seeds averaged.

Each is a `configs.Prediction`: the mean of the members' probabilities.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tumor_mri.runs.configs import Prediction, Run


def with_flips(run: Run) -> Prediction:
    """Test-time augmentation: the mean of a run's probabilities for each scan and for the scan mirrored left to right.

    Raises:
        ValueError: if the run did not record mirrored scans.
    """
    if run.val_flipped is None or run.test_flipped is None:
        raise ValueError(f"{run.config.key} has no recorded predictions for mirrored scans")
    validation = (run.val_probabilities + run.val_flipped) / 2
    testing = (run.test_probabilities + run.test_flipped) / 2
    return Prediction((run,), "flips", validation, testing)


def together(runs: Sequence[Run | Prediction]) -> Prediction:
    """An ensemble of several seeds: the mean of the runs' probabilities.

    Args:
        runs: runs, or predictions of `with_flips`, of one network, recipe, protocol and fold.

    Raises:
        ValueError: if they differ in more than the seed.

    Example:
        >>> from tumor_mri.runs import configs, records
        >>> seeds = [configs.config_of("residual", "grouped", fold=1, seed=seed) for seed in (1, 2)]
        >>> together([records.find(config, [records.RECORDED]) for config in seeds]).label
        'residual, 2 seeds together'
    """
    ways = {run.how for run in runs if isinstance(run, Prediction)}
    if len({replace(run.config, seed=1) for run in runs}) > 1 or len({run.label for run in runs}) > 1:
        raise ValueError("an ensemble needs runs that differ in nothing but the seed")
    members = tuple(member for run in runs for member in getattr(run, "members", (run,)))
    how = ", ".join([*ways, f"{len(runs)} seeds together"])
    validation = np.mean([run.val_probabilities for run in runs], axis=0)
    testing = np.mean([run.test_probabilities for run in runs], axis=0)
    return Prediction(members, how, validation, testing)
