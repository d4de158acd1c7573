"""The published network: its files, what it says about any scan, and when it would rather say nothing.

Material for learning. Not a diagnostic device.
"""

import hashlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import optimize, special
from tqdm.auto import tqdm

from tumor_mri import (
    benchmark,
    dataset,
    evaluation,
    preprocessing,
    protocols,
    recipe,
    records,
    statistics,
    study,
    tables,
    training,
)

FOLDER = dataset.DATA / "weights"  # committed
CARD = dataset.ROOT / "MODEL_CARD.md"
MODEL, FEATURES, ABOUT, SUMS = "residual.keras", "features.npz", "about.json", "SHA256SUMS"
NEAREST = ("nearest", "nearest_class", "similarity")  # columns about the nearest Training scan
SURE_ENOUGH = 0.97  # share of right answers, on patients it has not met, that it wants before it answers
CONFIG = training.RunConfig("testing_folder", **recipe.RESIDUAL)  # all of Training, the first seed


class PredictionError(Exception):
    """There is nothing to predict with, or on; the text says what to do."""


@dataclass(frozen=True)
class Published:
    """The published network.

    Attributes:
        model: Keras model, (batch, 96, 96, 1) prepared scans to their features (batch, features) and probabilities (batch, 4).
        temperature: by which log probabilities are divided, so that on the grouped folds a confidence is the share of right
            answers.
        abstain_below: confidence, 0 to 1, below which it would rather abstain.
        features: float32, (2870, features), of unit length, of all Training scans.
        paths: of these scans.
    """

    model: object
    temperature: float
    abstain_below: float
    features: np.ndarray
    paths: np.ndarray


def load(folder=FOLDER) -> Published:
    """Read the published network, after its files were held against their digests.

    Raises:
        PredictionError: where a file is missing, or not what was published.
    """
    from tumor_mri.quiet import keras

    folder, said = Path(folder), about(folder)
    with np.load(folder / FEATURES, allow_pickle=False) as stored:
        features, paths = _unit_length(stored["features"].astype(np.float32)), stored["paths"]
    model = keras.saving.load_model(folder / MODEL, compile=False, safe_mode=True)
    return Published(_with_features(model), said["temperature"], said["abstain_below"], features, paths)


def about(folder=FOLDER) -> dict:
    """What the published network says of itself: temperature, abstain_below, and the key of its record.

    Raises:
        PredictionError: where a file of the network is missing, or not what was published.
    """
    _check(Path(folder))
    return json.loads((Path(folder) / ABOUT).read_text(encoding="utf-8"))


def _check(folder):
    try:
        lines = (folder / SUMS).read_bytes().decode("utf-8", errors="replace").splitlines()
        published = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
        digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (MODEL, FEATURES, ABOUT)}
    except OSError as error:
        raise PredictionError(f"there is no published network in {folder}: {error.filename}: {error.strerror}") from None
    for name, digest in digests.items():
        if published.get(name) != digest:
            raise PredictionError(f"{name} in {folder} is not the file that was published: get the project anew")


def _with_features(model):
    """The same network, its features, which the last layer sees, as an output of their own."""
    from tumor_mri.quiet import keras

    return keras.Model(model.inputs[0], [model.get_layer("features").output, model.outputs[0]])


def _unit_length(features):
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9)


def files_in(path) -> list:
    """The files to be predicted: the file itself, or all files below a folder, without hidden ones, sorted.

    Raises:
        PredictionError: where there is no such file or folder, or nothing in it.
    """
    path = Path(path)
    if not path.exists():
        raise PredictionError(f"{path} does not exist")
    if not path.is_dir():
        return [path]
    found = [file for file in sorted(path.rglob("*")) if file.is_file() and not _is_hidden(file.relative_to(path))]
    if not found:
        raise PredictionError(f"{path} holds no files")
    return found


def _is_hidden(path):
    return any(part.startswith(".") for part in path.parts)


def predict(files, published, progress=False) -> pd.DataFrame:
    """What the published network says about scans.

    Args:
        files: paths of image files: any format that Pillow reads, grey or colour, `preprocessing.SMALLEST` pixels a side or more.
        published: what `load` gives.
        progress: show a bar.

    Returns:
        One row a file. Columns: file; problem (why it cannot be read, else empty, and then the others are); answer (class name);
        abstains (whether it would rather give no answer); confidence (calibrated, 0 to 1); a probability for each class name; and
        of the Training scan that is nearest by the network's own features nearest (its path), nearest_class, similarity (cosine).
    """
    rows = []
    for start in tqdm(range(0, len(files), 64), disable=not progress, desc="predicting", unit="batch"):
        rows += _predict_some(files[start : start + 64], published)
    return pd.DataFrame(rows, columns=["file", "problem", "answer", "abstains", "confidence", *dataset.NAMES, *NEAREST])


def _predict_some(files, published):
    scans, problems = {}, {}
    for file in files:
        try:
            scans[file] = preprocessing.prepare(preprocessing.read(file))
        except ValueError as error:
            problems[file] = str(error)
    answers = dict(zip(scans, _answers(np.stack(list(scans.values())), published))) if scans else {}
    return [{"file": str(file), "problem": problems.get(file, ""), **answers.get(file, {})} for file in files]


def _answers(scans, published):
    features, probabilities = published.model.predict(scans[..., None], verbose=0)
    calibrated = soften(probabilities, published.temperature)
    likeness = _unit_length(features) @ published.features.T
    for shares, alike in zip(calibrated, likeness):
        nearest = alike.argmax()
        path = str(published.paths[nearest])
        yield {
            "answer": dataset.NAMES[shares.argmax()],
            "abstains": bool(shares.max() < published.abstain_below),
            "confidence": float(shares.max()),
            **dict(zip(dataset.NAMES, map(float, shares))),
            "nearest": path,
            "nearest_class": dataset.NAMES[dataset.CLASSES.index(Path(path).parent.name)],
            "similarity": float(alike[nearest]),
        }


def as_text(found) -> str:
    """The table of `predict` for people: a line a scan, then a sentence for each file that is none."""
    read = found[found["problem"] == ""]
    lines = []
    if len(read):
        shares = {f"{name} %": [f"{100 * value:.0f}" for value in read[name]] for name in dataset.NAMES}
        advice = np.where(read["abstains"].astype(bool), "would rather abstain", "")
        nearest = [f"{row.nearest} (cosine {row.similarity:.3f})" for row in read.itertuples()]
        columns = {
            "file": read["file"],
            "answer": read["answer"],
            **shares,
            "": advice,
            "nearest Training scan": nearest,
        }
        lines.append(pd.DataFrame(columns).to_string(index=False))
    return "\n".join(lines + [problem for problem in found["problem"] if problem])


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


def choose_threshold(confidence, right, wanted=SURE_ENOUGH) -> float:
    """The lowest confidence from which on answers are right often enough; 1 where none is."""
    table = abstention(confidence, right)
    enough = table[table["accuracy"] >= wanted]
    return float(enough["threshold"].iloc[0]) if len(enough) else 1.0


def publish() -> Path:
    """Train the published network on all of Training, and write its files and its record; returns the folder.

    Temperature and threshold come from the recorded runs of the same recipe on the grouped folds, that is from patients that
    those networks had not met, and not from any scan of Testing.

    Raises:
        PredictionError: where those runs are not recorded.
    """
    manifest = dataset.load_manifest()
    temperature, threshold = calibrate(_grouped_runs(), manifest)
    with tempfile.TemporaryDirectory() as scratch:
        trained = Path(scratch) / MODEL
        run = training.train(CONFIG, manifest=manifest, save_to=trained)
        write(FOLDER, trained, {"temperature": temperature, "abstain_below": threshold, "record": CONFIG.key}, manifest)
    records.save(run, study.RECORDED, overwrite=True)
    write_card(benchmark.table(manifest), manifest)
    return FOLDER


def _grouped_runs():
    wanted = [training.RunConfig("grouped", fold=fold, **recipe.RESIDUAL) for fold in range(protocols.GROUPED_FOLDS)]
    runs = [study.find(config, [study.RECORDED]) for config in wanted]
    if None in runs:
        raise PredictionError("its confidence cannot be calibrated: not all grouped folds of the same recipe are recorded")
    return runs


def calibrate(runs, manifest) -> tuple:
    """Temperature and threshold, from what runs of one network predicted for images that they did not train on."""
    truth = np.concatenate([evaluation.truth(run.val_paths, manifest) for run in runs])
    probabilities = np.concatenate([run.val_probabilities for run in runs])
    temperature = fit_temperature(probabilities, truth)
    calibrated = soften(probabilities, temperature)
    return temperature, choose_threshold(calibrated.max(axis=1), calibrated.argmax(axis=1) == truth)


def write(folder, trained, about, manifest) -> None:
    """Write the files of the published network: in float32 whatever it trained in, with the features of all Training scans.

    Args:
        folder: where to.
        trained: path of the trained network, in Keras' format.
        about: temperature, abstain_below and whatever else tells of it.
        manifest: table of the images.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model = recipe.load(CONFIG, (preprocessing.SIDE, preprocessing.SIDE), trained)
    model.save(folder / MODEL)
    kept = (manifest["split"] == "Training").to_numpy()
    features, _ = _with_features(model).predict(preprocessing.load(manifest)[kept][..., None], verbose=0)
    np.savez_compressed(folder / FEATURES, features=features.astype(np.float16), paths=manifest["path"].to_numpy(str)[kept])
    (folder / ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (MODEL, FEATURES, ABOUT)}
    (folder / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in digests.items()), encoding="utf-8")


def answered(probabilities, truth, temperature, abstain_below) -> dict:
    """What a calibrated confidence does to some scans.

    Args:
        probabilities: of a network, not calibrated, (scans, 4).
        truth: class indices, (scans,).
        temperature, abstain_below: as in `Published`, for all scans or for each, (scans,).

    Returns:
        scans (how many); accuracy (of all); answered (share of the scans that it does not abstain from); accuracy_answered (of
        those); ece and ece_calibrated (calibration error before and after the temperature). All but the first are shares of 1.
    """
    calibrated = soften(probabilities, np.broadcast_to(temperature, len(truth))[:, None])
    right, confidence = probabilities.argmax(axis=1) == truth, calibrated.max(axis=1)
    sure = confidence >= abstain_below
    return {
        "scans": len(truth),
        "accuracy": right.mean(),
        "answered": sure.mean(),
        "accuracy_answered": right[sure].mean() if sure.any() else np.nan,
        "ece": statistics.calibration_error(probabilities.max(axis=1), right),
        "ece_calibrated": statistics.calibration_error(confidence, right),
    }


def answered_table(manifest) -> pd.DataFrame:
    """`answered` for new patients of Training, for Testing and for its unseen part: a row each, named in the column images.

    No row chose its own temperature and threshold: those of a grouped fold come from the other four.
    """
    said, testing = about(), study.find(CONFIG, [study.RECORDED])
    truth = evaluation.truth(testing.test_paths, manifest)
    unseen = protocols.is_unseen(testing.test_paths, manifest)
    published = said["temperature"], said["abstain_below"]
    sets = {
        "new patients of Training (grouped)": _each_calibrated_by_the_others(_grouped_runs(), manifest),
        "Testing": (testing.test_probabilities, truth, *published),
        "unseen Testing": (testing.test_probabilities[unseen], truth[unseen], *published),
    }
    return pd.DataFrame([{"images": name, **answered(*some)} for name, some in sets.items()])


def _each_calibrated_by_the_others(runs, manifest):
    """Probabilities, truth, temperature and threshold of each image, the last two from the folds that it is not in."""
    parts = []
    for run in runs:
        chosen = calibrate([other for other in runs if other is not run], manifest)
        ours = [np.full(len(run.val_paths), value) for value in chosen]
        parts.append((run.val_probabilities, evaluation.truth(run.val_paths, manifest), *ours))
    return [np.concatenate(part) for part in zip(*parts)]


def write_card(scores, manifest) -> None:
    """Write the figures of ``MODEL_CARD.md``, from the records and the published files.

    Args:
        scores: `benchmark.table`.
        manifest: table of the images.
    """
    tables.write(CARD, "figures", benchmark.as_markdown(scores[scores["network"].str.match(r"residual(?!, \d+ epochs)")]))
    tables.write(CARD, "confidence", tables.as_markdown(tables.in_percent(answered_table(manifest))))
    runs = [*_grouped_runs(), study.find(CONFIG, [study.RECORDED])]
    missed = evaluation.missed_tumours(runs, manifest).drop(columns="widths")
    tables.write(CARD, "failures", tables.as_markdown(tables.in_percent(missed)))
