"""A static website that loads nothing from elsewhere: a page for each executed notebook, a landing page, the package's pages."""

from __future__ import annotations

import base64
import os
import re
import struct
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tumor_mri import text
from tumor_mri.datasets import manifests
from tumor_mri.site import api, notebook_files, own_scan, search
from tumor_mri.site.notebook_files import PageError
from tumor_mri.study import catalogue, claims

if TYPE_CHECKING:
    from nbformat import NotebookNode

TEMPLATES = Path(__file__).parent / "templates"
FOLDERS = ("figures", "notebooks", "api", "scan")  # beside the pages
FILES = ("index.html", "scan.html", "scan-offline.js", "search.js", "GLOSSARY.html", "TEACHING.html")
_MARK = '<nav aria-label="Notebooks">'  # tells a landing page of ours from another
_CREDIT = "Material for learning. Not a diagnostic device."
_HOSTS = {
    "Colab": "https://colab.research.google.com/github/",
    "Kaggle": "https://www.kaggle.com/kernels/welcome?src=https://github.com/",
}


@dataclass(frozen=True)
class Page:
    """A notebook, as the templates want it."""

    name: str
    title: str
    question: str
    cells: str  # HTML
    contents: list  # id and text of each heading
    figure: dict | None  # path, alt, width and height of its figure on the landing page
    hosts: dict  # addresses that open it, by host


@contextmanager
def replaced(output: Path | str) -> Iterator[Path]:
    """A folder to write a website into, which takes the place of an older one in `output` once the block has ended well.

    Other files in `output` stay. If the block fails or is stopped, `output` is as it was.

    Raises:
        PageError: if `output` holds folders of the same names that are not from such a website.
    """
    if not _is_ours(output):
        strange = [name for name in FOLDERS if (output / name).exists()]
        if strange:
            raise PageError(f"{output} holds {' and '.join(strange)}, not from an earlier website: name another folder")
    is_new = not output.exists()
    output.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=output, prefix=".new-") as scratch:
            made, old = Path(scratch) / "made", Path(scratch) / "old"
            made.mkdir()
            old.mkdir()
            yield made
            for entry in _entries(output):
                os.replace(entry, old / entry.name)
            for entry in _entries(made):
                os.replace(entry, output / entry.name)
    except BaseException:
        if is_new:
            with suppress(OSError):
                output.rmdir()
        raise


def _is_ours(folder):
    index = folder / "index.html"
    return index.is_file() and _MARK in index.read_text(encoding="utf-8", errors="replace")


def _entries(folder):
    """What a website consists of, in a folder that may hold other files."""
    pages = [*sorted(folder.glob("[0-9][0-9]_*.html")), *sorted(folder.glob("solutions-*.html"))]
    return [path for path in [*pages, *(folder / name for name in (*FOLDERS, *FILES))] if path.exists()]


def write(
    notebooks: dict[str, NotebookNode],
    output: Path | str,
    note: str = "",
    repository: str = "",
    others: dict[str, NotebookNode] | None = None,
) -> Path:
    """Write the site of some executed notebooks; returns the path of ``index.html``.

    Args:
        notebooks: ``nbformat`` notebooks with outputs, by name, in order.
        output: the folder to write.
        note: a sentence that every page shows.
        repository: the project's address, ``https://github.com/OWNER/NAME.git``; empty: no page links to Colab and Kaggle.
        others: further pages, which no list of notebooks has: solutions, and pages of text; by the names of their pages.
    """
    import nbformat

    (project, story), (_, spanish) = _about("README.md"), _about("README.es.md")
    for folder in (output, output / "figures", output / "notebooks"):
        folder.mkdir(parents=True, exist_ok=True)
    pages = []
    for name, notebook in notebooks.items():
        text.write_whole(output / "notebooks" / f"{name}.ipynb", nbformat.writes(notebook) + "\n")
        pages.append(_page(name, notebook, output, repository))
    scan = _scan_page(output)
    shared = {"project": project, "pages": pages, "note": note, "credit": _CREDIT, "style": style(), "has_scan": bool(scan)}
    shared["has_pages"] = bool(others)
    shared["script"] = (TEMPLATES / "site.js").read_text(encoding="utf-8")
    for before, page, after in zip([None, *pages[:-1]], pages, [*pages[1:], None], strict=True):
        about = {"title": page.title, "description": page.question, "here": page.name, "root": ""}
        content = fill("notebook", page=page, before=before, after=after, **about, **shared)
        text.write_whole(output / f"{page.name}.html", content)
    beside = [_other_page(name, notebook, output) for name, notebook in (others or {}).items()]
    for page in beside:
        about = {"title": page.title, "description": page.question, "here": page.name, "root": ""}
        content = fill("notebook", page=page, before=None, after=None, **about, **shared)
        text.write_whole(output / f"{page.name}.html", content)
    about = {"title": project, "description": story, "spanish": spanish, "here": "index", "root": ""}
    about["spanish_readme"] = repository and f"{repository.removesuffix('.git')}/blob/main/README.es.md"
    about["answer"] = _answer("README.md")
    text.write_whole(output / "index.html", fill("index", verdicts=_verdicts(), **about, **shared))
    if scan:
        about = {"title": own_scan.TITLE, "description": own_scan.DESCRIPTION, "here": "scan", "root": ""}
        text.write_whole(output / "scan.html", fill("scan", **scan, **about, **shared))
    found = [entry for page in [*pages, *beside] for entry in search.entries(f"{page.name}.html", page.title, page.cells)]
    found += [
        entry
        for page in _write_api(output / "api", shared)
        for entry in search.entries(f"api/{page.path}", page.title, page.body)
    ]
    text.write_whole(output / "search.js", search.script(found))
    return output / "index.html"


def _scan_page(output):
    """What the page for one's own scan needs; None, with a sentence, if its runtime is not to be had."""
    try:
        return own_scan.write(output, own_scan.runtime())
    except own_scan.RuntimeMissing as error:
        print(f"The page for one's own scan is left out. {error}", file=sys.stderr)
        return None


def _write_api(folder, shared):
    """Write the pages of the package below a folder, in the frame of the others, and return them."""
    api_style = style(".pdoc-code") + (TEMPLATES / "api.css").read_text(encoding="utf-8")
    pages, names = api.build()
    for page in pages:
        path = folder / page.path
        path.parent.mkdir(parents=True, exist_ok=True)
        about = {"title": page.title, "description": page.description, "body": page.body, "here": "api"}
        content = fill("api", **shared | about | {"root": "../" * (page.path.count("/") + 1), "style": api_style})
        text.write_whole(path, content)
    text.write_whole(folder / "search.js", names)
    return pages


def _page(name, notebook, output, repository):
    title, question = notebook_files.opening(name, notebook)
    landing, figure = notebook_files.landing_cell(name, notebook), None
    for index, cell in enumerate(notebook.cells):
        pictures = list(_pictures(cell, f"figures/{name}-{index}", output))
        if cell is landing:
            if not pictures:
                raise PageError(f"{name}.ipynb: the cell tagged {notebook_files.LANDING!r} has no stored figure")
            figure = pictures[0]
    project = repository.removeprefix("https://github.com/").removesuffix(".git")
    hosts = {host: f"{start}{project}/blob/main/notebooks/{name}.ipynb" for host, start in _HOSTS.items() if repository}
    cells = _cells(notebook)
    return Page(name, title, question, cells, search.headings(cells), figure, hosts)


def _other_page(name, notebook, output):
    """A page that has no number: its title is its first heading, and nothing of it is on the landing page."""
    heading, *rest = notebook.cells[0].source.split("\n")
    question = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", next((line for line in rest if line.strip()), heading))  # without links
    for index, cell in enumerate(notebook.cells):
        list(_pictures(cell, f"figures/{name}-{index}", output))
    cells = _cells(notebook)
    return Page(name, heading.removeprefix("# "), question, cells, search.headings(cells), None, {})


def _pictures(cell, stem, output):
    """Write a cell's pictures as files that its outputs then name; each has its size, and the sentence that the cell prints."""
    outputs = cell.get("outputs", [])
    said = notebook_files.printed(cell)
    for number, one in enumerate(outputs):
        if "image/png" in one.get("data", {}):
            content = base64.b64decode(one["data"]["image/png"])
            path = f"{stem}-{number}.png"
            text.write_whole(output / path, content)
            width, height = struct.unpack(">II", content[16:24])  # where a PNG file has them
            size = {"width": width, "height": height} | one.get("metadata", {}).get("image/png", {})  # it may be drawn at double
            shown = {"alt": said, "width": size["width"], "height": size["height"]}
            one["metadata"] = {"filenames": {"image/png": path}, "image/png": shown}
            yield {"path": path, **shown}


def _cells(notebook):
    """A notebook's cells as HTML; links to other notebooks lead to their pages."""
    from nbconvert import HTMLExporter
    from traitlets.config import Config

    # the cell that finds the package matters to who runs a notebook, not to who reads it
    without_setup = Config(TagRemovePreprocessor={"enabled": True, "remove_cell_tags": ["setup"]})
    exporter = HTMLExporter(
        config=without_setup,
        template_name="cells",
        extra_template_basedirs=[str(TEMPLATES)],
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    body, _ = exporter.from_notebook_node(notebook)
    body = body.replace("<th></th>", "<td></td>")  # pandas writes a heading without a text above its index
    body = body.replace("<img ", '<img loading="lazy" decoding="async" ')
    body = re.sub(r'href="solutions/([0-9]{2}_\w+)\.ipynb"', r'href="solutions-\1.html"', body)
    return re.sub(r'href="(?:\.\./)?([0-9]{2}_\w+|GLOSSARY|TEACHING)\.(?:ipynb|md)"', r'href="\1.html"', body)


def _about(readme):
    """The project's title and its story in a paragraph, as a README opens with them around a link to the other language."""
    path = manifests.ROOT / readme
    if not path.is_file():
        raise PageError(f"the website takes its title from {readme}, and there is no such file in {manifests.ROOT}")
    paragraphs = path.read_text(encoding="utf-8").split("\n\n")
    if len(paragraphs) < 3 or not paragraphs[0].startswith("# ") or not paragraphs[2].strip():
        raise PageError(
            f"{readme} has to begin with a title, a link to the other language and a paragraph, an empty line between"
        )
    return paragraphs[0].removeprefix("# "), " ".join(paragraphs[2].split())


def _answer(readme):
    """The table between the markers of a README that say the answer, as HTML; empty if it has none."""
    from nbconvert.filters import markdown2html

    content = (manifests.ROOT / readme).read_text(encoding="utf-8")
    found = re.search(r"<!-- answer -->\n(.*?)\n<!-- end of answer -->", content, re.DOTALL)
    return markdown2html(found[1]) if found else ""


def _verdicts():
    """The verdicts on the report's claims, from the committed records: a site never trains."""
    return claims.verdicts(catalogue.recorded("sweep-widths"), manifests.load_manifest())


def style(code: str = ".highlight") -> str:
    """The style of a page, with the colours of code for elements of a class."""
    from pygments.formatters import HtmlFormatter

    light, dark = (HtmlFormatter(style=name).get_style_defs(code) for name in ("default", "github-dark"))
    own = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n{own}"


def fill(template: str, **values: Any) -> str:
    """A template of this room, filled in."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(f"{template}.html.j2").render(values)
