"""A control of the whole pipeline: labels that mean nothing. What a network scores above chance with them, it has memorised.

Each group gets the class of a random other group, so all images of a patient, and all copies of a scan, still have one class in
common. With folds by group, nothing can be learned that helps. With folds by image, a network that has met a patient can know the
class of his other images.

Usage: ``python -m tools.random_labels [FOLD ...]`` trains the report's network on these folds of both protocols (fold 0 unless
told otherwise), and adds a row for each to ``data/random_labels.csv``. Rows that are there are not trained again.
"""

import sys

import numpy as np
import pandas as pd

from tumor_mri import text
from tumor_mri.datasets import manifests, protocols
from tumor_mri.evaluation import scoring
from tumor_mri.models import recipes
from tumor_mri.runs import configs, training

TABLE = manifests.DATA / "random_labels.csv"
PROTOCOLS = (protocols.BY_IMAGE.name, protocols.GROUPED.name)
COLUMNS = ["protocol", "fold", "images", "right", "largest", "in_training", "epochs_run", "minutes"]
SEED = 1


def random_labels(manifest: pd.DataFrame, seed: int = SEED) -> pd.DataFrame:
    """The manifest with the classes of groups exchanged at random; classes have as many groups as before."""
    of_group = manifest.groupby("group", sort=True)["class"].first()
    drawn = pd.Series(np.random.default_rng(seed).permutation(of_group.to_numpy()), index=of_group.index)
    return manifest.assign(**{"class": manifest["group"].map(drawn)})


def row(protocol: str, fold: int, images: np.ndarray, manifest: pd.DataFrame, **settings) -> dict:
    """Train the report's network on random labels, and score it.

    Args:
        protocol, fold: how the images are divided.
        images: uint8, (rows of the manifest, 150, 150).
        manifest: table of the images, with their true classes.
        settings: of the run, beside these.

    Returns:
        A row of ``data/random_labels.csv``: protocol, fold, images (of validation), right (how many are classified as their
        random label, cross-fitted), largest (images of the most frequent label, which a constant answer gets right), in_training
        (share of the training images classified as their random label), epochs_run, minutes.
    """
    drawn = random_labels(manifest)
    run = training.train(configs.RunConfig(protocol, fold=fold, seed=SEED, **settings), images, drawn, progress=False)
    scores = scoring.image_scores([run], drawn)
    learned = run.train_classes == scoring.truth(run.train_paths, drawn)
    values = [
        protocol,
        fold,
        len(scores),
        round(float(scores["right"].sum()), 1),
        int(scores["class"].value_counts().max()),
        round(float(learned.mean()), 4),
        run.epochs_run,
        round(run.seconds / 60, 1),
    ]
    return dict(zip(COLUMNS, values, strict=True))


def main(folds):
    """Train what the table lacks, and write it after each run."""
    rows = pd.read_csv(TABLE).to_dict("records") if TABLE.exists() else []
    manifest = manifests.load_manifest()
    images = recipes.get(configs.RunConfig(PROTOCOLS[0]).recipe).load(manifest, "")
    for fold in folds:
        for protocol in PROTOCOLS:
            if (protocol, fold) not in {(found["protocol"], found["fold"]) for found in rows}:
                rows.append(row(protocol, fold, images, manifest))
                table = pd.DataFrame(rows).sort_values(["protocol", "fold"])
                text.write_whole(TABLE, table.to_csv(index=False, lineterminator="\n"))
                print(rows[-1], flush=True)


if __name__ == "__main__":
    main([int(fold) for fold in sys.argv[1:]] or [0])
