"""The images: find them, download them, check them, decode them once."""

import hashlib
import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "data"
CLASSES = ("glioma_tumor", "meningioma_tumor", "no_tumor", "pituitary_tumor")
IMAGE_SIZE = (150, 150)


class DatasetError(Exception):
    """The images are missing or differ from the manifest; the text says what was found and what to do."""


def load_manifest() -> pd.DataFrame:
    """The table of all 3,264 images; a row's number is the image's place in every array of this package."""
    text = {"cheng_slice": "Int64", "patient": "string", "cheng_label": "string"}
    return pd.read_csv(DATA / "manifest.csv", dtype=text)


def class_indices(manifest: pd.DataFrame) -> np.ndarray:
    """The true class of each row as an index into `CLASSES`, int64, (rows,)."""
    return manifest["class"].map({name: index for index, name in enumerate(CLASSES)}).to_numpy()


def fingerprint(manifest: pd.DataFrame) -> str:
    """Twelve hexadecimal digits that change with any path, any image's content and the order of rows."""
    lines = "\n".join(manifest["path"] + " " + manifest["sha256"])
    return hashlib.sha256(lines.encode()).hexdigest()[:12]


def load_images(manifest: pd.DataFrame) -> np.ndarray:
    folder = Path(os.environ["TUMOR_MRI_DATA"])
    cached = DATA / "cache" / f"images-{IMAGE_SIZE[0]}-{fingerprint(manifest)}.npy"
    if cached.is_file():
        return np.load(cached)
    images = decode(folder, manifest)
    cached.parent.mkdir(exist_ok=True)
    np.save(cached, images)
    return images


def decode(folder, manifest):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    images = np.empty((len(manifest), *IMAGE_SIZE), dtype=np.uint8)
    start = 0
    for split in ("Training", "Testing"):
        batches = keras.utils.image_dataset_from_directory(
            folder / split, labels=None, image_size=IMAGE_SIZE, shuffle=False, batch_size=64, verbose=False
        )
        found = [Path(path).relative_to(folder).as_posix() for path in batches.file_paths]
        assert found == list(manifest["path"][start : start + len(found)])
        for batch in batches:
            grey = np.rint(batch.numpy()[..., 0])
            images[start : start + len(grey)] = grey
            start += len(grey)
    return images
