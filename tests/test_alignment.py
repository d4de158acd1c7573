"""Aligned copies: what the search finds, what it leaves alone, and that it does so whatever the order and the threads."""

import dataclasses
import os
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tumor_mri.audit import alignment, copy_calibration
from tumor_mri.datasets import download, manifests, phantoms

PHANTOMS = 24
STRONGEST = [(kind, strengths[-1]) for kind, strengths in copy_calibration.CHANGES.items()]


def phantom(seed: int) -> np.ndarray:
    """A drawn head with folds of its own: a phantom's texture is too smooth to tell heads apart by."""
    drawn = phantoms.draw(manifests.BRAIN_TUMOUR_MRI.classes[seed % 4], seed).astype(float)
    generator = np.random.default_rng(seed)
    folds = np.asarray(Image.fromarray(generator.normal(size=(25, 25))).resize(drawn.shape, Image.Resampling.BICUBIC))
    return np.clip(np.where(drawn > 30, drawn + 25 * folds, drawn), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def heads():
    return [phantom(seed) for seed in range(PHANTOMS)]


@pytest.fixture(scope="module")
def copied(heads):
    """Heads, each with a copy changed in another way, and what is found among them."""
    generator = np.random.default_rng(0)
    copies = []
    for number, head in enumerate(heads):
        kind, strength = STRONGEST[number % len(STRONGEST)]
        copies.append(np.asarray(copy_calibration.change(Image.fromarray(head), kind, strength, generator)))
    return heads + copies, alignment.aligned_copies(heads + copies, progress=False)


def pairs_of(found):
    return set(zip(found["first"], found["second"], strict=True))


@pytest.mark.parametrize("kind, strength", STRONGEST)
def test_each_kind_of_copy_is_aligned(heads, kind, strength):
    generator = np.random.default_rng(1)
    changed = [np.asarray(copy_calibration.change(Image.fromarray(head), kind, strength, generator)) for head in heads[:6]]
    drawn = alignment.sketches(heads[:6] + changed, progress=False)
    found = alignment.score_pairs(drawn, np.arange(6), np.arange(6) + 6, progress=False)
    assert (found["correlation"] > alignment.ALIGNED_COPY).sum() >= 5, found["correlation"].to_list()


def test_copies_are_found_and_nothing_else(copied):
    _, found = copied
    true = {(number, number + PHANTOMS) for number in range(PHANTOMS)}
    assert len(true & pairs_of(found)) >= 0.9 * PHANTOMS
    assert pairs_of(found) <= true


def test_heads_that_are_no_copies_are_not_paired(heads):
    assert alignment.aligned_copies(heads, progress=False).empty


def test_negative_control_like_heads_are_paired_only_below_the_threshold(heads):
    """Two heads alike, as neighbouring slices are: registered and scored, not given up, and still told apart."""
    noise = np.random.default_rng(5).normal(size=(40, 40))
    noise = np.asarray(Image.fromarray(noise).resize((150, 150), Image.Resampling.BICUBIC))
    alike = np.clip(heads[0] + 30 * noise * (heads[0] > 30), 0, 255).astype(np.uint8)
    assert alignment.aligned_copies([heads[0], alike], progress=False).empty
    assert len(alignment.aligned_copies([heads[0], alike], threshold=0.5, progress=False)) == 1


def test_the_map_is_the_one_that_was_applied(heads):
    grey = Image.fromarray(heads[1])
    cropped = np.asarray(grey.crop((15, 0, 135, 120)).resize((240, 180), Image.Resampling.BICUBIC))
    found = alignment.align(heads[1], cropped)
    assert found.correlation > 0.97 and not found.mirrored and found.overlap > 0.9
    assert found.scale == pytest.approx((2.0, 1.5), rel=0.02)
    assert found.shift == pytest.approx((0.0, 15 * 1.5 / 180), abs=0.01)
    turned = alignment.align(heads[1], np.asarray(grey.rotate(-4, Image.Resampling.BICUBIC)))
    assert turned.rotation == pytest.approx(4, abs=0.5)
    back = alignment.align(np.asarray(grey.rotate(-4, Image.Resampling.BICUBIC)), heads[1])
    assert back.rotation == pytest.approx(-4, abs=0.5) and back.correlation == turned.correlation


def test_a_mirrored_copy_is_said_to_be_mirrored(heads):
    found = alignment.align(heads[2], heads[2][:, ::-1].copy())
    assert found.mirrored and found.correlation > 0.97 and found.scale == pytest.approx((1, 1), rel=0.02)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_frame_is_no_part_of_the_head(heads, level):
    framed = np.pad(heads[3], ((9, 20), (14, 5)), constant_values=level)
    left, top, right, bottom = alignment.head_box(framed)
    assert (left, top, right - 14, bottom - 9) != (0, 0, 150, 150) and left >= 14 and top >= 9
    assert alignment.align(heads[3], framed).correlation > 0.97


def test_the_order_of_the_images_does_not_matter(copied):
    images, found = copied
    order = np.random.default_rng(2).permutation(len(images))
    shuffled = alignment.aligned_copies([images[number] for number in order], progress=False)
    named = {tuple(sorted((order[row.first], order[row.second]))): row.correlation for row in shuffled.itertuples()}
    assert named == {(row.first, row.second): row.correlation for row in found.itertuples()}


def test_tiles_do_not_change_the_candidates(copied):
    drawn = alignment.sketches(copied[0], progress=False)
    whole = alignment.candidates(drawn, neighbours=5, progress=False)
    pd.testing.assert_frame_equal(whole, alignment.candidates(drawn, neighbours=5, tile=7, progress=False))
    asked = alignment.candidates(drawn, neighbours=5, rows=[3, 4], tile=11, progress=False)
    assert pairs_of(asked) <= pairs_of(whole) and {3, 4} <= set(asked["first"]) | set(asked["second"])


def test_threads_do_not_change_the_result():
    code = (
        "import numpy as np; from tumor_mri.audit import alignment as a; g = np.random.default_rng(0);"
        "x = g.integers(0, 255, (20, 12, 12), dtype=np.uint8).repeat(10, 1).repeat(10, 2);"
        "s = a.sketches(list(x) + [i[8:, 5:] for i in x], progress=False); c = a.candidates(s, progress=False);"
        "r = a.score_pairs(s, c['first'], c['second'], progress=False);"
        "print(c.to_csv(), r[['first', 'second', 'correlation']].round(3).to_csv())"
    )
    said = []
    for threads in ("1", "2"):
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
        said.append(
            subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
        )
    assert said[0] == said[1] and len(said[0]) > 1000


def test_equal_images_are_paired_with_the_first_of_them(heads):
    found = alignment.aligned_copies([heads[0], heads[1], heads[0], heads[0]], progress=False)
    assert pairs_of(found) == {(0, 2), (0, 3)} and (found["correlation"] == 1).all()


def test_images_without_content_have_no_copies(heads):
    grey = np.full((60, 60), 90, dtype=np.uint8)
    assert alignment.aligned_copies([grey, heads[0], grey, np.zeros((1, 1), np.uint8)], progress=False).empty
    assert list(alignment.aligned_copies([], progress=False).columns) == list(alignment.COLUMNS)


def test_a_file_that_is_no_image_is_named(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(alignment.AlignmentError, match="broken.jpg"):
        alignment.aligned_copies([tmp_path / "broken.jpg"], progress=False)


def test_an_alignment_cannot_be_changed(heads):
    with pytest.raises(dataclasses.FrozenInstanceError):
        alignment.align(heads[0], heads[1]).correlation = 1.0


def test_few_images_take_little_time(heads):
    start = time.process_time()
    alignment.aligned_copies(heads, progress=False)
    assert time.process_time() - start < 6


# With the dataset

MENINGIOMA, PITUITARY, NONE = (f"Training/{name}/" for name in ("meningioma_tumor", "pituitary_tumor", "no_tumor"))
COPIES = [
    ("Testing/meningioma_tumor/image(26).jpg", MENINGIOMA + "m1(9).jpg"),
    ("Testing/meningioma_tumor/image(26).jpg", MENINGIOMA + "m1(97).jpg"),
    ("Testing/meningioma_tumor/image(51).jpg", MENINGIOMA + "m1(161).jpg"),
    ("Testing/meningioma_tumor/image(123).jpg", MENINGIOMA + "m1(106).jpg"),  # a white frame
    ("Testing/pituitary_tumor/image(27).jpg", PITUITARY + "p (133).jpg"),
    ("Testing/pituitary_tumor/image(90).jpg", PITUITARY + "p (135).jpg"),
    ("Testing/pituitary_tumor/image(18).jpg", PITUITARY + "p (129).jpg"),
    ("Testing/glioma_tumor/image(2).jpg", MENINGIOMA + "m1(123).jpg"),
    (MENINGIOMA + "m1(99).jpg", MENINGIOMA + "m1(103).jpg"),
    (MENINGIOMA + "m1(116).jpg", MENINGIOMA + "m1(182).jpg"),
    (MENINGIOMA + "m3 (140).jpg", MENINGIOMA + "m1(176).jpg"),
    (NONE + "image(95).jpg", NONE + "image(122).jpg"),
    (NONE + "image(74).jpg", NONE + "image(151).jpg"),
]


@pytest.mark.needs_dataset
@pytest.mark.parametrize("first, second", COPIES)
def test_known_copies(first, second):
    assert alignment.align(download.find() / first, download.find() / second).correlation > 0.98


@pytest.mark.needs_dataset
def test_two_scans_that_look_alike_are_no_copies(manifest):
    paths = [path for path in manifest["path"] if path.endswith(("no_tumor/image(31).jpg", "no_tumor/image(20).jpg"))]
    drawn = alignment.sketches([download.find() / path for path in paths], progress=False)
    one, other = np.triu_indices(len(paths), 1)
    correlation = alignment.score_pairs(drawn, one, other, progress=False)["correlation"]
    assert len(paths) >= 2 and not (correlation > 0.85).any()


@pytest.mark.needs_dataset
def test_real_scans_of_different_patients_are_not_paired_and_their_crops_are_found(manifest):
    known = manifest[manifest["patient"].notna()].drop_duplicates("patient")["path"].head(100)
    scans = [copy_calibration.grey_whole(download.find() / path) for path in known]
    generator = np.random.default_rng(3)
    cropped = [np.asarray(copy_calibration.change(scan, "crop", 0.3, generator)) for scan in scans]
    mirrored = [np.asarray(copy_calibration.change(scan, "mirrored", 0.1, generator)) for scan in scans]
    found = alignment.aligned_copies([np.asarray(scan) for scan in scans] + cropped + mirrored, progress=False)
    same = (found["first"] % 100) == (found["second"] % 100)
    assert same.all()
    linked = set(found.loc[found["first"] < 100, "second"])
    assert len(linked & set(range(100, 200))) >= 99 and len(linked & set(range(200, 300))) >= 99


def test_the_calibration_meets_its_bounds():
    table = pd.read_csv(manifests.DATA / "near_copies_calibration.csv")
    for kinds in (["same slice"], ["crop"], ["scale"], ["stretch"], ["pad", "white frame", "shift", "rotation"]):
        rows = table[table["kind"].isin(kinds)]
        assert rows["found"].sum() >= 0.99 * rows["copies"].sum() and (rows["share"] >= 0.97).all(), rows
    others = table[table["pairs"].notna()]
    assert others["pairs"].sum() > 10_000 and (others["false"] / others["pairs"] <= 1e-4).all(), others
