"""A control of the whole pipeline: labels that mean nothing. Whatever a network scores above chance with them, it has memorised.

Each group gets the class of a random other group, so that all images of a patient, and all copies of an image, keep one class in
common. With folds by group, nothing can be learned. With folds by image, a network that has seen a patient knows the class of his
other images.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from tumor_mri.datasets import manifests, protocols
from tumor_mri.evaluation import scoring
from tumor_mri.runs import configs, training

TABLE = manifests.DATA / "random_labels.csv"
PROTOCOLS = (protocols.BY_IMAGE, protocols.GROUPED)
SEED = 1


def random_labels(manifest: pd.DataFrame, seed: int = SEED) -> pd.DataFrame:
    """The manifest with classes drawn by group: each group has one class, that of another group or its own."""
    of_group = manifest.groupby("group", sort=True)["class"].first()
    drawn = pd.Series(np.random.default_rng(seed).permutation(of_group.to_numpy()), index=of_group.index)
    return manifest.assign(**{"class": manifest["group"].map(drawn)})


def train(protocol: str, fold: int, images: np.ndarray, manifest: pd.DataFrame) -> dict:
    """Train the report's network on random labels, and score it.

    Args:
        protocol, fold: how the images are divided.
        images: uint8, (rows of the manifest, 150, 150).
        manifest: table of the images, with their true classes.

    Returns:
        A row of ``data/random_labels.csv``: protocol, fold, images (of validation), right (of them, cross-fitted), largest (the
        images of the most frequent class, which a constant answer gets right), in_training (share of the training images whose
        class the network has learned).
    """
    drawn = random_labels(manifest)
    run = training.train(configs.RunConfig(protocol, fold=fold, seed=SEED), images, drawn, progress=False)
    scores = scoring.image_scores([run], drawn)
    learned = run.train_classes == scoring.truth(run.train_paths, drawn)
    return {
        "protocol": protocol,
        "fold": fold,
        "images": len(scores),
        "right": round(float(scores["right"].sum()), 1),
        "largest": int(scores["class"].value_counts().max()),
        "in_training": round(float(learned.mean()), 4),
    }
