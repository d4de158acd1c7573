"""The studies of the report: tables of runs, verdicts on claims, the gap, an inspection of two networks, the published one."""

from tumor_mri.study.catalogue import STUDIES, backend_control, configs_of, recorded, run, train
from tumor_mri.study.claims import (
    Verdict,
    claim,
    claim_on_quality,
    claim_on_table,
    claim_on_testing,
    claims_table,
    load_claims,
    load_report_log,
    load_report_matrix,
    load_report_table,
    testing_pairs,
    verdicts,
)
from tumor_mri.study.gap import (
    draw_accuracies,
    draw_ranges,
    foreign_effect,
    foreign_recall,
    foreign_scores,
    nearest_trained,
    testing_scores,
)
from tumor_mri.study.inspection import Inspection, robustness_table
from tumor_mri.study.publishing import CONFIG, answered_table

__all__ = [
    "CONFIG",
    "Inspection",
    "STUDIES",
    "Verdict",
    "answered_table",
    "claim",
    "claim_on_table",
    "claim_on_quality",
    "claim_on_testing",
    "claims_table",
    "backend_control",
    "configs_of",
    "draw_accuracies",
    "draw_ranges",
    "foreign_effect",
    "foreign_recall",
    "foreign_scores",
    "load_claims",
    "load_report_log",
    "load_report_matrix",
    "load_report_table",
    "nearest_trained",
    "recorded",
    "robustness_table",
    "run",
    "testing_pairs",
    "testing_scores",
    "train",
    "verdicts",
]
