"""The pages that follow a standard: complete, and with links that lead somewhere."""

import json
import re

import pytest
import yaml

from tumor_mri.datasets import manifests

ROOT = manifests.ROOT


def test_claim_has_its_44_items_and_each_is_answered():
    text = (ROOT / "notebooks/CLAIM.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \|$", text, flags=re.MULTILINE)
    assert [int(number) for number, _, _ in rows] == list(range(1, 45))
    assert all(asked.strip() and answer.strip() for _, asked, answer in rows)


PAGES = ["README.md", "README.es.md", "BENCHMARK.md", "MODEL_CARD.md", "CONTRIBUTING.md", "notebooks/CLAIM.md", "data/README.md"]


@pytest.mark.parametrize("page", PAGES)
def test_links_within_the_project_lead_somewhere(page):
    path = ROOT / page
    links = re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8"))
    missing = [link for link in links if not re.match(r"https?:|mailto:", link) and not (path.parent / link).exists()]
    assert not missing


def test_the_datasheet_has_the_sections_of_gebru():
    text = (ROOT / "data/README.md").read_text(encoding="utf-8")
    wanted = ["Motivation", "Composition", "Collection process", "Preprocessing, cleaning, labelling", "Uses", "Distribution"]
    places = [text.index(f"\n## {title}\n") for title in [*wanted, "Maintenance"]]
    assert places == sorted(places)


def test_the_citation_names_the_data_and_agrees_with_the_deposit():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    deposit = json.loads((ROOT / ".zenodo.json").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0" and {"message", "title", "authors"} <= set(citation)
    assert (citation["title"], citation["version"]) == (deposit["title"], deposit["version"])
    dois = {reference["doi"] for reference in citation["references"] if "doi" in reference}
    assert {"10.34740/KAGGLE/DSV/1183165", "10.6084/m9.figshare.1512427.v5"} <= dois
    assert {one["identifier"] for one in deposit["related_identifiers"]} <= dois
