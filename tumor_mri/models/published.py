"""The published network: its files, what it says about any scan, and when it would rather say nothing.

Material for learning. Not a diagnostic device.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from tumor_mri import stats, text
from tumor_mri.datasets import folders, manifests
from tumor_mri.models import networks, preprocessing

FOLDER = manifests.DATA / "weights"  # committed
DATASET = manifests.BRAIN_TUMOUR_MRI  # what it was trained on
NETWORK = "residual"  # by its own recipe; the choice and its rule are in MODEL_CARD.md
MODEL, FEATURES, ABOUT, SUMS = "residual.keras", "features.npz", "about.json", "SHA256SUMS"
NEAREST = ("nearest", "nearest_class", "similarity")  # columns about the nearest Training scan


class PredictionError(text.ProjectError):
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
    folder, said = Path(folder), about(folder)
    with np.load(folder / FEATURES, allow_pickle=False) as stored:
        features, paths = unit_length(stored["features"].astype(np.float32)), stored["paths"]
    # the network is built from code and takes the weights alone: a network as a version of Keras saves it, another cannot read
    whole = SimpleNamespace(widths=(), without="")
    model = networks.get(NETWORK).build(whole, (preprocessing.SIDE, preprocessing.SIDE, 1), len(DATASET.classes))
    try:
        model.load_weights(folder / MODEL)
    except Exception as error:  # Keras and h5py fail in many ways on weights of another network
        raise PredictionError(f"{MODEL} in {folder} holds no weights of this network: {text.one_line(error)[:200]}") from error
    return Published(with_features(model), said["temperature"], said["abstain_below"], features, paths)


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


def with_features(model):
    """The same network, its features, which the last layer sees, as an output of their own."""
    from tumor_mri._keras import keras

    return keras.Model(model.inputs[0], [model.get_layer("features").output, model.outputs[0]])


def unit_length(features):
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9)


def files_in(path) -> list:
    """The files to be predicted: the file itself, or all files below a folder, without hidden ones, sorted.

    Links to folders are followed. What cannot be read, such as a pipe or a locked folder, is in the list too: `predict` says why.

    Raises:
        PredictionError: if there is no such file or folder, if it is a pipe or a device, or if nothing is in it.
    """
    path = Path(path)
    obstacle = folders.obstacle(path)
    if not obstacle:
        return [path]
    if obstacle != folders.FOLDER:
        raise PredictionError(f"{path} {obstacle}: name an image file or a folder of them")
    found = folders.listing(path)
    shown = [file for file in sorted([*found.files, *found.left_out]) if not _is_hidden(file.relative_to(path))]
    if not shown:
        raise PredictionError(f"{path} holds no files")
    return shown


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
    return pd.DataFrame(rows, columns=["file", "problem", "answer", "abstains", "confidence", *DATASET.labels, *NEAREST])


def _predict_some(files, published):
    scans, problems = {}, {}
    for file in files:
        if obstacle := folders.obstacle(file):  # a pipe would be waited for without end
            problems[file] = f"{file} {obstacle}"
            continue
        try:
            scans[file] = preprocessing.prepare(preprocessing.read(file))
        except ValueError as error:
            problems[file] = str(error)
    answers = dict(zip(scans, _answers(np.stack(list(scans.values())), published), strict=True)) if scans else {}
    return [{"file": str(file), "problem": problems.get(file, ""), **answers.get(file, {})} for file in files]


def _answers(scans, published):
    features, probabilities = published.model.predict(scans[..., None], verbose=0)
    calibrated = stats.soften(probabilities, published.temperature)
    likeness = unit_length(features) @ published.features.T
    for shares, alike in zip(calibrated, likeness, strict=True):
        nearest = alike.argmax()
        path = str(published.paths[nearest])
        yield {
            "answer": DATASET.labels[shares.argmax()],
            "abstains": bool(shares.max() < published.abstain_below),
            "confidence": float(shares.max()),
            **dict(zip(DATASET.labels, map(float, shares), strict=True)),
            "nearest": path,
            "nearest_class": DATASET.label_of(Path(path).parent.name),
            "similarity": float(alike[nearest]),
        }


def as_text(found) -> str:
    """The table of `predict` for people: a line a scan, then a sentence for each file that is none."""
    read = found[found["problem"] == ""]
    lines = []
    if len(read):
        shares = {f"{name} %": [f"{100 * value:.0f}" for value in read[name]] for name in DATASET.labels}
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
