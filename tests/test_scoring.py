"""Metrics against scikit-learn; records that lie are found out."""

from dataclasses import replace

import numpy as np
import pytest
import samples
from sklearn import metrics

from tumor_mri.datasets import manifests
from tumor_mri.evaluation import benchmark, scoring
from tumor_mri.runs import configs
from tumor_mri.study import catalogue


def test_a_network_trained_longer_has_a_name_of_its_own_and_answers_with_no_other(residual_run, manifest):
    longer = replace(residual_run, config=replace(samples.OURS, epochs=120))
    assert longer.label == "residual, 120 epochs"
    whole = replace(residual_run, config=samples.OURS)
    assert len(benchmark.combined([whole])) == 1 and benchmark.combined([longer]) == []


def test_every_recorded_run_is_what_it_says(every_run, manifest):
    published = [run for run in every_run if "precision" not in run.config.unusual_settings()]
    control = [run for run in every_run if "precision" in run.config.unusual_settings()]
    assert len(published) > 80 and len(control) > 80
    assert {run.config for run in control} >= {
        one for one in catalogue.configs_of("precision") if "precision" in one.unusual_settings()
    }
    scoring.check_comparable(published, manifest)
    scoring.check_comparable(control, manifest)
    assert {run.environment["dataset"] for run in every_run} == {manifests.fingerprint(manifest)}
    longer = catalogue.configs_of("twice-as-long")
    for run in every_run:
        usual = configs.usual_settings(run.config.network, run.config.recipe)["epochs"]
        assert run.config.train_images is None and run.config.epochs == (120 if run.config in longer else usual)


def test_a_permuted_label_is_found(every_run, manifest):
    wrong = manifest.copy()
    split_b = next(run for run in every_run if run.config.protocol == "training_only")
    glioma, pituitary = (
        wrong.index[wrong["path"].isin(split_b.val_paths) & (wrong["class"] == c)][0]
        for c in (manifests.BRAIN_TUMOUR_MRI.classes[0], manifests.BRAIN_TUMOUR_MRI.classes[3])
    )
    wrong.loc[[glioma, pituitary], "class"] = [manifests.BRAIN_TUMOUR_MRI.classes[3], manifests.BRAIN_TUMOUR_MRI.classes[0]]
    with pytest.raises(scoring.EvaluationError):
        for run in every_run:
            scoring.check(run, wrong)


def test_a_missing_row_is_found(every_run, manifest):
    run = every_run[0]
    with pytest.raises(scoring.EvaluationError, match="not the images of its protocol"):
        scoring.check(replace(run, val_paths=run.val_paths[1:], val_classes=run.val_classes[:, 1:]), manifest)
    with pytest.raises(scoring.EvaluationError, match="shape"):
        scoring.check(replace(run, test_probabilities=run.test_probabilities[1:]), manifest)


def test_changed_predictions_are_found(every_run, manifest):
    run = every_run[0]
    changed = (run.val_classes + 1) % 4
    with pytest.raises(scoring.EvaluationError, match="not those of its predictions"):
        scoring.check(replace(run, val_classes=changed), manifest)


def test_shuffled_probabilities_are_found(every_run, manifest):
    run = every_run[0]
    with pytest.raises(scoring.EvaluationError, match="not those of its best epoch"):
        scoring.check(replace(run, val_probabilities=run.val_probabilities[::-1]), manifest)


def test_mixed_precisions_are_not_compared(every_run, manifest):
    rough, exact = (
        next(run for run in every_run if run.config == configs.config_of("cnn", "training_only", precision=precision))
        for precision in ("mixed_bfloat16", "float32")
    )
    with pytest.raises(scoring.EvaluationError, match="precisions"):
        scoring.check_comparable([rough, exact], manifest)


def test_the_classification_table_is_scikit_learns(every_run, manifest):
    run = every_run[0]
    truth, predicted = scoring.truth(run.val_paths, manifest), run.val_probabilities.argmax(axis=1)
    table = scoring.classification_table(scoring.confusion(run, manifest))
    assert np.allclose(table["recall"][:4], metrics.recall_score(truth, predicted, average=None))
    assert np.isclose(table.loc["macro avg", "f1-score"], metrics.f1_score(truth, predicted, average="macro"))


def test_tumours_that_are_missed_are_counted(manifest):
    run = next(run for run in catalogue.recorded("honest-evaluation") if run.config.protocol == "training_only")
    truth = scoring.truth(run.val_paths, manifest)
    none = manifests.BRAIN_TUMOUR_MRI.classes.index("no_tumor")
    tumours, others = np.flatnonzero(truth != none), np.flatnonzero(truth == none)
    named = truth.astype(np.uint8)
    named[tumours[:10]], named[others[:4]] = none, 0
    told = replace(
        run,
        config=replace(run.config, patience=None),
        history={"val_accuracy": [float((named == truth).mean())]},
        val_classes=named[None],
        val_probabilities=np.eye(4)[named],
    )
    row = scoring.missed_tumours([told], manifest).iloc[0]
    assert row["tumours"] == len(tumours)
    assert row["missed"] == pytest.approx(10 / len(tumours)) and row["alarms"] == pytest.approx(4 / len(others))
    assert row["low"] < row["missed"] < row["high"] and row["alarms_low"] < row["alarms"] < row["alarms_high"]
    some = scoring.missed_tumours([told], manifest, [run.val_paths[row] for row in tumours[:20]]).iloc[0]
    assert some["missed"] == 0.5 and some[["alarms", "alarms_low", "alarms_high"]].isna().all()
