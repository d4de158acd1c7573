"""The manifest of a folder of images, the groups that no split may separate, and the folds that keep them whole.

Two images share a group if they are of one known patient, if they are near-duplicates, or if a chain of such links joins them.
Groups are numbered by the first of their paths, in plain alphabetical order of all paths. The rule needs nothing but paths and
links: another order of reading gives the same numbers.
"""

import fnmatch
import hashlib
import io
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from tumor_mri.audit import alignment, near_copies, scans
from tumor_mri.datasets import image_files, manifests, protocols

KNOWN_SHA256 = "698aa1076139b901cc394872924c7de78eec0fc468555363d24a43dc1edcc5a2"  # of data/known_slices.csv
KNOWN = ["cheng_slice", "cheng_label", "patient"]  # columns that no image tells by itself
TYPES = {"cheng_slice": "Int64", "cheng_label": "string", "patient": "string"}
VERSION = manifests.GROUPS_VERSION
DECIMALS = 9  # of a correlation, when the nearest image is sought: more are noise, which would decide between identical images
LAST_DIGIT = 1.01e-4  # of `nearest_training_corr`, which has four decimals: another decoder or processor may change the last one


def whole_image_pairs(folder: Path, table: pd.DataFrame, thumbnails: np.ndarray) -> pd.DataFrame:
    """Version 1 of near-duplicates: pairs of images whose whole thumbnails correlate above 0.99.

    Args:
        folder: that of the images, for other versions, which read them again.
        table: path, split, class and sha256 of each image.
        thumbnails: float32, (images, 1024), as `near_copies.standardise` makes them.

    Returns:
        first, second (row numbers of `table`) and correlation, a row a pair.
    """
    return near_copies.near_copy_pairs(thumbnails)


def whole_and_aligned_pairs(folder: Path, table: pd.DataFrame, thumbnails: np.ndarray) -> pd.DataFrame:
    """Version 2 of near-duplicates: the pairs of version 1, and aligned copies, which were cropped, rescaled or mirrored.

    Args:
        folder, table, thumbnails: as for `whole_image_pairs`.

    Returns:
        As `alignment.of_both_stages`; first and second are row numbers of `table`.
    """
    sketches = alignment.sketches([folder / path for path in table["path"]])
    return alignment.of_both_stages(whole_image_pairs(folder, table, thumbnails), alignment.aligned_copies(sketches))


PAIRS_OF = {1: whole_image_pairs, 2: whole_and_aligned_pairs}  # what finds near-duplicates, by version of the groups
NEWEST = max(PAIRS_OF)  # for a folder of one's own


def load_known() -> pd.DataFrame:
    """The committed table of known slices: sha256 of a file, cheng_slice, cheng_label and patient, a row a file content.

    Raises:
        DatasetError: if the table is not the committed one.
    """
    path = manifests.DATA / "known_slices.csv"
    manifests.check_table(path, KNOWN_SHA256, ["sha256", *KNOWN])
    return pd.read_csv(path, dtype=TYPES)


def build_manifest(
    folder: str | Path,
    known: pd.DataFrame | None = None,
    patients: pd.DataFrame | str | None = None,
    version: int = VERSION,
) -> pd.DataFrame:
    """The manifest of ``<folder>/<class>/<image>`` or ``<folder>/<split>/<class>/<image>``: a row an image.

    Of several splits, `scans.training_split` says which one trains; its rows come first, then those of the other splits, each by
    class and name. Columns are those of `data/README.md`, `manifests.COLUMNS`; what nothing is known of is missing.

    Args:
        folder: of the images.
        known: sha256, cheng_slice, cheng_label and patient, as `load_known` gives them.
        patients: path (or a pattern with ``*``, ``?`` or ``[``) and patient; see `load_patients`. It overrides `known`.
        version: of the groups; one of `PAIRS_OF`.

    Raises:
        AuditError: if there is no image, one cannot be read, `patients` fits no image, or there is no such version.
    """
    if version not in PAIRS_OF:
        raise near_copies.AuditError(
            f"there is no version {version} of the groups: choose one of {', '.join(map(str, PAIRS_OF))}"
        )
    folder = Path(folder)
    images, _ = scans.list_images(folder)
    images = images.iloc[_order(images)].reset_index(drop=True)
    table, thumbnails = _measure(folder, images)
    table = _with_known(table, known)
    if patients is not None:
        table["patient"] = patients_of(table["path"], patients).fillna(table["patient"])
    pairs = PAIRS_OF[version](folder, table, thumbnails)
    table["group"] = group_numbers(table["path"], table["patient"], pairs)
    table = table.join(_nearest_training(table, thumbnails))
    table["near_copy"] = near_copies.linked_to(scans.is_training(table), pairs).astype(int)
    return table[manifests.COLUMNS]


def _order(images):
    """Row numbers in the manifest's order: the split that trains, the others, each by class and name."""
    names = [path.rsplit("/", 1)[1] for path in images["path"]]
    keys = zip(~scans.is_training(images), images["split"], images["class"], names, strict=True)
    return [row for _, row in sorted((key, row) for row, key in enumerate(keys))]


def _measure(folder, images):
    """The table with sha256, bytes, width and height, and thumbnails of its images, float32, (images, 1024).

    Raises:
        AuditError: naming the first image that cannot be read.
    """

    def measure(path):
        try:
            content = (folder / path).read_bytes()
            with image_files.open_quietly(io.BytesIO(content)) as image:
                size = image.size  # before `shrink`, which lets the decoder give a smaller image
                return (hashlib.sha256(content).hexdigest(), len(content), *size), scans.shrink(image)
        except Exception as error:  # decoders fail in many ways
            raise near_copies.AuditError(
                f"{path} {image_files.reason(error)}: repair or remove it; `tumor-mri audit` lists all such images"
            ) from error

    with ThreadPoolExecutor() as pool:
        done = list(near_copies.progress_bar(pool.map(measure, images["path"]), "read", len(images)))
    measured = pd.DataFrame([values for values, _ in done], columns=["sha256", "bytes", "width", "height"])
    return images.join(measured), np.stack([thumbnail for _, thumbnail in done])


def _with_known(table, known):
    """The table with the columns `KNOWN`, joined by the files' SHA-256; missing values if nothing is known."""
    if known is None:
        known = pd.DataFrame(columns=["sha256", *KNOWN])
    return table.merge(known.astype(TYPES), on="sha256", how="left", validate="many_to_one")


def load_patients(path: str | Path) -> pd.DataFrame | str:
    """Who is on which image: a CSV file with the columns path and patient, or a regular expression.

    A path is relative to the folder of images, with slashes, or a pattern for many: ``*/case012_*.png``. What does not end in
    ``.csv`` and is no file is a regular expression; its first group is the patient: ``case([0-9]+)``.

    Raises:
        AuditError: if it is neither.
    """
    if not str(path).lower().endswith(".csv") and not Path(path).exists():
        return _checked_pattern(str(path))
    try:
        table = pd.read_csv(path, dtype="string")
    except ValueError as error:  # not a table, no text, or nothing in it
        raise near_copies.AuditError(f"{path} cannot be read as a CSV file: {error}") from error
    if not {"path", "patient"} <= set(table.columns):
        raise near_copies.AuditError(f"{path} needs the columns path and patient, separated by commas")
    return table[["path", "patient"]].dropna()


def _checked_pattern(pattern):
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise near_copies.AuditError(f"{pattern!r} is neither a CSV file nor a regular expression: {error}") from None
    if not groups:
        raise near_copies.AuditError(f"the regular expression {pattern!r} needs a group for the patient, as in case([0-9]+)")
    return pattern


def patients_of(paths: Sequence[str], patients: pd.DataFrame | str) -> pd.Series:
    """The patient of each path, (paths,), in order; missing if nothing fits it.

    Args:
        paths: of the images.
        patients: a table with path (or a pattern) and patient, of which a whole path overrides patterns; or a regular expression
            whose first group is the patient. See `load_patients`.

    Raises:
        AuditError: if a line fits no path, or one path has two patients.
    """
    if isinstance(patients, str):
        matches = [re.search(_checked_pattern(patients), path) for path in paths]
        if not any(matches):
            raise near_copies.AuditError(f"no image fits the regular expression {patients!r}")
        return pd.Series([match and match[1] for match in matches], dtype="string")
    found = [[] for _ in paths]  # line and patient, of each line that fits
    row_of = {path: row for row, path in enumerate(paths)}
    for line, patient in patients.itertuples(index=False):
        rows = [row_of[line]] if line in row_of else [row_of[path] for path in fnmatch.filter(paths, line)]
        if not rows:
            raise near_copies.AuditError(f"no image fits the line {line!r} of the table of patients")
        for row in rows:
            found[row].append((line, patient))
    one = [_one_patient(path, lines) for path, lines in zip(paths, found, strict=True)]
    return pd.Series(one, dtype="string")


def _one_patient(path, found):
    """The patient of the lines that are the whole path, else of the patterns that fit; None if there is no line."""
    found = [(line, patient) for line, patient in found if line == path] or found
    if len({patient for _, patient in found}) > 1:
        raise near_copies.AuditError(f"{path} has two patients: {', '.join(f'{patient} by {line!r}' for line, patient in found)}")
    return found[0][1] if found else None


def group_numbers(paths: Sequence[str], patients: Sequence, pairs: pd.DataFrame) -> np.ndarray:
    """The group of each image, int64, (images,): connected by a patient or by pairs, numbered by their first path.

    Args:
        paths: of the images, (images,), each once.
        patients: of the images, (images,), missing ones link nothing.
        pairs: first and second, row numbers of near-duplicates.
    """
    known = pd.DataFrame({"patient": np.asarray(patients, dtype=object), "second": np.arange(len(paths))}).dropna()
    known["first"] = known.groupby("patient")["second"].transform("first")
    links = pd.concat([pairs[["first", "second"]], known[["first", "second"]]]).astype(int)
    label = near_copies.near_copy_sets(len(paths), links)
    by_path = np.argsort(np.asarray(paths, dtype=object))
    numbers = np.empty(len(paths), dtype=np.int64)
    numbers[by_path] = pd.factorize(label[by_path])[0]
    return numbers


def _nearest_training(table, thumbnails):
    """Path and correlation of the closest other image that trains; of equally close ones, the first."""
    neighbour, correlation = near_copies.nearest(
        thumbnails.astype(float), reference=np.flatnonzero(scans.is_training(table)), decimals=DECIMALS
    )
    paths = table["path"].to_numpy(dtype=object)[neighbour]
    paths[neighbour < 0] = None  # images of one grey, or a single image
    return pd.DataFrame({"nearest_training": paths, "nearest_training_corr": correlation.round(4)})


def fold_count(manifest: pd.DataFrame) -> tuple[int, str]:
    """How many folds there can be, at most 5, and the sentence that says why there are fewer; empty if there are not.

    Each class needs a group for each fold: with a single group in a class there are no folds, 0.
    """
    rows = manifest[scans.is_training(manifest)]
    return _fold_count(rows["class"], rows["group"])


def _fold_count(classes, groups):
    groups = pd.Series(np.asarray(groups)).groupby(np.asarray(classes)).nunique()
    fewest, count = groups.idxmin(), int(groups.min())
    if count >= protocols.GROUPED_FOLDS:
        return protocols.GROUPED_FOLDS, ""
    folds = count if count > 1 else 0
    return folds, f"fewer than {protocols.GROUPED_FOLDS}, as the class {fewest} has {count} group{'s' * (count > 1)} only"


def groups_table(manifest: pd.DataFrame, version: int = VERSION) -> pd.DataFrame:
    """Path, group, fold in which each image validates (-1 if it is of no fold), and version of the groups, a row an image.

    The folds are those of the protocol ``grouped``: stratified by class, whole groups, shuffled with seed 1337; fewer than 5 if
    a class has fewer groups (`fold_count`). Splits that do not train are of no fold.
    """
    fold = np.full(len(manifest), -1)
    trains = scans.is_training(manifest)
    fold[trains] = folds_of(manifest.loc[trains, "class"], manifest.loc[trains, "group"])
    return manifest[["path", "group"]].assign(fold=fold, version=version)


def folds_of(classes: Sequence, groups: Sequence) -> np.ndarray:
    """The fold in which each image validates, int64, (images,): up to 5 folds, stratified by class, groups whole, shuffled.

    Args:
        classes, groups: of the images, (images,). With a single group in a class there are no folds: all are -1.
    """
    count, _ = _fold_count(classes, groups)
    fold = np.full(len(classes), -1)
    if count:
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=protocols.SPLIT_SEED)
        for number, (_, validation) in enumerate(splitter.split(fold, classes, groups)):
            fold[validation] = number
    return fold


def check_groups(manifest: pd.DataFrame) -> None:
    """Make sure that the committed groups and folds are those of the manifest.

    Raises:
        DatasetError: naming the first difference.
    """
    found = differences(groups_table(manifest), manifests.load_groups())
    if found:
        raise manifests.DatasetError(f"{manifests.DATA / 'groups.csv'} does not fit the manifest: {told(found)}")


def check_committed(made: pd.DataFrame) -> list[str]:
    """How a manifest made here, and its groups, differ from the committed tables: a sentence each, none if they do not.

    The committed manifest is read as it is, edited or not, so that an edited cell is named. `nearest_training_corr` may differ by
    one in its last digit.

    Raises:
        DatasetError: if a file cannot be read as a table.
    """
    found = {
        "manifest.csv": differences(made, manifests.read_text(manifests.DATA / "manifest.csv")),
        "groups.csv": differences(groups_table(made), manifests.load_groups()),
    }
    return [f"{name}: {sentence}" for name, sentences in found.items() for sentence in sentences]


def told(found: list[str]) -> str:
    """How many differences there are, and the first: the end of a sentence."""
    return f"{len(found):,} difference{'s' * (len(found) > 1)}, the first is {found[0]}"


def differences(made: pd.DataFrame, committed: pd.DataFrame) -> list[str]:
    """How a committed table differs from the one made here, as printed, in words: its columns, else its rows, else its cells."""
    made, committed = (manifests.read_text(io.StringIO(table.to_csv(index=False))) for table in (made, committed))
    if list(made.columns) != list(committed.columns):
        return [f"the columns are {', '.join(committed.columns)}, expected {', '.join(made.columns)}"]
    if list(made["path"]) != list(committed["path"]):
        return _row_differences(made["path"], committed["path"])
    return [sentence for column in made.columns for sentence in _cell_differences(column, made, committed)]


def _row_differences(made, committed):
    found = [f"{path} has no row" for path in made[~made.isin(committed)]]
    found += [f"{path} is not among the images" for path in committed[~committed.isin(made)]]
    found += [f"{path} has more than one row" for path in committed[committed.duplicated()]]
    return found or ["the rows are in another order"]


def _cell_differences(column, made, committed):
    same = made[column] == committed[column]
    if column == "nearest_training_corr":
        ours, theirs = (pd.to_numeric(table[column], errors="coerce") for table in (made, committed))
        same |= (ours - theirs).abs() < LAST_DIGIT
    rows = np.flatnonzero(~same)
    return [f"{made['path'][row]}: {column} is {committed[column][row]!r}, expected {made[column][row]!r}" for row in rows]
