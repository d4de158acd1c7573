"""Image files as grey levels: pages, orientation, large images, DICOM and NIfTI; and words for what cannot be read."""

import sys

import numpy as np
import pytest
from PIL import Image

from tumor_mri.datasets import folders, image_files


@pytest.fixture
def levels():
    return np.random.default_rng(0).integers(0, 256, (40, 48)).astype(np.uint8)


def test_pages_are_counted_and_chosen(levels, tmp_path):
    pages = [Image.fromarray(np.roll(levels, shift)) for shift in range(3)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    first, last = image_files.read_picture(tmp_path / "pages.tif"), image_files.read_picture(tmp_path / "pages.tif", 2)
    assert (first.number, first.count, last.number) == (0, 3, 2)
    assert np.array_equal(first.grey, levels) and np.array_equal(last.grey, np.asarray(pages[2]))
    assert image_files.count(tmp_path / "pages.tif") == 3 and image_files.count(tmp_path / "missing") == 1
    with pytest.raises(ValueError, match="has 3 images, numbered from 1: there is no number 4"):
        image_files.read(tmp_path / "pages.tif", 3)


@pytest.mark.parametrize("orientation, turns", [(1, 0), (6, -1), (3, 2), (8, 1)])
def test_the_exif_orientation_is_applied(orientation, turns, levels, tmp_path):
    image = Image.fromarray(levels)
    exif = image.getexif()
    exif[274] = orientation
    image.save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(image_files.read(tmp_path / "turned.png"), np.rot90(levels, turns))


def test_an_image_of_too_many_pixels_is_refused_without_a_warning(tmp_path, recwarn, monkeypatch):
    Image.new("L", (200, 100)).save(tmp_path / "large.png")
    monkeypatch.setattr(image_files, "MOST_PIXELS", 19_999)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 15_000)
    with pytest.raises(ValueError, match=r"large.png has 20,000 pixels, more than the 19,999 that are read"):
        image_files.read(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5_000)
    with pytest.raises(ValueError, match=r"large.png has far more than the 19,999 pixels"):
        image_files.read(tmp_path / "large.png")
    assert not recwarn.list


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "it is empty, or in a format"),
        (b"no image", "it is empty, or in a format"),
        ("half", "it is cut off"),
    ],
)
def test_reasons_are_words(content, words, levels, tmp_path):
    Image.fromarray(levels).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    with pytest.raises(ValueError, match=words) as caught:
        image_files.read(tmp_path / "a.png")
    assert "Error" not in str(caught.value) and "<" not in str(caught.value)


def save_dicom(levels, path, **header):
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.Rows, file.Columns = levels.shape[-2:]
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated = file.BitsStored = 16
    file.HighBit, file.PixelRepresentation = 15, 0
    if levels.ndim == 3:
        file.NumberOfFrames = len(levels)
    file.PixelData = levels.astype("<u2").tobytes()
    for name, value in header.items():
        setattr(file, name, value)
    file.save_as(path)


def test_dicom_with_and_without_its_suffix(levels, tmp_path):
    pytest.importorskip("pydicom")
    save_dicom(4 * levels.astype(int), tmp_path / "scan.dcm")
    save_dicom(4 * levels.astype(int), tmp_path / "scan", PhotometricInterpretation="MONOCHROME1")
    spread = image_files.to_8_bits(levels.astype(float))
    assert np.array_equal(image_files.read(tmp_path / "scan.dcm"), spread)
    assert np.array_equal(image_files.read(tmp_path / "scan"), 255 - spread)
    save_dicom(levels, tmp_path / "window.dcm", WindowCenter=100, WindowWidth=50)
    shown = image_files.read(tmp_path / "window.dcm")
    assert (shown[levels < 70] == 0).all() and (shown[levels > 130] == 255).all()


def test_the_middle_slice_of_a_dicom_volume(levels, tmp_path):
    pytest.importorskip("pydicom")
    volume = np.stack([np.roll(levels, shift) for shift in range(5)])
    save_dicom(volume, tmp_path / "volume.dcm")
    found = image_files.read_picture(tmp_path / "volume.dcm")
    assert (found.number, found.count) == (2, 5)
    assert np.array_equal(found.grey, image_files.to_8_bits(volume[2].astype(float)))
    assert np.array_equal(image_files.read(tmp_path / "volume.dcm", 4), image_files.to_8_bits(volume[4].astype(float)))


def test_nifti_shows_the_front_at_the_top_and_the_right_at_the_left(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    volume = np.zeros((40, 48, 7))
    volume[:10, 40:, 3] = 1.0  # at the patient's right and front: with this affine the first axis points to the left
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([-1.0, 1.0, 1.0, 1.0])), tmp_path / "volume.nii.gz")
    found = image_files.read_picture(tmp_path / "volume.nii.gz")
    assert (found.number, found.count, found.grey.shape) == (3, 7, (48, 40))
    rows, columns = np.nonzero(found.grey)
    assert rows.max() < 8 and columns.max() < 10
    nibabel.save(nibabel.Nifti1Image(np.zeros((40, 48, 7, 2)), np.eye(4)), tmp_path / "series.nii")
    with pytest.raises(ValueError, match="series.nii has 4 axes"):
        image_files.read(tmp_path / "series.nii")


@pytest.mark.parametrize("name, library", [("scan.dcm", "pydicom"), ("scan.nii", "nibabel"), ("scan.nii.gz", "nibabel")])
def test_without_the_library_a_medical_file_is_named_with_what_to_do(name, library, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    (tmp_path / name).write_bytes(b"\0" * 128 + b"DICM")
    with pytest.raises(ValueError, match=rf"needs {library}.*tumor-mri\[medical\].*export the slice as PNG"):
        image_files.read(tmp_path / name)


@pytest.mark.parametrize("path, hidden", [("a/b.png", False), (".git/b.png", True), ("a/.b.png", True), ("__MACOSX/b", True)])
def test_hidden_and_system_files(path, hidden):
    assert folders.is_hidden(path) == hidden
