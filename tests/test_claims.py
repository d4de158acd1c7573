"""The verdicts on the report's claims, its own table among them, and what the README holds of them."""

import numpy as np
import pytest

from tumor_mri import text
from tumor_mri.datasets import manifests
from tumor_mri.evaluation import scoring
from tumor_mri.study import claims


def test_the_reports_table_is_its_matrix_with_precision_and_recall_exchanged():
    matrix = claims.load_report_matrix()
    assert matrix.sum(axis=1).tolist() == [158, 162, 83, 171]
    assert matrix.trace() == 530
    table, printed = scoring.classification_table(matrix), claims.load_report_table()
    names = list(manifests.BRAIN_TUMOUR_MRI.labels)
    assert np.allclose(table.loc[names, "recall"], printed.loc[names, "precision"], atol=5e-5)
    assert np.allclose(table.loc[names, "precision"], printed.loc[names, "recall"], atol=5e-5)


def test_verdicts():
    assert claims._verdict([True, True]) == "holds"
    assert claims._verdict([True, False]) == "holds by luck of the seed"
    assert claims._verdict([False, False]) == "refuted"
    assert claims._verdict([True]) == "cannot be decided"


def test_every_claim_has_its_verdict(runs, manifest):
    table = claims.claims_table(claims.verdicts(runs, manifest))
    assert table["id"].tolist() == claims.load_claims().index.tolist() == [f"C{number}" for number in range(1, 10)]
    assert (table["report"] == claims.load_claims()["report_figure"].to_numpy()).all()
    assert table["here"].str.len().min() > 0


def test_c8_follows_from_the_printed_table_alone(manifest, monkeypatch):
    verdict = claims.claim_on_table([], manifest)
    assert verdict.verdict == "refuted as printed"
    assert "exchanged" in verdict.here
    matrix, printed = claims.load_report_matrix(), claims.load_report_table()
    names = list(manifests.BRAIN_TUMOUR_MRI.labels)
    right = printed.copy()
    right.loc[names] = scoring.classification_table(matrix).loc[names].to_numpy()
    monkeypatch.setattr(claims, "load_report_table", lambda: right)
    assert claims.claim_on_table([], manifest).verdict == "holds"
    right.loc["glioma", "recall"] += 0.001
    wrong = claims.claim_on_table([], manifest)
    assert (wrong.verdict, "exchanged" in wrong.here) == ("refuted as printed", False)


def test_the_readme_holds_the_claims(runs, manifest):
    readme = (manifests.ROOT / "README.md").read_text(encoding="utf-8")
    table = text.as_markdown(claims.claims_table(claims.verdicts(runs, manifest)))
    assert f"<!-- claims -->\n{table}\n<!-- end of claims -->" in readme, "run `tumor-mri claims --write`"


@pytest.mark.parametrize(
    ("testing", "near_copies", "verdict"),
    [(0.75, 0.99, "refuted"), (0.92, 0.99, "holds"), (0.75, 0.80, "holds"), (0.75, 0.881, "refuted")],
)
def test_the_verdict_on_c9_follows_its_criterion(runs, manifest, monkeypatch, testing, near_copies, verdict):
    pairs = claims.testing_pairs(runs, manifest).iloc[[0, 0]]
    pairs = pairs.assign(testing=testing, near_copies=near_copies, set_aside=0.93, low=0.90, high=0.95)
    monkeypatch.setattr(claims, "testing_pairs", lambda *arguments: pairs)
    assert claims.claim_on_testing(runs, manifest).verdict == verdict


def test_pairs_are_of_one_network_and_seed(runs, base, manifest):
    pairs = claims.testing_pairs(runs, manifest)
    row = pairs[(pairs["network"] == "32/64/128/128") & (pairs["seed"] == 1)].iloc[0]
    assert np.isclose(row["testing"], max(base["testing_folder"].history["val_accuracy"]))
    assert np.isclose(row["set_aside"], max(base["training_only"].history["val_accuracy"]))
    assert not pairs.duplicated(["network", "seed"]).any()


@pytest.mark.parametrize("protocol", ["testing_folder", "training_only"])
def test_one_split_alone_decides_nothing(base, manifest, protocol):
    assert claims.claim_on_testing([base[protocol]], manifest).verdict == "cannot be decided"
