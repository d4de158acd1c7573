"""Figures of scores."""

from dataclasses import replace

import samples

from tumor_mri import figures
from tumor_mri.evaluation import comparisons, scoring
from tumor_mri.figures import curves
from tumor_mri.figures import scores as score_figures
from tumor_mri.study import claims, gap


def test_figures_take_any_number_of_seeds(runs, manifest, capsys):
    first = [run for run in runs if run.config.seed == 1]
    more = [replace(run, config=replace(run.config, seed=seed)) for run in first for seed in (1, 2, 3)]
    scores = gap.testing_scores(more, manifest)
    figures.errors_by_part(scores)
    figures.accuracy_by_part(scores)
    on_b = [run for run in more if run.config.protocol == "training_only"]
    pairs = claims.testing_pairs(more, manifest)
    assert len(pairs) == 3 * len(claims.testing_pairs(first, manifest))
    figures.draws_beside_testing(gap.draw_ranges(on_b, manifest), pairs)
    assert capsys.readouterr().out.count("\n") == 3


def test_figures_say_what_they_draw(runs, scores, manifest, capsys):
    on_b = [run for run in runs if run.config.protocol == "training_only"]
    unseen = scoring.unseen_scores(on_b, manifest)
    score_figures.honest_accuracies(scores)
    score_figures.network_differences(scores)
    score_figures.mcnemar_pairs(comparisons.mcnemar_pairs(scores))
    curves.stopping_epochs(scoring.summarise(runs, manifest))
    score_figures.flattery(scores)
    score_figures.class_recalls(unseen)
    score_figures.reliability({"unseen": unseen})
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 7
    mean, low, high, _ = comparisons.mean_and_interval(
        scores[(scores["protocol"] == "training_only") & (scores["network"] == samples.BASE)]
    )
    assert f"split B · {samples.BASE} {100 * mean:.1f} ({100 * low:.1f} to {100 * high:.1f}) over seeds" in said[0]


def test_figures_take_a_single_run(split_b, manifest):
    one = scoring.image_scores([split_b], manifest)
    score_figures.honest_accuracies(one)
    score_figures.flattery(one)
    score_figures.class_recalls(one)
    score_figures.reliability({"one": one})
