"""The notebooks as files: which there are, and what each says about itself. Everything else that knows them asks here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tumor_mri import text
from tumor_mri.datasets import manifests

if TYPE_CHECKING:
    from nbformat import NotebookNode

NOTEBOOKS = manifests.ROOT / "notebooks"
PAGES = ("GLOSSARY", "TEACHING")  # pages of text beside them, in Markdown
# tags of cells: the one whose figure the landing page shows, the first one of a notebook without, the one that the README shows
LANDING, NO_LANDING, STORY = "landing", "no-landing", "story"
# tags of cells whose code, or whose output, is folded away wherever the notebook is shown
HIDE_INPUT, HIDE_OUTPUT = "hide-input", "hide-output"
_NAME = re.compile(r"(\d\d)_\w+")
_KAGGLE_TITLE = 50  # characters


class PageError(text.ProjectError):
    """A notebook that did not run to its end, or lacks what a page needs; the text names the notebook."""


@dataclass(frozen=True)
class Listing:
    """What a notebook says about itself: title and question in its first cell, what Kaggle is told in its metadata."""

    name: str  # the file's, without its ending
    title: str  # with its number, 3 · A question?
    question: str  # the line below, as plain text
    kaggle_title: str  # at most 50 characters
    gpu: bool  # whether its trainings want one


def notebook_paths() -> list:
    """The numbered notebooks, in order."""
    return sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


def solution_paths() -> list:
    """The notebooks with the solutions of exercises, in order: each has the name of the notebook that sets them."""
    return sorted((NOTEBOOKS / "solutions").glob("[0-9][0-9]_*.ipynb"))


def solutions(path: Path) -> Path:
    """The file with the solutions of a notebook's exercises."""
    return path.parent / "solutions" / path.name


def others() -> dict[str, NotebookNode]:
    """The pages beside the notebooks: solutions as they are stored, and pages of text as notebooks of one cell, by name."""
    import nbformat

    cell = nbformat.v4.new_markdown_cell
    pages = {f"solutions-{path.stem}": read(path) for path in solution_paths()}
    for name in PAGES:
        source = (NOTEBOOKS / f"{name}.md").read_text(encoding="utf-8")
        pages[name] = nbformat.v4.new_notebook(cells=[cell(source, id="text")])  # a random id would change the page each time
    return pages


def exercises_text(path: Path) -> str:
    """The exercises that a notebook of solutions solves, as the Markdown that sets them.

    An exercise is a Markdown cell tagged ``exercise``, which begins with a heading, ``## 1. Its title``.

    Raises:
        PageError: if there is none, or they are not numbered 1, 2, …
    """
    cells = tagged(read(path), "exercise")
    titles = [cell.source.splitlines()[0] for cell in cells]
    if not cells or any(not title.startswith(f"## {number}. ") for number, title in enumerate(titles, 1)):
        raise PageError(f"solutions/{path.name}: its cells tagged 'exercise' have to begin with ## 1. A title, ## 2. A title, …")
    asked = "\n\n".join(f"#{cell.source}" for cell in cells)
    return f"## Exercises\n{asked}\n\nThe solutions are in [solutions/{path.name}](solutions/{path.name})."


def need_checkout(what: str) -> None:
    """Refuse to go on without a copy of the repository.

    Raises:
        PageError: if the package is installed without it.
    """
    if not notebook_paths() or not (manifests.ROOT / "README.md").is_file():
        raise PageError(f"{what} needs a copy of the repository, and this package is installed without it")


def read(path: Path | str) -> NotebookNode:
    """The notebook in a file, which is a notebook by its own format's rules.

    Raises:
        PageError: if it is not one.
    """
    import nbformat

    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except OSError:
        raise
    except Exception as error:  # nbformat fails in many ways on what is no notebook
        raise PageError(f"{path} is not a notebook: {' '.join(str(error).split())[:200]}") from error
    return notebook


def tags(cell: NotebookNode) -> list:
    """The tags of a cell."""
    return cell.metadata.get("tags", [])


def printed(cell: NotebookNode) -> str:
    """What a cell prints, on one line: for a cell with a figure, the sentence that is its alternative text."""
    return " ".join(" ".join(one["text"] for one in cell.get("outputs", []) if one["output_type"] == "stream").split())


def tagged(notebook: NotebookNode, tag: str) -> list:
    """The cells with a tag."""
    return [cell for cell in notebook.cells if tag in tags(cell)]


def opening(name: str, notebook: NotebookNode) -> tuple:
    """The title and the question of a notebook: the first two lines of its first cell.

    Raises:
        PageError: if it opens in another way, or its title has not the number of its file.
    """
    lines = notebook.cells[0].source.splitlines() if notebook.cells else []
    number = _NAME.fullmatch(name)
    if not number:
        raise PageError(f"{name}.ipynb: the file of a notebook is named by two digits and a title, 03_some_title.ipynb")
    start = f"# {int(number[1])} · "
    if not lines or not lines[0].startswith(start) or not lines[0].removeprefix(start).strip():
        raise PageError(f"{name}.ipynb: its first cell has to begin with a title, {start}A question?")
    if len(lines) < 2 or not lines[1].strip():
        raise PageError(f"{name}.ipynb: the line below its title has to say what it asks")
    return lines[0].removeprefix("# ").strip(), lines[1].replace("`", "").strip()


def listing(name: str, notebook: NotebookNode) -> Listing:
    """What a notebook says about itself.

    Raises:
        PageError: naming the notebook and what it lacks.
    """
    title, question = opening(name, notebook)
    about = notebook.metadata.get("tumor_mri", {})
    kaggle_title, gpu = about.get("kaggle_title"), about.get("gpu")
    if not isinstance(kaggle_title, str) or not isinstance(gpu, bool):
        wanted = '"tumor_mri": {"gpu": false, "kaggle_title": "A title"}'
        raise PageError(f"{name}.ipynb: the metadata of the notebook has to say {wanted}")
    if len(kaggle_title) > _KAGGLE_TITLE:
        raise PageError(f"{name}.ipynb: Kaggle takes titles of at most {_KAGGLE_TITLE} characters, not {kaggle_title!r}")
    return Listing(name, title, question, kaggle_title, gpu)


def listings() -> list:
    """What each of the numbered notebooks says about itself, in order."""
    return [listing(path.stem, read(path)) for path in notebook_paths()]


def landing_cell(name: str, notebook: NotebookNode) -> NotebookNode | None:
    """The cell whose figure the landing page shows; None for a notebook that declares that it has none.

    Raises:
        PageError: unless exactly one cell is tagged, or the first cell says that none is meant.
    """
    found = tagged(notebook, LANDING)
    if NO_LANDING in tags(notebook.cells[0]):
        if found:
            raise PageError(f"{name}.ipynb: its first cell is tagged {NO_LANDING!r}, and another {LANDING!r}: take one away")
        return None
    if len(found) != 1:
        how = f"{len(found)} cells are tagged" if found else "no cell is tagged"
        wanted = f"tag the one whose figure the landing page shows, or the first cell {NO_LANDING!r}"
        raise PageError(f"{name}.ipynb: {how} {LANDING!r}: {wanted}")
    return found[0]


def story_picture(folder: Path | str):
    """The file that shows the figure of the one cell tagged ``story`` among the notebooks of a folder."""
    return folder / "images" / "two_splits.png"


def check_one_story(folder: Path | str) -> None:
    """Refuse two notebooks, or two cells, that would write one picture.

    Raises:
        PageError: naming the notebooks.
    """
    names = [path.name for path in sorted(folder.glob("[0-9][0-9]_*.ipynb")) for _ in tagged(read(path), STORY)]
    if len(names) > 1:
        raise PageError(f"the README shows the figure of one cell tagged {STORY!r}, and there are more: in {' and '.join(names)}")
