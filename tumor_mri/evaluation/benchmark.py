"""The benchmark: any Keras network under every protocol, scored in the same way as the project's networks and baselines.

The rules are in ``BENCHMARK.md``. No score comes from an epoch chosen on the images scored, except in the column at_best_epoch,
which shows how much that flatters. No score on Testing comes from a network that was chosen on Testing.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from sklearn import metrics
from sklearn.linear_model import LogisticRegression
from tqdm.auto import tqdm

from tumor_mri import text
from tumor_mri.audit import grouping, near_copies
from tumor_mri.datasets import manifests, protocols
from tumor_mri.evaluation import comparisons, ensembles, scoring
from tumor_mri.models import fingerprint, networks
from tumor_mri.runs import checkpoints, configs, environment, records, training

GROUPS = manifests.DATA / "groups.csv"
BASELINES = manifests.DATA / "baselines.csv"  # written by `write_data`
PUBLIC = manifests.DATA / "public.csv"  # results published by others, with their addresses
OWN_RUNS = manifests.ROOT / "build" / "benchmark"  # of a reader's own networks
ABOUT = ["network", "protocol", "seeds"]
ACCURACY = [*ABOUT, "accuracy", "low", "high", "seeds_low", "seeds_high"]
FURTHER = ["balanced", "mcc", "auroc", "brier", "log_loss", "at_best_epoch", "unseen_recall"]
NOT_SHARES = ("mcc", "auroc", "brier", "log_loss")  # printed as they are; the other columns are shares of 1
UNSEEN_LEAST = 20  # images of a class in unseen Testing, for its recall to be stated


def columns(manifest: pd.DataFrame) -> list[str]:
    """The columns of the table: the same for every dataset, plus one for each class of which unseen Testing has enough images."""
    images = manifest["class"].iloc[protocols.unseen_testing(manifest)].value_counts()
    many = images.index[images >= UNSEEN_LEAST]
    labels = manifests.in_class_order(manifests.dataset_of(manifest).label_of(folder) for folder in many)
    return ACCURACY + FURTHER + [_unseen_column(label) for label in labels]


def _unseen_column(label):
    return f"unseen_{label.replace(' ', '_')}"


def evaluate(
    build_network: Callable,
    name: str,
    seeds: Sequence[int] = (1,),
    which: Sequence[str] | None = None,
    epochs: int = 60,
    images: np.ndarray | None = None,
    folder: str | Path = OWN_RUNS,
    *,
    retrain: bool = False,
) -> pd.DataFrame:
    """Train a network under the benchmark's protocols and score it; 7 trainings per seed.

    If all the runs are committed, in ``data/results``, they are read. Otherwise the missing ones are trained, in the precision
    that suits this machine, and kept in `folder`: a call that was interrupted resumes there. Prints how many minutes the
    trainings took. With ``TUMOR_MRI_RETRAIN=smoke`` in the environment every training is tiny and none is kept: this tests that
    training works, and is not a result.

    Args:
        build_network: function without arguments that returns a new Keras model at each call. The model maps 150 x 150 images,
            grey or RGB, values 0 to 255, to the probabilities of the classes. A compiled model keeps its optimizer and loss;
            otherwise it gets the report's.
        name: letters, digits, ``_`` and ``.``; shown in the table, and part of the names of the record files.
        seeds: of the trainings; an interval over seeds needs three or more.
        which: names of protocols of the benchmark; None for all of them.
        epochs: at most this many per training.
        images: uint8, (3264, 150, 150); None loads the project's.
        folder: where runs trained here are kept.
        retrain: train here even if the runs are committed.

    Returns:
        The table of `score`.

    Raises:
        ValueError: if the name is invalid, or belongs to a network of the project or to another network of yours; if
            `build_network` returns the same model twice, since each run would then continue the one before.
        DatasetError: if there are no images.
    """
    networks.check_name(name)
    if retrain not in (True, False):
        raise ValueError(f"retrain is True or False, not {retrain!r}: `which` and `seeds` say how many networks are trained")
    if name in networks.NETWORKS:
        raise ValueError(f"{name!r} is a network of this project: give yours another name")
    seeds, which = _several("seeds", seeds), _several("which", which or [one.name for one in protocols.in_benchmark()])
    wanted = [
        configs.RunConfig(protocol, widths=(), seed=seed, fold=fold, network=name, epochs=epochs)
        for protocol in which
        for fold in range(protocols.get(protocol).folds)
        for seed in seeds
    ]
    if os.environ.get("TUMOR_MRI_RETRAIN") == "smoke":
        tiny = [replace(config, **configs.SMOKE) for config in wanted]
        with tempfile.TemporaryDirectory() as scratch:
            return _complete(tiny, [scratch], build_network, images)
    if retrain or not all(records.is_recorded(config, records.RECORDED) for config in wanted):
        wanted = [replace(config, precision=environment.native_precision()) for config in wanted]
    return _complete(wanted, [folder] if retrain else [records.RECORDED, folder], build_network, images)


def _several(name, values):
    """The values as a list; a single value or an empty list is refused here, since later errors would be harder to read."""
    if isinstance(values, (str, int)) or not (found := list(values)):
        raise ValueError(f"{name} must be a list with at least one entry, got {values!r}")
    return found


def _complete(wanted, folders, build_network, images):
    """The table of `score` for runs of one network: found in `folders`, or trained and kept in the last of them."""
    name, manifest = wanted[0].network, manifests.load_manifest()
    built = training.build_alone(build_network, wanted[0].precision, seed=0)
    if training.build_alone(build_network, wanted[0].precision, seed=0) is built:
        raise ValueError(
            f"the function that builds {name!r} returned the same model twice: it must create a new model at each call"
        )
    runs = {config: records.find(config, folders) for config in wanted}
    missing = [config for config, found in runs.items() if found is None]
    for config in tqdm(missing, desc=name, unit="run", disable=not missing):
        checkpoint = checkpoints.path_of(config)
        run = training.train(config, images, manifest, build=build_network, checkpoint=checkpoint)
        runs[config] = records.keep(run, folders[-1])
        checkpoint.unlink(missing_ok=True)
    for config, run in runs.items():
        if not fingerprint.is_of(built, run.environment["architecture"]):
            raise ValueError(
                f"{config.key} was trained with another network of the name {name!r}: rename yours, or delete that run"
            )
    minutes = sum(run.seconds for run in runs.values()) / 60
    print(f"{name}: {built.count_params():,} parameters; its {len(runs)} trainings took {minutes:.0f} minutes in all.")
    return score(list(runs.values()), manifest)


def score(runs: Sequence[scoring.Scored], manifest: pd.DataFrame) -> pd.DataFrame:
    """One row per network and protocol. All scores are shares of 1.

    Columns: network, protocol, seeds (how many), accuracy (cross-fitted: see `evaluation.cross_fitted_classes`), low and high
    (its 95 % interval over groups), seeds_low and seeds_high (its 95 % interval over seeds; NaN for fewer than three),
    balanced (balanced accuracy, the mean recall of the classes) and mcc (Matthews' correlation coefficient of Gorodkin, 2004,
    -1 to 1), both cross-fitted; auroc (area under the ROC curve, each class against the rest, mean over classes), brier (the
    sum over classes of the squared errors, 0 to 2) and log_loss (in nats), from the probabilities of the restored network,
    mean over trainings; at_best_epoch (accuracy at the epoch chosen on the images scored, which flatters); unseen_recall (on
    unseen Testing, the mean recall of the classes that have at least `UNSEEN_LEAST` images) and unseen_glioma and
    _pituitary (these recalls). A network that always gives one answer has an unseen_recall of 0.5, though its accuracy there
    can be higher than a good network's. The unseen columns are NaN if Testing chose the epoch or was not predicted. If the
    number of epochs was fixed beforehand, at_best_epoch is NaN, and unseen Testing is scored.

    Raises:
        EvaluationError: if the runs must not be compared, or a seed lacks a fold of its protocol or has one twice.
    """
    scoring.check_comparable(runs, manifest)
    sets = {}
    for run in runs:
        sets.setdefault((run.label, run.config.protocol), []).append(run)
    for found in sets.values():
        _check_folds(found)
    rows = [{"network": name, "protocol": protocol, **_score_runs(found, manifest)} for (name, protocol), found in sets.items()]
    return pd.DataFrame(rows, columns=columns(manifest))


def _check_folds(runs):
    """Check that each seed of one network and protocol has each fold exactly once.

    Raises:
        EvaluationError: naming the seed and its folds.
    """
    for seed, folds in _folds_by_seed(runs).items():
        wanted = list(range(protocols.get(runs[0].config.protocol).folds))
        if sorted(folds) != wanted:
            raise scoring.EvaluationError(
                f"{runs[0].label} under {runs[0].config.protocol}: seed {seed} has the folds {sorted(folds)}, not {wanted}"
            )


def _folds_by_seed(runs):
    found = {}
    for run in runs:
        found.setdefault(run.config.seed, []).append(run.config.fold)
    return found


def _score_runs(runs, manifest):
    """The scores of one row, from runs of one or more seeds with all their folds."""
    images = scoring.image_scores(runs, manifest)
    intervals = (*comparisons.over_groups(images), *comparisons.over_seeds(images))
    row = {
        "seeds": images["seed"].nunique(),
        "accuracy": scoring.per_image(images)["right"].mean(),
        **dict(zip(("low", "high", "seeds_low", "seeds_high"), intervals, strict=True)),
        "balanced": images.groupby(["seed", "class"])["right"].mean().mean(),
        **pd.DataFrame([_probability_scores(run, manifest) for run in runs]).mean().to_dict(),
    }
    if runs[0].chose_epoch:
        row["at_best_epoch"] = images["right_at_best"].mean()
        if protocols.is_unseen(runs[0].val_paths, manifest).any():  # these images chose the epoch
            return row
    if any(len(run.test_paths) == 0 for run in runs) or protocols.is_unseen(runs[0].train_paths, manifest).any():
        return row  # a submission without Testing, or networks that trained on it
    unseen = [_score_unseen(run.test_probabilities.argmax(axis=1), manifest) for run in runs]
    return row | pd.DataFrame(unseen).mean().to_dict()


def _probability_scores(run, manifest):
    """Matthews' coefficient of the cross-fitted classes, and what the probabilities of the restored network give; mcc, auroc,
    brier, log_loss. The area is NaN if a class has no image."""
    actual = scoring.truth(run.val_paths, manifest)
    classes = scoring.cross_fitted_classes(run, manifest)
    classes = classes if run.chose_epoch else classes[:1]
    shares = run.val_probabilities.astype(float)
    shares = np.clip(shares, 0, 1) / np.clip(shares, 0, 1).sum(axis=1, keepdims=True)
    one_hot = np.eye(shares.shape[1])[actual]
    areas = [
        metrics.roc_auc_score(one_hot[:, index], shares[:, index]) if 0 < one_hot[:, index].sum() < len(actual) else np.nan
        for index in range(shares.shape[1])
    ]
    return {
        "mcc": np.mean([metrics.matthews_corrcoef(actual, row) for row in classes]),
        "auroc": np.mean(areas),
        "brier": ((shares - one_hot) ** 2).sum(axis=1).mean(),
        "log_loss": -np.log(np.clip(shares[np.arange(len(actual)), actual], 1e-7, 1)).mean(),
    }


def _score_unseen(classes, manifest):
    """Recalls on unseen Testing, from the predicted classes of all of Testing in the manifest's order."""
    testing = np.flatnonzero(manifests.is_testing(manifest))
    kept = np.isin(testing, protocols.unseen_testing(manifest))
    actual, labels = manifests.class_indices(manifest)[testing][kept], manifests.dataset_of(manifest).labels
    right = classes[kept] == actual
    many = [index for index in np.unique(actual) if (actual == index).sum() >= UNSEEN_LEAST]
    recalls = {_unseen_column(labels[index]): right[actual == index].mean() for index in many}
    return {"unseen_recall": np.mean(list(recalls.values())) if recalls else np.nan, **recalls}


def baselines(images: np.ndarray, prepared: np.ndarray, manifest: pd.DataFrame) -> pd.DataFrame:
    """Scores of baselines without a network: constant answers, and 1-nearest neighbour and logistic regression on thumbnails.

    The columns are those of `score`. The constants show what a figure is worth: *class prior* answers with the shares of the
    classes in the training images, *always glioma* with the first class.

    Args:
        images: uint8, (rows of the manifest, 150, 150).
        prepared: the same scans without traces of their source, uint8, (rows, 96, 96): `preprocessing.load_prepared`.
        manifest: table of the images.
    """
    first = manifests.dataset_of(manifest).labels[0]
    methods = {f"always {first}": _first_class, "class prior": _prior}
    rows = [_baseline(name, method, np.zeros((len(manifest), 1)), manifest) for name, method in methods.items()]
    for what, scans in {"": images, ", prepared scans": prepared}.items():
        thumbnails = np.stack([near_copies.standardise(_shrink(scan)) for scan in scans])
        for name, method in {"1-nearest neighbour": _nearest_class, "logistic regression": _linear_class}.items():
            rows.append(_baseline(name + what, method, thumbnails, manifest))
    return pd.concat(rows, ignore_index=True)


def _shrink(image):
    return np.asarray(Image.fromarray(image).convert("F").resize((near_copies.SIDE, near_copies.SIDE), Image.Resampling.BOX))


def _first_class(thumbnails, labels, train, asked):
    return np.tile(np.eye(labels.max() + 1)[0], (len(asked), 1))


def _prior(thumbnails, labels, train, asked):
    return np.tile(np.bincount(labels[train]) / len(train), (len(asked), 1))


def _nearest_class(thumbnails, labels, train, asked):
    neighbour, _ = near_copies.nearest(thumbnails, asked, train)
    return np.eye(labels.max() + 1)[labels[neighbour]]


def _linear_class(thumbnails, labels, train, asked):
    scale = thumbnails.shape[1] ** 0.5  # from norm 1 to a standard deviation of 1, which the penalty assumes
    model = LogisticRegression(C=0.01, solver="newton-cg").fit(scale * thumbnails[train], labels[train])
    return model.predict_proba(scale * thumbnails[asked])


def _baseline(name, method, thumbnails, manifest):
    """The rows of one baseline. `method` gives probabilities for the images asked for, from the images to train on."""
    labels, paths = manifests.class_indices(manifest), manifest["path"].to_numpy()
    testing = np.flatnonzero(manifests.is_testing(manifest))
    answers = []
    for protocol in protocols.in_benchmark():
        for fold in range(protocol.folds):
            split = protocol.split(manifest, fold)
            found = method(thumbnails, labels, split.train, np.concatenate([split.validation, testing]))
            answers.append(
                configs.Submission(
                    config=configs.RunConfig(protocol.name, widths=(), network="baseline", fold=fold, patience=None),
                    val_paths=list(paths[split.validation]),
                    val_probabilities=found[: len(split.validation)],
                    test_paths=list(paths[testing]),
                    test_probabilities=found[len(split.validation) :],
                    train_paths=list(paths[split.train]),
                    environment={"backend": "none", "dataset": manifests.fingerprint(manifest)},
                )
            )
    return score(answers, manifest).assign(network=name, seeds=0)


def recorded() -> list[configs.Run]:
    """The committed runs that enter the table.

    Included are runs of complete networks (no ablations), in the precision of their recipe, on all images of a protocol of the
    benchmark. A seed is left out until all its folds are recorded.
    """
    usual = {protocol.name for protocol in protocols.in_benchmark()}
    runs = [run for run in records.load_all(records.RECORDED) if "precision" not in run.config.unusual_settings()]
    runs = [run for run in runs if run.config.train_images is None and not run.config.without and run.config.protocol in usual]
    return whole(runs)


def whole(runs: Sequence[scoring.Scored]) -> list[scoring.Scored]:
    """The runs of those seeds that have all folds of their protocol, in order: what `score` takes."""
    folds = Counter((run.label, run.config.protocol, run.config.seed) for run in runs)
    return [
        run for run in runs if folds[run.label, run.config.protocol, run.config.seed] >= protocols.get(run.config.protocol).folds
    ]


def combined(runs: Sequence[configs.Run]) -> list[configs.Prediction]:
    """Predictions with test-time augmentation, as an ensemble of seeds, and with both.

    Args:
        runs: of any networks; those that predicted no mirrored scans, or are no complete network of the project with its default
            recipe, are left out.

    Returns:
        See `ensembles`. Seeds form an ensemble if two or more are recorded in all folds of the protocol.
    """
    usual = [run for run in runs if run.val_flipped is not None and not run.config.stands_for.unusual_settings()]
    found = []
    for label in dict.fromkeys(run.label for run in usual):
        plain = [run for run in usual if run.label == label]
        mirrored = [ensembles.with_flips(run) for run in plain]
        found += mirrored + _seeds_together(plain) + _seeds_together(mirrored)
    return found


def _seeds_together(runs):
    found = []
    for protocol in protocols.in_benchmark():
        complete = whole([run for run in runs if run.config.protocol == protocol.name])
        if len({run.config.seed for run in complete}) > 1:
            by_fold = [[run for run in complete if run.config.fold == fold] for fold in range(protocol.folds)]
            found += [ensembles.together(of_fold) for of_fold in by_fold]
    return found


def table(manifest: pd.DataFrame, own: pd.DataFrame | None = None) -> pd.DataFrame:
    """The benchmark's table: the committed baselines, the recorded runs, and ensembles of the published network.

    Args:
        manifest: table of the images.
        own: rows of `evaluate`, which come last; they replace recorded rows of the same networks.
    """
    runs = recorded()
    scores = score(runs + combined(runs), manifest)
    found = pd.concat([pd.read_csv(BASELINES), scores], ignore_index=True)
    if own is None:
        return found
    return pd.concat([found[~found["network"].isin(own["network"])], own], ignore_index=True)


def as_markdown(scores: pd.DataFrame) -> str:
    """A table of `score` as Markdown: percentages, each accuracy followed by its intervals."""
    shares = [name for name in scores if name not in ABOUT]
    values = scores[shares].astype(float)
    percent = (100 * values).map(lambda value: "" if np.isnan(value) else f"{value:.1f}")
    for column in NOT_SHARES:
        percent[column] = values[column].map(lambda value: "" if np.isnan(value) else f"{value:.3f}")
    shown = scores[ABOUT].fillna("").assign(seeds=scores["seeds"].replace(0, "none"), accuracy=percent["accuracy"])
    for over, ends in {"over groups": ["low", "high"], "over seeds": ["seeds_low", "seeds_high"]}.items():
        shown[over] = [f"{low} to {high}" if low else "" for low, high in percent[ends].to_numpy()]
    for column in [name for name in shares if name not in ACCURACY and scores[name].notna().any()]:
        shown[column.replace("_", " ")] = percent[column]
    return text.as_markdown(shown)


def write_data(images: np.ndarray, prepared: np.ndarray, manifest: pd.DataFrame) -> None:
    """Write the benchmark's committed tables: ``data/groups.csv`` and ``data/baselines.csv``."""
    tables = {GROUPS: grouping.groups_table(manifest), BASELINES: baselines(images, prepared, manifest).round(6)}
    text.write_together({path: table.to_csv(index=False, lineterminator="\n") for path, table in tables.items()})
