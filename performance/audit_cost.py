"""What an audit costs: the project's dataset, and correlations of synthetic thumbnails: ``python -m performance.audit_cost``.

Every measurement is a process of its own. Writes ``audit_cost.json`` and the sentence of SCALING.md; takes minutes.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil

from performance.pipelines import peak_bytes
from performance.speed import describe_machine
from tumor_mri import text
from tumor_mri.audit import alignment, near_copies, this_dataset
from tumor_mri.datasets import download, manifests
from tumor_mri.runs import environment

RESULT = Path(__file__).with_name("audit_cost.json")
PAGE = manifests.ROOT / "SCALING.md"
SIZES = (25_000, 50_000, 100_000)  # thumbnails
SKETCHES = (2_000, 4_000, 8_000)  # of the second stage, whose comparison costs much more
OUTSIDE = 0.12  # share of images in the smaller split, as in the project's dataset
COPIES = 0.1  # share of images that are near-copies of others


def main(arguments=None) -> int:
    """Measure, write the JSON and the sentence of SCALING.md, print it; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m performance.audit_cost", description=__doc__.splitlines()[0])
    parser.add_argument("--one", type=int, help="measure so many thumbnails in this process, 0 for the dataset; print JSON")
    parser.add_argument("--aligned", action="store_true", help="measure sketches of the second stage, not thumbnails")
    options = parser.parse_args(arguments)
    if options.one is not None:
        work = align if options.aligned else correlate
        print(json.dumps(work(options.one) if options.one else audit_all()))
        return 0
    load = psutil.getloadavg()[0]  # before anything is measured: other work on the machine
    figures = {"machine": describe_machine(), "commit": environment.commit(), "load": load, "dataset": _apart(0)}
    figures["synthetic"] = [_apart(size) for size in SIZES]
    figures["aligned"] = [_apart(size, "--aligned") for size in SKETCHES]
    RESULT.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    text.write(PAGE, "audit-cost", sentence(figures))
    print(sentence(figures))
    return 0


def _apart(size, *options):
    command = [sys.executable, "-m", "performance.audit_cost", "--one", str(size), *options]
    done = subprocess.run(command, cwd=manifests.ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def audit_all() -> dict:
    """Seconds of an audit of the project's dataset: by the clock, and of all cores together."""
    manifest = manifests.load_manifest()
    return _timed(lambda: this_dataset.audit_dataset(download.locate(), manifest), len(manifest))


def correlate(count) -> dict:
    """The same for what grows with the square, on synthetic thumbnails: near-copies, and 1-nearest-neighbour across splits."""
    thumbnails = synthetic(count)
    rows = np.arange(count)
    outside, inside = np.split(rows, [int(OUTSIDE * count)])

    def work():
        assert len(near_copies.near_copy_pairs(thumbnails)) >= int(COPIES * count)
        near_copies.nearest(thumbnails, outside, inside)

    return _timed(work, count) | {"thumbnail_bytes": thumbnails.nbytes}


def align(count) -> dict:
    """The same for the comparison of the second stage, on synthetic sketches; registration grows with the number alone."""
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (count, alignment.SIDE, alignment.SIDE), dtype=np.uint8)
    boxes, sizes = np.tile([0.0, 0.0, 1.0, 1.0], (count, 1)), np.full((count, 2), alignment.SIDE)
    drawn = alignment.Sketches(pixels, boxes, sizes)
    return _timed(lambda: alignment.candidates(drawn, progress=False), count)


def synthetic(count) -> np.ndarray:
    """Thumbnails of noise, the last ones near-copies of the first (correlation 0.995); float32, (count, 1024)."""
    generator = np.random.default_rng(0)
    thumbnails = np.empty((count, near_copies.SIDE**2), dtype=np.float32)
    copies = int(COPIES * count)
    for row in range(count):  # one by one: a copy of the whole would hide what the correlations hold
        pixels = generator.standard_normal(near_copies.SIDE**2, dtype=np.float32)
        original = row - (count - copies)
        thumbnails[row] = near_copies.standardise(pixels if original < 0 else 32 * thumbnails[original] + 0.1 * pixels)
    return thumbnails


def _timed(work, images):
    before, started, worked = peak_bytes(), time.perf_counter(), time.process_time()
    work()
    figures = {"images": images, "seconds": time.perf_counter() - started, "cpu_seconds": time.process_time() - worked}
    return figures | {"more_peak_bytes": None if before is None else peak_bytes() - before}


def sentence(figures) -> str:
    """The cost of an audit, computed from ``audit_cost.json``; SCALING.md contains this sentence."""
    whole, largest = figures["dataset"], figures["synthetic"][-1]
    factor = largest["cpu_seconds"] / figures["synthetic"][0]["cpu_seconds"]
    beside = [found["more_peak_bytes"] for found in figures["synthetic"]]
    memory = "" if None in beside else f", and at most {max(beside) / 1e6:.0f} MB for the tiles, whatever the number"
    million = 1_000_000 / largest["images"]
    aligned = figures["aligned"][-1]
    hours = aligned["cpu_seconds"] * (100_000 / aligned["images"]) ** 2 / 3600
    return (
        f"An audit of this project's {whole['images']:,} images takes {whole['cpu_seconds']:.0f} seconds of processor time "
        f"({whole['seconds']:.0f} by the clock, on {figures['machine']['cores']} cores at a load of {figures['load']:.0f}). "
        f"The time to correlate whole images grows with the square of their number: {largest['images']:,} synthetic thumbnails "
        f"take {largest['cpu_seconds'] / 60:.1f} minutes of processor time, {factor:.0f} times as long as "
        f"{figures['synthetic'][0]['images']:,}. Memory grows in proportion to the number: 4 KiB per thumbnail{memory}. By "
        f"calculation, a million images take {largest['cpu_seconds'] * million**2 / 3600:.0f} hours and "
        f"{largest['thumbnail_bytes'] * million / 1e9:.1f} GB. The second stage, which finds cropped copies, costs more: its "
        f"comparison of {aligned['images']:,} images takes {aligned['cpu_seconds'] / 60:.1f} minutes of processor time, and by "
        f"calculation {hours:.0f} hours for 100,000 (`performance/audit_cost.json`)."
    )


if __name__ == "__main__":
    sys.exit(main())
