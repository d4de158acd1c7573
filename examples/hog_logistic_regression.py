"""Score a scikit-learn model: a logistic regression on histograms of oriented gradients (HOG), on the grouped folds.

    python examples/hog_logistic_regression.py
    tumor-mri score build/hog.csv --protocol grouped

Material for learning. Not a diagnostic device.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tumor_mri import datasets

SIDE, CELL, BINS = 96, 12, 8  # pixels, pixels, directions of edges


def hog(scan: np.ndarray) -> np.ndarray:
    """Histograms of the directions of edges in cells, each normalised (Dalal and Triggs, 2005), (512,)."""
    small = np.asarray(Image.fromarray(scan).resize((SIDE, SIDE)), dtype=float)
    down, across = np.gradient(small)
    strength, direction = np.hypot(down, across), np.arctan2(down, across) % np.pi
    bins = np.minimum((direction / np.pi * BINS).astype(int), BINS - 1)
    cells = np.stack([strength * (bins == number) for number in range(BINS)], axis=-1)
    cells = cells.reshape(SIDE // CELL, CELL, SIDE // CELL, CELL, BINS).sum(axis=(1, 3))
    return (cells / (np.linalg.norm(cells, axis=-1, keepdims=True) + 1)).ravel()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("build/hog.csv"))
    options = parser.parse_args()
    manifest = datasets.load_manifest()
    features = np.stack([hog(scan) for scan in datasets.load_images(manifest)])
    testing = np.flatnonzero(datasets.is_testing(manifest))
    parts = []
    for fold in range(datasets.GROUPED.folds):
        split = datasets.split(manifest, "grouped", fold)
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
        model.fit(features[split.train], manifest["class"].iloc[split.train])
        asked = np.concatenate([split.validation, testing])  # unseen Testing is a part of Testing
        shares = pd.DataFrame(model.predict_proba(features[asked]), columns=model.classes_)
        parts.append(shares.assign(path=manifest["path"].to_numpy()[asked], fold=fold))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    pd.concat(parts).to_csv(options.output, index=False)
    print(f"The predictions are in {options.output}: run `tumor-mri score {options.output} --protocol grouped`")


if __name__ == "__main__":
    main()
