"""What lies below a folder: links are followed, and nothing is left out without a reason."""

import errno
import json
import os

import numpy as np
import pytest
from PIL import Image

from tumor_mri import __main__ as cli
from tumor_mri.audit import any_folder, near_copies, scans
from tumor_mri.datasets import folders, manifests
from tumor_mri.models import published


def save(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (64, 64)).astype(np.uint8)).save(path, "PNG")


def lock(monkeypatch, name):
    """Let the system refuse to open a folder: an administrator, who may run the tests, could open any."""
    whole = os.scandir

    def refusing(path="."):
        if str(path).endswith(name):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return whole(path)

    monkeypatch.setattr(os, "scandir", refusing)


@pytest.fixture
def folder(tmp_path):
    """A class folder, one that is a link, a link to nothing, a pipe, an empty folder, a link back, and a file outside."""
    root = tmp_path / "images"
    save(root / "here/0.png", 0)
    save(tmp_path / "elsewhere/1.png", 1)
    (root / "linked").symlink_to(tmp_path / "elsewhere")
    (root / "here/gone.png").symlink_to("nothing")
    (root / "here/again").symlink_to(root)
    os.mkfifo(root / "here/pipe.png")
    (root / "empty").mkdir()
    return root


def test_everything_is_listed_or_left_out_with_a_reason(folder, monkeypatch):
    save(folder / "locked/2.png")
    lock(monkeypatch, "locked")
    found = folders.listing(folder)
    assert found.files == [folder / "here/0.png", folder / "linked/1.png"]
    assert found.empty == [folder / "empty"]
    assert found.left_out == {
        folder / "here/again": "is a link to a folder that it lies in",
        folder / "here/gone.png": "is a link to nothing",
        folder / "here/pipe.png": "is not a plain file, but a pipe, a socket or a device",
        folder / "locked": "is a folder that cannot be opened: Permission denied",
    }


def test_two_links_to_one_folder_are_both_followed(tmp_path):
    save(tmp_path / "elsewhere/1.png")
    for name in ("a", "b"):
        (tmp_path / "images" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "images" / name).symlink_to(tmp_path / "elsewhere")
    assert len(folders.listing(tmp_path / "images").files) == 2


def test_a_folder_that_is_absent_or_locked_is_an_error(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError):
        folders.listing(tmp_path / "absent")
    lock(monkeypatch, tmp_path.name)
    with pytest.raises(PermissionError):
        folders.listing(tmp_path)


def test_an_audit_follows_links_and_names_what_it_cannot_read(folder, monkeypatch):
    save(folder / "locked/2.png")
    lock(monkeypatch, "locked")
    images, passed_over = scans.list_images(folder)
    assert images["path"].tolist() == ["here/0.png", "linked/1.png"] and passed_over == 0
    found = any_folder.audit_folder(folder)
    assert found.unreadable["path"].tolist() == ["here/again", "here/gone.png", "here/pipe.png", "locked"]
    assert found.unreadable["reason"].iloc[-1] == "is a folder that cannot be opened: Permission denied"
    assert found.facts.set_index("fact")["figure"]["images that cannot be read"] == 4


def test_an_audit_of_locked_folders_alone_says_so(tmp_path, monkeypatch):
    save(tmp_path / "locked/2.png")
    lock(monkeypatch, "locked")
    with pytest.raises(near_copies.AuditError, match="cannot be read; the first is locked, which is a folder that cannot"):
        any_folder.audit_folder(tmp_path)


def test_verify_opens_every_folder_or_says_which_not(tmp_path, manifest, monkeypatch):
    save(tmp_path / "Training/locked/2.png")
    lock(monkeypatch, "locked")
    with pytest.raises(manifests.DatasetError, match="locked is a folder that cannot be opened: Permission denied: mend"):
        manifests.verify(tmp_path, manifest)


class Constant:
    """Stands for the published network: the same answer to any scan."""

    temperature, abstain_below, familiar_above, likeness_below = 1.0, 0.0, -1.0, -1.0
    features, paths = np.ones((1, 2), dtype=np.float32), np.array(["Training/no_tumor/a.jpg"])

    def __init__(self):
        self.session = self

    def run(self, outputs, inputs):
        count = len(inputs["scans"])
        return np.ones((count, 2), dtype=np.float32), np.full((count, 4), 0.25), np.zeros((count, 6, 6, 4), dtype=np.float32)


def test_predict_answers_behind_links_and_says_what_it_cannot_read(folder):
    found = published.predict(published.files_in(folder), Constant())
    names, reasons = ([text.removeprefix(f"{folder}/") for text in found[column]] for column in ("file", "problem"))
    problems = dict(zip(names, reasons, strict=True))
    assert problems == {
        "here/0.png": "",
        "here/again": "here/again is a folder",
        "here/gone.png": "here/gone.png is a link to nothing",
        "here/pipe.png": "here/pipe.png is not a plain file, but a pipe, a socket or a device",
        "linked/1.png": "",
    }


@pytest.fixture
def odd_names(tmp_path):
    """Two scans whose names some terminals cannot show: in another encoding, and in Chinese."""
    for seed, name in enumerate([os.fsdecode(b"caf\xe9.png"), "\u8111.png"]):
        save(tmp_path / "class" / name, seed)
    return tmp_path


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252"])
@pytest.mark.parametrize("option", [[], ["--json"]])
def test_no_name_costs_the_other_answers(odd_names, encoding, option, monkeypatch, tmp_path):
    monkeypatch.setattr(published, "load", Constant)
    with open(tmp_path / "printed", "w", encoding=encoding) as out:
        monkeypatch.setattr("sys.stdout", out)
        assert cli.main(["predict", *option, str(odd_names / "class")]) == 0
    printed = (tmp_path / "printed").read_text(encoding=encoding)
    assert "caf" in printed and printed.count("a.jpg") == 2
    if option and encoding == "utf-8":
        assert [row["file"].split("/")[-1] for row in json.loads(printed)] == ["caf\\udce9.png", "\u8111.png"]


def test_an_audit_writes_names_of_any_encoding(odd_names):
    for name in list((odd_names / "class").iterdir()):
        save(odd_names / "other" / name.name, 5)
    assert cli.main(["audit", str(odd_names), "--output", str(odd_names / "audit")]) == 0
    assert "caf\\udce9.png" in (odd_names / "audit/near_copies.csv").read_text(encoding="utf-8")
    assert (odd_names / "audit/unreadable.csv").is_file()
