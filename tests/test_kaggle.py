"""The notebooks on Kaggle and in Colab: executed in a place laid out as Kaggle's; metadata under its own client's rules."""

import ast
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import nbformat
import pytest
import requests
from nbclient import NotebookClient

import tumor_mri
from tumor_mri import __main__ as cli
from tumor_mri.datasets import download, manifests
from tumor_mri.site import execution, kaggle, notebook_files, notebooks
from tumor_mri.study import catalogue

pytestmark = pytest.mark.kaggle
OWNER = "some-one"
SECRET = "KGAT_secret-of-the-tests"
LAYOUTS = {"slug": "{slug}", "owner": "datasets/{owner}/{slug}"}
# what a Python of the clean place does at its start: forget the checkout that is installed here, and refuse other machines
CLEAN = """\
import socket, sys
from importlib.machinery import BuiltinImporter, FrozenImporter, PathFinder
STANDARD = (BuiltinImporter, FrozenImporter, PathFinder)
sys.meta_path[:] = [one for one in sys.meta_path if one in STANDARD or not one.find_spec("tumor_mri", None)]
whole = socket.socket.connect
def connect(self, address):
    if self.type == socket.SOCK_STREAM and self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
        raise OSError("no network in this test")
    return whole(self, address)
socket.socket.connect = connect
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The bundles, as `make kaggle` writes them; the dataset's folder first."""
    return kaggle.build(tmp_path_factory.mktemp("build"), OWNER)


@pytest.fixture
def place(tmp_path):
    """An input folder, a working folder and a Python that does not know the package: `place.environment` starts it."""
    for name in ("input", "working", "tmp", "clean"):
        (tmp_path / name).mkdir()
    (tmp_path / "clean" / "sitecustomize.py").write_text(CLEAN)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TUMOR_MRI", "KAGGLE", "PYTHON"))}
    environment = kept | {"PYTHONPATH": str(tmp_path / "clean"), "TUMOR_MRI_KAGGLE_INPUT": str(tmp_path / "input")}
    environment |= {"TMPDIR": str(tmp_path / "tmp"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"  # Kaggle's folder takes none
    return SimpleNamespace(input=tmp_path / "input", working=tmp_path / "working", environment=environment)


def mount(place, layout, owner, slug, source):
    """Where Kaggle puts a dataset, as links to files; the folders may not be written."""
    target = place.input / LAYOUTS[layout].format(owner=owner, slug=slug)
    target.mkdir(parents=True)
    for path in source.iterdir():
        (target / path.name).symlink_to(path)
    for folder in (target, *list(target.parents)[: len(target.relative_to(place.input).parts)]):
        folder.chmod(0o555)


def attach(place, layout, folders):
    """Attach what the bundles' metadata name."""
    mount(place, layout, OWNER, kaggle.SUPPORT_SLUG, folders[0])
    mount(place, layout, *manifests.BRAIN_TUMOUR_MRI.kaggle.split("/"), download.find())


def python(place, code, cwd=None, **environment):
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=cwd or place.working, env=place.environment | environment, capture_output=True, text=True)


def here(place, first_cell):
    """The first cell of a notebook, with the test's input folder for Kaggle's."""
    assert "/kaggle/input" in first_cell
    return first_cell.replace("/kaggle/input", str(place.input))


def run(place, path, **environment):
    """A bundle's notebook as it was stored, and as it is after its execution in the working folder."""
    stored, notebook = nbformat.read(path, as_version=4), nbformat.read(path, as_version=4)
    notebook.cells[1].source = here(place, notebook.cells[1].source)
    client = NotebookClient(
        notebook,
        km=execution.kernel_manager(),
        timeout=600,
        startup_timeout=600,
        resources={"metadata": {"path": place.working}},
    )
    client.execute(env=place.environment | environment)
    return stored, notebook


def said(notebook):
    """What each code cell behind the first one prints and writes."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"][1:]
    texts = [[output.get("text", "") for output in cell.outputs if output.get("name") == "stdout"] for cell in cells]
    written = [[output.get("data", {}).get("text/markdown", "") for output in cell.outputs] for cell in cells]
    return ["".join(one + other) for one, other in zip(texts, written, strict=True)]


def everything(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


# executed as Kaggle would: one that looks at the images, and one that reads everything else that the bundle carries
EXECUTED = ["01_download_dataset", "10_what_it_looks_at"]


@pytest.mark.slow
@pytest.mark.needs_dataset
def test_notebooks_opened_alone_tell_the_same_on_kaggle(place, folders):
    attach(place, "slug", folders)
    before = everything(place.input) | everything(folders[0])
    assert "No module named 'tumor_mri'" in python(place, "import tumor_mri").stderr
    for page, folder in zip(notebook_files.listings(), folders[1:], strict=True):
        if page.name in EXECUTED:
            stored, executed = run(place, folder / f"{page.name}.ipynb")
            assert said(executed) == said(stored)
    assert everything(place.input) | everything(folders[0]) == before


def code_of(path):
    return [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def test_the_code_of_every_bundle_is_that_of_its_notebook(folders):
    for page, folder in zip(notebook_files.listings(), folders[1:], strict=True):
        code = code_of(folder / f"{page.name}.ipynb")
        assert code == code_of(notebooks.NOTEBOOKS / f"{page.name}.ipynb") and code[0] == notebooks.first_cell()


def names_used(sources):
    """What code takes from the package, as import statements, and as expressions such as ``figures.gallery``."""
    trees = [ast.walk(ast.parse(source)) for source in sources]
    nodes = [node for tree in trees for node in tree]
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "tumor_mri"]
    known = {name.asname or name.name for node in imports for name in node.names}
    taken = {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") in known}
    return sorted({ast.unparse(node) for node in imports}), sorted(taken)


def lacking(place, sources):
    """The names that these cells take from the package, and that the attached package has not."""
    imports, taken = names_used(sources)
    look = "lacking = [name for name in names if not hasattr(globals()[name.split('.')[0]], name.split('.')[1])]"
    done = python(place, "\n".join([here(place, notebooks.first_cell()), *imports, f"names = {taken}", look, "print(*lacking)"]))
    assert done.returncode == 0 and len(taken) > 0, done.stderr
    return done.stdout.split()


def test_the_bundle_has_all_that_the_notebooks_use(place, folders):
    """Of every notebook, without executing it; that what is there works, the strict lane shows."""
    mount(place, "slug", OWNER, kaggle.SUPPORT_SLUG, folders[0])
    for page, folder in zip(notebook_files.listings(), folders[1:], strict=True):
        assert lacking(place, code_of(folder / f"{page.name}.ipynb")) == [], page.name
    made_up = "from tumor_mri import figures, study\nfigures.pie_chart(study.runs)"  # seen as lacking, and nothing else is
    assert lacking(place, [made_up]) == ["figures.pie_chart", "study.runs"]


@pytest.mark.slow
@pytest.mark.needs_dataset
def test_a_notebook_trains_on_kaggle(place, folders):
    attach(place, "owner", folders)
    assert "No module named 'tumor_mri'" in python(place, "import tumor_mri").stderr
    stored, executed = run(place, folders[4] / "04_confusion_matrix.ipynb", TUMOR_MRI_RETRAIN="smoke")
    assert said(executed) != said(stored)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_attached_package_reads_from_itself_and_writes_below_the_working_folder(place, folders, layout):
    mount(place, layout, OWNER, kaggle.SUPPORT_SLUG, folders[0])
    imports = "from tumor_mri import study\nfrom tumor_mri.runs import records"
    code = f"{here(place, notebooks.first_cell())}\n{imports}\nprint(len(study.run('sweep-widths')), records.LOCAL)"
    done = python(place, code)
    count, local = done.stdout.splitlines()[-1].split()
    assert int(count) == len(catalogue.configs_of("sweep-widths")), done.stderr
    assert local == str(place.working / "build" / "runs")


def test_the_first_cell_finds_the_package_installed_beside_it_or_attached(place, folders):
    code = here(place, notebooks.first_cell()) + "\nimport tumor_mri\nprint(tumor_mri.__file__)"
    assert python(place, code).returncode == 1
    for cwd in (notebooks.NOTEBOOKS, notebooks.NOTEBOOKS / "solutions"):
        assert Path(python(place, code, cwd=cwd).stdout.strip()).resolve().is_relative_to(kaggle.SOURCE)
    mount(place, "owner", OWNER, kaggle.SUPPORT_SLUG, folders[0])
    assert str(place.input) in python(place, code).stdout
    installed = f"{place.environment['PYTHONPATH']}{os.pathsep}{kaggle.SOURCE}"
    assert str(place.input) not in python(place, code, PYTHONPATH=installed).stdout


def test_colab_installs_the_package_only_once_its_address_is_set(place):
    where = "https://example.org/repository.git"
    in_colab = "import subprocess, sys\nsys.modules['google.colab'] = sys\n"
    in_colab += "subprocess.run = lambda command, **_: print(*command)\n"
    done = python(place, in_colab + notebooks.first_cell(where))
    assert done.stdout.endswith(f"-m pip install --quiet --no-deps git+{where}\n")  # no dependency: TensorFlow stays the host's
    assert python(place, notebooks.first_cell(where)).stdout == ""  # anywhere else nothing is installed
    assert python(place, in_colab + notebooks.first_cell("")).stdout == ""


def test_each_notebook_says_its_title_and_whether_it_wants_a_gpu():
    trains = ["RETRAIN = False" in path.read_text(encoding="utf-8") for path in notebooks.notebook_paths()]
    assert [page.gpu for page in notebook_files.listings()] == trains
    titles = [page.kaggle_title for page in notebook_files.listings()] + [kaggle.SUPPORT_TITLE]
    assert len({kaggle.slug(title) for title in titles}) == len(titles)
    assert all(6 <= len(title) <= 50 and re.fullmatch("[a-z][a-z0-9-]{5,49}", kaggle.slug(title)) for title in titles)


def test_two_notebooks_of_one_address_are_refused(tmp_path, monkeypatch):
    first, second, *_ = notebook_files.listings()
    monkeypatch.setattr(notebook_files, "listings", lambda: [first, replace(second, kaggle_title=f"{first.kaggle_title}?")])
    with pytest.raises(kaggle.KaggleError, match=f"{second.name}.ipynb and {first.name}.ipynb would have one address"):
        kaggle.build(tmp_path / "build", OWNER)
    assert list(tmp_path.iterdir()) == []


def files_below(folder):
    return {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_bundle_carries_every_room(folders):
    inside = {name for name in files_below(folders[0] / "tumor_mri_package" / "tumor_mri") if not name.startswith("data/")}
    assert inside == files_below(Path(tumor_mri.__file__).parent)
    assert len({name.split("/")[0] for name in inside if name.endswith("/__init__.py")}) >= 8  # rooms


def test_the_bundle_carries_the_data_and_no_image(folders):
    inside = files_below(folders[0] / "tumor_mri_package" / "tumor_mri" / "data")
    names = ("*.csv", "*.md", "report/*.csv", "results/*.npz", "weights/*", "inspection/*.npz", "pretrained/*")
    known = [path.relative_to(manifests.DATA).as_posix() for pattern in names for path in manifests.DATA.glob(pattern)]
    assert inside == set(known)
    top = ["dataset-metadata.json", "manifest.csv", "results", "tumor_mri_package"]
    assert sorted(path.name for path in folders[0].iterdir()) == top


def test_links_between_notebooks_lead_to_kaggle(folders):
    links = re.findall(r"\]\(([^)]*)\)", (folders[1] / "01_download_dataset.ipynb").read_text(encoding="utf-8"))
    assert f"https://www.kaggle.com/code/{OWNER}/{kaggle.slug(notebook_files.listings()[1].kaggle_title)}" in links
    assert not [link for link in links if link.endswith(".ipynb")]


@pytest.fixture
def client(tmp_path, monkeypatch):
    """Kaggle's own client, whose requests end in `client.requests` instead of at Kaggle."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KAGGLE_USERNAME", OWNER)
    monkeypatch.setenv("KAGGLE_KEY", SECRET)
    pytest.importorskip("kaggle", reason="Kaggle's client needs Python 3.11")
    client = kaggle.connect()
    client.requests, client.known = [], False
    server = mock.MagicMock()
    server.__enter__.return_value = server

    def take(request):
        client.requests.append(request)
        client.known = True
        return SimpleNamespace(error="", url="https://www.kaggle.com/somewhere")

    def status(name):
        client.validate_dataset_string(name)
        if not client.known:
            raise requests.HTTPError("404")
        return "ready"

    server.kernels.kernels_api_client.save_kernel.side_effect = take
    server.datasets.dataset_api_client.create_dataset.side_effect = take
    server.datasets.dataset_api_client.create_dataset_version.side_effect = take
    monkeypatch.setattr(client, "build_kaggle_client", lambda: server)
    monkeypatch.setattr(client, "dataset_status", status)
    monkeypatch.setattr(client, "upload_files", lambda request, *arguments: client.requests.append(arguments))
    return client


def test_the_official_client_takes_the_bundles(client, folders, capsys):
    from slugify import slugify

    assert kaggle.user_name(client) == OWNER
    kaggle.push(folders, client)
    upload, support, *notebooks = client.requests
    assert (support.slug, support.title) == (kaggle.SUPPORT_SLUG, kaggle.SUPPORT_TITLE) and support.slug == slugify(support.title)
    assert "zip" in upload  # else the client leaves the folder of records out
    for page, request in zip(notebook_files.listings(), notebooks, strict=True):
        assert request.slug == f"{OWNER}/{slugify(request.new_title)}"
        assert request.dataset_data_sources == [f"{OWNER}/{kaggle.SUPPORT_SLUG}", manifests.BRAIN_TUMOUR_MRI.kaggle]
        assert (request.enable_gpu, request.enable_internet, request.is_private) == (page.gpu, False, True)
    said = capsys.readouterr()
    assert "does not resolve" not in said.out and SECRET not in said.out + said.err
    assert said.out.count("pushed ") == len(folders)


def test_a_second_push_makes_a_new_version(client, folders):
    client.known = True
    kaggle.push(folders[:1], client)
    assert client.requests[-1].dataset_slug == kaggle.SUPPORT_SLUG


WRONG_NOTEBOOK = [
    ({"title": "Brai"}, "at least five"),
    ({"language": "english"}, "valid language"),
    ({"kernel_type": "book"}, "valid kernel type"),
    ({"code_file": "absent.ipynb"}, "not found"),
    ({"dataset_sources": ["nobody"]}, "must be specified"),
    ({"enable_gpu": "perhaps"}, "boolean"),
]
WRONG_DATASET = [
    ({"subtitle": "short"}, "between 20 and 80"),
    ({"title": "x" * 51}, "between 6 and 50"),
    ({"licenses": []}, "exactly one"),
]


@pytest.mark.parametrize(("change", "words"), WRONG_NOTEBOOK, ids=str)
def test_the_official_client_refuses_wrong_metadata_of_a_notebook(client, tmp_path, change, words):
    (tmp_path / "01_download_dataset.ipynb").write_text("{}")
    metadata = kaggle.notebook_metadata(notebook_files.listings()[0], OWNER) | change
    (tmp_path / "kernel-metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(kaggle.KaggleError, match=words):
        kaggle._push(kaggle._push_notebook, tmp_path, client)


@pytest.mark.parametrize(("change", "words"), WRONG_DATASET, ids=str)
def test_the_official_client_refuses_wrong_metadata_of_the_dataset(client, tmp_path, change, words):
    (tmp_path / "dataset-metadata.json").write_text(json.dumps(kaggle.support_metadata(OWNER) | change))
    with pytest.raises(kaggle.KaggleError, match=words):
        kaggle.push([tmp_path], client)


def test_what_kaggle_refuses_is_told_without_the_key(client, monkeypatch, capsys, tmp_path):
    def refuse(folder, **settings):
        raise ValueError(f"the key {SECRET} is wrong")

    monkeypatch.setattr(client, "dataset_create_new", refuse)
    monkeypatch.setattr(kaggle, "connect", lambda: client)
    assert cli.main(["kaggle", "--push", "--output", str(tmp_path / "build")]) == 1
    said = capsys.readouterr()
    assert "could not be pushed: the key … is wrong" in said.err and SECRET not in said.out + said.err
