"""What a split hides: copies, near-duplicates, patients on both sides, sources, label conflicts, shortcuts."""

from tumor_mri.audit.any_folder import Audit, audit_folder, compare_folders
from tumor_mri.audit.copy_calibration import load_calibration
from tumor_mri.audit.facts import byte_identical, drift, shortcut
from tumor_mri.audit.grouping import (
    build_manifest,
    check_committed,
    check_groups,
    fold_count,
    folds_of,
    groups_table,
    load_known,
    load_patients,
)
from tumor_mri.audit.near_copies import AuditError, near_copy_pairs, near_copy_sets, nearest, one_nearest_neighbour, standardise
from tumor_mri.audit.scans import Scans, list_images, manifest_thumbnails, training_split
from tumor_mri.audit.this_dataset import (
    audit_dataset,
    label_conflicts,
    neighbour_scores,
    testing_near_copies,
)

__all__ = [
    "Audit",
    "AuditError",
    "Scans",
    "audit_dataset",
    "audit_folder",
    "build_manifest",
    "byte_identical",
    "check_committed",
    "check_groups",
    "compare_folders",
    "drift",
    "fold_count",
    "folds_of",
    "groups_table",
    "label_conflicts",
    "list_images",
    "load_calibration",
    "load_known",
    "load_patients",
    "manifest_thumbnails",
    "near_copy_pairs",
    "near_copy_sets",
    "nearest",
    "neighbour_scores",
    "one_nearest_neighbour",
    "shortcut",
    "standardise",
    "testing_near_copies",
    "training_split",
]
