"""Predictions from any tool: what is checked, what is scored, and the commands `score` and `folds`."""

import numpy as np
import pandas as pd
import pytest

from tumor_mri import __main__ as cli
from tumor_mri.datasets import manifests, protocols
from tumor_mri.evaluation import benchmark, scoring, submissions
from tumor_mri.runs import configs, records

CLASSES = list(manifests.BRAIN_TUMOUR_MRI.classes)


def as_table(runs, testing=True):
    """The predictions of runs as another tool would write them."""
    parts = []
    for run in runs:
        asked = [(run.val_paths, run.val_probabilities)]
        if testing and run.config.protocol != "testing_folder":
            asked.append((run.test_paths, run.test_probabilities))
        for paths, values in asked:
            rows = pd.DataFrame(np.asarray(values, dtype=float), columns=CLASSES).assign(path=list(paths))
            parts.append(rows.assign(protocol=run.config.protocol, fold=run.config.fold, seed=run.config.seed))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def runs():
    """One seed of the residual network, all folds."""
    wanted = [configs.config_of("residual", "grouped", fold=fold) for fold in range(5)]
    return [records.find(config, [records.RECORDED]) for config in wanted]


@pytest.fixture(scope="module")
def whole(runs):
    return as_table(runs)


@pytest.fixture
def write(tmp_path):
    def written(table):
        table.to_csv(tmp_path / "mine.csv", index=False)
        return tmp_path / "mine.csv"

    return written


def test_a_table_scores_exactly_as_the_runs_it_came_from(runs, whole, write, manifest):
    found = submissions.read(write(whole.sample(frac=1, random_state=0)), "mine", manifest)
    ours, theirs = benchmark.score(runs, manifest).iloc[0], benchmark.score(found, manifest).iloc[0]
    for column in benchmark.columns(manifest):
        if column == "network":
            assert (ours[column], theirs[column]) == ("residual", "mine")
        elif column != "protocol" and not pd.isna(ours[column]):
            assert theirs[column] == pytest.approx(ours[column], abs=1e-6), column


def test_without_testing_the_unseen_columns_are_empty(runs, write, manifest):
    found = submissions.read(write(as_table(runs, testing=False)), "mine", manifest)
    row = benchmark.score(found, manifest).iloc[0]
    assert row["accuracy"] > 0.85 and np.isnan(row["unseen_recall"]) and np.isnan(row["unseen_glioma"])


def test_protocol_and_seed_may_be_left_out(runs, whole, write, manifest):
    path = write(whole.drop(columns=["protocol", "seed"]))
    assert {one.config.seed for one in submissions.read(path, "mine", manifest, "grouped")} == {1}
    with pytest.raises(scoring.EvaluationError, match="no column protocol: name one, testing_folder, "):
        submissions.read(path, "mine", manifest)


def change(table, column, value, row=0):
    changed = table.copy()
    changed[column] = changed[column].astype(object)
    changed.loc[row, column] = value
    return changed


FAULTS = {
    "a column is missing": (lambda t: t.drop(columns="no_tumor"), "lacks the columns no_tumor: it has "),
    "an unknown path": (lambda t: change(t, "path", "Training/x.jpg"), r"1 image is not in the manifest \(Training/x.jpg\)"),
    "a row twice": (lambda t: pd.concat([t, t.head(2)]), "2 images are there twice"),
    "a row too few": (lambda t: t.drop(index=3), r"fold 0, 1 image is missing .*: 574 images validate there"),
    "a wrong fold": (lambda t: t.assign(fold=(t["fold"] + 1) % 5), "fold 0, .* missing"),
    "no such fold": (lambda t: t.assign(fold=t["fold"] + 1), "missing|fold 5 does not exist"),
    "a fold that is no number": (lambda t: change(t, "fold", "first"), "column fold must contain whole numbers"),
    "logits": (lambda t: change(t, "no_tumor", 7.5), "1 of .* rows are not probabilities .* apply a softmax first"),
    "no number": (lambda t: change(t, "no_tumor", "high"), "1 of .* rows are not probabilities"),
    "nothing": (lambda t: change(t, "no_tumor", None), "1 of .* rows are not probabilities"),
    "Testing for some folds": (
        lambda t: t[~(t["path"].str.startswith("Testing") & (t["fold"] > 0))],
        "predicted for some folds, but not for 1, 2, 3, 4: give it for all or for none",
    ),
    "a part of Testing": (lambda t: t.drop(index=900), "393 of the 394 images of Testing: give all or none"),
    "another protocol": (lambda t: t.assign(protocol="split"), "unknown protocol 'split'|choose one of"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_one_sentence(fault, whole, write, manifest):
    spoil, words = FAULTS[fault]
    with pytest.raises(scoring.EvaluationError, match=words):
        submissions.read(write(spoil(whole)), "mine", manifest)


def test_a_fold_too_few_is_not_scored(whole, write, manifest):
    found = submissions.read(write(whole[whole["fold"] < 4]), "mine", manifest)
    with pytest.raises(scoring.EvaluationError, match=r"mine under grouped: seed 1 has the folds \[0, 1, 2, 3\]"):
        benchmark.score(found, manifest)


def test_names_of_the_projects_networks_are_taken(whole, write, manifest):
    with pytest.raises(ValueError, match="'residual' is a network of this project"):
        submissions.read(write(whole), "residual", manifest)
    with pytest.raises(ValueError, match="made of letters"):
        submissions.read(write(whole), "my net", manifest)


@pytest.mark.parametrize("protocol", protocols.PROTOCOLS)
def test_folds_are_those_of_the_protocol(protocol, manifest):
    table = submissions.folds_table(protocol, manifest)
    for fold, rows in table.groupby("fold"):
        split = protocols.split(manifest, protocol, fold)
        for subset, expected in (("train", split.train), ("validation", split.validation)):
            assert rows.loc[rows["subset"] == subset, "path"].tolist() == manifest["path"].iloc[expected].tolist()


def test_the_commands(whole, write, tmp_path, capsys, manifest):
    assert cli.main(["folds", "--protocol", "training_only"]) == 0
    assert capsys.readouterr().out.startswith("fold,subset,path,class\n0,train,Training/")
    assert cli.main(["score", str(write(whole)), "--output", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "mine, grouped:\n" in said and "unseen recall" in said and "Beside the published rows" in said
    assert (tmp_path / "out/mine.md").read_text(encoding="utf-8").count("\n| ") > 5
    assert pd.read_csv(tmp_path / "out/mine.csv")["network"].tolist() == ["mine"]
    assert cli.main(["score", str(tmp_path / "absent.csv"), "--output", str(tmp_path / "none")]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "absent.csv" in said and not (tmp_path / "none").exists()


def test_constant_answers_are_worth_what_they_are_worth(manifest):
    table = pd.read_csv(benchmark.BASELINES).set_index(["network", "protocol"])
    constant = table.loc[("always glioma", "grouped")]
    assert constant["unseen_recall"] == 0.5 and constant["balanced"] == 0.25 and constant["auroc"] == 0.5 and constant["mcc"] == 0
    prior = table.loc[("class prior", "training_only")]
    assert prior["auroc"] == 0.5 and prior["log_loss"] < constant["log_loss"]
