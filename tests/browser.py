"""A headless Chromium, driven by Playwright: opens a page as a reader would, and says what is wrong with what is shown."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
NONE = "needs Chromium or Chrome: install it (`apt-get install chromium`), or set CHROMIUM to its path"
PATIENCE = 120_000  # milliseconds for the browser to start, and for a page
# no sandbox: as root there is none; no host but this one: what a page asks of another must fail
OPTIONS = (
    "--no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run --no-proxy-server "
    "--disable-background-networking --disable-component-update"
).split() + ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
PICTURES = """images => images.flatMap(image => [
    image.naturalWidth && image.getBoundingClientRect().width ? [] : [`no picture: ${image.getAttribute("src")}`],
    image.alt.trim() ? [] : [`no alt text: ${image.getAttribute("src")}`],
].flat())"""
TEXTS = Path(__file__).with_name("browser_texts.js").read_text(encoding="utf-8")
BAD = {"error", "warning", "assert"}  # kinds of lines on the console; the browser's own complaints come there too


def find():
    """The path of a browser, or None."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


def needs_browser(test):
    """A test of the browser lane, skipped where there is none."""
    return pytest.mark.browser(pytest.mark.skipif(find() is None, reason=NONE)(test))


@contextmanager
def started():
    """A browser that ends with the block."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find(), args=OPTIONS, timeout=PATIENCE)
        yield browser
        browser.close()


def problems(browser, address, width, scheme):
    """What is wrong with a page, `width` pixels wide, ``light`` or ``dark``: sentences; an empty list for a good one."""
    phone = width < 600
    screen = {"viewport": {"width": width, "height": 800}, "device_scale_factor": 1 + phone, "is_mobile": phone}
    with browser.new_context(**screen, color_scheme=scheme) as context:  # a new one has no cache: a changed page is read
        page, found = context.new_page(), []
        _listen(page, found, urlsplit(address).netloc)
        page.goto(address, wait_until="load", timeout=PATIENCE)
        page.evaluate("for (const image of document.images) image.loading = 'eager'")  # those below the window are late by intent
        page.wait_for_function("[...document.images].every(image => image.complete)", timeout=PATIENCE)
        page.wait_for_timeout(50)  # what a script starts after loading is seen too
        found += page.eval_on_selector_all("img", PICTURES)
        wide = page.evaluate("document.documentElement.scrollWidth")
        found += [f"{wide} pixels wide on a screen of {width}"] if wide > width else []
        return found + page.evaluate(TEXTS)


def _listen(page, found, host):
    """Append to `found` what a page asks of others, what it does not get, and what it complains of."""

    def asked(request):
        if urlsplit(request.url).scheme != "data" and urlsplit(request.url).netloc != host:
            found.append(f"asks another host: {request.url}")

    def answered(response):
        if response.status >= 400:
            found.append(f"answered {response.status}: {response.url}")

    page.on("request", asked)
    page.on("requestfailed", lambda request: found.append(f"request failed: {request.failure} {request.url}"))
    page.on("response", answered)
    page.on("pageerror", lambda error: found.append(f"exception: {error}"))
    page.on("console", lambda line: found.append(f"console: {line.text}") if line.type in BAD else None)
