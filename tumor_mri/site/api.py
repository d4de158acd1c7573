"""The package's public names as web pages: pdoc reads the docstrings, our own templates show them."""

import json
import re
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

import tumor_mri
from tumor_mri.datasets import manifests

TEMPLATES = Path(__file__).parent / "templates" / "api"
ROOMS = ("datasets", "audit", "models", "runs", "evaluation", "study", "figures", "site")  # in the order of imports
_PATH = re.compile(r"\b(?:Posix|Windows)Path\(")
_SECTION = re.compile(r"<h6( id=\"[^\"]*\")?>(.*?)</h6>")  # of a docstring: pdoc's level, but it follows one of the second
# a link for each line would be too many for a keyboard
_LINE_NUMBER = re.compile(r'<a href="#[^"]+"><span class="linenos">[^<]*</span></a>')


@dataclass(frozen=True)
class ApiPage:
    """A page below ``api``: its file, what it is called, what it is about, and its content as HTML."""

    path: str
    title: str
    description: str
    body: str


def build() -> tuple:
    """The pages, and the script of their search.

    Returns:
        A list of `ApiPage`, first the list of rooms, then each room: what its ``__all__`` names, with docstrings, signatures and
        sources. And the text of ``search.js``, which holds all public names with their docstrings.
    """
    from pdoc import doc, render, search

    with _names_of_keras():
        rooms = {name: doc.Module(import_module(name)) for name in (f"{tumor_mri.__name__}.{room}" for room in ROOMS)}
        render.configure(docformat="google", template_directory=TEMPLATES)
        made = [ApiPage("index.html", "The package", _summary(tumor_mri), _without_paths(render.html_index(rooms)))]
        for name, module in rooms.items():
            body = _SECTION.sub(
                r'<p class="section"\1>\2</p>', _LINE_NUMBER.sub("", _without_paths(render.html_module(module, rooms)))
            )
            made.append(ApiPage(f"{name.replace('.', '/')}.html", name, _summary(module.obj), body))
        documents = search.make_index(rooms, lambda doc: not doc.name.startswith("_"), "google")
    # pdoc's own function runs Node.js if there is one, so that the file would depend on the machine
    script = render.env.get_template("search.js.jinja2").render(search_index=json.dumps(documents))
    return made, _without_paths(script)


class _Names(ModuleType):
    """Stands in for a library in annotations: each name is a class, or a module of such names."""

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        found = type(name, (), {"__module__": self.__name__}) if name[0].isupper() else _Names(f"{self.__name__}.{name}")
        setattr(self, name, found)
        return found


@contextmanager
def _names_of_keras():
    """Let pdoc resolve annotations such as ``keras.Model``, for which it would import Keras, and so TensorFlow."""
    real, names = sys.modules.get("keras"), _Names("keras")
    sys.modules["keras"] = names
    try:
        yield
    finally:
        if real is None:
            del sys.modules["keras"]
        else:
            sys.modules["keras"] = real
        for module in [module for name, module in sys.modules.items() if name.startswith(f"{tumor_mri.__name__}.")]:
            if vars(module).get("keras") is names:  # left by pdoc
                del module.keras


def _summary(module):
    """The first paragraph of a module's docstring."""
    return " ".join((module.__doc__ or "").split("\n\n")[0].split())


def _without_paths(text):
    """A page without the folders of the machine that makes it: a default value may be a path."""
    here = {manifests.ROOT, manifests.DATA.parent, Path(tumor_mri.__file__).parents[1], Path.cwd(), Path.home()}
    for folder in sorted(map(str, here), key=len, reverse=True):
        if len(folder) > 1:
            text = re.sub(rf"{re.escape(folder)}(?:/|(?![\w-]))", "", text)
    return _PATH.sub("Path(", text)
