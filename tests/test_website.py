"""The website: what its files say, what a headless browser sees, and proof that both checks can fail."""

import functools
import re
import threading
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import browser
import nbformat
import pytest

from tumor_mri.site import notebooks, website

NAMES = ["index", *(path.stem for path in notebooks.notebook_paths())]


def needs_browser(test):
    """A test of the browser lane, skipped where there is none."""
    return pytest.mark.browser(pytest.mark.skipif(browser.find() is None, reason=browser.NONE)(test))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return notebooks.site(tmp_path_factory.mktemp("site")).parent


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
    return not parts.fragment or bool({parts.fragment, unquote(parts.fragment)} & Reader(target).ids)


@pytest.mark.parametrize("name", NAMES)
def test_page(site, name):
    assert problems(site / f"{name}.html") == []


def test_titles_differ_and_every_page_links_to_every_other(site):
    readers = [Reader(site / f"{name}.html") for name in NAMES]
    assert len({reader.texts["title"] for reader in readers}) == len(NAMES)
    assert all({f"{name}.html" for name in NAMES} <= set(reader.all("a", "href")) for reader in readers)


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
    assert len(sources) == len(website.STORY) + 1 == 8  # notebooks 6 and 8 share a mark
    assert [source.split("/")[1].split("-")[0] for source in sources] == [name for name in NAMES[1:] if name[:2] != "07"]
    assert {f"notebooks/{name}.ipynb" for name in NAMES[1:]} <= set(page.all("a", "href"))
    assert all(f"C{number}" in page.texts["th"] for number in range(1, 10))


def test_spanish_is_marked_as_such(site):
    index, *others = (Reader(site / f"{name}.html") for name in NAMES)
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


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def serve():
    """Serve a folder on this machine; returns its address."""
    servers = []

    def start(folder):
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder))))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def chromium():
    with browser.started() as opened:
        yield opened


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_page_in_a_browser(site, serve, chromium, width, scheme):
    address = serve(site)
    found = {name: browser.problems(chromium, f"{address}/{name}.html", width, scheme) for name in NAMES}
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
