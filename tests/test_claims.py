"""The verdicts on the report's claims, its own table among them, and what the README holds of them."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from tumor_mri import text
from tumor_mri.datasets import manifests
from tumor_mri.evaluation import scoring
from tumor_mri.models import networks
from tumor_mri.study import catalogue, claims


def test_the_reports_table_is_its_matrix_with_precision_and_recall_exchanged():
    matrix = claims.load_report_matrix()
    assert matrix.sum(axis=1).tolist() == [158, 162, 83, 171]
    assert matrix.trace() == 530
    table, printed = scoring.classification_table(matrix), claims.load_report_table()
    names = list(manifests.BRAIN_TUMOUR_MRI.labels)
    assert np.allclose(table.loc[names, "recall"], printed.loc[names, "precision"], atol=5e-5)
    assert np.allclose(table.loc[names, "precision"], printed.loc[names, "recall"], atol=5e-5)


@pytest.mark.parametrize(
    ("met", "count", "verdict"),
    [
        (5, 5, "holds (5 of 5 runs)"),
        (4, 4, "not decided (4 of 4 runs)"),
        (3, 5, "not decided (3 of 5 runs)"),
        (0, 5, "refuted (0 of 5 runs)"),
        (9, 10, "holds (9 of 10 runs)"),
        (1, 1, "not decided (1 of 1 run)"),
    ],
)
def test_a_verdict_is_about_most_trainings(met, count, verdict):
    held = [True] * met + [False] * (count - met)
    assert claims.decide(held) == verdict
    low = scipy_stats.binomtest(met, count).proportion_ci(0.90, "exact").low  # two-sided 90 % is one-sided 95 %
    assert verdict.startswith("holds") == (low > 0.5)


def test_a_verdict_says_what_it_counted():
    assert claims.decide([], "pair") == "not decided (no pairs)"
    assert claims.decide([False] * 6, "pair") == "refuted (0 of 6 pairs)"


@pytest.fixture(scope="module")
def verdicts(manifest):
    return claims.verdicts(catalogue.recorded("sweep-widths"), manifest)


def test_every_claim_has_its_verdict(verdicts):
    table = claims.claims_table(verdicts)
    assert table["id"].tolist() == claims.load_claims().index.tolist()
    assert len(table) == 11 and table["id"].tolist()[6:8] == ["C7a", "C7b"]
    assert (table["report"] == claims.load_claims()["report_figure"].to_numpy()).all()
    assert table["here"].str.len().min() > 0


def test_c7_is_about_where_both_networks_end_on_split_b(runs, verdicts):
    two = (networks.BASE_WIDTHS, networks.CHOSEN_WIDTHS)
    ends = [run.epochs_run for run in runs if run.config.protocol == "training_only" and run.config.widths in two]
    low, high = claims.REPORT_ENDS
    held, enough = verdicts[6:8]
    assert held.verdict.endswith(f"({sum(low <= end <= high for end in ends)} of {len(ends)} runs)")
    assert held.here.startswith("runs in float32 end after")
    assert enough.verdict.endswith(f"({sum(end < claims.LIMIT for end in ends)} of {len(ends)} runs)")


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


def test_the_readme_holds_the_claims(verdicts):
    readme = (manifests.ROOT / "README.md").read_text(encoding="utf-8")
    table = text.as_markdown(claims.claims_table(verdicts))
    assert f"<!-- claims -->\n{table}\n<!-- end of claims -->" in readme, "run `tumor-mri claims --write`"


@pytest.mark.parametrize(("testing", "verdict"), [(0.75, "refuted (0 of 5 pairs)"), (0.92, "holds (5 of 5 pairs)")])
def test_the_verdict_on_c9a_follows_its_criterion(runs, manifest, monkeypatch, testing, verdict):
    pairs = claims.testing_pairs(runs, manifest).iloc[[0] * 5]
    pairs = pairs.assign(testing=testing, set_aside=0.93, low=0.90, high=0.95)
    monkeypatch.setattr(claims, "testing_pairs", lambda *arguments: pairs)
    assert claims.claim_on_testing(runs, manifest).verdict == verdict
    assert claims.claim_on_quality(runs, manifest).verdict == "not tested"  # whatever near-copies say


def test_pairs_are_of_one_network_and_seed(runs, base, manifest):
    pairs = claims.testing_pairs(runs, manifest)
    row = pairs[(pairs["network"] == "32/64/128/128") & (pairs["seed"] == 1)].iloc[0]
    assert np.isclose(row["testing"], max(base["testing_folder"].history["val_accuracy"]))
    assert np.isclose(row["set_aside"], max(base["training_only"].history["val_accuracy"]))
    assert not pairs.duplicated(["network", "seed"]).any()


@pytest.mark.parametrize("protocol", ["testing_folder", "training_only"])
def test_one_split_alone_decides_nothing(base, manifest, protocol):
    assert claims.claim_on_testing([base[protocol]], manifest).verdict == "not decided (no pairs)"
