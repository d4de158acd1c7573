"""The comparison with other tools, as measured."""

import json

from performance import peers


def test_the_tables_are_those_of_what_was_measured():
    figures = json.loads(peers.RESULT.read_text(encoding="utf-8"))
    assert peers.tables(figures) in peers.README.read_text(encoding="utf-8"), "run `python -m performance.peers`"
    assert set(figures["dataset"]) == set(figures["changes"]) == set(peers.TOOLS)


def test_the_audit_is_ahead_in_recall_at_equal_precision():
    """Of the tools that invent no more pairs than the audit does, none finds more, for any change."""
    figures = json.loads(peers.RESULT.read_text(encoding="utf-8"))
    ours, of_changes = figures["dataset"]["this audit"], figures["changes"]["this audit"]
    assert ours["same_slice"][0] == ours["same_slice"][1] and ours["same_file"][0] == ours["same_file"][1]
    assert of_changes["invented"] == 0 and min(found for found, _ in of_changes["found"].values()) >= 190
    careful = [tool for tool, row in figures["changes"].items() if row["invented"] == 0 and tool != "this audit"]
    assert careful
    for tool in careful:
        for change, (found, _) in figures["changes"][tool]["found"].items():
            assert found <= of_changes["found"][change][0] + 3, (tool, change)  # 3 of 200 are chance
