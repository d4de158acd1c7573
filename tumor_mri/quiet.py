"""Keras, imported without the lines that TensorFlow's native code writes to the screen on import.

They are written before any log level applies, straight to the file descriptor, so that only closing it keeps them out of
notebooks: ``from tumor_mri.quiet import keras``.
"""

import contextlib
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
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


with _without_stderr():
    import keras

__all__ = ["keras"]
