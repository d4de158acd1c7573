"""Records: runs on disk, one file per run. A file is either complete or absent, and can be read without TensorFlow.

A record is a compressed ``.npz`` file with the arrays of a `configs.Run` and one JSON text with everything else. It contains no
pickle. Its SHA-256 digest covers every array and the text, so damage is detected when the record is read.
"""

import contextlib
import hashlib
import io
import json
import os
import platform
import re
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from tumor_mri import text
from tumor_mri.datasets import manifests
from tumor_mri.runs import configs

FORMAT = 1
RECORD_SIZE = 200_000  # bytes: more than one record needs
LARGEST_UNPACKED = 50_000_000  # bytes; a record unpacks to less than 400 kB: refuse far larger files
ARRAYS = ("val_classes", "val_probabilities", "test_probabilities", "train_classes")
FLIPPED = ("val_flipped", "test_flipped")  # only in runs that have them
PATHS = ("train_paths", "val_paths", "test_paths")


class RecordError(text.ProjectError):
    """A record cannot be read or written; the message says what was found and what to do."""


def save(run: configs.Run, folder: Path | str, overwrite: bool = False) -> Path:
    """Write a run into `folder`, completely or not at all, and return the path of the record.

    Raises:
        FileExistsError: if the run is already recorded and `overwrite` is False.
        RecordError: if the folder cannot be written or the disk is full.
    """
    folder = Path(folder)
    target = path_of(run.config, folder)
    content = encode(run)
    temporary = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=f"{_writing()}{os.getpid()}-", delete=False) as file:
            temporary = Path(file.name)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        if overwrite:
            os.replace(temporary, target)
        else:
            os.link(temporary, target)  # unlike a rename, this fails if another process was first
    except FileExistsError:
        raise
    except OSError as error:
        raise RecordError(f"the run {run.config.key} could not be recorded in {folder}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
    return target


def load(path: Path | str) -> configs.Run:
    """Read one record.

    Raises:
        RecordError: if the file is missing, damaged, not a record, of a later format, or the record of another run.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(f"there is no record {path.name} to read in {path.parent}: {error.strerror}") from None
    run = decode(content, path)
    if path.stem != run.config.key:
        raise RecordError(f"{path} is the record of another run, {run.config.key}: give it that name again, or delete it")
    return run


def decode(content: bytes, source: Path | str) -> configs.Run:
    """The run in the bytes of a record.

    Args:
        content: the result of `encode`.
        source: where the bytes come from, for error messages.

    Raises:
        RecordError: if they are damaged, not a record, or of a later format.
    """
    try:
        if sum(member.file_size for member in zipfile.ZipFile(io.BytesIO(content)).infolist()) > LARGEST_UNPACKED:
            raise ValueError(f"it unpacks to more than {LARGEST_UNPACKED:,} bytes")
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        about = json.loads(arrays.pop("about").tobytes())
    except Exception as error:  # damage can cause almost any error of zipfile, numpy or json
        raise RecordError(f"{source} is damaged, or no record: {error}. Delete it and train the run again") from error
    if not isinstance(about, dict) or "format" not in about:
        raise RecordError(f"{source} is no record of this project")
    if about["format"] != FORMAT:
        raise RecordError(f"{source} has format {about['format']}, this version reads format {FORMAT}: update the project")
    digest = about.pop("digest", None)
    if set(arrays) - set(FLIPPED) != set(ARRAYS + PATHS) or digest != _digest(about, arrays):
        raise RecordError(f"{source} is damaged: its content does not match its digest. Delete it and train the run again")
    try:
        lists = {name: arrays.pop(name).tobytes().decode().split("\n") for name in PATHS}
        settings = {name: about[name] for name in ("history", "environment", "seconds")}
        _check_settings(settings, arrays)
        return configs.Run(config=configs.RunConfig(**about["config"]), **settings, **lists, **arrays)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordError(f"{source} describes a run that this version does not know: {error}. Update the project") from error


def _check_settings(settings, arrays):
    """Make sure that what is no array has the types and lengths of a run: a forger can fit the digest.

    Raises:
        ValueError, TypeError, AttributeError: if they differ.
    """
    lengths = {len(values) for values in settings["history"].values()}
    if lengths != {len(arrays["val_classes"])} or not {"accuracy", "val_accuracy"} <= set(settings["history"]):
        raise ValueError("its history does not have a value for each epoch")
    for values in settings["history"].values():
        [float(value) for value in values]
    if not isinstance(settings["environment"], dict) or not {"backend", "dataset"} <= set(settings["environment"]):
        raise ValueError("its environment names no backend and no dataset")
    if isinstance(settings["seconds"], bool) or not isinstance(settings["seconds"], (int, float)):
        raise ValueError("its seconds are no number")


def sweep(folder: Path | str) -> None:
    """Delete temporary files in `folder` that were left by processes of this machine that were killed while writing."""
    import psutil

    for path in Path(folder).glob(f"{_writing()}*"):
        owner = path.name.split("-")[-2]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            with contextlib.suppress(OSError):  # another process deletes it too, or the folder is read-only
                path.unlink()


def _writing():
    """The start of the names of temporary files on this machine; the number of the process and random letters follow."""
    return f".writing-{re.sub(r'[^A-Za-z0-9.-]', '_', platform.node())}-"


def check_writable(folder: Path | str) -> None:
    """Make sure, before hours of training, that records can be written into `folder`.

    Raises:
        RecordError: if they cannot.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(RECORD_SIZE))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise RecordError(f"records cannot be written into {folder}: {error.strerror or error}") from error


def path_of(config: configs.RunConfig, folder: Path | str) -> Path:
    """The path of a run's record in `folder`, whether the file exists or not.

    Example:
        >>> path_of(configs.RunConfig("training_only"), "runs").name
        'training_only-cnn-32-64-128-128-seed1.npz'
    """
    return Path(folder) / f"{config.key}.npz"


def load_all(folder: Path | str) -> list[configs.Run]:
    """All records in `folder`, sorted by name; an empty list if there is no such folder."""
    return [load(path) for path in sorted(Path(folder).glob("*.npz"))]


def encode(run: configs.Run) -> bytes:
    """The bytes of the record of a run."""
    arrays = {name: getattr(run, name) for name in ARRAYS + FLIPPED if getattr(run, name) is not None}
    arrays |= {name: np.frombuffer("\n".join(getattr(run, name)).encode(), dtype=np.uint8) for name in PATHS}
    about = {
        "format": FORMAT,
        "config": asdict(run.config),
        "history": run.history,
        "environment": run.environment,
        "seconds": run.seconds,
    }
    about = json.loads(json.dumps(about))  # tuples become lists, as when the record is read
    text = json.dumps(about | {"digest": _digest(about, arrays)})
    buffer = io.BytesIO()
    np.savez_compressed(buffer, about=np.frombuffer(text.encode(), dtype=np.uint8), **arrays)
    return buffer.getvalue()


def _digest(about, arrays):
    """SHA-256 digest of the text and of every array with its name, dtype and shape."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


RECORDED = manifests.DATA / "results"  # committed records: the source of the figures in the notebooks
CONTROL = RECORDED / "tensorflow"  # committed too: the same runs on another backend, see `study.catalogue.backend_control`
LOCAL = manifests.ROOT / "build" / "runs"  # runs trained on this machine, ignored by git


def find(config: configs.RunConfig, folders: Sequence[Path | str]) -> configs.Run | None:
    """The first record of a run in `folders`, or None.

    Raises:
        RecordError: if it is damaged.

    Example:
        >>> run = find(configs.RunConfig("training_only", seed=1), [RECORDED])
        >>> run.epochs_run, run.best_epoch
        (33, 23)
    """
    paths = (path_of(config, folder) for folder in folders)
    return next((load(path) for path in paths if path.is_file()), None)


def is_recorded(config: configs.RunConfig, folder: Path | str) -> bool:
    """Whether `folder` contains the record of a run."""
    return path_of(config, folder).is_file()


def keep(run: configs.Run, folder: Path | str) -> configs.Run:
    """Record a run, and return it.

    Raises:
        RecordError: if the folder is full or not writable; the record is then kept in the folder of temporary files.
    """
    try:
        save(run, folder)
    except FileExistsError:
        pass  # another process has recorded it in the meantime
    except RecordError as error:
        rescued = save(run, Path(tempfile.gettempdir()) / "tumor_mri-runs", overwrite=True)
        raise RecordError(f"{error}; it is kept as {rescued}, to be moved there") from error
    return run
