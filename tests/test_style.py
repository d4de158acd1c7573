"""Figures for print: as SVG where they are asked for, scans no larger than the licence of their sources is taken to allow."""

import base64
import re
import struct

import pytest

from tumor_mri.figures import about_dataset, style


@pytest.fixture
def start(tmp_path, monkeypatch):
    monkeypatch.setenv("TUMOR_MRI_FIGURES", str(tmp_path / "02_notebook"))
    monkeypatch.setattr(style, "_NUMBERS", iter((1, 2)))
    return tmp_path


def embedded(svg):
    """Width and height of each PNG inside an SVG."""
    found = re.findall(r'data:image/png;base64,([^"]+)', svg)
    return [struct.unpack(">II", base64.b64decode(content)[16:24]) for content in found]


def test_each_figure_is_written_under_its_name(start, manifest):
    about_dataset.class_counts(manifest)
    about_dataset.class_counts(manifest)
    first, second = (start / f"02_notebook-{number}-class_counts.svg" for number in (1, 2))
    assert sorted(start.iterdir()) == [first, second]
    assert first.read_bytes() == second.read_bytes()
    assert "<text" in first.read_text(encoding="utf-8") or "<path" in first.read_text(encoding="utf-8")


def test_scans_keep_their_size(start, manifest):
    figure = about_dataset.scan_of_each_class(manifest)
    sizes = embedded((start / "02_notebook-1-scan_of_each_class.svg").read_text(encoding="utf-8"))
    assert len(sizes) == 4
    assert all(max(size) <= 150 for size in sizes)
    for axis in figure.axes:
        axis.get_images()[0].set_interpolation("nearest")
    figure.savefig(start / "enlarged.svg", dpi=200)  # what they would be otherwise
    assert all(max(size) > 150 for size in embedded((start / "enlarged.svg").read_text(encoding="utf-8")))


def test_no_file_where_none_is_asked_for(tmp_path, manifest, monkeypatch):
    monkeypatch.delenv("TUMOR_MRI_FIGURES", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(style, "_write_for_print", lambda *arguments: pytest.fail("wrote a file"))
    about_dataset.class_counts(manifest)
