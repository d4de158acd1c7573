"""What a split hides: copies, near-duplicates, patients on both sides, sources, label conflicts, shortcuts."""

from tumor_mri.audit.any_folder import (
    Audit,
    Scans,
    audit_folder,
    byte_identical,
    fact,
    folder_name,
    image_facts,
    list_images,
    read,
    shortcut,
    told_pairs,
)
from tumor_mri.audit.near_copies import (
    AuditError,
    near_copy_pairs,
    near_copy_sets,
    nearest,
    one_nearest_neighbour,
    progress_bar,
    standardise,
)
from tumor_mri.audit.this_dataset import (
    audit_dataset,
    label_conflicts,
    manifest_facts,
    manifest_thumbnails,
    neighbour_scores,
    testing_near_copies,
)

__all__ = [
    "Audit",
    "AuditError",
    "Scans",
    "audit_dataset",
    "audit_folder",
    "byte_identical",
    "fact",
    "folder_name",
    "image_facts",
    "label_conflicts",
    "list_images",
    "manifest_facts",
    "manifest_thumbnails",
    "near_copy_pairs",
    "near_copy_sets",
    "nearest",
    "neighbour_scores",
    "one_nearest_neighbour",
    "progress_bar",
    "read",
    "shortcut",
    "standardise",
    "testing_near_copies",
    "told_pairs",
]
