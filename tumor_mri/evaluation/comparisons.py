"""Accuracies, recalls and differences between networks, with their intervals."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd

from tumor_mri import stats
from tumor_mri.datasets import manifests, protocols
from tumor_mri.evaluation import scoring

SEEDS_FOR_AN_INTERVAL = 3  # the t interval of two is too wide to say anything
_PAIRED = ["protocol", "seed", "fold"]  # what two runs share that are compared as a pair


def accuracy_table(scores) -> pd.DataFrame:
    """One row a protocol and network: seeds, images, accuracy (cross-fitted), low, high, over; see `mean_and_interval`."""
    rows = [
        {
            "protocol": protocol,
            "network": network,
            "seeds": found["seed"].nunique(),
            "images": found["path"].nunique(),
            **dict(zip(("accuracy", "low", "high", "over"), mean_and_interval(found), strict=True)),
        }
        for (protocol, network), found in scores.groupby(["protocol", "network"], sort=False)
    ]
    return pd.DataFrame(rows)


def mean_and_interval(scores) -> tuple:
    """Mean of ``right`` in rows of `image_scores`, low and high end of its 95 % interval, and what that is over.

    From three seeds on it is the one over ``seeds``, `over_seeds`. With fewer, and under ``grouped``, which asks about other
    patients, it is the one over ``groups``, `over_groups`.
    """
    mean, seeds = scoring.per_image(scores)["right"].mean(), over_seeds(scores)
    if about_patients(scores) or np.isnan(seeds).any():
        return mean, *over_groups(scores), "groups"
    return mean, *seeds, "seeds"


def about_patients(scores) -> bool:
    """Whether all protocols of a table ask about other patients, so that their main interval is over groups."""
    return {protocols.get(name).interval for name in scores["protocol"].unique()} == {"groups"}


def over_seeds(scores) -> tuple:
    """Low and high end of the 95 % t interval over seeds: what other trainings of the same network would give.

    NaN for fewer than three seeds.
    """
    by_seed = scores.groupby("seed")["right"].mean()
    if len(by_seed) < SEEDS_FOR_AN_INTERVAL:
        return np.nan, np.nan
    mean, half = stats.interval(by_seed)
    return mean - half, mean + half


def over_groups(scores) -> tuple:
    """Low and high end of the 95 % interval by bootstrap over groups of the images' means: what other patients would give."""
    images = scoring.per_image(scores)
    return stats.group_interval(images["right"], images["group"])


def class_recalls(scores) -> pd.DataFrame:
    """Recall of each class under each protocol, mean over runs, with its interval over groups; of 1.

    Columns: protocol, class, images, recall, low, high; a class without images has no row.
    """
    rows = []
    for protocol, of_protocol in scores.groupby("protocol", sort=False):
        images = scoring.per_image(of_protocol)
        for name in manifests.in_class_order(images["class"]):
            found = images[images["class"] == name]
            rows.append(
                (protocol, name, len(found), found["right"].mean(), *stats.group_interval(found["right"], found["group"]))
            )
    return pd.DataFrame(rows, columns=["protocol", "class", "images", "recall", "low", "high"])


def recall_differences(first, second) -> pd.DataFrame:
    """How much higher ``right`` is in `second` than in `first`, over all images and by class, in points.

    Args:
        first, second: tables of `image_scores`. On the same images the comparison is by image.

    Returns:
        Columns: class (``all`` for all images), images (of `first`), first and second (means, of 1), difference, low and high
        (95 % interval, by bootstrap over groups of both).
    """
    first, second = scoring.per_image(first), scoring.per_image(second)
    rows = []
    for name in ("all", *manifests.in_class_order(pd.concat([first, second])["class"])):
        one, other = (found if name == "all" else found[found["class"] == name] for found in (first, second))
        if len(one) and len(other):
            difference = [100 * value for value in stats.group_difference(one, other)]
            rows.append((name, len(one), one["right"].mean(), other["right"].mean(), *difference))
    return pd.DataFrame(rows, columns=["class", "images", "first", "second", "difference", "low", "high"])


def run_differences(scores, reference=scoring.BASE) -> pd.DataFrame:
    """Accuracy (cross-fitted) of each run minus that of a reference's run of the same protocol, seed and fold, in points.

    Args:
        scores: `image_scores`.
        reference: a network, as the column network names it.

    Returns:
        Columns: protocol, network, seed, fold, difference; a run without such a partner has no row.
    """
    runs = scoring.run_scores(scores)
    is_reference = runs["network"] == reference
    pairs = runs[~is_reference].merge(runs[is_reference], on=_PAIRED, suffixes=("", "_reference"))
    pairs["difference"] = 100 * (pairs["accuracy"] - pairs["accuracy_reference"])
    return pairs[["protocol", "network", "seed", "fold", "difference"]]


def mean_of_seeds(scores) -> pd.DataFrame:
    """Rows of `image_scores` averaged over seeds, image by image, as if they were of seed 1.

    For the reference of `network_differences`: a run of one seed is then held against what another network reaches in the mean,
    and not against the luck of one training.
    """
    same = ["protocol", "network", "fold", "path", "group", "class"]
    return scores.groupby(same, sort=False, as_index=False).mean(numeric_only=True).assign(seed=1)[scores.columns]


def network_differences(scores, reference=scoring.BASE) -> pd.DataFrame:
    """How each network differs from a reference in accuracy (cross-fitted), in points; a row a protocol and network.

    Args:
        scores, reference: as `run_differences` takes them.

    Returns:
        Columns: protocol, network, pairs (of seeds), over (what the 95 % interval is over: ``seeds`` from three pairs on, by
        `statistics.paired_difference`; with fewer, and under ``grouped``, which asks about patients, ``groups``, by
        `statistics.group_difference`), difference, low, high, detectable (NaN over groups).
    """
    rows = []
    for (protocol, network), found in run_differences(scores, reference).groupby(["protocol", "network"], sort=False):
        paired = scores.merge(found[_PAIRED], on=_PAIRED)
        one, other = (paired[paired["network"] == name] for name in (reference, network))
        if not about_patients(found) and found["seed"].nunique() >= SEEDS_FOR_AN_INTERVAL:
            means = (100 * part.groupby("seed")["right"].mean() for part in (one, other))
            row = {"over": "seeds", **stats.paired_difference(*means)}
        else:
            difference, low, high = (
                100 * value for value in stats.group_difference(scoring.per_image(one), scoring.per_image(other))
            )
            row = {"over": "groups", "pairs": found["seed"].nunique(), "difference": difference, "low": low, "high": high}
        rows.append({"protocol": protocol, "network": network, **row})
    columns = ["protocol", "network", "pairs", "over", "difference", "low", "high", "detectable"]
    return pd.DataFrame(rows, columns=columns)


def mcnemar_pairs(scores) -> pd.DataFrame:
    """McNemar's test for every two runs of a protocol that differ in the seed alone, or in the widths alone.

    Folds of one network and seed are one, and each is taken at its restored epochs. Columns: protocol, differ (``seed`` or
    ``network``), first, second, discordant (images that only one of them names rightly), p.
    """
    rows = []
    for protocol, found in scores.groupby("protocol", sort=False):
        right = found.pivot(index="path", columns=["network", "seed"], values="right_at_best")
        for first, second in combinations(right.columns, 2):
            if (first[0] == second[0]) == (first[1] == second[1]):
                continue
            one, other = right[[first, second]].dropna().to_numpy(dtype=bool).T
            names = [f"{network} seed {seed}" for network, seed in (first, second)]
            differ = "seed" if first[0] == second[0] else "network"
            rows.append((protocol, differ, *names, int((one != other).sum()), stats.mcnemar(one, other)))
    return pd.DataFrame(rows, columns=["protocol", "differ", "first", "second", "discordant", "p"])


def precision_scores(runs, manifest) -> pd.DataFrame:
    """The table of `image_scores` for runs of two precisions, whose names stand in the column network.

    The one place where precisions stand side by side, for `network_differences`: `check_comparable` still refuses to pool them.

    Raises:
        EvaluationError: where runs differ in more than seed and precision, or a seed lacks its partner.
    """
    scoring.refuse_mixtures_of_environments(runs)
    scoring.refuse_mixture("settings", [replace(run.config, seed=1, precision="float32").key for run in runs])
    found = {}
    for run in runs:
        found.setdefault(run.config.precision, []).append(run)
    if len(found) != 2 or len({frozenset(run.config.seed for run in same) for same in found.values()}) != 1:
        raise scoring.EvaluationError("each seed needs a run in each of two precisions")
    return pd.concat(
        [scoring.image_scores(same, manifest).assign(network=name) for name, same in found.items()], ignore_index=True
    )
