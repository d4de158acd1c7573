"""The README in Spanish stays in step with the English one."""

import re

import pytest

from tumor_mri.datasets import manifests

ENGLISH, SPANISH = ((manifests.ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.es.md"))


def outline(readme):
    """What a README says in any language: commands, headings, links and the rows of its table of notebooks."""
    prose, *fenced = re.split(r"^```\w*$", readme, flags=re.MULTILINE)
    prose, code = "".join([prose, *fenced[1::2]]), "".join(fenced[::2])
    prose = re.sub(
        r"<!-- ([a-z-]+) -->.*<!-- end of \1 -->", "", prose, flags=re.DOTALL
    )  # numbers: in one language, as the Spanish one says
    return {
        "commands": [line.split("#")[0].strip() for line in code.splitlines()],
        "code": set(re.findall(r"`[^`]+`", prose)),
        "headings": re.findall(r"^#+ ", prose, flags=re.MULTILINE),
        "links": {link for link in re.findall(r"\]\(([^)]+)\)", prose) if not link.startswith("README")},
        "rows": re.findall(r"^\| (\[\d+\]\(\S+\)) \|[^|]+\| *(\d+) *\|", prose, flags=re.MULTILINE),
    }


def test_the_readmes_are_in_step():
    assert outline(SPANISH) == outline(ENGLISH)
    assert len(outline(ENGLISH)["rows"]) == len(list((manifests.ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")))


def test_the_readmes_link_to_each_other():
    assert "](README.es.md)" in ENGLISH.split("\n\n")[1]
    assert "](README.md)" in SPANISH.split("\n\n")[1]


CHANGES = [
    ("make reproduce ", "make rehearse "),
    ("`make help`", "`make ayuda`"),
    ("## Entrenar", "Entrenar"),
    ("](notebooks/images/two_splits.png)", "](notebooks/images/other.png)"),
    ("| [5]", "| [6]"),
    ("datos? | 20 |", "datos? | 2 |"),
]


@pytest.mark.parametrize("old, new", CHANGES)
def test_a_readme_out_of_step_is_found(old, new):
    assert old in SPANISH
    assert outline(SPANISH.replace(old, new, 1)) != outline(ENGLISH)
