"""Many runs: real Dask clusters on this machine, and processes killed at the worst moment."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import psutil
import pytest
import samples
from distributed import Client

from tumor_mri.datasets import manifests
from tumor_mri.evaluation import scoring
from tumor_mri.runs import cluster, environment, records

TINY = replace(samples.TINY, epochs=3)
SEEDS = [replace(TINY, seed=seed) for seed in (1, 2, 3)]
NAN = replace(TINY, learning_rate=float("nan"))
DEADLINE = 1200  # seconds until a process that hangs is given up; not a measure of anything
slow = pytest.mark.slow


def wait_for(condition, what):
    for _ in range(10 * DEADLINE):
        if found := condition():
            return found
        time.sleep(0.1)
    return pytest.fail(f"waited in vain for {what}")


def whole_records(folder):
    return {run.config: run for run in records.load_all(folder)}


def test_recorded_runs_are_read_and_never_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "_spread", lambda *arguments: pytest.fail("trained"))
    for config in SEEDS:
        records.save(samples.empty_run(config), tmp_path)
    assert [run.config for run in cluster.complete(SEEDS[::-1], [tmp_path])] == SEEDS[::-1]


def test_a_folder_that_cannot_be_written_stops_a_study_before_it_trains(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(records.RecordError, match="cannot be written"):
        cluster.complete([TINY], [tmp_path / "file" / "below"])


def test_the_bar_counts_runs_and_epochs(capsys):
    with cluster._Progress("tiny", SEEDS) as progress:
        progress.on_epoch((0.0, {"key": SEEDS[0].key, "epoch": 3, "loss": 0.5, "accuracy": 0.75, "val_accuracy": 0.625}))
        progress.on_epoch((0.0, {"key": SEEDS[1].key, "epoch": 0}))
        progress.on_epoch((0.0, {"key": "of another study", "epoch": 3}))
        assert progress.bar.n == pytest.approx(1)
        progress.on_end(SEEDS[0], failed=False)
        progress.on_end(SEEDS[2], failed=True)
        assert progress.bar.n == 2
    said = capsys.readouterr().err
    assert "1 of 3 runs done, 1 running, 1 failed" in said
    assert "left, last epoch: loss 0.500, accuracy 0.750, validation 0.625" in said


def test_a_cluster_that_is_not_there_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(cluster, "PATIENCE", 1)
    with pytest.raises(cluster.StudyError, match="no scheduler answers at tcp://127.0.0.1:9"):
        cluster.complete([TINY], [tmp_path], scheduler="tcp://127.0.0.1:9")


def test_workers_share_the_cores_and_keep_their_memory(monkeypatch):
    monkeypatch.setattr(environment, "cpu_count", lambda: 4)
    kept = cluster.KEEP_MEMORY
    names = ["OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", *kept]
    with cluster._local_cluster(2, 5) as workers, Client(workers) as client:
        seen = client.run(lambda: [os.environ[name] for name in names])
        assert list(client.nthreads().values()) == [1, 1]
    assert list(seen.values()) == [["2", "2", *map(str, kept.values())]] * 2


@slow
@pytest.mark.needs_dataset
def test_a_failing_run_is_reported_and_the_others_are_kept(tmp_path):
    with pytest.raises(cluster.StudyError, match=f"1 of 3 runs failed.*{NAN.key}: the training loss became nan in epoch 1"):
        cluster.complete([NAN, *SEEDS[:2]], [tmp_path], workers=2)
    kept = whole_records(tmp_path)
    assert set(kept) == set(SEEDS[:2])
    for run in kept.values():
        scoring.check(run, manifests.load_manifest())
    assert cluster.complete(SEEDS[:2], [tmp_path])[0].history == kept[SEEDS[0]].history


@pytest.fixture
def dask_cluster(tmp_path):
    """A scheduler as a process of its own on loopback, and a function that starts a worker; all are ended afterwards."""
    processes = []

    def start(program, *arguments):
        command = [sys.executable, "-m", f"distributed.cli.dask_{program}", *arguments]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        processes.append(subprocess.Popen(command, cwd=tmp_path, env=os.environ | {"OMP_NUM_THREADS": "1"}, **quiet))
        return processes[-1]

    contact = tmp_path / "scheduler.json"
    start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(contact))
    wait_for(contact.is_file, "the scheduler")
    with Client(scheduler_file=str(contact), timeout=DEADLINE) as client:
        address = client.scheduler.address
        yield SimpleNamespace(
            client=client,
            address=address,
            start_worker=lambda threads=1: start("worker", address, "--no-nanny", "--no-dashboard", "--nthreads", str(threads)),
        )
    for process in processes:
        process.kill()
        process.wait()


def test_a_cluster_without_workers_or_with_threads_is_one_sentence(dask_cluster, monkeypatch, tmp_path):
    monkeypatch.setattr(cluster, "PATIENCE", 1)
    with pytest.raises(cluster.StudyError, match="has no workers: start some"):
        cluster.complete([TINY], [tmp_path / "runs"], scheduler=dask_cluster.address)
    dask_cluster.start_worker(threads=2)
    dask_cluster.client.wait_for_workers(1, timeout=DEADLINE)
    with pytest.raises(cluster.StudyError, match="2 threads"):
        cluster.complete([TINY], [tmp_path / "runs"], scheduler=dask_cluster.address)


@slow
@pytest.mark.needs_dataset
def test_a_worker_killed_in_the_middle_of_a_run_costs_nothing_but_time(dask_cluster, tmp_path):
    workers = [dask_cluster.start_worker(), dask_cluster.start_worker()]
    dask_cluster.client.wait_for_workers(2, timeout=DEADLINE)
    longer = [replace(TINY, epochs=10, seed=seed) for seed in (1, 2, 3)]
    result = []
    arguments = (longer, [tmp_path / "runs"], dask_cluster.address)
    thread = threading.Thread(target=lambda: result.extend(cluster.complete(*arguments)), daemon=True)
    thread.start()

    def said():
        return [event for _, event in dask_cluster.client.get_events(cluster.TOPIC)]

    wait_for(lambda: any(event["epoch"] >= 1 for event in said()), "a first epoch")
    workers[0].send_signal(signal.SIGKILL)
    thread.join(DEADLINE)
    assert [run.config for run in result] == longer
    assert set(whole_records(tmp_path / "runs")) == set(longer)
    assert all(set(cluster.SHOWN) <= set(event) for event in said() if event["epoch"] > 0)
    told = Counter((event["key"], event["epoch"]) for event in said())
    assert sum(count - 1 for count in told.values()) <= 1  # the interrupted run went on where it was: no epoch is trained twice


STUDY = """
import sys
from dataclasses import replace
from tumor_mri.runs import cluster, configs
tiny = configs.RunConfig("training_only", widths=(4, 4, 4, 4), epochs=3, train_images=64)
cluster.complete([replace(tiny, seed=seed) for seed in (1, 2, 3)], [sys.argv[1]], workers=1)
"""


@slow
@pytest.mark.needs_dataset
def test_a_study_killed_after_its_first_run_goes_on_with_the_second(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", STUDY, str(tmp_path)], stderr=subprocess.DEVNULL)
    wait_for(lambda: list(tmp_path.glob("*.npz")), "a first record")
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    first = whole_records(tmp_path)
    assert 1 <= len(first) < 3
    _, alive = psutil.wait_procs(family, timeout=60)
    assert not alive  # no worker outlives its study
    cluster.complete(SEEDS, [tmp_path], workers=1)
    second = whole_records(tmp_path)
    assert set(second) == set(SEEDS)
    assert all(second[config].seconds == run.seconds for config, run in first.items())  # none was repeated


def test_runs_of_several_versions_are_said_to_be(capsys):
    runs = [SimpleNamespace(environment={"keras": version, "tensorflow": "2.21.0"}) for version in ("3.10.0", "3.15.1")]
    cluster._note_versions(runs)
    assert capsys.readouterr().err == "Note: these runs were trained with keras 3.10.0, 3.15.1\n"
    cluster._note_versions(runs[:1])
    assert capsys.readouterr().err == ""
