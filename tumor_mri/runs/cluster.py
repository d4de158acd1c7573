"""Many runs: those that are recorded are loaded, the others are trained and recorded.

Dask distributes the trainings over the cores of this machine, or over an existing cluster. A worker needs this package and access
to the images. It sends back the bytes of a record, and only the client writes files. A study can be stopped at any time: recorded
runs are kept, and the same call trains the missing ones.
"""

import asyncio
import contextlib
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from tqdm.auto import tqdm

from tumor_mri import text
from tumor_mri.runs import checkpoints, configs, environment, records, training

MEMORY_PER_RUN = 2.5e9  # bytes, measured for the report's network and rounded up
PATIENCE = 30  # seconds to wait for the scheduler and its workers
TOPIC = "tumor_mri.epoch"
SHOWN = {"loss": "loss", "accuracy": "accuracy", "val_accuracy": "validation"}  # metrics of the last epoch that the bar shows
# By default, and more often under Dask, glibc returns large blocks of memory to the system after each training step and
# requests them again for the next one. Measured: a step then takes 1.3 times as long as with these settings, which keep the
# memory. The last three matter for networks with large maps: an arena of its own for each thread returns blocks above 64 MB
# whatever the thresholds, and large pages need fewer entries. Measured: a step of lite0 takes 0.85 times as long with them, one
# of the report's network as long as without.
KEEP_MEMORY = {
    "MALLOC_TRIM_THRESHOLD_": 1 << 34,
    "MALLOC_MMAP_THRESHOLD_": 1 << 32,
    "MALLOC_ARENA_MAX": 1,
    "MALLOC_TOP_PAD_": 1 << 28,
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
BAR = "{desc} {percentage:3.0f} %|{bar}| {elapsed} so far, at most {remaining} left{postfix}"


class StudyError(text.ProjectError):
    """A study lacks runs, or a cluster cannot train them; the message gives the reason for each run."""


def complete(
    wanted: Sequence[configs.RunConfig],
    folders: Sequence[Path | str],
    scheduler: str | None = None,
    workers: int | None = None,
    title: str = "runs",
) -> list[configs.Run]:
    """Load the runs that are recorded; train and record the others.

    Args:
        wanted: the configurations of the runs.
        folders: folders to search for records; new records are written into the last one.
        scheduler: address of a Dask scheduler, such as ``tcp://host:8786``; None starts workers on this machine.
        workers: how many runs to train at the same time on this machine; None for one on a GPU, otherwise one per core if memory
            allows.
        title: title of the progress bar.

    Returns:
        The runs, in the order of `wanted`.

    Raises:
        StudyError: if runs failed, or there are no workers. Runs that did not fail are recorded.
        records.RecordError: if a record is damaged, or cannot be written.
    """
    records.sweep(folders[-1])
    runs = {config: records.find(config, folders) for config in wanted}
    missing = [config for config, found in runs.items() if found is None]
    if missing:
        runs |= _spread(missing, Path(folders[-1]), scheduler, workers, title)
    _note_versions(runs.values())
    return [runs[config] for config in wanted]


def _note_versions(runs):
    """Say so if runs were trained with different versions of what computes them: their difference may not be the networks'."""
    for library in ("keras", "tensorflow", "jax"):
        versions = {run.environment.get(library) for run in runs} - {None}
        if len(versions) > 1:
            print(f"Note: these runs were trained with {library} {', '.join(sorted(versions))}", file=sys.stderr)


def _spread(missing, folder, scheduler, workers, title):
    """Train runs on a cluster and record each as soon as it ends; a dict from configurations to runs."""
    from distributed import Client, as_completed

    records.check_writable(folder)
    runs, failures = {}, {}
    with contextlib.ExitStack() as stack:
        address = scheduler or stack.enter_context(_local_cluster(workers, len(missing)))
        client = stack.enter_context(_connect(Client, address))
        progress = stack.enter_context(_Progress(title, missing))
        client.subscribe_topic(TOPIC, progress.on_epoch)
        futures = {client.submit(_train_on_worker, config, key=config.key): config for config in missing}
        for future in as_completed(futures):
            config = futures[future]
            try:
                runs[config] = records.keep(records.decode(future.result(), config.key), folder)
            except Exception as error:  # any error ends only this run; the others continue
                failures[config] = _reason(error)
            progress.on_end(config, failed=config in failures)
    if failures:
        reasons = "; ".join(f"{config.key}: {reason}" for config, reason in failures.items())
        raise StudyError(
            f"{len(failures)} of {len(missing)} runs failed, the others are recorded. {reasons}. The same call tries them again"
        )
    return runs


def _local_cluster(workers, run_count):
    """One worker process per run; they share the cores. With few cores this is faster than one run on all of them."""
    import dask
    from distributed import LocalCluster

    if workers is None:
        workers = 1 if environment.gpu_capabilities() else max(1, min(environment.cpu_count(), int(_memory() // MEMORY_PER_RUN)))
    workers = min(workers, run_count)
    threads = max(1, environment.cpu_count() // workers)
    settings = {"distributed.nanny.pre-spawn-environ": {**KEEP_MEMORY, **_thread_variables(threads)}}
    settings["distributed.scheduler.worker-saturation"] = 1.0  # a run never waits for a busy worker while another worker is idle
    with dask.config.set(settings):
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,  # because seeds and precision are set for the whole process
            memory_limit=None,
            dashboard_address=None,
            silence_logs="CRITICAL",
        )


def _thread_variables(threads):
    return dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"), threads) | {"TF_NUM_INTEROP_THREADS": 1}


def _memory():
    """Available memory in bytes."""
    import psutil

    return psutil.virtual_memory().available


def _connect(client_class, address):
    """A client of a cluster whose workers train one run at a time.

    Raises:
        StudyError: if there is no scheduler, no worker, or a worker with several threads.
    """
    try:
        client = client_class(address, timeout=PATIENCE)
    except OSError as error:
        raise StudyError(f"no scheduler answers at {address}: start one with `dask scheduler` ({_reason(error)})") from error
    start_one = f"`dask worker {client.scheduler.address} --nthreads 1`"
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
        threads = client.nthreads()
        if max(threads.values()) > 1:
            raise StudyError(f"a worker has {max(threads.values())} threads, but can train one run at a time: use {start_one}")
    except (TimeoutError, asyncio.TimeoutError):  # two different classes before Python 3.11
        client.close()
        raise StudyError(f"the scheduler at {address} has no workers: start some, each with {start_one}") from None
    except StudyError:
        client.close()
        raise
    return client


_ONE_AT_A_TIME = threading.Lock()  # in case a worker with several threads joins later


def _train_on_worker(config):
    """Train one run in a worker process, and return the bytes of its record."""
    from distributed import get_worker

    worker = get_worker()

    def report(epoch, logs):
        metrics = {name: float(logs[name]) for name in SHOWN if name in logs}
        worker.log_event(TOPIC, {"key": config.key, "epoch": epoch, **metrics})

    checkpoint = checkpoints.path_of(config)
    with _ONE_AT_A_TIME:
        content = records.encode(training.train(config, progress=report, checkpoint=checkpoint))
    checkpoint.unlink(missing_ok=True)
    return content


def _reason(error):
    from distributed.scheduler import KilledWorker

    if isinstance(error, KilledWorker):
        return "its worker died again and again, perhaps for lack of memory"
    return " ".join(str(error).split())[:300] or type(error).__name__


class _Progress:
    """One bar for all runs of a study: done, running, failed, and an upper bound of the remaining time."""

    def __init__(self, title, wanted):
        self.title = title
        self.limits = {config.key: config.epochs for config in wanted}
        self.epochs = {}
        self.ended = {}

    def __enter__(self):
        self.bar = tqdm(total=len(self.limits), bar_format=BAR)
        self._draw()
        return self

    def __exit__(self, *error):
        self.bar.close()

    def on_epoch(self, event):
        """Called by Dask with the time and a worker's message, when the worker has started a run (epoch 0) or ended an epoch."""
        _, message = event
        if message["key"] in self.limits:
            self.epochs[message["key"]] = message["epoch"]
            metrics = [f"{shown} {message[name]:.3f}" for name, shown in SHOWN.items() if name in message]
            if metrics:
                self.bar.set_postfix_str(f"last epoch: {', '.join(metrics)}", refresh=False)
            self._draw()

    def on_end(self, config, failed):
        """Called when a run has ended."""
        self.ended[config.key] = failed
        self._draw()

    def _draw(self):
        running = {key: epoch for key, epoch in self.epochs.items() if key not in self.ended}
        failed = sum(self.ended.values())
        self.bar.n = len(self.ended) + sum(epoch / self.limits[key] for key, epoch in running.items())
        done = f"{len(self.ended) - failed} of {len(self.limits)} runs done"
        self.bar.set_description_str(f"{self.title}: {done}, {len(running)} running, {failed} failed", refresh=False)
        self.bar.refresh()
