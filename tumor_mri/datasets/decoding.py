"""Images as arrays: decoded once as the report decodes them, then read from a cache."""

import contextlib
import errno
import getpass
import hashlib
import io
import os
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from tumor_mri import text
from tumor_mri.datasets import download, manifests

IMAGE_SIZE = (150, 150)


def load_images(manifest: pd.DataFrame | None = None, folder: Path | str | None = None) -> np.ndarray:
    """All images in the manifest's order, grey, uint8, (rows, 150, 150); decoded once, then read from a cache.

    Args:
        manifest: None for the project's.
        folder: the dataset's; None looks for it, and downloads it, if the cache does not hold the images.

    Raises:
        DatasetError: if there are no images, or they are not the manifest's.
    """
    manifest = manifests.load_manifest() if manifest is None else manifest
    return cached("images", IMAGE_SIZE, manifest, lambda: decode(_folder_of(manifest, folder), manifest))


def _folder_of(manifest, folder):
    return download.locate(manifests.dataset_of(manifest)) if folder is None else Path(folder)


def cached(name: str, size: tuple[int, int], manifest: pd.DataFrame, make: Callable[[], np.ndarray]) -> np.ndarray:
    """Images made once, then read from a cache: uint8, (rows of the manifest, *size).

    The cache is ``data/cache``, or a folder of the system's temporary one that belongs to this user alone. If nothing can be kept
    there, that is said on standard error, and the images are made again the next time.

    Args:
        name: of what is kept; the size and the manifest's fingerprint are added to it.
        size: height and width in pixels.
        manifest: table of the images.
        make: a function of no arguments that makes them.

    Raises:
        Exception: whatever `make` raises.
    """
    file = f"{name}-{size[0]}-{manifests.fingerprint(manifest)}.npy"
    folders = (_cache_folder(), _temporary_folder())
    for folder in folders:
        with contextlib.suppress(OSError, ValueError):  # absent, damaged or not this user's
            _check_owner(folder)
            images = _read(folder / file)
            if images.shape == (len(manifest), *size) and images.dtype == np.uint8:
                return images
    images = make()
    failures = []
    for folder in folders:
        try:
            _keep(images, folder / file)
            return images
        except OSError as error:
            failures.append(text.one_line(error))
    print(f"The decoded images are not kept: {'; '.join(failures)}. Make room for 75 MB in data/cache", file=sys.stderr)
    return images


def _read(path):
    """The array of a cached file.

    Raises:
        OSError: if it or its digest is absent.
        ValueError: if it does not fit its digest, or is no array.
    """
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != _digest_of(path).read_text(encoding="utf-8").split(" ")[0]:
        raise ValueError(f"{path} is damaged")
    return np.load(io.BytesIO(content), allow_pickle=False)


def _keep(images, path):
    """Write images into the cache, and beside them their digest: both whole, or neither.

    Raises:
        OSError: if they cannot be written.
    """
    folder = path.parent
    folder.mkdir(mode=0o700 if folder == _temporary_folder() else 0o777, parents=True, exist_ok=True)
    _check_owner(folder)
    with text.whole(path, _digest_of(path)) as (array, digest):
        with array.open("wb") as file:
            np.save(file, images)
        found = hashlib.sha256(array.read_bytes()).hexdigest()
        digest.write_text(f"{found}  {path.name}\n", encoding="utf-8", newline="\n")


def _digest_of(path):
    """The file beside a cached one that holds its SHA-256, as `sha256sum` writes it."""
    return path.with_name(f"{path.name}.sha256")


def _cache_folder():
    return manifests.LOCAL_DATA / "cache"


def _temporary_folder():
    """A folder for this user alone below the system's temporary one, where any user may write."""
    user = os.getuid() if hasattr(os, "getuid") else getpass.getuser()
    return Path(tempfile.gettempdir()) / f"tumor_mri-{user}"


def _check_owner(folder):
    """Make sure that nobody else has made, or may enter, the temporary folder; any other folder is trusted.

    Raises:
        OSError: if it is absent, somebody else's, or open to others.
    """
    if folder != _temporary_folder() or not hasattr(os, "getuid"):  # on Windows each user has a temporary folder
        return
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(errno.EACCES, "belongs to somebody else, or is open to others: remove it", str(folder))


def decode(folder: Path | str | None, manifest: pd.DataFrame) -> np.ndarray:
    """Decode and resize every image with Keras' own loader, as the report does; R = G = B, so that one channel is kept.

    Returns:
        uint8, (rows, 150, 150): Keras' float pixels, rounded.

    Raises:
        DatasetError: if the files are not the manifest's: a decoder may fail on them in any way, or not at all.
    """
    folder = Path(folder)
    manifests.check(folder, manifest)
    from tumor_mri._keras import keras

    images = np.empty((len(manifest), *IMAGE_SIZE), dtype=np.uint8)
    place = {path: row for row, path in enumerate(manifest["path"])}
    for split in manifests.SPLITS:
        batches = keras.utils.image_dataset_from_directory(
            folder / split,
            labels=None,
            image_size=IMAGE_SIZE,
            shuffle=False,
            batch_size=64,
            follow_links=True,  # as the check does; without, the images of a class folder that is a link would be left out
            verbose=False,
        )
        paths = iter(batches.file_paths)
        for batch in batches:
            for picture in np.rint(batch.numpy()[..., 0]):
                images[place[Path(next(paths)).relative_to(folder).as_posix()]] = picture
    return images


def scan(path: str, folder: Path | str | None, longest_side: int = 150) -> np.ndarray:
    """One image to look at, grey, uint8, at most `longest_side` pixels a side, its proportions kept."""
    from PIL import Image

    with Image.open(Path(folder) / path) as image:
        grey = image.convert("L")
        grey.thumbnail((longest_side, longest_side))
        return np.asarray(grey)
