"""The report's gap: the parts of Testing, the foreign gliomas, and random samples of validation images."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tumor_mri import stats
from tumor_mri.audit import near_copies
from tumor_mri.datasets import manifests, protocols
from tumor_mri.evaluation import scoring


def nearest_trained(run: scoring.Scored, manifest: pd.DataFrame, thumbnails: np.ndarray | None = None) -> pd.DataFrame:
    """The training image of a run most similar to each of its validation images, one row per path, in the run's order.

    Args:
        run: a `configs.Run`.
        manifest: as loaded, in its own order.
        thumbnails: those of `audit.manifest_thumbnails`. None if the dataset is not at hand: the nearest image is then taken
            from the manifest's `nearest_training` if the run trained on that image, and is unknown otherwise.

    Returns:
        nearest (path of that image) and nearest_class (its class name), None if unknown; correlation, NaN if unknown; same_group:
        whether the two are in the same group; group_trained: whether the run trained on any image of the same group.
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


DRAWS = 1000  # random samples of validation images
TESTING_SIZE = 394  # images in Testing; too few, according to the report


def testing_scores(runs: Sequence[scoring.Scored], manifest: pd.DataFrame) -> pd.DataFrame:
    """Scores of each run on each part of Testing, and on *unseen Testing*, which overlaps the parts; one row per run and part.

    Columns: protocol, network, seed, part, images, errors, accuracy (of 1), and the recall of each class (of 1; NaN if the part
    has no image of it).

    Raises:
        EvaluationError: if a run trained on images of Testing, since it cannot be tested on them.
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


def foreign_scores(runs: Sequence[scoring.Scored], manifest: pd.DataFrame) -> pd.DataFrame:
    """Scores on held-out foreign gliomas, with and without the other half of them in training.

    One row per run and held-out image. Only pairs of runs are kept: each run of ``foreign_added`` with the run of
    ``training_only`` that has the same network and seed, on the same half.

    Columns: protocol, network, seed, half (the one that the image is in), path, group, class, right (0 or 1).

    Raises:
        EvaluationError: if runs must not be compared, or if one trained on what it is scored on. Backends are not to be mixed: a
            seed gives other first weights on another backend, so its two runs would not be a pair.
    """
    scoring.check_comparable(runs, manifest)
    scoring.refuse_mixture("backends", [run.environment["backend"] for run in runs])
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


def foreign_recall(scores: pd.DataFrame) -> pd.DataFrame:
    """Recall on each half of the foreign gliomas, one row per pair of runs.

    Args:
        scores: table of `foreign_scores`.

    Returns:
        Columns: network, seed, half; without and with (recall without and with the other half in training, of 1); images.
    """
    keys = ["network", "seed", "half"]
    recall = scores.pivot_table(index=keys, columns="protocol", values="right")
    recall = recall.rename(columns={protocols.TRAINING_ONLY.name: "without", protocols.FOREIGN_ADDED.name: "with"})
    images = scores.groupby(keys)["path"].nunique().rename("images")
    return recall.reindex(columns=["without", "with"]).join(images).reset_index()


def foreign_effect(scores: pd.DataFrame) -> dict[str, float]:
    """Effect of foreign gliomas in training on the recall of held-out ones, averaged over both halves and all seeds.

    Args:
        scores: table of `foreign_scores`.

    Returns:
        without, with (recalls, of 1); points (their difference), low, high (its 95 % interval, by bootstrap over groups with
        paired images); pairs (of runs).

    Raises:
        EvaluationError: if there is no pair of runs.
    """
    if not len(scores):
        raise scoring.EvaluationError(
            "there is no run of foreign_added to compare with one of training_only of the same network and seed"
        )
    without, added = (
        scoring.per_image(scores[scores["protocol"] == protocol.name])
        for protocol in (protocols.TRAINING_ONLY, protocols.FOREIGN_ADDED)
    )
    points = dict(zip(("points", "low", "high"), (100 * value for value in stats.group_difference(without, added)), strict=True))
    return {"without": without["right"].mean(), "with": added["right"].mean(), **points, "pairs": len(foreign_recall(scores))}


def draw_accuracies(run: scoring.Scored, manifest: pd.DataFrame, size: int, draws: int = DRAWS) -> np.ndarray:
    """Validation accuracy on random samples of `size` of a run's validation images, (draws,).

    Images are drawn with replacement: the accuracies then vary as much as on new sets of that size, and more than on subsets.
    """
    right = run.val_probabilities.argmax(axis=1) == scoring.truth(run.val_paths, manifest)
    return np.random.default_rng(protocols.SPLIT_SEED).choice(right, (draws, size)).mean(axis=1)


def draw_ranges(
    runs: Sequence[scoring.Scored], manifest: pd.DataFrame, sizes: Sequence[int] = (TESTING_SIZE, 100)
) -> pd.DataFrame:
    """The middle 95 % of `draw_accuracies`, one row per run and size: network, seed, size, low, middle, high (of 1)."""
    rows = []
    for run in runs:
        for size in sizes:
            low, middle, high = np.quantile(draw_accuracies(run, manifest, size), (0.025, 0.5, 0.975))
            rows.append((run.label, run.config.seed, size, low, middle, high))
    return pd.DataFrame(rows, columns=["network", "seed", "size", "low", "middle", "high"])
