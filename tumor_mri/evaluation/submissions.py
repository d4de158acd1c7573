"""Predictions from any tool, as a table: read, checked and made ready to be scored like the project's own runs."""

from pathlib import Path

import numpy as np
import pandas as pd

from tumor_mri import stats
from tumor_mri.datasets import manifests, protocols
from tumor_mri.evaluation import scoring
from tumor_mri.models import networks
from tumor_mri.runs import configs

KEYS = ("protocol", "seed", "fold")  # columns that say which training a row is of; the first two may be missing
SHOWN = 3  # examples in a message


def folds_table(protocol: str, manifest: pd.DataFrame) -> pd.DataFrame:
    """Which images train and which validate: fold, subset (``train`` or ``validation``), path, class.

    Raises:
        ValueError: if there is no such protocol.

    Example:
        >>> folds_table("training_only", manifests.load_manifest()).groupby("subset").size().to_dict()
        {'train': 2296, 'validation': 574}
    """
    parts = []
    for fold in range(protocols.get(protocol).folds):
        split = protocols.split(manifest, protocol, fold)
        for subset, rows in (("train", split.train), ("validation", split.validation)):
            parts.append(manifest.iloc[rows][["path", "class"]].assign(fold=fold, subset=subset))
    return pd.concat(parts, ignore_index=True)[["fold", "subset", "path", "class"]]


def read(path: str | Path, name: str, manifest: pd.DataFrame, protocol: str | None = None) -> list[configs.Submission]:
    """Read a table of predictions.

    Args:
        path: a CSV file with the columns path, fold, and one of probabilities for each class folder, such as ``glioma_tumor``.
            Optional columns: protocol and seed. Each validation image of each fold is in it exactly once. Rows for all 394 images
            of Testing, with the fold whose network answered, add the columns on unseen Testing.
        name: of the network, for the table: letters, digits, ``_`` and ``.``.
        manifest: table of the images.
        protocol: of all rows, if there is no such column.

    Raises:
        EvaluationError: if the file is no such table; the message says what is wrong, where, and what was expected.
        ValueError: if the name cannot be one, or belongs to a network of the project.
    """
    networks.check_name(name)
    if name in networks.NETWORKS:
        raise ValueError(f"{name!r} is a network of this project: give yours another name")
    table, dataset = _read(path), manifests.dataset_of(manifest)
    _check_columns(table, path, ["path", "fold", *dataset.classes])
    table = _with_keys(table, path, protocol)
    unknown = table.loc[~table["path"].isin(manifest["path"]), "path"]
    if len(unknown):
        raise scoring.EvaluationError(f"{path}: {_some(unknown, 'not in the manifest')}; paths are like {manifest['path'][0]}")
    repeated = table[table.duplicated([*KEYS, "path"])]
    if len(repeated):
        raise scoring.EvaluationError(f"{path}: {_some(repeated['path'], 'there twice for the same protocol, seed and fold')}")
    values = _probabilities(table, path, dataset.classes)
    parts = table.groupby(list(KEYS)).indices
    found = [_submission(key, name, table["path"].to_numpy()[rows], values[rows], path, manifest) for key, rows in parts.items()]
    for of in {one.config.protocol for one in found}:
        without = [one.config.fold for one in found if one.config.protocol == of and not one.test_paths]
        if 0 < len(without) < sum(one.config.protocol == of for one in found):
            raise scoring.EvaluationError(
                f"{path}: under {of}, Testing is predicted for some folds, but not for {', '.join(map(str, sorted(without)))}: "
                "give it for all or for none"
            )
    return found


def _read(path):
    try:
        return pd.read_csv(path, skipinitialspace=True)
    except (ValueError, UnicodeDecodeError) as error:
        raise scoring.EvaluationError(f"{path} cannot be read as a CSV file: {' '.join(str(error).split())}") from None


def _with_keys(table, path, protocol):
    """The table with protocol and seed; the protocol given must not contradict the column."""
    if protocol is not None and "protocol" in table and set(table["protocol"]) != {protocol}:
        raise scoring.EvaluationError(f"{path} has the protocols {', '.join(map(str, set(table['protocol'])))}, not {protocol}")
    if "protocol" not in table:
        if protocol is None:
            raise scoring.EvaluationError(f"{path} has no column protocol: name one, {', '.join(protocols.PROTOCOLS)}")
        table = table.assign(protocol=protocol)
    table = table if "seed" in table else table.assign(seed=1)
    for column in ("seed", "fold"):
        numbers = pd.to_numeric(table.get(column, pd.Series(0, index=table.index)), errors="coerce")
        if numbers.isna().any() or (numbers % 1 != 0).any():
            raise scoring.EvaluationError(f"{path}: the column {column} must contain whole numbers")
        if column in table:
            table = table.assign(**{column: numbers.astype(int)})
    return table


def _check_columns(table, path, wanted):
    missing = [column for column in wanted if column not in table]
    if missing:
        hint = ". Columns are separated by commas" if len(table.columns) == 1 else ""
        raise scoring.EvaluationError(
            f"{path} lacks the columns {', '.join(missing)}: it has {', '.join(map(str, table.columns))}{hint}"
        )


def _probabilities(table, path, classes):
    """The probabilities, float32, (rows, classes).

    Raises:
        EvaluationError: naming the first row that has none.
    """
    values = table[list(classes)].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float32)
    wrong = [row for row in range(len(values)) if not stats.are_probabilities(values[row : row + 1])] if len(values) else []
    if wrong:
        raise scoring.EvaluationError(
            f"{path}: {len(wrong):,} of {len(values):,} rows are not probabilities between 0 and 1 with the sum 1. The first is "
            f"that of {table['path'].iloc[wrong[0]]}: {', '.join(f'{value:g}' for value in values[wrong[0]])}. If these are "
            "logits, apply a softmax first"
        )
    return values


def _submission(key, name, paths, values, path, manifest):
    protocol, seed, fold = key
    try:
        split = protocols.split(manifest, protocol, fold)
    except ValueError as error:
        raise scoring.EvaluationError(f"{path}: {error}") from None
    all_paths = manifest["path"].to_numpy()
    wanted, testing = all_paths[split.validation], all_paths[manifests.is_testing(manifest)]
    place = pd.Series(np.arange(len(paths)), index=paths)
    where = f"{path}: under {protocol}, seed {seed}, fold {fold}"
    missing = wanted[~np.isin(wanted, paths)]
    if len(missing):
        raise scoring.EvaluationError(f"{where}, {_some(missing, 'missing')}: {len(wanted):,} images validate there")
    extra = paths[~np.isin(paths, wanted) & ~np.isin(paths, testing)]
    if len(extra):
        raise scoring.EvaluationError(
            f"{where}, {_some(extra, 'not to be predicted')}: see `tumor-mri folds --protocol {protocol}`"
        )
    asked = np.isin(testing, paths)
    if asked.any() and not asked.all() and protocol != protocols.TESTING_FOLDER.name:
        raise scoring.EvaluationError(
            f"{where}, there are {asked.sum()} of the {len(testing)} images of Testing: give all or none"
        )
    tested = testing if asked.all() else testing[:0]
    return configs.Submission(
        config=configs.RunConfig(protocol, widths=(), network=name, seed=seed, fold=fold, patience=None),
        val_paths=list(wanted),
        val_probabilities=values[place[wanted]],
        test_paths=list(tested),
        test_probabilities=values[place[tested]],
        train_paths=list(all_paths[split.train]),
        environment={"backend": "another tool", "dataset": manifests.fingerprint(manifest)},
    )


def _some(paths, what):
    """How many images are something, and some of them."""
    shown = ", ".join(list(paths)[:SHOWN])
    return f"{len(paths):,} image{' is' if len(paths) == 1 else 's are'} {what} ({shown}{', …' if len(paths) > SHOWN else ''})"
