"""Why the gap: the parts of Testing, scores on them, random draws, the swap of foreign gliomas, and the verdict on C9."""

from dataclasses import replace

import numpy as np
import pytest

from tumor_mri import figures
from tumor_mri.datasets import protocols
from tumor_mri.evaluation import scoring
from tumor_mri.study import gap


def guess(run, manifest, right):
    """A run whose probabilities on Testing are all right, or all wrong."""
    labels = scoring.truth(run.test_paths, manifest)
    return replace(run, test_probabilities=np.eye(4, dtype=np.float32)[labels if right else (labels + 1) % 4])


def test_errors_on_the_parts_are_all_errors(runs, manifest):
    scores = gap.testing_scores(runs, manifest)
    parts = scores[scores["part"] != "unseen"]
    for run, errors in zip(runs, parts.groupby(np.arange(len(parts)) // 3)["errors"].sum(), strict=True):
        assert errors == (run.test_probabilities.argmax(axis=1) != scoring.truth(run.test_paths, manifest)).sum()


def test_a_run_that_trained_on_testing_is_not_scored_on_it(base, manifest):
    leaked = replace(base["training_only"], train_paths=base["training_only"].test_paths)
    with pytest.raises(scoring.EvaluationError, match="trained on 273"):
        gap.testing_scores([leaked], manifest)


def added(control, manifest, fold, right):
    """A run of foreign_added beside a run on split B, all right or all wrong on Testing."""
    config = replace(control.config, protocol="foreign_added", fold=fold)
    train = manifest["path"].iloc[protocols.foreign_added(manifest, fold).train]
    return guess(replace(control, config=config, train_paths=list(train)), manifest, right)


def test_foreign_scores_leave_out_the_half_that_trained(base, manifest):
    control = base["training_only"]
    swapped = added(control, manifest, 1, right=True)
    scores = gap.foreign_scores([control, swapped], manifest)
    assert set(scores["half"]) == {0}  # split B's run on half 1 has no partner
    assert sorted(set(scores["path"])) == sorted(manifest["path"].iloc[protocols.foreign_halves(manifest)[0]])
    recall = gap.foreign_recall(scores)
    assert recall[["half", "images", "with"]].to_numpy().tolist() == [[0, 38, 1]]
    mislabelled = replace(swapped, config=replace(swapped.config, fold=0))  # says that it trained on the other half
    with pytest.raises(scoring.EvaluationError, match="train_paths are not the images of its protocol"):
        gap.foreign_scores([control, mislabelled], manifest)
    with pytest.raises(scoring.EvaluationError, match="trained on 39"):
        scoring.testing_right(swapped, manifest["path"].iloc[protocols.foreign_halves(manifest)[1]], manifest)
    assert "foreign_added-fold1" in swapped.config.key


@pytest.mark.parametrize(("before", "after", "points"), [(False, True, 100), (True, False, -100), (True, True, 0)])
def test_the_effect_of_foreign_gliomas_is_that_of_the_pairs(base, manifest, before, after, points, capsys):
    control = guess(base["training_only"], manifest, before)
    unpaired = replace(guess(control, manifest, not before), config=replace(control.config, seed=9))
    runs = [control, unpaired, *(added(control, manifest, fold, after) for fold in (0, 1))]
    scores = gap.foreign_scores(runs, manifest)
    effect = gap.foreign_effect(scores)
    assert effect == {"without": before, "with": after, "points": points, "low": points, "high": points, "pairs": 2}
    figures.foreign_gliomas_added(scores)
    assert f"it rises in {2 if points > 0 else 0} of 2 pairs" in capsys.readouterr().out


def test_the_effect_of_foreign_gliomas_needs_a_pair(base, manifest):
    other_seed = replace(base["training_only"], config=replace(base["training_only"].config, seed=9))
    scores = gap.foreign_scores([base["training_only"], added(other_seed, manifest, 0, right=True)], manifest)
    with pytest.raises(scoring.EvaluationError, match="no run of foreign_added"):
        gap.foreign_effect(scores)


def test_pairs_of_runs_are_of_one_backend(base, manifest):
    control = base["training_only"]
    swapped = added(control, manifest, 0, right=True)
    elsewhere = replace(swapped, environment=swapped.environment | {"backend": "another"})
    with pytest.raises(scoring.EvaluationError, match="mix backends"):
        gap.foreign_scores([control, elsewhere], manifest)


def test_draws_scatter_more_when_they_are_smaller(base, manifest):
    large, small = (gap.draw_accuracies(base["training_only"], manifest, size) for size in (394, 100))
    accuracy = max(base["training_only"].history["val_accuracy"])
    assert abs(large.mean() - accuracy) < 0.002
    assert np.isclose(large.std(), np.sqrt(accuracy * (1 - accuracy) / 394), rtol=0.1)
    assert small.std() > 1.7 * large.std()
    assert np.array_equal(small, gap.draw_accuracies(base["training_only"], manifest, 100))


def test_a_shuffled_label_changes_the_parts_scores(base, manifest):
    right = guess(base["training_only"], manifest, right=True)
    assert gap.testing_scores([right], manifest)["errors"].sum() == 0
    wrong = replace(right, test_probabilities=right.test_probabilities[::-1])
    assert gap.testing_scores([wrong], manifest)["errors"].sum() > 0
