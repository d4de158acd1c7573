"""The contributor's documents name what is there: commands, files, versions."""

import re
import textwrap

import pytest
import yaml

from tumor_mri.datasets import manifests, protocols
from tumor_mri.models import networks, recipes
from tumor_mri.runs import configs
from tumor_mri.study import catalogue

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


REGISTRIES = (networks.NETWORKS, protocols.PROTOCOLS, recipes.RECIPES, manifests.DATASETS, catalogue.STUDIES)


@pytest.fixture
def registered():
    """The code of the recipes, run at the end of the files that they name; afterwards nobody knows what it registered."""
    before = [(registry, dict(registry)) for registry in REGISTRIES]
    blocks = re.findall(r"^ *```python\n(.*?)```", GUIDE, flags=re.DOTALL | re.MULTILINE)
    for code, module in zip(blocks, (networks, catalogue, protocols, recipes, manifests), strict=True):
        exec(textwrap.dedent(code), dict(vars(module)))
    yield
    for registry, kept in before:
        registry.clear()
        registry.update(kept)


def test_the_code_of_the_recipes_runs(registered, manifest):
    assert len(catalogue.configs_of("strided")) == 21
    for fold in range(3):
        divided = protocols.split(manifest, "by_size", fold)
        assert not set(divided.train) & set(divided.validation) and len(divided.train) + len(divided.validation) == 2870
    config = configs.config_of("strided", "by_size", recipe="momentum", dataset="another-set")
    assert config.label == "strided on whole scans with momentum (another-set)"
    assert networks.get("strided").build(config, (150, 150, 1), 2).output_shape == (None, 2)
    assert recipes.get("momentum").optimizer(config, 10).momentum == 0.9


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
