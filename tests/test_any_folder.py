"""The audit of any folder: tiny drawn images, where every answer is known."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tumor_mri import __main__ as cli
from tumor_mri.audit import any_folder, near_copies
from tumor_mri.datasets import download


def scan(seed, size=(96, 80)):
    """A smooth random picture, grey, so that it survives compression and shrinking as scans do; width and height in pixels."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8)).astype(np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def save(image, path, **settings):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **settings)


@pytest.fixture
def folder(tmp_path):
    """Two splits of two classes: a byte-identical file, a re-compressed, an enlarged, a relabelled copy, and four others."""
    root = tmp_path / "images"
    for seed in range(4):
        save(scan(seed), root / f"Training/{'yes' if seed < 2 else 'no'}/{seed}.png")
    save(scan(0), root / "Testing/yes/identical.png")
    save(scan(1), root / "Testing/yes/compressed.jpg", quality=60)
    save(scan(2, size=(201, 167)), root / "Testing/no/enlarged.png")
    save(scan(3), root / "Testing/yes/relabelled.png", compress_level=0)
    save(scan(7), root / "Testing/no/other.png")
    return root


def figures(found):
    return found.facts.set_index("fact")["figure"]


def test_copies_are_found_and_others_are_not(folder):
    found = any_folder.audit_folder(folder)
    pairs = found.near_copies.set_index("second")
    assert set(found.near_copies["first"] + " " + found.near_copies["second"]) == {
        "Testing/yes/identical.png Training/yes/0.png",
        "Testing/yes/compressed.jpg Training/yes/1.png",
        "Testing/no/enlarged.png Training/no/2.png",
        "Testing/yes/relabelled.png Training/no/3.png",
    }
    assert pairs["byte_identical"].to_dict() == {
        "Training/yes/0.png": True,
        "Training/yes/1.png": False,
        "Training/no/2.png": False,
        "Training/no/3.png": False,
    }
    assert found.near_copies["correlation"].between(0.99, 1.0001).all()


def test_facts_of_a_folder_with_splits(folder):
    (folder / "LICENSE").write_text("no image")
    figure = figures(any_folder.audit_folder(folder))
    assert figure["images"] == 9
    assert figure["files passed over: no image by name, or in no class folder"] == 1
    assert figure["sets of byte-identical files"] == figure["surplus files in them"] == 1
    assert figure["sets across classes"] == 0
    assert figure["images with a near-copy"] == 8
    assert figure["pairs across classes: label conflicts"] == 1
    assert figure["pairs across splits"] == 4


def test_the_largest_split_is_the_one_that_trains(folder):
    assert "Training: images with a near-copy in Testing" in figures(any_folder.audit_folder(folder))
    for seed in (20, 21):
        save(scan(seed), folder / f"Training/no/{seed}.png")
    figure = figures(any_folder.audit_folder(folder))
    assert figure["Testing: images with a near-copy in Training"] == 4
    assert figure["Testing: files byte-identical to one of Training"] == 1
    assert figure["the same, images with a near-copy in it"] == 3  # all but the relabelled one


def test_class_folders_alone(tmp_path):
    for seed in range(6):
        save(scan(seed), tmp_path / f"{'yes' if seed < 3 else 'no'}/{seed}.png")
    save(scan(0), tmp_path / "yes/copy.png")
    images, passed_over = any_folder.list_images(tmp_path)
    assert set(images["split"]) == {""}
    assert images["class"].value_counts().to_dict() == {"yes": 4, "no": 3}
    assert passed_over == 0
    figure = figures(any_folder.audit_folder(tmp_path))
    assert figure["yes: images"] == 4
    assert "pairs across splits" not in figure
    assert figure["class of the nearest other image is right"] >= 2  # the copy and its original find one another
    assert figure["the same, near-copies banned"] <= figure["class of the nearest other image is right"]


def test_what_lies_in_no_class_folder_is_passed_over(tmp_path):
    save(scan(0), tmp_path / "yes/0.png")
    save(scan(1), tmp_path / "cover.png")
    save(scan(2), tmp_path / "a/b/c/deep.png")
    (tmp_path / "yes/notes.txt").write_text("no image")
    images, passed_over = any_folder.list_images(tmp_path)
    assert images["path"].tolist() == ["yes/0.png"]
    assert passed_over == 3


@pytest.mark.parametrize("content", [b"", b"no image at all", b"\x89PNG\r\n\x1a\n cut"], ids=["empty", "text", "cut"])
def test_unreadable_files_are_named(folder, content):
    (folder / "Testing/no/a_bad.png").write_bytes(content)
    found = any_folder.audit_folder(folder)
    assert found.unreadable["path"].tolist() == ["Testing/no/a_bad.png"]
    assert found.unreadable["reason"].str.len().gt(0).all()
    assert figures(found)["images"] == 9
    assert len(found.near_copies) == 4  # rows and thumbnails still fit together


def test_a_truncated_image_is_unreadable(folder):
    file = folder / "Training/no/2.png"
    file.write_bytes(file.read_bytes()[:-200])
    assert any_folder.audit_folder(folder).unreadable["path"].tolist() == ["Training/no/2.png"]


def test_nothing_to_audit(tmp_path):
    with pytest.raises(near_copies.AuditError, match="there is no folder"):
        any_folder.audit_folder(tmp_path / "absent")
    with pytest.raises(near_copies.AuditError, match="expected .*CLASS/IMAGE"):
        any_folder.audit_folder(tmp_path)
    (tmp_path / "yes").mkdir()
    (tmp_path / "yes/bad.png").write_bytes(b"")
    with pytest.raises(near_copies.AuditError, match="none of the 1 images .* yes/bad.png"):
        any_folder.audit_folder(tmp_path)


def test_constant_images_are_nobodys_copies(folder):
    for name in ("black", "black_again"):
        save(Image.new("L", (50, 50)), folder / f"Training/yes/{name}.png")
    found = any_folder.audit_folder(folder)
    assert figures(found)["uniform images, left out of the neighbour search"] == 2
    assert figures(found)["sets of byte-identical files"] == 2
    assert len(found.near_copies) == 4
    assert not near_copies.standardise(np.full((32, 32), 0.1)).any()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_kind_of_pixel_is_read(tmp_path, mode):
    grey = scan(0)
    if mode == "I;16":  # 12 bits, as scanners give them: grey levels over 255 must not be cut
        picture = Image.fromarray(np.asarray(grey).astype(np.uint16) * 16)
    else:
        picture = grey.convert(mode)
    save(picture, tmp_path / f"yes/a.{'tif' if mode == 'CMYK' else 'png'}")
    save(grey, tmp_path / "yes/b.png")
    scans = any_folder.read(tmp_path, any_folder.list_images(tmp_path)[0])
    assert scans.thumbnails[0] @ scans.thumbnails[1] > (0.9 if mode == "1" else 0.999)
    assert not scans.table["colour"].any()


def test_colour_is_seen(tmp_path):
    red = Image.merge("RGB", [scan(0), scan(1), scan(1)])
    save(red, tmp_path / "yes/red.png")
    save(scan(0).convert("RGB"), tmp_path / "no/grey.png")
    figure = figures(any_folder.audit_folder(tmp_path))
    assert figure["images in colour"] == figure["  in colour"] == 1


def test_a_shortcut_is_seen_and_chance_is_not():
    generator = np.random.default_rng(0)
    labels = np.repeat(["yes", "no"], 100)
    sizes = pd.DataFrame({"width": np.where(labels == "yes", 512, generator.integers(200, 400, 200))})
    assert any_folder.shortcut(sizes, labels, np.arange(200)).mean() == 1
    noise = pd.DataFrame({"width": generator.normal(size=200)})
    assert any_folder.shortcut(noise, labels, np.arange(200)).mean() < 0.65
    # neighbours in number have opposite labels, so that only a group seen before can be told: none is, where groups are whole
    groups = np.repeat(np.arange(4), 50)
    labels, numbers = np.where(groups % 2, "yes", "no"), pd.DataFrame({"mean": groups})
    assert any_folder.shortcut(numbers, labels, np.arange(200)).mean() == 1
    assert any_folder.shortcut(numbers, labels, groups).mean() <= 0.5
    assert any_folder.shortcut(noise, labels, np.zeros(200)) is None


def test_command(folder, tmp_path, capsys):
    (folder / "Training/no/bad.png").write_bytes(b"")
    assert cli.main(["audit", str(folder), "--output", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert "4 of 4 pairs of near-copies: 1 across classes, 4 across splits" in said.out
    assert "Traceback" not in said.err and "Warning" not in said.err
    pairs = pd.read_csv(tmp_path / "out/near_copies.csv")
    assert pairs.loc[0, ["first", "second"]].tolist() == ["Testing/yes/relabelled.png", "Training/no/3.png"]
    assert pd.read_csv(tmp_path / "out/unreadable.csv")["path"].tolist() == ["Training/no/bad.png"]
    assert set(pd.read_csv(tmp_path / "out/facts.csv").columns) == {"fact", "figure", "share"}
    with Image.open(tmp_path / "out/gallery.png") as gallery:
        assert gallery.width > 500


def test_command_on_a_wrong_folder_or_none(tmp_path, capsys, monkeypatch):
    assert cli.main(["audit", str(tmp_path), "--output", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err.startswith("error: ")
    monkeypatch.setattr(download, "find", lambda: None)
    assert cli.main(["audit", "--output", str(tmp_path / "out")]) == 1
    assert "tumor-mri download" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
