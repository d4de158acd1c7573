"""Records of runs: whole or refused, never overwritten unasked, small, and read without TensorFlow."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import samples

from tumor_mri.runs import records


def test_records_round_trip(run, tmp_path):
    path = records.save(run, tmp_path)
    back = records.load(path)
    assert (back.config, back.history, back.val_paths) == (run.config, run.history, run.val_paths)
    for name in records.ARRAYS:
        assert np.array_equal(getattr(back, name), getattr(run, name))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_records_are_not_overwritten_unless_asked(run, tmp_path):
    records.save(run, tmp_path)
    with pytest.raises(FileExistsError):
        records.save(run, tmp_path)
    records.save(run, tmp_path, overwrite=True)
    assert len(list(tmp_path.iterdir())) == 1


def test_only_what_dead_writers_left_is_swept(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left, being_written, elsewhere = (
        tmp_path / name
        for name in (f"{records._writing()}{dead.pid}-a", f"{records._writing()}{os.getpid()}-b", f".writing-other-{dead.pid}-c")
    )
    for path in (left, being_written, elsewhere):
        path.write_bytes(b"half a record")
    records.sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([being_written, elsewhere])
    records.sweep(tmp_path / "nowhere")


def test_damage_anywhere_is_found(run, tmp_path):
    path = records.save(run, tmp_path)
    whole = path.read_bytes()
    original = records.load(path)
    for position in range(0, len(whole), 11):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        try:
            harmless = records._digest({}, {n: getattr(records.load(path), n) for n in records.ARRAYS})
        except records.RecordError:
            continue
        # bytes of the container that carry no content may change: the content must be what it was
        assert harmless == records._digest({}, {n: getattr(original, n) for n in records.ARRAYS})
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(records.RecordError, match="damaged"):
        records.load(path)


@pytest.mark.parametrize("about", [[1], {"format": 99}, {"format": 1}, {}], ids=str)
def test_foreign_and_later_records_are_refused(about, tmp_path):
    path = tmp_path / "foreign.npz"
    np.savez(path, about=np.frombuffer(json.dumps(about).encode(), dtype=np.uint8))
    with pytest.raises(records.RecordError, match="no record|format 99|damaged"):
        records.load(path)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(records.RecordError, match="no record"):
        records.load(path)


def test_missing_and_unwritable_are_one_clear_sentence(run, tmp_path):
    with pytest.raises(records.RecordError, match="no record"):
        records.load(tmp_path / "absent.npz")
    (tmp_path / "file").write_text("")
    with pytest.raises(records.RecordError, match="could not be recorded"):
        records.save(run, tmp_path / "file" / "below")


def test_a_record_says_what_was_left_out(residual_run, tmp_path):
    config = replace(samples.TINY_OURS, without="geometry")
    back = records.load(records.save(replace(residual_run, config=config), tmp_path))
    assert back.config == config and back.config.key != samples.TINY_OURS.key
    assert back.label == f"{samples.TINY_OURS.label} without geometry"


def test_mirrored_scans_are_recorded_and_come_back(residual_run, small_noise, manifest, tmp_path):
    assert (
        residual_run.val_flipped.shape == residual_run.val_probabilities.shape
        and residual_run.test_flipped.shape == residual_run.test_probabilities.shape
    )
    assert not np.allclose(residual_run.test_flipped, residual_run.test_probabilities)
    back = records.load(records.save(residual_run, tmp_path))
    assert np.array_equal(back.val_flipped, residual_run.val_flipped) and np.array_equal(
        back.test_flipped, residual_run.test_flipped
    )


def test_records_are_small_and_load_fast_without_tensorflow():
    assert sum(path.stat().st_size for path in records.RECORDED.glob("*")) < 13e6
    sizes = [path.stat().st_size for path in records.RECORDED.glob("**/*.npz")]
    assert sum(sizes) < 40_000 * len(sizes) and max(sizes) < records.RECORD_SIZE
    started = time.process_time()
    records.load_all(records.RECORDED)
    assert time.process_time() - started < 5  # seconds of processor; 0.2 where this was written
    code = (
        "import sys; from tumor_mri.runs import records; records.load_all(records.RECORDED); print('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


def test_a_run_that_cannot_be_recorded_is_kept_elsewhere(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(records.tempfile, "gettempdir", lambda: str(tmp_path))
    with pytest.raises(records.RecordError, match="could not be recorded .* kept as"):
        records.keep(samples.empty_run(samples.TINY), tmp_path / "file" / "below")
    assert [run.config for run in records.load_all(tmp_path / "tumor_mri-runs")] == [samples.TINY]


def test_what_another_process_has_recorded_is_left_alone(tmp_path):
    records.save(samples.empty_run(samples.TINY), tmp_path)
    before = records.path_of(samples.TINY, tmp_path).read_bytes()
    records.keep(replace(samples.empty_run(samples.TINY), seconds=2.0), tmp_path)
    assert records.path_of(samples.TINY, tmp_path).read_bytes() == before


@pytest.mark.parametrize(
    "change",
    [
        {"history": {"accuracy": [0.5], "val_accuracy": [0.5]}},
        {"history": {}},
        {"history": {"accuracy": "x", "val_accuracy": "y"}},
        {"history": None},
        {"seconds": "long"},
        {"environment": []},
        {"environment": {"backend": "tensorflow"}},
    ],
    ids=str,
)
def test_a_forged_record_whose_digest_fits_is_one_sentence(run, change, tmp_path):
    forged = replace(run, **change)
    with pytest.raises(records.RecordError, match="describes a run that this version does not know"):
        records.decode(records.encode(forged), "forged")
