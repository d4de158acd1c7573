"""Pages that are written from the records."""

import re

from tumor_mri.evaluation import benchmark
from tumor_mri.site import documents


def test_the_card_holds_the_figures_of_the_records(manifest, monkeypatch, tmp_path):
    committed = documents.CARD.read_text(encoding="utf-8")
    (tmp_path / "card.md").write_text(committed, encoding="utf-8")
    monkeypatch.setattr(documents, "CARD", tmp_path / "card.md")
    scores = benchmark.table(manifest)
    documents.write_card(scores, manifest)
    assert (tmp_path / "card.md").read_text(encoding="utf-8") == committed, "run `make benchmark`"
    (tmp_path / "card.md").write_text(re.sub(r"\d\d\.\d", "42.0", committed), encoding="utf-8")
    documents.write_card(scores, manifest)
    assert (tmp_path / "card.md").read_text(encoding="utf-8") == committed
