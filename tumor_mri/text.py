"""Numbers, verdicts and tables for people, in English and in Spanish."""

import re

import numpy as np

from tumor_mri import stats


class ProjectError(Exception):
    """The base of this package's errors: each text is one sentence that says what was found and what to do."""


_SPANISH = {  # in this order: one phrase may be part of another
    "holds by luck of the seed": "se cumple por azar de la semilla",
    "holds": "se cumple",
    "refuted as printed": "refutada tal como está impresa",
    "refuted": "refutada",
    "cannot be decided": "no puede decidirse",
    "(one run)": "(un solo entrenamiento)",
    "no runs": "ningún entrenamiento",
    "points": "puntos",
    "no tumour": "sin tumor",
    "pituitary": "tumor hipofisario",
}


def say(values, unit="", digits=1) -> str:
    """Mean and 95 % interval in words: ``20.1 ± 0.6 points``; one value stands alone, and says so."""
    if len(values) == 0:
        return "no runs"
    mean, half = stats.interval(values)
    if np.isnan(half):
        return f"{mean:.{digits}f}{unit} (one run)"
    return f"{mean:.{digits}f} ± {half:.{digits}f}{unit}"


def span(values) -> str:
    """Least and largest of some fractions of 1, for runs too unlike for a mean: ``74.6 to 77.7 %``."""
    values = 100 * np.asarray(values, dtype=float)
    if len(values) == 0:
        return "no runs"
    least, largest = f"{values.min():.1f}", f"{values.max():.1f}"
    return f"{least} %" if least == largest else f"{least} to {largest} %"


def in_spanish(text) -> str:
    """A paragraph in Spanish, as Markdown that tells screen readers its language.

    What it got from `say`, `span`, a verdict or a class name is put into Spanish: ``21.2 ± 1.9 points`` becomes
    ``21,2 ± 1,9 puntos``, ``74.6 to 77.7 %`` becomes ``entre el 74,6 y el 77,7 %``, and the commas of thousands thin spaces.
    """
    text = re.sub(r"([\d.]+) to ([\d.]+ %)", r"entre el \1 y el \2", text)
    for english, spanish in _SPANISH.items():
        text = text.replace(english, spanish)
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "\u202f", text)
    text = re.sub(r"(?<=\d)\.(?=\d)", ",", text)
    return f"<span lang=es>{text}</span>"


def as_markdown(table) -> str:
    """A table as Markdown, without its index."""
    lines = [list(table.columns), ["---"] * table.shape[1], *table.astype(str).to_numpy().tolist()]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def in_percent(table):
    """A table for people: shares of 1, which are its floats, as percentages with one digit, underscores as spaces."""
    shares = table.select_dtypes("float").columns
    shown = table.assign(**{name: [f"{100 * value:.1f}" for value in table[name]] for name in shares})
    return shown.rename(columns=lambda name: name.replace("_", " "))


def write(path, name, text) -> None:
    """Put a text between ``<!-- name -->`` and ``<!-- end of name -->`` of a page, in the place of what is there.

    Raises:
        ValueError: where the page lacks the marks, or has them twice.
    """
    page = path.read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(end) < page.index(begin):
        raise ValueError(f"{path.name} needs one line <!-- {name} --> and after it one line <!-- end of {name} -->")
    path.write_text(page.split(begin)[0] + begin + text + end + page.split(end)[1], encoding="utf-8", newline="\n")


def one_line(error) -> str:
    """The text of an error on one line; a system's own, such as a full disk, as file and reason."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__
