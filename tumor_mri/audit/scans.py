"""The images of a folder of class folders: which there are, what each looks like, and which cannot be read."""

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageChops, ImageStat
from scipy import ndimage

from tumor_mri.audit import near_copies
from tumor_mri.datasets import folders, image_files

OUTPUTS = ("facts.csv", "images.csv", "near_copies.csv", "groups.csv", "leaks.csv", "drift.csv", "unreadable.csv")  # of an audit
GALLERY, REPORT, JSON = "gallery.png", "report.html", "audit.json"  # and what shows them
TRAINING = ("train", "training")  # names of the split that trains, in any case
MEASURED_SIDE = 128  # pixels a side of the copy on which sharpness is measured
DARK = 10  # grey levels, of 255, below which a pixel is dark
MEASURES = ("mean", "std", "sharpness", "dark")  # of each image, see `Scans`


@dataclass(frozen=True)
class Scans:
    """The readable images of a folder, and a list of those that cannot be read.

    `table` has one row per image: path, split (empty if there are only class folders), class, sha256, width, height (pixels),
    colour (whether R, G and B differ anywhere), mean and std (of the grey levels, 0 to 255), sharpness (deviation of the
    Laplacian of a copy of 128 x 128 pixels, in grey levels) and dark (share of pixels below 10 grey levels). `thumbnails` are
    those images as `near_copies.standardise` makes them, in the same order. `unreadable` has the columns path and reason.
    """

    table: pd.DataFrame
    thumbnails: np.ndarray
    unreadable: pd.DataFrame


def list_images(folder: str | Path) -> tuple[pd.DataFrame, int]:
    """A table of the images of a folder, with path (relative, with slashes), split and class; and the number of other files.

    Links to folders are followed. Hidden and system files are not counted, nor what an earlier audit has written into the folder.

    Raises:
        AuditError: if there is no folder, or no image in a class folder. It says where images were found instead.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise near_copies.AuditError(f"there is no folder {folder}")
    paths = [path.relative_to(folder) for path in folders.listing(folder).files]
    paths = [path for path in paths if not folders.is_hidden(path)]
    written = {path.parent for path in paths if path.name == OUTPUTS[0]}
    paths = [path for path in paths if not (path.parent in written and path.name in (*OUTPUTS, GALLERY, REPORT, JSON))]
    images = [path for path in paths if path.suffix.lower() in image_files.SUFFIXES]
    kept = [path for path in images if len(path.parts) in (2, 3)]
    if not kept:
        raise near_copies.AuditError(_none_found(folder, images))
    rows = [(path.as_posix(), "/".join(path.parts[:-2]), path.parts[-2]) for path in kept]
    return pd.DataFrame(rows, columns=["path", "split", "class"]), len(paths) - len(kept)


def _none_found(folder, images):
    """Why a folder cannot be audited, and what to do."""
    expected = f"expected {folder.name}/CLASS/IMAGE or {folder.name}/SPLIT/CLASS/IMAGE, with images named "
    expected += ", ".join(image_files.SUFFIXES)
    unread = left_out(folder)
    locked = ""
    if len(unread):
        locked = f". {len(unread)} cannot be read; the first is {unread['path'][0]}, which {unread['reason'][0]}"
    tops = {path.parts[0] for path in images if len(path.parts) > 3}
    if tops:
        deeper = f"{len(images):,} images lie deeper, below {' and '.join(sorted(tops)[:3])}"
        return f"{folder} holds no image in a class folder, but {deeper}: try {folder / min(tops)}; {expected}{locked}"
    if images:
        return f"{folder} holds {len(images):,} images without class folders: {expected}{locked}"
    return f"{folder} holds no image in a class folder: {expected}{locked}"


def left_out(folder: str | Path) -> pd.DataFrame:
    """What below a folder could be or hold images but cannot be read, such as a locked folder: a table with path and reason."""
    folder = Path(folder)
    found = [(path.relative_to(folder), reason) for path, reason in folders.listing(folder).left_out.items()]
    told = [
        (path.as_posix(), reason)
        for path, reason in found
        if not folders.is_hidden(path) and (path.suffix.lower() in image_files.SUFFIXES or (folder / path).is_dir())
    ]
    return pd.DataFrame(told, columns=["path", "reason"])


def training_split(table: pd.DataFrame) -> str:
    """The split that trains: the one called ``train`` or ``training``, in any case, else the largest; of equal ones, the first.

    Example:
        >>> training_split(pd.DataFrame({"split": ["test", "test", "Train"]}))
        'Train'
    """
    counts = table["split"].value_counts()
    named = [split for split in sorted(counts.index) if split.lower() in TRAINING]
    return named[0] if named else min(counts.index[counts == counts.max()])


def is_training(table: pd.DataFrame) -> np.ndarray:
    """Which rows are of the split that trains, bool, (rows,)."""
    return (table["split"] == training_split(table)).to_numpy()


def read(folder: str | Path, images: pd.DataFrame) -> Scans:
    """Hash, measure and shrink every image of a table with path, split and class; each file is read once.

    Raises:
        AuditError: if none can be read.
    """
    folder = Path(folder)
    thumbnails = np.empty((len(images), near_copies.SIDE * near_copies.SIDE), dtype=np.float32)
    measured, unreadable = [], []
    with ThreadPoolExecutor() as pool:
        done = pool.map(lambda path: _measure(folder / path), images["path"])
        for path, (values, thumbnail, reason) in zip(
            images["path"], near_copies.progress_bar(done, "decode", len(images)), strict=True
        ):
            if reason:
                unreadable.append((path, reason))
                continue
            thumbnails[len(measured)] = thumbnail
            measured.append({"path": path, **values})
    unreadable = pd.DataFrame(unreadable, columns=["path", "reason"])
    if not measured:
        first = f"{unreadable['path'][0]}, which {unreadable['reason'][0]}"
        raise near_copies.AuditError(f"none of the {len(images)} images in {folder} can be read; the first is {first}")
    return Scans(images.merge(pd.DataFrame(measured), on="path"), thumbnails[: len(measured)], unreadable)


def _measure(path):
    """The entries of `Scans` for one file: values, thumbnail and None; or None, None and the reason why it cannot be read."""
    try:
        content = path.read_bytes()
        with image_files.open_quietly(io.BytesIO(content)) as image:
            grey, colour = image_files.grey_image(image), _has_colour(image)
    except Exception as error:  # decoders fail in many ways, and one bad file must not end the audit
        return None, None, image_files.reason(error)
    values = {"sha256": hashlib.sha256(content).hexdigest(), "width": grey.width, "height": grey.height, "colour": colour}
    counted = ImageStat.Stat(grey)  # from the histogram, several times faster than from the pixels
    small = grey.resize((MEASURED_SIDE, MEASURED_SIDE), Image.Resampling.BILINEAR)
    values |= {"mean": counted.mean[0], "std": counted.stddev[0]}
    values["sharpness"] = float(ndimage.laplace(np.asarray(small, dtype=np.float32)).std())
    values["dark"] = sum(grey.histogram()[:DARK]) / (grey.width * grey.height)
    side = (near_copies.SIDE, near_copies.SIDE)
    thumbnail = grey.convert("F").resize(side, Image.Resampling.BOX)  # floats: rounding would turn faint images into noise
    return values, near_copies.standardise(np.asarray(thumbnail)), None


def _has_colour(image):
    if image.mode in ("1", "L", "LA", "F") or image.mode.startswith("I"):
        return False
    red, green, blue = image.convert("RGB").split()
    return any(ImageChops.difference(red, other).getbbox() for other in (green, blue))


def manifest_thumbnails(folder: str | Path, manifest: pd.DataFrame) -> np.ndarray:
    """Thumbnails like those behind the manifest's `nearest_training_corr`, `near_copy` and `group`, float32, (rows, 1024)."""

    def read(path):
        with Image.open(Path(folder) / path) as image:
            return shrink(image)

    with ThreadPoolExecutor() as pool:
        return np.stack(list(near_copies.progress_bar(pool.map(read, manifest["path"]), "shrink", len(manifest))))


def shrink(image: Image.Image) -> np.ndarray:
    """The thumbnail of an opened image that is not decoded yet, float32, (1024,), standardised.

    A JPEG decoder itself shrinks the image, by 2, 4 or 8, to no less than 64 pixels a side; its rounded grey levels are then
    averaged down to 32. Twice as fast as full decoding, but the last row and column of a shrunk image may cover less than the
    others, by an amount that depends on its size, so that copies of different sizes correlate a little less.
    """
    image.draft("L", (2 * near_copies.SIDE, 2 * near_copies.SIDE))
    grey = image_files.grey_image(image)
    return near_copies.standardise(np.asarray(grey.resize((near_copies.SIDE, near_copies.SIDE), Image.Resampling.BOX)))
