"""Ensembles: a network with the mirrored scan beside the scan (test-time augmentation), and runs of several seeds together.

Each gives a `configs.Prediction`: the mean of the members' probabilities.
"""

from dataclasses import replace

import numpy as np

from tumor_mri.runs.configs import Prediction, Run


def with_flips(run: Run) -> Prediction:
    """The mean of a run's probabilities for each scan and for the scan mirrored left to right.

    Raises:
        ValueError: if the run did not record mirrored scans.
    """
    if run.val_flipped is None or run.test_flipped is None:
        raise ValueError(f"{run.config.key} has no recorded predictions for mirrored scans")
    validation = (run.val_probabilities + run.val_flipped) / 2
    testing = (run.test_probabilities + run.test_flipped) / 2
    return Prediction((run,), "flips", validation, testing)


def together(runs) -> Prediction:
    """The mean probabilities of runs of several seeds.

    Args:
        runs: runs, or predictions with flips, of one network, recipe, protocol and fold.

    Raises:
        ValueError: if they differ in more than the seed.
    """
    ways = {run.how for run in runs if isinstance(run, Prediction)}
    if len({replace(run.config, seed=1) for run in runs}) > 1 or len({run.label for run in runs}) > 1:
        raise ValueError("only runs that differ in nothing but the seed answer together")
    members = tuple(member for run in runs for member in getattr(run, "members", (run,)))
    how = ", ".join([*ways, f"{len(runs)} seeds together"])
    validation = np.mean([run.val_probabilities for run in runs], axis=0)
    testing = np.mean([run.test_probabilities for run in runs], axis=0)
    return Prediction(members, how, validation, testing)
