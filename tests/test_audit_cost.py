"""What the audit costs, as measured."""

import json

from performance import audit_cost
from tumor_mri.audit import near_copies


def test_the_readme_says_what_was_measured():
    figures = json.loads(audit_cost.RESULT.read_text(encoding="utf-8"))
    assert audit_cost.sentence(figures) in audit_cost.PAGE.read_text(encoding="utf-8"), "run `python -m performance.audit_cost`"
    assert [found["images"] for found in figures["synthetic"]] == list(audit_cost.SIZES)
    assert not figures["commit"].endswith("+")


def test_synthetic_thumbnails_hold_the_near_copies_that_they_should():
    found = near_copies.near_copy_pairs(audit_cost.synthetic(200))
    assert len(found) == 20
    assert (found["second"] - found["first"] == 180).all()
