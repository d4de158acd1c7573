"""The house: eight rooms in one direction, and doors that open quickly."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tumor_mri
from tumor_mri.datasets import manifests

PACKAGE = Path(tumor_mri.__file__).parent
QUICK = 0.3  # seconds of processor
HEAVY = ("tensorflow", "keras", "pandas", "matplotlib", "sklearn")
WATCHED = """
import json, sys, time
started = time.process_time()
{code}
print(json.dumps([time.process_time() - started, sorted(set({heavy}) & set(sys.modules))]))
"""
HELP = """
import contextlib, io
from tumor_mri import __main__ as cli
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    cli.main(["--help"])
"""


def watch(code):
    """Seconds of processor that some code takes in a Python of its own, and what heavy packages it imports."""
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    command = [sys.executable, "-c", WATCHED.format(code=code, heavy=HEAVY)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_the_package_opens_at_once():
    seconds, heavy = watch("import tumor_mri")
    assert heavy == [] and seconds < QUICK


def test_help_imports_nothing_heavy():
    assert watch(HELP)[1] == []


@pytest.mark.parametrize(("code", "heavy"), [("import tumor_mri.datasets", "pandas"), ("import tumor_mri.figures", "matplotlib")])
def test_what_is_heavy_is_seen(code, heavy):
    assert heavy in watch(code)[1]


def test_every_room_is_packaged():
    """Setuptools takes the rooms that pyproject.toml names, and leaves any other out of the wheel."""
    text = (manifests.ROOT / "pyproject.toml").read_text(encoding="utf-8")
    named = set(re.findall(r'^  "(tumor_mri[\w.]*)",$', text, flags=re.MULTILINE)) - {"tumor_mri.data"}
    folders = [path.parent.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("__init__.py")]
    assert named == {".".join(folder.parts) for folder in folders}
    assert len(named) == 9


def lint_imports(folder):
    """What `make lint` calls, on the package in a folder."""
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_rooms_import_only_from_rooms_before_them():
    done = lint_imports(manifests.ROOT)
    assert done.returncode == 0 and "1 kept, 0 broken" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("wrong", ["from tumor_mri.study import claims", "from tumor_mri.audit import near_copies"])
def test_an_import_against_the_direction_is_found(wrong, tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "tumor_mri", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(manifests.ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "tumor_mri" / "datasets" / "phantoms.py").open("a", encoding="utf-8") as file:
        file.write(f"\n{wrong}\n")
    done = lint_imports(tmp_path)
    assert done.returncode == 1 and "tumor_mri.datasets.phantoms ->" in done.stdout, done.stdout + done.stderr


def test_a_room_of_no_layer_is_found(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "tumor_mri", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(manifests.ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "tumor_mri" / "attic.py").write_text("")
    done = lint_imports(tmp_path)
    assert done.returncode == 1 and "attic" in done.stdout, done.stdout + done.stderr
