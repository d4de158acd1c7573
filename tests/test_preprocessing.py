"""Scans without what tells their source: the head is found, framing and contrast are gone."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tumor_mri.datasets import image_files
from tumor_mri.models import preprocessing


def head(height=200, width=240, centre=(90, 130), radii=(60, 45), background=0, tissue=150):
    """A bright ellipse with a darker spot, and its box: left, top, right, bottom."""
    rows, columns = np.mgrid[:height, :width]
    inside = ((rows - centre[0]) / radii[0]) ** 2 + ((columns - centre[1]) / radii[1]) ** 2 <= 1
    scan = np.where(inside, tissue, background).astype(np.uint8)
    scan[centre[0] - 15 : centre[0], centre[1] : centre[1] + 12] = tissue // 2
    return scan, (centre[1] - radii[1], centre[0] - radii[0], centre[1] + radii[1], centre[0] + radii[0])


@pytest.mark.parametrize("background", [0, 40])
def test_the_head_is_found_on_dark_and_on_grey(background):
    scan, box = head(background=background)
    assert np.allclose(preprocessing.find_head(scan), box, atol=8)


def test_a_drawn_frame_and_specks_are_no_head():
    scan, box = head()
    scan[[0, 1, -2, -1]] = scan[:, [0, 1, -2, -1]] = 255
    scan[190:193, 10:13] = 255
    assert np.allclose(preprocessing.find_head(scan), box, atol=8)


def test_where_nothing_stands_out_the_whole_scan_is_kept():
    assert preprocessing.find_head(np.full((50, 70), 9, dtype=np.uint8)) == (0, 0, 70, 50)
    assert preprocessing.prepare(np.zeros((1, 1), dtype=np.uint8)).shape == (96, 96)


def test_framing_and_contrast_are_gone():
    """The same head, elsewhere in a larger scan and half as bright: as scans they differ, prepared they do not."""
    scan, _ = head()
    other, _ = head(height=300, width=300, centre=(180, 100), tissue=75)
    first, second = preprocessing.prepare(scan).astype(int), preprocessing.prepare(other).astype(int)
    assert np.abs(first - second).mean() < 6
    left_as_they_are = [preprocessing._resize(preprocessing.Image.fromarray(one), 96).astype(int) for one in (scan, other)]
    assert np.abs(np.subtract(*left_as_they_are)).mean() > 20


def test_proportions_are_kept():
    scan, _ = head(radii=(80, 40), centre=(100, 120))
    bright = preprocessing.crop_to_head(scan) > 20
    high, wide = (np.ptp(np.flatnonzero(bright.any(axis=axis))) for axis in (1, 0))
    assert high / wide == pytest.approx(2, rel=0.1)


def test_equalised_fully_every_grey_level_of_the_head_is_as_frequent():
    ramp = np.tile(np.linspace(0, 1, 200) ** 3 * 255, (50, 1)).astype(np.uint8)
    levels = preprocessing.equalise(ramp, share=1.0)
    of_head = levels[levels > 0]
    assert pd.Series(of_head).quantile([0.25, 0.5, 0.75]).to_numpy() / 255 == pytest.approx([0.25, 0.5, 0.75], abs=0.05)
    assert (np.diff(levels[0].astype(int)) >= 0).all()  # order is kept


@pytest.mark.parametrize("family", preprocessing.FAMILIES)
def test_each_family_varies_a_scan_and_keeps_what_it_is_not_about(family):
    scan = preprocessing.prepare(head()[0])
    before, generator = scan.copy(), np.random.default_rng(0)
    varied = [preprocessing.vary(scan, generator, [family]) for _ in range(40)]
    assert np.array_equal(scan, before)
    assert all(one.shape == scan.shape and one.dtype == np.float32 and 0 <= one.min() <= one.max() <= 255 for one in varied)
    assert len({one.tobytes() for one in varied}) > 10
    sizes = np.array([(one > 40).sum() for one in varied]) / (scan > 40).sum()
    assert sizes.std() > 0.08 if family == "geometry" else sizes.std() < 0.08  # the head grows and shrinks in one family alone


def test_without_families_a_scan_stays_as_it_is():
    scan = preprocessing.prepare(head()[0])
    assert np.array_equal(preprocessing.vary(scan, np.random.default_rng(0), ()), scan)


def test_what_is_left_out_is_left_out():
    scan = head()[0]
    whole = preprocessing.prepare(scan, crop=False, equalised=False)
    assert np.abs(whole.astype(int) - preprocessing._resize(preprocessing.Image.fromarray(scan), 96)).max() == 0
    assert (preprocessing.prepare(scan, equalised=False) > 0).mean() > (whole > 0).mean() + 0.2
    assert preprocessing.prepare(scan, crop=False).max() > whole.max()  # its grey levels were stretched


@pytest.mark.needs_dataset
def test_every_scan_of_the_dataset_is_prepared(manifest):
    scans = preprocessing.load_prepared(manifest, progress=False)
    assert scans.shape == (len(manifest), 96, 96) and scans.dtype == np.uint8
    assert scans.std(axis=(1, 2)).min() > 20  # none is blank


def test_transparency_is_black_and_a_turned_photograph_is_turned_back(scan, tmp_path):
    clear = np.dstack([scan, scan, scan, np.where(scan > 100, 255, 0)]).astype(np.uint8)
    Image.fromarray(clear).save(tmp_path / "clear.png")
    assert np.array_equal(image_files.read(tmp_path / "clear.png") > 0, scan > 100)
    turned = Image.fromarray(scan)
    exif = turned.getexif()
    exif[274] = 6  # a quarter turn
    turned.save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(image_files.read(tmp_path / "turned.png"), np.rot90(scan, -1))


def test_grey_levels_beyond_all_numbers_are_the_brightest(tmp_path):
    levels = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (64, 1))
    levels[0, :2] = np.inf, np.nan
    Image.fromarray(levels).save(tmp_path / "levels.tif")
    grey = image_files.read(tmp_path / "levels.tif")
    assert list(grey[0, :2]) == [255, 0] and np.array_equal(grey[1], np.rint(255 * levels[1]))
