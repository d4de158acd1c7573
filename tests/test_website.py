"""The website: what its files say, what a headless browser sees, and proof that both checks can fail."""

import functools
import hashlib
import importlib
import json
import os
import pkgutil
import re
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import browser
import nbformat
import pytest
from browser import needs_browser

import tumor_mri
from tumor_mri.datasets import manifests
from tumor_mri.site import api, notebook_files, notebooks, own_scan, website
from tumor_mri.study import claims

AXE = ("axe-core", "4.14.1", "e6b0ce02b84d892e2e33e403485e7f3d6c29e2be6df65daf44d89ba564139745")
NOTEBOOKS = [path.stem for path in notebooks.notebook_paths()]
NAMES = ["index", "scan", *NOTEBOOKS]  # which every page links to
OTHERS = ["GLOSSARY", "TEACHING", *(f"solutions-{path.stem}" for path in notebook_files.solution_paths())]
API = ["api/index", *(f"api/tumor_mri/{room}" for room in api.ROOMS)]


class Reader(HTMLParser):
    """A page as data: its tags with their attributes, its ids, its texts by the tag around them."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.texts, self.within = [], {}, None
        self.feed(path.read_text(encoding="utf-8"))
        self.ids = {about["id"] for _, about in self.tags if "id" in about}

    def handle_starttag(self, tag, attributes):
        self.within = tag
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.texts[self.within] = self.texts.get(self.within, "") + data

    def all(self, tag, attribute):
        return [about.get(attribute) for name, about in self.tags if name == tag]


def problems(path):
    """What is wrong with a page, as sentences; an empty list for a good one."""
    page = Reader(path)
    found = [f"no {name}" for name in ("title", "h1") if not page.texts.get(name, "").strip()]
    found += [f"no {name}" for name in ("description", "viewport", "color-scheme") if name not in page.all("meta", "name")]
    found += [] if page.all("html", "lang") == ["en"] else ["no language"]
    found += [f"no alt text or size: {about.get('src')}" for tag, about in page.tags if tag == "img" and not is_described(about)]
    assets = page.all("img", "src") + page.all("script", "src") + page.all("iframe", "src") + page.all("link", "href")
    found += [f"another host: {asset}" for asset in assets if asset and urlsplit(asset).netloc]
    found += [f"another host in a style: {text}" for text in re.findall(r"(?:url\(|@import)[^;)]*", page.texts.get("style", ""))]
    return found + [f"no such target: {link}" for link in page.all("a", "href") + assets if link and not resolves(link, path)]


def is_described(image):
    return image.get("alt", "").strip() and image.get("width", "").isdigit() and image.get("height", "").isdigit()


def resolves(link, path):
    """Whether a link of a page leads to a file and an anchor that are there; other hosts are not asked."""
    parts = urlsplit(link)
    if parts.scheme in ("http", "https", "data"):
        return True
    target = path.parent / unquote(parts.path) if parts.path else path
    if not target.is_file():
        return False
    return not parts.fragment or bool({parts.fragment, unquote(parts.fragment)} & ids_of(target, target.stat().st_mtime_ns))


@functools.lru_cache(maxsize=100)
def ids_of(path, changed):
    return Reader(path).ids


@pytest.mark.parametrize("name", NAMES + OTHERS + API)
def test_page(site, name):
    assert problems(site / f"{name}.html") == []


def test_titles_differ_and_every_page_links_to_every_other(site):
    pages = {name: Reader(site / f"{name}.html") for name in NAMES + OTHERS + API}
    assert len({reader.texts["title"] for reader in pages.values()}) == len(pages)
    for page, reader in pages.items():
        root = "../" * page.count("/")
        assert {f"{root}{name}.html" for name in [*NAMES, "api/index"]} <= set(reader.all("a", "href")), page


@pytest.mark.parametrize("path", notebooks.notebook_paths(), ids=lambda path: path.stem)
def test_alt_text_is_what_the_cell_prints(site, path):
    notebook = nbformat.read(path, as_version=4)
    outputs = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    figures = [group for group in outputs if any("image/png" in output.get("data", {}) for output in group)]
    printed = [" ".join("".join(output.get("text", "") for output in group).split()) for group in figures]
    assert Reader(site / f"{path.stem}.html").all("img", "alt") == printed


def test_the_landing_page_tells_the_story(site):
    page = Reader(site / "index.html")
    sources = page.all("img", "src")
    read = {path.stem: notebook_files.read(path) for path in notebooks.notebook_paths()}
    tagged = {name: notebook_files.landing_cell(name, notebook) for name, notebook in read.items()}
    places = [f"figures/{name}-{read[name].cells.index(cell)}-" for name, cell in tagged.items() if cell]
    assert [source.rstrip("0123456789.png") for source in sources] == places
    assert len(places) > len(read) / 2
    assert {f"notebooks/{name}.ipynb" for name in NOTEBOOKS} <= set(page.all("a", "href"))
    assert all(name in page.texts["th"] for name in claims.load_claims().index)


def test_spanish_is_marked_as_such(site):
    index, *others = (Reader(site / f"{name}.html") for name in ["index", *NOTEBOOKS])
    assert index.all("p", "lang").count("es") == 1
    assert all(page.all("span", "lang").count("es") >= 2 for page in others)  # the question and the summary


def test_downloads_are_the_stored_notebooks(site):
    for path in notebooks.notebook_paths():
        assert (site / "notebooks" / path.name).read_text(encoding="utf-8") == path.read_text(encoding="utf-8")


def test_hosts_are_linked_once_the_repository_has_an_address(tmp_path):
    path = notebooks.notebook_paths()[0]
    book = {path.stem: nbformat.read(path, as_version=4)}
    index = website.write(book, tmp_path, repository="https://github.com/someone/something.git")
    tail = f"someone/something/blob/main/notebooks/{path.name}"
    links = Reader(index).all("a", "href")
    assert f"https://colab.research.google.com/github/{tail}" in links
    assert f"https://www.kaggle.com/kernels/welcome?src=https://github.com/{tail}" in links
    assert "https://github.com/someone/something/blob/main/README.es.md" in links


GOOD = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Good</title><link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width"><meta name="description" content="d"><meta name="color-scheme" content="light">
</head><body><h1 id="top">Good</h1><a href="#top">up</a><img src="dot.png" alt="A dot." width="60" height="60"></body></html>"""


WRONG = [  # what is changed in a good page, into what, which of the two checks must see it, and what the browser's says
    ('lang="en"', "", "files", None),
    ("<title>Good", "<title>", "files", None),
    ("description", "keywords", "files", None),
    ('alt="A dot."', 'alt=" "', "both", "no alt text: dot.png"),
    ('width="60"', "", "files", None),
    ('src="dot.png"', 'src="no.png"', "both", "no picture: no.png"),
    ('src="dot.png"', 'src="no.png"', "both", "answered 404"),
    ('src="dot.png"', 'src="https://example.com/dot.png"', "both", "asks another host: https://example.com/dot.png"),
    ('href="data:,"', 'href="//example.com/style.css" rel="stylesheet"', "both", "asks another host"),
    ("</head>", "<style>@import 'https://example.com/a.css';</style></head>", "both", "asks another host"),
    ('href="#top"', 'href="#bottom"', "files", None),
    ('href="#top"', 'href="other.html"', "files", None),
    ("</body>", "<script>console.error('no')</script></body>", "browser", "console: no"),
    ("</body>", "<script>console.assert(false, 'no')</script></body>", "browser", "console: no"),
    ("</body>", "<script>throw new Error('no')</script></body>", "browser", "exception: no"),
    ("</body>", "<script>setTimeout(() => fetch('https://example.com'), 9)</script></body>", "browser", "request failed"),
    ("</body>", '<div style="width:500px">wide</div></body>', "browser", "pixels wide on a screen of 390"),
    ("</body>", '<p style="font-size:9px">small</p></body>', "browser", "9px is too small: small"),
    ("</body>", '<p style="color:#ccc">pale</p></body>', "browser", "contrast 1.6 is too low: pale"),
]


def write_page(folder, text):
    (folder / "dot.png").write_bytes(notebooks.STORY.read_bytes())
    (folder / "index.html").write_text(text, encoding="utf-8")
    return folder / "index.html"


@pytest.mark.parametrize("old, new", dict.fromkeys(case[:2] for case in WRONG if case[2] != "browser"))
def test_the_check_of_files_fails_where_it_should(tmp_path, old, new):
    assert problems(write_page(tmp_path, GOOD)) == []
    assert old in GOOD
    assert problems(write_page(tmp_path, GOOD.replace(old, new, 1)))


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_page_in_a_browser(site, serve, chromium, width, scheme):
    address = serve(site)
    found = {name: browser.problems(chromium, f"{address}/{name}.html", width, scheme) for name in NAMES + OTHERS + API}
    assert {name: list(dict.fromkeys(seen)) for name, seen in found.items() if seen} == {}


@needs_browser
@pytest.mark.parametrize("old, new, words", [(old, new, words) for old, new, check, words in WRONG if check != "files"])
def test_the_check_in_a_browser_fails_where_it_should(tmp_path, serve, chromium, old, new, words):
    """And says why: one check must not stand in for another."""
    address = serve(tmp_path)
    write_page(tmp_path, GOOD)
    assert browser.problems(chromium, f"{address}/index.html", 390, "light") == []
    write_page(tmp_path, GOOD.replace(old, new, 1))
    found = browser.problems(chromium, f"{address}/index.html", 390, "light")
    assert any(words in problem for problem in found), found


def test_every_public_name_has_its_place_and_its_words(site):
    rooms = {one.name for one in pkgutil.iter_modules(tumor_mri.__path__) if one.ispkg and one.name != "data"}
    assert set(api.ROOMS) == rooms
    listed = set(Reader(site / "api/index.html").all("a", "href"))
    for room in api.ROOMS:
        page = Reader(site / f"api/tumor_mri/{room}.html")
        module = importlib.import_module(f"tumor_mri.{room}")
        assert set(module.__all__) <= page.ids, room
        assert {f"tumor_mri/{room}.html#{name}" for name in module.__all__} <= listed


def test_pages_of_the_package_name_no_folder_of_this_machine(site):
    here = {str(manifests.ROOT), str(Path.home()), str(Path(tumor_mri.__file__).parents[1]), sys.prefix}
    for path in sorted((site / "api").rglob("*.*")):
        said = path.read_text(encoding="utf-8")
        assert not [folder for folder in here if f"{folder}/" in said], path.name
        assert not re.search(r" at 0x[0-9a-f]{6}", said), path.name
    assert "example/folder" in api._without_paths(f"{manifests.ROOT}/example/folder")
    assert api._without_paths(f"PosixPath('{manifests.ROOT}/data')") == "Path('data')"
    assert api._without_paths(f"{manifests.ROOT}-of-another") == f"{manifests.ROOT}-of-another"


def digests(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_two_builds_are_the_same_bytes_and_no_tensorflow_is_loaded(site, tmp_path):
    code = f"""
import sys
from pathlib import Path
from tumor_mri.site import notebooks
notebooks.site(Path({str(tmp_path / "again")!r}))
assert not {{"tensorflow", "keras", "jax", "torch"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": "7"}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert digests(tmp_path / "again") == digests(site)


@needs_browser
@pytest.mark.slow
def test_no_page_violates_a_rule_of_axe(site, chromium):
    """The rules of axe-core (https://github.com/dequelabs/axe-core), which ``npm pack`` fetches once."""
    try:
        (axe,) = own_scan.packed(*AXE, ["package/axe.min.js"]).values()
    except own_scan.RuntimeMissing as error:
        pytest.skip(str(error))
    found = {}
    for scheme in ("light", "dark"):
        with chromium.new_context(color_scheme=scheme) as context:
            for name in NAMES + OTHERS + API:
                page = context.new_page()
                page.goto((site / f"{name}.html").as_uri())
                page.evaluate(axe.decode("utf-8"))
                violations = page.evaluate("axe.run().then(found => found.violations.map(one => one.id))")
                found |= {(name, scheme): violations} if violations else {}
                page.close()
    assert found == {}


@needs_browser
def test_a_page_is_searched_and_its_figures_are_enlarged(site, chromium):
    with chromium.new_context() as context:
        page = context.new_page()
        page.goto((site / "05_why_the_gap.html").as_uri())
        page.fill("#search", "foreign gliomas")
        page.wait_for_selector("#results:not([hidden]) a")
        assert "Foreign gliomas" in page.inner_text("#results")
        page.keyboard.press("ArrowDown")
        assert page.evaluate("document.activeElement.closest('#results') !== null")
        page.keyboard.press("Escape")
        page.fill("#search", "zzzz")
        page.wait_for_function("document.getElementById('results').textContent.includes('Nothing found')")
        page.locator(".enlarge").first.click()
        assert page.locator("dialog.enlarged img").get_attribute("alt")
        page.keyboard.press("Escape")
        assert not page.locator("dialog.enlarged").is_visible()
        assert page.locator(".contents a").count() >= 5


def test_every_entry_of_the_search_leads_somewhere(site):
    entries = json.loads((site / "search.js").read_text(encoding="utf-8").removeprefix("window.SEARCH = ").rstrip(";\n"))
    assert {entry["address"].split("#")[0] for entry in entries} >= {f"{name}.html" for name in NOTEBOOKS}
    assert all(resolves(entry["address"], site / "index.html") for entry in entries)
    assert all(
        "from tumor_mri import" not in entry["text"] for entry in entries if not entry["address"].startswith("api")
    )  # no code


@needs_browser
def test_the_search_of_the_package_finds_a_name(site, serve, chromium):
    page = chromium.new_page()
    page.goto(f"{serve(site)}/api/tumor_mri/runs.html?search=learning_curves")
    page.locator("main.pdoc").get_by_text("tumor_mri.figures.learning_curves").first.wait_for()  # the page builds the index
    page.close()


def test_a_site_replaces_an_older_one_whole_and_leaves_other_files(tmp_path):
    output = tmp_path / "new" / "site"
    for number in range(2):
        with website.replaced(output) as folder:
            (folder / "index.html").write_text(f"{website._MARK}{number}")
            (folder / "figures").mkdir()
            (folder / "figures" / f"{number}.svg").write_text("")
            (folder / f"0{number}_a.html").write_text("")
        (output / "notes.txt").write_text("mine")
    assert sorted(digests(output)) == ["01_a.html", "figures/1.svg", "index.html", "notes.txt"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, website.PageError])
def test_a_site_that_is_not_finished_changes_nothing(tmp_path, error):
    with website.replaced(tmp_path / "site") as folder:
        (folder / "index.html").write_text(f"{website._MARK}old")
    before = digests(tmp_path)
    for name in ("site", "new"):
        with pytest.raises(error), website.replaced(tmp_path / name) as folder:
            (folder / "index.html").write_text("new")
            raise error
    assert digests(tmp_path) == before and not (tmp_path / "new").exists()


def test_folders_that_are_not_from_a_site_are_not_replaced(tmp_path):
    (tmp_path / "figures").mkdir()
    with pytest.raises(website.PageError, match="holds figures, not from an earlier website"):
        with website.replaced(tmp_path):
            pass


@pytest.mark.parametrize("text", [None, "", "# Title\n\nEspañol", "Title\n\nlink\n\nstory"])
def test_a_readme_that_lacks_title_or_story_gets_a_sentence(tmp_path, monkeypatch, text):
    monkeypatch.setattr(website.manifests, "ROOT", tmp_path)
    if text is not None:
        (tmp_path / "README.md").write_text(text)
    with pytest.raises(website.PageError, match="README.md"):
        website._about("README.md")


def test_without_a_checkout_there_is_one_sentence_and_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(notebook_files, "NOTEBOOKS", tmp_path / "notebooks")
    for make in (notebooks.site, notebooks.reproduce):
        with pytest.raises(website.PageError, match="needs a copy of the repository"):
            make(tmp_path / "site")
    assert list(tmp_path.iterdir()) == []


def test_a_landing_cell_without_a_figure_is_named(tmp_path):
    new = nbformat.v4
    cells = [new.new_markdown_cell("# 1 · A title?\nA question?"), new.new_code_cell("1", metadata={"tags": ["landing"]})]
    with pytest.raises(website.PageError, match="01_x.ipynb: the cell tagged 'landing' has no stored figure"):
        website.write({"01_x": new.new_notebook(cells=cells)}, tmp_path)


CODE = """\
import matplotlib.pyplot as plt
from tumor_mri.figures import style

def placed():
    figure = plt.figure(layout="none")
    figure.add_axes((0.1, 0.1, 0.8, 0.8))
    return style.finish(figure, "One axis, placed by hand.")

def laid_out():
    figure, axes = plt.subplots(1, 2)
    figure.colorbar(axes[0].imshow([[1, 2]]))
    return style.finish(figure, "Two axes, placed by the style.")

_ = placed(), laid_out()"""


def notebook_file(folder, *sources):
    """A small notebook below a folder, which a page can be made of."""
    new = nbformat.v4
    cells = [new.new_code_cell(source, metadata={"tags": ["landing"]}) for source in sources]
    opening = new.new_markdown_cell("# 1 · A title?\nA question?")
    nbformat.write(new.new_notebook(cells=[opening, *cells]), folder / "01_small.ipynb")
    return folder / "01_small.ipynb"


def test_reproduced_pages_hold_no_warning(tmp_path, monkeypatch, capsys):
    path = notebook_file(tmp_path, f"{CODE}\nimport sys\nif {{warns}}: print('/home/me: a warning', file=sys.stderr)")
    monkeypatch.setattr(notebooks, "notebook_paths", lambda: [path])
    monkeypatch.setattr(notebooks.download, "locate", lambda: tmp_path)
    source = path.read_text(encoding="utf-8")
    for warns in (False, True):
        path.write_text(source.replace("{warns}", str(warns)), encoding="utf-8")
        notebooks.reproduce(tmp_path / "report")
        assert ("01_small.ipynb, cell 2: /home/me: a warning" in capsys.readouterr().err) == warns
        stored = nbformat.read(tmp_path / "report" / "notebooks" / path.name, as_version=4)
        streams = [(output.name, output.text) for output in stored.cells[1].outputs if output.output_type == "stream"]
        assert streams == [("stdout", "One axis, placed by hand.\n"), ("stdout", "Two axes, placed by the style.\n")]
        assert "Warning" not in (tmp_path / "report" / "01_small.html").read_text(encoding="utf-8")
        names = ["01_small-1-placed.svg", "01_small-2-laid_out.svg"]
        assert sorted(file.name for file in (tmp_path / "report" / "figures").glob("*.svg")) == names


@pytest.mark.skipif(os.name == "nt", reason="sends a signal as a Unix terminal does")
@pytest.mark.parametrize("moment", ["in a cell", "while the kernel starts"])
def test_reproduce_that_is_stopped_says_so_and_leaves_the_old_pages(tmp_path, moment):
    path = notebook_file(
        tmp_path, f"import os, time\nopen({str(tmp_path / 'begun')!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)"
    )
    code = f"""
import sys
from pathlib import Path
from tumor_mri import __main__ as cli
from tumor_mri.datasets import download
from tumor_mri.site import execution, notebooks
notebooks.notebook_paths = lambda: [Path({str(path)!r})]
download.locate = lambda: None
starting = execution.AsyncKernelManager.start_kernel
async def start(self, **settings):
    Path({str(tmp_path / "starting")!r}).touch()
    return await starting(self, **settings)
execution.AsyncKernelManager.start_kernel = start
sys.exit(cli.main(["reproduce", "--output", {str(tmp_path / "report")!r}]))
"""
    with website.replaced(tmp_path / "report") as folder:
        (folder / "index.html").write_text(f"{website._MARK}old")
    before = digests(tmp_path / "report")
    command = [sys.executable, "-c", code]
    # a process group of its own, which Ctrl-C of a terminal would reach as a whole
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    awaited = tmp_path / ("begun" if moment == "in a cell" else "starting")
    for _ in range(1200):
        if awaited.exists() and (moment != "in a cell" or awaited.read_text()):
            break
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said and "stopped; finished runs" in said.splitlines()[-1]
    assert digests(tmp_path / "report") == before
    if moment == "in a cell":
        with pytest.raises(ProcessLookupError):
            os.kill(int(awaited.read_text()), 0)
