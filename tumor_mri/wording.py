"""Numbers and verdicts for people, in English and in Spanish."""

import re

import numpy as np

from tumor_mri import statistics

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
    mean, half = statistics.interval(values)
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
