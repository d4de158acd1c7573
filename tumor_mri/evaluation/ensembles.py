"""Networks that answer together: a network with the mirrored scan beside the scan, and runs of several seeds.

Each gives a `training.Run` that predicts the mean of probabilities, and is scored like any other.
"""

from dataclasses import replace

import numpy as np

from tumor_mri.evaluation import scoring
from tumor_mri.runs import configs


def with_flips(run: configs.Run, manifest) -> configs.Run:
    """A run whose probabilities are the mean of those for each scan and for the scan mirrored left to right.

    Raises:
        ValueError: where the run did not record mirrored scans.
    """
    if run.val_flipped is None:
        raise ValueError(f"{run.config.key} has not recorded what it says of mirrored scans")
    validation = (run.val_probabilities + run.val_flipped) / 2
    testing = (run.test_probabilities + run.test_flipped) / 2
    return _answering(run, f"{run.config.network}, flips", validation, testing, manifest)


def together(runs, manifest) -> configs.Run:
    """Runs of several seeds as one, whose probabilities are their mean.

    Args:
        runs: of one network, recipe, protocol and fold.
        manifest: table of the images.

    Raises:
        ValueError: where they differ in more than the seed.
    """
    if len({replace(run.config, seed=1) for run in runs}) > 1:
        raise ValueError("only runs that differ in nothing but the seed answer together")
    validation = np.mean([run.val_probabilities for run in runs], axis=0)
    testing = np.mean([run.test_probabilities for run in runs], axis=0)
    return _answering(runs[0], f"{runs[0].config.network}, {len(runs)} seeds together", validation, testing, manifest)


def _answering(run, name, validation, testing, manifest):
    """The run that gives these probabilities; nothing of it was trained, so that it has one epoch."""
    classes = validation.argmax(axis=1).astype(np.uint8)
    accuracy = float((classes == scoring.truth(run.val_paths, manifest)).mean())
    return replace(
        run,
        config=replace(run.config, network=name),
        history={name: [values[-1]] for name, values in run.history.items()} | {"val_accuracy": [accuracy]},
        val_classes=classes[None],
        val_probabilities=validation,
        test_probabilities=testing,
        val_flipped=None,
        test_flipped=None,
    )
