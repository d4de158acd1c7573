"""Metrics against scikit-learn and the report's own matrix; records that lie are found out."""

import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics

from tumor_mri.datasets import manifests
from tumor_mri.evaluation import scoring
from tumor_mri.runs import records
from tumor_mri.study import catalogue, claims


@pytest.fixture(scope="module")
def runs():
    return records.load_all(records.RECORDED)


def test_every_recorded_run_is_what_it_says(runs, manifest):
    published = [run for run in runs if run.config.precision == "mixed_bfloat16"]
    control = [run for run in runs if run.config.precision == "float32"]
    assert len(published) > len(control) == 5
    scoring.check_comparable(published, manifest)
    scoring.check_comparable(control, manifest)
    assert {run.environment["dataset"] for run in runs} == {manifests.fingerprint(manifest)}
    longer = catalogue.configs_of("twice-as-long")
    assert all(run.config.train_images is None and run.config.epochs == (120 if run.config in longer else 60) for run in runs)


def test_every_study_is_recorded():
    for name, configs in catalogue.STUDIES.items():
        for config in configs:
            assert records.path_of(config, records.RECORDED).is_file(), f"{name} lacks {config.key}"


def test_records_are_small_and_load_fast_without_tensorflow():
    assert sum(path.stat().st_size for path in records.RECORDED.glob("*")) < 10e6
    started = time.perf_counter()
    records.load_all(records.RECORDED)
    assert time.perf_counter() - started < 1
    code = (
        "import sys; from tumor_mri.runs import records; records.load_all(records.RECORDED); print('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_a_permuted_label_is_found(runs, manifest):
    wrong = manifest.copy()
    split_b = next(run for run in runs if run.config.protocol == "training_only")
    glioma, pituitary = (
        wrong.index[wrong["path"].isin(split_b.val_paths) & (wrong["class"] == c)][0]
        for c in (manifests.CLASSES[0], manifests.CLASSES[3])
    )
    wrong.loc[[glioma, pituitary], "class"] = [manifests.CLASSES[3], manifests.CLASSES[0]]
    with pytest.raises(scoring.EvaluationError):
        for run in runs:
            scoring.check(run, wrong)


def test_a_missing_row_is_found(runs, manifest):
    run = runs[0]
    with pytest.raises(scoring.EvaluationError, match="not the images of its protocol"):
        scoring.check(replace(run, val_paths=run.val_paths[1:], val_classes=run.val_classes[:, 1:]), manifest)
    with pytest.raises(scoring.EvaluationError, match="shape"):
        scoring.check(replace(run, test_probabilities=run.test_probabilities[1:]), manifest)


def test_changed_predictions_are_found(runs, manifest):
    run = runs[0]
    changed = (run.val_classes + 1) % 4
    with pytest.raises(scoring.EvaluationError, match="not those of its predictions"):
        scoring.check(replace(run, val_classes=changed), manifest)


def test_shuffled_probabilities_are_found(runs, manifest):
    run = runs[0]
    with pytest.raises(scoring.EvaluationError, match="not those of its best epoch"):
        scoring.check(replace(run, val_probabilities=run.val_probabilities[::-1]), manifest)


def test_mixed_precisions_are_not_compared(runs, manifest):
    mixed = replace(runs[0], config=replace(runs[0].config, precision="float32"))
    with pytest.raises(scoring.EvaluationError, match="precisions"):
        scoring.check_comparable([runs[0], mixed], manifest)


def test_the_classification_table_is_scikit_learns(runs, manifest):
    run = runs[0]
    truth, predicted = scoring.truth(run.val_paths, manifest), run.val_probabilities.argmax(axis=1)
    table = scoring.classification_table(scoring.confusion(run, manifest))
    assert np.allclose(table["recall"][:4], metrics.recall_score(truth, predicted, average=None))
    assert np.isclose(table.loc["macro avg", "f1-score"], metrics.f1_score(truth, predicted, average="macro"))


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="unknown study"):
        catalogue.configs_of("everything")
    with pytest.raises(ValueError, match="C9"):
        claims.claim("C9", None)


def test_tumours_that_are_missed_are_counted(manifest):
    run = next(run for run in catalogue.recorded("honest-evaluation") if run.config.protocol == "training_only")
    truth = scoring.truth(run.val_paths, manifest)
    none = manifests.CLASSES.index("no_tumor")
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
