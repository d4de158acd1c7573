"""A write that fails half-way, as on a full disk, leaves each file as it was: whole, and no temporary file beside it."""

import contextlib
import errno
import os
import shutil

import nbformat
import numpy as np
import pytest
from PIL import Image

from tumor_mri import __main__ as cli
from tumor_mri import text
from tumor_mri.audit import scans
from tumor_mri.datasets import manifests
from tumor_mri.models import preprocessing, published
from tumor_mri.runs import training
from tumor_mri.site import website
from tumor_mri.study import publishing

resource = pytest.importorskip("resource", reason="this system cannot limit the size of files")


@contextlib.contextmanager
def files_of_at_most(size):
    """Let the system refuse to write beyond `size` bytes of any file, as `ulimit -f` does: what fits is written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def seen(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("content", ["new " * 1000, b"new " * 1000], ids=["text", "bytes"])
def test_a_file_is_whole_or_as_it_was(tmp_path, content):
    path = tmp_path / "page.md"
    path.write_text("old")
    with files_of_at_most(1000), pytest.raises(OSError, match="page.md") as raised:
        text.write_whole(path, content)
    assert raised.value.errno == errno.EFBIG and raised.value.filename == str(path)
    assert seen(tmp_path) == {"page.md": b"old"}
    text.write_whole(path, content)
    assert seen(tmp_path) == {"page.md": b"new " * 1000}
    assert path.stat().st_mode & 0o777 == 0o644


def test_the_disk_is_asked_before_the_old_file_goes(tmp_path, monkeypatch):
    (tmp_path / "page.md").write_text("old")

    def full(number):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="page.md"):
        text.write_whole(tmp_path / "page.md", "new")
    assert seen(tmp_path) == {"page.md": b"old"}


def test_files_that_belong_together_are_written_together(tmp_path):
    text.write_together({tmp_path / "a": "1", tmp_path / "b": b"1"})
    with files_of_at_most(1000), pytest.raises(OSError, match="b"):
        text.write_together({tmp_path / "a": "2", tmp_path / "b": b"2" * 2000})
    assert seen(tmp_path) == {"a": b"1", "b": b"1"}


def test_line_ends_and_names_of_another_encoding_are_kept(tmp_path):
    text.write_whole(tmp_path / "a.csv", "one\ntwo\r\n" + os.fsdecode(b"\xff.jpg"))
    assert (tmp_path / "a.csv").read_bytes() == b"one\ntwo\r\n" + b"\\udcff.jpg"


def test_an_absent_folder_is_named_with_the_file(tmp_path):
    with pytest.raises(FileNotFoundError) as raised:
        text.write_whole(tmp_path / "absent" / "page.md", "new")
    assert raised.value.filename == str(tmp_path / "absent" / "page.md")


def test_claims_leave_the_readme_whole(tmp_path, monkeypatch, capsys):
    shutil.copy(manifests.ROOT / "README.md", tmp_path)
    monkeypatch.setattr(manifests, "ROOT", tmp_path)
    before = seen(tmp_path)
    with files_of_at_most(4096):
        assert cli.main(["claims", "--write"]) == 1
    assert "README.md: File too large" in capsys.readouterr().err
    assert seen(tmp_path) == before


def test_a_site_keeps_its_pages_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(website, "_verdicts", list)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# 1 · A title\nA question?\n" + "word " * 4000)])
    notebook.cells[0].metadata["tags"] = ["no-landing"]
    website.write({"01_a": notebook}, tmp_path)
    before = seen(tmp_path)
    with files_of_at_most(8192), pytest.raises(OSError, match="01_a.ipynb"):
        website.write({"01_a": notebook}, tmp_path)
    assert seen(tmp_path) == before


def draw(folder, count, copies=True):
    """A folder of two classes of random pictures; with `copies`, each twice."""
    shutil.rmtree(folder, ignore_errors=True)
    for number in range(count):
        picture = np.random.default_rng(number).integers(0, 256, (40, 40)).astype(np.uint8)
        for name in ("a", "b") if copies else ("a" if number % 2 else "b",):
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / name / f"{number}.png")
    return str(folder)


def test_an_audit_writes_all_its_tables_or_none(tmp_path, capsys):
    folder, output = tmp_path / "images", tmp_path / "audit"
    assert cli.main(["audit", draw(folder, 3), "--output", str(output)]) == 0
    before = seen(output)
    assert set(before) == {*scans.OUTPUTS, scans.GALLERY, scans.REPORT, scans.JSON}
    draw(folder, 8)
    with files_of_at_most(8192):
        assert cli.main(["audit", str(folder), "--output", str(output)]) == 1
    assert "File too large" in capsys.readouterr().err
    assert seen(output) == before


def test_an_audit_without_near_copies_shows_no_earlier_gallery(tmp_path, capsys):
    output = tmp_path / "audit"
    assert cli.main(["audit", draw(tmp_path / "images", 3), "--output", str(output)]) == 0
    assert (output / "gallery.png").is_file()
    assert cli.main(["audit", draw(tmp_path / "images", 6, copies=False), "--output", str(output)]) == 0
    assert set(seen(output)) == {*scans.OUTPUTS, scans.REPORT, scans.JSON}


def test_an_audit_does_not_read_its_own_gallery(tmp_path):
    folder = draw(tmp_path / "images", 3)
    output = tmp_path / "images/audit"
    for _ in range(2):
        assert cli.main(["audit", folder, "--output", str(output)]) == 0
    assert "images,6,\n" in (output / "facts.csv").read_text()
    assert "audit: images" not in (output / "facts.csv").read_text()


def test_a_published_network_is_replaced_as_a_whole(tmp_path, manifest, monkeypatch):
    some = manifest.groupby("class").head(2)
    scans = np.random.default_rng(0).integers(0, 256, (len(some), *published.size()), dtype=np.uint8)
    monkeypatch.setattr(preprocessing, "load_prepared", lambda manifest, **settings: scans)
    training.build_network(publishing.CONFIG, published.size()).save(tmp_path / "trained.keras")
    about, folder = {"temperature": 2.0, "abstain_below": 0.5, "likeness_below": -1.0, "record": "none"}, tmp_path / "files"
    publishing.write(folder, tmp_path / "trained.keras", about, some)
    before = seen(folder)
    assert set(before) == {published.MODEL, published.ONNX, published.FEATURES, published.ABOUT, published.SUMS}
    with files_of_at_most(100_000), pytest.raises(OSError):
        publishing.write(folder, tmp_path / "trained.keras", about, some)
    assert seen(folder) == before
    published.about(folder)
