"""What a split hides: byte-identical files, near-copies, patients on both sides, sources, label conflicts, shortcuts.

From the images alone for any folder of class folders (`audit_folder`); joined with the manifest for the project's dataset
(`audit_dataset`). Memory: 4 KiB a thumbnail, and one tile of correlations, whatever the number of images. Time: decoding grows
with their number, correlations with its square; ``benchmarks/audit_cost.json`` has both as measured.
"""

import hashlib
import io
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageChops, ImageStat
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.tree import DecisionTreeClassifier
from tqdm.auto import tqdm

from tumor_mri import dataset, protocols

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
SIDE = 32  # pixels of a thumbnail
NEAR_COPY = 0.99  # correlation of thumbnails above which two images are near-copies
CONSTANT = 0.01  # grey levels; the norm of a centred thumbnail below which there is nothing to correlate
TILE = 2048  # images a side of the square of correlations held at one time
MOST_PAIRS = 10_000_000  # of near-copies held; a folder with more is copies throughout


class AuditError(Exception):
    """A folder that cannot be audited; the text says what was found and what was expected."""


@dataclass(frozen=True)
class Scans:
    """The readable images of a folder, and what could not be read.

    `table` has a row an image: path, split (empty where class folders stand alone), class, sha256, width, height (pixels), mean,
    std (grey levels), colour (whether R, G and B differ anywhere). `thumbnails` are its rows as `standardise` makes them.
    `unreadable` has the columns path and reason.
    """

    table: pd.DataFrame
    thumbnails: np.ndarray
    unreadable: pd.DataFrame


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    `facts`: fact, figure (a count), share (of 1; NaN where a count has no whole). `near_copies`: a row a pair, across classes
    first, then across splits, the least alike first. `scans`: what was read.
    """

    facts: pd.DataFrame
    near_copies: pd.DataFrame
    scans: Scans

    @property
    def unreadable(self) -> pd.DataFrame:
        """Path and reason of each image that could not be read."""
        return self.scans.unreadable

    def __str__(self):
        width = self.facts["fact"].str.len().max()
        shares = ["" if np.isnan(share) else f"{share:.1%}" for share in self.facts["share"]]
        lines = [f"{row.fact:<{width}} {row.figure:>9,} {share:>7}" for row, share in zip(self.facts.itertuples(), shares)]
        return "\n".join(line.rstrip() for line in lines)


def audit_folder(folder) -> Audit:
    """Audit any dataset: ``<folder>/<class>/<image>`` or ``<folder>/<split>/<class>/<image>``.

    Of several splits the largest is taken for the one that trains.

    Raises:
        AuditError: where there is no image to audit, or more pairs of near-copies than `MOST_PAIRS`.
    """
    images, passed_over = list_images(folder)
    scans = read(folder, images)
    pairs = near_copies(scans.thumbnails)
    facts = [_fact("files passed over: no image by name, or in no class folder", passed_over)]
    facts += _image_facts(scans, pairs, near_copy_sets(len(scans.table), pairs))
    return Audit(pd.DataFrame(facts), _say_pairs(pairs, scans.table), scans)


def audit_dataset(folder, manifest: pd.DataFrame) -> Audit:
    """Audit the project's dataset, joined with its manifest.

    Facts about the images come first, from fully decoded ones, as for any folder. Those joined with the manifest follow, from
    thumbnails as the manifest's are made (`manifest_thumbnails`): these find a few near-copies fewer, and are marked.

    Raises:
        dataset.DatasetError: where the folder's files are not the manifest's.
    """
    dataset.check(folder, manifest)
    scans = read(folder, manifest[["path", "split", "class"]])
    pairs = near_copies(scans.thumbnails)
    facts = _image_facts(scans, pairs, manifest["group"].to_numpy())
    told = _say_pairs(pairs, scans.table, manifest["group"].to_numpy())
    facts += [_fact("near-copy pairs that the manifest's groups separate", (~told["same_group"]).sum(), len(told))]
    facts += manifest_facts(manifest, manifest_thumbnails(folder, manifest))
    return Audit(pd.DataFrame(facts), told, scans)


def list_images(folder) -> tuple:
    """The images of a folder, by path: a table with path (relative, with slashes), split and class; and how many other files.

    Raises:
        AuditError: where there is no folder, or no image in a class folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise AuditError(f"there is no folder {folder}")
    paths = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    kept = [path for path in paths if path.suffix.lower() in SUFFIXES and len(path.parts) in (2, 3)]
    if not kept:
        raise AuditError(
            f"{folder} holds no image in a class folder: expected {folder.name}/CLASS/IMAGE or {folder.name}/SPLIT/CLASS/IMAGE, "
            f"with images named {', '.join(SUFFIXES)}"
        )
    rows = [(path.as_posix(), "/".join(path.parts[:-2]), path.parts[-2]) for path in kept]
    return pd.DataFrame(rows, columns=["path", "split", "class"]), len(paths) - len(kept)


def read(folder, images: pd.DataFrame) -> Scans:
    """Hash, measure and shrink every image of a table with path, split and class; each file is read once.

    Raises:
        AuditError: where not one can be read.
    """
    folder = Path(folder)
    thumbnails = np.empty((len(images), SIDE * SIDE), dtype=np.float32)
    measured, unreadable = [], []
    with ThreadPoolExecutor() as pool:
        done = pool.map(lambda path: _measure(folder / path), images["path"])
        for path, (values, thumbnail, reason) in zip(images["path"], _bar(done, "decode", len(images))):
            if reason:
                unreadable.append((path, reason))
                continue
            thumbnails[len(measured)] = thumbnail
            measured.append({"path": path, **values})
    unreadable = pd.DataFrame(unreadable, columns=["path", "reason"])
    if not measured:
        first = f"{unreadable['path'][0]}: {unreadable['reason'][0]}"
        raise AuditError(f"none of the {len(images)} images in {folder} can be read; the first is {first}")
    return Scans(images.merge(pd.DataFrame(measured), on="path"), thumbnails[: len(measured)], unreadable)


def _measure(path):
    """What `Scans` holds of one file: values, thumbnail and None; or None, None and the reason why it cannot be read."""
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            grey, colour = _grey(image), _has_colour(image)
    except Exception as error:  # decoders fail in many ways, and one bad file must not end the audit
        return None, None, " ".join(str(error).split())[:200] or type(error).__name__
    values = {"sha256": hashlib.sha256(content).hexdigest(), "width": grey.width, "height": grey.height, "colour": colour}
    values["mean"], values["std"] = _mean_and_std(grey)
    thumbnail = grey.convert("F").resize((SIDE, SIDE), Image.Resampling.BOX)  # floats: rounded, faint images would be noise
    return values, standardise(np.asarray(thumbnail)), None


def _grey(image):
    """Grey levels in 8 bits; as 32-bit floats where the image has more, which 8 would clip."""
    return image.convert("F") if image.mode.startswith(("I", "F")) else image.convert("L")


def _mean_and_std(grey):
    if grey.mode == "L":
        counted = ImageStat.Stat(grey)  # from the histogram, several times faster than from the pixels
        return counted.mean[0], counted.stddev[0]
    pixels = np.asarray(grey, dtype=float)
    return float(pixels.mean()), float(pixels.std())


def _has_colour(image):
    if image.mode in ("1", "L", "LA", "F") or image.mode.startswith("I"):
        return False
    red, green, blue = image.convert("RGB").split()
    return any(ImageChops.difference(red, other).getbbox() for other in (green, blue))


def standardise(pixels: np.ndarray) -> np.ndarray:
    """A thumbnail as a vector of mean 0 and norm 1, float32, so that a product of two is their correlation.

    A constant image becomes all zeros: it correlates with none, not even itself.
    """
    centred = pixels.astype(float).ravel()
    centred -= centred.mean()
    norm = np.linalg.norm(centred)
    return (centred / norm if norm > CONSTANT else np.zeros_like(centred)).astype(np.float32)


def manifest_thumbnails(folder, manifest: pd.DataFrame) -> np.ndarray:
    """Thumbnails as those behind the manifest's `nearest_training_corr`, `near_copy` and `group`, float32, (rows, 1024).

    The JPEG decoder itself shrinks each image, by 2, 4 or 8, to no less than 64 pixels a side; its rounded grey levels are then
    averaged down to 32. Twice as fast as full decoding, but the last row and column of a shrunk image may cover less than the
    others, by an amount that depends on its size, so that copies of different sizes correlate a little less.
    """

    def shrink(path):
        with Image.open(Path(folder) / path) as image:
            image.draft("L", (2 * SIDE, 2 * SIDE))
            return standardise(np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)))

    with ThreadPoolExecutor() as pool:
        return np.stack(list(_bar(pool.map(shrink, manifest["path"]), "shrink", len(manifest))))


def _bar(iterable, text, total):
    in_notebook = "ipykernel" in sys.modules  # its outputs are stored, and a bar is none
    return tqdm(iterable, desc=text, total=total, leave=False, disable=in_notebook or None)  # None: shown on a terminal only


def nearest(thumbnails, rows=None, reference=None, groups=None, tile=TILE) -> tuple:
    """The most alike other image of each row, tile by tile.

    Args:
        thumbnails: float32, (images, pixels), as `standardise` makes them.
        rows: numbers of the images asked about; None for all.
        reference: numbers of the images looked among; None for all.
        groups: a label an image, (images,): neighbours with the same label are banned; missing ones ban nothing.
        tile: images a side of the correlations held at one time.

    Returns:
        Number of the neighbour, int64, and its correlation, float32, both (rows,); -1 and NaN where no neighbour is allowed.
        Images of one grey have none, and are nobody's.
    """
    rows = np.arange(len(thumbnails)) if rows is None else np.asarray(rows)
    reference = np.arange(len(thumbnails)) if reference is None else np.asarray(reference)
    codes = None if groups is None else pd.factorize(np.asarray(groups))[0]
    constant = ~thumbnails.any(axis=1)
    neighbour = np.full(len(rows), -1)
    best = np.full(len(rows), -np.inf, dtype=np.float32)
    for at, to in _tiles(len(rows), len(reference), tile):
        here, there = rows[at], reference[to]
        correlation = thumbnails[here] @ thumbnails[there].T
        correlation[(here[:, None] == there) | constant[here][:, None] | constant[there]] = -np.inf
        if codes is not None:
            correlation[(codes[here][:, None] == codes[there]) & (codes[there] >= 0)] = -np.inf
        column = correlation.argmax(axis=1)
        found = correlation[np.arange(len(here)), column]
        neighbour[at] = np.where(found > best[at], there[column], neighbour[at])
        best[at] = np.maximum(found, best[at])
    return neighbour, np.where(neighbour < 0, np.nan, best)


def near_copies(thumbnails, threshold=NEAR_COPY, tile=TILE) -> pd.DataFrame:
    """All pairs of images whose thumbnails correlate above a threshold, tile by tile: first < second, correlation.

    Raises:
        AuditError: for more than `MOST_PAIRS` pairs.
    """
    found, count = [], 0
    for at, to in _tiles(len(thumbnails), len(thumbnails), tile, upper=True):
        correlation = thumbnails[at] @ thumbnails[to].T
        first, second = np.nonzero(correlation > threshold)
        pair = first + at.start < second + to.start
        first, second = first[pair], second[pair]
        columns = {"first": first + at.start, "second": second + to.start, "correlation": correlation[first, second]}
        found.append(pd.DataFrame(columns))
        count += len(first)
        if count > MOST_PAIRS:
            raise AuditError(f"more than {MOST_PAIRS:,} pairs of near-copies: remove byte-identical files first")
    return pd.concat(found, ignore_index=True)


def _tiles(rows, columns, tile, upper=False):
    """Pairs of slices that cover a (rows, columns) matrix, with a bar; its upper triangle only where asked."""
    starts = [(row, column) for row in range(0, rows, tile) for column in range(0, columns, tile) if not upper or column >= row]
    for row, column in _bar(starts, "correlate", len(starts)):
        yield slice(row, min(row + tile, rows)), slice(column, min(column + tile, columns))


def near_copy_sets(count: int, pairs: pd.DataFrame) -> np.ndarray:
    """A label for each of `count` images, (count,): images linked by near-copies, over others too, share one."""
    links = coo_array((np.ones(len(pairs), dtype=bool), (pairs["first"], pairs["second"])), shape=(count, count))
    return connected_components(links, directed=False)[1]


def byte_identical(table: pd.DataFrame) -> pd.DataFrame:
    """Sets of files with one SHA-256, a row a set: files, splits and classes that it lies in; largest first."""
    sets = table.groupby("sha256").agg(files=("path", "size"), splits=("split", "nunique"), classes=("class", "nunique"))
    return sets[sets["files"] > 1].sort_values("files", ascending=False, kind="stable")


def one_nearest_neighbour(thumbnails, labels, rows=None, reference=None, groups=None) -> np.ndarray:
    """Whether the nearest image (as `nearest` finds it) has the true label, bool, (rows,); False where there is none."""
    labels = np.asarray(labels)
    neighbour, _ = nearest(thumbnails, rows, reference, groups)
    asked = labels if rows is None else labels[rows]
    return (neighbour >= 0) & (labels[neighbour] == asked)


def neighbour_scores(manifest: pd.DataFrame, thumbnails: np.ndarray) -> pd.DataFrame:
    """Accuracy of 1-nearest-neighbour on the report's splits, with no training: images asked about, right, accuracy, by name.

    The third row bans, on split B, neighbours of the same group: of the same known patient, or linked by near-copies. The last
    two are split B's Cheng slices among themselves, whose patients are all known, with the same patient allowed and banned.
    """
    cheng = manifest["cheng_slice"].notna().to_numpy()
    split_a, split_b = protocols.testing_folder(manifest), protocols.training_only(manifest)
    known = [rows[cheng[rows]] for rows in (split_b.validation, split_b.train)]
    asked = {
        "split A": (split_a.validation, split_a.train, None),
        "split B": (split_b.validation, split_b.train, None),
        "split B, same group banned": (split_b.validation, split_b.train, manifest["group"]),
        "split B, Cheng slices": (*known, None),
        "split B, Cheng slices, same patient banned": (*known, manifest["patient"]),
    }
    right = {name: one_nearest_neighbour(thumbnails, manifest["class"], *rest) for name, rest in asked.items()}
    table = {name: {"images": len(found), "right": found.sum(), "accuracy": found.mean()} for name, found in right.items()}
    return pd.DataFrame(table).T.astype({"images": int, "right": int})


def nearest_trained(run, manifest: pd.DataFrame, thumbnails=None) -> pd.DataFrame:
    """The image most like each validation image of a run, among those that it trained on; a row a path, in the run's order.

    Args:
        run: a `training.Run`.
        manifest: in its own order.
        thumbnails: `manifest_thumbnails`. None, for want of the dataset: the manifest's `nearest_training` stands in where that
            image trained, for then it is the nearest; for other images what is nearest is not known.

    Returns:
        nearest (its path) and nearest_class (a name), None where not known; correlation, NaN there; same_group: whether it is of
        the same group; group_trained: whether any image of the same group trained.
    """
    rows = pd.Series(np.arange(len(manifest)), index=manifest["path"])
    validation, train = rows[list(run.val_paths)].to_numpy(), rows[list(run.train_paths)].to_numpy()
    asked = manifest.iloc[validation].set_index("path")
    if thumbnails is None:
        table = asked[["nearest_training", "nearest_training_corr"]].where(asked["nearest_training"].isin(run.train_paths))
        table = table.set_axis(["nearest", "correlation"], axis=1)
    else:
        neighbour, correlation = nearest(thumbnails, validation, train)
        table = pd.DataFrame({"nearest": manifest["path"].to_numpy()[neighbour], "correlation": correlation}, index=asked.index)
    table["nearest"] = table["nearest"].astype(object).where(table["nearest"].notna(), None)
    of = manifest.set_index("path").reindex(table["nearest"])
    table["nearest_class"] = of["class"].map(dict(zip(dataset.CLASSES, dataset.NAMES))).to_numpy()
    table["same_group"] = of["group"].to_numpy() == asked["group"].to_numpy()
    table["group_trained"] = asked["group"].isin(manifest["group"].iloc[train])
    return table


def testing_near_copies(manifest: pd.DataFrame) -> pd.DataFrame:
    """Each near-copy in Testing with its nearest image in Training, from the manifest, the least alike first."""
    first = manifest.iloc[protocols.testing_parts(manifest)["near-copies"]]
    second = manifest.set_index("path").loc[first["nearest_training"]].reset_index()
    told = pd.DataFrame({"correlation": first["nearest_training_corr"].to_numpy()})
    for side, rows in {"first": first.reset_index(), "second": second}.items():
        told[[side, f"{side}_split", f"{side}_class"]] = rows[["path", "split", "class"]]
    return told.sort_values(["correlation", "first"], ignore_index=True)


def shortcut(features, labels, groups) -> np.ndarray | None:
    """Whether a decision tree of depth 3 tells each image's label from a few numbers, bool, (images,).

    By cross-validation in up to 5 folds that keep groups whole; None where a class has fewer than 2 groups.
    """
    labels, groups = np.asarray(labels), np.asarray(groups)
    folds = min(protocols.GROUPED_FOLDS, pd.Series(groups).groupby(labels).nunique().min())
    if folds < 2:
        return None
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=protocols.SPLIT_SEED)
    tree = DecisionTreeClassifier(max_depth=3, random_state=protocols.SPLIT_SEED)
    return cross_val_predict(tree, features, labels, groups=groups, cv=splitter) == labels


def _fact(fact, figure, of=None):
    return {"fact": fact, "figure": int(figure), "share": figure / of if of else np.nan}


def _image_facts(scans, pairs, groups):
    """Facts that need nothing but the images; `groups` keeps images together when shortcuts are judged."""
    table = scans.table
    facts = [_fact("images", len(table)), _fact("images that cannot be read", len(scans.unreadable))]
    facts += [_fact("images of one grey, which no neighbour is sought for", (~scans.thumbnails.any(axis=1)).sum())]
    facts.append(_fact("images in colour", table["colour"].sum(), len(table)))
    for key, rows in table.groupby(["split", "class"]):
        facts.append(_fact(f"{_folder(*key)}: images", len(rows), len(table)))
        facts.append(_fact("  different sizes", len(rows[["width", "height"]].drop_duplicates())))
        if rows["colour"].any():
            facts.append(_fact("  in colour", rows["colour"].sum(), len(rows)))
    facts += _identical_facts(table) + _near_copy_facts(table, pairs)
    return facts + _neighbour_facts(scans, pairs) + _shortcut_facts(table, groups)


def _folder(split, name):
    return f"{split}/{name}" if split else name


def _largest_split(table):
    return table["split"].value_counts().index[0]


def _identical_facts(table):
    sets = byte_identical(table)
    facts = [
        _fact("sets of byte-identical files", len(sets)),
        _fact("surplus files in them", table.duplicated("sha256").sum(), len(table)),
        _fact("files in the largest set", sets["files"].max() if len(sets) else 0),
        _fact("sets across classes", (sets["classes"] > 1).sum(), len(sets)),
    ]
    training = _largest_split(table)
    for split, rows in table.groupby("split"):
        if table["split"].nunique() > 1:
            facts.append(_fact(f"{split}: surplus files inside it", rows.duplicated("sha256").sum(), len(rows)))
        if split != training:
            copies = rows["sha256"].isin(table.loc[table["split"] == training, "sha256"])
            facts.append(_fact(f"{split}: files byte-identical to one of {training}", copies.sum(), len(rows)))
    return facts


def _near_copy_facts(table, pairs):
    splits, classes = table["split"].to_numpy(), table["class"].to_numpy()
    first, second = pairs["first"], pairs["second"]
    copied = np.union1d(first, second)
    facts = [
        _fact("images with a near-copy", len(copied), len(table)),
        _fact("pairs of near-copies", len(pairs)),
        _fact("pairs across classes: label conflicts", (classes[first] != classes[second]).sum(), len(pairs)),
    ]
    if table["split"].nunique() > 1:
        facts.append(_fact("pairs across splits", (splits[first] != splits[second]).sum(), len(pairs)))
    training = _largest_split(table)
    near = _near_training(table, pairs)
    for split, rows in table.groupby("split"):
        if split != training:
            text = f"near-copy in {training}"
            facts.append(_fact(f"{split}: images with a {text}", near[rows.index].sum(), len(rows)))
            facts += [_fact(f"  of {name}", near[some.index].sum(), len(some)) for name, some in rows.groupby("class")]
    return facts


def _near_training(table, pairs):
    """Whether each image has a near-copy in the largest split, bool, (images,)."""
    trains = (table["split"] == _largest_split(table)).to_numpy()
    near = np.zeros(len(table), dtype=bool)
    near[pairs["first"][trains[pairs["second"]]]] = True
    near[pairs["second"][trains[pairs["first"]]]] = True
    return near


def _neighbour_facts(scans, pairs):
    """1-nearest-neighbour: the other splits judged by the largest one; a single split by itself, with near-copies and without."""
    table, labels = scans.table, scans.table["class"].to_numpy()
    trains = (table["split"] == _largest_split(table)).to_numpy()
    if trains.all():
        right = one_nearest_neighbour(scans.thumbnails, labels)
        alone = one_nearest_neighbour(scans.thumbnails, labels, groups=near_copy_sets(len(table), pairs))
        return [
            _fact("class of the nearest other image is right", right.sum(), len(right)),
            _fact("the same, near-copies banned", alone.sum(), len(alone)),
        ]
    rows = np.flatnonzero(~trains)
    right = one_nearest_neighbour(scans.thumbnails, labels, rows, np.flatnonzero(trains))
    near = _near_training(table, pairs)[rows]
    text = f"outside {_largest_split(table)}: class of the nearest image in it is right"
    return [
        _fact(text, right.sum(), len(right)),
        _fact("the same, images with a near-copy in it", right[near].sum(), near.sum()),
        _fact("the same, images without", right[~near].sum(), (~near).sum()),
    ]


def _shortcut_facts(table, groups):
    """How often a class is told from what a network should not need, in the largest split."""
    trains = (table["split"] == _largest_split(table)).to_numpy()
    training, groups = table[trains], np.asarray(groups)[trains]
    facts = [_fact("largest class: right by always saying it", training["class"].value_counts().iloc[0], len(training))]
    for text, names in {
        "width and height": ["width", "height"],
        "mean and deviation of grey": ["mean", "std"],
        "all four": ["width", "height", "mean", "std"],
    }.items():
        right = shortcut(training[names], training["class"], groups)
        if right is not None:
            facts.append(_fact(f"class told by a small tree from {text}", right.sum(), len(right)))
    return facts


def _say_pairs(pairs, table, groups=None):
    """The pairs by path, split and class, most telling first; with `groups`, whether both images have the same one."""
    first, second = table.iloc[pairs["first"]].reset_index(), table.iloc[pairs["second"]].reset_index()
    told = pd.DataFrame({"correlation": pairs["correlation"].round(4)})
    for side, rows in {"first": first, "second": second}.items():
        told[[side, f"{side}_split", f"{side}_class"]] = rows[["path", "split", "class"]]
    told["byte_identical"] = first["sha256"] == second["sha256"]
    if groups is not None:
        told["same_group"] = groups[pairs["first"]] == groups[pairs["second"]]
    order = pd.DataFrame({"same_class": first["class"] == second["class"], "same_split": first["split"] == second["split"]})
    order = order.join(told[["correlation", "first", "second"]]).sort_values(list(order) + ["correlation", "first", "second"])
    return told.loc[order.index].reset_index(drop=True)


def manifest_facts(manifest: pd.DataFrame, thumbnails: np.ndarray) -> list:
    """Facts about patients, sources, labels and the two splits, from the manifest and `manifest_thumbnails`.

    Whether an image has a near-copy is found anew from the thumbnails, not read from the manifest.
    """
    split = protocols.testing_folder(manifest)
    neighbour, correlation = nearest(thumbnails, reference=split.train)
    near = correlation > NEAR_COPY
    return [
        *_source_facts(manifest),
        *_patient_facts(manifest),
        *_label_facts(manifest, near_copies(thumbnails)),
        *_testing_facts(manifest, near, neighbour),
        *_random_split_facts(manifest, thumbnails),
        *_cheng_facts(manifest, thumbnails),
    ]


def _source_facts(manifest):
    cheng = manifest["cheng_slice"].notna()
    groups = manifest.groupby(["split", "class"], sort=False)
    return [_fact(f"{_folder(*key)}: slices of the Cheng set", cheng[rows.index].sum(), len(rows)) for key, rows in groups]


def _patient_facts(manifest):
    of_split = {split: set(rows["patient"].dropna()) for split, rows in manifest.groupby("split")}
    facts = [_fact(f"{split}: known patients", len(of_split[split])) for split in dataset.SPLITS]
    both = of_split["Training"] & of_split["Testing"]
    facts.append(_fact("patients of Testing who are in Training too", len(both), len(of_split["Testing"])))
    return facts + [_fact("images of no known patient", manifest["patient"].isna().sum(), len(manifest))]


def label_conflicts(manifest: pd.DataFrame) -> pd.DataFrame:
    """Rows of the manifest whose folder is not their class in the Cheng set."""
    known = manifest["cheng_label"].notna()
    return manifest[known & (manifest["cheng_label"] + "_tumor" != manifest["class"])]


def _label_facts(manifest, pairs):
    conflicts = label_conflicts(manifest)
    classes = manifest["class"].to_numpy()
    across = classes[pairs["first"]] != classes[pairs["second"]]
    return [
        _fact("files whose class is another in the Cheng set", len(conflicts)),
        _fact("slices that they are of", conflicts["cheng_slice"].nunique()),
        _fact("patients that they are of", conflicts["patient"].nunique()),
        _fact("near-copy pairs across classes, as in the manifest", across.sum(), len(pairs)),
    ]


def _testing_facts(manifest, near, neighbour):
    """The disjoint parts of Testing, and what 1-nearest-neighbour in Training makes of them."""
    testing = (manifest["split"] == "Testing").to_numpy()
    labels = manifest["class"].to_numpy()
    right = labels[neighbour] == labels
    foreign = testing & ~near & (labels == "glioma_tumor") & manifest["cheng_slice"].isna().to_numpy()
    known = manifest["patient"].isin(manifest.loc[~testing, "patient"].dropna()).to_numpy()
    parts = {
        "with a near-copy in Training, as in the manifest": testing & near,
        "foreign gliomas among the others": foreign,
        "neither": testing & ~near & ~foreign,
        "without a near-copy, but of a patient in Training": testing & ~near & known,
        "unseen: no near-copy, no patient in Training": testing & ~near & ~known,
    }
    facts = []
    for text, part in parts.items():
        facts.append(_fact(f"Testing, {text}", part.sum(), testing.sum()))
        found = manifest[part].groupby("class").size()  # a class without an image has no row
        facts += [_fact(f"  of these {name}", count, part.sum()) for name, count in found.items()]
    text = "nearest image in Training has the right class"
    facts.append(_fact(f"Testing: {text}", right[testing].sum(), testing.sum()))
    for name in dataset.CLASSES:
        facts.append(_fact(f"  of {name}", right[testing & (labels == name)].sum(), (testing & (labels == name)).sum()))
    facts.append(_fact("  with a near-copy in Training", right[testing & near].sum(), (testing & near).sum()))
    return facts + [_fact("  without", right[testing & ~near].sum(), (testing & ~near).sum())]


def _random_split_facts(manifest, thumbnails):
    """What the report's random 80/20 split of Training (split B) leaves on both sides."""
    split = protocols.training_only(manifest)
    train, validation = manifest.iloc[split.train], manifest.iloc[split.validation]
    known = validation["patient"].dropna()
    right = one_nearest_neighbour(thumbnails, manifest["class"], split.validation, split.train)
    return [
        _fact("split B: validation images", len(validation)),
        _fact("  byte-identical to one that trains", validation["sha256"].isin(train["sha256"]).sum(), len(validation)),
        _fact("  in a group with one that trains", validation["group"].isin(train["group"]).sum(), len(validation)),
        _fact("  of known patients, the patient trains too", known.isin(train["patient"].dropna()).sum(), len(known)),
        _fact("  nearest image that trains has the right class", right.sum(), len(right)),
    ]


def _cheng_facts(manifest, thumbnails):
    """Training's Cheng slices judged by one another: with neighbours of the same patient, and without."""
    rows = np.flatnonzero((manifest["split"] == "Training") & manifest["cheng_slice"].notna())
    labels = manifest["class"]
    allowed = one_nearest_neighbour(thumbnails, labels, rows, rows)
    banned = one_nearest_neighbour(thumbnails, labels, rows, rows, groups=manifest["patient"])
    return [
        _fact("Training, Cheng slices: nearest of them has the right class", allowed.sum(), len(allowed)),
        _fact("  the same, neighbours of the same patient banned", banned.sum(), len(banned)),
    ]
