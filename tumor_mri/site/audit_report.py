"""The report of an audit as one HTML file, with pictures of what was found. It loads nothing from elsewhere."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import pandas as pd

from tumor_mri.audit import Audit
from tumor_mri.datasets import image_files
from tumor_mri.site import website

PAIRS = 24  # of each kind, at most, are shown
SIDE = 160  # pixels a side of a shown image, at most


def build(found: Audit, folder: Path | str) -> str:
    """The report as HTML.

    Args:
        found: the audit.
        folder: that was audited; its images are read again for the pictures.
    """
    pairs = found.near_copies
    conflicts = pairs["first_class"] != pairs["second_class"]
    leaks = pairs["first_split"] != pairs["second_split"]
    kinds = {
        "Near-duplicates with different classes": pairs[conflicts],
        "Near-duplicates in different splits": pairs[leaks & ~conflicts],
        "Other near-duplicates": pairs[~leaks & ~conflicts],
    }
    errors = found.images.dropna(subset=["likely_class"])
    margin = errors["probability"] - errors["own_probability"]
    errors = errors.loc[margin.sort_values(ascending=False, kind="stable").index]
    return website.fill(
        "audit",
        folder=str(Path(folder).resolve()),
        style=(website.TEMPLATES / "style.css").read_text(encoding="utf-8"),
        problems=found.problems(),
        images=len(found.images),
        groups=found.images["group"].nunique(),
        facts=[
            (row.fact, f"{row.figure:,}", "" if pd.isna(row.share) else f"{row.share:.1%}") for row in found.facts.itertuples()
        ],
        kinds=[
            (title, len(some), [_pair(row, folder) for row in some.head(PAIRS).itertuples()]) for title, some in kinds.items()
        ],
        leaks=list(found.leaks.head(PAIRS).itertuples(index=False)),
        errors=[_suspect(row, folder) for row in errors.head(PAIRS).itertuples()],
        error_count=len(errors),
        drift=[
            (row.split, row.quantity, _number(row.median), _number(row.training_median), f"{row.distance:.2f}")
            for row in found.drift.itertuples()
        ],
        unreadable=list(found.unreadable.itertuples(index=False)),
        shown=PAIRS,
    )


def as_json(found: Audit, folder: Path | str) -> str:
    """The audit for programs: folder, problems, facts, pairs, drift and unreadable images."""
    tables = {
        "facts": found.facts,
        "near_copies": found.near_copies,
        "leaks": found.leaks,
        "drift": found.drift,
        "unreadable": found.unreadable,
    }
    known = {name: table.astype(object).where(table.notna(), None) for name, table in tables.items()}
    records = {name: table.to_dict("records") for name, table in known.items()}
    return (
        json.dumps({"folder": str(folder), "problems": found.problems(), **records}, indent=1, ensure_ascii=False, default=float)
        + "\n"
    )


def _number(value):
    return "" if pd.isna(value) else f"{value:,.1f}"


def _pair(row, folder):
    stage = "after alignment" if row.aligned else "as whole images"
    how = "byte for byte" if row.byte_identical else f"{stage}, correlation {row.correlation:.3f}"
    return {
        "how": how,
        "sides": [
            {"path": path, "class": name, "picture": _picture(Path(folder) / path)}
            for path, name in ((row.first, row.first_class), (row.second, row.second_class))
        ],
    }


def _suspect(row, folder):
    return {
        "path": row.path,
        "class": row[3],  # a name that no attribute can have
        "likely": row.likely_class,
        "probability": f"{row.probability:.0%}",
        "own": f"{row.own_probability:.0%}",
        "picture": _picture(Path(folder) / row.path),
    }


def _picture(path):
    """An image as a data address, JPEG."""
    with image_files.open_quietly(path) as image:
        grey = image_files.grey_image(image)
    grey.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    grey.save(file, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
