"""What a network refuses: scans of new patients, of unknown sources, CT, corrupted scans, pictures that show no head.

One network, trained on four grouped folds, is asked about the fifth and about scans that differ from it in one way each; further
trainings of it serve for the agreement of an ensemble. `write` keeps every answer in ``data/refusals.csv``.

One measure is kept, by a rule that was committed before any network was asked: each measure may refuse 5 % of the right answers
on new patients; the one that then refuses the largest share of corrupted scans and of pictures of no head is kept, as a mean over
these six sets, none of which comes from Testing. The agreement of an ensemble, which costs several networks, is kept only if it
is better by ten points (`chosen`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_sample_images

from tumor_mri import text
from tumor_mri.datasets import image_files, manifests, phantoms, protocols
from tumor_mri.evaluation import corruptions, novelty, scoring
from tumor_mri.models import onnx_file, recipes
from tumor_mri.runs import configs, training
from tumor_mri.study import inspection

TABLE = manifests.DATA / "refusals.csv"
CT_SCANS = manifests.DATA / "ct_scans.csv"
KNOWN = "new patients"  # the set that thresholds come from
NO_HEAD = "pictures of no head"
ENSEMBLE_HAS_TO_GAIN = 0.1  # share of the sets that choose, for an ensemble to be worth its networks
CORRUPTED = {kind: f"{kind} {strengths[-1]}" for kind, strengths in corruptions.STRENGTHS.items()}  # sets, each at its strongest
MEASURES = ("confidence", "energy", "likeness", "agreement")


def pictures_of_no_head() -> dict[str, np.ndarray]:
    """Pictures without a head, by name, grey, uint8: one grey level, noise, drawn shapes, photographs."""
    across = np.mgrid[:200, :200][1]
    drawn = {**phantoms.no_heads(), "disc": 200 * (np.hypot(across - 100, across.T - 100) < 70)}
    photographs = load_sample_images()
    names = [Path(name).stem for name in photographs.filenames]
    grey = [np.asarray(Image.fromarray(picture).convert("L")) for picture in photographs.images]
    return {name: picture.astype(np.uint8) for name, picture in {**drawn, **dict(zip(names, grey, strict=True))}.items()}


def sets_of(config: configs.RunConfig, manifest: pd.DataFrame) -> dict[str, list[str]]:
    """Paths of the scans of each set, by its name; corrupted scans and pictures of no head are made from none of them.

    Args:
        config: of a run under ``grouped``.
        manifest: table of the images.
    """
    unseen = manifest.iloc[protocols.unseen_testing(manifest)]
    ct = pd.read_csv(CT_SCANS)["path"]
    labels = {"glioma_tumor": "unseen gliomas", "pituitary_tumor": "unseen pituitary tumours"}
    return {
        KNOWN: list(manifest["path"].iloc[protocols.split(manifest, config.protocol, config.fold).validation]),
        **{name: list(unseen.loc[unseen["class"] == folder, "path"]) for folder, name in labels.items()},
        "CT scans of Testing": [path for path in ct if path.startswith(manifests.SPLITS[1])],
    }


def ask(
    config: configs.RunConfig,
    trained: Sequence[str | Path],
    manifest: pd.DataFrame,
    folder: str | Path,
    sets: Mapping[str, Sequence[str]],
) -> pd.DataFrame:
    """The answers of a network and how familiar each scan is to it, one row per scan of each set.

    Args:
        config: of the network.
        trained: paths of its trainings, as `training.train` saves them; the first answers, all of them make the ensemble.
        manifest: table of the images.
        folder: of the dataset.
        sets: what `sets_of` returns; of `KNOWN`, a corrupted copy of each kind is asked about too.

    Returns:
        Columns: set, path (or the name of a picture), right (empty for a picture of no head), and `MEASURES`.
    """
    pictures = [(name, path, image_files.read(Path(folder) / path)) for name, paths in sets.items() for path in paths]
    for kind, strengths in corruptions.STRENGTHS.items():
        clean = [(path, scan) for name, path, scan in pictures if name == KNOWN]
        pictures += [(CORRUPTED[kind], path, corruptions.corrupt(scan, kind, strengths[-1], path)) for path, scan in clean]
    pictures += [(NO_HEAD, name, picture) for name, picture in pictures_of_no_head().items()]
    shown = np.stack([inspection.view(config, picture) for _, _, picture in pictures])
    table = pd.DataFrame([(name, path) for name, path, _ in pictures], columns=["set", "path"])
    return table.join(_measured(config, trained, shown, manifest)).assign(right=lambda found: _right(found, manifest))[
        ["set", "path", "right", *MEASURES]
    ]


def _measured(config, trained, shown, manifest):
    """The measures of scans as the network sees them, and the class that it predicts."""
    known = recipes.get(config.recipe).load(manifest, config.without)
    known = known[protocols.split(manifest, config.protocol, config.fold).train]
    models = [training.load_trained(config, shown.shape[1:], path) for path in trained]
    first = onnx_file.with_outputs(models[0])
    features, probabilities, _ = inspection.predict(first, shown)
    members = np.stack([probabilities, *(inspection.predict(model, shown) for model in models[1:])])
    kernel, bias = models[0].layers[-1].get_weights()
    return pd.DataFrame(
        {
            "predicted": probabilities.argmax(axis=1),
            "confidence": probabilities.max(axis=1),
            "energy": novelty.energy(features, kernel, bias),
            "likeness": novelty.likeness(features, inspection.predict(first, known)[0]),
            "agreement": novelty.agreement(members.astype(float)),
        }
    )


def _right(found, manifest):
    """Whether each answer is correct, as 0 or 1; missing for a picture of no head."""
    heads = found["set"] != NO_HEAD
    right = pd.Series(pd.NA, index=found.index, dtype="Int64")
    right[heads] = (found.loc[heads, "predicted"].to_numpy() == scoring.truth(found.loc[heads, "path"], manifest)).astype(int)
    return right


def chosen(refused: pd.DataFrame) -> pd.Series:
    """The mean share that each measure refuses of the sets that choose; the measure that the rule keeps comes first.

    Args:
        refused: `novelty.refused`.
    """
    choosing = refused[refused["set"].isin([*CORRUPTED.values(), NO_HEAD])]
    shares = choosing.groupby("measure")["refused"].mean()
    handicap = pd.Series({"agreement": ENSEMBLE_HAS_TO_GAIN}).reindex(shares.index, fill_value=0)
    return shares[(shares - handicap).sort_values(ascending=False, kind="stable").index]


def likeness_below() -> float:
    """The likeness below which 5 % of the right answers on new patients lie, from `read`, to two decimals."""
    return round(novelty.threshold(read(), "likeness", KNOWN), 2)


def write(found: pd.DataFrame) -> None:
    """Write the table of `ask`, with four decimals."""
    text.write_whole(TABLE, found.round(4).to_csv(index=False, lineterminator="\n"))


def read() -> pd.DataFrame:
    """The table of `ask` that `write` kept."""
    return pd.read_csv(TABLE, dtype={"right": "Int64"})
