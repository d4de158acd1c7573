"""The notebooks on Kaggle: a folder for each, and a dataset with the package and its data, as Kaggle's own client pushes them."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tumor_mri import text
from tumor_mri.datasets import download, manifests
from tumor_mri.site import notebook_files

SOURCE = Path(__file__).resolve().parents[2]  # the checkout
PLACEHOLDER = "your-kaggle-name"
PATIENCE = 600  # seconds in which Kaggle makes a pushed dataset ready
CREDENTIALS = ("kaggle.json", "access_token", "access_token.txt", "credentials.json")  # files that the client looks for


class KaggleError(text.ProjectError):
    """What is missing for a bundle or a push, or what Kaggle says to one."""


def slug(title: str) -> str:
    """The last part of the address that Kaggle gives to a title: made from it, so that they agree."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


SUPPORT_TITLE = "Brain tumour MRI: package and recorded runs"
SUPPORT_SLUG = slug(SUPPORT_TITLE)
SUPPORT_SUBTITLE = "For the notebooks that reproduce and examine a small Keras network"
SUPPORT_DESCRIPTION = """\
The package `tumor_mri` as a wheel, which carries the manifest of the images, the recorded runs and the weights of the published
network; manifest and runs lie beside it too. No image: those are the dataset `{images}`. MIT licence. Material for learning. Not
a diagnostic device."""


def build(output: Path | str, user: str) -> list:
    """Write the support dataset and a bundle for each notebook below `output`; what another build has left there is replaced.

    Returns:
        The folders, the dataset's first.

    Raises:
        KaggleError: if there is no checkout, it makes no wheel, or two notebooks have one title.
        PageError: if a notebook does not say its title on Kaggle.
    """
    if not (SOURCE / "pyproject.toml").is_file():
        raise KaggleError("the bundles are made from a copy of the repository, and this package is installed without it")
    listed = notebook_files.listings()
    _check_slugs(listed)
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output, prefix=".build-") as scratch:
        made = [_write_support(Path(scratch), user), *(_write_bundle(Path(scratch), page, listed, user) for page in listed)]
        return [_move(folder, output / folder.name) for folder in made]


def _check_slugs(listed):
    named = {SUPPORT_SLUG: "the dataset"}
    for page in listed:
        address = slug(page.kaggle_title)
        if address in named:
            raise KaggleError(f"{page.name}.ipynb and {named[address]} would have one address on Kaggle, {address}")
        named[address] = f"{page.name}.ipynb"


def _move(folder, target):
    shutil.rmtree(target, ignore_errors=True)
    os.replace(folder, target)
    return target


def _write_support(parent, user):
    folder = parent / SUPPORT_SLUG
    folder.mkdir()
    _write_package(folder)
    shutil.copy(manifests.DATA / "manifest.csv", folder)
    shutil.copytree(manifests.DATA / "results", folder / "results", ignore=shutil.ignore_patterns(".*"))
    _write_json(folder / "dataset-metadata.json", support_metadata(user))
    return folder


def _write_package(folder):
    """The package as its wheel installs it, built in a copy: the checkout may be read-only, and older builds stay out."""
    unwanted = shutil.ignore_patterns("__pycache__", ".*", "cache", manifests.BRAIN_TUMOUR_MRI.name)
    build_it = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    with tempfile.TemporaryDirectory() as scratch:
        for name in ("tumor_mri", "data"):
            shutil.copytree(SOURCE / name, Path(scratch) / name, ignore=unwanted)
        for name in ("pyproject.toml", "requirements.txt", "README.md", "LICENSE"):
            shutil.copy(SOURCE / name, scratch)
        command = [sys.executable, "-c", build_it, scratch]
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True)
        if done.returncode:
            raise KaggleError(f"the package could not be built: {(done.stderr.splitlines() or ['no reason is given'])[-1]}")
        wheel = Path(scratch) / done.stdout.splitlines()[-1]
        shutil.unpack_archive(wheel, folder / "tumor_mri_package", "zip")


def _write_bundle(parent, page, listed, user):
    folder = parent / slug(page.kaggle_title)
    folder.mkdir()
    content = (notebook_files.NOTEBOOKS / f"{page.name}.ipynb").read_text(encoding="utf-8")
    for other in listed:
        content = content.replace(f"]({other.name}.ipynb)", f"](https://www.kaggle.com/code/{user}/{slug(other.kaggle_title)})")
    content = re.sub(
        r"\[([^\]\[]+)\]\((?:solutions/)?\w+\.(?:ipynb|md)\)", r"`\1`", content
    )  # files that only the repository has
    text.write_whole(folder / f"{page.name}.ipynb", content)
    _write_json(folder / "kernel-metadata.json", notebook_metadata(page, user))
    return folder


def _write_json(path, data):
    text.write_whole(path, json.dumps(data, indent=2) + "\n")


def support_metadata(user: str) -> dict:
    """What ``dataset-metadata.json`` says."""
    return {
        "title": SUPPORT_TITLE,
        "id": f"{user}/{SUPPORT_SLUG}",
        "subtitle": SUPPORT_SUBTITLE,
        "description": SUPPORT_DESCRIPTION.format(images=manifests.BRAIN_TUMOUR_MRI.kaggle),
        "licenses": [{"name": "other"}],  # Kaggle's list of names; the description says which
    }


def notebook_metadata(page: notebook_files.Listing, user: str) -> dict:
    """What ``kernel-metadata.json`` of a notebook says: all that it needs is attached, so that it works without internet.

    Args:
        page: what the notebook says about itself, a `notebook_files.Listing`.
        user: whose Kaggle account.
    """
    return {
        "id": f"{user}/{slug(page.kaggle_title)}",
        "title": page.kaggle_title,
        "code_file": f"{page.name}.ipynb",
        "language": "python",
        "kernel_type": "notebook",
        "is_private": True,
        "enable_gpu": page.gpu,
        "enable_tpu": False,
        "enable_internet": False,
        "dataset_sources": [f"{user}/{SUPPORT_SLUG}", manifests.BRAIN_TUMOUR_MRI.kaggle],
        "competition_sources": [],
        "kernel_sources": [],
        "model_sources": [],
    }


def connect() -> Any:
    """Kaggle's own client, with the user's credentials.

    Raises:
        KaggleError: naming what is missing.
    """
    lacking = _lacking()
    if lacking:
        raise KaggleError(f"Kaggle takes a push only with credentials, and there are none: {lacking}")
    if importlib.util.find_spec("kaggle") is None:
        raise KaggleError("Kaggle's own client is missing: run `make venv`, with Python 3.11 or later, which it needs")
    try:
        from kaggle.api.kaggle_api_extended import KaggleApi

        client = KaggleApi()
        client.authenticate()
    except (Exception, SystemExit) as error:  # the client ends the process where it is refused
        raise KaggleError(f"Kaggle's client does not accept the credentials: {download.reason(error)}") from error
    return client


def _lacking():
    """What credentials lack, in words; nothing where the client will find some."""
    if os.environ.get("KAGGLE_API_TOKEN"):
        return ""
    folders = [os.environ.get("KAGGLE_CONFIG_DIR") or "~/.kaggle", "~/.kaggle", "~/.config/kaggle"]
    if any((Path(folder).expanduser() / name).is_file() for folder in folders for name in CREDENTIALS):
        return ""
    absent = [name for name in ("KAGGLE_USERNAME", "KAGGLE_KEY") if not os.environ.get(name)]
    if len(absent) == 1:
        return f"{absent[0]} is not set"
    if absent:
        return "set KAGGLE_API_TOKEN, or put the kaggle.json of your account's settings page into ~/.kaggle"
    return ""


def user_name(client: Any = None) -> str | None:
    """Whose account: the client's, or the one that environment or ``kaggle.json`` name; None where neither does."""
    if client is not None:
        return client.get_config_value("username")
    try:
        from kagglehub.config import get_kaggle_credentials

        found = get_kaggle_credentials()
    except Exception:  # no kagglehub, or credentials that cannot be read
        found = None
    return os.environ.get("KAGGLE_USERNAME") or getattr(found, "username", None) or None


def push(folders: list[Path], client: Any) -> None:
    """Push what `build` has written: first the dataset, which the notebooks need, then each notebook, which Kaggle then runs.

    Raises:
        KaggleError: with what Kaggle says, where it takes one of them not.
    """
    support, *notebooks = folders
    _push(_push_dataset, support, client)
    for folder in notebooks:
        _push(_push_notebook, folder, client)


def _push(how, folder, client):
    try:
        result = how(folder, client)
    except KaggleError:
        raise
    except (Exception, SystemExit) as error:  # whatever the client or the network does wrong
        raise KaggleError(f"{folder.name} could not be pushed: {download.reason(error)}") from error
    if result.error:
        raise KaggleError(f"Kaggle does not take {folder.name}: {download.reason(result.error)}")
    print(f"pushed {folder.name}: {result.url}")


def _push_dataset(folder, client):
    """Make the dataset, or a new version of it, and wait until notebooks can attach it."""
    name = json.loads((folder / "dataset-metadata.json").read_text(encoding="utf-8"))["id"]
    if _status(client, name) is None:
        result = client.dataset_create_new(str(folder), quiet=True, convert_to_csv=False, dir_mode="zip")
    else:
        result = client.dataset_create_version(str(folder), "A new build", quiet=True, convert_to_csv=False, dir_mode="zip")
    ends = time.monotonic() + PATIENCE
    while not result.error and _status(client, name) != "ready":
        if time.monotonic() > ends:
            raise KaggleError(f"Kaggle has not made {name} ready within {PATIENCE} seconds: push again later")
        time.sleep(5)
    return result


def _status(client, name):
    """What Kaggle says of a dataset; None where it knows none."""
    try:
        return client.dataset_status(name)
    except Exception:  # it answers 403 or 404; what else may be wrong shows when the dataset is made
        return None


def _push_notebook(folder, client):
    return client.kernels_push(str(folder))
