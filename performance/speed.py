"""How fast is an epoch? The report's pipeline, ours, PyTorch and the machine's own limit: ``python -m performance.speed``.

Every measurement is a process of its own, so that none inherits another's memory or threads, and they alternate, so that a
machine that slows down slows all of them. Of each, the limits included, the fastest counts: what else a machine does only adds to
a time, as the documentation of ``timeit`` says. But a pipeline may be slow by itself now and then, and a whole run pays for that:
the JSON holds every epoch, and the same ratios of the means under ``by_mean``. Writes the sentence of SCALING.md too.
"""

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import psutil

from performance import flops
from tumor_mri import text
from tumor_mri.datasets import decoding, manifests, protocols
from tumor_mri.models import networks
from tumor_mri.runs import cluster, environment
from tumor_mri.study import catalogue

LATEST = Path(__file__).with_name("latest.json")
PAGE = manifests.ROOT / "SCALING.md"
RUNS, MACHINES = 1000, 8  # of the sentence in SCALING.md
REPORT = "the report's pipeline"
OURS = "ours, one run on all cores"
SIDE_BY_SIDE = "ours, runs side by side"
PYTORCH = "PyTorch"
RACE_STEPS = 8  # of each form of the peer, after as many that warm up
WANTED = {"ratio_to_report": 2.2, "ratio_to_pytorch": 1.0, "share_of_bfloat16_limit": 0.55}  # on 2 cores with bfloat16
PACKAGES = ("tensorflow", "keras", "numpy", "torch")


class BenchmarkError(Exception):
    """A measurement that failed, with the last line it wrote."""


def main(arguments=None) -> int:
    """Measure, print the table, write the JSON; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        decoding.load_images()  # decodes once, before anything is timed
        figures = describe(**measure(options.epochs, options.rounds))
    except (BenchmarkError, manifests.DatasetError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(table(figures).to_string(index=False, float_format="{:.2f}".format, na_rep="-"))
    for name, reason in figures["reasons"].items():
        print(f"{name}: {reason}")
    options.output.write_text(json.dumps(figures, indent=2) + "\n")
    if options.output == LATEST:
        text.write(PAGE, "study-cost", sentence(figures))
    return 0


def _parser():
    parser = argparse.ArgumentParser(prog="python -m performance.speed", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--epochs", type=_two_or_more, default=4, help="of each measurement; the first one is dropped (default: 4)"
    )
    parser.add_argument("--rounds", type=_one_or_more, default=3, help="how often each is measured, in turn (default: 3)")
    parser.add_argument("--output", type=Path, default=LATEST, help="the JSON file (default: performance/latest.json)")
    return parser


def _two_or_more(text):
    number = int(text)
    if not 2 <= number <= 60:
        raise argparse.ArgumentTypeError(f"{number} is not from 2 to 60: the first epoch, which warms up, is dropped")
    return number


def _one_or_more(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def measure(epochs, rounds) -> dict:
    """Everything that `describe` needs, measured.

    Returns:
        dict of epochs, rounds; `measured`, per pipeline a list of one (seconds of each epoch, peak bytes) a round, where
        `SIDE_BY_SIDE` has one such a run; `rates`, operations a second by type of number; `peer`, the best form of PyTorch and
        every form's seconds a step, or None; `reasons`, why something is lacking.

    Raises:
        BenchmarkError: where a measurement other than the peer's failed.
    """
    reasons = {}
    peer = _choose_peer(reasons)
    timed = {
        REPORT: lambda: [_one(["report", "--epochs", str(epochs)])],
        OURS: lambda: [_one(["ours", "--epochs", str(epochs)], cluster.KEEP_MEMORY)],
    }
    if not environment.gpu_capabilities() and environment.cpu_count() > 1:
        timed[SIDE_BY_SIDE] = lambda: _side_by_side(["ours", "--epochs", str(epochs)])
    if peer:
        timed[PYTORCH] = lambda: [_one(["peer", "--epochs", str(epochs), *peer["best"].split()], cluster.KEEP_MEMORY)]
    measured, rates = {name: [] for name in timed}, []
    for number in range(rounds):
        rates.append(_one(["limits"])["result"])
        for name, run in timed.items():
            print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr)
            measured[name].append(run())
    best = {kind: max(rate[kind] for rate in rates) for kind in rates[0]}
    return {"epochs": epochs, "rounds": rounds, "measured": measured, "rates": best, "peer": peer, "reasons": reasons}


def _choose_peer(reasons):
    """Race the forms of the PyTorch network over a few steps."""
    if find_spec("torch") is None:
        reasons[PYTORCH] = "not installed: python -m pip install -r performance/requirements.txt"
        return None
    seconds = {}
    for form in peer_forms():
        try:
            seconds[form] = _one(["race", "--epochs", str(RACE_STEPS), *form.split()], cluster.KEEP_MEMORY)["result"]
        except BenchmarkError as error:
            reasons[f"{PYTORCH} {form}"] = str(error)
    if not seconds:
        return None
    return {"best": min(seconds, key=seconds.get), "seconds_per_step": seconds}


def peer_forms() -> list:
    """Options of `pipelines` for each form of the peer: bfloat16 only where the hardware has it."""
    precisions = dict.fromkeys(("float32", environment.native_precision()))
    return [f"--precision {precision}{compiled}" for precision in precisions for compiled in ("", " --compiled")]


def _one(arguments, variables=None):
    """Run one measurement and read its figures."""
    return _read(_start(arguments, variables or {}), arguments)


def _side_by_side(arguments):
    """One run a core with one thread each, all at once, as a study trains them."""
    variables = {**cluster.KEEP_MEMORY, **cluster._thread_variables(1)}
    processes = [_start(arguments, variables) for _ in range(environment.cpu_count())]
    return [_read(process, arguments) for process in processes]


def _start(arguments, variables):
    environment = os.environ | {name: str(value) for name, value in variables.items()}
    command = [sys.executable, "-m", "performance.pipelines", *arguments]
    output = tempfile.TemporaryFile("w+")  # a pipe would fill, and block a process while another one is read
    process = subprocess.Popen(command, cwd=manifests.ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
    process.output = output
    return process


def _read(process, arguments):
    with contextlib.closing(process.output) as output:
        status = process.wait()
        output.seek(0)
        last = (output.read().strip().splitlines() or ["nothing"])[-1]
    if status:
        raise BenchmarkError(f"`python -m performance.pipelines {' '.join(arguments)}` ended with status {status}: {last[:300]}")
    return json.loads(last)


def describe(epochs, rounds, measured, rates, peer, reasons) -> dict:
    """The figures of ``latest.json``, from what `measure` returns."""
    split = protocols.split(manifests.load_manifest(), "training_only")
    operations = flops.per_epoch(len(split.train), len(split.validation))
    pipelines = {name: _summary(runs, len(split.train), operations) for name, runs in measured.items()}
    limits = {kind: {"operations_per_second": rate, "seconds_per_epoch": operations / rate} for kind, rate in rates.items()}
    reasons = dict(reasons)
    if PYTORCH not in pipelines:
        reasons["ratio_to_pytorch"] = reasons.get(PYTORCH, "no form of it could be measured")
    if "bfloat16" not in limits:
        reasons["share_of_bfloat16_limit"] = "the hardware does not compute in bfloat16"

    ratios = _ratios(pipelines, limits, OURS, "seconds_per_epoch")
    side_by_side = _ratios(pipelines, limits, SIDE_BY_SIDE, "seconds_per_epoch") if SIDE_BY_SIDE in pipelines else None
    if side_by_side:
        del side_by_side["ratio_to_pytorch"]  # the peer trains one run on all cores: no like with like
    for name, wanted in WANTED.items():
        if ratios[name] is not None and ratios[name] < wanted:
            beside = f"; {side_by_side[name]:.2f} with runs side by side" if side_by_side and name in side_by_side else ""
            reasons[name] = f"{ratios[name]:.2f}, where {wanted} was wanted{beside}: see performance/README.md"
    return {
        **ratios,
        "side_by_side": side_by_side,
        "by_mean": _ratios(pipelines, limits, OURS, "mean_epoch"),
        "reasons": reasons,
        "machine": describe_machine(),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
        "commit": environment.commit(),
        "setting": {
            "protocol": "training_only",
            "widths": networks.BASE_WIDTHS,
            "batch_size": 32,
            "precision_of_ours": environment.native_precision(),
            "train_images": len(split.train),
            "validation_images": len(split.validation),
            "operations_per_epoch": operations,
            "epochs": epochs,
            "rounds": rounds,
            "epochs_of_a_run": statistics.mean(run.epochs_run for run in catalogue.recorded("compare-splits")),
        },
        "limits": limits,
        "peer": peer,
        "pipelines": pipelines,
    }


def _summary(rounds, images, operations):
    """Figures of one pipeline, measured in rounds of one process, or of several side by side."""
    side_by_side = len(rounds[0])
    by_round = [[[time / side_by_side for time in run["result"][1:]] for run in runs] for runs in rounds]
    seconds = [time for runs in by_round for run in runs for time in run]
    peaks = [run["peak_bytes"] for runs in rounds for run in runs]
    fastest = min(seconds)
    return {
        "processes": side_by_side,
        "seconds_per_epoch": fastest,
        "mean_epoch": statistics.mean(seconds),
        "slowest_epoch": max(seconds),
        "images_per_second": images / fastest,
        "operations_per_second": operations / fastest,
        "peak_bytes": None if None in peaks else max(peaks) * side_by_side,
        "epochs_by_round": by_round,
    }


def _ratios(pipelines, limits, name, figure):
    """How one of our pipelines compares with the report's, with PyTorch and with the limits; None where there is no such."""
    seconds = pipelines[name][figure]
    others = {"report": pipelines[REPORT][figure], "pytorch": pipelines.get(PYTORCH, {}).get(figure)}
    ratios = {f"ratio_to_{other}": time / seconds if time else None for other, time in others.items()}
    shares = {kind: limits[kind]["seconds_per_epoch"] / seconds if kind in limits else None for kind in ("bfloat16", "float32")}
    return ratios | {f"share_of_{kind}_limit": share for kind, share in shares.items()}


def describe_machine() -> dict:
    """What was measured on, without a name that tells whose it is."""
    return {
        "processor": environment.processor_name(),
        "cores": environment.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpu_capabilities": environment.gpu_capabilities(),
        "native_precision": environment.native_precision(),
        "platform": f"{platform.system()} {platform.machine()}",
    }


def _version(package):
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def table(figures) -> pd.DataFrame:
    """The figures as a table: a row a pipeline, then a row a limit."""
    ours = figures["pipelines"][OURS]["seconds_per_epoch"]
    report = figures["pipelines"][REPORT]["seconds_per_epoch"]
    rows = []
    for name, found in figures["pipelines"].items():
        peak = found["peak_bytes"]
        seconds = found["seconds_per_epoch"], found["mean_epoch"]
        rows.append((name, *seconds, found["images_per_second"], peak / 1e9 if peak else None))
    images = figures["setting"]["train_images"]
    for kind, limit in figures["limits"].items():
        rows.append((f"limit of {kind} products", limit["seconds_per_epoch"], None, images / limit["seconds_per_epoch"], None))
    found = pd.DataFrame(rows, columns=["", "seconds, fastest epoch", "mean", "images a second", "peak memory, GB"])
    found["times the report's speed"] = report / found["seconds, fastest epoch"]
    found["its time / ours"] = found["seconds, fastest epoch"] / ours
    return found


def sentence(figures) -> str:
    """The cost of many runs, computed from ``latest.json``; SCALING.md contains this sentence."""
    pipelines, described, epochs = figures["pipelines"], figures["machine"], figures["setting"]["epochs_of_a_run"]
    name = SIDE_BY_SIDE if SIDE_BY_SIDE in pipelines else OURS
    seconds = pipelines[name]["mean_epoch"]  # here not the fastest: a thousand runs do not wait until a machine is quiet
    hours = RUNS * epochs * seconds / 3600
    gpu = "" if described["gpu_capabilities"] else " No GPU has been measured yet: `make timings` on a machine with one does so."
    return (
        f"The recorded runs of the base network end after {epochs:.0f} epochs on average. A machine with {described['cores']} "
        f"cores that trains one run per core finishes an epoch every {seconds:.1f} seconds, so {RUNS:,} runs take {hours:.0f} "
        f"hours on one such machine, and {hours / MACHINES:.0f} hours on {MACHINES} of them: runs share nothing except the "
        f"connection that carries their records.{gpu} (`performance/latest.json`)"
    )


if __name__ == "__main__":
    sys.exit(main())
