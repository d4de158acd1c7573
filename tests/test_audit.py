"""The audit: on tiny drawn images where every answer is known, and on the real ones, whose figures it derives anew."""

import json
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from performance import audit_cost
from tumor_mri import __main__ as cli
from tumor_mri.audit import any_folder, near_copies, this_dataset
from tumor_mri.datasets import download, manifests
from tumor_mri.figures import about_dataset


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


def random_thumbnails(count, seed=0):
    generator = np.random.default_rng(seed)
    pixels = generator.normal(size=(count, near_copies.SIDE, near_copies.SIDE))
    pixels[count // 2 :] = pixels[: count - count // 2] + 0.1 * pixels[count // 2 :]  # copies: each has one, correlation 0.995
    return np.stack([near_copies.standardise(picture) for picture in pixels])


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
    assert figures(found)["images of one grey, which no neighbour is sought for"] == 2
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


@pytest.mark.parametrize("tile", [1, 7, 30, 64, 1000])
def test_tiles_give_what_the_whole_gives(tile):
    thumbnails = random_thumbnails(60)
    whole = thumbnails @ thumbnails.T
    np.fill_diagonal(whole, -np.inf)
    neighbour, correlation = near_copies.nearest(thumbnails, tile=tile)
    assert np.array_equal(neighbour, whole.argmax(axis=1))
    assert np.allclose(correlation, whole.max(axis=1), atol=1e-6)
    pairs = near_copies.near_copy_pairs(thumbnails, tile=tile)
    assert set(zip(pairs["first"], pairs["second"], strict=True)) == set(
        zip(*np.nonzero(np.triu(whole, 1) > near_copies.NEAR_COPY), strict=True)
    )
    assert len(pairs) == 30


@pytest.mark.parametrize("tile", [5, 100])
def test_rows_reference_and_banned_groups_are_kept(tile):
    thumbnails = random_thumbnails(40)
    rows, reference = np.arange(0, 40, 3), np.arange(10, 40)
    groups = pd.Series(["a", "b", None, "c"] * 10)
    neighbour, correlation = near_copies.nearest(thumbnails, rows, reference, groups, tile)
    for row, found, value in zip(rows, neighbour, correlation, strict=True):
        allowed = [other for other in reference if other != row and (groups[row] is None or groups[other] != groups[row])]
        expected = max(allowed, key=lambda other: thumbnails[row] @ thumbnails[other])
        assert found == expected
        assert value == pytest.approx(thumbnails[row] @ thumbnails[expected], abs=1e-6)


def test_no_neighbour_allowed():
    thumbnails = random_thumbnails(4)
    neighbour, correlation = near_copies.nearest(thumbnails, groups=["a"] * 4)
    assert (neighbour == -1).all()
    assert np.isnan(correlation).all()
    assert not near_copies.one_nearest_neighbour(thumbnails, ["x"] * 4, groups=["a"] * 4).any()
    assert near_copies.one_nearest_neighbour(thumbnails, ["x", "y", "x", "z"]).tolist() == [True, False, True, False]


def test_an_image_of_one_grey_has_no_neighbour_and_is_nobodys():
    thumbnails = np.stack([near_copies.standardise(picture) for picture in np.random.default_rng(0).normal(size=(5, 8, 8))])
    thumbnails[[0, 3]] = 0
    neighbour, correlation = near_copies.nearest(thumbnails, tile=2)
    assert (neighbour == -1).tolist() == np.isnan(correlation).tolist() == [True, False, False, True, False]
    assert not set(neighbour) & {0, 3}
    assert not near_copies.one_nearest_neighbour(thumbnails, ["x"] * 5)[[0, 3]].any()


def most_memory(count, tile):
    """Bytes that finding near-copies and neighbours holds at the most, beside the thumbnails."""
    thumbnails = np.stack([near_copies.standardise(picture) for picture in np.random.default_rng(0).normal(size=(count, 8, 8))])
    tracemalloc.start()
    try:
        near_copies.near_copy_pairs(thumbnails, tile=tile)
        near_copies.nearest(thumbnails, tile=tile)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_square_of_the_images():
    small, large = most_memory(1000, tile=200), most_memory(4000, tile=200)
    assert large < 3 * small  # tables of results grow with the number
    assert most_memory(4000, tile=4000) > 10 * large  # without tiles it would grow


@pytest.mark.parametrize("correlation, pairs", [(0.989, 0), (0.991, 1), (-0.999, 0)])
def test_the_threshold(correlation, pairs):
    along, across = np.eye(2, near_copies.SIDE**2, dtype=np.float32)
    other = (correlation * along + np.sqrt(1 - correlation**2) * across).astype(np.float32)
    assert len(near_copies.near_copy_pairs(np.stack([along, other]))) == pairs


def test_too_many_pairs_end_in_one_sentence(monkeypatch):
    monkeypatch.setattr(near_copies, "MOST_PAIRS", 29)
    with pytest.raises(near_copies.AuditError, match="more than 29 pairs"):
        near_copies.near_copy_pairs(random_thumbnails(60))


def test_near_copies_are_linked_into_sets():
    pairs = pd.DataFrame({"first": [0, 1], "second": [1, 4]})
    sets = near_copies.near_copy_sets(6, pairs)
    assert sets[0] == sets[1] == sets[4]
    assert len(set(sets)) == 4
    assert len(set(near_copies.near_copy_sets(3, pairs[:0]))) == 3


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


def test_label_conflicts_are_those_of_the_cheng_labels(manifest):
    assert len(this_dataset.label_conflicts(manifest)) == 14
    changed = manifest.copy()
    changed.loc[0, "cheng_label"] = "pituitary"
    assert 0 in this_dataset.label_conflicts(changed).index


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
    assert "python -m tumor_mri download" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_published_galleries_show_only_what_may_be(manifest, capsys):

    foreign, slices = "Testing/glioma_tumor/image(48).jpg", manifest["path"][[0, 1]].tolist()
    pairs = pd.DataFrame({"first": [foreign, slices[0]], "second": [slices[1], slices[1]], "correlation": [0.995, 0.996]})
    for side in ("first", "second"):
        pairs[[f"{side}_split", f"{side}_class"]] = pairs[side].str.split("/", expand=True)[[0, 1]].to_numpy()
    about_dataset.near_copy_pairs(pairs, manifest=manifest)
    assert "1 of 1 pairs" in capsys.readouterr().out
    with pytest.raises(ValueError, match="no near-copies to show"):
        about_dataset.near_copy_pairs(pairs[:1], manifest=manifest)


@pytest.fixture(scope="module")
def real():
    manifest = manifests.load_manifest()
    return this_dataset.audit_dataset(download.find(), manifest)


@pytest.fixture(scope="module")
def shrunk():
    return this_dataset.manifest_thumbnails(download.find(), manifests.load_manifest())


# fact, figure, share in per cent (None: a count without a whole), as measured from the images
FACTS = [
    ("sets of byte-identical files", 166, None),
    ("surplus files in them", 237, 7.3),
    ("files in the largest set", 9, None),
    ("sets across classes", 0, 0.0),
    ("Training: surplus files inside it", 93, 3.2),
    ("Testing: files byte-identical to one of Training", 88, 22.3),
    ("images in colour", 0, 0.0),
    ("Testing, with a near-copy in Training, as in the manifest", 258, 65.5),
    ("Testing, foreign gliomas among the others", 81, 20.6),
    ("Testing, neither", 55, 14.0),
    ("Testing, without a near-copy, but of a patient in Training", 3, 0.8),
    ("Testing, unseen: no near-copy, no patient in Training", 133, 33.8),
    ("Testing: nearest image in Training has the right class", 302, 76.6),
    ("  of glioma_tumor", 24, 24.0),
    ("  with a near-copy in Training", 257, 99.6),
    ("  without", 45, 33.1),
    ("  nearest image that trains has the right class", 520, 90.6),
    ("Training, Cheng slices: nearest of them has the right class", 2237, 96.5),
    ("  the same, neighbours of the same patient banned", 1560, 67.3),
    ("  byte-identical to one that trains", 35, 6.1),
    ("  in a group with one that trains", 483, 84.1),
    ("  of known patients, the patient trains too", 448, 98.9),
    ("Training: known patients", 202, None),
    ("Testing: known patients", 11, None),
    ("patients of Testing who are in Training too", 11, 100.0),
    ("images of no known patient", 919, 28.2),
    ("Training/glioma_tumor: slices of the Cheng set", 826, 100.0),
    ("Training/meningioma_tumor: slices of the Cheng set", 679, 82.6),
    ("Training/no_tumor: slices of the Cheng set", 0, 0.0),
    ("Training/pituitary_tumor: slices of the Cheng set", 812, 98.2),
    ("Testing/glioma_tumor: slices of the Cheng set", 18, 18.0),
    ("files whose class is another in the Cheng set", 14, None),
    ("slices that they are of", 6, None),
    ("patients that they are of", 2, None),
    # fully decoded: one image of Testing more than in the manifest, and copies that its groups separate
    ("Testing: images with a near-copy in Training", 259, 65.7),
    ("near-copy pairs that the manifest's groups separate", 94, 11.9),
]


@pytest.mark.needs_dataset
@pytest.mark.parametrize("fact, figure, share", FACTS, ids=[row[0].strip() for row in FACTS])
def test_figures_of_the_dataset(real, fact, figure, share):
    rows = real.facts[real.facts["fact"] == fact]
    # a neighbour's class may turn on the last bit of a product, and that on the processor: two images either way
    slack = 2 if "nearest" in fact or fact in ("  of glioma_tumor", "  the same, neighbours of the same patient banned") else 0
    agrees = abs(rows["figure"] - figure) <= slack
    if share is not None:
        agrees &= abs(100 * rows["share"] - share) <= 0.06 + 100 * slack / 394
    assert agrees.any()


@pytest.mark.needs_dataset
def test_parts_of_testing_by_class(manifest, shrunk):
    testing = (manifest["split"] == "Testing").to_numpy()
    _, correlation = near_copies.nearest(shrunk, np.flatnonzero(testing), np.flatnonzero(~testing))
    near = manifest[testing][correlation > near_copies.NEAR_COPY]
    assert near["class"].value_counts().to_dict() == {
        "meningioma_tumor": 109,
        "no_tumor": 105,
        "pituitary_tumor": 25,
        "glioma_tumor": 19,
    }
    assert set(near.loc[near["sha256"].isin(manifest.loc[~testing, "sha256"]), "class"]) == {"no_tumor"}


@pytest.mark.needs_dataset
def test_sizes_tell_the_source(manifest, real):
    training = manifest[manifest["split"] == "Training"]
    sizes = training.groupby("class")[["width", "height"]].agg(lambda side: side.nunique())
    assert sizes.loc["glioma_tumor"].tolist() == [1, 1]
    figure = real.facts["figure"].to_numpy()
    at = real.facts.index[real.facts["fact"] == "Training/no_tumor: images"][0]
    assert (real.facts["fact"][at + 1], figure[at + 1]) == ("  different sizes", 231)


@pytest.mark.needs_dataset
def test_the_manifests_near_copies_are_those_of_the_images(manifest, shrunk):
    training = np.flatnonzero(manifest["split"] == "Training")
    neighbour, correlation = near_copies.nearest(shrunk, reference=training)
    # the manifest rounds to four digits (0.00005), and JPEG decoders may differ by a grey level (some 0.001 of 32 x 32)
    assert np.abs(correlation - manifest["nearest_training_corr"]).max() < 0.001
    close = np.abs(manifest["nearest_training_corr"] - near_copies.NEAR_COPY) < 0.001
    assert ((correlation > near_copies.NEAR_COPY) == manifest["near_copy"])[~close].all()
    # byte-identical images are equally near, so that the neighbour is compared by what it correlates, not by name
    place = {path: row for row, path in enumerate(manifest["path"])}
    named = manifest["nearest_training"].map(place).to_numpy()
    assert np.abs((shrunk * shrunk[named]).sum(axis=1) - correlation).max() < 0.001
    assert (manifest["path"].to_numpy()[neighbour] == manifest["nearest_training"]).mean() > 0.9


@pytest.mark.needs_dataset
def test_the_manifests_groups_hold_its_near_copies(manifest, shrunk):
    pairs = near_copies.near_copy_pairs(shrunk, threshold=near_copies.NEAR_COPY + 0.001)  # decoders differ: see above
    groups = manifest["group"].to_numpy()
    assert (groups[pairs["first"]] == groups[pairs["second"]]).all()


@pytest.mark.needs_dataset
def test_two_label_conflicts_show_in_the_images(real):
    conflicts = real.near_copies[real.near_copies["first_class"] != real.near_copies["second_class"]]
    pairs = set(zip(conflicts["first"], conflicts["second"], strict=True))
    assert ("Training/meningioma_tumor/m1(192).jpg", "Testing/glioma_tumor/image(48).jpg") in pairs
    assert ("Training/meningioma_tumor/m1(123).jpg", "Testing/glioma_tumor/image(2).jpg") in pairs
    assert len(conflicts) == 8
    assert (real.near_copies["first_class"][:8] != real.near_copies["second_class"][:8]).all()


def test_the_readme_says_what_was_measured():
    figures = json.loads(audit_cost.RESULT.read_text(encoding="utf-8"))
    assert audit_cost.sentence(figures) in audit_cost.README.read_text(encoding="utf-8"), "run `python -m performance.audit_cost`"
    assert [found["images"] for found in figures["synthetic"]] == list(audit_cost.SIZES)
    assert not figures["commit"].endswith("+")


def test_synthetic_thumbnails_hold_the_near_copies_that_they_should():
    found = near_copies.near_copy_pairs(audit_cost.synthetic(200))
    assert len(found) == 20
    assert (found["second"] - found["first"] == 180).all()
