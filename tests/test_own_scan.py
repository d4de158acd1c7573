"""The page for one's own scan, in a real browser: the same preparation and the same answers as Python's, and how it behaves."""

import base64
import io
import time

import numpy as np
import pytest
from browser import needs_browser
from PIL import Image

from tumor_mri import stats
from tumor_mri.datasets import download, image_files, manifests, phantoms
from tumor_mri.models import onnx_file, published
from tumor_mri.site import own_scan

PREPARE = """async files => scanPage.load().then(() => Promise.all(files.map(async file => {
    const image = await scanPage.read(await (await fetch(file)).blob());
    const scan = scanPage.prepare.scan(image, NETWORK.side), answer = await scanPage.ask(image);
    return [btoa(String.fromCharCode(...scan)), answer.shares, answer.likeness];
})))"""


def address(content, kind="jpeg"):
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def as_png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def unpacked(text):
    return np.frombuffer(base64.b64decode(text), dtype=np.uint8).reshape(published.size())


@pytest.fixture(scope="module")
def page(site, chromium):
    """The page, opened from the file system."""
    with chromium.new_context() as context:
        opened = context.new_page()
        opened.goto((site / "scan.html").as_uri())
        yield opened


@needs_browser
@pytest.mark.slow
@pytest.mark.needs_dataset
def test_preparation_and_answers_are_pythons_on_all_of_testing(page, manifest):
    testing, folder = manifests.is_testing(manifest), download.find()
    paths = manifest["path"][testing].tolist()
    scans, shares, likeness = [], [], []
    for start in range(0, len(paths), 20):
        found = page.evaluate(PREPARE, [address((folder / path).read_bytes()) for path in paths[start : start + 20]])
        scans += [unpacked(one[0]) for one in found]
        shares += [one[1] for one in found]
        likeness += [one[2] for one in found]
    expected = published.recipe().load(manifest, "")[testing]
    differences = np.abs(np.array(scans).astype(int) - expected)
    assert len(scans) == 394 and differences.max() <= 2 and (differences > 0).mean() < 1e-3  # JPEG decoders may differ by a level
    network = published.load()
    features, probabilities, _ = onnx_file.answer(network.session, expected[..., None])
    softened = stats.soften(probabilities, network.temperature)
    assert np.abs(likeness - published.likeness(published.unit_length(features) @ network.features.T)).max() < 0.02
    assert np.abs(np.array(shares) - softened).max() < 0.02
    assert (np.array(shares).argmax(axis=1) == softened.argmax(axis=1)).all()


def odd_images():
    """Sizes and contents that take every branch of the preparation, by name."""
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 256, (130, 90)).astype(np.uint8)
    wide = np.zeros((60, 300), dtype=np.uint8)
    wide[10:50, 200:290] = noise[:40, :90]
    return {
        "noise": noise,
        "black": np.zeros((64, 64), dtype=np.uint8),
        "white": np.full((200, 40), 255, dtype=np.uint8),
        "small": phantoms.draw("glioma_tumor", 4)[::4, ::4],
        "large": np.kron(phantoms.draw("no_tumor", 5), np.ones((5, 5), dtype=np.uint8)),
        "wide": wide,
        "ramp": np.tile(np.arange(256, dtype=np.uint8), (256, 1)),
    }


@needs_browser
@pytest.mark.parametrize("name", odd_images())
def test_odd_images_are_prepared_as_in_python(page, name):
    pixels = odd_images()[name]
    ((scan, _, _),) = page.evaluate(PREPARE, [address(as_png(pixels), "png")])
    assert np.array_equal(unpacked(scan), published.recipe().view(pixels, ""))


@needs_browser
def test_colour_transparency_and_orientation_are_read_as_in_python(page, tmp_path):
    generator = np.random.default_rng(1)
    colour = generator.integers(0, 256, (80, 70, 4)).astype(np.uint8)
    colour[..., 3] = np.where(colour[..., 3] > 128, 255, 0)
    Image.fromarray(colour).save(tmp_path / "clear.png")
    turned = Image.fromarray(phantoms.draw("glioma_tumor", 2)).convert("RGB")
    exif = turned.getexif()
    exif[274] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    for name in ("clear.png", "turned.png"):
        ((scan, _, _),) = page.evaluate(PREPARE, [address((tmp_path / name).read_bytes(), "png")])
        assert np.array_equal(unpacked(scan), published.recipe().view(image_files.read(tmp_path / name), "")), name


@needs_browser
def test_the_first_answer_takes_less_than_three_seconds_after_loading(site, chromium):
    with chromium.new_context() as context:
        page = context.new_page()
        page.goto((site / "scan.html").as_uri())
        scan = {"name": "mine.png", "mimeType": "image/png", "buffer": as_png(phantoms.draw("glioma_tumor", 1))}
        started = time.perf_counter()
        page.set_input_files("#file", scan)
        page.wait_for_selector("#result:not([hidden])")
        assert time.perf_counter() - started < 3 * (1 + 2 * (np.mean(load()) > 1))  # twice as slow beside other work
        page.wait_for_timeout(800)  # it scrolls to the answer, even on a small screen
        top = page.evaluate("document.getElementById('answer').getBoundingClientRect().top")
        assert 0 <= top < page.viewport_size["height"] - 150
        assert "sure" in page.inner_text("#answer") and page.inner_text("#name") == "mine.png"
        assert len(page.query_selector_all("#similar li")) == 3 and len(page.query_selector_all("#shares tr")) == 4


def load():
    import os

    return np.array(os.getloadavg()[:1]) / (os.cpu_count() or 1)


@needs_browser
def test_the_page_answers_to_the_keyboard_and_tells_a_screen_reader(page):
    page.focus("#file")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent").startswith("Drawing of")
    page.keyboard.press("Enter")
    page.wait_for_function("document.getElementById('status').textContent.includes('sure')")
    assert page.get_attribute("#status", "aria-live") == "polite"
    assert "on the scan as the network sees it" in page.get_attribute("#heat", "aria-label")
    assert page.locator(".disclaimer").is_visible()


@needs_browser
@pytest.mark.parametrize(
    "name, content, words",
    [
        ("notes.txt", b"no picture", "notes.txt cannot be used: this browser cannot read it as a picture"),
        ("tiny.png", as_png(np.zeros((20, 20), dtype=np.uint8)), "it has 20 x 20 pixels: at least 32 per side"),
        ("white.png", as_png(np.full((90, 90), 255, dtype=np.uint8)), "shows no head like those that the network knows"),
        ("red.png", as_png(np.full((90, 90, 3), (200, 80, 80), dtype=np.uint8)), "red, green and blue differ by 120 grey levels"),
        ("scan.dcm", b"\0" * 200, "Export the slice as PNG, or use the command"),
    ],
)
def test_what_is_no_picture_is_one_sentence(page, name, content, words):
    page.set_input_files("#file", {"name": name, "mimeType": "application/octet-stream", "buffer": content})
    page.wait_for_function("words => document.getElementById('status').textContent.includes(words)", arg=words)
    assert not page.locator("#result").is_visible()


@needs_browser
def test_the_page_works_offline_after_the_first_visit(site, serve, chromium):
    with chromium.new_context() as context:
        page = context.new_page()
        page.goto(f"{serve(site)}/scan.html")
        page.click("button[data-sample]")
        page.wait_for_selector("#result:not([hidden])", timeout=30_000)
        page.evaluate("navigator.serviceWorker.ready")
        page.wait_for_function("caches.keys().then(names => names.length > 0 && caches.match('scan/network.js'))")
        context.set_offline(True)
        page.reload()
        page.click("button[data-sample]")
        page.wait_for_selector("#result:not([hidden])", timeout=30_000)


def test_without_npm_the_site_has_no_such_page_and_says_so(tmp_path, monkeypatch, capsys):
    from tumor_mri.site import website

    monkeypatch.setattr(own_scan, "KEPT", tmp_path / "npm")
    monkeypatch.setattr(own_scan.shutil, "which", lambda name: None)
    assert website._scan_page(tmp_path) is None
    assert "The page for one's own scan is left out. npm is needed once" in capsys.readouterr().err


def test_another_package_of_the_name_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(own_scan, "KEPT", tmp_path)
    (tmp_path / f"{own_scan.NAME}-{own_scan.VERSION}.tgz").write_bytes(b"another")
    with pytest.raises(own_scan.RuntimeMissing, match="is not the package that was published"):
        own_scan.runtime()
    assert not list(tmp_path.iterdir())
