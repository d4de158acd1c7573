"""The Cheng slices alone, per slice and per patient."""

import numpy as np
import pytest
import samples

from tumor_mri.datasets import manifests, protocols
from tumor_mri.evaluation import benchmark, patients, scoring
from tumor_mri.site import documents

MANIFEST = manifests.load_manifest()


def grouped_runs(label):
    return [run for run in benchmark.recorded() if run.config.protocol == "grouped" and run.label == label]


def by_hand(runs, seed):
    """The accuracies per slice and per patient of one seed, by loops."""
    rows = MANIFEST.set_index("path")
    slices, sums = [], {}
    for run in (run for run in runs if run.config.seed == seed):
        for path, shares in zip(run.val_paths, run.val_probabilities, strict=True):
            about = rows.loc[path]
            if isinstance(about["cheng_label"], str):
                three = np.array([shares[0], shares[1], shares[3]], dtype=float)
                label = ["glioma", "meningioma", "pituitary"].index(about["cheng_label"])
                slices.append(three.argmax() == label)
                total, count, _ = sums.get(about["patient"], (0, 0, label))
                sums[about["patient"]] = (total + three / three.sum(), count + 1, label)
    whole = [(total / count).argmax() == label for total, count, label in sums.values()]
    return np.mean(slices), np.mean(whole), len(slices), len(whole)


def test_the_table_is_what_loops_count():
    runs = [run for run in grouped_runs("residual") if run.config.seed == 1]
    (row,) = patients.table(runs, MANIFEST).to_dict("records")
    per_slice, per_patient, slices, whole = by_hand(runs, 1)
    assert (row["slices"], row["patients"], row["seeds"]) == (slices, whole, 1)
    assert row["slice_accuracy"] == pytest.approx(per_slice) and row["patient_accuracy"] == pytest.approx(per_patient)
    assert row["slice_low"] < per_slice < row["slice_high"] and not row["chose_epoch"]


def test_a_protocol_that_separates_no_patients_is_refused():
    with pytest.raises(scoring.EvaluationError, match="slices of one patient on both sides"):
        patients.table([samples.empty_run()], MANIFEST)
    assert protocols.get(samples.TINY.protocol).interval != "groups"


def test_the_pages_hold_the_figures():
    page = (manifests.ROOT / "BENCHMARK.md").read_text(encoding="utf-8")
    for network, per_slice in documents.cheng_table(MANIFEST).set_index("network").iloc[:, 1].items():
        assert f"| {network} | " in page and per_slice in page, "run `make benchmark`"
    scores = benchmark.table(MANIFEST)
    for readme in documents.ANSWERS:
        assert documents.answer(scores, readme) in (manifests.ROOT / readme).read_text(encoding="utf-8"), "run `make benchmark`"
