"""Does a study survive being killed? ``python -m performance.reliability`` kills one at random moments and lets it go on.

A tiny study of three runs trains into a temporary folder, is killed with SIGKILL, and is started again until all runs are
there; then the next study begins, until enough kills have interrupted work (one that comes after the last record is counted
apart). Every other kill takes the whole process group, as a power cut would; the others take the study alone, and its workers
must end by themselves. Half of the kills wait for the moment in which a record is written. What is looked for afterwards: see
`inspect`.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import psutil

from performance.speed import describe_machine
from tumor_mri.datasets import decoding, manifests
from tumor_mri.runs import cluster, configs, environment, records

RESULT = Path(__file__).with_name("reliability.json")
TINY = configs.RunConfig("training_only", widths=(4, 4, 4, 4), epochs=3, train_images=64, precision="float32")
WANTED = [replace(TINY, seed=seed) for seed in (1, 2, 3)]
COMMAND = "import sys; from performance import reliability; reliability.tiny_study(sys.argv[1])"
DEADLINE = 600  # seconds for an undisturbed study; on a busy machine TensorFlow alone takes a while to start
ORPHAN_DEADLINE = 60  # seconds for workers to end after their study was killed


def tiny_study(folder):
    """What is killed: three short runs, one after the other, on a worker of this machine."""
    cluster.complete(WANTED, [folder], workers=1)


def main(arguments=None) -> int:
    """Kill, resume, inspect, print, write the JSON; returns 0 where nothing was lost, else 1."""
    parser = argparse.ArgumentParser(prog="python -m performance.reliability", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="how often (default: 20)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments (default: 1)")
    parser.add_argument("--output", type=Path, default=RESULT, help="the JSON file (default: performance/reliability.json)")
    options = parser.parse_args(arguments)
    decoding.load_images()  # decodes once, so that no kill falls into it
    figures = describe(measure(options.kills, options.seed), options.seed)
    print(pd.DataFrame(figures["kills"]).to_string(index=False))
    print("; ".join(f"{name.replace('_', ' ')}: {value}" for name, value in figures.items() if isinstance(value, int)))
    options.output.write_text(json.dumps(figures, indent=2) + "\n")
    return 0 if figures["passed"] else 1


def measure(kills, seed) -> dict:
    """Kill studies `kills` times, and let each go on until it has all its runs.

    Returns:
        dict of `kills`, a list of what each left behind, and `studies`, a list of what each resumed study ended with.
    """
    moments = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        length = _undisturbed(Path(folder))
    killed, resumed = [], []
    while _interrupting(killed) < kills:
        with tempfile.TemporaryDirectory() as folder:
            before, folder = {}, Path(folder)
            while _interrupting(killed) < kills and len(before) < len(WANTED):
                found = _kill(folder, moments.uniform(0, length), len(killed))
                after = _contents(folder)
                killed.append(found | inspect(folder) | {"altered": _altered(before, after)})
                print(f"kill {_interrupting(killed)} of {kills}: {len(after)} of {len(WANTED)} runs recorded", file=sys.stderr)
                before = after
            _undisturbed(folder)
            resumed.append(inspect(folder) | {"altered": _altered(before, _contents(folder))})
    return {"kills": killed, "studies": resumed}


def _interrupting(killed):
    """How many kills left runs to be trained."""
    return sum(kill["present"] < len(WANTED) for kill in killed)


def _start(folder):
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([sys.executable, "-c", COMMAND, str(folder)], cwd=manifests.ROOT, start_new_session=True, **quiet)


def _undisturbed(folder):
    """Let a study end; the seconds it took."""
    started = time.monotonic()
    process = _start(folder)
    try:
        if process.wait(DEADLINE):
            raise SystemExit(f"error: a study that nobody disturbed ended with status {process.returncode}")
    finally:
        _kill_group(process)
    return time.monotonic() - started


def _kill(folder, seconds, number):
    """Start a study and kill it after so many seconds, or while it writes; what was killed, when, and what outlived it."""
    alone, while_writing = number % 2 == 1, number % 4 >= 2
    started = time.monotonic()
    process = _start(folder)
    if while_writing:
        _wait_for_writing(folder, process)
    else:
        time.sleep(seconds)
    family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    seconds, ended = time.monotonic() - started, process.poll() is not None
    if alone:
        process.kill()
    else:
        _kill_group(process)
    process.wait()
    _, orphans = psutil.wait_procs(family, timeout=ORPHAN_DEADLINE)
    _kill_group(process)
    return {
        "killed": "study" if alone else "group",
        "moment": "while writing" if while_writing else "random",
        "seconds": round(seconds, 3),
        "had_ended": ended,
        "orphans": len(orphans),
    }


def _wait_for_writing(folder, process):
    """Return as soon as a new file appears in `folder`, or the study ends; files that are swept away do not count."""
    before = set(os.listdir(folder))
    while process.poll() is None and set(os.listdir(folder)) <= before:
        time.sleep(0.0002)  # a record is written within milliseconds


def _kill_group(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # all have ended


def _contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.npz")}


def _altered(before, after):
    """Records that are gone or no longer what they were."""
    return sum(after.get(name) != content for name, content in before.items())


def inspect(folder) -> dict:
    """What lies in a folder of records: how many of `WANTED` are present, unreadable records, foreign and temporary files."""
    names = {f"{config.key}.npz" for config in WANTED}
    paths = list(Path(folder).iterdir())
    return {
        "present": sum(path.name in names for path in paths),
        "unreadable": sum(not _readable(path) for path in paths if path.suffix == ".npz"),
        "stray_files": sum(path.name not in names for path in paths),
    }


def _readable(path):
    try:
        return f"{records.load(path).config.key}.npz" == path.name
    except records.RecordError:
        return False


def describe(measured, seed) -> dict:
    """The figures of ``reliability.json``, from what `measure` returns."""
    both = measured["kills"] + measured["studies"]
    figures = {
        "kills_that_interrupted": _interrupting(measured["kills"]),
        "kills_too_late": len(measured["kills"]) - _interrupting(measured["kills"]),
        "studies_resumed": len(measured["studies"]),
        "runs_lacking_after_resume": sum(len(WANTED) - found["present"] for found in measured["studies"]),
        "stray_files_after_resume": sum(found["stray_files"] for found in measured["studies"]),
        "unreadable_records": sum(found["unreadable"] for found in both),
        "altered_records": sum(found["altered"] for found in both),
        "orphaned_processes": sum(kill["orphans"] for kill in measured["kills"]),
    }
    faults = list(figures)[3:]
    return {
        "passed": not any(figures[name] for name in faults),
        **figures,
        "seed": seed,
        "machine": describe_machine(),
        "commit": environment.commit(),
        **measured,
    }


if __name__ == "__main__":
    sys.exit(main())
