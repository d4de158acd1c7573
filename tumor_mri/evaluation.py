"""What recorded predictions say: accuracies, gaps, confusion, intervals, and verdicts on the report's claims."""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from sklearn import metrics
from sklearn.model_selection import StratifiedGroupKFold

from tumor_mri import dataset, network, protocols

DRAWS = 1000  # random draws of validation images
ENOUGH = 394  # images in Testing: too few, says the report
OSCILLATION_FROM = 10  # epochs before this one still climb: their changes are learning, not oscillation

HALVINGS = 20  # random halvings of the validation images when an epoch is chosen on one half and scored on the other


class EvaluationError(Exception):
    """Runs that contradict the manifest, their protocol or themselves, or that must not be compared."""


def check(run, manifest) -> None:
    """Make sure that a run is what it says: its images are its protocol's, its accuracies those of its predictions.

    Raises:
        EvaluationError: naming the run and what does not fit.
    """
    split = protocols.split(manifest, run.config.protocol, run.config.fold)
    paths = manifest["path"].to_numpy()
    testing = paths[(manifest["split"] == "Testing").to_numpy()]
    expected = {
        "train_paths": list(paths[split.train[: run.config.train_images]]),
        "val_paths": list(paths[split.validation]),
        "test_paths": list(testing),
    }
    for name, wanted in expected.items():
        if list(getattr(run, name)) != wanted:
            raise EvaluationError(f"{run.config.key}: {name} are not the images of its protocol")
    shapes = {
        "val_classes": (run.epochs_run, len(run.val_paths)),
        "val_probabilities": (len(run.val_paths), len(dataset.CLASSES)),
        "test_probabilities": (len(run.test_paths), len(dataset.CLASSES)),
        "train_classes": (len(run.train_paths),),
    }
    for name, wanted in shapes.items():
        if getattr(run, name).shape != wanted:
            raise EvaluationError(f"{run.config.key}: {name} has shape {getattr(run, name).shape}, expected {wanted}")
    accuracies = (run.val_classes == truth(run.val_paths, manifest)).mean(axis=1)
    if not np.allclose(accuracies, run.history["val_accuracy"], atol=1e-6):
        raise EvaluationError(f"{run.config.key}: its validation accuracies are not those of its predictions")
    if not np.array_equal(run.val_probabilities.argmax(axis=1), run.val_classes[run.best_epoch - 1]):
        raise EvaluationError(f"{run.config.key}: its final probabilities are not those of its best epoch")


def check_comparable(runs, manifest) -> None:
    """Check each run, and that all were trained with one precision, one backend and one dataset.

    Raises:
        EvaluationError: naming what differs.
    """
    for run in runs:
        check(run, manifest)
    for name, found in {
        "precisions": {run.config.precision for run in runs},
        "backends": {run.environment["backend"] for run in runs},
        "datasets": {run.environment["dataset"] for run in runs},
    }.items():
        if len(found) > 1:
            raise EvaluationError(f"these runs mix {name} ({', '.join(sorted(found))}): they must not be compared")


def truth(paths, manifest) -> np.ndarray:
    """True class indices of images, joined by path, int64, (paths,).

    Raises:
        EvaluationError: where a path is not in the manifest.
    """
    labels = pd.Series(dataset.class_indices(manifest), index=manifest["path"])
    missing = [path for path in paths if path not in labels.index]
    if missing:
        raise EvaluationError(f"{len(missing)} images are not in the manifest, the first is {missing[0]}")
    return labels.loc[list(paths)].to_numpy()


def summarise(runs, manifest) -> pd.DataFrame:
    """`key_figures` of runs that may be compared.

    Raises:
        EvaluationError: see `check_comparable`.
    """
    check_comparable(runs, manifest)
    return key_figures(runs, manifest)


def key_figures(runs, manifest) -> pd.DataFrame:
    """One row a run. Accuracies are fractions of 1; gaps and oscillation are in percentage points.

    Columns: protocol, fold, widths, seed, precision, parameters, epochs_run, best_epoch, train_accuracy (as Keras logs it at the
    restored epoch, dropout on), train_measured (dropout off), val_accuracy, gap (from the logged one), gap_measured, oscillation
    (standard deviation of the epoch-to-epoch change of validation accuracy after epoch 10), minutes.
    """
    return pd.DataFrame([_summary_row(run, manifest) for run in runs])


def _summary_row(run, manifest):
    best = run.best_epoch - 1
    logged = run.history["accuracy"][best]
    measured = float((run.train_classes == truth(run.train_paths, manifest)).mean())
    validation = run.history["val_accuracy"]
    changes = np.diff(validation[OSCILLATION_FROM - 1 :])
    return {
        "protocol": run.config.protocol,
        "fold": run.config.fold,
        "widths": network.label(run.config.widths) or run.config.network,
        "seed": run.config.seed,
        "precision": run.config.precision,
        "parameters": network.parameter_count(run.config.widths) if run.config.widths else run.environment["parameters"],
        "epochs_run": run.epochs_run,
        "best_epoch": run.best_epoch,
        "train_accuracy": logged,
        "train_measured": measured,
        "val_accuracy": validation[best],
        "gap": 100 * (logged - validation[best]),
        "gap_measured": 100 * (measured - validation[best]),
        "oscillation": 100 * float(np.std(changes, ddof=1)) if len(changes) > 1 else np.nan,
        "minutes": run.seconds / 60,
    }


def cross_fitted_classes(run, manifest, halvings=HALVINGS) -> np.ndarray:
    """Predicted classes of the validation images, each at an epoch that was chosen without it.

    The validation images are halved by group; the first best epoch of one half gives the classes of the other, and the other way
    round. So the set that chooses the epoch is not the set that scores, and no network is trained again (cross-fitting).

    Returns:
        uint8, (halvings, validation images): a row for each random halving.
    """
    actual = truth(run.val_paths, manifest)
    groups = manifest.set_index("path")["group"].loc[run.val_paths].to_numpy()
    right = run.val_classes == actual
    rows = np.empty((halvings, len(actual)), dtype=np.uint8)
    for row, seed in zip(rows, range(protocols.SPLIT_SEED, protocols.SPLIT_SEED + halvings)):
        halves = StratifiedGroupKFold(2, shuffle=True, random_state=seed)
        for choosing, scoring in halves.split(actual, actual, groups):
            row[scoring] = run.val_classes[right[:, choosing].mean(axis=1).argmax(), scoring]
    return rows


def group_interval(right, groups, confidence=0.95) -> tuple:
    """Low and high end of the interval of an accuracy, by bootstrap over groups: images of one patient are not independent.

    Args:
        right: how often each image is right, 0 to 1, (images,).
        groups: a label an image, (images,).
    """
    sums = pd.DataFrame({"right": np.asarray(right, dtype=float), "group": np.asarray(groups)}).groupby("group")["right"]
    totals, sizes = sums.sum().to_numpy(), sums.size().to_numpy()
    found = stats.bootstrap(
        (totals, sizes),
        lambda total, size, axis=-1: total.sum(axis=axis) / size.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=2000,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(protocols.SPLIT_SEED),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def interval(values, confidence=0.95) -> tuple:
    """Mean and half-width of its Student-t interval; the half-width is NaN for a single value."""
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return float(values.mean()), float("nan")
    half = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * stats.sem(values)
    return float(values.mean()), float(half)


def say(values, unit="", digits=1) -> str:
    """Mean and 95 % interval in words: ``20.1 ± 0.6 points``; one value stands alone, and says so."""
    if len(values) == 0:
        return "no runs"
    mean, half = interval(values)
    if np.isnan(half):
        return f"{mean:.{digits}f}{unit} (one run)"
    return f"{mean:.{digits}f} ± {half:.{digits}f}{unit}"


def span(values) -> str:
    """Least and largest of some fractions of 1, for runs too unlike for a mean: ``74.6 to 77.7 %``."""
    values = 100 * np.asarray(values, dtype=float)
    if len(values) == 0:
        return "no runs"
    least, largest = f"{values.min():.1f}", f"{values.max():.1f}"
    return f"{least} %" if least == largest else f"{least} to {largest} %"


def confusion(run, manifest) -> np.ndarray:
    """Confusion matrix of the restored network on its validation images: rows truth, columns prediction, int, (4, 4)."""
    predicted = run.val_probabilities.argmax(axis=1)
    return metrics.confusion_matrix(truth(run.val_paths, manifest), predicted, labels=range(len(dataset.CLASSES)))


def answers(run, manifest) -> pd.DataFrame:
    """What the restored network says of each validation image, a row a path, in the run's order.

    Columns: truth and predicted (class names), right, confidence (the probability of what it says, 0 to 1).
    """
    names = np.array(dataset.NAMES)
    table = pd.DataFrame(index=pd.Index(run.val_paths, name="path"))
    table["truth"] = names[truth(run.val_paths, manifest)]
    table["predicted"] = names[run.val_probabilities.argmax(axis=1)]
    table["right"] = table["truth"] == table["predicted"]
    table["confidence"] = run.val_probabilities.max(axis=1)
    return table


def classification_table(matrix) -> pd.DataFrame:
    """Precision, recall, f1 and support of each class, of their macro and weighted means, from a confusion matrix."""
    actual, predicted = np.indices(matrix.shape)
    counts = np.asarray(matrix).ravel()
    report = metrics.classification_report(
        np.repeat(actual.ravel(), counts),
        np.repeat(predicted.ravel(), counts),
        labels=range(len(dataset.CLASSES)),
        target_names=list(dataset.NAMES),
        output_dict=True,
        zero_division=0,
    )
    rows = {name: row for name, row in report.items() if isinstance(row, dict)}
    table = pd.DataFrame(rows).T
    table["support"] = table["support"].astype(int)
    return table


def testing_scores(runs, manifest) -> pd.DataFrame:
    """How each run does on each part of Testing, and on *unseen Testing*, which lies across the parts; a row a run and part.

    Columns: protocol, widths, seed, part, images, errors, accuracy (of 1), and recall of each class (of 1; NaN where it has no
    image).

    Raises:
        EvaluationError: where a run trained on images of Testing: its score on them would be no score.
    """
    parts = protocols.testing_parts(manifest) | {"unseen": protocols.unseen_testing(manifest)}
    return pd.DataFrame([_testing_row(run, name, rows, manifest) for run in runs for name, rows in parts.items()])


def _testing_row(run, part, rows, manifest):
    paths = manifest["path"].iloc[rows]
    right, labels = _testing_right(run, paths, manifest), truth(paths, manifest)
    row = {"protocol": run.config.protocol, "widths": network.label(run.config.widths), "seed": run.config.seed, "part": part}
    row |= {"images": len(right), "errors": int((~right).sum()), "accuracy": right.mean()}
    of_class = {name: right[labels == index] for index, name in enumerate(dataset.NAMES)}
    return row | {name: found.mean() if len(found) else np.nan for name, found in of_class.items()}


def _testing_right(run, paths, manifest):
    """Whether a run names the class of some images of Testing, bool, (paths,)."""
    trained_on = set(run.train_paths) & set(paths)
    if trained_on:
        raise EvaluationError(f"{run.config.key} trained on {len(trained_on)} of the images that it is to be scored on")
    right = run.test_probabilities.argmax(axis=1) == truth(run.test_paths, manifest)
    return pd.Series(right, index=run.test_paths).loc[list(paths)].to_numpy()


def foreign_recall(runs, manifest) -> pd.DataFrame:
    """Recall on each half of the foreign gliomas that a run did not train on: protocol, widths, seed, half, recall (of 1)."""
    rows = []
    for run in runs:
        for half, images in enumerate(protocols.foreign_halves(manifest)):
            if run.config.protocol == "foreign_added" and half == run.config.fold:
                continue
            right = _testing_right(run, manifest["path"].iloc[images], manifest)
            about = (run.config.protocol, network.label(run.config.widths), run.config.seed, half, right.mean())
            rows.append(dict(zip(("protocol", "widths", "seed", "half", "recall"), about)))
    return pd.DataFrame(rows)


def draw_accuracies(run, manifest, size, draws=DRAWS) -> np.ndarray:
    """Validation accuracy on random draws of `size` of a run's validation images, (draws,).

    Drawn with replacement: they then scatter as fresh sets of that size would, and more than subsets do.
    """
    right = run.val_probabilities.argmax(axis=1) == truth(run.val_paths, manifest)
    return np.random.default_rng(protocols.SPLIT_SEED).choice(right, (draws, size)).mean(axis=1)


def draw_ranges(runs, manifest, sizes=(ENOUGH, 100)) -> pd.DataFrame:
    """The middle 95 % of `draw_accuracies`, a row a run and size: widths, seed, size, low, middle, high (of 1)."""
    rows = []
    for run in runs:
        for size in sizes:
            low, middle, high = np.quantile(draw_accuracies(run, manifest, size), (0.025, 0.5, 0.975))
            rows.append((network.label(run.config.widths), run.config.seed, size, low, middle, high))
    return pd.DataFrame(rows, columns=["widths", "seed", "size", "low", "middle", "high"])


def confused_pairs(matrix) -> pd.DataFrame:
    """Off-diagonal cells of a confusion matrix, most frequent first: truth, predicted, count, share of the true class."""
    cells = [
        {
            "truth": dataset.NAMES[row],
            "predicted": dataset.NAMES[column],
            "count": int(matrix[row, column]),
            "share": matrix[row, column] / max(matrix[row].sum(), 1),
        }
        for row, column in np.ndindex(*matrix.shape)
        if row != column and matrix[row, column]
    ]
    table = pd.DataFrame(cells, columns=["truth", "predicted", "count", "share"])
    return table.sort_values(["count", "truth", "predicted"], ascending=[False, True, True], ignore_index=True)


def load_report_log() -> pd.DataFrame:
    """The training log that the report prints: epoch, loss, accuracy, val_loss, val_accuracy."""
    return pd.read_csv(dataset.DATA / "report" / "log.csv")


def load_report_matrix() -> np.ndarray:
    """The report's confusion matrix, rebuilt from its table and its text; rows truth, (4, 4)."""
    return pd.read_csv(dataset.DATA / "report" / "matrix.csv", index_col=0).to_numpy()


def load_report_table() -> pd.DataFrame:
    """The report's table of precision, recall, f1 and support, as printed."""
    return pd.read_csv(dataset.DATA / "report" / "table.csv", index_col=0)


def load_claims() -> pd.DataFrame:
    """The report's claims, each with its figure and the criterion that decides it, by id."""
    return pd.read_csv(dataset.DATA / "report" / "claims.csv", index_col="id")


@dataclass(frozen=True)
class Verdict:
    """A claim, what the report says, what the runs here say, and what follows."""

    id: str
    claim: str
    report: str
    here: str
    verdict: str

    def __str__(self):
        return f"{self.id} · {self.claim} · report: {self.report} · here: {self.here} · {self.verdict}"


def verdicts(runs, manifest) -> list:
    """The verdict on each claim that runs decide: C1 to C7 and C9."""
    summary = summarise(runs, manifest)
    return [*(claim(id, summary) for id in DECIDED), claim_on_testing(runs, manifest)]


def claim(id, summary) -> Verdict:
    """The verdict on a claim about accuracies, C1 to C7, from the table of `summarise`.

    Each run is held against the criterion of ``data/report/claims.csv``. All hold: *holds*; some: *holds by luck of the seed*;
    none: *refuted*. One run alone, or a comparison without a partner of the same seed: *cannot be decided*.

    Raises:
        ValueError: for a claim that runs alone do not decide.
    """
    if id not in _CRITERIA:
        raise ValueError(f"claim {id!r} is not decided by accuracies: choose one of {', '.join(_CRITERIA)}")
    held, here = _CRITERIA[id](summary)
    row = load_claims().loc[id]
    return Verdict(id, row["claim"], row["report_figure"], here, _verdict(held))


def claim_on_testing(runs, manifest) -> Verdict:
    """The verdict on C9, that Testing holds too few images or too poor ones, from runs on splits A and B.

    Each split A run is held against the split B run of the same network and seed, by the criterion of
    ``data/report/claims.csv``; fewer than two such pairs decide nothing.
    """
    pairs = testing_pairs(runs, manifest)
    few = pairs["testing"].between(pairs["low"], pairs["high"])
    poor = pairs["near_copies"] < pairs["set_aside"] - 0.05
    here = (
        f"Testing {span(pairs['testing'])}, its near-copies {span(pairs['near_copies'])}; split B {span(pairs['set_aside'])}, "
        f"95 % of draws of {ENOUGH} from {span(pairs['low'])} up; {len(pairs)} pairs"
    )
    row = load_claims().loc["C9"]
    return Verdict("C9", row["claim"], row["report_figure"], here, _verdict(few | poor))


def testing_pairs(runs, manifest) -> pd.DataFrame:
    """A row for each split A run with a split B run of the same network and seed; accuracies of 1.

    Columns: widths, seed, testing (all of it), near_copies, foreign (points that errors on foreign gliomas cost), from split A;
    set_aside, low and high (the middle 95 % of draws of 394), from split B.
    """
    check_comparable(runs, manifest)
    split_a, split_b = ([run for run in runs if run.config.protocol == name] for name in ("testing_folder", "training_only"))
    columns = ["widths", "seed"]
    if not split_a or not split_b:
        return pd.DataFrame(columns=[*columns, "testing", "near_copies", "foreign", "set_aside", "low", "high"])
    scores = testing_scores(split_a, manifest).set_index("part")
    of_part = {part: scores.loc[[part]].set_index(columns) for part in protocols.testing_parts(manifest)}
    wrong = sum(part["errors"] for part in of_part.values())
    images = sum(part["images"] for part in of_part.values())
    table = pd.DataFrame({"testing": 1 - wrong / images, "near_copies": of_part["near-copies"]["accuracy"]})
    table["foreign"] = 100 * of_part["foreign gliomas"]["errors"] / images
    set_aside = key_figures(split_b, manifest).set_index(columns)["val_accuracy"].rename("set_aside")
    draws = draw_ranges(split_b, manifest, (ENOUGH,)).set_index(columns)[["low", "high"]]
    return table.join(set_aside, how="inner").join(draws).reset_index()


def _verdict(held):
    if len(held) < 2:
        return "cannot be decided"
    return "holds" if all(held) else "holds by luck of the seed" if any(held) else "refuted"


_SPANISH = {  # in this order: one phrase may be part of another
    "holds by luck of the seed": "se cumple por azar de la semilla",
    "holds": "se cumple",
    "refuted as printed": "refutada tal como está impresa",
    "refuted": "refutada",
    "cannot be decided": "no puede decidirse",
    "(one run)": "(un solo entrenamiento)",
    "no runs": "ningún entrenamiento",
    "points": "puntos",
    "no tumour": "sin tumor",
    "pituitary": "tumor hipofisario",
}


def in_spanish(text) -> str:
    """A paragraph in Spanish, as Markdown that tells screen readers its language.

    What it got from `say`, `span`, a verdict or a class name is put into Spanish: ``21.2 ± 1.9 points`` becomes
    ``21,2 ± 1,9 puntos``, and ``74.6 to 77.7 %`` becomes ``entre el 74,6 y el 77,7 %``. Thousands must come without separators.
    """
    text = re.sub(r"([\d.]+) to ([\d.]+ %)", r"entre el \1 y el \2", text)
    for english, spanish in _SPANISH.items():
        text = text.replace(english, spanish)
    text = re.sub(r"(?<=\d)\.(?=\d)", ",", text)
    return f"<span lang=es>{text}</span>"


def _pick(summary, protocol, *widths):
    labels = [network.label(width) for width in widths]
    return summary[(summary["protocol"] == protocol) & summary["widths"].isin(labels)]


def _beside_base(summary, protocol, *widths):
    """Runs beside the base network's run of the same seed: its columns end in ``_base``."""
    base = _pick(summary, protocol, network.BASE_WIDTHS)
    return _pick(summary, protocol, *widths).merge(base, on="seed", suffixes=("", "_base"))


def _c1(summary):
    runs = _pick(summary, "testing_folder", network.BASE_WIDTHS)
    held = (runs["train_accuracy"] > 0.90) & (runs["val_accuracy"] < 0.80)
    return (
        held,
        f"training {say(100 * runs['train_accuracy'], ' %')}, validation {say(100 * runs['val_accuracy'], ' %')}",
    )


def _c2(summary):
    runs = _pick(summary, "testing_folder", network.MORE_WIDTHS)
    return runs["gap"].between(20, 25), f"gap {say(runs['gap'], ' points')}"


def _c3(summary):
    runs = _beside_base(summary, "testing_folder", network.CHOSEN_WIDTHS)
    change = runs["gap"] - runs["gap_base"]
    return change.abs() <= 5, f"gap changes by {say(change, ' points')}"


def _c4(summary):
    runs = _pick(summary, "training_only", network.BASE_WIDTHS)
    reach = (runs["train_accuracy"] >= 0.90) & (runs["val_accuracy"] >= 0.90)
    here = f"training {say(100 * runs['train_accuracy'], ' %')}, validation {say(100 * runs['val_accuracy'], ' %')}"
    return reach & runs["gap"].between(4, 6), f"{here}, gap {say(runs['gap'], ' points')}"


def _c5(summary):
    runs = _beside_base(summary, "training_only", network.MORE_WIDTHS, network.SOME_MORE_WIDTHS)
    change = 100 * (runs["val_accuracy"] - runs["val_accuracy_base"])
    flatter = runs["oscillation"] - runs["oscillation_base"]
    here = f"validation changes by {say(change, ' points')}, oscillation by {say(flatter, ' points', 2)}"
    held = (change.abs() <= 2) & (flatter < 0)
    return held if runs["seed"].nunique() > 1 else held[:1], here


def _c6(summary):
    runs = _pick(summary, "training_only", network.CHOSEN_WIDTHS)
    return runs["gap"] <= 5, f"gap {say(runs['gap'], ' points')}"


def _c7(summary):
    runs = _pick(summary, "training_only", network.BASE_WIDTHS, network.CHOSEN_WIDTHS)
    here = f"runs end after {runs['epochs_run'].min()} to {runs['epochs_run'].max()} epochs, mean {say(runs['epochs_run'])}"
    return runs["epochs_run"].between(43, 50), here


_CRITERIA = {"C1": _c1, "C2": _c2, "C3": _c3, "C4": _c4, "C5": _c5, "C6": _c6, "C7": _c7}

DECIDED = tuple(_CRITERIA)  # the claims that runs decide, by id
