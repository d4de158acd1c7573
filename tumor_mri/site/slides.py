"""Slides for a lesson, from the notebooks as they are stored: one page of HTML that loads nothing from elsewhere."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tumor_mri import text
from tumor_mri.site import notebook_files, website

if TYPE_CHECKING:
    from nbformat import NotebookNode


@dataclass(frozen=True)
class Slide:
    """A slide: a heading, a picture as base64 (PNG) or none, and a sentence in plain text."""

    heading: str
    picture: str
    said: str
    kind: str = "figure"


def slides_of(name: str, notebook: NotebookNode) -> list[Slide]:
    """The slides of a notebook: its question, its figures with what each shows, its summary.

    Args:
        name: the file's, without its ending.
        notebook: an ``nbformat`` notebook with outputs.
    """
    title, question = notebook_files.opening(name, notebook)
    slides, heading = [Slide(title, "", question, "title")], title
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            heading = (re.findall(r"^##+ (.+)$", cell.source, flags=re.MULTILINE) or [heading])[-1]
            continue
        shown = [output.get("data", {}) for output in cell.get("outputs", [])]
        said = notebook_files.printed(cell)
        slides += [Slide(heading, data["image/png"], said) for data in shown if "image/png" in data]
        written = " ".join(data.get("text/markdown", "") for data in shown).strip()
        if heading == "Summary" and written and not written.startswith("<span"):
            slides.append(Slide(title, "", written.replace("**", "").replace("`", ""), "summary"))
    return slides


def write(output: Path | str) -> Path:
    """Write the slides of all notebooks; returns the path of the page.

    Args:
        output: the folder to write ``slides.html`` into.

    Raises:
        PageError: if there is no copy of the repository, or a notebook is not one.
    """
    notebook_files.need_checkout("Making slides")
    lessons = {path.stem: slides_of(path.stem, notebook_files.read(path)) for path in notebook_files.notebook_paths()}
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    text.write_whole(output / "slides.html", website.fill("slides", lessons=lessons))
    return output / "slides.html"
