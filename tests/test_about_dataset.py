"""Figures of the images."""

import pytest

from tumor_mri.datasets import decoding, download
from tumor_mri.figures import about_dataset


def test_pictures_without_a_dataset_are_phantoms(manifest, capsys, monkeypatch):
    monkeypatch.setattr(decoding, "scan", lambda *arguments: pytest.fail("read a scan"))
    about_dataset.two_kinds_of_glioma(manifest, None)
    assert "18 Cheng set, 81 foreign, of 100" in capsys.readouterr().out


@pytest.mark.needs_dataset
@pytest.mark.parametrize("draw", [about_dataset.scan_of_each_class, about_dataset.two_kinds_of_glioma])
def test_scans_are_drawn_no_larger_either(draw, manifest):
    figure = draw(manifest, download.locate())
    drawn = [picture.get_window_extent() for axis in figure.axes for picture in axis.get_images()]
    assert len(drawn) >= 4 and all(max(extent.width, extent.height) <= 150.5 for extent in drawn)
