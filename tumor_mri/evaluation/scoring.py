"""Scores from recorded predictions, image by image: consistency checks, key figures, cross-fitting, confusion."""

from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache

import numpy as np
import pandas as pd
from sklearn import metrics
from sklearn.model_selection import StratifiedGroupKFold

from tumor_mri import stats, text
from tumor_mri.datasets import manifests, protocols
from tumor_mri.models import fingerprint, networks
from tumor_mri.runs import configs

OSCILLATION_FROM = 10  # accuracy still climbs before this epoch: those changes are learning, not oscillation
BASE = networks.label(networks.BASE_WIDTHS)  # the base network's label
HALVINGS = 20  # random halvings of the validation images; the epoch is chosen on one half and scored on the other

Scored = configs.Run | configs.Prediction | configs.Submission  # what can be scored


class EvaluationError(text.ProjectError):
    """Runs that contradict the manifest, their protocol or themselves, or that must not be compared."""


def check(run: Scored, manifest: pd.DataFrame) -> None:
    """Check that a run is consistent: its images are those of its protocol, its accuracies follow from its predictions.

    Args:
        run: a `configs.Run`; a `configs.Prediction`, whose members are checked; or a `configs.Submission`.
        manifest: as loaded, in its own order.

    Raises:
        EvaluationError: naming the run and what is inconsistent.
    """
    if isinstance(run, configs.Prediction):
        for member in run.members:
            check(member, manifest)
        _check_shapes(run, manifest)
        return
    _check_paths(run, manifest)
    _check_shapes(run, manifest)
    if isinstance(run, configs.Submission):
        return
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
    if isinstance(run, configs.Submission) and not run.test_paths:
        del expected["test_paths"]
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
            raise EvaluationError(f"{run.config.key}: {name} are not probabilities between 0 and 1, each row with the sum 1")


def check_comparable(runs: Sequence[Scored], manifest: pd.DataFrame) -> None:
    """Check each run, and that all were trained in the same precision and on the same dataset.

    Backends may differ: `comparisons.backend_scores` measures what that changes.

    Raises:
        EvaluationError: naming what differs.
    """
    for run in runs:
        check(run, manifest)
    refuse_mixture("precisions", [run.config.precision for run in runs])
    refuse_mixture("datasets", [run.environment["dataset"] for run in runs])


def refuse_mixture(name: str, found: Iterable[str]) -> None:
    """Check that all values are equal.

    Args:
        name: what the values are, in the plural, for the message.
        found: one value per run.

    Raises:
        EvaluationError: if there are several.
    """
    found = list(found)
    if len(set(found)) > 1:
        raise EvaluationError(f"these runs mix {name} ({', '.join(sorted(set(found)))}): they must not be compared")


def truth(paths: Iterable[str], manifest: pd.DataFrame) -> np.ndarray:
    """True class indices of images, looked up by path, int64, (paths,).

    Raises:
        EvaluationError: if a path is not in the manifest.

    Example:
        >>> manifest = manifests.load_manifest()
        >>> truth(["Testing/glioma_tumor/image(1).jpg", "Testing/no_tumor/image(1).jpg"], manifest)
        array([0, 2])
    """
    paths = list(paths)
    labels = pd.Series(manifests.class_indices(manifest), index=manifest["path"])
    missing = [path for path in paths if path not in labels.index]
    if missing:
        raise EvaluationError(f"{len(missing)} images are not in the manifest, the first is {missing[0]}")
    return labels.loc[paths].to_numpy()


def summarise(runs: Sequence[configs.Run], manifest: pd.DataFrame) -> pd.DataFrame:
    """The table of `key_figures`, after checking that the runs may be compared.

    Raises:
        EvaluationError: see `check_comparable`.

    Example:
        >>> from tumor_mri.runs import records
        >>> run = records.find(configs.config_of("residual", "grouped", fold=1), [records.RECORDED])
        >>> summarise([run], manifests.load_manifest())[["fold", "epochs_run"]].to_dict("records")
        [{'fold': 1, 'epochs_run': 60}]
    """
    check_comparable(runs, manifest)
    return key_figures(runs, manifest)


def key_figures(runs: Sequence[configs.Run], manifest: pd.DataFrame) -> pd.DataFrame:
    """One row per run. Accuracies are fractions of 1; gaps and oscillation are in percentage points.

    Columns: protocol, fold, network, seed, precision, parameters, epochs_run, best_epoch, train_accuracy (as Keras logs it at the
    restored epoch, with dropout on), train_measured (with dropout off), val_accuracy, gap (train_accuracy minus val_accuracy),
    gap_measured (train_measured minus val_accuracy), oscillation (standard deviation of the change of validation accuracy from
    one epoch to the next, after epoch 10), minutes.
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
        "parameters": run.environment.get("parameters") or networks.parameter_count(run.config.widths),  # not in old records
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


def cross_fitted_classes(run: Scored, manifest: pd.DataFrame, halvings: int = HALVINGS) -> np.ndarray:
    """Predicted classes of the validation images, each at an epoch that was chosen without that image (cross-fitting).

    The validation images are halved by group. The best epoch of the first half gives the predictions for the second half, and
    vice versa; of several equally good epochs the first counts. No image is scored at an epoch that it helped to choose, and no
    network is trained again. If the number of epochs was fixed beforehand, nothing was chosen: each row then holds the
    predictions after the last epoch.

    Returns:
        uint8, (halvings, validation images): one row per random halving.
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
    """Random halvings that keep groups whole, each as two pairs of index arrays; all runs of one split use the same ones."""
    splitters = [StratifiedGroupKFold(2, shuffle=True, random_state=protocols.SPLIT_SEED + number) for number in range(count)]
    return [list(splitter.split(classes, classes, groups)) for splitter in splitters]


def image_scores(runs: Sequence[Scored], manifest: pd.DataFrame) -> pd.DataFrame:
    """One row per run and validation image, to be averaged over seeds, folds, classes or groups.

    Columns: protocol, network, seed, fold, path, group, class; right (0 to 1: the share of halvings in which the image is
    classified correctly at an epoch chosen without it, see `cross_fitted_classes`); right_at_best (whether it is classified
    correctly at the restored epoch, which it helped to choose unless the number of epochs was fixed); confidence (probability of
    the class predicted there).

    Raises:
        EvaluationError: if the runs must not be compared.

    Example:
        >>> from tumor_mri.runs import records
        >>> run = records.find(configs.config_of("residual", "grouped", fold=1), [records.RECORDED])
        >>> scores = image_scores([run], manifests.load_manifest())
        >>> len(scores) == len(run.val_paths), scores["seed"].unique().tolist()
        (True, [1])
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


def missed_tumours(runs: Sequence[Scored], manifest: pd.DataFrame, paths: Collection[str] | None = None) -> pd.DataFrame:
    """The worst error: tumours classified as "no tumour", on validation images; one row per protocol and network.

    Args:
        runs: of one network or several.
        manifest: table of the images.
        paths: only these validation images count; None for all.

    Columns: protocol, network, tumours (how many images), missed (share of them, of 1, at epochs chosen without them, see
    `cross_fitted_classes`), low, high (95 % interval over groups); alarms (share of the scans without a tumour that are
    classified as one, the false alarms; NaN if there are no such scans), alarms_low, alarms_high.

    Raises:
        EvaluationError: if the runs must not be compared.
    """
    check_comparable(runs, manifest)
    dataset = manifests.dataset_of(manifest)
    named = []
    for run in runs:
        share = (cross_fitted_classes(run, manifest) == dataset.negative_index).mean(axis=0)
        named.append(_image_rows(run, run.val_paths, run.val_probabilities, manifest).assign(none=share))
    rows = []
    named = pd.concat(named)
    named = named if paths is None else named[named["path"].isin(paths)]
    for (protocol, network), found in named.groupby(["protocol", "network"], sort=False):
        images = found.groupby(["path", "group", "class"], sort=False)["none"].mean().reset_index()
        is_tumour = images["class"] != dataset.negative_label
        missed, alarms = images.loc[is_tumour, "none"], 1 - images.loc[~is_tumour, "none"]
        shares = [
            (part.mean(), *stats.group_interval(part, images.loc[part.index, "group"])) if len(part) else [np.nan] * 3
            for part in (missed, alarms)
        ]
        rows.append((protocol, network, len(missed), *shares[0], *shares[1]))
    columns = ["protocol", "network", "tumours", "missed", "low", "high", "alarms", "alarms_low", "alarms_high"]
    return pd.DataFrame(rows, columns=columns)


def unseen_scores(runs: Sequence[Scored], manifest: pd.DataFrame) -> pd.DataFrame:
    """The table of `image_scores` for unseen Testing, which chose no epoch: ``right`` is that of the restored network.

    Raises:
        EvaluationError: if the runs must not be compared, or if one of them trained or chose its epoch on images of Testing.
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


def run_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per run, from `image_scores`.

    Columns: protocol, network, seed, fold, images, accuracy (cross-fitted), at_best_epoch (accuracy at the restored epoch) and
    flattery (the second minus the first, in percentage points: the optimistic bias of choosing the epoch on the images scored).
    """
    found = scores.groupby(["protocol", "network", "seed", "fold"], sort=False)
    table = found.agg(images=("path", "size"), accuracy=("right", "mean"), at_best_epoch=("right_at_best", "mean")).reset_index()
    return table.assign(flattery=100 * (table["at_best_epoch"] - table["accuracy"]))


def per_image(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per image, from `image_scores`: path, group, class and the mean of ``right`` over the runs.

    Example:
        >>> row = {"path": "a.jpg", "group": 7, "class": "glioma"}
        >>> per_image(pd.DataFrame([{**row, "right": 1.0}, {**row, "right": 0.5}]))["right"].tolist()
        [0.75]
    """
    return scores.groupby(["path", "group", "class"], sort=False)["right"].mean().reset_index()


def confusion(run: Scored, manifest: pd.DataFrame) -> np.ndarray:
    """Confusion matrix of the restored network on its validation images: rows truth, columns prediction, int, (4, 4)."""
    predicted = run.val_probabilities.argmax(axis=1)
    return metrics.confusion_matrix(
        truth(run.val_paths, manifest), predicted, labels=range(len(manifests.dataset_of(manifest).classes))
    )


def answers(run: Scored, manifest: pd.DataFrame) -> pd.DataFrame:
    """The restored network's prediction for each validation image, one row per path, in the run's order.

    Columns: truth and predicted (class names), right, confidence (the probability of the predicted class, 0 to 1).
    """
    names = np.array(manifests.dataset_of(manifest).labels)
    table = pd.DataFrame(index=pd.Index(run.val_paths, name="path"))
    table["truth"] = names[truth(run.val_paths, manifest)]
    table["predicted"] = names[run.val_probabilities.argmax(axis=1)]
    table["right"] = table["truth"] == table["predicted"]
    table["confidence"] = run.val_probabilities.max(axis=1)
    return table


def classification_table(matrix: np.ndarray, labels: Sequence[str] = manifests.BRAIN_TUMOUR_MRI.labels) -> pd.DataFrame:
    """Precision, recall, F1 score and support of each class, with macro and weighted averages, from a confusion matrix.

    Args:
        matrix: rows truth, columns prediction, int, (classes, classes).
        labels: names of the classes, in the order of the matrix.

    Example:
        >>> classification_table(np.array([[8, 2], [1, 9]]), ["tumour", "healthy"]).loc["tumour", "recall"].item()
        0.8
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


def testing_right(run: Scored, paths: Iterable[str], manifest: pd.DataFrame) -> np.ndarray:
    """Whether a run classifies each of some images of Testing correctly, bool, (paths,).

    Raises:
        EvaluationError: if the run trained on one of the images.
    """
    paths = list(paths)
    trained_on = set(run.train_paths) & set(paths)
    if trained_on:
        raise EvaluationError(f"{run.config.key} trained on {len(trained_on)} of the images that it is to be scored on")
    right = run.test_probabilities.argmax(axis=1) == truth(run.test_paths, manifest)
    return pd.Series(right, index=run.test_paths).loc[paths].to_numpy()


def confused_pairs(matrix: np.ndarray, labels: Sequence[str] = manifests.BRAIN_TUMOUR_MRI.labels) -> pd.DataFrame:
    """Off-diagonal cells of a confusion matrix, most frequent first: truth, predicted, count, share of the true class.

    Example:
        >>> confused_pairs(np.array([[8, 2], [1, 9]]), ["tumour", "healthy"]).to_dict("records")[0]
        {'truth': 'tumour', 'predicted': 'healthy', 'count': 2, 'share': 0.2}
    """
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
