"""Lints of a notebook: each takes one and returns a list of problems, so that tests can try them on wrong ones too."""

import ast
import json
import re

from tumor_mri.site import notebooks

ABSOLUTE_PATH = re.compile(r"(?<![\w.:/])/(?:root|work|tmp|home|Users|opt|usr)/\w|[A-Z]:\\\\")
SPANISH_QUESTION = re.compile(r"^<span lang=es>\*\*¿[^*]+\?\*\* .+</span>$", re.MULTILINE)
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
LONGEST_CELL, LONGEST_FIRST_CELL, LONGEST_FUNCTION = 20, 25, 10


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook):
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def opening(notebook):
    first = notebook.cells[0]
    wanted = ["# ", "*You need:*", "*Takes:*", "Not a diagnostic device"]
    lacks = [words for words in wanted if words not in first.source]
    return [f"the first cell lacks {words!r}" for words in lacks] + ([] if first.cell_type == "markdown" else ["is no text"])


def first_cell(notebook):
    first = code_cells(notebook)[0].source
    long = ["is too long"] if len(first.splitlines()) > LONGEST_FIRST_CELL else []
    return long + ([] if first == notebooks.FIRST_CELL else ["is not notebooks.FIRST_CELL: run `make notebooks`"])


def ending(notebook):
    text = "\n".join(cell.source for cell in notebook.cells[-4:])
    return [f"the last cells lack {words!r}" for words in ("## Summary", "*Exercises.*", "*Next:*") if words not in text]


def spanish(notebook):
    """The question in Spanish in the opening; the summary in Spanish, in the cell below the English one, with its numbers."""
    asked = SPANISH_QUESTION.search(notebook.cells[0].source)
    english, translated = (_shown(cell) for cell in notebook.cells[-3:-1])
    problems = [] if asked else ["the first cell lacks the question in Spanish"]
    if not re.fullmatch(r"(<span lang=es>.+</span>\s*)+", translated) or english.startswith("<span"):
        return [*problems, "no summary in Spanish right below the English one"]
    numbers = sorted(NUMBER.findall(english.replace(",", "")))
    found = sorted(NUMBER.findall(translated.replace("\u202f", "").replace(".", " ").replace(",", ".")))
    return problems + ([] if numbers == found else [f"the summary has the numbers {numbers}, in Spanish {found}"])


def _shown(cell):
    """The text that a cell displays as markdown."""
    return "".join(output.get("data", {}).get("text/markdown", "") for output in cell.get("outputs", []))


def execution_counts(notebook):
    counts = [cell.execution_count for cell in code_cells(notebook)]
    return [] if counts == list(range(1, len(counts) + 1)) else [f"execution counts are {counts}"]


def stored_errors(notebook):
    found = [output for output in outputs(notebook) if output.output_type == "error" or output.get("name") == "stderr"]
    return [f"stores an error or a warning: {str(output)[:200]}" for output in found]


def stored_widgets(notebook):
    """A widget lives in its kernel: stored, it is an empty place or an error to whoever opens the notebook."""
    views = [output for output in outputs(notebook) if notebooks.WIDGET_VIEW in output.get("data", {})]
    return ["stores a widget: run `make notebooks`"] if views or "widgets" in notebook.metadata else []


def magics(notebook):
    lines = [line for cell in code_cells(notebook) for line in cell.source.splitlines()]
    return [f"command or magic: {line}" for line in lines if line.lstrip().startswith(("!", "%"))]


def absolute_paths(notebook):
    found = ABSOLUTE_PATH.search(re.sub(r'"image/png": "[^"]*"', "", json.dumps(notebook)))
    return [f"absolute path near {found.group()!r}"] if found else []


def long_code(notebook):
    problems = []
    for cell in code_cells(notebook):
        if len(cell.source.splitlines()) > LONGEST_CELL and cell is not code_cells(notebook)[0]:  # for which see first_cell
            problems.append(f"a cell of {len(cell.source.splitlines())} lines")
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= LONGEST_FUNCTION:
                problems.append(f"the function {node.name} is long: the package is the place for it")
    return problems


def pictures(notebook):
    problems = []
    for cell in code_cells(notebook):
        if "figure" in cell.metadata.get("tags", []):
            if not any("image/png" in output.get("data", {}) for output in cell.outputs):
                problems.append(f"a figure cell without a picture: {cell.source[:60]}")
            if not any(output.output_type == "stream" for output in cell.outputs):
                problems.append(f"a figure cell without its sentence: {cell.source[:60]}")
    return problems


LINTS = (
    opening,
    first_cell,
    ending,
    spanish,
    execution_counts,
    stored_errors,
    stored_widgets,
    magics,
    absolute_paths,
    long_code,
    pictures,
)
