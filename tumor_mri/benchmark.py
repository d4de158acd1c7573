"""A benchmark: any Keras network under every protocol, scored alike, beside networks and baselines that need no training.

The rules are in ``BENCHMARK.md``. No score here comes from an epoch that was chosen on the images scored, and none of Testing
from a network that was chosen on Testing.
"""

import re

import numpy as np
import pandas as pd
from PIL import Image
from sklearn import metrics
from sklearn.linear_model import LogisticRegression
from tqdm.auto import tqdm

from tumor_mri import audit, dataset, evaluation, machine, protocols, records, study, tables, training

GROUPS = dataset.DATA / "groups.csv"
BASELINES = dataset.DATA / "baselines.csv"  # written by `write_data`
PAGE = dataset.ROOT / "BENCHMARK.md"
KEPT = dataset.ROOT / "build" / "benchmark"  # runs of a reader's own networks
FOLDS = {"testing_folder": (0,), "training_only": (0,), "grouped": tuple(range(protocols.GROUPED_FOLDS))}
UNSEEN = [name for name in dataset.CLASSES if name != "no_tumor"]  # every Testing scan without a tumour is a near-copy
ROW = ["network", "protocol", "seeds", "accuracy", "low", "high", "over", "balanced", "at_best_epoch", "unseen_testing"]
COLUMNS = ROW + [f"unseen_{name.removesuffix('_tumor')}" for name in UNSEEN]


def groups_table(manifest) -> pd.DataFrame:
    """A row an image: path, group, and the fold of ``grouped`` that it validates in; -1 for Testing."""
    fold = np.full(len(manifest), -1)
    for number in FOLDS["grouped"]:
        fold[protocols.grouped(manifest, number).validation] = number
    return manifest[["path", "group"]].assign(fold=fold)


def evaluate(build_network, name, seeds=(1,), which=tuple(FOLDS), epochs=60, images=None, folder=KEPT) -> pd.DataFrame:
    """Train a network under the protocols and score it; 7 trainings a seed. Goes on where an earlier call stopped.

    Args:
        build_network: function of no arguments that returns a Keras model: 150 x 150, grey or RGB, values 0 to 255, to the
            probabilities of the four classes. Compiled, it keeps its optimizer and loss; else it gets the report's.
        name: letters, digits, ``_`` and ``.``; for the table, and for the files that keep the runs.
        seeds: of the trainings; an interval needs three or more.
        which: protocols, out of `protocols.PROTOCOLS`.
        epochs: the most epochs of a training.
        images: uint8, (3264, 150, 150); None loads the project's.
        folder: where runs are kept.

    Returns:
        The table of `score`.

    Raises:
        ValueError: for a name that cannot be used, or that another network of yours has.
        dataset.DatasetError: where there are no images.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.]+", name) or name == "cnn":
        raise ValueError(f"a network's name is made of letters, digits, _ and ., and is not 'cnn', got {name!r}")
    settings = {"widths": (), "network": name, "epochs": epochs, "precision": machine.native_precision()}
    wanted = [
        training.RunConfig(which_one, seed=seed, fold=fold, **settings)
        for which_one in which
        for fold in FOLDS[which_one]
        for seed in seeds
    ]
    manifest = dataset.load_manifest()
    architecture = training.describe(training.build_alone(build_network, settings["precision"], seed=0))
    runs = []
    for config in tqdm(wanted, desc=name, unit="run"):
        path = records.path_of(config, folder)
        if not path.is_file():
            records.save(training.train(config, images, manifest, build=build_network), folder)
        runs.append(records.load(path))
        if runs[-1].environment["architecture"] != architecture:
            raise ValueError(f"{path.name} was trained with another network of the name {name!r}: choose another, or delete it")
    return score(runs, manifest)


def score(runs, manifest) -> pd.DataFrame:
    """One row a network and protocol.

    Columns: network, protocol, seeds (how many), accuracy (cross-fitted: see `evaluation.cross_fitted_classes`), low and high
    (95 % interval), over (what it is over: ``seeds`` from three on, else ``groups``), balanced (mean recall of the classes,
    cross-fitted), at_best_epoch (accuracy at the epoch chosen on the images scored: flattered), unseen_testing and unseen_glioma,
    _meningioma, _pituitary (accuracy and recalls there; NaN where Testing chose the epoch). All are shares of 1.

    A seed counts where all folds of its protocol are there.

    Raises:
        evaluation.EvaluationError: where the runs must not be compared.
    """
    evaluation.check_comparable(runs, manifest)
    sets = {}
    for run in runs:
        name = evaluation.network_name(run.config)
        sets.setdefault((name, run.config.protocol), {}).setdefault(run.config.seed, []).append(run)
    rows = []
    for (name, protocol), by_seed in sets.items():
        whole = [run for found in by_seed.values() if len(found) == len(FOLDS[protocol]) for run in found]
        if whole:
            rows.append({"network": name, "protocol": protocol, **_score_runs(whole, manifest)})
    return pd.DataFrame(rows, columns=COLUMNS)


def _score_runs(runs, manifest):
    """The row of the runs of several seeds, all folds of each."""
    images = evaluation.image_scores(runs, manifest)
    accuracy, low, high, over = evaluation.mean_and_interval(images)
    row = {
        "seeds": images["seed"].nunique(),
        "accuracy": accuracy,
        "low": low,
        "high": high,
        "over": over,
        "balanced": images.groupby(["seed", "class"])["right"].mean().mean(),
        "at_best_epoch": images["right_at_best"].mean(),
    }
    if runs[0].config.protocol == "testing_folder":
        return row
    unseen = [_score_unseen(run.test_probabilities.argmax(axis=1), manifest) for run in runs]
    return row | pd.DataFrame(unseen).mean().to_dict()


def _score_unseen(classes, manifest):
    """Accuracy and recalls on unseen Testing, from the predicted classes of all of Testing, in the manifest's order."""
    testing = np.flatnonzero((manifest["split"] == "Testing").to_numpy())
    kept = np.isin(testing, protocols.unseen_testing(manifest))
    actual = dataset.class_indices(manifest)[testing][kept]
    right = classes[kept] == actual
    recalls = {f"unseen_{name.removesuffix('_tumor')}": right[actual == dataset.CLASSES.index(name)].mean() for name in UNSEEN}
    return {"unseen_testing": right.mean(), **recalls}


def baselines(images, manifest) -> pd.DataFrame:
    """Scores that need no network, as `score` gives them: the nearest thumbnail of 32 x 32, logistic regression on thumbnails.

    Args:
        images: uint8, (rows of the manifest, 150, 150).
        manifest: table of the images.
    """
    thumbnails = np.stack([audit.standardise(_shrink(image)) for image in images])
    methods = {"1-nearest neighbour": _nearest_class, "logistic regression": _linear_class}
    rows = [
        {"network": name, "protocol": protocol, **_score_baseline(classify, thumbnails, manifest, protocol)}
        for name, classify in methods.items()
        for protocol in FOLDS
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _shrink(image):
    return np.asarray(Image.fromarray(image).convert("F").resize((audit.SIDE, audit.SIDE), Image.Resampling.BOX))


def _nearest_class(thumbnails, labels, train, asked):
    neighbour, _ = audit.nearest(thumbnails, asked, train)
    return labels[neighbour]


def _linear_class(thumbnails, labels, train, asked):
    scale = thumbnails.shape[1] ** 0.5  # from norm 1 to a standard deviation of 1, which the penalty takes for granted
    model = LogisticRegression(C=0.01, solver="newton-cg").fit(scale * thumbnails[train], labels[train])
    return model.predict(scale * thumbnails[asked])


def _score_baseline(classify, thumbnails, manifest, protocol):
    labels, groups = dataset.class_indices(manifest), manifest["group"].to_numpy()
    testing = np.flatnonzero((manifest["split"] == "Testing").to_numpy())
    rows, predicted, unseen = [], [], []
    for fold in FOLDS[protocol]:
        split = protocols.split(manifest, protocol, fold)
        rows.append(split.validation)
        classes = classify(thumbnails, labels, split.train, np.concatenate([split.validation, testing]))
        predicted.append(classes[: len(split.validation)])
        unseen.append(_score_unseen(classes[len(split.validation) :], manifest))
    rows, predicted = np.concatenate(rows), np.concatenate(predicted)
    right = predicted == labels[rows]
    low, high = evaluation.group_interval(right, groups[rows])
    figures = {"seeds": 0, "accuracy": right.mean(), "low": low, "high": high, "over": "groups"}
    figures["balanced"] = metrics.balanced_accuracy_score(labels[rows], predicted)
    return figures | pd.DataFrame(unseen).mean().to_dict()


def table(manifest) -> pd.DataFrame:
    """The benchmark's table: the committed baselines, then the recorded runs of the published precision."""
    recorded = [run for run in records.load_all(study.RECORDED) if run.config.precision == "mixed_bfloat16"]
    whole = [run for run in recorded if run.config.train_images is None]
    return pd.concat([pd.read_csv(BASELINES), score(whole, manifest)], ignore_index=True)


def as_markdown(scores) -> str:
    """A table of `score` for people: percentages, an interval beside each accuracy."""
    shown = pd.DataFrame(
        {
            "network": scores["network"],
            "protocol": scores["protocol"],
            "seeds": scores["seeds"].replace(0, "none"),
            "accuracy": [
                f"{100 * row.accuracy:.1f} ({100 * row.low:.1f} to {100 * row.high:.1f}, {row.over})"
                for row in scores.itertuples()
            ],
        }
    )
    for column in COLUMNS[7:]:
        shown[column.replace("_", " ")] = ["" if np.isnan(value) else f"{100 * value:.1f}" for value in scores[column]]
    return tables.as_markdown(shown)


def write_data(images, manifest) -> None:
    """Write what the benchmark commits: ``data/groups.csv`` and ``data/baselines.csv``."""
    groups_table(manifest).to_csv(GROUPS, index=False, lineterminator="\n")
    baselines(images, manifest).round(6).to_csv(BASELINES, index=False, lineterminator="\n")


def write_page(manifest) -> None:
    """Put the table of `table` between the markers of ``BENCHMARK.md``."""
    tables.write(PAGE, "table", as_markdown(table(manifest)))
