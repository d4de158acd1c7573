"""Images as arrays: decoded once as the report decodes them, then read from a cache."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from tumor_mri.datasets import download, manifests

IMAGE_SIZE = (150, 150)


def load_images(manifest: pd.DataFrame | None = None, folder=None) -> np.ndarray:
    """All images in the manifest's order, grey, uint8, (rows, 150, 150); decoded once, then read from a cache.

    Args:
        manifest: None for the project's.
        folder: the dataset's; None looks for it, and downloads it, if the cache does not hold the images.

    Raises:
        DatasetError: where there are no images, or they are not the manifest's.
    """
    manifest = manifests.load_manifest() if manifest is None else manifest
    return cached("images", IMAGE_SIZE, manifest, lambda: decode(download.locate() if folder is None else Path(folder), manifest))


def cached(name, size, manifest, make) -> np.ndarray:
    """Images made once, then read from a cache: uint8, (rows of the manifest, *size).

    Args:
        name: of what is kept; the size and the manifest's fingerprint are added to it.
        size: height and width in pixels.
        manifest: table of the images.
        make: a function of no arguments that makes them.

    Raises:
        DatasetError: where there is no room for them.
    """
    place = _cache_folder() / f"{name}-{size[0]}-{manifests.fingerprint(manifest)}.npy"
    try:
        images = np.load(place, allow_pickle=False)
        if images.shape == (len(manifest), *size) and images.dtype == np.uint8:
            return images
    except (OSError, ValueError, EOFError):
        pass  # absent or damaged: made anew
    images = make()
    _keep(images, place)
    return images


def _keep(images, cached):
    """Write decoded images into the cache, whole or not at all.

    Raises:
        DatasetError: where there is no room.
    """
    temporary = cached.with_name(f".{os.getpid()}-{cached.name}")
    try:
        with temporary.open("wb") as file:
            np.save(file, images)
        os.replace(temporary, cached)
    except OSError as error:
        raise manifests.DatasetError(
            f"the decoded images cannot be kept in {cached.parent}: {error.strerror or error}. Make room for 75 MB there"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _cache_folder():
    """``data/cache``, or a temporary folder where that cannot be written."""
    for folder in (manifests.LOCAL_DATA / "cache", Path(tempfile.gettempdir()) / "tumor_mri"):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    raise manifests.DatasetError(
        f"neither data/cache nor {tempfile.gettempdir()} can be written: make room for 75 MB in one of them"
    )


def decode(folder, manifest: pd.DataFrame) -> np.ndarray:
    """Decode and resize every image with Keras' own loader, as the report does; R = G = B, so that one channel is kept.

    Returns:
        uint8, (rows, 150, 150): Keras' float pixels, rounded.

    Raises:
        DatasetError: where the files are not the manifest's: a decoder may fail on them in any way, or not at all.
    """
    folder = Path(folder)
    manifests.check(folder, manifest)
    from tumor_mri._keras import keras

    images = np.empty((len(manifest), *IMAGE_SIZE), dtype=np.uint8)
    place = {path: row for row, path in enumerate(manifest["path"])}
    for split in manifests.SPLITS:
        batches = keras.utils.image_dataset_from_directory(
            folder / split, labels=None, image_size=IMAGE_SIZE, shuffle=False, batch_size=64, verbose=False
        )
        paths = iter(batches.file_paths)
        for batch in batches:
            for picture in np.rint(batch.numpy()[..., 0]):
                images[place[Path(next(paths)).relative_to(folder).as_posix()]] = picture
    return images


def scan(path: str, folder, longest_side: int = 150) -> np.ndarray:
    """One image to look at, grey, uint8, at most `longest_side` pixels a side, its proportions kept."""
    from PIL import Image

    with Image.open(Path(folder) / path) as image:
        grey = image.convert("L")
        grey.thumbnail((longest_side, longest_side))
        return np.asarray(grey)
