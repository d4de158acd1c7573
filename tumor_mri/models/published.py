"""The published network: its files, its predictions for any scan, and the confidence below which it abstains.

Material for learning. Not a diagnostic device.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from PIL import Image
from tqdm.auto import tqdm

from tumor_mri import stats, text
from tumor_mri.datasets import folders, image_files, manifests
from tumor_mri.models import half_precision, networks, onnx_file, recipes

if TYPE_CHECKING:
    import keras
    import onnxruntime

FOLDER = manifests.DATA / "weights"  # committed
COLOURFUL = 8  # grey levels that red, green and blue may differ by on average; in all scans of the dataset they are equal
DATASET = manifests.BRAIN_TUMOUR_MRI  # used for training
NETWORK = "lite0"  # with its default recipe; MODEL_CARD.md explains the choice
MODEL, ONNX, FEATURES, ABOUT, SUMS = f"{NETWORK}.npz", f"{NETWORK}.onnx", "features.npz", "about.json", "SHA256SUMS"
SEEN = 0.94  # cosine to a scan of Training above which it is most likely the same scan: see `tests/test_publishing.py`
NEIGHBOURS = 5  # scans of Training that `likeness` takes the mean over: one alone may be an odd one
NEAREST = ("nearest", "nearest_class", "similarity", "likeness")  # columns that compare with the scans of Training


class PredictionError(text.ProjectError):
    """The published network or the files to predict are missing or damaged; the message says what to do."""


@dataclass(frozen=True)
class Published:
    """The published network, as its ONNX file: it answers without Keras and TensorFlow.

    Attributes:
        session: maps prepared scans, (batch, height, width, 1), to features, probabilities and heat; see `onnx_file`.
        temperature: log probabilities are divided by it (temperature scaling); fitted on the grouped folds.
        abstain_below: confidence, 0 to 1, below which the network abstains.
        likeness_below: `likeness`, -1 to 1, below which it abstains, too: the scan is unlike those that it learned from.
        familiar_above: cosine, -1 to 1, to the most similar scan of Training, below which a picture is no head that it knows.
        features: features of all Training scans, normalised to unit length, float32, (2870, features).
        paths: paths of these scans.
    """

    session: onnxruntime.InferenceSession
    temperature: float
    abstain_below: float
    likeness_below: float
    familiar_above: float
    features: np.ndarray
    paths: np.ndarray


def recipe() -> recipes.Recipe:
    """The recipe of the published network: it says what of a scan the network is shown."""
    return recipes.get(networks.get(NETWORK).recipe)


def size() -> tuple[int, int]:
    """Height and width of a prepared scan, in pixels."""
    return recipe().view(np.zeros((image_files.SMALLEST, image_files.SMALLEST), dtype=np.uint8), "").shape


def as_input(scans: np.ndarray) -> np.ndarray:
    """Scans as the recipe shows them, (scans, height, width), as the input of the network, (scans, height, width, channels)."""
    return np.repeat(scans[..., None], recipe().channels, axis=-1)


def load(folder: Path | str = FOLDER) -> Published:
    """Load the published network, after checking its files against their digests.

    Raises:
        PredictionError: if a file is missing, or differs from the published one.
    """
    folder, facts = Path(folder), about(folder)
    with np.load(folder / FEATURES, allow_pickle=False) as stored:
        features, paths = unit_length(stored["features"].astype(np.float32)), stored["paths"]
    try:
        session = onnx_file.open_session(folder / ONNX)
    except ValueError as error:
        raise PredictionError(str(error)) from None
    limits = {name: facts[name] for name in ("temperature", "abstain_below", "likeness_below", "familiar_above")}
    return Published(session, features=features, paths=paths, **limits)


def load_keras(folder: Path | str = FOLDER) -> keras.Model:
    """The published network in Keras, for training it further or looking inside: scans to probabilities.

    Raises:
        PredictionError: if a file is missing, or differs from the published one.
    """
    folder = Path(folder)
    _check(folder)
    # the network is built from code and only its weights are read: one version of Keras cannot read a model saved by another
    whole = SimpleNamespace(widths=(), without="")
    model = networks.get(NETWORK).build(whole, (*size(), recipe().channels), len(DATASET.classes))
    try:
        half_precision.read(model, folder / MODEL)
    except (OSError, ValueError) as error:
        raise PredictionError(f"{MODEL} in {folder} holds no weights of this network: {text.one_line(error)[:200]}") from error
    return model


def about(folder: Path | str = FOLDER) -> dict:
    """Facts about the published network: temperature, the limits of `Published`, and the key of its record.

    Raises:
        PredictionError: if a file of the network is missing, or differs from the published one.

    Example:
        >>> sorted(about())
        ['abstain_below', 'familiar_above', 'likeness_below', 'record', 'temperature']
    """
    _check(Path(folder))
    path = Path(folder) / ABOUT
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        sound = facts["temperature"] > 0 and 0 <= facts["abstain_below"] <= 1 and isinstance(facts["record"], str)
        sound = sound and -1 <= facts["familiar_above"] <= 1 and -1 <= facts["likeness_below"] <= 1
    except (ValueError, KeyError, TypeError) as error:
        raise PredictionError(f"{path} does not describe a network: {text.one_line(error)}") from None
    if not sound:
        raise PredictionError(
            f"{path} needs a temperature above 0, abstain_below from 0 to 1, familiar_above and likeness_below from -1 to 1, "
            "and a record"
        )
    return facts


def _check(folder):
    """Compare the files of the network with their published digests."""
    try:
        lines = (folder / SUMS).read_bytes().decode("utf-8", errors="replace").splitlines()
        published = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
        digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (MODEL, ONNX, FEATURES, ABOUT)}
    except OSError as error:
        raise PredictionError(f"there is no published network in {folder}: {error.filename}: {error.strerror}") from None
    for name, digest in digests.items():
        if published.get(name) != digest:
            raise PredictionError(f"{name} in {folder} is not the file that was published: download the project again")


def unit_length(features: np.ndarray) -> np.ndarray:
    """Each row of an array, (rows, features), scaled to length 1.

    Example:
        >>> unit_length(np.array([[3.0, 4.0]])).tolist()
        [[0.6, 0.8]]
    """
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9)


def likeness(cosines: np.ndarray) -> np.ndarray:
    """How familiar scans are: the mean cosine to the `NEIGHBOURS` most similar scans of Training, (scans,).

    It follows Sun et al. (2022, https://arxiv.org/abs/2204.06507), who take the distance to one of the nearest.

    Args:
        cosines: of features, to all scans of Training, (scans, Training scans).

    Example:
        >>> likeness(np.array([[0.1, 0.9, 0.9, 0.9, 0.9, 0.4]])).round(2).tolist()
        [0.8]
    """
    return np.sort(cosines, axis=1)[:, -NEIGHBOURS:].mean(axis=1)


def files_in(path: Path | str) -> list[Path]:
    """The files to predict: the file itself, or all files below a folder, sorted, without hidden ones.

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
    shown = [file for file in sorted([*found.files, *found.left_out]) if not folders.is_hidden(file.relative_to(path))]
    if not shown:
        raise PredictionError(f"{path} holds no files")
    return shown


def predict(
    files: Sequence[Path | str],
    published: Published,
    progress: bool = False,
    number: int | None = None,
    all_pages: bool = False,
    heat: Path | str | None = None,
) -> pd.DataFrame:
    """Predictions of the published network for image files.

    Args:
        files: paths of image files: any format that `image_files.read_picture` reads, at least `image_files.SMALLEST` pixels per
            side.
        published: the network, see `load`.
        progress: show a bar.
        number: which image of each file, from 0; None for the first page or the middle slice.
        all_pages: predict every image of each file; a row each.
        heat: a folder to write a picture per image into: the prepared scan, and on it the heat map of the answer (Grad-CAM). The
            pictures have the names of the files, and the number of the page if there are several.

    Returns:
        One row per image. Columns: file; page (such as ``1 of 3``; empty if the file holds one image); problem (why it cannot be
        read; if it is not empty, the other columns are); answer (class name); abstains (whether the network abstains); confidence
        (calibrated, 0 to 1); a probability for each class name. The last four compare its features with those of Training:
        nearest (path of the most similar scan), nearest_class, similarity (cosine to it; above `SEEN` it is most likely the same
        scan) and `likeness`. The network abstains if its confidence or the likeness is too low.
    """
    asked = [(file, one) for file in files for one in (range(_count(file)) if all_pages else [number])]
    rows = []
    for start in tqdm(range(0, len(asked), onnx_file.BATCH), disable=not progress, desc="predicting", unit="batch"):
        rows += _predict_batch(asked[start : start + onnx_file.BATCH], published, heat)
    return pd.DataFrame(rows, columns=["file", "page", "problem", "answer", "abstains", "confidence", *DATASET.labels, *NEAREST])


def _count(file):
    return 1 if folders.obstacle(file) else image_files.count(file)


def _predict_batch(asked, published, folder):
    rows, scans = [], []
    for file, number in asked:
        rows.append({"file": str(file), "page": "", "problem": ""})
        if obstacle := folders.obstacle(file):  # a pipe would be waited for without end
            rows[-1]["problem"] = f"{file} {obstacle}"
            continue
        try:
            picture = image_files.read_picture(file, number)
        except ValueError as error:
            rows[-1]["problem"] = str(error)
            continue
        if picture.colour > COLOURFUL:
            why = f"it is in colour: red, green and blue differ by {picture.colour:.0f} grey levels on average"
            rows[-1]["problem"] = _no_head(file, why)
            continue
        if picture.count > 1:
            rows[-1]["page"] = f"{picture.number + 1} of {picture.count}"
        scans.append(recipe().view(picture.grey, ""))
    answers = _answers(np.stack(scans), published) if scans else iter(())
    scans = iter(scans)
    for row in rows:
        if row["problem"]:
            continue
        (found, heat), scan = next(answers), next(scans)
        if found["similarity"] < published.familiar_above:
            likeness = (
                f"cosine {found['similarity']:.2f} to the most similar scan of Training, at least {published.familiar_above}"
            )
            row["problem"] = _no_head(row["file"], likeness)
            continue
        row |= found
        if folder is not None:
            _write_heat(folder, row, scan, heat)
    return rows


def _no_head(file, why):
    return f"{file} shows no head like those that the network knows ({why})"


def _write_heat(folder, row, scan, heat):
    """Write the picture of a scan beside the same scan with its heat map."""
    name = Path(row["file"]).name + (f"-{row['page'].split(' ')[0]}" if row["page"] else "")
    path = Path(folder) / f"{name}.heat.png"
    if path.exists():
        path = Path(folder) / f"{Path(row['file']).parent.name}-{path.name}"
    with text.whole(path) as temporary:
        Image.fromarray(heat_picture(scan, heat)).save(temporary)


def heat_picture(scan: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A prepared scan, and beside it the same scan under its heat map, uint8, (3 x side, 6 x side, 3).

    Args:
        scan: uint8, (side, side).
        heat: (rows, columns), 0 or more; it is scaled to its own maximum, so that heat maps of two scans cannot be compared.
    """
    import matplotlib

    side = 3 * len(scan)
    large = np.asarray(Image.fromarray(scan).resize((side, side), Image.Resampling.BICUBIC))
    scaled = Image.fromarray((heat / max(heat.max(), 1e-9)).astype(np.float32)).resize((side, side), Image.Resampling.BILINEAR)
    strength = np.asarray(scaled)[..., None]
    colours = 255 * matplotlib.colormaps["inferno"](strength[..., 0])[..., :3]
    grey = np.repeat(large[..., None], 3, axis=-1)
    over = (1 - 0.6 * strength) * grey + 0.6 * strength * colours
    return np.concatenate([grey, np.rint(over).astype(np.uint8)], axis=1)


def _answers(scans, published):
    features, probabilities, heat = onnx_file.answer(published.session, as_input(scans))
    calibrated = stats.soften(probabilities, published.temperature)
    similarities = unit_length(features) @ published.features.T
    for shares, similarity, like, maps in zip(calibrated, similarities, likeness(similarities), heat, strict=True):
        nearest = similarity.argmax()
        path = str(published.paths[nearest])
        answer = {
            "answer": DATASET.labels[shares.argmax()],
            "abstains": bool(shares.max() < published.abstain_below or like < published.likeness_below),
            "confidence": float(shares.max()),
            **dict(zip(DATASET.labels, map(float, shares), strict=True)),
            "nearest": path,
            "nearest_class": DATASET.label_of(Path(path).parent.name),
            "similarity": float(similarity[nearest]),
            "likeness": float(like),
        }
        yield answer, maps[..., shares.argmax()]


def as_text(found: pd.DataFrame) -> str:
    """The table of `predict` as text: one line per scan, then one sentence for each file that could not be read."""
    read = found[found["problem"] == ""]
    lines = []
    if len(read):
        shares = {f"{name} %": [f"{100 * value:.0f}" for value in read[name]] for name in DATASET.labels}
        notes = [
            "; ".join(filter(None, [seen and "seen in training: proves nothing", abstains and "would rather abstain"]))
            for seen, abstains in zip(read["similarity"].astype(float) > SEEN, read["abstains"].astype(bool), strict=True)
        ]
        nearest = [f"{row.nearest} (cosine {row.similarity:.3f})" for row in read.itertuples()]
        columns = {
            "file": read["file"],
            **({"page": read["page"]} if read["page"].any() else {}),
            "answer": read["answer"],
            **shares,
            "note": notes,
            "nearest Training scan": nearest,
        }
        lines.append(pd.DataFrame(columns).to_string(index=False))
    return "\n".join(lines + [problem for problem in found["problem"] if problem])
