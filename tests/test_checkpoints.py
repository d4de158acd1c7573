"""Checkpoints within a run: what was stopped goes on, and gives the same record."""

from dataclasses import replace

import numpy as np
import pytest
import samples

from tumor_mri.runs import checkpoints, training


class StoppedError(Exception):
    """In place of a lost machine."""


def stop_after(epochs):
    def report(done, logs):
        if done == epochs:
            raise StoppedError

    return report


def train(config, noise, manifest, **settings):
    return training.train(config, noise, manifest, **({"progress": False} | settings))


@pytest.mark.parametrize("patience", [None, 2])
def test_a_stopped_run_gives_the_record_of_one_that_was_not(noise, manifest, tmp_path, patience):
    config = replace(samples.TINY, epochs=4, patience=patience)
    path, told = checkpoints.path_of(config, tmp_path), []
    with pytest.raises(StoppedError):
        train(config, noise, manifest, progress=stop_after(2), checkpoint=path)
    resumed = train(config, noise, manifest, progress=lambda done, logs: told.append(done), checkpoint=path)
    whole = train(config, noise, manifest)
    assert told[:2] == [2, 3]  # nothing was trained twice
    for name in ("loss", "accuracy", "val_accuracy"):
        assert resumed.history[name] == whole.history[name]
    assert np.array_equal(resumed.val_classes, whole.val_classes)
    assert np.array_equal(resumed.test_probabilities, whole.test_probabilities)
    assert resumed.seconds > sum(resumed.history["seconds"])


def test_a_run_stopped_between_its_last_epoch_and_its_record_trains_no_more(noise, manifest, tmp_path):
    config = replace(samples.TINY, epochs=9, patience=1)
    path = tmp_path / "state.npz"
    whole = train(config, noise, manifest, checkpoint=path)
    assert whole.epochs_run < 9
    resumed = train(config, noise, manifest, checkpoint=path)
    assert resumed.epochs_run == whole.epochs_run
    assert np.array_equal(resumed.test_probabilities, whole.test_probabilities)


def test_what_something_else_computed_is_not_gone_on_with(noise, manifest, tmp_path):
    path, told = tmp_path / "state.npz", []
    with pytest.raises(StoppedError):
        train(samples.TINY, noise, manifest, progress=stop_after(1), checkpoint=path)
    for other in (noise[:, ::-1].copy(), None):
        if other is None:
            path.write_bytes(b"not a checkpoint")
        told.clear()
        train(
            samples.TINY, noise if other is None else other, manifest, progress=lambda done, _: told.append(done), checkpoint=path
        )
        assert told[0] == 0  # from the beginning
