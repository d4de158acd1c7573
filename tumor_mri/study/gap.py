"""The report's gap: the parts of Testing, the foreign gliomas, and random draws of validation images."""

import numpy as np
import pandas as pd

from tumor_mri import stats
from tumor_mri.audit import near_copies
from tumor_mri.datasets import manifests, protocols
from tumor_mri.evaluation import scoring


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
        neighbour, correlation = near_copies.nearest(thumbnails, validation, train)
        table = pd.DataFrame({"nearest": manifest["path"].to_numpy()[neighbour], "correlation": correlation}, index=asked.index)
    table["nearest"] = table["nearest"].astype(object).where(table["nearest"].notna(), None)
    dataset = manifests.dataset_of(manifest)
    of = manifest.set_index("path").reindex(table["nearest"])
    table["nearest_class"] = of["class"].map(dict(zip(dataset.classes, dataset.labels, strict=True))).to_numpy()
    table["same_group"] = of["group"].to_numpy() == asked["group"].to_numpy()
    table["group_trained"] = asked["group"].isin(manifest["group"].iloc[train])
    return table


DRAWS = 1000  # random draws of validation images
TESTING_SIZE = 394  # images in Testing: too few, says the report


def testing_scores(runs, manifest) -> pd.DataFrame:
    """How each run does on each part of Testing, and on *unseen Testing*, which lies across the parts; a row a run and part.

    Columns: protocol, network, seed, part, images, errors, accuracy (of 1), and recall of each class (of 1; NaN where it has no
    image).

    Raises:
        EvaluationError: where a run trained on images of Testing: its score on them would be no score.
    """
    parts = protocols.testing_parts(manifest) | {"unseen": protocols.unseen_testing(manifest)}
    return pd.DataFrame([_testing_row(run, name, rows, manifest) for run in runs for name, rows in parts.items()])


def _testing_row(run, part, rows, manifest):
    paths = manifest["path"].iloc[rows]
    right, labels = scoring.testing_right(run, paths, manifest), scoring.truth(paths, manifest)
    row = {"protocol": run.config.protocol, "network": run.label, "seed": run.config.seed, "part": part}
    row |= {"images": len(right), "errors": int((~right).sum()), "accuracy": right.mean()}
    of_class = {name: right[labels == index] for index, name in enumerate(manifests.dataset_of(manifest).labels)}
    return row | {name: found.mean() if len(found) else np.nan for name, found in of_class.items()}


def foreign_scores(runs, manifest) -> pd.DataFrame:
    """A row a run and foreign glioma that it did not train on, with and without the other half of them in training.

    Columns: protocol, network, seed, half (that the image is in), path, group, class, right (0 or 1). Only pairs are kept:
    runs of ``foreign_added``, and for each a run of ``training_only`` with the same network and seed, on the same half.

    Raises:
        EvaluationError: where runs must not be compared, or one trained on what it is scored on.
    """
    scoring.check_comparable(runs, manifest)
    rows = [_foreign_rows(run, half, images, manifest) for run in runs for half, images in _held_out(run, manifest)]
    found = pd.concat(rows, ignore_index=True)
    of_pair = found.groupby(["network", "seed", "half"])["protocol"]
    return found[of_pair.transform("nunique") == 2].reset_index(drop=True)


def _held_out(run, manifest):
    """The halves of the foreign gliomas that a run did not train on, each with its number and rows."""
    halves = enumerate(protocols.foreign_halves(manifest))
    return [
        (half, rows) for half, rows in halves if run.config.protocol != protocols.FOREIGN_ADDED.name or half != run.config.fold
    ]


def _foreign_rows(run, half, rows, manifest):
    images = manifest[["path", "group", "class"]].iloc[rows]
    about = {"protocol": run.config.protocol, "network": run.label, "seed": run.config.seed, "half": half}
    return images.assign(**about, right=scoring.testing_right(run, images["path"], manifest).astype(float))


def foreign_recall(scores) -> pd.DataFrame:
    """Recall on each half, one row per pair of runs: network, seed, half, images; without and with
    the other half in training (of 1).

    Args:
        scores: `foreign_scores`.
    """
    keys = ["network", "seed", "half"]
    recall = scores.pivot_table(index=keys, columns="protocol", values="right")
    recall = recall.rename(columns={protocols.TRAINING_ONLY.name: "without", protocols.FOREIGN_ADDED.name: "with"})
    images = scores.groupby(keys)["path"].nunique().rename("images")
    return recall.reindex(columns=["without", "with"]).join(images).reset_index()


def foreign_effect(scores) -> dict:
    """What foreign gliomas in training do to recall on the others: without, with (of 1), points, low, high, pairs.

    Means over both halves and all seeds; the 95 % interval of the points is by bootstrap over groups, whose images are paired.

    Args:
        scores: `foreign_scores`.

    Raises:
        EvaluationError: where there is no pair of runs.
    """
    if not len(scores):
        raise scoring.EvaluationError(
            "there is no run of foreign_added beside one of training_only with the same network and seed"
        )
    without, added = (
        scoring.per_image(scores[scores["protocol"] == protocol.name])
        for protocol in (protocols.TRAINING_ONLY, protocols.FOREIGN_ADDED)
    )
    points = dict(zip(("points", "low", "high"), (100 * value for value in stats.group_difference(without, added)), strict=True))
    return {"without": without["right"].mean(), "with": added["right"].mean(), **points, "pairs": len(foreign_recall(scores))}


def draw_accuracies(run, manifest, size, draws=DRAWS) -> np.ndarray:
    """Validation accuracy on random draws of `size` of a run's validation images, (draws,).

    Drawn with replacement: they then scatter as fresh sets of that size would, and more than subsets do.
    """
    right = run.val_probabilities.argmax(axis=1) == scoring.truth(run.val_paths, manifest)
    return np.random.default_rng(protocols.SPLIT_SEED).choice(right, (draws, size)).mean(axis=1)


def draw_ranges(runs, manifest, sizes=(TESTING_SIZE, 100)) -> pd.DataFrame:
    """The middle 95 % of `draw_accuracies`, one row per run and size: network, seed, size, low, middle, high (of 1)."""
    rows = []
    for run in runs:
        for size in sizes:
            low, middle, high = np.quantile(draw_accuracies(run, manifest, size), (0.025, 0.5, 0.975))
            rows.append((run.label, run.config.seed, size, low, middle, high))
    return pd.DataFrame(rows, columns=["network", "seed", "size", "low", "middle", "high"])
