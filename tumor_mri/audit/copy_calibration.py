"""How well aligned copies are found: synthetic copies of every kind, known same slices, and images of different patients."""

import io
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from tumor_mri.audit import alignment, near_copies, scans
from tumor_mri.datasets import manifests

CALIBRATION = manifests.DATA / "near_copies_calibration.csv"  # what `calibrate` gave
UNLINKED = manifests.DATA / "aligned_copies.csv"  # what `unlinked_copies` gave
CHANGES = {  # kind: three strengths or more, and what they are
    "crop": (0.1, 0.2, 0.3),  # share of width and of height cut away, at a random place
    "pad": (0.1, 0.2, 0.3),  # black border, up to this share of the side, at each edge
    "white frame": (0.02, 0.06, 0.12),  # share of the shorter side, at each edge
    "scale": (0.7, 0.85, 1.2, 1.4),  # the content inside the same frame
    "stretch": (0.7, 1.2, 1.4),  # of the width alone
    "resize": (0.3, 0.5, 1.4),  # of the whole image
    "shift": (0.05, 0.1, 0.15),  # share of the side, in a random direction
    "rotation": (2, 4, 6),  # degrees, either way
    "gamma": (0.5, 0.7, 1.8),
    "contrast": (0.6, 1.3, 1.8),
    "brightness": (-40, 30, 60),  # grey levels
    "jpeg": (60, 30, 15),  # quality
    "mirrored": (0.0, 0.1, 0.2),  # and cropped by this share
    "mixed": (0.1, 0.2, 0.3),  # cropped by this share, turned, stretched, made brighter, saved at low quality
}


def load_calibration() -> pd.DataFrame:
    """The committed calibration: what `calibrate` gave on the project's dataset."""
    return pd.read_csv(CALIBRATION)


def change(image: Image.Image, kind: str, strength: float, generator: np.random.Generator) -> Image.Image:
    """A synthetic copy of a grey image, for calibration; kinds and strengths are those of `CHANGES`.

    Raises:
        KeyError: for an unknown kind.
    """
    return _CHANGES[kind](image, strength, generator)


def _crop(image, share, generator):
    (width, height), (left, top) = image.size, generator.uniform(0, share, 2) * image.size
    return image.crop(tuple(round(edge) for edge in (left, top, left + (1 - share) * width, top + (1 - share) * height)))


def _pad(image, share, generator):
    edges = (generator.uniform(0, share, 4) * (image.size * 2)).astype(int)
    return ImageOps.expand(image, tuple(int(edge) for edge in edges), 0)


def _frame(image, share, generator):
    return ImageOps.expand(image, max(1, round(share * min(image.size))), 255)


def _scale(image, factor, generator):
    width, height = image.size
    numbers = (1 / factor, 0, width / 2 * (1 - 1 / factor), 0, 1 / factor, height / 2 * (1 - 1 / factor))
    return image.transform(image.size, Image.Transform.AFFINE, numbers, Image.Resampling.BICUBIC)


def _stretch(image, factor, generator):
    return image.resize((round(image.width * factor), image.height), Image.Resampling.BICUBIC)


def _resize(image, factor, generator):
    return image.resize(tuple(round(side * factor) for side in image.size), Image.Resampling.BICUBIC)


def _shift(image, share, generator):
    angle = generator.uniform(0, 2 * np.pi)
    right, down = share * image.width * np.cos(angle), share * image.height * np.sin(angle)
    return image.transform(image.size, Image.Transform.AFFINE, (1, 0, right, 0, 1, down))


def _rotate(image, degrees, generator):
    return image.rotate(degrees * generator.choice([-1, 1]), Image.Resampling.BICUBIC)


def _levels(image, function):
    return image.point([min(255, max(0, round(function(level)))) for level in range(256)])


def _jpeg(image, quality, generator):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("L")


def _mix(image, share, generator):
    image = _rotate(_crop(image, share, generator), 10 * share, generator)
    image = _stretch(_CHANGES["gamma"](image, 1 - share, generator), 1 + share, generator)
    return _jpeg(image, round(80 - 150 * share), generator)


_CHANGES = {
    "crop": _crop,
    "pad": _pad,
    "white frame": _frame,
    "scale": _scale,
    "stretch": _stretch,
    "resize": _resize,
    "shift": _shift,
    "rotation": _rotate,
    "gamma": lambda image, power, _: _levels(image, lambda level: 255 * (level / 255) ** power),
    "contrast": lambda image, factor, _: _levels(image, lambda level: 128 + (level - 128) * factor),
    "brightness": lambda image, more, _: _levels(image, lambda level: level + more),
    "jpeg": _jpeg,
    "mirrored": lambda image, share, generator: _crop(ImageOps.mirror(image), share, generator),
    "mixed": _mix,
}


def calibrate(folder, manifest: pd.DataFrame, copies: int = 200, seed: int = 7, progress: bool = True) -> pd.DataFrame:
    """What the search finds of known copies, and what it invents, among all images of the project's dataset.

    Copies: the same slice of the Cheng set in two different files, and synthetic copies (`CHANGES`) of random scans, each
    searched for among all images. Not copies: images of different known patients, both the pairs that the search itself
    registers and each image with the one nearest to it by whole thumbnail.

    Args:
        folder: the dataset's folder.
        manifest: with path, sha256, patient and cheng_slice.
        copies: number of synthetic copies of each kind and strength.
        seed: which scans, and which random places.
        progress: whether bars may be shown.

    Returns:
        A row for each kind and strength: kind, strength; copies, found, share (of the copies, 1 for all); pairs, false (of
        pairs that are no copies); extreme (the lowest correlation of a copy, 0 if it was no candidate or was given up; the
        highest of a pair that is not a copy).
    """
    folder = Path(folder)
    drawn = alignment.sketches([folder / path for path in manifest["path"]], progress)
    generator = np.random.default_rng(seed)
    pairs = alignment.candidates(drawn, progress=progress)
    rows = [_same_slices(drawn, manifest, pairs), *_different_patients(drawn, manifest, pairs, progress)]
    sources = generator.choice(len(manifest), copies, replace=False)
    images = [grey_whole(folder / manifest["path"].iloc[source]) for source in sources]
    asked = [(kind, strength) for kind, strengths in CHANGES.items() for strength in strengths]
    changed = [
        alignment.sketches([np.asarray(change(image, kind, strength, generator)) for image in images], progress=False)
        for kind, strength in near_copies.progress_bar(asked, "change", len(asked), progress)
    ]
    correlation = _found(drawn, changed, sources, manifest["sha256"].to_numpy(), progress)
    rows += [_copies_row(*names, found) for names, found in zip(asked, correlation, strict=True)]
    return pd.DataFrame(rows).astype({name: "Int64" for name in ("copies", "found", "pairs", "false")})


def grey_whole(path):
    with Image.open(path) as image:
        return image.convert("L")


def _found(drawn, changed, sources, digests, progress):
    """The highest correlation of each changed image with its source or a file identical to it, (kinds, sources).

    Changed images are searched for among the real ones only: copies of one source would crowd out one another.
    """
    everything = [drawn, *changed]
    both = alignment.Sketches(*(np.concatenate(parts) for parts in zip(*(_parts(some) for some in everything), strict=True)))
    new = np.arange(len(drawn), len(both))
    pairs = alignment.candidates(both, rows=new, among=np.arange(len(drawn)), progress=progress)
    source = np.tile(sources, len(changed))[pairs["second"] - len(drawn)]
    pairs = pairs[digests[pairs["first"]] == digests[source]]
    scored = alignment.score_pairs(both, pairs["first"], pairs["second"], progress)
    return scored.groupby("second")["correlation"].max().reindex(new).fillna(0).to_numpy().reshape(len(changed), -1)


def _parts(drawn):
    return drawn.pixels, drawn.boxes, drawn.sizes


def _copies_row(kind, strength, correlation):
    found = int((correlation > alignment.ALIGNED_COPY).sum())
    share = round(found / max(len(correlation), 1), 4)
    row = {"kind": kind, "strength": strength, "copies": len(correlation), "found": found, "share": share}
    return {**row, "pairs": None, "false": None, "extreme": round(float(correlation.min()), 4)}


def _same_slices(drawn, manifest, registered):
    known = np.flatnonzero(manifest["cheng_slice"].notna())
    slices, digests = manifest["cheng_slice"].to_numpy(), manifest["sha256"].to_numpy()
    pairs = [
        (one, other)
        for rows in pd.Series(known).groupby(slices[known]).indices.values()
        for one, other in combinations(known[rows], 2)
        if digests[one] != digests[other]
    ]
    registered = set(zip(registered["first"], registered["second"], strict=True))
    correlation = alignment.score_pairs(drawn, *zip(*pairs, strict=True), progress=False)["correlation"].fillna(0).to_numpy()
    return _copies_row("same slice", None, np.where([pair in registered for pair in pairs], correlation, 0))


def _different_patients(drawn, manifest, pairs, progress):
    patients = pd.factorize(manifest["patient"])[0]  # -1: not known

    def row(kind, first, second):
        different = (patients[first] >= 0) & (patients[second] >= 0) & (patients[first] != patients[second])
        correlation = alignment.score_pairs(drawn, first[different], second[different], progress)["correlation"]
        false = int((correlation > alignment.ALIGNED_COPY).sum())
        highest = round(float(correlation.max()), 4)
        return {"kind": kind, "pairs": len(correlation), "false": false, "extreme": highest}

    first, second = pairs["first"].to_numpy(), pairs["second"].to_numpy()
    known = np.flatnonzero(patients >= 0)
    thumbnails = alignment.shrink(drawn.pixels[known], 32).reshape(len(known), -1)
    thumbnails -= thumbnails.mean(axis=1, keepdims=True)
    thumbnails /= np.linalg.norm(thumbnails, axis=1, keepdims=True)
    likeness = thumbnails @ thumbnails.T
    likeness[patients[known][:, None] == patients[known]] = -1
    nearest = known[likeness.argmax(axis=1)]
    return [row("different patients, searched", first, second), row("different patients, nearest", known, nearest)]


def unlinked_copies(folder: Path | str, manifest: pd.DataFrame, progress: bool = True) -> pd.DataFrame:
    """The aligned copies that near-duplicates by whole thumbnail do not link: first, second (paths), correlation, mirrored.

    Args:
        folder: the dataset's folder.
        manifest: in its own order.
        progress: whether bars may be shown.
    """
    folder, paths = Path(folder), manifest["path"].to_numpy()
    found = alignment.aligned_copies(alignment.sketches([folder / path for path in paths], progress), progress=progress)
    first, second = found["first"].to_numpy(int), found["second"].to_numpy(int)
    whole = near_copies.near_copy_pairs(scans.manifest_thumbnails(folder, manifest))
    linked = near_copies.near_copy_sets(len(manifest), whole)
    table = found.assign(first=paths[first], second=paths[second])
    return table.loc[linked[first] != linked[second], ["first", "second", "correlation", "mirrored"]].reset_index(drop=True)
