"""Executed notebooks as a static website: a page each, and a landing page. It asks nothing of another host."""

import base64
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from tumor_mri import text
from tumor_mri.datasets import manifests
from tumor_mri.study import catalogue, claims

TEMPLATES = Path(__file__).parent / "templates"
# the figures of the landing page, the first of a notebook: a tag of its cell, or what the cell calls
STORY = ("F1", "story", "F4", "F9", "figures.errors_by_part(", "figures.honest_accuracies(", "insight.robustness_curves(")
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
    figure: dict | None  # path, alt, width and height of its figure on the landing page
    hosts: dict  # addresses that open it, by host


def write(notebooks, output, note="", repository="") -> Path:
    """Write the site of some executed notebooks; returns the path of ``index.html``.

    Args:
        notebooks: ``nbformat`` notebooks with outputs, by name, in order.
        output: the folder to write.
        note: a sentence that every page shows.
        repository: the project's address, ``https://github.com/OWNER/NAME.git``; empty: no page links to Colab and Kaggle.
    """
    import nbformat

    for folder in (output, output / "figures", output / "notebooks"):
        folder.mkdir(parents=True, exist_ok=True)
    pages = []
    for name, notebook in notebooks.items():
        text.write_whole(output / "notebooks" / f"{name}.ipynb", nbformat.writes(notebook) + "\n")
        pages.append(_page(name, notebook, output, repository))
    (project, story), (_, spanish) = _about("README.md"), _about("README.es.md")
    shared = {"project": project, "pages": pages, "note": note, "credit": _CREDIT, "style": _style()}
    for before, page, after in zip([None, *pages], pages, [*pages[1:], None], strict=True):
        about = {"title": page.title, "description": page.question}
        content = _fill("notebook", page=page, before=before, after=after, **about, **shared)
        text.write_whole(output / f"{page.name}.html", content)
    about = {"title": project, "description": story, "spanish": spanish}
    about["spanish_readme"] = repository and f"{repository.removesuffix('.git')}/blob/main/README.es.md"
    text.write_whole(output / "index.html", _fill("index", page=None, verdicts=_verdicts(), **about, **shared))
    return output / "index.html"


def _page(name, notebook, output, repository):
    title, question = notebook.cells[0].source.splitlines()[:2]
    figure = None
    for index, cell in enumerate(notebook.cells):
        for picture in _pictures(cell, f"figures/{name}-{index}", output):
            figure = figure or (picture if _in_story(cell) else None)
    project = repository.removeprefix("https://github.com/").removesuffix(".git")
    hosts = {host: f"{start}{project}/blob/main/notebooks/{name}.ipynb" for host, start in _HOSTS.items() if repository}
    return Page(name, title.removeprefix("# "), question.replace("`", ""), _cells(notebook), figure, hosts)


def _in_story(cell):
    return any(mark in cell.metadata.get("tags", []) or mark in cell.source for mark in STORY)


def _pictures(cell, stem, output):
    """Write a cell's pictures as files that its outputs then name; each has its size, and the sentence that the cell prints."""
    outputs = cell.get("outputs", [])
    said = " ".join(one["text"] for one in outputs if one["output_type"] == "stream")
    for number, one in enumerate(outputs):
        if "image/png" in one.get("data", {}):
            content = base64.b64decode(one["data"]["image/png"])
            path = f"{stem}-{number}.png"
            text.write_whole(output / path, content)
            width, height = struct.unpack(">II", content[16:24])  # where a PNG file has them
            shown = {"alt": " ".join(said.split()), "width": width, "height": height}
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
    return re.sub(r'href="([0-9]{2}_\w+)\.ipynb"', r'href="\1.html"', body)


def _about(readme):
    """The project's title and its story in a paragraph, as a README opens with them around a link to the other language."""
    title, _, story = (manifests.ROOT / readme).read_text(encoding="utf-8").split("\n\n")[:3]
    return title.removeprefix("# "), " ".join(story.split())


def _verdicts():
    """The verdicts on the report's claims, from the committed records: a site never trains."""
    return claims.verdicts(catalogue.recorded("sweep-widths"), manifests.load_manifest())


def _style():
    from pygments.formatters import HtmlFormatter

    light, dark = (HtmlFormatter(style=name).get_style_defs(".highlight") for name in ("default", "github-dark"))
    own = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n{own}"


def _fill(template, **values):
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(f"{template}.html.j2").render(values)
