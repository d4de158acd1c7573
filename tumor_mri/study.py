"""Many runs: named tables of them, read from records where they are recorded and trained where they are not.

Dask spreads the trainings, over the cores of this machine or over a cluster that is there. A worker needs this package and its
own way to the images; it sends back the bytes of a record, and only the client writes. So a study may be stopped at any moment:
what is recorded stays, and the same call trains what is missing.
"""

import asyncio
import contextlib
import os
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

from tqdm.auto import tqdm

from tumor_mri import dataset, machine, network, protocols, recipe, records, training

RECORDED = dataset.DATA / "results"  # committed: what the notebooks' figures come from
LOCAL = dataset.ROOT / "build" / "runs"  # trained here, ignored by git
SEEDS = (1, 2, 3, 4, 5)  # of the networks that carry the story
FEWER_SEEDS = (1, 2, 3)  # of the report's wider networks
ONE_SEED = (1,)  # where folds, or images swapped, take the place of seeds
MEMORY_OF_A_RUN = 2.5e9  # bytes, measured and rounded up
PATIENCE = 30  # seconds to wait for a scheduler's workers
TOPIC = "tumor_mri.epoch"
SHOWN = {"loss": "loss", "accuracy": "accuracy", "val_accuracy": "validation"}  # of the epoch that ended last, in the bar
# glibc gives large blocks back and takes them anew at each step, page by page, and Dask asks it to do so eagerly: measured, a
# step then takes 1.3 times as long as with memory kept
KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": 1 << 34, "MALLOC_MMAP_THRESHOLD_": 1 << 32}
BAR = "{desc} {percentage:3.0f} %|{bar}| {elapsed} so far, at most {remaining} left{postfix}"


def _configs(protocol, widths, seeds=SEEDS, **settings):
    return [training.RunConfig(protocol, widths=widths, seed=seed, **settings) for seed in seeds]


def _under(settings, *asked):
    """Runs of one network under several protocols, each asked for as its name, how many folds, and seeds."""
    return [
        config
        for protocol, folds, seeds in asked
        for fold in range(folds)
        for config in _configs(protocol, seeds=seeds, fold=fold, **settings)
    ]


_A_BASE = _configs("testing_folder", network.BASE_WIDTHS)
_B_BASE = _configs("training_only", network.BASE_WIDTHS)
_A_CHOSEN = _configs("testing_folder", network.CHOSEN_WIDTHS)
_B_CHOSEN = _configs("training_only", network.CHOSEN_WIDTHS)
_A_MORE = _configs("testing_folder", network.MORE_WIDTHS, FEWER_SEEDS)
_B_MORE = _configs("training_only", network.MORE_WIDTHS, FEWER_SEEDS)
_B_SOME_MORE = _configs("training_only", network.SOME_MORE_WIDTHS, FEWER_SEEDS)
_SWEEP = _A_BASE + _A_MORE + _A_CHOSEN + _B_BASE + _B_MORE + _B_SOME_MORE + _B_CHOSEN
_GROUPED = [
    config
    for widths in (network.BASE_WIDTHS, network.CHOSEN_WIDTHS)
    for fold in range(protocols.GROUPED_FOLDS)
    for config in _configs("grouped", widths, ONE_SEED, fold=fold)
]
_FOREIGN = [config for fold in (0, 1) for config in _configs("foreign_added", network.BASE_WIDTHS, ONE_SEED, fold=fold)]
_B_BASE_EXACT = _configs("training_only", network.BASE_WIDTHS, precision="float32")
_OURS = _under(
    recipe.RESIDUAL,
    ("grouped", protocols.GROUPED_FOLDS, SEEDS),
    ("testing_folder", 1, SEEDS),
    ("training_only", 1, ONE_SEED),
)
_LONGER = _under(recipe.LONGER, ("grouped", protocols.GROUPED_FOLDS, (1, 2)), ("testing_folder", 1, SEEDS))
_ABLATION = [
    recipe.RESIDUAL,
    *({**recipe.RESIDUAL, "without": name} for name in recipe.INGREDIENTS),
    {"recipe": "prepared", "patience": None},
    {"recipe": "prepared", "patience": None, "without": "schedule"},  # with its own Adam
    {},  # the report's network and recipe
]
_ABLATED = [  # on two folds, not the one that chose the settings
    training.RunConfig("grouped", seed=1, fold=fold, **settings) for fold in (1, 2) for settings in _ABLATION
]

STUDIES = {
    "compare-splits": _A_BASE + _B_BASE,
    "sweep-widths": _SWEEP,
    "confusion-matrix": _B_CHOSEN,
    "gallery": [_B_BASE[0], _B_CHOSEN[0]],
    "foreign-gliomas": _FOREIGN + _B_BASE[: len(ONE_SEED)],  # the same seeds, with and without foreign gliomas
    "honest-evaluation": _SWEEP + _GROUPED,
    "precision": _B_BASE + _B_BASE_EXACT,  # a control: what bfloat16 costs
    "network-that-generalises": [config for config in _GROUPED if config.widths == network.BASE_WIDTHS] + _OURS,
    "twice-as-long": _LONGER,
    "ablation": _ABLATED,
}


class StudyError(Exception):
    """A study that lacks runs, or a cluster that cannot train them; the text names each and its reason."""


def configs(name) -> list:
    """The runs of a study.

    Raises:
        ValueError: for an unknown name.
    """
    if name not in STUDIES:
        raise ValueError(f"unknown study {name!r}: choose one of {', '.join(STUDIES)}")
    return STUDIES[name]


def run(name, retrain=False) -> list:
    """The runs of a study, in its order: a list of `training.Run`.

    Recorded runs are read; a run that is not recorded is trained and kept under ``build/runs``. With ``TUMOR_MRI_RETRAIN=smoke``
    in the environment, one tiny run of each network is trained instead: a test that training works, not a result. Where a record
    is lacking and `retrain` is not asked for, the run is trained in the precision of the others, whatever suits this machine.

    Args:
        name: a key of `STUDIES`.
        retrain: train every run here, leaving the committed records alone. Goes on where an earlier call stopped.

    Raises:
        StudyError: where runs failed; the others are recorded.
    """
    if os.environ.get("TUMOR_MRI_RETRAIN") == "smoke":
        return _smoke(name)
    if retrain:
        return train(name)
    return complete(configs(name), [RECORDED, LOCAL], title=name)


def recorded(name) -> list:
    """The committed runs of a study, in its order, without those that are not there yet: nothing is trained.

    Raises:
        records.RecordError: where a record is damaged.
    """
    return [run for run in (find(config, [RECORDED]) for config in configs(name)) if run is not None]


def train(name, record=False, scheduler=None, workers=None) -> list:
    """Train what a study still lacks, and return its runs.

    Args:
        name: a key of `STUDIES`.
        record: keep the runs with the committed records, in ``data/results``, and in the published precision; else under
            ``build/runs``, in the precision that suits this machine, on workers elsewhere too.
        scheduler, workers: see `complete`.

    Raises:
        StudyError: where runs failed; the others are recorded.
    """
    wanted = configs(name)
    if record:
        return complete(wanted, [RECORDED], scheduler, workers, name)
    if len({config.precision for config in wanted}) == 1:  # a study that compares precisions keeps them
        wanted = [replace(config, precision=machine.native_precision()) for config in wanted]
    return complete(wanted, [LOCAL], scheduler, workers, name)


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
    runs = {config: find(config, folders) for config in wanted}
    missing = [config for config, found in runs.items() if found is None]
    if missing:
        runs |= _spread(missing, Path(folders[-1]), scheduler, workers, title)
    return [runs[config] for config in wanted]


def find(config, folders):
    """The first record of a run in `folders`, or None.

    Raises:
        records.RecordError: where it is damaged.
    """
    paths = [records.path_of(config, folder) for folder in folders]
    return next((records.load(path) for path in paths if path.is_file()), None)


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
                runs[config] = keep(records.decode(future.result(), config.key), folder)
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
        workers = 1 if machine.gpu_capabilities() else max(1, min(machine.cpu_count(), int(_memory() // MEMORY_OF_A_RUN)))
    workers = min(workers, run_count)
    threads = max(1, machine.cpu_count() // workers)
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


def keep(run, folder):
    """Record a run. Where the folder has become full or unwritable, record it among temporary files rather than lose it."""
    try:
        records.save(run, folder)
    except FileExistsError:
        pass  # another process has recorded it meanwhile
    except records.RecordError as error:
        rescued = records.save(run, Path(tempfile.gettempdir()) / "tumor_mri-runs", overwrite=True)
        raise records.RecordError(f"{error}; it is kept as {rescued}, to be moved there") from error
    return run


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


def _smoke(name):
    """Two epochs on 64 images for the first seed and fold of each network: seconds instead of hours."""
    first = {}
    for config in configs(name):
        first.setdefault(replace(config, seed=1, fold=0), config)
    tiny = [replace(config, epochs=2, train_images=64) for config in first.values()]
    with tempfile.TemporaryDirectory() as folder:
        return complete(tiny, [folder], title=f"{name}, tiny")
