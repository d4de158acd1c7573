"""Many runs: named tables of them, read from records where they are recorded and trained where they are not.

Dask spreads the trainings, over the cores of this machine or over a cluster that is there. A worker needs this package and its
own way to the images; it sends back the bytes of a record, and only the client writes. So a study may be stopped at any moment:
what is recorded stays, and the same call trains what is missing.
"""

import asyncio
import contextlib
import threading
from pathlib import Path

from tqdm.auto import tqdm

from tumor_mri import text
from tumor_mri.runs import environment, records, training

MEMORY_OF_A_RUN = 2.5e9  # bytes, measured and rounded up
PATIENCE = 30  # seconds to wait for a scheduler's workers
TOPIC = "tumor_mri.epoch"
SHOWN = {"loss": "loss", "accuracy": "accuracy", "val_accuracy": "validation"}  # of the epoch that ended last, in the bar
# glibc gives large blocks back and takes them anew at each step, page by page, and Dask asks it to do so eagerly: measured, a
# step then takes 1.3 times as long as with memory kept
KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": 1 << 34, "MALLOC_MMAP_THRESHOLD_": 1 << 32}
BAR = "{desc} {percentage:3.0f} %|{bar}| {elapsed} so far, at most {remaining} left{postfix}"


class StudyError(text.ProjectError):
    """A study that lacks runs, or a cluster that cannot train them; the text names each and its reason."""


def complete(wanted, folders, scheduler=None, workers=None, title="runs") -> list:
    """Runs, read where they are recorded, and trained and recorded where they are not.

    Args:
        wanted: list of `training.RunConfig`.
        folders: where records may be; new ones go into the last.
        scheduler: address of a Dask scheduler, such as ``tcp://host:8786``; None for workers on this machine.
        workers: how many runs to train side by side on this machine; None for one on a GPU, else one a core, memory permitting.
        title: for the progress bar.

    Returns:
        list of `training.Run`, in the order of `wanted`.

    Raises:
        StudyError: where runs failed, or there are no workers. Runs that did not fail are recorded.
        records.RecordError: where a record is damaged, or none can be written.
    """
    records.sweep(folders[-1])
    runs = {config: records.find(config, folders) for config in wanted}
    missing = [config for config, found in runs.items() if found is None]
    if missing:
        runs |= _spread(missing, Path(folders[-1]), scheduler, workers, title)
    return [runs[config] for config in wanted]


def _spread(missing, folder, scheduler, workers, title):
    """Train runs on a cluster and record each as it comes, as a dict by configuration."""
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
            except Exception as error:  # whatever ends one run, the others go on
                failures[config] = _reason(error)
            progress.on_end(config, failed=config in failures)
    if failures:
        reasons = "; ".join(f"{config.key}: {reason}" for config, reason in failures.items())
        raise StudyError(
            f"{len(failures)} of {len(missing)} runs failed, the others are recorded. {reasons}. The same call tries them again"
        )
    return runs


def _local_cluster(workers, run_count):
    """One worker process a run, the cores shared among them: on few cores that beats one run on all of them."""
    import dask
    from distributed import LocalCluster

    if workers is None:
        workers = 1 if environment.gpu_capabilities() else max(1, min(environment.cpu_count(), int(_memory() // MEMORY_OF_A_RUN)))
    workers = min(workers, run_count)
    threads = max(1, environment.cpu_count() // workers)
    settings = {"distributed.nanny.pre-spawn-environ": {**KEEP_MEMORY, **_thread_variables(threads)}}
    settings["distributed.scheduler.worker-saturation"] = 1.0  # no run waits on a busy worker while another is idle
    with dask.config.set(settings):
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,  # seeds and precision are set for the whole process
            memory_limit=None,
            dashboard_address=None,
            silence_logs="CRITICAL",
        )


def _thread_variables(threads):
    return dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"), threads) | {"TF_NUM_INTEROP_THREADS": 1}


def _memory():
    import psutil

    return psutil.virtual_memory().available


def _connect(client_class, address):
    """A client of a cluster whose workers train one run at a time.

    Raises:
        StudyError: where there is no scheduler, no worker, or one of several threads.
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
    except (TimeoutError, asyncio.TimeoutError):  # two classes before Python 3.11
        client.close()
        raise StudyError(f"the scheduler at {address} has no workers: start some, each with {start_one}") from None
    except StudyError:
        client.close()
        raise
    return client


_ONE_AT_A_TIME = threading.Lock()  # for a worker that joins later, with several threads


def _train_on_worker(config):
    """Train one run in a worker process; the bytes of its record."""
    from distributed import get_worker

    worker = get_worker()

    def report(epoch, logs):
        said = {name: float(logs[name]) for name in SHOWN if name in logs}
        worker.log_event(TOPIC, {"key": config.key, "epoch": epoch, **said})

    with _ONE_AT_A_TIME:
        return records.encode(training.train(config, progress=report))


def _reason(error):
    from distributed.scheduler import KilledWorker

    if isinstance(error, KilledWorker):
        return "its worker died again and again, perhaps for lack of memory"
    return " ".join(str(error).split())[:300] or type(error).__name__


class _Progress:
    """One bar over all runs of a study: done, running, failed, and the most time that is left."""

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
        """A worker has begun a run (epoch 0), or ended an epoch; called by Dask, with the time and what the worker says."""
        _, said = event
        if said["key"] in self.limits:
            self.epochs[said["key"]] = said["epoch"]
            figures = [f"{shown} {said[name]:.3f}" for name, shown in SHOWN.items() if name in said]
            if figures:
                self.bar.set_postfix_str(f"last epoch: {', '.join(figures)}", refresh=False)
            self._draw()

    def on_end(self, config, failed):
        self.ended[config.key] = failed
        self._draw()

    def _draw(self):
        running = {key: epoch for key, epoch in self.epochs.items() if key not in self.ended}
        failed = sum(self.ended.values())
        self.bar.n = len(self.ended) + sum(epoch / self.limits[key] for key, epoch in running.items())
        done = f"{len(self.ended) - failed} of {len(self.limits)} runs done"
        self.bar.set_description_str(f"{self.title}: {done}, {len(running)} running, {failed} failed", refresh=False)
        self.bar.refresh()
