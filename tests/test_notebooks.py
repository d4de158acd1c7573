"""The notebooks as files, and proof that the lints and the strict lane can fail."""

import io
import os
import re
import subprocess

import nbformat
import notebook_lints as lints
import numpy as np
import pytest
import strict_lane
from PIL import Image

from tumor_mri.datasets import download, manifests
from tumor_mri.runs import records
from tumor_mri.site import notebook_files, notebooks
from tumor_mri.study import catalogue

PATHS = notebooks.notebook_paths()
FIGURES = {f"F{number}" for number in range(1, 10)}


def read(path):
    return nbformat.read(path, as_version=4)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
@pytest.mark.parametrize("lint", lints.LINTS, ids=lambda lint: lint.__name__)
def test_notebook(path, lint):
    notebook = read(path)
    nbformat.validate(notebook)
    assert lint(notebook) == []


SOLUTIONS = notebook_files.solution_paths()


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: f"solutions-{path.stem}")
@pytest.mark.parametrize("lint", lints.SOLUTION_LINTS, ids=lambda lint: lint.__name__)
def test_solutions(path, lint):
    notebook = read(path)
    nbformat.validate(notebook)
    assert lint(notebook) == []


def test_each_notebook_sets_the_exercises_that_its_solutions_solve():
    assert [path.name for path in SOLUTIONS] == [path.name for path in PATHS]
    for path in PATHS:
        asked = [cell.source for cell in read(path).cells if "exercises" in cell.metadata.get("tags", [])]
        assert asked == [notebook_files.exercises_text(notebook_files.solutions(path))], path.name


def test_exercises_need_titles_in_order(tmp_path):
    cells = [nbformat.v4.new_markdown_cell(f"## {number}. Do it", metadata={"tags": ["exercise"]}) for number in (1, 3)]
    path = tmp_path / "01_x.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells[:1]), path)
    assert "### 1. Do it" in notebook_files.exercises_text(path)
    for wrong in (cells, []):
        nbformat.write(nbformat.v4.new_notebook(cells=wrong), path)
        with pytest.raises(notebook_files.PageError, match="solutions/01_x.ipynb: .* have to begin with"):
            notebook_files.exercises_text(path)


def test_every_term_of_the_glossary_is_used_in_a_notebook_and_has_its_spanish():
    prose = " ".join(cell.source for path in PATHS for cell in read(path).cells if cell.cell_type == "markdown").lower()
    assert len(lints.TERMS) > 30 and lints.TERMS == sorted(lints.TERMS, key=str.lower)
    assert [term for term in lints.TERMS if term.lower() not in prose and term != "transfer learning"] == []
    rows = [line for line in lints.GLOSSARY.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert all(len([cell for cell in row.split("|") if cell.strip()]) == 4 for row in rows)


def test_notebooks_are_small():
    assert PATHS
    assert all(path.stat().st_size < 1_000_000 for path in PATHS + SOLUTIONS)


def test_each_figure_of_the_report_has_its_cell():
    tags = [tag for path in PATHS for cell in read(path).cells for tag in cell.metadata.get("tags", []) if tag in FIGURES]
    assert sorted(tags) == sorted(FIGURES)


def test_links_between_notebooks_resolve():
    links = {link for path in PATHS for link in re.findall(r"\]\((\w+\.ipynb)\)", path.read_text(encoding="utf-8"))}
    assert links <= {path.name for path in PATHS}


def fixture_notebook():
    """A small notebook, right in every way, as executed."""
    new = nbformat.v4
    picture = new.new_output("display_data", data={"image/png": "AAAA"}, metadata={"image/png": {"alt": "42 points"}})
    said = new.new_output("stream", name="stdout", text="42 points\n")
    cell = new.new_code_cell("print('42 points')", execution_count=2, outputs=[said, picture], metadata={"tags": ["figure"]})
    hidden = {"jupyter": {"source_hidden": True}}
    setup = new.new_code_cell(notebooks.first_cell(), execution_count=1, metadata=hidden)
    asked = "# 1 · A question?\nOne?\n\n<span lang=es>**¿Una pregunta?** ¿Una?</span>\n\n"
    told = "*You need:* nothing. *Takes:* a second.\n\n*Steps:* one. The [glossary](GLOSSARY.md).\n> Not a diagnostic device."
    terms = new.new_markdown_cell("The **recall** is the share that was found. Recall is used again.")
    title = new.new_markdown_cell("## Summary")
    texts = ["4.2 points of 1,000.", "<span lang=es>De 1000 puntos, 4,2.</span>"]
    english, spanish = (new.new_output("display_data", data={"text/markdown": text}) for text in texts)
    summary = new.new_code_cell("display(Markdown(said))", execution_count=3, outputs=[english], metadata=hidden)
    translated = new.new_code_cell("display(Markdown(dicho))", execution_count=4, outputs=[spanish], metadata=hidden)
    answer = "<details><summary>Answer</summary>\n\nYes.\n\n</details>"
    quiz = new.new_markdown_cell("## Quiz\n" + "\n\n".join(f"**{number}. Is it?**\n\n{answer}" for number in (1, 2, 3)))
    ending = [new.new_markdown_cell(source) for source in ("## Exercises\n### 1. None", "*Next:* nothing")]
    first = new.new_markdown_cell(asked + told)
    return new.new_notebook(cells=[first, setup, cell, terms, title, summary, translated, quiz, *ending])


def fixture_solutions():
    """Solutions of two exercises, right in every way, as executed."""
    new = nbformat.v4
    setup = new.new_code_cell(notebooks.first_cell(), execution_count=1)
    cells = [new.new_markdown_cell("# Solutions to notebook 1\n> Not a diagnostic device."), setup]
    for number in (1, 2):
        cells.append(new.new_markdown_cell(f"## {number}. Do it\nHow?", metadata={"tags": ["exercise"]}))
        cells.append(new.new_code_cell("print(1)", execution_count=number + 1))
        cells.append(new.new_markdown_cell("It is one."))
    return new.new_notebook(cells=cells)


def long_table(book):
    rows = "<tr><td>1</td></tr>" * 10
    book.cells[2].outputs.append(nbformat.v4.new_output("display_data", data={"text/html": f"<table>{rows}</table>"}))


WRONG = {
    "opening": lambda book: book.cells[0].update(source="# Title"),
    "first_cell": lambda book: book.cells[1].update(source="import tumor_mri"),
    "ending": lambda book: book.cells[-1].update(source="The end"),
    "quiz": lambda book: book.cells[-3].update(source="## Quiz\n**1. Only one?**"),
    "terms": lambda book: book.cells[3].update(source="Recall, or **recall**, is the share that was found."),
    "long_tables": long_table,
    "folded": lambda book: book.cells[5].metadata.clear(),
    "spanish": lambda book: book.cells[6].outputs[0].data.update({"text/markdown": "<span lang=es>De 1000 puntos, 4,3.</span>"}),
    "execution_counts": lambda book: book.cells[2].update(execution_count=3),
    "stored_errors": lambda book: book.cells[2].outputs[0].update(name="stderr"),
    "stored_widgets": lambda book: book.cells[2].outputs[1].data.update({notebooks.WIDGET_VIEW: {"model_id": "1"}}),
    "magics": lambda book: book.cells[2].update(source="!ls"),
    "absolute_paths": lambda book: book.cells[2].update(source="open('/home/me/data.csv')"),
    "long_code": lambda book: book.cells[2].update(source="x = 1\n" * 30),
    "pictures": lambda book: book.cells[2].outputs.pop(),
}
WRONG_SOLUTIONS = {
    "solution_opening": lambda book: book.cells[0].update(source="# Title"),
    "two_exercises": lambda book: book.cells.pop(),
}


@pytest.mark.parametrize("lint", lints.LINTS, ids=lambda lint: lint.__name__)
def test_each_lint_fails_where_it_should(lint):
    assert lint(fixture_notebook()) == []
    wrong = fixture_notebook()
    WRONG[lint.__name__](wrong)
    assert lint(wrong)


@pytest.mark.parametrize("name", WRONG_SOLUTIONS)
def test_each_lint_of_solutions_fails_where_it_should(name):
    assert [lint(fixture_solutions()) for lint in lints.SOLUTION_LINTS] == [[]] * len(lints.SOLUTION_LINTS)
    wrong = fixture_solutions()
    WRONG_SOLUTIONS[name](wrong)
    assert getattr(lints, name)(wrong)


@pytest.mark.parametrize(
    "old, new", [("¿Una pregunta?", "A question?"), ("4,2", "4.2"), ("<span lang=es>De", "De"), ("De 1000", "De mil")]
)
def test_spanish_is_missed_wherever_it_lacks(old, new):
    wrong = nbformat.writes(fixture_notebook())
    assert old in wrong
    assert lints.spanish(nbformat.reads(wrong.replace(old, new), as_version=4))


def strict(path):
    return subprocess.run(strict_lane.command([path]), capture_output=True, text=True, cwd=path.parent)


@pytest.mark.slow
def test_the_strict_lane_fails_on_one_changed_digit(tmp_path):
    """And on it alone: that the lane passes where nothing was changed is what the lane itself is for."""
    path = tmp_path / "03_sweep_filter_widths.ipynb"  # needs no dataset
    notebook = read(notebooks.NOTEBOOKS / path.name)
    changed = next(output for output in lints.outputs(notebook) if output.output_type == "stream" and "accuracy" in output.text)
    changed["text"] = re.sub(r"\d(?= ?%)", lambda digit: str((int(digit.group()) + 1) % 10), changed["text"], count=1)
    nbformat.write(notebook, path)
    result = strict(path)
    assert result.returncode == 1, result.stdout
    passed = len(lints.code_cells(notebook)) - 1
    assert re.search(rf"\b1 failed, {passed} passed\b", result.stdout), result.stdout


@pytest.mark.slow
def test_pages_say_when_scans_are_phantoms(tmp_path, monkeypatch, capsys):
    def nothing():
        raise manifests.DatasetError("no network")

    monkeypatch.setattr(download, "locate", nothing)
    with_scans = [PATHS[0], PATHS[3], PATHS[4]]
    monkeypatch.setattr(notebooks, "notebook_paths", lambda: with_scans)
    monkeypatch.delenv("TUMOR_MRI_PHANTOMS", raising=False)
    monkeypatch.delenv("TUMOR_MRI_DATA", raising=False)
    index = notebooks.reproduce(tmp_path)
    assert "TUMOR_MRI_PHANTOMS" not in os.environ
    assert not re.findall(r"^\d\d_\w+\.ipynb, cell.*", capsys.readouterr().err, flags=re.MULTILINE)  # no cell warned
    assert "drawn phantoms" in index.read_text(encoding="utf-8")
    page = (tmp_path / "04_confusion_matrix.html").read_text(encoding="utf-8")
    assert "drawn phantoms" in page
    for_print = [path.name for path in (tmp_path / "figures").glob("*.svg")]
    by_the_package = r"_ = figures\.\w+\("
    executed = [cell for path in with_scans for cell in read(tmp_path / "notebooks" / path.name).cells]
    has_picture = [any("image/png" in one.get("data", {}) for one in cell.get("outputs", [])) for cell in executed]
    drawn = [cell for cell, has in zip(executed, has_picture, strict=True) if has and re.search(by_the_package, cell.source)]
    assert len(for_print) == len(drawn) > 10
    assert all(re.fullmatch(r"0[145]_[a-z_]+-\d+-[a-z_]+\.svg", name) for name in for_print)
    for path in with_scans:  # not only the note on top
        assert re.search(r'alt="[^"]*phantoms', (tmp_path / path.with_suffix(".html").name).read_text(encoding="utf-8"))
    assert "No description has been provided" not in page
    assert '<script src="">' not in page
    assert not re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="http', page)


def test_stored_pictures_have_a_palette_that_no_eye_tells():
    def png(image):
        file = io.BytesIO()
        image.save(file, "PNG")
        return file.getvalue()

    across, down = np.meshgrid(np.arange(256), np.arange(256))
    colours = Image.fromarray(np.stack([across, down, 255 - across // 2], axis=2).astype(np.uint8))
    greys = Image.fromarray(across.astype(np.uint8)).convert("RGBA")
    clear = Image.new("RGBA", (9, 9), (255, 0, 0, 100))
    for image, most in ((colours, 20), (greys, 0)):  # more colours than a palette holds; grey levels alone
        small = notebooks._with_palette(png(image))
        with Image.open(io.BytesIO(small)) as seen:
            assert seen.mode == ("P" if most else "L")
            assert np.abs(np.asarray(seen.convert("RGB")).astype(int) - np.asarray(image.convert("RGB"))).max() <= most
    assert notebooks._with_palette(png(clear)) == png(clear)


def test_what_training_again_costs_is_what_the_records_say():
    """README, its Spanish one and the openings of notebooks say how many runs, and the median of their minutes on one core."""
    readmes = [(manifests.ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.es.md")]
    everything = records.load_all(records.RECORDED) + records.load_all(records.CONTROL)
    minutes = {}  # by what decides them: runs on a GPU say nothing about one core
    for run in everything:
        if run.environment["backend"] == "tensorflow":
            for kind in kinds_of(run.config):
                minutes.setdefault(kind, []).append(run.seconds / 60)
    told = []
    for path in PATHS:
        notebook = read(path)
        asked = re.findall(r'study\.run\("([\w-]+)", retrain=', "".join(cell.source for cell in notebook.cells))
        runs = {config for name in asked for config in catalogue.configs_of(name)}
        rows = [row_of(path.name, readme) for readme in readmes]
        for text in (*rows, notebook.cells[0].source) if runs else ():
            cost = re.search(r"(\d+) (?:runs of about|entrenamientos de unos) (\d+) minut", text)
            each = [np.median(next(minutes[kind] for kind in kinds_of(config) if kind in minutes)) for config in runs]
            assert (int(cost[1]), int(cost[2])) == (len(runs), round(np.median(each))), text
            told.append(path)
    assert len(set(told)) > len(PATHS) / 3  # else the marks looked for are no longer those of the notebooks


def kinds_of(config):
    """What decides how long a run takes, the closest first."""
    return [(config.network, config.recipe, config.precision), (config.network, config.recipe), (config.network,)]


def row_of(name, readme):
    """The row of a notebook in the table of a README, as its cells."""
    rows = [line for line in readme.splitlines() if re.match(rf"\| \[\d+\]\(notebooks/{re.escape(name)}\) \|", line)]
    assert len(rows) == 1, f"the table of notebooks in {readme.splitlines()[0]!r} has {len(rows)} rows for {name}, not one"
    return rows[0]


def row_problems(path, english, spanish):
    """What the rows of a notebook in both READMEs say otherwise than the notebook itself, as sentences."""
    notebook = read(path)
    listing = notebook_files.listing(path.stem, notebook)
    number, title = listing.title.split(" · ", 1)
    asked = re.search(r"<span lang=es>\*\*(¿[^*]+\?)\*\*", notebook.cells[0].source)[1]
    problems = []
    for readme, question, without in ((english, title, "no"), (spanish, asked, "no")):
        cells = [cell.strip() for cell in row_of(path.name, readme).strip("|").split("|")]
        wanted = [f"[{number}](notebooks/{path.name})", question]
        problems += [
            f"{path.name}: a row says {cell!r}, not {right!r}"
            for cell, right in zip(cells[:2], wanted, strict=True)
            if cell != right
        ]
        if (cells[-1] != without) != listing.gpu:
            problems.append(f"{path.name}: a row says {cells[-1]!r} of a GPU, the notebook's metadata {listing.gpu}")
    return problems


READMES = [(manifests.ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.es.md")]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_the_tables_of_the_readmes_say_what_the_notebook_says(path):
    assert row_problems(path, *READMES) == []


def test_the_tables_of_the_readmes_are_in_order_and_complete():
    for readme in READMES:
        assert re.findall(r"^\| \[\d+\]\(notebooks/(\S+)\) \|", readme, flags=re.MULTILINE) == [path.name for path in PATHS]


def test_a_missing_or_wrong_row_is_named():
    path, (english, spanish) = PATHS[1], READMES
    row = row_of(path.name, english)
    with pytest.raises(AssertionError, match=f"has 0 rows for {path.name}"):
        row_problems(path, english.replace(row, ""), spanish)
    for old, new in (("Does the", "Did the"), ("| helps to train |", "| no |"), ("| [2]", "| [3]")):
        assert len(row_problems(path, english.replace(row, row.replace(old, new)), spanish)) == 1


def broken(change):
    notebook = fixture_notebook()
    notebook.metadata["tumor_mri"] = {"gpu": False, "kaggle_title": "A title"}
    change(notebook)
    return notebook


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda book: book.cells.clear(), "has to begin with a title, # 1 · A question"),
        (lambda book: book.cells[0].update(source="# 2 · Another number?\nOne?"), "has to begin with a title, # 1 ·"),
        (lambda book: book.cells[0].update(source="# 1 · A question?"), "the line below its title"),
        (lambda book: book.metadata.pop("tumor_mri"), "the metadata of the notebook has to say"),
        (lambda book: book.metadata["tumor_mri"].update(gpu="yes"), "the metadata of the notebook has to say"),
        (lambda book: book.metadata["tumor_mri"].update(kaggle_title="x" * 51), "at most 50 characters"),
    ],
)
def test_a_notebook_that_does_not_say_what_it_is_gets_a_sentence(change, words):
    assert notebook_files.listing("01_x", broken(lambda book: None)).title == "1 · A question?"
    with pytest.raises(notebook_files.PageError, match=f"01_x.ipynb: .*{words}"):
        notebook_files.listing("01_x", broken(change))


def test_one_cell_is_tagged_for_the_landing_page_or_none_is_declared():
    def tag(*numbers, last=()):
        notebook = fixture_notebook()
        for number in numbers:
            notebook.cells[number].metadata["tags"] = ["landing"]
        notebook.cells[0].metadata["tags"] = list(last)
        return notebook

    one = tag(2)
    assert notebook_files.landing_cell("01_x", one) is one.cells[2]
    assert notebook_files.landing_cell("01_x", tag(last=["no-landing"])) is None
    cases = [(tag(), "no cell is tagged"), (tag(1, 2), "2 cells are tagged"), (tag(2, last=["no-landing"]), "take one away")]
    for wrong, words in cases:
        with pytest.raises(notebook_files.PageError, match=f"01_x.ipynb: .*{words}"):
            notebook_files.landing_cell("01_x", wrong)


def test_two_cells_for_the_picture_of_the_readme_are_refused(tmp_path):
    notebook = fixture_notebook()
    notebook.cells[2].metadata["tags"] = ["story"]
    for name in ("01_a", "02_b"):
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")
    with pytest.raises(notebook_files.PageError, match="in 01_a.ipynb and 02_b.ipynb"):
        notebooks.refresh([tmp_path / "02_b.ipynb"])
    assert not (tmp_path / "images").exists()
