"""Audit of any folder with one subfolder per class: copies, leaks, label conflicts, shortcuts, and groups that end the leaks."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from tumor_mri.audit import alignment, facts, grouping, labels, near_copies
from tumor_mri.audit.scans import Scans, left_out, list_images, read

THRESHOLD = near_copies.NEAR_COPY
LABEL_COLUMNS = ["likely_class", "probability", "own_probability"]


@dataclass(frozen=True)
class Audit:
    """The results of an audit.

    Attributes:
        facts: fact, figure (a count), share (of 1; NaN if the count is not part of a whole).
        near_copies: one row per pair of near-duplicates; pairs across classes come first, then pairs across splits, in ascending
            order of correlation.
        scans: the images that were read.
        images: a row per image: the columns of `Scans.table` with the patient, copies (number of near-duplicates), group, fold (a
            suggestion: 5 folds of all images, stratified by class, groups whole; -1 if there are too few groups), and for likely
            label errors likely_class, probability and own_probability (`labels.likely_errors`).
        drift: how the splits differ from the one that trains, see `facts.drift`.
    """

    facts: pd.DataFrame
    near_copies: pd.DataFrame
    scans: Scans
    images: pd.DataFrame = field(default_factory=pd.DataFrame)
    drift: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def unreadable(self) -> pd.DataFrame:
        """Path and reason of each image that could not be read."""
        return self.scans.unreadable

    @cached_property
    def leaks(self) -> pd.DataFrame:
        """Groups with images in several splits, the largest first: group, patient (empty if not known), images, splits (names and
        numbers of images) and examples (a path from each split)."""
        splits = self.images.groupby("group")["split"].nunique()
        rows = []
        for group, rows_of in self.images[self.images["group"].isin(splits[splits > 1].index)].groupby("group"):
            by_split = rows_of.groupby("split")["path"]
            counts = ", ".join(f"{facts.split_name(split)} {count}" for split, count in by_split.size().items())
            patients = ", ".join(sorted(rows_of["patient"].dropna().unique()))
            rows.append((group, patients, len(rows_of), counts, "; ".join(by_split.first())))
        found = pd.DataFrame(rows, columns=["group", "patient", "images", "splits", "examples"])
        return found.sort_values(["images", "group"], ascending=[False, True], ignore_index=True)

    def summary(self) -> str:
        """The problems, and where to begin, as a few lines."""
        problems, leaks, pairs = self.problems(), self.leaks, self.near_copies
        conflicts = pairs[pairs["first_class"] != pairs["second_class"]]
        told = [
            ("group is", "groups are", "in several splits", problems["leak"], leaks["examples"]),
            (
                "pair has",
                "pairs have",
                "different classes",
                problems["conflict"],
                conflicts["first"] + " and " + conflicts["second"],
            ),
            (
                "image",
                "images",
                "cannot be read",
                problems["unreadable"],
                self.unreadable["path"] + " " + self.unreadable["reason"],
            ),
        ]
        lines = [f"{len(self.images):,} images in {self.images['group'].nunique():,} groups."]
        for one, many, what, count, of in told:
            lines.append(f"{count:,} {one if count == 1 else many} {what}{f'; the first: {of.iloc[0]}' if count else ''}")
        return "\n".join(lines)

    @property
    def groups(self) -> pd.DataFrame:
        """Path, group and fold of each image: a split in which no copy and no patient is on both sides."""
        return self.images[["path", "group", "fold"]]

    def problems(self) -> dict[str, int]:
        """How many there are of each kind of problem: ``leak`` (groups with images in several splits), ``conflict`` (pairs of
        near-duplicates with different classes) and ``unreadable`` (images)."""
        conflicts = (self.near_copies["first_class"] != self.near_copies["second_class"]).sum()
        return {"leak": len(self.leaks), "conflict": int(conflicts), "unreadable": len(self.unreadable)}

    def __str__(self):
        return facts_as_text(self.facts)


def facts_as_text(table: pd.DataFrame) -> str:
    """Facts as lines for a terminal."""
    width = table["fact"].str.len().max()
    shares = ["" if np.isnan(share) else f"{share:.1%}" for share in table["share"]]
    lines = [f"{row.fact:<{width}} {row.figure:>9,} {share:>7}" for row, share in zip(table.itertuples(), shares, strict=True)]
    return "\n".join(line.rstrip() for line in lines)


def audit_folder(folder: str | Path, patients: pd.DataFrame | str | None = None, threshold: float = THRESHOLD) -> Audit:
    """Audit any dataset: ``<folder>/<class>/<image>`` or ``<folder>/<split>/<class>/<image>``.

    Args:
        folder: of the images.
        patients: who is on which image: a table, or a regular expression; see `grouping.patients_of`. None: not known.
        threshold: correlation of whole images above which two are near-duplicates.

    Raises:
        AuditError: if there is no image to audit, `patients` fits no image, or there are more pairs of near-duplicates than
            `near_copies.MOST_PAIRS`.
    """
    folder = Path(folder)
    images, passed_over = list_images(folder)
    found = read(folder, images)
    unreadable = pd.concat([found.unreadable, left_out(folder)], ignore_index=True)
    found = replace(found, unreadable=unreadable.sort_values("path", ignore_index=True))
    pairs = pairs_of(folder, found, threshold)
    known = [None] * len(found.table) if patients is None else grouping.patients_of(found.table["path"], patients)
    found = replace(found, table=found.table.assign(patient=pd.Series(known, dtype="string", index=found.table.index)))
    groups = grouping.group_numbers(found.table["path"], known, pairs)
    told = [facts.fact("files passed over: no image by name, or in no class folder", passed_over)]
    if patients is not None:
        told.append(facts.fact("images with a patient", found.table["patient"].notna().sum(), len(found.table)))
    return audit_of(found, pairs, groups, told)


def pairs_of(folder: Path, scans: Scans, threshold: float = THRESHOLD) -> pd.DataFrame:
    """Near-duplicates of both stages, as `alignment.of_both_stages` returns them; first and second are rows of `Scans.table`."""
    whole = near_copies.near_copy_pairs(scans.thumbnails, threshold)
    sketches = alignment.sketches([folder / path for path in scans.table["path"]])
    return alignment.of_both_stages(whole, alignment.aligned_copies(sketches))


def audit_of(scans: Scans, pairs: pd.DataFrame, groups: np.ndarray, before: list[dict], after: list[dict] = ()) -> Audit:
    """An audit of images that are read, with their near-duplicates and groups.

    Args:
        scans: the images.
        pairs: as `pairs_of` finds them.
        groups: of the images, (images,).
        before, after: facts that are known already, for the beginning and the end.
    """
    images = scans.table.assign(
        copies=np.bincount(pairs[["first", "second"]].to_numpy().ravel(), minlength=len(scans.table)),
        group=groups,
        fold=grouping.folds_of(scans.table["class"], groups),
    )
    told = [*before, *facts.image_facts(scans, pairs, groups)]
    enough = len(images) >= labels.LEAST_IMAGES
    shares = labels.out_of_fold(scans.thumbnails, images["class"], images["fold"].to_numpy()) if enough else None
    images = images.reindex(columns=[*images.columns, *LABEL_COLUMNS])
    if shares is not None:
        errors = labels.likely_errors(shares, images["class"]).set_index("row")
        images[LABEL_COLUMNS] = errors.reindex(images.index)[LABEL_COLUMNS]
        right = shares.columns[shares.to_numpy().argmax(axis=1)] == images["class"]
        told.append(facts.fact("class told right by the model that looks for label errors", right.sum(), len(images)))
        told.append(facts.fact("likely label errors, a reason to look", len(errors), len(images)))
    else:
        told.append(facts.fact("likely label errors: not looked for, too few images or groups", 0))
    if images["split"].nunique() > 1:
        splits = images.groupby("group")["split"].transform("nunique")
        told.append(facts.fact("images in a group that is in several splits", (splits > 1).sum(), len(images)))
    table = pd.DataFrame([*told, *after])
    return Audit(table, facts.told_pairs(pairs, scans.table, groups), scans, images, facts.drift(scans.table))


def compare_folders(folder: str | Path, other: str | Path, threshold: float = THRESHOLD) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Which images of a folder are also in another one, byte for byte or as a near-duplicate of either stage.

    Returns:
        A row per pair, of path (in `folder`), other_path (in `other`), correlation, byte_identical and aligned, by path; and the
        facts, as in `Audit.facts`.

    Raises:
        AuditError: if one of the folders cannot be audited.
    """
    both = [read(where, list_images(where)[0]) for where in (Path(folder), Path(other))]
    tables = [scans.table for scans in both]
    thumbnails = np.concatenate([scans.thumbnails for scans in both])
    count = len(tables[0])
    rows, among = np.arange(count), np.arange(count, len(thumbnails))
    whole = near_copies.near_copy_pairs(thumbnails, threshold)
    paths = [Path(where) / path for where, table in zip((folder, other), tables, strict=True) for path in table["path"]]
    drawn = alignment.sketches(paths)
    wanted = alignment.candidates(drawn, rows=rows, among=among)
    scored = alignment.score_pairs(drawn, wanted["first"], wanted["second"])
    pairs = alignment.of_both_stages(whole, scored[scored["correlation"] > alignment.ALIGNED_COPY])
    pairs = pairs[(pairs["first"] < count) & (pairs["second"] >= count)]
    first = tables[0].iloc[pairs["first"]].reset_index(drop=True)
    second = tables[1].iloc[pairs["second"] - count].reset_index(drop=True)
    found = pd.DataFrame(
        {
            "path": first["path"],
            "other_path": second["path"],
            "correlation": pairs["correlation"].round(4).to_numpy(),
            "byte_identical": first["sha256"] == second["sha256"],
            "aligned": pairs["aligned"].to_numpy(),
        }
    ).sort_values(["path", "correlation", "other_path"], ascending=[True, False, True], ignore_index=True)
    identical = tables[0]["sha256"].isin(tables[1]["sha256"])
    told = [
        facts.fact("images", count),
        facts.fact(f"images in {other}", len(tables[1])),
        facts.fact("images that are in it byte for byte", identical.sum(), count),
        facts.fact("images that are in it, copies included", (identical | tables[0]["path"].isin(found["path"])).sum(), count),
        facts.fact("  with another class there", (first["class"] != second["class"]).groupby(first["path"]).any().sum(), count),
    ]
    return found, pd.DataFrame(told)
