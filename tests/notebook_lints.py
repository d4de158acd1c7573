"""Lints of a notebook: each takes one and returns a list of problems, so that tests can try them on wrong ones too."""

import ast
import json
import re

from tumor_mri.site import notebook_files, notebooks

ABSOLUTE_PATH = re.compile(r"(?<![\w.:/])/(?:root|work|tmp|home|Users|opt|usr)/\w|[A-Z]:\\\\")
SPANISH_QUESTION = re.compile(r"^<span lang=es>\*\*¿[^*]+\?\*\* .+</span>$", re.MULTILINE)
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
LONGEST_CELL, LONGEST_LINE, LONGEST_FUNCTION = 15, 100, 10
MOST_ROWS = 8  # of a table that is not folded away
MOST_SAID = 400  # characters of a figure's sentence
QUESTIONS, EXERCISES = 3, 2
GLOSSARY = notebook_files.NOTEBOOKS / "GLOSSARY.md"
NOT_PROSE = re.compile(  # headings, tables, quotations, Spanish, code and addresses
    r"^[#|>][^\n]*$|<span lang=es>.*?</span>|`[^`]*`|\]\([^)]*\)|https?://\S+", re.MULTILINE | re.DOTALL
)


def glossary():
    """The terms of the glossary, in the order of the page."""
    rows = [line for line in GLOSSARY.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return [row.split("|")[1].strip() for row in rows[1:] if not row.startswith("| ---")]


TERMS = glossary()


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook):
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def opening(notebook):
    first = notebook.cells[0]
    wanted = ["# ", "*You need:*", "*Takes:*", "*Steps:*", "[glossary](GLOSSARY.md)", "Not a diagnostic device"]
    lacks = [words for words in wanted if words not in first.source]
    return [f"the first cell lacks {words!r}" for words in lacks] + ([] if first.cell_type == "markdown" else ["is no text"])


def first_cell(notebook):
    first = code_cells(notebook)[0].source
    return [] if first == notebooks.first_cell() else ["is not notebooks.first_cell(): run `make notebooks`"]


def position(notebook, heading):
    """The position of the cell that begins with a heading, -1 if there is none."""
    return next((index for index, cell in enumerate(notebook.cells) if cell.source.startswith(heading)), -1)


def ending(notebook):
    found = [position(notebook, heading) for heading in ("## Summary", "## Quiz", "## Exercises", "*Next:*")]
    in_order = -1 not in found and found == sorted(found) and found[-1] == len(notebook.cells) - 1
    return [] if in_order else [f"Summary, Quiz, Exercises and Next stand in cells {found} of {len(notebook.cells)}"]


def quiz(notebook):
    source = notebook.cells[position(notebook, "## Quiz")].source
    counts = [source.count(words) for words in ("<details><summary>Answer</summary>\n\n", "\n\n</details>")]
    counts.append(len(re.findall(r"^\*\*\d\. .+\?\*\*", source, flags=re.MULTILINE)))
    return [] if counts == [QUESTIONS] * 3 else [f"the quiz has {counts} answers begun, answers ended and questions"]


def spanish(notebook):
    """The question in Spanish in the opening; the summary in Spanish, in the cell below the English one, with its numbers."""
    asked = SPANISH_QUESTION.search(notebook.cells[0].source)
    summary = position(notebook, "## Summary")
    english, translated = (_shown(cell) for cell in notebook.cells[summary + 1 : summary + 3])
    problems = [] if asked else ["the first cell lacks the question in Spanish"]
    if not re.fullmatch(r"(<span lang=es>.+</span>\s*)+", translated) or english.startswith("<span"):
        return [*problems, "no summary in Spanish right below the English one"]
    numbers = sorted(NUMBER.findall(english.replace(",", "")))
    found = sorted(NUMBER.findall(translated.replace("\u202f", "").replace(".", " ").replace(",", ".")))
    return problems + ([] if numbers == found else [f"the summary has the numbers {numbers}, in Spanish {found}"])


def _shown(cell):
    """The text that a cell displays as markdown."""
    return "".join(output.get("data", {}).get("text/markdown", "") for output in cell.get("outputs", []))


def terms(notebook):
    """A term of the glossary is in bold where a notebook first uses it."""
    prose = "\n\n".join(NOT_PROSE.sub(" ", cell.source) for cell in notebook.cells if cell.cell_type == "markdown")
    bold = [match.span() for match in re.finditer(r"\*\*[^*]+\*\*", prose)]
    problems = []
    for term in TERMS:
        first = re.search(rf"(?<![\w-]){re.escape(term)}(?:s|es)?(?![\w-])", prose, flags=re.IGNORECASE)
        if first and not any(start <= first.start() < end for start, end in bold):
            around = " ".join(prose[max(0, first.start() - 40) : first.end() + 20].split())
            problems.append(f"{term!r} is not in bold where it is first used: …{around}…")
    return problems


def long_tables(notebook):
    problems = []
    for cell in code_cells(notebook):
        for output in cell.outputs:
            shown = output.get("data", {})
            rows = max(
                shown.get("text/html", "").count("<tr") - 1, len(re.findall(r"^\|", shown.get("text/markdown", ""), re.M)) - 2
            )
            if rows > MOST_ROWS and notebook_files.HIDE_OUTPUT not in cell.metadata.get("tags", []):
                problems.append(f"a table of {rows} rows is not folded away: {cell.source[:60]}")
    return problems


def folded(notebook):
    """The code of the first cell and of the summary is hidden, wherever the notebook is shown."""
    summary = position(notebook, "## Summary")
    cells = [code_cells(notebook)[0], *notebook.cells[summary + 1 : summary + 3]]
    shown = [cell for cell in cells if not cell.metadata.get("jupyter", {}).get("source_hidden")]
    return [f"its code is not folded away: {cell.source[:60]!r}" for cell in shown]


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
        lines = cell.source.splitlines()
        is_summary = notebook_files.HIDE_INPUT in cell.metadata.get("tags", [])  # nobody reads its code, and it is long
        if len(lines) > LONGEST_CELL and not is_summary:
            problems.append(f"a cell of {len(lines)} lines: {lines[0]}")
        problems += [f"a line of {len(line)} characters: {line}" for line in lines if len(line) > LONGEST_LINE]
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
            said = " ".join(output.text for output in cell.outputs if output.output_type == "stream")
            alts = [
                output.metadata.get("image/png", {}).get("alt")
                for output in cell.outputs
                if "image/png" in output.get("data", {})
            ]
            if alts != [" ".join(said.split())] * len(alts):
                problems.append(f"a figure whose alternative text is not its sentence: {cell.source[:60]}")
            if len(said) > MOST_SAID:
                problems.append(f"a figure's sentence has {len(said)} characters: {said[:80]}…")
    return problems


def two_exercises(notebook):
    """Of a notebook of solutions: two exercises, each followed by code and by prose that reads the result."""
    asked = [index for index, cell in enumerate(notebook.cells) if "exercise" in notebook_files.tags(cell)]
    problems = [] if len(asked) == EXERCISES else [f"it has {len(asked)} exercises, not {EXERCISES}"]
    for start, end in zip(asked, [*asked[1:], len(notebook.cells)], strict=True):
        kinds = [cell.cell_type for cell in notebook.cells[start + 1 : end]]
        if "code" not in kinds or "markdown" not in kinds:
            problems.append(f"no code, or no words on its result: {notebook.cells[start].source[:60]}")
    return problems


def solution_opening(notebook):
    source = notebook.cells[0].source
    return [
        f"the first cell lacks {words!r}"
        for words in ("# Solutions to notebook ", "Not a diagnostic device")
        if words not in source
    ]


_OF_BOTH = (
    first_cell,
    execution_counts,
    stored_errors,
    stored_widgets,
    magics,
    absolute_paths,
    long_code,
    long_tables,
    pictures,
)
LINTS = (opening, ending, quiz, spanish, terms, folded, *_OF_BOTH)
SOLUTION_LINTS = (solution_opening, two_exercises, *_OF_BOTH)
