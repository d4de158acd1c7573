"""The state of an unfinished run, after each epoch: a run that was stopped goes on where it was, and gives the same record.

A checkpoint is one file in NumPy's format, without pickled objects. It is deleted once its run has ended.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tumor_mri import text
from tumor_mri.datasets import manifests
from tumor_mri.runs import configs, environment

if TYPE_CHECKING:
    import keras

FOLDER = manifests.ROOT / "build" / "checkpoints"  # of runs on this machine, ignored by git


def path_of(config: configs.RunConfig, folder: Path | str = FOLDER) -> Path:
    """The file that holds the state of a run."""
    return Path(folder) / f"{config.key}.npz"


def computed_by(images: np.ndarray, rows: np.ndarray, architecture: str) -> dict[str, Any]:
    """What has to be the same for a run to go on: with another version, processor or network it would give another record.

    Args:
        images: of the dataset, uint8.
        rows: of the training and validation images.
        architecture: digest of the network, see `fingerprint.describe`.
    """
    from tumor_mri._keras import keras

    return {
        "keras": version("keras"),
        "backend": keras.backend.backend(),
        "processor": environment.processor_name(),
        "commit": environment.commit(),
        "inputs": hashlib.sha256(images.tobytes() + rows.tobytes()).hexdigest(),
        "architecture": architecture,
    }


def read(path: Path | str, by: dict[str, Any]) -> dict[str, Any] | None:
    """The state in a file; None if there is no file, it is damaged, or something else computed it.

    Args:
        path: see `path_of`.
        by: what computes now, see `computed_by`.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        state = json.loads(str(arrays.pop("about")))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return state | {"arrays": arrays} if state.pop("computed_by", None) == by else None


def next_epoch(state: dict[str, Any] | None, patience: int | None, epochs: int) -> int:
    """The epoch with which a run goes on, counted from 0; `epochs` if it was stopped between its last epoch and its record."""
    if state is None:
        return 0
    has_ended = patience is not None and state["stopping"]["wait"] >= patience
    return epochs if has_ended else state["epochs"]


def callback(
    path: Path | str | None,
    state: dict[str, Any] | None,
    by: dict[str, Any],
    validator: keras.callbacks.Callback,
    stopping: keras.callbacks.EarlyStopping | None,
) -> keras.callbacks.Callback:
    """A callback that writes the state of a run after each epoch, and puts an earlier one back at the start.

    Its `history` has the logs of all epochs, also of those before a stop. It has to come after the callbacks whose state it
    keeps: they reset themselves when the training begins.

    Args:
        path: see `path_of`; None to write nothing.
        state: what `read` gave.
        by: what computes now, see `computed_by`.
        validator: keeps the predicted classes of each epoch in `classes`.
        stopping: ends the training; None if nothing does.
    """
    from tumor_mri._keras import keras

    class Checkpoint(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.history = dict(state["history"]) if state else {}

        def on_train_begin(self, logs=None):
            if state:
                _put_back(state, self.model, validator, stopping)

        def on_epoch_end(self, epoch, logs=None):
            for name, value in logs.items():
                self.history.setdefault(name, []).append(float(value))
            if path is not None:
                about = {"epochs": epoch + 1, "history": self.history, "computed_by": by}
                _write(path, about, self.model, validator, stopping)

    return Checkpoint()


def _variables(model):
    """All that an epoch changes: weights, states of random generators, and the optimizer's."""
    return [*model.variables, *model.optimizer.variables]


def _write(path, about, model, validator, stopping):
    arrays = {f"variable{number}": np.asarray(value) for number, value in enumerate(_variables(model))}
    arrays["classes"] = np.array(validator.classes)
    if stopping is not None:
        about["stopping"] = {name: getattr(stopping, name) for name in ("wait", "best", "best_epoch")}
        if stopping.best_weights is not None:
            arrays |= {f"best{number}": np.asarray(value) for number, value in enumerate(stopping.best_weights)}
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with text.whole(path) as temporary, temporary.open("wb") as file:
        np.savez(file, about=json.dumps(about, default=float), **arrays)


def _put_back(state, model, validator, stopping):
    arrays = state["arrays"]
    model.optimizer.build(model.trainable_variables)
    for number, variable in enumerate(_variables(model)):
        variable.assign(arrays[f"variable{number}"])
    validator.classes = list(arrays["classes"])
    if stopping is not None:
        for name, value in state["stopping"].items():
            setattr(stopping, name, value)
        count = sum(name.startswith("best") for name in arrays)
        stopping.best_weights = [arrays[f"best{number}"] for number in range(count)] or None
