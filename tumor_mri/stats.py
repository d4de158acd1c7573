"""Intervals and tests: what works on plain arrays, and knows no run and no manifest."""

import numpy as np
import pandas as pd
from scipy import optimize, special, stats
from sklearn.calibration import calibration_curve

BOOTSTRAP_SEED = 1337  # the same figures give the same interval
SUM_TOLERANCE = 0.01  # of probabilities that another tool has rounded
CALIBRATION_BINS = 15  # of equal width, as Guo et al. 2017 take them


def interval(values, confidence=0.95) -> tuple:
    """Mean and half-width of its Student-t interval; the half-width is NaN for a single value."""
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return float(values.mean()), float("nan")
    half = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * stats.sem(values)
    return float(values.mean()), float(half)


def group_interval(right, groups, confidence=0.95) -> tuple:
    """Low and high end of the interval of an accuracy, by bootstrap over groups: images of one patient are not independent.

    Args:
        right: how often each image is right, 0 to 1, (images,).
        groups: a label an image, (images,).
    """
    sums = _group_sums(pd.DataFrame({"right": np.asarray(right, dtype=float), "group": np.asarray(groups)}))
    return _bootstrap(sums, lambda total, size, axis=-1: total.sum(axis=axis) / size.sum(axis=axis), confidence)


def group_difference(first, second, confidence=0.95) -> tuple:
    """Mean of ``right`` in `second` minus that in `first`, with low and high end of its interval, by bootstrap over groups.

    Each draw takes the groups of both tables together: a group in both counts in both, as images that are in both demand.

    Args:
        first, second: tables with columns right (0 to 1) and group, such as those of `evaluation.per_image`.
    """

    def difference(total, size, other_total, other_size, axis=-1):
        mean = total.sum(axis=axis) / size.sum(axis=axis)
        return other_total.sum(axis=axis) / other_size.sum(axis=axis) - mean

    both = _group_sums(first).join(_group_sums(second), how="outer", lsuffix="_first", rsuffix="_second").fillna(0)
    return float(second["right"].mean() - first["right"].mean()), *_bootstrap(both, difference, confidence)


def _group_sums(images):
    return images.groupby("group")["right"].agg(["sum", "size"])


def _bootstrap(sums, statistic, confidence):
    """Percentile interval of a statistic of sums by group, a column each (Efron and Tibshirani 1993, chapter 13)."""
    found = stats.bootstrap(
        [sums[column].to_numpy(dtype=float) for column in sums],
        statistic,
        paired=True,
        vectorized=True,
        n_resamples=2000,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(BOOTSTRAP_SEED),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def paired_difference(first, second, confidence=0.95, power=0.8) -> dict:
    """How much `second` exceeds `first`, pair by pair: pairs, difference (the mean), low and high (t interval), detectable.

    ``detectable`` is the smallest true difference that as many pairs, scattered as these are, would have shown in `power` of all
    such experiments: see `detectable_difference`. Everything is in the unit of the values.

    Args:
        first, second: numbers, (pairs,); at least two, for an interval of one does not exist.

    Raises:
        ValueError: where they are no pairs, or fewer than two.
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if first.shape != second.shape or first.ndim != 1 or len(first) < 2:
        raise ValueError(f"two or more pairs are needed, got values of shapes {first.shape} and {second.shape}")
    differences = second - first
    mean, half = interval(differences, confidence)
    detectable = detectable_difference(float(differences.std(ddof=1)), len(first), 1 - confidence, power)
    return {"pairs": len(first), "difference": mean, "low": mean - half, "high": mean + half, "detectable": detectable}


def detectable_difference(deviation, pairs, level=0.05, power=0.8) -> float:
    """The true mean difference at which a two-sided paired t test comes out significant with a given probability.

    With a true difference the statistic of the test follows the noncentral t distribution, its square the noncentral F (Cohen,
    Statistical Power Analysis for the Behavioral Sciences, 2nd edition 1988, chapter 2).

    Args:
        deviation: standard deviation of the pairs' differences.
        pairs: how many, 2 or more.
        level: of significance.
        power: the probability asked for, above `level`.
    """
    limit = stats.t.ppf(1 - level / 2, pairs - 1)

    def excess(noncentrality):  # of the square, since scipy's noncentral t fails far out
        return stats.ncf.sf(limit**2, 1, pairs - 1, noncentrality**2) - power

    return deviation * optimize.brentq(excess, 0, 10 * limit) / pairs**0.5


def mcnemar(first, second) -> float:
    """Exact two-sided p value of McNemar's test: are two classifiers equally often right on the same images?

    Only images count that one of them names rightly and the other wrongly; were both equally good, each such image would fall to
    either side like a coin (McNemar 1947, Psychometrika 12, 153). It takes the images as independent, which near-copies and
    slices of one patient are not, so that p comes out too small; and it compares two trained networks, not two ways of making
    them (Dietterich 1998, Neural Computation 10, 1895).

    Args:
        first, second: whether each image is right, bool, (images,).
    """
    first, second = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = only_first + only_second
    return float(stats.binomtest(only_first, discordant).pvalue) if discordant else 1.0


def reliability(confidence, right, bins=CALIBRATION_BINS) -> pd.DataFrame:
    """How often predictions are right, by how sure they are: a row for each of `bins` equal parts of 0 to 1 that holds any.

    Args:
        confidence: probability of the class named, (images,).
        right: whether it is the true one, bool, (images,).

    Returns:
        Columns: confidence (mean), accuracy (of 1), images.
    """
    confidence = np.asarray(confidence, dtype=float)
    accuracy, mean = calibration_curve(np.asarray(right, dtype=int), confidence, n_bins=bins, pos_label=1)
    images = np.bincount(np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence))  # as calibration_curve bins them
    return pd.DataFrame({"confidence": mean, "accuracy": accuracy, "images": images[images > 0]})


def calibration_error(confidence, right, bins=CALIBRATION_BINS) -> float:
    """Expected calibration error (ECE), of 1: the mean distance of accuracy from confidence over the bins of `reliability`.

    Bins weigh by their images (Naeini, Cooper and Hauskrecht, AAAI 2015; for networks Guo et al., ICML 2017). It is never
    negative, so that chance raises it a little, the more the fewer the images.
    """
    curve = reliability(confidence, right, bins)
    return float(np.average((curve["accuracy"] - curve["confidence"]).abs(), weights=curve["images"]))


TARGET_ACCURACY = 0.97  # share of right answers, on patients it has not met, that it wants before it answers


def soften(probabilities, temperature) -> np.ndarray:
    """Probabilities whose logarithms were divided by a temperature: above 1 less sure, below 1 surer; shape as given."""
    return special.softmax(np.log(np.clip(probabilities, 1e-12, 1)) / temperature, axis=-1)


def fit_temperature(probabilities, truth) -> float:
    """The temperature under which the true classes are likeliest (Guo et al., 2017, https://arxiv.org/abs/1706.04599).

    Args:
        probabilities: (scans, classes), of scans that the network did not train on.
        truth: class indices, (scans,).
    """

    def loss(logarithm):
        right = soften(probabilities, np.exp(logarithm))[np.arange(len(truth)), truth]
        return -np.log(np.clip(right, 1e-12, 1)).mean()

    return float(np.exp(optimize.minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def abstention(confidence, right) -> pd.DataFrame:
    """What abstaining costs and saves: a row a threshold, the confidences that occur, ascending.

    Args:
        confidence: 0 to 1, (scans,).
        right: whether each answer is right, (scans,).

    Returns:
        Columns: threshold, answered (share of scans at least that confident), accuracy (of those answered).
    """
    table = pd.DataFrame({"threshold": confidence, "right": np.asarray(right, dtype=float)})
    by_threshold = table.groupby("threshold")["right"].agg(["sum", "size"])[::-1].cumsum()[::-1]
    answered, accuracy = by_threshold["size"] / len(table), by_threshold["sum"] / by_threshold["size"]
    return pd.DataFrame({"answered": answered, "accuracy": accuracy}).reset_index()


def choose_threshold(confidence, right, wanted=TARGET_ACCURACY) -> float:
    """The lowest confidence from which on answers are right often enough; 1 where none is."""
    table = abstention(confidence, right)
    enough = table[table["accuracy"] >= wanted]
    return float(enough["threshold"].iloc[0]) if len(enough) else 1.0


def are_probabilities(values) -> bool:
    """Whether all values are finite and between 0 and 1, and each row has the sum 1, within a hundredth."""
    values = np.asarray(values, dtype=float)
    within = np.isfinite(values) & (values >= -SUM_TOLERANCE) & (values <= 1 + SUM_TOLERANCE)
    return bool(within.all() and (np.abs(values.sum(axis=1) - 1) <= SUM_TOLERANCE).all())
