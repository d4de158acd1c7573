"""Figures of scores."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import samples

from tumor_mri import figures
from tumor_mri.datasets import protocols
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
    base = scores[(scores["protocol"] == "training_only") & (scores["network"] == samples.BASE)]
    (low, high), mean = comparisons.over_groups(base), scoring.per_image(base)["right"].mean()
    score_figures.honest_accuracies(base)
    assert f"split B · {samples.BASE} {100 * mean:.1f} ({100 * low:.1f} to {100 * high:.1f})" in capsys.readouterr().out
    assert "split A" in said[0] and all(len(sentence) <= 300 for sentence in said[:3] + said[4:6])


def test_the_two_kinds_of_interval_do_not_look_alike(scores, monkeypatch):
    drawn = []
    monkeypatch.setattr(score_figures, "_draw_row", lambda *row: drawn.append(row[-1]))
    legend = [text.get_text() for text in score_figures.network_differences(scores).legends[0].get_texts()]
    kinds = set(comparisons.network_differences(scores)["over"])
    assert set(drawn) == kinds and {label.split()[-1] for label in legend} == kinds


def test_a_class_of_few_groups_gets_a_count_and_no_interval(split_b, manifest, capsys):
    unseen = scoring.unseen_scores([split_b], manifest)
    few = unseen[unseen["group"].isin(unseen.loc[unseen["class"] == "glioma", "group"].unique()[:19])]
    few = few[few["class"] == "glioma"]
    score_figures.class_recalls(few)
    assert f"glioma, split B {few['right'].sum():.1f} of {len(few)} images" in capsys.readouterr().out
    score_figures.class_recalls(unseen[unseen["class"] == "glioma"])
    assert " images" not in capsys.readouterr().out


def test_a_row_of_too_few_pairs_is_not_drawn_and_is_counted(scores, capsys):
    pairs = comparisons.mcnemar_pairs(scores)
    alone = pairs.iloc[:1].assign(protocol="grouped")
    figure = score_figures.mcnemar_pairs(pd.concat([pairs, alone, pairs, pairs]))
    assert not any("grouped" in label.get_text() for label in figure.axes[0].get_yticklabels())
    assert "not drawn: 1 pair of too small a row" in capsys.readouterr().out


def test_a_sentence_counts_what_does_not_fit():
    assert score_figures._in_short("A", ["b", "c"]) == "A: b; c."
    assert score_figures._in_short("A", ["b", "c" * 20, "d" * 20], most=20) == "A: b; and 2 more."


def test_figures_take_a_single_run(split_b, manifest):
    one = scoring.image_scores([split_b], manifest)
    score_figures.honest_accuracies(one)
    score_figures.flattery(one)
    score_figures.class_recalls(one)
    score_figures.reliability({"one": one})


def test_bins_with_few_answers_are_faint_and_left_out_of_the_line():
    confidence = np.concatenate([np.full(19, 0.5), np.full(30, 0.77), np.full(30, 0.97)])
    scores = pd.DataFrame({"protocol": "grouped", "seed": 1, "confidence": confidence, "right_at_best": np.arange(79) % 2 == 0})
    axis, *empty = score_figures.reliability({"few": scores}).axes
    assert not empty and len(axis.lines[1].get_xdata()) == 2
    assert list(axis.collections[0].get_alpha()) == [0.25, 1, 1]
    assert "(noise " in axis.get_title()
    two = pd.concat([scores, scores.assign(seed=2)])  # 38 answers of two trainings are still few
    assert len(score_figures.reliability({"few": two}).axes[0].lines[1].get_xdata()) == 2


def test_what_foreign_gliomas_are_taken_for_is_counted_over_runs(split_b, manifest, capsys):
    foreign = protocols.testing_parts(manifest)["foreign gliomas"]
    asked = np.isin(split_b.test_paths, manifest["path"].iloc[foreign])
    classes = np.where(asked, 2, 0)  # no tumour, but for one of two runs
    first, second = (
        replace(split_b, test_probabilities=np.eye(4, dtype=np.float32)[answers]) for answers in (classes, np.where(asked, 1, 0))
    )
    figure = score_figures.foreign_answers([first, second, second, second], manifest)
    said = capsys.readouterr().out
    assert f"The {len(foreign)} foreign gliomas are taken for: meningioma 75 %, no tumour 25 %, glioma 0 %" in said
    assert "143 meningioma, 395 no tumour, 0 glioma, 15 pituitary" in said  # all gliomas of Training are Cheng slices
    assert [bar.get_width() for bar in figure.axes[0].patches] == [0, 75, 25, 0]
    trained = replace(split_b, train_paths=[*split_b.train_paths, manifest["path"].iloc[foreign[0]]])
    with pytest.raises(scoring.EvaluationError, match="trained on 1 of the images"):
        score_figures.foreign_answers([trained], manifest)
