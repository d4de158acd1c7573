"""The contributor's documents name what is there: commands, files, versions."""

import ast
import re

import pytest
import yaml

from tumor_mri.datasets import manifests

GUIDE = (manifests.ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MAKE = (manifests.ROOT / "Makefile").read_text(encoding="utf-8")
HOOKS = yaml.safe_load((manifests.ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
TEMPLATES = sorted((manifests.ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.md"))


def unknown(guide):
    """The targets of make and the files that a text names and that are not there."""
    targets = set(re.findall(r"\bmake ([a-z]+(?:-[a-z]+)*)", guide)) - set(re.findall(r"^([a-z-]+):", MAKE, flags=re.MULTILINE))
    files = {name for name in re.findall(r"`([\w./]+\.(?:py|md|csv|ipynb))`", guide) if "NN_" not in name}
    return targets | {name for name in files if not list(manifests.ROOT.glob(name)) + list(manifests.ROOT.glob(f"*/*/{name}"))}


def test_the_guide_names_targets_and_files_that_are_there():
    assert unknown(GUIDE) == set()
    assert unknown("`make rehearse` in `tumor_mri/absent.py`") == {"rehearse", "tumor_mri/absent.py"}


def test_the_guide_has_seven_numbered_recipes():
    assert re.findall(r"^## (\d)\. Add a (\w+)$", GUIDE, flags=re.MULTILINE) == list(
        zip("1234567", ["network", "protocol", "recipe", "dataset", "notebook", "figure", "test"], strict=True)
    )
    for code in re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL):
        ast.parse(code.strip().replace("…", "None"))


def test_hooks_are_pinned_and_ruff_is_the_one_of_the_lock():
    remote = {one["repo"].split("/")[-1]: one["rev"] for one in HOOKS["repos"] if one["repo"] != "local"}
    assert all(re.fullmatch(r"v\d+\.\d+\.\d+", revision) for revision in remote.values())
    locked = re.search(r"^ruff==(\S+)", (manifests.ROOT / "requirements.lock").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert remote["ruff-pre-commit"] == f"v{locked[1]}"


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_issue_templates_have_what_the_host_asks_for(path):
    _, front, body = path.read_text(encoding="utf-8").split("---\n", 2)
    assert {"name", "about"} <= set(yaml.safe_load(front)) and body.strip()


def test_the_changelog_has_this_version_and_what_comes_next():
    changes = (manifests.ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    version = re.search(
        r'^version = "(.+)"$', (manifests.ROOT / "pyproject.toml").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    headings = re.findall(r"^## \[(.+?)\]", changes, flags=re.MULTILINE)
    assert headings[0] == "Unreleased" and version[1] in headings
    kinds = set(re.findall(r"^### (\w+)$", changes, flags=re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
