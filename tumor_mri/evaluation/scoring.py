"""Scores of recorded predictions, image by image: integrity, key figures, cross-fitting, confusion."""

from functools import lru_cache

import numpy as np
import pandas as pd
from sklearn import metrics
from sklearn.model_selection import StratifiedGroupKFold

from tumor_mri import stats, text
from tumor_mri.datasets import manifests, protocols
from tumor_mri.models import fingerprint, networks
from tumor_mri.runs import configs

OSCILLATION_FROM = 10  # epochs before this one still climb: their changes are learning, not oscillation
BASE = networks.label(networks.BASE_WIDTHS)  # the base network's label
HALVINGS = 20  # random halvings of the validation images when an epoch is chosen on one half and scored on the other


class EvaluationError(text.ProjectError):
    """Runs that contradict the manifest, their protocol or themselves, or that must not be compared."""


def check(run, manifest) -> None:
    """Make sure that a run is what it says: its images are its protocol's, its accuracies those of its predictions.

    Args:
        run: a `configs.Run`, or a `configs.Prediction`, whose members are checked.
        manifest: in its own order.

    Raises:
        EvaluationError: naming the run and what does not fit.
    """
    if isinstance(run, configs.Prediction):
        for member in run.members:
            check(member, manifest)
        _check_shapes(run, manifest)
        return
    _check_paths(run, manifest)
    _check_shapes(run, manifest)
    accuracies = (run.val_classes == truth(run.val_paths, manifest)).mean(axis=1)
    if not np.allclose(accuracies, run.history["val_accuracy"], atol=1e-6):
        raise EvaluationError(f"{run.config.key}: its validation accuracies are not those of its predictions")
    if not np.array_equal(run.val_probabilities.argmax(axis=1), run.val_classes[run.best_epoch - 1]):
        raise EvaluationError(f"{run.config.key}: its final probabilities are not those of its best epoch")
    computed = run.environment.get("computes_in")  # absent from older records
    if computed and not fingerprint.is_precision(run.config.precision, computed):
        raise EvaluationError(f"{run.config.key}: it computed in {' and '.join(computed)}, not in {run.config.precision}")


def _check_paths(run, manifest):
    dataset = manifests.dataset_of(manifest).name
    if run.config.dataset != dataset:
        raise EvaluationError(f"{run.config.key}: it is a run of the dataset {run.config.dataset}, the manifest is of {dataset}")
    split = protocols.split(manifest, run.config.protocol, run.config.fold)
    paths = manifest["path"].to_numpy()
    expected = {
        "train_paths": list(paths[split.train[: run.config.train_images]]),
        "val_paths": list(paths[split.validation]),
        "test_paths": list(paths[manifests.is_testing(manifest)]),
    }
    for name, wanted in expected.items():
        if list(getattr(run, name)) != wanted:
            raise EvaluationError(f"{run.config.key}: {name} are not the images of its protocol")


def _check_shapes(run, manifest):
    classes = len(manifests.dataset_of(manifest).classes)
    probabilities = {
        "val_probabilities": len(run.val_paths),
        "test_probabilities": len(run.test_paths),
        "val_flipped": len(run.val_paths),
        "test_flipped": len(run.test_paths),
    }
    shapes = {name: (images, classes) for name, images in probabilities.items()}
    if isinstance(run, configs.Run):
        shapes |= {"val_classes": (run.epochs_run, len(run.val_paths)), "train_classes": (len(run.train_paths),)}
    for name, wanted in shapes.items():
        found = getattr(run, name, None)
        if found is None:
            continue
        if found.shape != wanted:
            raise EvaluationError(f"{run.config.key}: {name} has shape {found.shape}, expected {wanted}")
        if name in probabilities and not stats.are_probabilities(found):
            raise EvaluationError(f"{run.config.key}: {name} are no probabilities: between 0 and 1, each row with the sum 1")


def check_comparable(runs, manifest) -> None:
    """Check each run, and that all were trained with one precision, one backend and one dataset.

    Raises:
        EvaluationError: naming what differs.
    """
    for run in runs:
        check(run, manifest)
    refuse_mixture("precisions", [run.config.precision for run in runs])
    refuse_mixtures_of_environments(runs)


def refuse_mixtures_of_environments(runs):
    refuse_mixture("backends", [run.environment["backend"] for run in runs])
    refuse_mixture("datasets", [run.environment["dataset"] for run in runs])


def refuse_mixture(name, found):
    if len(set(found)) > 1:
        raise EvaluationError(f"these runs mix {name} ({', '.join(sorted(set(found)))}): they must not be compared")


def truth(paths, manifest) -> np.ndarray:
    """True class indices of images, joined by path, int64, (paths,).

    Raises:
        EvaluationError: where a path is not in the manifest.
    """
    labels = pd.Series(manifests.class_indices(manifest), index=manifest["path"])
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

    Columns: protocol, fold, network, seed, precision, parameters, epochs_run, best_epoch, train_accuracy (as Keras logs it at the
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
        "network": run.label,
        "seed": run.config.seed,
        "precision": run.config.precision,
        "parameters": run.environment.get("parameters") or networks.parameter_count(run.config.widths),  # older: no such entry
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
    if not run.chose_epoch:
        return np.tile(run.val_classes[-1], (halvings, 1))
    actual = truth(run.val_paths, manifest)
    groups = manifests.groups_of(run.val_paths, manifest)
    right = run.val_classes == actual
    rows = np.empty((halvings, len(actual)), dtype=np.uint8)
    for row, halves in zip(rows, _halvings(tuple(actual), tuple(groups), halvings), strict=True):
        for choosing, scored in halves:
            row[scored] = run.val_classes[right[:, choosing].mean(axis=1).argmax(), scored]
    return rows


@lru_cache(maxsize=32)
def _halvings(classes, groups, count):
    """Random halvings that keep groups whole, each as two pairs of index arrays; all runs of one split share them."""
    splitters = [StratifiedGroupKFold(2, shuffle=True, random_state=protocols.SPLIT_SEED + number) for number in range(count)]
    return [list(splitter.split(classes, classes, groups)) for splitter in splitters]


def image_scores(runs, manifest) -> pd.DataFrame:
    """A row a run and validation image, to be averaged over whatever is asked about: seeds, folds, classes, groups.

    Columns: protocol, network, seed, fold, path, group, class; right (0 to 1: the share of halvings in which the image is right
    at an epoch that was chosen without it, see `cross_fitted_classes`); right_at_best (whether it is right at the restored epoch,
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
        "network": run.label,
        "seed": run.config.seed,
        "fold": run.config.fold,
        "path": paths,
        "group": manifests.groups_of(paths, manifest),
        "class": np.array(manifests.dataset_of(manifest).labels)[actual],
        "right_at_best": predicted == actual,
        "confidence": probabilities.max(axis=1).astype(float),
    }
    return pd.DataFrame(columns)


def missed_tumours(runs, manifest) -> pd.DataFrame:
    """The failure that matters: tumours that are named "no tumour", on validation images; a row a protocol and network.

    Columns: protocol, network, tumours (how many images), missed (share of them, of 1, at epochs chosen without them, see
    `cross_fitted_classes`), low, high (95 % interval over groups); alarms (share of the scans without a tumour that are given
    one), alarms_low, alarms_high.

    Raises:
        EvaluationError: where the runs must not be compared.
    """
    check_comparable(runs, manifest)
    dataset = manifests.dataset_of(manifest)
    named = []
    for run in runs:
        share = (cross_fitted_classes(run, manifest) == dataset.negative_index).mean(axis=0)
        named.append(_image_rows(run, run.val_paths, run.val_probabilities, manifest).assign(none=share))
    rows = []
    for (protocol, network), found in pd.concat(named).groupby(["protocol", "network"], sort=False):
        images = found.groupby(["path", "group", "class"], sort=False)["none"].mean().reset_index()
        is_tumour = images["class"] != dataset.negative_label
        missed, alarms = images.loc[is_tumour, "none"], 1 - images.loc[~is_tumour, "none"]
        shares = [(part.mean(), *stats.group_interval(part, images.loc[part.index, "group"])) for part in (missed, alarms)]
        rows.append((protocol, network, len(missed), *shares[0], *shares[1]))
    columns = ["protocol", "network", "tumours", "missed", "low", "high", "alarms", "alarms_low", "alarms_high"]
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
        if run.chose_epoch and set(run.val_paths) & set(paths):
            raise EvaluationError(f"{run.config.key} chose its epoch on Testing: its score there would be flattered")
        right = testing_right(run, paths, manifest)
        places = pd.Index(run.test_paths).get_indexer(paths)
        rows.append(_image_rows(run, paths, run.test_probabilities[places], manifest).assign(right=right.astype(float)))
    return pd.concat(rows, ignore_index=True)


def run_scores(scores) -> pd.DataFrame:
    """One row a run of `image_scores`: images, accuracy (cross-fitted), at_best_epoch, and the points between, flattery."""
    found = scores.groupby(["protocol", "network", "seed", "fold"], sort=False)
    table = found.agg(images=("path", "size"), accuracy=("right", "mean"), at_best_epoch=("right_at_best", "mean")).reset_index()
    return table.assign(flattery=100 * (table["at_best_epoch"] - table["accuracy"]))


def per_image(scores) -> pd.DataFrame:
    """One row an image: path, group, class and the mean of ``right`` over the runs that it validates."""
    return scores.groupby(["path", "group", "class"], sort=False)["right"].mean().reset_index()


def confusion(run, manifest) -> np.ndarray:
    """Confusion matrix of the restored network on its validation images: rows truth, columns prediction, int, (4, 4)."""
    predicted = run.val_probabilities.argmax(axis=1)
    return metrics.confusion_matrix(
        truth(run.val_paths, manifest), predicted, labels=range(len(manifests.dataset_of(manifest).classes))
    )


def answers(run, manifest) -> pd.DataFrame:
    """What the restored network says of each validation image, a row a path, in the run's order.

    Columns: truth and predicted (class names), right, confidence (the probability of what it says, 0 to 1).
    """
    names = np.array(manifests.dataset_of(manifest).labels)
    table = pd.DataFrame(index=pd.Index(run.val_paths, name="path"))
    table["truth"] = names[truth(run.val_paths, manifest)]
    table["predicted"] = names[run.val_probabilities.argmax(axis=1)]
    table["right"] = table["truth"] == table["predicted"]
    table["confidence"] = run.val_probabilities.max(axis=1)
    return table


def classification_table(matrix, labels=manifests.BRAIN_TUMOUR_MRI.labels) -> pd.DataFrame:
    """Precision, recall, f1 and support of each class, of their macro and weighted means, from a confusion matrix.

    Args:
        matrix: rows truth, columns prediction, int, (classes, classes).
        labels: of the classes, for people.
    """
    actual, predicted = np.indices(matrix.shape)
    counts = np.asarray(matrix).ravel()
    report = metrics.classification_report(
        np.repeat(actual.ravel(), counts),
        np.repeat(predicted.ravel(), counts),
        labels=range(len(labels)),
        target_names=list(labels),
        output_dict=True,
        zero_division=0,
    )
    rows = {name: row for name, row in report.items() if isinstance(row, dict)}
    table = pd.DataFrame(rows).T
    table["support"] = table["support"].astype(int)
    return table


def testing_right(run, paths, manifest):
    """Whether a run names the class of some images of Testing, bool, (paths,)."""
    trained_on = set(run.train_paths) & set(paths)
    if trained_on:
        raise EvaluationError(f"{run.config.key} trained on {len(trained_on)} of the images that it is to be scored on")
    right = run.test_probabilities.argmax(axis=1) == truth(run.test_paths, manifest)
    return pd.Series(right, index=run.test_paths).loc[list(paths)].to_numpy()


def confused_pairs(matrix, labels=manifests.BRAIN_TUMOUR_MRI.labels) -> pd.DataFrame:
    """Off-diagonal cells of a confusion matrix, most frequent first: truth, predicted, count, share of the true class."""
    cells = [
        {
            "truth": labels[row],
            "predicted": labels[column],
            "count": int(matrix[row, column]),
            "share": matrix[row, column] / max(matrix[row].sum(), 1),
        }
        for row, column in np.ndindex(*matrix.shape)
        if row != column and matrix[row, column]
    ]
    table = pd.DataFrame(cells, columns=["truth", "predicted", "count", "share"])
    return table.sort_values(["count", "truth", "predicted"], ascending=[False, True, True], ignore_index=True)
