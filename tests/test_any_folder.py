"""The audit of any folder: tiny drawn images, where every answer is known."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tumor_mri import __main__ as cli
from tumor_mri.audit import any_folder, facts, near_copies, scans
from tumor_mri.datasets import download, phantoms


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


@pytest.mark.parametrize("names, trains", [(("a", "b"), "b"), (("Train", "val"), "Train"), (("b", "x/training"), "b")])
def test_the_split_that_trains_is_named_so_or_the_largest(names, trains):
    table = pd.DataFrame({"split": [names[0]] * 2 + [names[1]] * 3})
    if names[1] == "x/training":
        table = table.iloc[:3]
    assert scans.training_split(table) == trains


def test_facts_are_told_from_the_split_that_trains(folder):
    figure = figures(any_folder.audit_folder(folder))
    assert figure["Testing: images with a near-copy in Training"] == 4
    assert figure["Testing: files byte-identical to one of Training"] == 1
    assert figure["the same, images with a near-copy in it"] == 3  # all but the relabelled one
    assert figure["of the split that trains, Training"] == 4


def test_class_folders_alone(tmp_path):
    for seed in range(6):
        save(scan(seed), tmp_path / f"{'yes' if seed < 3 else 'no'}/{seed}.png")
    save(scan(0), tmp_path / "yes/copy.png")
    images, passed_over = scans.list_images(tmp_path)
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
    images, passed_over = scans.list_images(tmp_path)
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
    read = scans.read(tmp_path, scans.list_images(tmp_path)[0])
    assert read.thumbnails[0] @ read.thumbnails[1] > (0.9 if mode == "1" else 0.999)
    assert not read.table["colour"].any()


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
    assert facts.shortcut(sizes, labels, np.arange(200)).mean() == 1
    noise = pd.DataFrame({"width": generator.normal(size=200)})
    assert facts.shortcut(noise, labels, np.arange(200)).mean() < 0.65
    # neighbours in number have opposite labels, so that only a group seen before can be told: none is, where groups are whole
    groups = np.repeat(np.arange(4), 50)
    labels, numbers = np.where(groups % 2, "yes", "no"), pd.DataFrame({"mean": groups})
    assert facts.shortcut(numbers, labels, np.arange(200)).mean() == 1
    assert facts.shortcut(numbers, labels, groups).mean() <= 0.5
    assert facts.shortcut(noise, labels, np.zeros(200)) is None


def test_command(folder, tmp_path, capsys):
    (folder / "Training/no/bad.png").write_bytes(b"")
    assert cli.main(["audit", str(folder), "--output", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert "4 pairs of near-copies, 1 of them across classes" in said.out
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


# --- what users of such tools expect


def test_hidden_and_system_folders_are_ignored(folder):
    for name in (".ipynb_checkpoints", ".git", "__MACOSX"):
        save(scan(9), folder / f"Training/{name}/9.png")
        save(scan(9), folder / f"{name}/yes/9.png")
    (folder / "Thumbs.db").write_bytes(b"")
    images, passed_over = scans.list_images(folder)
    assert len(images) == 9 and passed_over == 0


def test_the_exif_orientation_is_applied(tmp_path):
    picture = scan(0)
    exif = picture.getexif()
    exif[274] = 6
    save(picture.transpose(Image.Transpose.ROTATE_90), tmp_path / "yes/turned.png", exif=exif)
    save(picture, tmp_path / "yes/upright.png")
    save(scan(1), tmp_path / "no/other.png")
    pairs = any_folder.audit_folder(tmp_path).near_copies
    assert pairs[["first", "second"]].to_numpy().tolist() == [["yes/turned.png", "yes/upright.png"]]


def test_one_folder_level_too_many_or_too_few_is_named(tmp_path):
    save(scan(0), tmp_path / "archive/data/Training/yes/0.png")
    with pytest.raises(near_copies.AuditError, match="1 images lie deeper, below archive: try .*archive"):
        any_folder.audit_folder(tmp_path)
    with pytest.raises(near_copies.AuditError, match="holds 1 images without class folders"):
        any_folder.audit_folder(tmp_path / "archive/data/Training/yes")


def test_classes_that_a_split_lacks_are_named(folder):
    for seed in range(20, 23):
        save(scan(seed), folder / f"Testing/maybe/{seed}.png")
    figure = figures(any_folder.audit_folder(folder))
    assert figure["Training: classes of other splits that it lacks: maybe"] == 1


def test_a_cropped_copy_is_found_by_alignment_and_shares_the_group(tmp_path):
    brain = Image.fromarray(phantoms.draw("glioma_tumor", 3)).resize((240, 240))
    save(brain, tmp_path / "Training/yes/whole.png")
    save(brain.crop((30, 20, 215, 225)), tmp_path / "Testing/yes/cropped.png")
    for seed in range(10, 16):
        save(Image.fromarray(phantoms.draw("no_tumor", seed)), tmp_path / f"Training/no/{seed}.png")
    found = any_folder.audit_folder(tmp_path)
    (pair,) = found.near_copies.itertuples()
    assert (pair.first, pair.second, pair.aligned) == ("Testing/yes/cropped.png", "Training/yes/whole.png", True)
    group = found.groups.set_index("path")["group"]
    assert group["Testing/yes/cropped.png"] == group["Training/yes/whole.png"]
    assert found.problems() == {"leak": 1, "conflict": 0, "unreadable": 0}


def test_groups_and_folds_leak_nothing(folder):
    for seed in range(10, 30):
        save(scan(seed), folder / f"Training/{'yes' if seed % 2 else 'no'}/{seed}.png")
    found = any_folder.audit_folder(folder)
    assert found.images.groupby("group")["fold"].nunique().max() == 1
    fold = found.images.set_index("path")["fold"]
    assert (fold[found.near_copies["first"]].to_numpy() == fold[found.near_copies["second"]].to_numpy()).all()
    assert set(fold) == set(range(5))


def test_patients_by_table_or_expression(folder, tmp_path):
    by_name = any_folder.audit_folder(folder, r"/(\d)\.png").groups.set_index("path")["group"]
    assert by_name["Training/yes/0.png"] != by_name["Training/yes/1.png"]
    one = any_folder.audit_folder(folder, pd.DataFrame({"path": ["Training/*"], "patient": ["p1"]})).groups
    assert one[one["path"].str.startswith("Training")]["group"].nunique() == 1
    with pytest.raises(near_copies.AuditError, match="needs a group for the patient"):
        any_folder.audit_folder(folder, "[0-9]")
    with pytest.raises(near_copies.AuditError, match="no image fits the regular expression"):
        any_folder.audit_folder(folder, "case([0-9]+)")


def test_drift_between_splits(folder):
    for seed in range(10, 20):
        save(scan(seed).point(lambda level: level // 4), folder / f"Testing/no/{seed}.png")
    drift = any_folder.audit_folder(folder).drift.set_index("quantity")
    assert drift.loc["mean", "distance"] > 0.5 > drift.loc["width", "distance"]
    assert drift.loc["class", "distance"] == pytest.approx(abs(2 / 4 - 3 / 15), abs=1e-4)


@pytest.mark.parametrize("problem, status", [("leak", 1), ("conflict", 1), ("unreadable", 0)])
def test_a_problem_asked_for_is_an_exit_status(folder, tmp_path, capsys, problem, status):
    assert cli.main(["audit", str(folder), "--output", str(tmp_path / "out"), "--fail-on", problem]) == status
    assert (f"failed on {problem}" in capsys.readouterr().err) == bool(status)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*scans.OUTPUTS, scans.GALLERY, scans.REPORT, scans.JSON}


def test_the_report_shows_pairs_and_loads_nothing(folder, tmp_path):
    (folder / "Training/no/bad.png").write_bytes(b"")
    assert cli.main(["audit", str(folder), "--output", str(tmp_path)]) == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Near-duplicates with different classes: 1" in page and "Near-duplicates in different splits: 3" in page
    assert page.count("data:image/jpeg") >= 8 and "http" not in page.replace("http://www.w3.org", "")
    assert "Training/no/bad.png</code> cannot be read as an image" in page
    told = json.loads((tmp_path / "audit.json").read_text(encoding="utf-8"))
    assert told["problems"] == {"leak": 4, "conflict": 1, "unreadable": 1}
    assert len(told["near_copies"]) == 4


def test_one_folder_against_another(folder, tmp_path, capsys):
    other = tmp_path / "other"
    save(scan(0), other / "no/same.png")
    save(scan(1), other / "yes/again.jpg", quality=50)
    save(scan(30), other / "yes/new.png")
    assert cli.main(["audit", str(other), "--against", str(folder), "--output", str(tmp_path / "out")]) == 0
    matches = pd.read_csv(tmp_path / "out/matches.csv")
    assert set(matches["path"]) == {"no/same.png", "yes/again.jpg"}
    assert matches.loc[matches["byte_identical"], "path"].unique().tolist() == ["no/same.png"]
    pairs, facts = any_folder.compare_folders(other, folder)
    figure = facts.set_index("fact")["figure"]
    assert figure["images that are in it byte for byte"] == 1
    assert figure["images that are in it, copies included"] == 2
    assert figure["  with another class there"] == 1


def test_an_output_that_cannot_be_written_is_found_before_the_work(folder, tmp_path, capsys, monkeypatch):
    (tmp_path / "out").write_text("a file")
    monkeypatch.setattr(any_folder, "read", lambda *_: pytest.fail("images were read"))
    assert cli.main(["audit", str(folder), "--output", str(tmp_path / "out")]) == 1
    assert "out: File exists" in capsys.readouterr().err


def test_leaks_through_patients_are_named(folder, tmp_path, capsys):
    assert cli.main(["audit", str(folder), "--output", str(tmp_path), "--patients", r"(no|yes)/", "--fail-on", "leak"]) == 1
    said = capsys.readouterr().out
    assert "1 group is in several splits; the first: Testing/" in said and "images with a patient" in said
    leaks = pd.read_csv(tmp_path / "leaks.csv")
    assert leaks["patient"].tolist() == ["no, yes"]  # a copy links the two
    assert "Testing" in leaks["splits"][0] and "Training" in leaks["splits"][0]
    assert "Groups in several splits" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert pd.read_csv(tmp_path / "images.csv")["patient"].notna().all()


def test_a_comparison_fails_on_copies_and_refuses_what_it_does_not_use(folder, tmp_path, capsys):
    compared = ["audit", str(folder / "Testing"), "--against", str(folder / "Training"), "--output", str(tmp_path)]
    assert cli.main([*compared, "--fail-on", "leak"]) == 1
    assert "4 images of" in capsys.readouterr().err
    for other in (["--patients", "(no)"], ["--fail-on", "conflict"]):
        assert cli.main(compared + other) == 1
        assert "error: --against looks for copies between two folders" in capsys.readouterr().err


def test_label_errors_are_not_looked_for_in_few_images(folder):
    found = any_folder.audit_folder(folder)
    assert "likely label errors: not looked for, too few images or groups" in figures(found)
    assert found.images["likely_class"].isna().all()
