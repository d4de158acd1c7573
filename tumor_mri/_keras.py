"""Keras, imported without the lines that TensorFlow's native code writes to the screen on import.

They are written before any log level applies, straight to the file descriptor, so that only closing it keeps them out of
notebooks: ``from tumor_mri._keras import keras``.

Raises an ImportError of one sentence if the installed Keras or TensorFlow is not a version that this project is tested with.
"""

import contextlib
import os
import sys

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion

SUPPORTED = {"tensorflow": ("2.19", "2.22"), "keras": ("3.10", "4")}  # from, to below; as in requirements.txt
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# TensorFlow leaves oneDNN off on processors without VNNI or bfloat16; measured on one of those, a step of training is 1.35 times
# as fast with it
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# a notebook and the worker that trains for it share a GPU: neither may take all of its memory at the start
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")


@contextlib.contextmanager
def _without_stderr():
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _check(package, found):
    """Raises ImportError if a version is outside `SUPPORTED`; a candidate for the first version above is."""
    lowest, below = SUPPORTED[package]
    try:
        supported = SpecifierSet(f">={lowest},<{below}").contains(found, prereleases=True)
    except InvalidVersion:
        supported = False
    if not supported:
        raise ImportError(f"this needs {package} from {lowest} to below {below}, found {found}: install one, or run `make venv`")


try:
    with _without_stderr():
        import keras
except ImportError as error:
    raise ImportError(f"Keras and TensorFlow cannot be imported ({error}): run `make venv`, and use its Python") from error
_check("keras", keras.__version__)
if keras.backend.backend() == "tensorflow":
    _check("tensorflow", sys.modules["tensorflow"].__version__)


def copy_state(model, other):
    """Give a network the weights of `model`, which has the same layers, and the states of its random numbers, for dropout.

    Raises:
        ValueError: if the two differ in the number of their variables, or in a shape.
    """
    for theirs, ours in zip(model.variables, other.variables, strict=True):
        ours.assign(theirs)


__all__ = ["copy_state", "keras"]
