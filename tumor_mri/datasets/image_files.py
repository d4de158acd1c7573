"""Image files as grey levels: every format that Pillow reads, and DICOM and NIfTI if pydicom and nibabel are installed."""

import io
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

SMALLEST = 32  # pixels per side: the smallest scan that is accepted
MOST_PIXELS = 100_000_000  # of one image; more are refused, because a small file may unfold to fill the memory
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")  # of images in a dataset's folder
MEDICAL = (".dcm", ".nii", ".nii.gz")


class Picture(NamedTuple):
    """One image of a file. `grey`: uint8, (height, width). `number` counts from 0; `count` is how many the file holds.

    `colour` is the mean distance between the largest and the smallest of red, green and blue, 0 to 255: 0 for a grey image.
    """

    grey: np.ndarray
    number: int
    count: int
    colour: float = 0.0


def read(path: Path | str, number: int | None = None) -> np.ndarray:
    """An image file as grey levels, uint8, (height, width); see `read_picture`."""
    return read_picture(path, number).grey


def read_picture(path: Path | str, number: int | None = None) -> Picture:
    """One image of a file, as grey levels.

    The EXIF orientation is applied, and transparent pixels become black. Images of more than 8 bits are scaled to their own
    range; a DICOM file is shown with its own window, if it has one.

    Args:
        path: of the file.
        number: which of its images, from 0. None takes the first page of an image file and the middle slice of a volume.

    Raises:
        ValueError: if the file is not a readable image, contains no number, has no image of this number, or is too small to show
            a head; the message names the file and the reason.
    """
    name = str(path).lower()
    try:
        if name.endswith((".nii", ".nii.gz")):
            found = _nifti(path, number)
        elif name.endswith(".dcm") or _is_dicom(path):
            found = _dicom(path, number)
        else:
            found = _picture(path, number)
    except Exception as error:  # decoders raise many types of error, and one bad file must not stop a whole folder
        raise ValueError(f"{path} {reason(error)}") from None
    if min(found.grey.shape) < SMALLEST:
        size = f"{found.grey.shape[1]} x {found.grey.shape[0]} pixels"
        raise ValueError(f"{path} has {size}: too few to show a head, at least {SMALLEST} per side are needed")
    return found


def count(path: Path | str) -> int:
    """How many images a file holds; 1 if it cannot be read, which `read_picture` explains."""
    try:
        return read_picture(path).count
    except ValueError:
        return 1


def grey_image(image: Image.Image) -> Image.Image:
    """An opened image in 8-bit grey levels, turned as its EXIF orientation says; transparent pixels are black.

    Raises:
        ValueError: if it has too many pixels, or none of its grey levels is a number.
    """
    if image.width * image.height > MOST_PIXELS:
        raise ValueError(f"has {image.width * image.height:,} pixels, more than the {MOST_PIXELS:,} that are read")
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(to_8_bits(np.asarray(image, dtype=float)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image)
    return image.convert("L")


def open_quietly(source: Path | str | io.BytesIO) -> Image.Image:
    """`Image.open` without Pillow's warning about large images, which `grey_image` refuses in its own words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(source)


def reason(error: Exception) -> str:
    """Why a file cannot be read, in words that follow its name."""
    text = " ".join(str(error).split())
    if isinstance(error, UnidentifiedImageError):
        return "cannot be read as an image: it is empty, or in a format that Pillow does not know"
    if isinstance(error, Image.DecompressionBombError):
        return f"has far more than the {MOST_PIXELS:,} pixels that are read"
    if "truncated" in text:
        return "cannot be read as an image: it is cut off, as after an interrupted download"
    if "broken" in text:
        return "cannot be read as an image: it is damaged"
    if text.startswith(("has ", "needs ")):
        return text
    return f"cannot be read as an image: {getattr(error, 'strerror', None) or text[:200] or type(error).__name__}"


def to_8_bits(levels: np.ndarray) -> np.ndarray:
    """Grey levels scaled from their own range to 0 to 255, uint8, of the same shape; what is not a number becomes 0.

    Raises:
        ValueError: if none is a number.
    """
    numbers = levels[np.isfinite(levels)]
    if numbers.size == 0:
        raise ValueError("has no grey level that is a number")
    low, high = numbers.min(), numbers.max()
    scaled = (np.clip(levels, low, high) - low) / max(high - low, 1e-9)
    return np.rint(255 * np.nan_to_num(scaled)).astype(np.uint8)


def _checked(number, count, usual):
    """The number asked for, or the usual one."""
    number = usual if number is None else number
    if not 0 <= number < count:
        raise ValueError(f"has {count} image{'s' * (count > 1)}, numbered from 1: there is no number {number + 1}")
    return number


def _picture(path, number):
    with open_quietly(path) as image:
        count = getattr(image, "n_frames", 1)
        number = _checked(number, count, 0)
        if number:
            image.seek(number)
        return Picture(np.asarray(grey_image(image)), number, count, _colour(image))


def _colour(image):
    """How colourful an image is, see `Picture`; seen on a small copy."""
    if image.mode.startswith(("1", "L", "I", "F")):
        return 0.0
    channels = np.asarray(image.convert("RGB").resize((64, 64), Image.Resampling.BOX), dtype=int)
    return float((channels.max(axis=2) - channels.min(axis=2)).mean())


def _is_dicom(path):
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def _dicom(path, number):
    try:
        import pydicom
        from pydicom.pixels import apply_modality_lut, apply_windowing
    except ImportError:
        raise ValueError(
            "needs pydicom, as it is a DICOM file: run `pip install tumor-mri[medical]`, or export the slice as PNG"
        ) from None
    header = pydicom.dcmread(path)
    levels = header.pixel_array
    if header.get("SamplesPerPixel", 1) > 1:
        levels = levels.mean(axis=-1)
    volume = levels if levels.ndim == 3 else levels[None]
    number = _checked(number, len(volume), len(volume) // 2)
    shown = apply_windowing(apply_modality_lut(volume[number], header), header).astype(float)
    grey = to_8_bits(shown)
    return Picture(255 - grey if header.get("PhotometricInterpretation") == "MONOCHROME1" else grey, number, len(volume))


def _nifti(path, number):
    try:
        import nibabel
    except ImportError:
        raise ValueError(
            "needs nibabel, as it is a NIfTI file: run `pip install tumor-mri[medical]`, or export the slice as PNG"
        ) from None
    volume = nibabel.as_closest_canonical(nibabel.load(path))  # axes: to the right, to the front, to the top of the patient
    if len(volume.shape) not in (2, 3):
        raise ValueError(f"has {len(volume.shape)} axes: a volume of 3 is needed")
    count = volume.shape[2] if len(volume.shape) == 3 else 1
    number = _checked(number, count, count // 2)
    levels = np.asarray(volume.dataobj[..., number] if len(volume.shape) == 3 else volume.dataobj, dtype=float)
    return Picture(to_8_bits(np.flip(levels.T)), number, count)  # the front is at the top, and the patient's right at the left
