"""The images: find them, download them, check them, decode them once."""

import base64
import concurrent.futures
import gzip
import hashlib
import os
import shutil
import socket
import tarfile
import tempfile
import threading
import time
import urllib.request
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = (_PACKAGE / "data").is_dir()  # a wheel carries the data inside the package, a checkout has them beside it
DATA = _PACKAGE / "data" if _INSTALLED else _PACKAGE.parent / "data"  # manifest, report's numbers, recorded runs: read only
ROOT = Path.cwd() if _INSTALLED else _PACKAGE.parent  # what is made here goes below it: images, caches, runs, pages
LOCAL_DATA = ROOT / "data"
FOLDER_NAME = "brain-tumor-classification-mri"
KAGGLE_MOUNT = Path(os.environ.get("TUMOR_MRI_KAGGLE_INPUT", "/kaggle/input"))  # the variable is for tests
KAGGLE_HANDLE = "sartajbhuvaji/brain-tumor-classification-mri"
KAGGLE_SERVER = ("www.kaggle.com", 443)
KAGGLE_PAGE = f"https://www.kaggle.com/datasets/{KAGGLE_HANDLE}"
ARCHIVE_URL = "https://github.com/SartajBhuvaji/Brain-Tumor-Classification-DataSet/archive/3ea9f4e.tar.gz"
LARGEST_UNPACKED = 400_000_000  # bytes; the dataset has 93 million, and an archive of it no reason to be or hold much more
SILENCE = 6  # seconds without a byte before a step is given up; there are three steps, so that all give up within 20 seconds

SPLITS = ("Training", "Testing")
CLASSES = ("glioma_tumor", "meningioma_tumor", "no_tumor", "pituitary_tumor")
NAMES = ("glioma", "meningioma", "no tumour", "pituitary")
NO_TUMOUR = CLASSES.index("no_tumor")
IMAGE_SIZE = (150, 150)


class DatasetError(Exception):
    """The images are missing or differ from the manifest; the text says what was found and what to do."""


@dataclass(frozen=True)
class Problem:
    """A file that is not as the manifest says; `kind` is missing, extra, renamed, truncated or altered."""

    path: str
    kind: str
    detail: str

    def __str__(self):
        return f"{self.kind}: {self.path}" + (f" ({self.detail})" if self.detail else "")


def load_manifest() -> pd.DataFrame:
    """The table of all 3,264 images; a row's number is the image's place in every array of this package."""
    return pd.read_csv(DATA / "manifest.csv", dtype={"cheng_slice": "Int64", "patient": "string", "cheng_label": "string"})


def class_indices(manifest: pd.DataFrame) -> np.ndarray:
    """The true class of each row as an index into `CLASSES`, int64, (rows,)."""
    return manifest["class"].map({name: index for index, name in enumerate(CLASSES)}).to_numpy()


def fingerprint(manifest: pd.DataFrame) -> str:
    """Twelve hexadecimal digits that change with any path, any image's content and the order of rows."""
    lines = "\n".join(manifest["path"] + " " + manifest["sha256"])
    return hashlib.sha256(lines.encode()).hexdigest()[:12]


def find() -> Path | None:
    """The dataset's folder on this machine, or None: ``TUMOR_MRI_DATA``, a Kaggle mount, ``data/``, in this order.

    Raises:
        DatasetError: where ``TUMOR_MRI_DATA`` is set and no folder there holds ``Training`` and ``Testing``.
    """
    named = os.environ.get("TUMOR_MRI_DATA")
    if named:
        found = _search(Path(named), depth=1)
        if found is None:
            raise DatasetError(
                f"TUMOR_MRI_DATA is {named}, but no folder there holds Training and Testing: correct it, or unset it"
            )
        return found
    return _search(KAGGLE_MOUNT, depth=4) or _search(LOCAL_DATA / FOLDER_NAME, depth=0)


def _search(folder, depth):
    """The first folder at or below `folder` that holds both splits; None where there is none within `depth` levels."""
    if all((folder / split).is_dir() for split in SPLITS):
        return folder
    if depth == 0 or not folder.is_dir():
        return None
    below = sorted(child for child in folder.iterdir() if child.is_dir())
    return next((found for child in below if (found := _search(child, depth - 1))), None)


def locate() -> Path:
    """The dataset's folder, downloaded into ``data/`` where this machine has none.

    Raises:
        DatasetError: where it is neither here nor to be had.
    """
    return find() or download()


def locate_or_none() -> Path | None:
    """As `locate`, but where no dataset can be had, says so in one sentence and returns None."""
    if os.environ.get("TUMOR_MRI_PHANTOMS"):  # `reproduce` has tried already
        print("No dataset could be had: pictures of scans are replaced by drawn phantoms.")
        return None
    try:
        folder = locate()
    except DatasetError as error:
        print(f"No dataset could be had, pictures of scans are replaced by drawn phantoms. {error}")
        return None
    print("The dataset is at hand.")
    return folder


def verify(folder, manifest: pd.DataFrame) -> list:
    """Every difference between a folder and the manifest, by SHA-256: a list of `Problem`, empty where there is none.

    Raises:
        DatasetError: where the folder does not exist.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}: run `python -m tumor_mri download`")
    expected = manifest.set_index("path")
    sizes = {path: _size(folder / path) for path in _list_files(folder)}
    known = set(
        expected["bytes"]
    )  # a file of another size cannot be an image of the manifest: it may be enormous, and is not read
    with ThreadPoolExecutor() as pool:
        read = pool.map(lambda path: _sha256(folder / path) if sizes[path] in known else "", sizes)
        hashes = dict(zip(sizes, read, strict=True))
    missing = {}  # byte-identical images share a SHA-256: several paths a hash
    for path in expected.index.difference(list(sizes)):
        missing.setdefault(expected.at[path, "sha256"], []).append(path)
    problems, renamed = [], set()
    for path in sorted(set(sizes) - set(expected.index)):
        was = missing.get(hashes[path])
        if was:
            renamed.add(was[0])
            problems.append(Problem(path, "renamed", f"was {was.pop(0)}"))
        else:
            problems.append(Problem(path, "extra", "an empty folder" if (folder / path).is_dir() else ""))
    for path, row in expected.iterrows():
        if path not in hashes:
            if path not in renamed:
                problems.append(Problem(path, "missing", ""))
        elif hashes[path] != row["sha256"]:
            kind = "truncated" if sizes[path] < row["bytes"] else "altered"
            problems.append(Problem(path, kind, f"{sizes[path]:,} bytes, expected {row['bytes']:,}"))
    return problems


def check(folder, manifest: pd.DataFrame) -> None:
    """Make sure that a folder holds the manifest's images and nothing else.

    Raises:
        DatasetError: naming the first problems.
    """
    problems = verify(folder, manifest)
    if problems:
        shown = "; ".join(str(problem) for problem in problems[:3])
        raise DatasetError(f"{len(problems)} files differ from the manifest: {shown}{' …' if len(problems) > 3 else ''}")


def _list_files(folder):
    """Paths of all files in the two splits, hidden ones too, and of empty folders: either would change the report's split."""
    inside = [path for split in SPLITS for path in (folder / split).rglob("*")]
    kept = [path for path in inside if not path.is_dir() or not any(path.iterdir())]
    return sorted(path.relative_to(folder).as_posix() for path in kept)


def _size(path):
    """Bytes of a plain file; 0 for anything else, such as an empty folder or a link to nothing."""
    return path.stat().st_size if path.is_file() else 0


def _sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def download(target=None, manifest=None, progress=True) -> Path:
    """Download the dataset, check every file, and move it into place: the whole of it, or nothing.

    Where nothing arrives, all attempts together give up within 20 seconds; a slow download that keeps moving may take its time.

    Args:
        target: folder to make; None for ``data/brain-tumor-classification-mri``.
        manifest: what must be in it; None for the project's.
        progress: show a bar.

    Raises:
        DatasetError: with each attempt and why it failed, and what to do by hand.
    """
    target = LOCAL_DATA / FOLDER_NAME if target is None else Path(target)
    manifest = load_manifest() if manifest is None else manifest
    if target.exists():
        check(target, manifest)
        return target
    failures = []
    for name, fetch in (("Kaggle", _fetch_from_kaggle), ("the author's git copy", _fetch_archive)):
        with _scratch_beside(target) as scratch:
            try:
                fetch(Path(scratch), progress)
                found = _search(Path(scratch), depth=3)
                if found is None:
                    raise DatasetError("what came holds no Training and Testing")
                check(found, manifest)
                os.replace(found, target)
                return target
            except Exception as error:  # whatever a source does wrong, the next one is tried and the user told
                failures.append(f"{name}: {reason(error)}")
    raise DatasetError(
        f"the dataset could not be downloaded. Tried {'; '.join(failures)}. Download it by hand from {KAGGLE_PAGE}, unpack it "
        f"as data/{FOLDER_NAME}, or set TUMOR_MRI_DATA to its folder"
    )


def _scratch_beside(target):
    """A temporary folder on the disk of `target`, so that what is whole is moved, not copied.

    Raises:
        DatasetError: where none can be made.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=target.parent, prefix=".download-", ignore_cleanup_errors=True)
    except OSError as error:
        raise DatasetError(
            f"the dataset cannot be written into {target.parent}: {error.strerror or error}. Make room for 200 MB there, or set "
            "TUMOR_MRI_DATA to the folder of a dataset that is elsewhere"
        ) from error


def reason(error):
    """An error in one line of at most 200 characters, without credentials."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return (
            f"it refuses the credentials or wants some (HTTP {status}): renew or remove ~/.kaggle, KAGGLE_KEY, KAGGLE_API_TOKEN"
        )
    text = " ".join(str(error).split()) or type(error).__name__
    for secret in _secrets():
        text = text.replace(secret, "…")
    return text[:200]


def _secrets() -> list:
    """What must not be shown of the user's credentials: keys and tokens, whole, by line, and as sent; longest first."""
    try:
        from kagglehub.config import get_kaggle_credentials

        found = get_kaggle_credentials()
    except Exception:  # no kagglehub, or credentials that cannot be read: then nobody else has read them either
        return []
    if found is None:
        return []
    parts = {part for text in (found.key, getattr(found, "api_key", None)) if text for part in (text, *text.split())}
    if found.key:
        parts.add(base64.b64encode(f"{found.username}:{found.key}".encode()).decode())
    return sorted(parts, key=len, reverse=True)


def _unless_silent(work, *folders):
    """Do `work` in a thread, and give it up where neither it ends nor anything in `folders` grows for `SILENCE` seconds.

    Sockets have timeouts of their own, but not all that libraries open, nor the look-up of names, nor a server that sends a
    byte now and then. A thread that is given up ends with the process.

    Raises:
        DatasetError: where it is given up; else whatever `work` raises.
    """
    outcome = concurrent.futures.Future()

    def do():
        try:
            outcome.set_result(work())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=do, daemon=True).start()
    seen, since = None, time.monotonic()
    while not concurrent.futures.wait([outcome], timeout=SILENCE / 20).done:
        arrived = sum(_size(path) for folder in folders for path in Path(folder).rglob("*"))
        if arrived != seen:
            seen, since = arrived, time.monotonic()
        elif time.monotonic() - since > SILENCE:
            raise DatasetError(f"nothing arrived for {SILENCE} seconds")
    return outcome.result()


def _fetch_from_kaggle(scratch, progress):
    """With kagglehub, which shows its own bar; anonymous unless there are credentials."""
    # kagglehub retries for minutes where there is no network, so that a connection is tried first
    _unless_silent(lambda: socket.create_connection(KAGGLE_SERVER, timeout=SILENCE).close())
    import kagglehub
    import kagglehub.clients

    kagglehub.clients.CHUNK_SIZE = 1 << 14  # bytes written at a time: a slow download is seen to move
    cache = Path(os.environ.setdefault("KAGGLEHUB_CACHE", str(scratch / "kagglehub")))
    try:
        cached = _unless_silent(
            lambda: Path(kagglehub.dataset_download(KAGGLE_HANDLE)), scratch, cache / "datasets" / KAGGLE_HANDLE
        )
    finally:
        if cache.is_relative_to(scratch):
            del os.environ["KAGGLEHUB_CACHE"]
    if not cached.is_relative_to(scratch):
        shutil.copytree(cached, scratch / "copy")


def _fetch_archive(scratch, progress):
    """The author's git copy at a pinned commit, as a .tar.gz, unpacked into `scratch`."""
    archive = scratch / "archive.tar.gz"
    _unless_silent(lambda: _receive(archive, progress), scratch)
    _unpack(archive, scratch / "unpacked")
    archive.unlink()


def _receive(archive, progress):
    """Write what `ARCHIVE_URL` sends into a file, as it comes.

    Raises:
        DatasetError: where it is cut off, or larger than any archive of the dataset.
    """
    with urllib.request.urlopen(ARCHIVE_URL, timeout=SILENCE) as response, archive.open("wb", buffering=0) as file:
        size = int(response.headers.get("Content-Length") or 0) or None
        arrived = 0
        with tqdm(total=size, unit="B", unit_scale=True, desc="download", disable=not progress) as bar:
            while block := response.read1(1 << 18):
                arrived += file.write(block)
                bar.update(len(block))
                if arrived > LARGEST_UNPACKED:
                    raise DatasetError(f"the download is larger than {LARGEST_UNPACKED:,} bytes")
    if size and arrived != size:
        raise DatasetError(f"the download stopped at {arrived:,} of {size:,} bytes")


def _unpack(archive, folder):
    """Unpack plain files below `folder` only.

    Raises:
        DatasetError: for a damaged archive, one that unpacks too large, or a member that is a link or would leave the folder.
    """
    total = 0
    try:
        with tarfile.open(archive, "r:gz") as packed:
            for member in packed:
                inside = (folder / member.name).resolve().is_relative_to(folder.resolve())
                if not inside or not (member.isfile() or member.isdir()):
                    raise DatasetError(f"the archive holds {member.name!r}, which is a link or would leave its folder")
                total += member.size
                if total > LARGEST_UNPACKED:
                    raise DatasetError(f"the archive unpacks to more than {LARGEST_UNPACKED:,} bytes")
                packed.extract(member, folder, filter="data")
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DatasetError(f"what came is no whole archive: {error}") from error


def load_images(manifest: pd.DataFrame | None = None, folder=None) -> np.ndarray:
    """All images in the manifest's order, grey, uint8, (rows, 150, 150); decoded once, then read from a cache.

    Args:
        manifest: None for the project's.
        folder: the dataset's; None looks for it, and downloads it, if the cache does not hold the images.

    Raises:
        DatasetError: where there are no images, or they are not the manifest's.
    """
    manifest = load_manifest() if manifest is None else manifest
    return cached("images", IMAGE_SIZE, manifest, lambda: decode(locate() if folder is None else Path(folder), manifest))


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
    place = _cache_folder() / f"{name}-{size[0]}-{fingerprint(manifest)}.npy"
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
        raise DatasetError(
            f"the decoded images cannot be kept in {cached.parent}: {error.strerror or error}. Make room for 75 MB there"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _cache_folder():
    """``data/cache``, or a temporary folder where that cannot be written."""
    for folder in (LOCAL_DATA / "cache", Path(tempfile.gettempdir()) / "tumor_mri"):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    raise DatasetError(f"neither data/cache nor {tempfile.gettempdir()} can be written: make room for 75 MB in one of them")


def decode(folder, manifest: pd.DataFrame) -> np.ndarray:
    """Decode and resize every image with Keras' own loader, as the report does; R = G = B, so that one channel is kept.

    Returns:
        uint8, (rows, 150, 150): Keras' float pixels, rounded.

    Raises:
        DatasetError: where the files are not the manifest's: a decoder may fail on them in any way, or not at all.
    """
    folder = Path(folder)
    check(folder, manifest)
    from tumor_mri.quiet import keras

    images = np.empty((len(manifest), *IMAGE_SIZE), dtype=np.uint8)
    place = {path: row for row, path in enumerate(manifest["path"])}
    for split in SPLITS:
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
