"""Accuracies, recalls and differences between networks, with confidence intervals."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import special

from tumor_mri import stats
from tumor_mri.datasets import manifests, protocols
from tumor_mri.evaluation import scoring

SEEDS_FOR_AN_INTERVAL = 3  # the t interval of two seeds is too wide to be useful
_PAIRED = ["protocol", "seed", "fold"]  # columns in which the two runs of a pair agree


def accuracy_table(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per protocol and network, from `scoring.image_scores`.

    Columns: protocol, network, seeds (how many), images, accuracy (cross-fitted), low, high, over; see `mean_and_interval`.
    """
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


def mean_and_interval(scores: pd.DataFrame) -> tuple[float, float, float, str]:
    """Mean of ``right`` in rows of `scoring.image_scores`, its 95 % interval (low, high), and what the interval is over.

    With three or more seeds the interval is over ``seeds``: see `over_seeds`. With fewer, and under protocols such as
    ``grouped`` that ask about other patients, it is over ``groups``: see `over_groups`.

    Example:
        >>> from tumor_mri.runs import configs, records
        >>> run = records.find(configs.config_of("residual", "grouped", fold=1), [records.RECORDED])
        >>> mean, low, high, over = mean_and_interval(scoring.image_scores([run], manifests.load_manifest()))
        >>> bool(low < mean < high), over
        (True, 'groups')
    """
    mean, seeds = scoring.per_image(scores)["right"].mean(), over_seeds(scores)
    if about_patients(scores) or np.isnan(seeds).any():
        return mean, *over_groups(scores), "groups"
    return mean, *seeds, "seeds"


def about_patients(scores: pd.DataFrame) -> bool:
    """Whether all protocols of a table ask about other patients; their main interval is then over groups."""
    return {protocols.get(name).interval for name in scores["protocol"].unique()} == {"groups"}


def over_seeds(scores: pd.DataFrame) -> tuple[float, float]:
    """The 95 % t interval over seeds (low, high): uncertainty about other trainings of the same network.

    NaN for fewer than three seeds.
    """
    by_seed = scores.groupby("seed")["right"].mean()
    if len(by_seed) < SEEDS_FOR_AN_INTERVAL:
        return np.nan, np.nan
    mean, half = stats.interval(by_seed)
    return mean - half, mean + half


def over_groups(scores: pd.DataFrame) -> tuple[float, float]:
    """The 95 % interval over groups of images (low, high), see `stats.group_interval`: uncertainty about other patients."""
    images = scoring.per_image(scores)
    return stats.group_interval(images["right"], images["group"])


def class_recalls(scores: pd.DataFrame) -> pd.DataFrame:
    """Recall of each class under each protocol, averaged over runs, with its interval over groups; of 1.

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


def as_mean_recall(scores: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Scores in which each class counts equally: the mean of ``right`` over images becomes the mean of the classes' recalls.

    On images of which most are of one class, accuracy is no measure. The weights keep the scores image by image, so that these
    can be compared as pairs and drawn by groups; in such a draw, whose classes have other shares, it holds approximately.

    Args:
        scores: table of `scoring.image_scores` or `scoring.unseen_scores`; every network has to be scored on the same images.
        classes: names of the classes; images of others are left out.

    Raises:
        EvaluationError: if a class has no image, or networks were scored on different ones.

    Example:
        >>> table = pd.DataFrame({"network": "a", "path": list("xyz"), "class": ["glioma", "glioma", "pituitary"]})
        >>> float(as_mean_recall(table.assign(right=[1.0, 0.0, 1.0]), ["glioma", "pituitary"])["right"].mean())
        0.75
    """
    found = scores[scores["class"].isin(classes)]
    images = found.groupby("class")["path"].nunique()
    if missing := [name for name in classes if name not in images]:
        raise scoring.EvaluationError(f"no image is of class {' or '.join(missing)}: the mean of the recalls cannot be taken")
    if found.groupby("network")["path"].nunique().min() < images.sum():
        raise scoring.EvaluationError("the networks were scored on different images: take the mean recall of each alone")
    return found.assign(right=found["right"] * images.mean() / found["class"].map(images))  # the mean of the weights is 1


def recall_differences(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """How much higher accuracy and recall are in `second` than in `first`, in percentage points.

    Args:
        first, second: tables of `scoring.image_scores`. Images that are in both are compared as pairs.

    Returns:
        Columns: class (``all`` for all images), images (of `first`), first and second (means, of 1), difference, low and high
        (95 % interval, by bootstrap over groups of both, which is too narrow for a class of few groups).
    """
    first, second = scoring.per_image(first), scoring.per_image(second)
    rows = []
    for name in ("all", *manifests.in_class_order(pd.concat([first, second])["class"])):
        one, other = (found if name == "all" else found[found["class"] == name] for found in (first, second))
        if len(one) and len(other):
            difference = [100 * value for value in stats.group_difference(one, other)]
            rows.append((name, len(one), one["right"].mean(), other["right"].mean(), *difference))
    return pd.DataFrame(rows, columns=["class", "images", "first", "second", "difference", "low", "high"])


def run_differences(scores: pd.DataFrame, reference: str = scoring.BASE) -> pd.DataFrame:
    """Difference in accuracy (cross-fitted) between each run and the reference network's run, in percentage points.

    Args:
        scores: table of `scoring.image_scores`.
        reference: a network, by its name in the column network.

    Returns:
        Columns: protocol, network, seed, fold, difference. Runs are paired by protocol, seed and fold; a run without a partner
        has no row.
    """
    runs = scoring.run_scores(scores)
    is_reference = runs["network"] == reference
    pairs = runs[~is_reference].merge(runs[is_reference], on=_PAIRED, suffixes=("", "_reference"))
    pairs["difference"] = 100 * (pairs["accuracy"] - pairs["accuracy_reference"])
    return pairs[["protocol", "network", "seed", "fold", "difference"]]


def mean_of_seeds(scores: pd.DataFrame) -> pd.DataFrame:
    """Rows of `scoring.image_scores` averaged over seeds, image by image, and labelled as seed 1.

    For `network_differences`: each network is then compared as the average of its trainings, not by a single one that may be
    lucky, also if their numbers of seeds differ.
    """
    same = ["protocol", "network", "fold", "path", "group", "class"]
    return scores.groupby(same, sort=False, as_index=False).mean(numeric_only=True).assign(seed=1)[scores.columns]


def network_differences(scores: pd.DataFrame, reference: str = scoring.BASE) -> pd.DataFrame:
    """Difference in accuracy (cross-fitted) between each network and a reference, in percentage points.

    The 95 % interval is over ``seeds`` with three or more pairs of seeds (`stats.paired_difference`). With fewer, and under
    protocols such as ``grouped`` that ask about other patients, it is over ``groups`` (`stats.group_difference`).

    Args:
        scores, reference: see `run_differences`.

    Returns:
        One row per protocol and network. Columns: protocol, network, pairs (of seeds), over (``seeds`` or ``groups``),
        difference, low, high, detectable (see `stats.detectable_difference`; NaN over groups).
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


def with_training_variation(differences: pd.DataFrame, scores: pd.DataFrame, reference: str = scoring.BASE) -> pd.DataFrame:
    """Differences over groups, with the variation between trainings added to their errors, and p values.

    An interval over groups is about other patients, classified by the same trained networks. Here the standard error also has a
    part for other trainings. All networks in `scores` are supposed to vary equally from seed to seed, so that their variances are
    pooled: a few seeds of one network alone would give a rough value. The squares of the two parts are added, as for independent
    ones; what a seed changes on single patients is in both, so the error is somewhat too large. The p value is that of Student's
    t, two-sided, with the degrees of freedom of Welch and Satterthwaite (Satterthwaite 1946, Biometrics Bulletin 2, 110); the
    part of the patients counts as known, so with few groups it is too small. Notebook 9 does it by hand.

    Args:
        differences: table of `network_differences` over groups, for the means of seeds (`mean_of_seeds`).
        scores: table of `scoring.image_scores` under one protocol, before the mean, with all networks of `differences`.
        reference: the network from which the differences are taken.

    Returns:
        `differences` with five more columns: patients, training and error (standard errors in points), half_width (of the 95 %
        interval that this error gives, in points) and p. If no network has a second seed, the variation between trainings is
        unknown: all but patients are NaN.

    Raises:
        EvaluationError: if a difference is not over groups.
    """
    if not (differences["over"] == "groups").all():
        raise scoring.EvaluationError("the variation between trainings can only be added to intervals over groups")
    of_networks = (100 * scores.groupby(["network", "seed"])["right"].mean()).groupby("network")
    seeds, variances = of_networks.size(), of_networks.var()  # NaN for a single seed
    spare = (seeds - 1).sum()
    deviation = np.sqrt(((seeds - 1) * variances).sum() / spare) if spare else np.nan
    parts = 1 / differences["network"].map(seeds) + 1 / seeds[reference]
    patients = (differences["high"] - differences["low"]) / (2 * special.ndtri(0.975))
    training = deviation * np.sqrt(parts)
    error = np.hypot(patients, training)
    freedom = spare * (error / training) ** 4
    half_width = special.stdtrit(freedom, 0.975) * error
    p = 2 * special.stdtr(freedom, -(differences["difference"] / error).abs())
    return differences.assign(patients=patients, training=training, error=error, half_width=half_width, p=p)


def mcnemar_pairs(scores: pd.DataFrame) -> pd.DataFrame:
    """McNemar's test for every two runs of a protocol that differ only in the seed, or only in the network.

    Folds of one network and seed are pooled, each at its restored epoch. Columns: protocol, differ (``seed`` or ``network``),
    first, second, discordant (images that only one of the two classifies correctly), p.
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


def precision_scores(runs: Sequence[scoring.Scored], manifest: pd.DataFrame) -> pd.DataFrame:
    """The table of `scoring.image_scores` for runs of two precisions, with the precision in the column network.

    For `network_differences`. Only here are precisions compared; everywhere else `scoring.check_comparable` refuses to mix them.

    Raises:
        EvaluationError: if runs differ in more than seed and precision, or a seed lacks its partner.
    """
    scoring.refuse_mixture("backends", [run.environment["backend"] for run in runs])
    return _side_by_side(runs, manifest, "precisions", lambda run: run.config.precision)


def backend_scores(runs: Sequence[scoring.Scored], manifest: pd.DataFrame) -> pd.DataFrame:
    """The table of `scoring.image_scores` for runs on two backends, with the backend in the column network.

    For `network_differences`.

    Raises:
        EvaluationError: if runs differ in more than seed and backend, or a seed lacks its partner.
    """
    scoring.refuse_mixture("precisions", [run.config.precision for run in runs])
    return _side_by_side(runs, manifest, "backends", lambda run: run.environment["backend"])


def _side_by_side(runs, manifest, what, value):
    """The scores of runs that have one of two values, which stands in the column network."""
    scoring.refuse_mixture("datasets", [run.environment["dataset"] for run in runs])
    scoring.refuse_mixture("settings", [replace(run.config, seed=1, precision="float32").key for run in runs])
    found = {}
    for run in runs:
        found.setdefault(value(run), []).append(run)
    if len(found) != 2 or len({frozenset(run.config.seed for run in same) for same in found.values()}) != 1:
        raise scoring.EvaluationError(f"each seed needs a run in each of two {what}")
    return pd.concat(
        [scoring.image_scores(same, manifest).assign(network=name) for name, same in found.items()], ignore_index=True
    )
