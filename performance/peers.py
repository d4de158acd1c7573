"""The audit's search for near-duplicates beside CleanVision, imagehash, imagededup, fastdup: ``python -m performance.peers``.

Run it in an environment of its own, with ``performance/requirements-peers.txt``; a tool that is missing is left out.

1. On the project's dataset: how many of the pairs that are known to show the same slice, or to be the same file, are found, and
   how many pairs of slices known to differ are invented?
2. On 200 slices, each changed once in a known way: how many of the 200 pairs are found, and how many others are invented?

Each tool runs in a process of its own. Writes ``peers.json`` and the tables of the README; takes half an hour on two cores.
"""

import argparse
import importlib.abc
import importlib.machinery
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image, ImageOps

from tumor_mri import text
from tumor_mri.audit import any_folder, near_copies, scans
from tumor_mri.datasets import download, manifests

RESULT = Path(__file__).with_name("peers.json")
README = Path(__file__).with_name("README.md")
CHANGED = 200  # slices
SEED = 1337


def ours(folder, paths):
    """Both stages of this project's audit."""
    images, _ = scans.list_images(folder)
    found = scans.read(folder, images)
    return _named(any_folder.pairs_of(folder, found), found.table["path"])


def ours_whole(folder, paths):
    """The first stage alone: whole images."""
    images, _ = scans.list_images(folder)
    found = scans.read(folder, images)
    return _named(near_copies.near_copy_pairs(found.thumbnails), found.table["path"])


def _named(pairs, paths):
    return [(paths[first], paths[second]) for first, second in zip(pairs["first"], pairs["second"], strict=True)]


def cleanvision(folder, paths):
    """CleanVision's exact and near duplicates."""
    from cleanvision import Imagelab

    lab = Imagelab(filepaths=[str(folder / path) for path in paths])
    lab.find_issues({"exact_duplicates": {}, "near_duplicates": {}}, n_jobs=1, verbose=False)
    sets = [group for kind in ("exact_duplicates", "near_duplicates") for group in lab.info.get(kind, {}).get("sets", [])]
    pairs = {pair for group in sets for pair in itertools.combinations(sorted(group), 2)}
    return [(_inside(one, folder), _inside(other, folder)) for one, other in pairs]


def _inside(path, folder):
    return Path(path).relative_to(folder).as_posix()


def imagehash(name, most):
    """A hash of imagehash: pairs that differ in at most `most` bits."""

    def search(folder, paths):
        import imagehash as library

        function = getattr(library, name)
        bits = np.stack([function(Image.open(folder / path)).hash.ravel() for path in paths]).astype(np.float32)
        distance = bits @ (1 - bits).T + (1 - bits) @ bits.T
        return [(paths[one], paths[other]) for one, other in np.argwhere(np.triu(distance <= most, 1))]

    return search


class _Stub(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Lets any module of some packages be imported: it does nothing."""

    def __init__(self, *packages):
        self.packages = packages

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.packages:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return mock.MagicMock(__path__=[], __spec__=spec)

    def exec_module(self, module):
        pass


def imagededup(folder, paths):
    """imagededup's perceptual hash with its default of 10 bits; its import of PyTorch, which hashes do not use, is stubbed."""
    sys.meta_path.append(_Stub("torch", "torchvision"))
    from imagededup.methods import PHash

    hasher = PHash(verbose=False)
    codes = {path: hasher.encode_image(image_file=str(folder / path)) for path in paths}
    found = hasher.find_duplicates(encoding_map=codes, max_distance_threshold=10, num_dist_workers=0)
    return sorted({tuple(sorted((one, other))) for one, others in found.items() for other in others})


def fastdup(folder, paths):
    """fastdup's pairs above its default similarity of 0.9."""
    import fastdup as library

    with tempfile.TemporaryDirectory() as work:
        library.run(input_dir=str(folder), work_dir=work, threshold=0.9, num_threads=1, verbose=False)
        table = _csv(Path(work) / "similarity.csv")
    return [(_inside(row["from"], folder), _inside(row["to"], folder)) for row in table if float(row["distance"]) > 0.9]


def _csv(path):
    import csv

    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


TOOLS = {
    "this audit": ours,
    "this audit, whole images only": ours_whole,
    "CleanVision, exact and near": cleanvision,
    "imagehash phash, equal": imagehash("phash", 0),
    "imagehash phash, at most 10 bits": imagehash("phash", 10),
    "imagehash dhash, at most 2 bits": imagehash("dhash", 2),
    "imagededup PHash, its default": imagededup,
    "fastdup, its default": fastdup,
}


def crop(share):
    """A function that cuts this share of the width and of the height away, a half at each side."""

    def change(image):
        left, top = (round(share / 2 * side) for side in image.size)
        return image.crop((left, top, image.width - left, image.height - top))

    return change


CHANGES = {
    "JPEG, quality 30": lambda image: image,  # saved so
    "half the pixels": lambda image: image.resize((image.width // 2, image.height // 2)),
    "stretched by 10 %": lambda image: image.resize((round(1.1 * image.width), image.height)),
    "gamma 0.6": lambda image: image.point([round(255 * (level / 255) ** 0.6) for level in range(256)]),
    "crop 5 %": crop(0.05),
    "crop 10 %": crop(0.1),
    "crop 20 %": crop(0.2),
    "crop 30 %": crop(0.3),
    "border of 10 %": lambda image: ImageOps.expand(image, image.width // 10),
    "white frame": lambda image: ImageOps.expand(image, 8, fill=255),
    "shift of 3 %": lambda image: image.transform(image.size, Image.Transform.AFFINE, (1, 0, 0.03 * image.width, 0, 1, 0)),
    "turned by 5 degrees": lambda image: image.rotate(5, Image.Resampling.BILINEAR),
    "mirrored": ImageOps.mirror,
}


def known():
    """Paths, pairs of the same slice, pairs of the same file, and pairs of different slices that share a patient."""
    manifest = manifests.load_manifest()
    cheng = manifest[manifest["cheng_slice"].notna()]
    slices = cheng.set_index("path")["cheng_slice"].to_dict()
    identical = manifest.groupby("sha256")["path"].agg(list)
    files = {tuple(sorted(pair)) for group in identical for pair in itertools.combinations(group, 2)}
    by_slice = cheng.groupby("cheng_slice")["path"].agg(list)
    same = {tuple(sorted(pair)) for group in by_slice for pair in itertools.combinations(group, 2)}
    return list(manifest["path"]), slices, same, files, manifest.set_index("path")["sha256"].to_dict()


def on_the_dataset(tool):
    """What a tool finds and invents on the dataset."""
    folder = download.locate()
    paths, slices, same, files, digest = known()
    pairs, cost = _timed(lambda: TOOLS[tool](folder, paths))
    members = {}
    for path in paths:
        members.setdefault(digest[path], []).append(path)
    whole = set()  # a pair of contents is a pair of all files that hold them
    for one, other in pairs:
        for pair in itertools.product(members[digest[one]], members[digest[other]]):
            if pair[0] != pair[1]:
                whole.add(tuple(sorted(pair)))
    judged = {pair for pair in whole if pair[0] in slices and pair[1] in slices}
    return {
        "pairs": len(whole),
        "same_slice": [len(same & whole), len(same)],
        "same_file": [len(files & whole), len(files)],
        "invented": len(judged - same),
        **cost,
    }


def on_changes(tool):
    """How many of the changed slices a tool finds, by change, and how many other pairs it names in all."""
    manifest = manifests.load_manifest()
    cheng = manifest[manifest["cheng_slice"].notna()].drop_duplicates("cheng_slice").drop_duplicates("patient")
    chosen = cheng["path"].sample(min(CHANGED, len(cheng)), random_state=SEED).tolist()
    found, invented = {}, 0
    for name, change in CHANGES.items():
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            for number, path in enumerate(chosen):
                image = Image.open(download.locate() / path).convert("L")
                settings = ("JPEG", {"quality": 30}) if name.startswith("JPEG") else ("PNG", {})
                (folder / "a").mkdir(exist_ok=True)
                (folder / "b").mkdir(exist_ok=True)
                image.save(folder / f"a/{number:03}.png")
                change(image).save(folder / f"b/{number:03}.{settings[0].lower()}", settings[0], **settings[1])
            paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
            pairs = {tuple(sorted(pair)) for pair in TOOLS[tool](folder, paths)}
        right = {pair for pair in pairs if pair[0][2:5] == pair[1][2:5]}
        found[name], invented = [len(right), len(chosen)], invented + len(pairs - right)
    return {"found": found, "invented": invented}


def _timed(work):
    started = time.process_time(), time.perf_counter()
    result = work()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    cost = {"cpu_seconds": time.process_time() - started[0], "seconds": time.perf_counter() - started[1], "peak_bytes": memory}
    return result, cost


def tables(figures) -> str:
    """Both tables as Markdown."""
    lines = ["| tool | same slice | same file | invented | seconds of processor | peak MB |", "|---|---|---|---|---|---|"]
    for tool, row in figures["dataset"].items():
        counts = [f"{row[key][0]} of {row[key][1]}" for key in ("same_slice", "same_file")]
        cost = [f"{row['cpu_seconds']:.0f}", f"{row['peak_bytes'] / 1e6:.0f}"]
        lines.append(f"| {tool} | {' | '.join(counts)} | {row['invented']:,} | {' | '.join(cost)} |")
    names = list(figures["changes"])
    lines += ["", "| change | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for change in CHANGES:
        cells = [str(figures["changes"][tool]["found"][change][0]) for tool in names]
        lines.append(f"| {change} | {' | '.join(cells)} |")
    of = next(iter(figures["changes"].values()))["found"]["crop 5 %"][1]
    invented = [f"{figures['changes'][tool]['invented']:,}" for tool in names]
    lines.append(f"| *pairs invented, in all {len(CHANGES)} rows* | {' | '.join(invented)} |")
    return "\n".join(lines) + f"\n\nThe second table counts the pairs found, of {of} in each row; each is of another patient."


def main() -> int:
    """Measure, write the JSON and the tables; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m performance.peers", description=__doc__.splitlines()[0])
    parser.add_argument("--one", nargs=2, metavar=("QUESTION", "TOOL"), help="measure one tool in this process; print JSON")
    options = parser.parse_args()
    questions = {"dataset": on_the_dataset, "changes": on_changes}
    if options.one:
        print(f"\n{json.dumps(questions[options.one[0]](options.one[1]))}")  # behind what a tool has printed
        return 0
    figures = {question: {} for question in questions}
    for question, tool in itertools.product(questions, TOOLS):
        command = [sys.executable, "-m", "performance.peers", "--one", question, tool]
        done = subprocess.run(command, cwd=manifests.ROOT, capture_output=True, text=True, env=os.environ)
        if done.returncode:
            print(f"left out: {tool}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
            continue
        figures[question][tool] = json.loads(done.stdout.strip().splitlines()[-1])
        print(question, tool, figures[question][tool], flush=True)
    RESULT.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    text.write(README, "peers", tables(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
