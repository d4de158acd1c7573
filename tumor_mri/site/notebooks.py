"""The notebooks executed: stored with their outputs, or written as web pages."""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm.auto import tqdm

from tumor_mri import text
from tumor_mri.datasets import download, manifests
from tumor_mri.site import notebook_files, website
from tumor_mri.site.notebook_files import NOTEBOOKS, PageError, notebook_paths

if TYPE_CHECKING:
    from nbformat import NotebookNode

STORY = notebook_files.story_picture(NOTEBOOKS)
LARGEST_PICTURE = 150_000  # bytes; above it, a picture is stored with fewer pixels
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
REPOSITORY = ""  # this project's address, https://….git, once it has one: in Colab the first cell installs the package from it
_PHANTOM_NOTE = "No dataset could be had when these pages were made: pictures of scans are replaced by drawn phantoms."


def execute(path: Path, figures: Path | None = None, phantoms: bool = False) -> NotebookNode:
    """A notebook, run from top to bottom in its own folder by this Python: an ``nbformat`` notebook with outputs.

    Args:
        path: of the notebook.
        figures: a folder that also gets each figure as SVG; None for no files.
        phantoms: whether drawn phantoms replace scans, without a search for the dataset.

    Raises:
        PageError: if it is not a notebook, a cell fails or takes too long, or its kernel dies.
    """
    variables = {} if figures is None else {"TUMOR_MRI_FIGURES": str(figures.resolve() / path.stem)}
    return _execute(notebook_files.read(path), path, variables | ({"TUMOR_MRI_PHANTOMS": "1"} if phantoms else {}))


def _execute(notebook, path, variables=None):
    """Run a notebook that was read from `path`, with these variables in its environment."""
    from tumor_mri.site import execution  # slow to import

    execution.run(notebook, path, variables or {})
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times of day, new at each run
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET_VIEW, None)  # needs this kernel, which is gone; its plain text is what remains
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def refresh(paths: list[Path] | None = None) -> None:
    """Put the first cell into notebooks, execute them and store them with their outputs: what is committed.

    Raises:
        PageError: as `execute`, and if more than one figure is tagged for the README.
    """
    import nbformat

    paths = [Path(path) for path in paths or notebook_paths()]
    for folder in {path.parent for path in paths}:
        notebook_files.check_one_story(folder)
    for path in tqdm(paths, desc="notebooks", unit="notebook"):
        notebook = _execute(_with_exercises(_with_first_cell(notebook_files.read(path)), path), path)
        _make_pictures_small(notebook)
        _describe(notebook)
        _fold(notebook)
        pictures = _story_pictures(notebook)
        if len(pictures) > 1:
            raise PageError(
                f"{path.name}: the cell tagged {notebook_files.STORY!r} draws {len(pictures)} figures, and one is shown"
            )
        text.write_whole(path, nbformat.writes(notebook) + "\n")
        for picture in pictures:
            story = notebook_files.story_picture(path.parent)
            story.parent.mkdir(exist_ok=True)
            text.write_whole(story, picture)


def first_cell(repository: str = REPOSITORY) -> str:
    """The first code cell of every notebook, put there by `refresh`: opened alone, the notebook finds the package.

    An installed package comes first, then one beside the notebook, then one that is attached as a dataset on Kaggle.

    Args:
        repository: the project's address, from which the cell installs the package in Colab; empty: it does not. Nothing of the
            host's own, such as TensorFlow, is changed.
    """
    lines = [
        "import glob",
        "import sys",
        "",
        'sys.path += ["..", "../..", *glob.glob("/kaggle/input/**/tumor_mri_package", recursive=True)]',
    ]
    if repository:
        command = f'[sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "git+{repository}"]'
        lines += ['if "google.colab" in sys.modules:', "    import subprocess", "", f"    subprocess.run({command}, check=True)"]
    return "\n".join(lines)


def _with_first_cell(notebook):
    """A notebook whose first code cell is `first_cell`, behind its opening."""
    import nbformat

    cells = [cell for cell in notebook.cells if "setup" not in notebook_files.tags(cell)]
    setup = nbformat.v4.new_code_cell(first_cell(), id="setup", metadata={"tags": ["setup"]})
    notebook.cells = [*cells[:1], setup, *cells[1:]]
    return notebook


def _with_exercises(notebook, path):
    """A notebook whose exercises are those of its solutions, if it has any: these are the source."""
    solutions = notebook_files.solutions(path)
    for cell in notebook.cells:
        if "exercises" in notebook_files.tags(cell):
            cell.source = notebook_files.exercises_text(solutions)
    return notebook


def _fold(notebook):
    """Hide the code of the first cell, of the summary and what is tagged so, in Jupyter and on Kaggle; and long outputs."""
    is_summary = False
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            is_summary = cell.source.startswith("## Summary")
            continue
        wanted = set(notebook_files.tags(cell))
        wanted |= {notebook_files.HIDE_INPUT} if is_summary or "setup" in wanted else set()
        cell.metadata["tags"] = sorted(wanted)
        folded = {
            "source_hidden": notebook_files.HIDE_INPUT in wanted,
            "outputs_hidden": notebook_files.HIDE_OUTPUT in wanted,
        }
        for name in ("jupyter", "_kg_hide-input", "_kg_hide-output"):
            cell.metadata.pop(name, None)
        if any(folded.values()):
            cell.metadata["jupyter"] = {name: True for name, value in folded.items() if value}
            cell.metadata |= {
                f"_kg_hide-{name}": True for name, value in zip(("input", "output"), folded.values(), strict=True) if value
            }
        if not wanted:
            del cell.metadata["tags"]


def _make_pictures_small(notebook):
    """Give every picture a palette of 256 colours: no eye tells, and the file is less than half as large.

    Pictures are drawn with two pixels for each one shown; those of many scans, which are large, get fewer.
    """
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                shown = output.metadata.get("image/png", {}).get("width")
                small = _with_palette(base64.b64decode(output["data"]["image/png"]))
                for density in (1.25, 1) if shown else ():
                    if len(small) > LARGEST_PICTURE:
                        small = _with_palette(_resized(base64.b64decode(output["data"]["image/png"]), int(density * shown)))
                output["data"]["image/png"] = base64.b64encode(small).decode()


def _describe(notebook):
    """Give every picture the sentence that its cell prints as its alternative text, for screen readers in Jupyter too."""
    for cell in notebook.cells:
        said = notebook_files.printed(cell)
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.metadata.setdefault("image/png", {})["alt"] = said


def _resized(picture: bytes, width: int) -> bytes:
    """A PNG file with at most this many pixels across."""
    from PIL import Image

    with Image.open(io.BytesIO(picture)) as image:
        width = min(width, image.width)
        smaller = image.convert("RGB").resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    smaller.save(file, "PNG")
    return file.getvalue()


def _with_palette(picture: bytes) -> bytes:
    """A PNG file whose picture has at most 256 colours; as it was where it has any transparency."""
    from PIL import Image

    with Image.open(io.BytesIO(picture)) as image:
        if image.convert("RGBA").getextrema()[3] != (255, 255):
            return picture
        colours = image.convert("RGB")
        red, green, blue = colours.split()
        if red.tobytes() == green.tobytes() == blue.tobytes():
            small = red  # grey levels as they are: smaller, and nothing is lost
        else:
            small = colours.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    file = io.BytesIO()
    small.save(file, "PNG", optimize=True)
    return file.getvalue()


def _story_pictures(notebook):
    """The pictures of cells tagged ``story``: the README shows the one."""
    outputs = [output for cell in notebook_files.tagged(notebook, notebook_files.STORY) for output in cell.get("outputs", [])]
    return [base64.b64decode(output["data"]["image/png"]) for output in outputs if "image/png" in output.get("data", {})]


def reproduce(output: Path | str) -> Path:
    """Execute every notebook and write it as a web page, and its figures as SVG; returns the path of ``index.html``.

    The notebooks themselves are left as they are. If there is no dataset to be had, phantoms stand in for scans, and the pages
    say so. The pages of an earlier call stay until all of the new ones are there.
    """
    notebook_files.need_checkout("executing the notebooks")
    note = ""
    try:
        download.locate()
    except manifests.DatasetError as error:
        print(f"No dataset could be had, pictures of scans are replaced by drawn phantoms. {error}", file=sys.stderr)
        note = _PHANTOM_NOTE
    with website.replaced(Path(output)) as folder:
        figures = folder / "figures"
        figures.mkdir()
        executed = {}
        for path in tqdm(notebook_paths(), desc="notebooks", unit="notebook"):
            executed[path.stem] = execute(path, figures, phantoms=bool(note))
            _move_warnings(path.name, executed[path.stem])
        website.write(executed, folder, note, REPOSITORY, notebook_files.others())
    return Path(output) / "index.html"


def _move_warnings(name, notebook):
    """Take what cells wrote to stderr out of a notebook and write it to this process's own: it names folders of this machine."""
    for number, cell in enumerate(notebook.cells, 1):
        outputs = cell.get("outputs", [])
        for output in outputs:
            if output.get("name") == "stderr":
                print(f"{name}, cell {number}: {output['text'].rstrip()}", file=sys.stderr)
        if outputs:
            cell["outputs"] = [output for output in outputs if output.get("name") != "stderr"]


def site(output: Path | str) -> Path:
    """Write every notebook as it is stored, without running it, as a web page; returns the path of ``index.html``."""
    notebook_files.need_checkout("the website")
    stored = {path.stem: notebook_files.read(path) for path in notebook_paths()}
    with website.replaced(Path(output)) as folder:
        website.write(stored, folder, repository=REPOSITORY, others=notebook_files.others())
    return Path(output) / "index.html"
