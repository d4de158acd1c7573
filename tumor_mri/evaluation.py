"""What recorded predictions say: tables of accuracies, gaps, recalls and differences, with their intervals; confusion."""

from dataclasses import replace
from functools import lru_cache
from itertools import combinations

import numpy as np
import pandas as pd
from sklearn import metrics
from sklearn.model_selection import StratifiedGroupKFold

from tumor_mri import dataset, network, protocols, recipe, statistics, training

DRAWS = 1000  # random draws of validation images
ENOUGH = 394  # images in Testing: too few, says the report
OSCILLATION_FROM = 10  # epochs before this one still climb: their changes are learning, not oscillation
SEEDS_FOR_AN_INTERVAL = 3  # the t interval of two is too wide to say anything
BASE = network.label(network.BASE_WIDTHS)  # as tables name the base network
_PAIRED = ["protocol", "seed", "fold"]  # what two runs share that are compared as a pair
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
        "val_flipped": (len(run.val_paths), len(dataset.CLASSES)),
        "test_flipped": (len(run.test_paths), len(dataset.CLASSES)),
    }
    for name, wanted in shapes.items():
        if getattr(run, name) is not None and getattr(run, name).shape != wanted:
            raise EvaluationError(f"{run.config.key}: {name} has shape {getattr(run, name).shape}, expected {wanted}")
    accuracies = (run.val_classes == truth(run.val_paths, manifest)).mean(axis=1)
    if not np.allclose(accuracies, run.history["val_accuracy"], atol=1e-6):
        raise EvaluationError(f"{run.config.key}: its validation accuracies are not those of its predictions")
    if not np.array_equal(run.val_probabilities.argmax(axis=1), run.val_classes[run.best_epoch - 1]):
        raise EvaluationError(f"{run.config.key}: its final probabilities are not those of its best epoch")
    computed = run.environment.get("computes_in")  # absent from older records
    if computed and not training.is_precision(run.config.precision, computed):
        raise EvaluationError(f"{run.config.key}: it computed in {' and '.join(computed)}, not in {run.config.precision}")


def check_comparable(runs, manifest) -> None:
    """Check each run, and that all were trained with one precision, one backend and one dataset.

    Raises:
        EvaluationError: naming what differs.
    """
    for run in runs:
        check(run, manifest)
    _refuse_mixture("precisions", [run.config.precision for run in runs])
    _refuse_mixtures_of_environments(runs)


def _refuse_mixtures_of_environments(runs):
    _refuse_mixture("backends", [run.environment["backend"] for run in runs])
    _refuse_mixture("datasets", [run.environment["dataset"] for run in runs])


def _refuse_mixture(name, found):
    if len(set(found)) > 1:
        raise EvaluationError(f"these runs mix {name} ({', '.join(sorted(set(found)))}): they must not be compared")


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


def network_name(config) -> str:
    """The report's network by its widths, ``32/64/128/128``; another by the name that it was given; then what it is shown."""
    shown = [network.label(config.widths) or config.network]
    if config.network == "residual" and config.epochs == recipe.LONGER["epochs"]:
        shown = [f"residual, {config.epochs} epochs"]
    if config.recipe == "prepared" and config.network == "cnn":
        shown.append("on prepared scans")
    if config.without:
        shown.append(f"without {'shortcuts' if config.without == 'residual' else config.without}")
    return " ".join(shown)


def _summary_row(run, manifest):
    best = run.best_epoch - 1
    logged = run.history["accuracy"][best]
    measured = float((run.train_classes == truth(run.train_paths, manifest)).mean())
    validation = run.history["val_accuracy"]
    changes = np.diff(validation[OSCILLATION_FROM - 1 :])
    return {
        "protocol": run.config.protocol,
        "fold": run.config.fold,
        "widths": network_name(run.config),
        "seed": run.config.seed,
        "precision": run.config.precision,
        "parameters": run.environment.get("parameters") or network.parameter_count(run.config.widths),  # older: no such entry
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
    round. So the set that chooses the epoch is not the set that scores, and no network is trained again (cross-fitting). Where
    the number of epochs was fixed beforehand nothing was chosen, and each row holds the classes after the last one.

    Returns:
        uint8, (halvings, validation images): a row for each random halving.
    """
    if run.config.patience is None:
        return np.tile(run.val_classes[-1], (halvings, 1))
    actual = truth(run.val_paths, manifest)
    groups = manifest.set_index("path")["group"].loc[run.val_paths]
    right = run.val_classes == actual
    rows = np.empty((halvings, len(actual)), dtype=np.uint8)
    for row, halves in zip(rows, _halvings(tuple(actual), tuple(groups), halvings)):
        for choosing, scoring in halves:
            row[scoring] = run.val_classes[right[:, choosing].mean(axis=1).argmax(), scoring]
    return rows


@lru_cache(maxsize=32)
def _halvings(classes, groups, count):
    """Random halvings that keep groups whole, each as two pairs of index arrays; all runs of one split share them."""
    splitters = [StratifiedGroupKFold(2, shuffle=True, random_state=protocols.SPLIT_SEED + number) for number in range(count)]
    return [list(splitter.split(classes, classes, groups)) for splitter in splitters]


def image_scores(runs, manifest) -> pd.DataFrame:
    """A row a run and validation image, to be averaged over whatever is asked about: seeds, folds, classes, groups.

    Columns: protocol, widths, seed, fold, path, group, class; right (0 to 1: the share of halvings in which the image is right at
    an epoch that was chosen without it, see `cross_fitted_classes`); right_at_best (whether it is right at the restored epoch,
    which it helped to choose, unless that was fixed beforehand) and confidence (probability of the class named there).

    Raises:
        EvaluationError: where the runs must not be compared.
    """
    check_comparable(runs, manifest)
    return pd.concat([_validation_rows(run, manifest) for run in runs], ignore_index=True)


def _validation_rows(run, manifest):
    actual = truth(run.val_paths, manifest)
    right = (cross_fitted_classes(run, manifest) == actual).mean(axis=0)
    return _image_rows(run, run.val_paths, run.val_probabilities, manifest).assign(right=right)


def _image_rows(run, paths, probabilities, manifest):
    actual, predicted = truth(paths, manifest), probabilities.argmax(axis=1)
    columns = {
        "protocol": run.config.protocol,
        "widths": network_name(run.config),
        "seed": run.config.seed,
        "fold": run.config.fold,
        "path": paths,
        "group": manifest.set_index("path")["group"].loc[paths].to_numpy(),
        "class": np.array(dataset.NAMES)[actual],
        "right_at_best": predicted == actual,
        "confidence": probabilities.max(axis=1).astype(float),
    }
    return pd.DataFrame(columns)


def missed_tumours(runs, manifest) -> pd.DataFrame:
    """The failure that matters: tumours that are named "no tumour", on validation images; a row a protocol and network.

    Columns: protocol, widths, tumours (how many images), missed (share of them, of 1, at epochs chosen without them, see
    `cross_fitted_classes`), low, high (95 % interval over groups); alarms (share of the scans without a tumour that are given
    one), alarms_low, alarms_high.

    Raises:
        EvaluationError: where the runs must not be compared.
    """
    check_comparable(runs, manifest)
    named = []
    for run in runs:
        share = (cross_fitted_classes(run, manifest) == dataset.NO_TUMOUR).mean(axis=0)
        named.append(_image_rows(run, run.val_paths, run.val_probabilities, manifest).assign(none=share))
    rows = []
    for (protocol, widths), found in pd.concat(named).groupby(["protocol", "widths"], sort=False):
        images = found.groupby(["path", "group", "class"], sort=False)["none"].mean().reset_index()
        is_tumour = images["class"] != dataset.NAMES[dataset.NO_TUMOUR]
        missed, alarms = images.loc[is_tumour, "none"], 1 - images.loc[~is_tumour, "none"]
        shares = [(part.mean(), *statistics.group_interval(part, images.loc[part.index, "group"])) for part in (missed, alarms)]
        rows.append((protocol, widths, len(missed), *shares[0], *shares[1]))
    columns = ["protocol", "widths", "tumours", "missed", "low", "high", "alarms", "alarms_low", "alarms_high"]
    return pd.DataFrame(rows, columns=columns)


def unseen_scores(runs, manifest) -> pd.DataFrame:
    """The table of `image_scores`, but of unseen Testing: it chose no epoch, so ``right`` is of the restored network.

    Raises:
        EvaluationError: where the runs must not be compared, or one trained on images of Testing or chose its epoch there.
    """
    check_comparable(runs, manifest)
    paths = list(manifest["path"].iloc[protocols.unseen_testing(manifest)])
    rows = []
    for run in runs:
        if run.config.patience is not None and set(run.val_paths) & set(paths):
            raise EvaluationError(f"{run.config.key} chose its epoch on Testing: its score there would be flattered")
        right = _testing_right(run, paths, manifest)
        places = pd.Index(run.test_paths).get_indexer(paths)
        rows.append(_image_rows(run, paths, run.test_probabilities[places], manifest).assign(right=right.astype(float)))
    return pd.concat(rows, ignore_index=True)


def run_scores(scores) -> pd.DataFrame:
    """One row a run of `image_scores`: images, accuracy (cross-fitted), at_best_epoch, and the points between, flattery."""
    found = scores.groupby(["protocol", "widths", "seed", "fold"], sort=False)
    table = found.agg(images=("path", "size"), accuracy=("right", "mean"), at_best_epoch=("right_at_best", "mean")).reset_index()
    return table.assign(flattery=100 * (table["at_best_epoch"] - table["accuracy"]))


def accuracy_table(scores) -> pd.DataFrame:
    """One row a protocol and network: seeds, images, accuracy (cross-fitted), low, high, over; see `mean_and_interval`."""
    rows = [
        {
            "protocol": protocol,
            "widths": widths,
            "seeds": found["seed"].nunique(),
            "images": found["path"].nunique(),
            **dict(zip(("accuracy", "low", "high", "over"), mean_and_interval(found))),
        }
        for (protocol, widths), found in scores.groupby(["protocol", "widths"], sort=False)
    ]
    return pd.DataFrame(rows)


def mean_and_interval(scores) -> tuple:
    """Mean of ``right`` in rows of `image_scores`, low and high end of its 95 % interval, and what that is over.

    From three seeds on it is the one over ``seeds``, `over_seeds`. With fewer, and under ``grouped``, which asks about other
    patients, it is the one over ``groups``, `over_groups`.
    """
    mean, seeds = per_image(scores)["right"].mean(), over_seeds(scores)
    if set(scores["protocol"]) == {"grouped"} or np.isnan(seeds).any():
        return mean, *over_groups(scores), "groups"
    return mean, *seeds, "seeds"


def over_seeds(scores) -> tuple:
    """Low and high end of the 95 % t interval over seeds: what other trainings of the same network would give.

    NaN for fewer than three seeds.
    """
    by_seed = scores.groupby("seed")["right"].mean()
    if len(by_seed) < SEEDS_FOR_AN_INTERVAL:
        return np.nan, np.nan
    mean, half = statistics.interval(by_seed)
    return mean - half, mean + half


def over_groups(scores) -> tuple:
    """Low and high end of the 95 % interval by bootstrap over groups of the images' means: what other patients would give."""
    images = per_image(scores)
    return statistics.group_interval(images["right"], images["group"])


def per_image(scores) -> pd.DataFrame:
    """One row an image: path, group, class and the mean of ``right`` over the runs that it validates."""
    return scores.groupby(["path", "group", "class"], sort=False)["right"].mean().reset_index()


def class_recalls(scores) -> pd.DataFrame:
    """Recall of each class under each protocol, mean over runs, with its interval over groups; of 1.

    Columns: protocol, class, images, recall, low, high; a class without images has no row.
    """
    rows = []
    for protocol, of_protocol in scores.groupby("protocol", sort=False):
        images = per_image(of_protocol)
        for name in [name for name in dataset.NAMES if name in set(images["class"])]:
            found = images[images["class"] == name]
            rows.append(
                (protocol, name, len(found), found["right"].mean(), *statistics.group_interval(found["right"], found["group"]))
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
    first, second = per_image(first), per_image(second)
    rows = []
    for name in ("all", *dataset.NAMES):
        one, other = (found if name == "all" else found[found["class"] == name] for found in (first, second))
        if len(one) and len(other):
            difference = [100 * value for value in statistics.group_difference(one, other)]
            rows.append((name, len(one), one["right"].mean(), other["right"].mean(), *difference))
    return pd.DataFrame(rows, columns=["class", "images", "first", "second", "difference", "low", "high"])


def run_differences(scores, reference=BASE) -> pd.DataFrame:
    """Accuracy (cross-fitted) of each run minus that of a reference's run of the same protocol, seed and fold, in points.

    Args:
        scores: `image_scores`.
        reference: a network, as the column widths names it.

    Returns:
        Columns: protocol, widths, seed, fold, difference; a run without such a partner has no row.
    """
    runs = run_scores(scores)
    is_reference = runs["widths"] == reference
    pairs = runs[~is_reference].merge(runs[is_reference], on=_PAIRED, suffixes=("", "_reference"))
    pairs["difference"] = 100 * (pairs["accuracy"] - pairs["accuracy_reference"])
    return pairs[["protocol", "widths", "seed", "fold", "difference"]]


def mean_of_seeds(scores) -> pd.DataFrame:
    """Rows of `image_scores` averaged over seeds, image by image, as if they were of seed 1.

    For the reference of `network_differences`: a run of one seed is then held against what another network reaches in the mean,
    and not against the luck of one training.
    """
    same = ["protocol", "widths", "fold", "path", "group", "class"]
    return scores.groupby(same, sort=False, as_index=False).mean(numeric_only=True).assign(seed=1)[scores.columns]


def network_differences(scores, reference=BASE) -> pd.DataFrame:
    """How each network differs from a reference in accuracy (cross-fitted), in points; a row a protocol and network.

    Args:
        scores, reference: as `run_differences` takes them.

    Returns:
        Columns: protocol, widths, pairs (of seeds), over (what the 95 % interval is over: ``seeds`` from three pairs on, by
        `statistics.paired_difference`; with fewer, and under ``grouped``, which asks about patients, ``groups``, by
        `statistics.group_difference`), difference, low, high, detectable (NaN over groups).
    """
    rows = []
    for (protocol, widths), found in run_differences(scores, reference).groupby(["protocol", "widths"], sort=False):
        paired = scores.merge(found[_PAIRED], on=_PAIRED)
        one, other = (paired[paired["widths"] == name] for name in (reference, widths))
        if protocol != "grouped" and found["seed"].nunique() >= SEEDS_FOR_AN_INTERVAL:
            means = (100 * part.groupby("seed")["right"].mean() for part in (one, other))
            row = {"over": "seeds", **statistics.paired_difference(*means)}
        else:
            difference, low, high = (100 * value for value in statistics.group_difference(per_image(one), per_image(other)))
            row = {"over": "groups", "pairs": found["seed"].nunique(), "difference": difference, "low": low, "high": high}
        rows.append({"protocol": protocol, "widths": widths, **row})
    columns = ["protocol", "widths", "pairs", "over", "difference", "low", "high", "detectable"]
    return pd.DataFrame(rows, columns=columns)


def mcnemar_pairs(scores) -> pd.DataFrame:
    """McNemar's test for every two runs of a protocol that differ in the seed alone, or in the widths alone.

    Folds of one network and seed are one, and each is taken at its restored epochs. Columns: protocol, differ (``seed`` or
    ``widths``), first, second, discordant (images that only one of them names rightly), p.
    """
    rows = []
    for protocol, found in scores.groupby("protocol", sort=False):
        right = found.pivot(index="path", columns=["widths", "seed"], values="right_at_best")
        for first, second in combinations(right.columns, 2):
            if (first[0] == second[0]) == (first[1] == second[1]):
                continue
            one, other = right[[first, second]].dropna().to_numpy(dtype=bool).T
            names = [f"{widths} seed {seed}" for widths, seed in (first, second)]
            differ = "seed" if first[0] == second[0] else "widths"
            rows.append((protocol, differ, *names, int((one != other).sum()), statistics.mcnemar(one, other)))
    return pd.DataFrame(rows, columns=["protocol", "differ", "first", "second", "discordant", "p"])


def precision_scores(runs, manifest) -> pd.DataFrame:
    """The table of `image_scores` for runs of two precisions, whose names stand in the column widths.

    The one place where precisions stand side by side, for `network_differences`: `check_comparable` still refuses to pool them.

    Raises:
        EvaluationError: where runs differ in more than seed and precision, or a seed lacks its partner.
    """
    _refuse_mixtures_of_environments(runs)
    _refuse_mixture("settings", [replace(run.config, seed=1, precision="float32").key for run in runs])
    found = {}
    for run in runs:
        found.setdefault(run.config.precision, []).append(run)
    if len(found) != 2 or len({frozenset(run.config.seed for run in same) for same in found.values()}) != 1:
        raise EvaluationError("each seed needs a run in each of two precisions")
    return pd.concat([image_scores(same, manifest).assign(widths=name) for name, same in found.items()], ignore_index=True)


def calibration_errors(scores) -> pd.DataFrame:
    """One row a run of `image_scores`, at its restored epoch: accuracy, confidence (mean) and ece, in percent."""
    rows = []
    for key, found in scores.groupby(["protocol", "widths", "seed", "fold"], sort=False):
        figures = found["right_at_best"].mean(), found["confidence"].mean()
        figures += (statistics.calibration_error(found["confidence"], found["right_at_best"]),)
        rows.append((*key, *(100 * figure for figure in figures)))
    return pd.DataFrame(rows, columns=["protocol", "widths", "seed", "fold", "accuracy", "confidence", "ece"])


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
    row = {"protocol": run.config.protocol, "widths": network_name(run.config), "seed": run.config.seed, "part": part}
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


def foreign_scores(runs, manifest) -> pd.DataFrame:
    """A row a run and foreign glioma that it did not train on, with and without the other half of them in training.

    Columns: protocol, widths, seed, half (that the image is in), path, group, class, right (0 or 1). Only pairs are kept: runs of
    ``foreign_added``, and for each a run of ``training_only`` with the same network and seed, on the same half.

    Raises:
        EvaluationError: where runs must not be compared, or one trained on what it is scored on.
    """
    check_comparable(runs, manifest)
    rows = [_foreign_rows(run, half, images, manifest) for run in runs for half, images in _held_out(run, manifest)]
    found = pd.concat(rows, ignore_index=True)
    of_pair = found.groupby(["widths", "seed", "half"])["protocol"]
    return found[of_pair.transform("nunique") == 2].reset_index(drop=True)


def _held_out(run, manifest):
    """The halves of the foreign gliomas that a run did not train on, each with its number and rows."""
    halves = enumerate(protocols.foreign_halves(manifest))
    return [(half, rows) for half, rows in halves if run.config.protocol != "foreign_added" or half != run.config.fold]


def _foreign_rows(run, half, rows, manifest):
    images = manifest[["path", "group", "class"]].iloc[rows]
    about = {"protocol": run.config.protocol, "widths": network_name(run.config), "seed": run.config.seed, "half": half}
    return images.assign(**about, right=_testing_right(run, images["path"], manifest).astype(float))


def foreign_recall(scores) -> pd.DataFrame:
    """Recall on each half, a row a pair of runs: widths, seed, half, images; without and with the other half in training (of 1).

    Args:
        scores: `foreign_scores`.
    """
    keys = ["widths", "seed", "half"]
    recall = scores.pivot_table(index=keys, columns="protocol", values="right")
    recall = recall.rename(columns={"training_only": "without", "foreign_added": "with"})
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
        raise EvaluationError("there is no run of foreign_added beside one of training_only with the same network and seed")
    without, added = (per_image(scores[scores["protocol"] == name]) for name in ("training_only", "foreign_added"))
    points = dict(zip(("points", "low", "high"), (100 * value for value in statistics.group_difference(without, added))))
    return {"without": without["right"].mean(), "with": added["right"].mean(), **points, "pairs": len(foreign_recall(scores))}


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
            rows.append((network_name(run.config), run.config.seed, size, low, middle, high))
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
