"""The notebooks, executed, stored and written as web pages; with `website` the one room of the package that knows them."""

import base64
import io
import os
import sys
from pathlib import Path

from tqdm.auto import tqdm

from tumor_mri import text
from tumor_mri.datasets import download, manifests
from tumor_mri.site import website

NOTEBOOKS = manifests.ROOT / "notebooks"
STORY = NOTEBOOKS / "images" / "two_splits.png"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
TIMEOUT = 1200  # seconds a cell may take
REPOSITORY = ""  # this project's address, https://….git, once it has one: in Colab the first cell installs the package from it
# the first code cell of every notebook, put there by `refresh`: opened alone, the notebook finds the package. A wheel is
# unpacked, and pip installs no dependencies, so that nothing of the host's own, such as TensorFlow, is changed
FIRST_CELL = f"""\
import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

wheels = sorted(Path(os.environ.get("TUMOR_MRI_KAGGLE_INPUT", "/kaggle/input")).rglob("tumor_mri-*.whl"))
beside = [folder for folder in (Path.cwd(), Path.cwd().parent) if (folder / "tumor_mri/__init__.py").is_file()]
if importlib.util.find_spec("tumor_mri"):
    source = "as installed"
elif wheels:
    source = "from an attached dataset"
    sys.path.insert(0, tempfile.mkdtemp())
    zipfile.ZipFile(wheels[-1]).extractall(sys.path[0])
elif beside:
    source = "from beside the notebook"
    sys.path.insert(0, str(beside[0]))
elif "google.colab" in sys.modules and (repository := "{REPOSITORY}"):
    source = "from its repository"
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", f"git+{{repository}}"], check=True)
else:
    raise ModuleNotFoundError("tumor_mri is not here: attach its dataset, or open this notebook in a copy of the repository")
print(f"tumor_mri is used {{source}}.")"""
_PHANTOM_NOTE = "No dataset could be had when these pages were made: pictures of scans are replaced by drawn phantoms."


class PageError(text.ProjectError):
    """A notebook that did not run to its end; the text names it and its error."""


def notebook_paths() -> list:
    """The numbered notebooks, in order."""
    return sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


def execute(path, figures=None):
    """A notebook, run from top to bottom in its own folder by this Python: an ``nbformat`` notebook with outputs.

    Args:
        path: of the notebook.
        figures: a folder that also gets each figure as SVG; None for no files.

    Raises:
        PageError: where it is no notebook, a cell fails or takes too long, or its kernel dies.
    """
    return _execute(_read(path), path, {} if figures is None else {"TUMOR_MRI_FIGURES": str(figures.resolve() / path.stem)})


def _execute(notebook, path, variables=None):
    """Run a notebook that was read from `path`, with these variables in its environment."""
    from jupyter_core.utils import run_sync
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    # the kernel must be this Python, whatever kernels the user has installed
    manager = _kernel_manager()
    where = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(notebook, km=manager, timeout=TIMEOUT, resources=where, store_widget_state=False)
    try:
        client.execute(env=os.environ | (variables or {}))
    except CellExecutionError as error:
        raise PageError(f"{path.name} did not run to its end: {error.ename}: {error.evalue}") from error
    except (CellTimeoutError, DeadKernelError) as error:
        raise PageError(f"{path.name} did not run to its end: {type(error).__name__}: {' '.join(str(error).split())}") from error
    finally:
        run_sync(manager.shutdown_kernel)(now=True)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of day, new at each run
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET_VIEW, None)  # needs this kernel, which is gone; its plain text is what remains
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def _read(path):
    """The notebook in a file, which is a notebook by its own format's rules.

    Raises:
        PageError: where it is none.
    """
    import nbformat

    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except OSError:
        raise
    except Exception as error:  # nbformat fails in many ways on what is no notebook
        raise PageError(f"{path} is no notebook: {' '.join(str(error).split())[:200]}") from error
    return notebook


def _kernel_manager():
    from jupyter_client.manager import AsyncKernelManager

    manager = AsyncKernelManager(kernel_name="python3")
    manager.kernel_spec.argv[0] = sys.executable
    manager.kernel_spec.argv.append("--IPKernelApp.log_level=40")  # errors only
    return manager


def refresh(paths=None) -> None:
    """Put the first cell into notebooks, execute them and store them with their outputs: what is committed."""
    import nbformat

    for path in tqdm(paths or notebook_paths(), desc="notebooks", unit="notebook"):
        notebook = _execute(_with_first_cell(_read(path)), path)
        _make_pictures_small(notebook)
        text.write_whole(path, nbformat.writes(notebook) + "\n")
        for picture in _story_pictures(notebook):
            STORY.parent.mkdir(exist_ok=True)
            text.write_whole(STORY, picture)


def _with_first_cell(notebook):
    """A notebook whose first code cell is `FIRST_CELL`, behind its opening."""
    import nbformat

    cells = [cell for cell in notebook.cells if "setup" not in cell.metadata.get("tags", [])]
    setup = nbformat.v4.new_code_cell(FIRST_CELL, id="setup", metadata={"tags": ["setup"]})
    notebook.cells = [*cells[:1], setup, *cells[1:]]
    return notebook


def _make_pictures_small(notebook):
    """Give every picture a palette of 256 colours: no eye tells, and the file is less than half as large."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                small = _with_palette(base64.b64decode(output["data"]["image/png"]))
                output["data"]["image/png"] = base64.b64encode(small).decode()


def _with_palette(picture: bytes) -> bytes:
    """A PNG file whose picture has at most 256 colours; as it was where it has any transparency."""
    from PIL import Image

    with Image.open(io.BytesIO(picture)) as image:
        if image.convert("RGBA").getextrema()[3] != (255, 255):
            return picture
        small = image.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    file = io.BytesIO()
    small.save(file, "PNG", optimize=True)
    return file.getvalue()


def _story_pictures(notebook):
    """The pictures of cells tagged ``story``: the README shows them."""
    for cell in notebook.cells:
        if "story" in cell.metadata.get("tags", []):
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    yield base64.b64decode(output["data"]["image/png"])


def reproduce(output) -> Path:
    """Execute every notebook and write it as a web page, and its figures as SVG; returns the path of ``index.html``.

    The notebooks themselves are left as they are. Where no dataset can be had, phantoms stand in for scans, and the pages say so.
    """
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    figures = output / "figures"
    figures.mkdir(exist_ok=True)
    for old in figures.glob("*.svg"):
        old.unlink()
    note = ""
    try:
        download.locate()
    except manifests.DatasetError as error:
        print(f"No dataset could be had, pictures of scans are replaced by drawn phantoms. {error}", file=sys.stderr)
        os.environ["TUMOR_MRI_PHANTOMS"] = "1"
        note = _PHANTOM_NOTE
    notebooks = {path.stem: execute(path, figures) for path in tqdm(notebook_paths(), desc="notebooks", unit="notebook")}
    return website.write(notebooks, output, note, REPOSITORY)


def site(output) -> Path:
    """Write every notebook as it is stored, without running it, as a web page; returns the path of ``index.html``."""
    return website.write({path.stem: _read(path) for path in notebook_paths()}, Path(output), repository=REPOSITORY)
