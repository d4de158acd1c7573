"""Numbers, verdicts and tables for people, in English and in Spanish."""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from tumor_mri import stats


class ProjectError(Exception):
    """The base of this package's errors: each text is one sentence that says what was found and what to do."""


_SPANISH = {  # in this order: one phrase may be part of another
    "not decided": "no queda decidida",
    "not tested": "no comprobada",
    "holds": "se cumple",
    "refuted as printed": "refutada tal como está impresa",
    "refuted": "refutada",
    "(one run)": "(un solo entrenamiento)",
    "no runs": "ningún entrenamiento",
    "points": "puntos",
    "no tumour": "sin tumor",
    "pituitary": "tumor hipofisario",
}


_COUNTED = {"run": "entrenamientos", "pair": "pares"}


_FEW = 5  # values; a t interval of fewer is wide enough to leave what is possible, such as 100 %


def say(values: ArrayLike, unit: str = "", digits: int = 1) -> str:
    """Mean and 95 % interval in words: ``20.1 ± 0.6 points``; of few values mean and range: ``20.1 (19.8 to 20.5) points``.

    One value stands alone, and says so.
    """
    if len(values) == 0:
        return "no runs"
    mean, half = stats.interval(values)
    if np.isnan(half):
        return f"{mean:.{digits}f}{unit} (one run)"
    if len(values) < _FEW:
        return f"{mean:.{digits}f} ({np.min(values):.{digits}f} to {np.max(values):.{digits}f}){unit}"
    return f"{mean:.{digits}f} ± {half:.{digits}f}{unit}"


def span(values: ArrayLike) -> str:
    """Least and largest of some fractions of 1, for runs too unlike for a mean: ``74.6 to 77.7 %``."""
    values = 100 * np.asarray(values, dtype=float)
    if len(values) == 0:
        return "no runs"
    least, largest = f"{values.min():.1f}", f"{values.max():.1f}"
    return f"{least} %" if least == largest else f"{least} to {largest} %"


def in_spanish(text: str) -> str:
    """A paragraph in Spanish, as Markdown that tells screen readers its language.

    What it got from `say`, `span`, a verdict or a class name is put into Spanish: ``21.2 ± 1.9 points`` becomes
    ``21,2 ± 1,9 puntos``, ``74.6 to 77.7 %`` becomes ``entre el 74,6 y el 77,7 %``, and the commas of thousands thin spaces.
    """
    text = re.sub(r"([\d.]+) to ([\d.]+ %)", r"entre el \1 y el \2", text)
    text = re.sub(r"(?<=\d )\(([-\d.]+) to ([-\d.]+)\)", r"(de \1 a \2)", text)
    text = re.sub(r"\((\d+) of (\d+) (run|pair)s?\)", lambda found: f"({found[1]} de {found[2]} {_COUNTED[found[3]]})", text)
    for english, spanish in _SPANISH.items():
        text = text.replace(english, spanish)
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "\u202f", text)
    text = re.sub(r"(?<=\d)\.(?=\d)", ",", text)
    return f"<span lang=es>{text}</span>"


def as_markdown(table: pd.DataFrame) -> str:
    """A table as Markdown, without its index."""
    lines = [list(table.columns), ["---"] * table.shape[1], *table.astype(str).to_numpy().tolist()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def in_percent(table: pd.DataFrame) -> pd.DataFrame:
    """A table for people: shares of 1, which are its floats, as percentages with one digit, underscores as spaces; no NaN."""
    shares = table.select_dtypes("float").columns
    shown = table.assign(**{name: ["–" if np.isnan(value) else f"{100 * value:.1f}" for value in table[name]] for name in shares})
    return shown.rename(columns=lambda name: name.replace("_", " "))


def write(path: Path | str, name: str, text: str) -> None:
    """Put a text between ``<!-- name -->`` and ``<!-- end of name -->`` of a page, in the place of what is there.

    Raises:
        ValueError: where the page lacks the marks, or has them twice.
    """
    page = path.read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(end) < page.index(begin):
        raise ValueError(f"{path.name} needs one line <!-- {name} --> and after it one line <!-- end of {name} -->")
    write_whole(path, page.split(begin)[0] + begin + text + end + page.split(end)[1])


def write_whole(path: Path | str, content: str | bytes) -> None:
    """Write a file, or leave it as it was: a full disk must not cost what is there.

    Args:
        path: of the file; its folder exists.
        content: bytes, or a text, which is stored as UTF-8, made `printable`, with the line ends that it has.

    Raises:
        OSError: if it cannot be written, with `path` as its filename.
    """
    write_together({path: content})


def write_together(contents: dict) -> None:
    """Write files that belong together: all of them, or none. `contents` is what `write_whole` takes, by path.

    Raises:
        OSError: if one cannot be written, with its path as the filename.
    """
    with whole(*contents) as temporaries:
        for path, content in zip([temporaries] if len(contents) == 1 else temporaries, contents.values(), strict=True):
            path.write_bytes(content if isinstance(content, bytes) else printable(content).encode("utf-8"))


@contextlib.contextmanager
def whole(*paths: Path | str) -> Iterator:
    """Files that are written together, by anything that takes a path: all of them, or none.

    Within the block the files have temporary names, in the folders and with the suffixes of `paths`. At its end they are flushed
    to the disk, made readable by everyone, and take the places of `paths`. After an error while they are written nothing is
    changed, and no temporary file is left.

    Example:
        ``with text.whole(folder / "network.keras") as temporary: model.save(temporary)``

    Yields:
        The temporary path; a list of them if there are several `paths`.

    Raises:
        OSError: if a file cannot be written, with its final path as the filename.
    """
    paths = [Path(path) for path in paths]
    temporaries = []
    try:
        for path in paths:
            temporaries.append(_temporary_beside(path))
        yield temporaries[0] if len(paths) == 1 else temporaries
        for temporary in temporaries:
            _flush(temporary)
            temporary.chmod(0o644)
        for path, temporary in zip(paths, temporaries, strict=True):  # needs no room on the disk any more
            os.replace(temporary, path)
    except OSError as error:
        for path in paths:
            if error.errno and (error.filename is None or _is_temporary(error.filename, path)):
                raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
        raise
    finally:
        for temporary in temporaries:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def writable(folder: Path | str) -> Iterator[None]:
    """Make sure that a folder can be written before long work begins. It is made, and removed again if the work fails.

    Raises:
        OSError: if it cannot be written.
    """
    folder = Path(folder)
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _temporary_beside(folder / "try").unlink()
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # one that holds something stays
            for path in new:
                path.rmdir()
        raise


def _temporary_beside(path):
    """A new empty file in the folder of `path`, hidden, and with its suffix."""
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem[:40]}-", suffix=path.suffix)
    os.close(number)
    return Path(name)


def _is_temporary(name, path):
    return Path(name).parent == path.parent and Path(name).name.startswith(f".{path.stem[:40]}-")


def _flush(path):
    """Wait until the content of a file is on the disk: some systems find out only now that there is no room."""
    number = os.open(path, os.O_RDWR)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def printable(text: str) -> str:
    """A text that UTF-8 can hold: anything else, such as a file name in another encoding, is escaped by backslashes."""
    return text.encode("utf-8", errors="backslashreplace").decode("utf-8")


def one_line(error: BaseException) -> str:
    """The text of an error on one line; a system's own, such as a full disk, as file and reason."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__
