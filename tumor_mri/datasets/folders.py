"""What lies below a folder: links are followed, and whatever cannot be read is named with its reason."""

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

SYSTEM = ("__MACOSX", "__pycache__", "$RECYCLE.BIN", "System Volume Information", "@eaDir", "Thumbs.db", "desktop.ini")
FOLDER = "is a folder"  # the obstacle that a listing looks behind


@dataclass(frozen=True)
class Listing:
    """Everything below a folder, as paths that begin with it, sorted.

    `files` are plain files, `empty` folders without anything in them, and `left_out` maps what cannot be read to the reason.
    """

    files: list = field(default_factory=list)
    empty: list = field(default_factory=list)
    left_out: dict = field(default_factory=dict)


def obstacle(path: Path | str) -> str:
    """Why a path cannot be read as a plain file, such as ``is a link to nothing``; empty if it can be opened without waiting."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return "is a link to nothing" if os.path.islink(path) else "does not exist"
    except OSError as error:
        return f"cannot be opened: {error.strerror}"
    if stat.S_ISREG(mode):
        return ""
    if not stat.S_ISDIR(mode):
        return "is not a plain file, but a pipe, a socket or a device"
    try:
        os.scandir(path).close()
    except OSError as error:
        return f"is a folder that cannot be opened: {error.strerror}"
    return FOLDER


def is_hidden(path: Path | str) -> bool:
    """Whether a path, relative to the folder in question, is hidden or a system's own, such as ``.git`` or ``__MACOSX``.

    Example:
        >>> is_hidden("Training/.ipynb_checkpoints/1.jpg")
        True
    """
    return any(part.startswith(".") or part in SYSTEM for part in Path(path).parts)


def listing(folder: Path | str) -> Listing:
    """List a folder and the folders below it. Links to folders are followed, except one that leads back to where it came from.

    Raises:
        OSError: if `folder` itself is missing or cannot be opened.
    """
    found = Listing()
    _list(Path(folder), (), found)
    found.files.sort()
    found.empty.sort()
    return found


def _list(folder, above, found):
    """Add what lies below `folder` to `found`; `above` has the device and inode of each folder on the way to it."""
    status = os.stat(folder)
    here = (status.st_dev, status.st_ino)
    if here in above:
        found.left_out[folder] = "is a link to a folder that it lies in"
        return
    with os.scandir(folder) as entries:
        paths = sorted(folder / entry.name for entry in entries)
    if not paths:
        found.empty.append(folder)
    for path in paths:
        reason = obstacle(path)
        if reason == FOLDER:
            _list(path, (*above, here), found)
        elif reason:
            found.left_out[path] = reason
        else:
            found.files.append(path)
