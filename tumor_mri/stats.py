"""Intervals, tests and calibration on plain arrays; nothing here knows runs or manifests.

The functions that need scipy.stats or scikit-learn import them: they take most of a second, and a prediction needs neither.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import special

BOOTSTRAP_SEED = 1337  # fixed: the same numbers always give the same interval
SUM_TOLERANCE = 0.01  # allows for probabilities that another tool has rounded
CALIBRATION_BINS = 15  # of equal width, as in Guo et al. 2017


def interval(values: ArrayLike, confidence: float = 0.95) -> tuple[float, float]:
    """Mean and half-width of its Student t interval; the half-width is NaN for a single value.

    Example:
        >>> mean, half = interval([0.91, 0.93, 0.95])
        >>> f"{mean:.2f} ± {half:.2f}"
        '0.93 ± 0.05'
    """
    from scipy import stats

    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return float(values.mean()), float("nan")
    half = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * stats.sem(values)
    return float(values.mean()), float(half)


def group_interval(right: ArrayLike, groups: ArrayLike, confidence: float = 0.95) -> tuple[float, float]:
    """Confidence interval of an accuracy (low, high), over groups: images of one patient are not independent.

    This is the logit-t interval: the standard error comes from the groups' sums, the interval is Student's t on the scale of the
    log odds, which keeps it within 0 and 1 (Dean and Pagano 2015, https://doi.org/10.1093/jssam/smv024). If all answers are
    correct, or none, it is the exact interval with groups as units (Clopper and Pearson 1934). In simulations with the groups of
    this dataset it covers the true accuracy in 83 to 98 % of the cases; a percentile bootstrap covers as few as 64 % if there
    are few groups. See ``tests/test_stats.py``.

    Args:
        right: how often each image is classified correctly, 0 to 1, (images,).
        groups: the group of each image, any labels, (images,).

    Example:
        >>> low, high = group_interval([1, 1, 1, 0, 1, 1, 0, 1], list("aabbccdd"))  # four patients
        >>> f"{low:.2f} to {high:.2f}"
        '0.21 to 0.97'
    """
    from scipy import stats

    sums = _group_sums(pd.DataFrame({"right": np.asarray(right, dtype=float), "group": np.asarray(groups)}))
    count, size = len(sums), sums["size"].sum()
    mean = sums["sum"].sum() / size
    if count < 2:
        return 0.0, 1.0  # one patient says nothing about others
    if mean in (0, 1):
        least = ((1 - confidence) / 2) ** (1 / count)
        return (0.0, 1 - least) if mean == 0 else (least, 1.0)
    error = np.sqrt(count / (count - 1) * ((sums["sum"] - mean * sums["size"]) ** 2).sum()) / size
    half = stats.t.ppf((1 + confidence) / 2, count - 1) * error / (mean * (1 - mean))
    return float(special.expit(special.logit(mean) - half)), float(special.expit(special.logit(mean) + half))


def group_difference(first: pd.DataFrame, second: pd.DataFrame, confidence: float = 0.95) -> tuple[float, float, float]:
    """Mean of ``right`` in `second` minus that in `first`, and its confidence interval (low, high) by bootstrap over groups.

    Each bootstrap sample draws groups from both tables at once: a group that is in both tables is drawn for both. This keeps
    the comparison paired on the images that the tables share.

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
    """Percentile interval of a statistic of group sums, one argument per column (Efron and Tibshirani 1993, chapter 13)."""
    from scipy import stats

    found = stats.bootstrap(
        [sums[column].to_numpy(dtype=float) for column in sums],
        statistic,
        paired=True,
        vectorized=True,
        n_resamples=10_000,
        batch=1000,  # for the memory
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(BOOTSTRAP_SEED),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def paired_difference(first: ArrayLike, second: ArrayLike, confidence: float = 0.95, power: float = 0.8) -> dict[str, float]:
    """How much `second` exceeds `first`, pair by pair: pairs, difference (the mean), low and high (t interval), detectable.

    ``detectable`` is the smallest true difference that a test with this many pairs and this scatter would find significant with
    probability `power`: see `detectable_difference`. All but the number of pairs is in the unit of the values.

    Args:
        first, second: numbers, (pairs,); at least two, since one difference has no interval.

    Raises:
        ValueError: if the two do not form pairs, or form fewer than two.

    Example:
        >>> found = paired_difference([90, 91, 92], [92, 94, 93])
        >>> found["pairs"], round(found["difference"], 1), round(found["low"], 1), round(found["high"], 1)
        (3, 2.0, -0.5, 4.5)
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if first.shape != second.shape or first.ndim != 1 or len(first) < 2:
        raise ValueError(f"two or more pairs are needed, got values of shapes {first.shape} and {second.shape}")
    differences = second - first
    mean, half = interval(differences, confidence)
    detectable = detectable_difference(float(differences.std(ddof=1)), len(first), 1 - confidence, power)
    return {"pairs": len(first), "difference": mean, "low": mean - half, "high": mean + half, "detectable": detectable}


def detectable_difference(deviation: float, pairs: int, level: float = 0.05, power: float = 0.8) -> float:
    """The true mean difference that a two-sided paired t test finds significant with a given probability, its power.

    If there is a true difference, the test statistic follows the noncentral t distribution and its square the noncentral F
    distribution (Cohen, Statistical Power Analysis for the Behavioral Sciences, 2nd edition 1988, chapter 2).

    Args:
        deviation: standard deviation of the pairs' differences.
        pairs: how many, 2 or more.
        level: significance level of the test.
        power: the probability wanted, above `level`.
    """
    from scipy import optimize, stats

    limit = stats.t.ppf(1 - level / 2, pairs - 1)

    def excess(noncentrality):  # with the noncentral F, since scipy's noncentral t fails for large values
        return stats.ncf.sf(limit**2, 1, pairs - 1, noncentrality**2) - power

    return deviation * optimize.brentq(excess, 0, 10 * limit) / pairs**0.5


def mcnemar(first: ArrayLike, second: ArrayLike) -> float:
    """Exact two-sided p value of McNemar's test: are two classifiers correct equally often on the same images?

    Only the discordant images count, which one classifier gets right and the other wrong. If both were equally good, each such
    image would favour either of them with probability one half (McNemar 1947, Psychometrika 12, 153).

    The test assumes independent images. Near-duplicates and slices of one patient are not independent, so p is too small here.
    It also compares two trained networks, not two ways of training them (Dietterich 1998, Neural Computation 10, 1895).

    Args:
        first, second: whether each image is classified correctly, bool, (images,).

    Example:
        >>> mcnemar([True] * 6 + [False] * 2, [False] * 6 + [True] * 2)  # 8 discordant images, 6 against 2
        0.2890625
    """
    from scipy import stats

    first, second = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    discordant = only_first + only_second
    return float(stats.binomtest(only_first, discordant).pvalue) if discordant else 1.0


def holm(p: ArrayLike) -> np.ndarray:
    """p values corrected for being several, in the given order (Holm 1979, Scandinavian Journal of Statistics 6, 65).

    The least of n values is multiplied by n, the next by n - 1, and so on; none may then be less than the one before it, and none
    exceeds 1. If no tested difference exists, the probability that any corrected value is below 0.05 is at most 5 %, whether or
    not the tests are independent.

    Example:
        >>> holm([0.04, 0.01, 0.03]).round(2).tolist()
        [0.06, 0.03, 0.06]
    """
    p = np.asarray(p, dtype=float)
    order = p.argsort(kind="stable")
    corrected = np.empty_like(p)
    corrected[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    return corrected


def reliability(confidence: ArrayLike, right: ArrayLike, bins: int = CALIBRATION_BINS) -> pd.DataFrame:
    """Data of a reliability diagram: accuracy by confidence, one row per non-empty bin of `bins` equal parts of 0 to 1.

    Args:
        confidence: probability of the predicted class, (images,).
        right: whether the prediction is correct, bool, (images,).

    Returns:
        Columns: confidence (mean), accuracy (of 1), images.
    """
    from sklearn.calibration import calibration_curve

    confidence = np.asarray(confidence, dtype=float)
    accuracy, mean = calibration_curve(np.asarray(right, dtype=int), confidence, n_bins=bins, pos_label=1)
    images = np.bincount(np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence))  # as calibration_curve bins them
    return pd.DataFrame({"confidence": mean, "accuracy": accuracy, "images": images[images > 0]})


def calibration_error(confidence: ArrayLike, right: ArrayLike, bins: int = CALIBRATION_BINS) -> float:
    """Expected calibration error (ECE), of 1: the mean distance between accuracy and confidence over the bins of `reliability`.

    Bins are weighted by their number of images (Naeini, Cooper and Hauskrecht, AAAI 2015; for networks Guo et al., ICML 2017).
    The error cannot be negative, so chance alone makes it positive; the fewer the images, the more.

    Example:
        >>> round(calibration_error([0.9] * 10, [True] * 8 + [False] * 2), 3)  # 90 % sure, 80 % correct
        0.1
    """
    curve = reliability(confidence, right, bins)
    return float(np.average((curve["accuracy"] - curve["confidence"]).abs(), weights=curve["images"]))


def calibration_noise(confidence: ArrayLike, bins: int = CALIBRATION_BINS, draws: int = 200, seed: int = BOOTSTRAP_SEED) -> float:
    """The noise floor of `calibration_error`: its mean, of 1, for a perfectly calibrated network with the same confidences.

    In each draw, every answer is correct with the probability that its confidence says, independently of the others.
    Near-duplicates and slices of one patient are not independent: with them, chance alone gives more than this.

    Args:
        confidence: probability of the predicted class, (images,).
        bins: see `reliability`.
        draws: how many times the answers are drawn.
        seed: of the random numbers.

    Example:
        >>> few, many = calibration_noise([0.8] * 20), calibration_noise([0.8] * 2000)
        >>> bool(many < 0.01 < few)
        True
    """
    confidence = np.asarray(confidence, dtype=float)
    generator = np.random.default_rng(seed)
    places = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence)  # the bins of `reliability`
    errors = [
        np.abs(np.bincount(places, (generator.random(len(confidence)) < confidence) - confidence)).sum() for _ in range(draws)
    ]
    return float(np.mean(errors) / len(confidence))


TARGET_ACCURACY = 0.97  # accuracy wanted on the scans of new patients that get an answer


def soften(probabilities: ArrayLike, temperature: ArrayLike) -> np.ndarray:
    """Temperature scaling: divide log-probabilities by a temperature and normalise again; the shape stays as given.

    A temperature above 1 lowers the confidence, one below 1 raises it.

    Example:
        >>> soften([0.8, 0.2], temperature=2).round(3)
        array([0.667, 0.333])
    """
    return special.softmax(np.log(np.clip(probabilities, 1e-12, 1)) / temperature, axis=-1)


def fit_temperature(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """The temperature that maximises the likelihood of the true classes (Guo et al., 2017, https://arxiv.org/abs/1706.04599).

    Args:
        probabilities: (scans, classes), for scans that the network did not train on.
        truth: class indices, (scans,).
    """
    from scipy import optimize

    def loss(logarithm):
        right = soften(probabilities, np.exp(logarithm))[np.arange(len(truth)), truth]
        return -np.log(np.clip(right, 1e-12, 1)).mean()

    return float(np.exp(optimize.minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def abstention(confidence: ArrayLike, right: ArrayLike) -> pd.DataFrame:
    """Accuracy and coverage when a network abstains below a threshold: one row per confidence that occurs, ascending.

    Args:
        confidence: 0 to 1, (scans,).
        right: whether each answer is correct, (scans,).

    Returns:
        Columns: threshold, answered (share of scans with at least that confidence), accuracy (of those answered).
    """
    table = pd.DataFrame({"threshold": confidence, "right": np.asarray(right, dtype=float)})
    by_threshold = table.groupby("threshold")["right"].agg(["sum", "size"])[::-1].cumsum()[::-1]
    answered, accuracy = by_threshold["size"] / len(table), by_threshold["sum"] / by_threshold["size"]
    return pd.DataFrame({"answered": answered, "accuracy": accuracy}).reset_index()


def choose_threshold(confidence: ArrayLike, right: ArrayLike, wanted: float = TARGET_ACCURACY) -> float:
    """The lowest threshold at which the answered scans reach the accuracy `wanted`; 1 if no threshold does.

    Example:
        >>> choose_threshold([0.6, 0.7, 0.8, 0.9], [False, True, True, True])
        0.7
    """
    table = abstention(confidence, right)
    enough = table[table["accuracy"] >= wanted]
    return float(enough["threshold"].iloc[0]) if len(enough) else 1.0


def are_probabilities(values: ArrayLike) -> bool:
    """Whether all values are finite and between 0 and 1, and each row sums to 1, within `SUM_TOLERANCE`.

    Args:
        values: (images, classes).
    """
    values = np.asarray(values, dtype=float)
    within = np.isfinite(values) & (values >= -SUM_TOLERANCE) & (values <= 1 + SUM_TOLERANCE)
    return bool(within.all() and (np.abs(values.sum(axis=1) - 1) <= SUM_TOLERANCE).all())
