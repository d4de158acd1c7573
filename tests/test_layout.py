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


def requirements(lines):
    """The requirements in lines of text, without comments, extras of this project and spaces."""
    found = (re.sub(r"\s+#.*|\s", "", line).replace("'", '"') for line in lines)
    return {line for line in found if line and not line.startswith(("#", "tumor-mri["))}


def test_the_base_and_its_extras_are_what_requirements_txt_lists():
    import importlib.metadata as metadata

    declared = metadata.requires("tumor-mri")
    of = {"": set(), "train": set(), "notebooks": set()}
    for line in declared:
        requirement, _, marker = line.partition(";")
        extra = re.search(r'extra == "(\w+)"', marker)
        if (extra[1] if extra else "") in of:
            python = re.search(r'python_version >= "[\d.]+"', marker)
            of[extra[1] if extra else ""].add(requirement.strip() + (f"; {python[0]}" if python else ""))
    text = (manifests.ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()

    def canonical(line):
        name, _, marker = re.sub(r"\s", "", line).partition(";")
        start, *bounds = re.split(r"(?=[<>=])", name, maxsplit=1)
        return start.lower(), tuple(sorted("".join(bounds).split(","))), marker

    ours = {canonical(line) for line in requirements(text)}
    theirs = {canonical(line) for lines in of.values() for line in requirements(lines)}
    assert ours == theirs
    assert not any(name[0] in ("tensorflow", "keras", "jupyter") for name in map(canonical, of[""]))


ASK = """
import sys
for name in ("tensorflow", "keras", "dask", "jupyter", "nbconvert", "IPython"):
    sys.modules[name] = None
from tumor_mri import __main__ as cli
sys.exit(cli.main({arguments}))
"""


@pytest.mark.parametrize("command", ["predict", "audit", "manifest"])
def test_commands_of_the_base_need_no_training_stack(command, tmp_path):
    from PIL import Image

    from tumor_mri.datasets import phantoms

    for number, name in enumerate(("glioma_tumor", "no_tumor") * 2):
        (tmp_path / "scans" / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(phantoms.draw(name, number)).save(tmp_path / "scans" / name / f"{number}.png")
    arguments = [command, str(tmp_path / "scans")] + (["--output", str(tmp_path / "out")] if command != "predict" else [])
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(
        [sys.executable, "-c", ASK.format(arguments=arguments)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
