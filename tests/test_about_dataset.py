"""Figures of the images."""

import pytest

from tumor_mri.audit import load_calibration
from tumor_mri.datasets import decoding, download
from tumor_mri.figures import about_dataset


def test_pictures_without_a_dataset_are_phantoms(manifest, capsys, monkeypatch):
    monkeypatch.setattr(decoding, "scan", lambda *arguments: pytest.fail("read a scan"))
    about_dataset.two_kinds_of_glioma(manifest, None)
    assert "18 Cheng set, 77 foreign, of 100" in capsys.readouterr().out


@pytest.mark.needs_dataset
@pytest.mark.parametrize("draw", [about_dataset.scan_of_each_class, about_dataset.two_kinds_of_glioma])
def test_scans_are_drawn_no_larger_either(draw, manifest):
    figure = draw(manifest, download.locate())
    drawn = [picture.get_window_extent() for axis in figure.axes for picture in axis.get_images()]
    assert len(drawn) >= 4 and all(max(extent.width, extent.height) <= 150.5 for extent in drawn)


def test_the_calibration_of_copies_is_drawn_as_it_was_measured(capsys):
    table = load_calibration()
    figure = about_dataset.copy_calibration(table)
    drawn = [point for line in figure.axes[0].lines for point in line.get_xdata()]
    made = table[table["strength"].notna()]
    assert sorted(drawn)[:3] == sorted([*(100 * made["share"]), 99, 99])[:3]
    said = capsys.readouterr().out
    assert f"least of all gamma 0.5, {100 * made['share'].min():.1f} %" in said and "0 are taken for copies" in said
