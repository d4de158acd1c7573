"""Runs that answer together."""

from dataclasses import replace

import numpy as np
import pytest
import samples

from tumor_mri.evaluation import ensembles, scoring


def test_seeds_answer_together_and_mirrored_scans_beside_scans(residual_run, manifest):
    other = replace(
        residual_run,
        config=replace(samples.TINY_OURS, seed=2),
        val_probabilities=residual_run.val_flipped,
        test_probabilities=residual_run.test_flipped,
    )
    both, flipped = ensembles.together([residual_run, other]), ensembles.with_flips(residual_run)
    assert np.allclose(both.val_probabilities, (residual_run.val_probabilities + residual_run.val_flipped) / 2)
    assert np.allclose(both.test_probabilities, flipped.test_probabilities)
    for one, name in ((both, f"{residual_run.label}, 2 seeds together"), (flipped, f"{residual_run.label}, flips")):
        scoring.check(one, manifest)
        assert one.label == name
        scores = scoring.image_scores([one], manifest)
        right = one.val_probabilities.argmax(axis=1) == scoring.truth(one.val_paths, manifest)
        assert scores["right"].mean() == pytest.approx(right.mean())
    with pytest.raises(ValueError, match="nothing but the seed"):
        ensembles.together([residual_run, replace(residual_run, config=replace(samples.TINY_OURS, fold=1))])
    with pytest.raises(ValueError, match="no recorded predictions for mirrored scans"):
        ensembles.with_flips(replace(residual_run, val_flipped=None))
