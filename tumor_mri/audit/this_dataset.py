"""Audit of the project's dataset: its images, with the patients, sources and splits of the manifest."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from tumor_mri.audit import any_folder, facts, near_copies, scans
from tumor_mri.datasets import manifests, protocols


def audit_dataset(folder: str | Path, manifest: pd.DataFrame) -> any_folder.Audit:
    """Audit the project's dataset with the help of its manifest.

    Facts about the images come first, as for any folder, from fully decoded images. Facts that need the manifest follow; they
    come from thumbnails made like the manifest's (`manifest_thumbnails`), which find slightly fewer near-duplicates. Counts
    that differ for this reason are marked "as in the manifest".

    Raises:
        DatasetError: if the folder's files are not those of the manifest.
    """
    manifests.check(folder, manifest)
    found = scans.read(folder, manifest[["path", "split", "class"]])
    found = replace(found, table=found.table.assign(patient=manifest["patient"].to_numpy()))
    pairs = any_folder.pairs_of(Path(folder), found)
    groups = manifest["group"].to_numpy()
    separated = groups[pairs["first"]] != groups[pairs["second"]]
    after = [facts.fact("near-copy pairs that the manifest's groups separate", separated.sum(), len(pairs))]
    after += manifest_facts(manifest, scans.manifest_thumbnails(folder, manifest))
    return any_folder.audit_of(found, pairs, groups, [], after)


def neighbour_scores(manifest: pd.DataFrame, thumbnails: np.ndarray) -> pd.DataFrame:
    """Accuracy of 1-nearest-neighbour on the report's splits, without any training: images, right (how many), accuracy.

    The third row repeats split B without neighbours of the same group: of the same known patient, or linked by near-duplicates.
    The last two rows are the Cheng slices of split B among themselves, with and without neighbours of the same patient; their
    patients are all known.
    """
    cheng = manifest["cheng_slice"].notna().to_numpy()
    split_a, split_b = protocols.testing_folder(manifest), protocols.training_only(manifest)
    known = [rows[cheng[rows]] for rows in (split_b.validation, split_b.train)]
    asked = {
        "split A": (split_a.validation, split_a.train, None),
        "split B": (split_b.validation, split_b.train, None),
        "split B, same group banned": (split_b.validation, split_b.train, manifest["group"]),
        "split B, Cheng slices": (*known, None),
        "split B, Cheng slices, same patient banned": (*known, manifest["patient"]),
    }
    right = {name: near_copies.one_nearest_neighbour(thumbnails, manifest["class"], *rest) for name, rest in asked.items()}
    table = {name: {"images": len(found), "right": found.sum(), "accuracy": found.mean()} for name, found in right.items()}
    return pd.DataFrame(table).T.astype({"images": int, "right": int})


def testing_near_copies(manifest: pd.DataFrame) -> pd.DataFrame:
    """Testing images whose whole thumbnail has a near-duplicate in Training, each with its nearest Training image, in ascending
    order of correlation.

    From the manifest alone. Aligned copies are in ``data/aligned_copies.csv``.
    """
    first = manifest[manifests.is_testing(manifest) & (manifest["nearest_training_corr"] > near_copies.NEAR_COPY)]
    second = manifest.set_index("path").loc[first["nearest_training"]].reset_index()
    told = pd.DataFrame({"correlation": first["nearest_training_corr"].to_numpy()})
    for side, rows in {"first": first.reset_index(), "second": second}.items():
        told[[side, f"{side}_split", f"{side}_class"]] = rows[["path", "split", "class"]]
    return told.sort_values(["correlation", "first"], ignore_index=True)


def manifest_facts(manifest: pd.DataFrame, thumbnails: np.ndarray) -> list[dict]:
    """Facts about patients, sources, labels and the two splits, from the manifest and `manifest_thumbnails`.

    Near-duplicates are found again from the thumbnails, not read from the manifest.
    """
    split = protocols.testing_folder(manifest)
    neighbour, correlation = near_copies.nearest(thumbnails, reference=split.train)
    near = correlation > near_copies.NEAR_COPY
    return [
        *_source_facts(manifest),
        *_patient_facts(manifest),
        *_label_facts(manifest, near_copies.near_copy_pairs(thumbnails)),
        *_testing_facts(manifest, near, neighbour),
        *_random_split_facts(manifest, thumbnails),
        *_cheng_facts(manifest, thumbnails),
    ]


def _source_facts(manifest):
    cheng = manifest["cheng_slice"].notna()
    groups = manifest.groupby(["split", "class"], sort=False)
    return [
        facts.fact(f"{facts.folder_name(*key)}: slices of the Cheng set", cheng[rows.index].sum(), len(rows))
        for key, rows in groups
    ]


def _patient_facts(manifest):
    of_split = {split: set(rows["patient"].dropna()) for split, rows in manifest.groupby("split")}
    told = [facts.fact(f"{split}: known patients", len(of_split[split])) for split in manifests.SPLITS]
    both = of_split["Training"] & of_split["Testing"]
    told.append(facts.fact("patients of Testing who are in Training too", len(both), len(of_split["Testing"])))
    return told + [facts.fact("images of no known patient", manifest["patient"].isna().sum(), len(manifest))]


def label_conflicts(manifest: pd.DataFrame) -> pd.DataFrame:
    """Rows of the manifest whose class differs from their class in the Cheng set."""
    known = manifest["cheng_label"].notna()
    return manifest[known & (manifest["cheng_label"] + "_tumor" != manifest["class"])]


def _label_facts(manifest, pairs):
    conflicts = label_conflicts(manifest)
    classes = manifest["class"].to_numpy()
    across = classes[pairs["first"]] != classes[pairs["second"]]
    return [
        facts.fact("files whose class is another in the Cheng set", len(conflicts)),
        facts.fact("slices that they are of", conflicts["cheng_slice"].nunique()),
        facts.fact("patients that they are of", conflicts["patient"].nunique()),
        facts.fact("near-copy pairs across classes, as in the manifest", across.sum(), len(pairs)),
    ]


def _testing_facts(manifest, near, neighbour):
    """The disjoint parts of Testing, and how well 1-nearest-neighbour in Training classifies them."""
    testing = manifests.is_testing(manifest)
    labels = manifest["class"].to_numpy()
    right = labels[neighbour] == labels
    foreign = testing & ~near & protocols.is_foreign_glioma(manifest)
    known = manifest["patient"].isin(manifest.loc[~testing, "patient"].dropna()).to_numpy()
    parts = {
        "with a near-copy of the whole image in Training": testing & near,
        "foreign gliomas among the others": foreign,
        "neither": testing & ~near & ~foreign,
        "without such a near-copy, but of a patient in Training": testing & ~near & known,
        "without such a near-copy or a patient in Training": testing & ~near & ~known,
        "unseen: sharing no group with Training": np.isin(np.arange(len(manifest)), protocols.unseen_testing(manifest)),
    }
    told = []
    for text, part in parts.items():
        told.append(facts.fact(f"Testing, {text}", part.sum(), testing.sum()))
        found = manifest[part].groupby("class").size()  # a class without an image has no row
        told += [facts.fact(f"  of these {name}", count, part.sum()) for name, count in found.items()]
    text = "nearest image in Training has the right class"
    told.append(facts.fact(f"Testing: {text}", right[testing].sum(), testing.sum()))
    for name in manifests.dataset_of(manifest).classes:
        told.append(facts.fact(f"  of {name}", right[testing & (labels == name)].sum(), (testing & (labels == name)).sum()))
    told.append(facts.fact("  with a near-copy in Training", right[testing & near].sum(), (testing & near).sum()))
    return told + [facts.fact("  without", right[testing & ~near].sum(), (testing & ~near).sum())]


def _random_split_facts(manifest, thumbnails):
    """What validation and training images have in common after the report's random 80/20 split of Training (split B)."""
    split = protocols.training_only(manifest)
    train, validation = manifest.iloc[split.train], manifest.iloc[split.validation]
    known = validation["patient"].dropna()
    right = near_copies.one_nearest_neighbour(thumbnails, manifest["class"], split.validation, split.train)
    return [
        facts.fact("split B: validation images", len(validation)),
        facts.fact("  byte-identical to one that trains", validation["sha256"].isin(train["sha256"]).sum(), len(validation)),
        facts.fact("  in a group with one that trains", validation["group"].isin(train["group"]).sum(), len(validation)),
        facts.fact("  of known patients, the patient trains too", known.isin(train["patient"].dropna()).sum(), len(known)),
        facts.fact("  nearest image that trains has the right class", right.sum(), len(right)),
    ]


def _cheng_facts(manifest, thumbnails):
    """1-nearest-neighbour among Training's Cheng slices, with and without neighbours of the same patient."""
    rows = np.flatnonzero((manifest["split"] == "Training") & manifest["cheng_slice"].notna())
    labels = manifest["class"]
    allowed = near_copies.one_nearest_neighbour(thumbnails, labels, rows, rows)
    banned = near_copies.one_nearest_neighbour(thumbnails, labels, rows, rows, groups=manifest["patient"])
    return [
        facts.fact("Training, Cheng slices: nearest of them has the right class", allowed.sum(), len(allowed)),
        facts.fact("  the same, neighbours of the same patient banned", banned.sum(), len(banned)),
    ]
