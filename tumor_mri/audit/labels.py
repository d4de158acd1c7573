"""Likely label errors: images that look like another class than the one whose folder they are in.

Of the classifiers of thumbnails that were tried, random trees put the 14 known label errors of the project's dataset highest: 12
are among the first 100 images listed. A logistic regression and a support vector machine had none there.
"""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.ensemble import ExtraTreesClassifier

from tumor_mri.audit import near_copies

TREES = 150
LEAST_IMAGES = 200  # with fewer, the model is wrong too often for its doubts to mean anything


def out_of_fold(thumbnails: np.ndarray, labels: ArrayLike, folds: np.ndarray) -> pd.DataFrame | None:
    """The probability of each class for each image, from random trees (Geurts et al., 2006) fitted without its fold.

    Args:
        thumbnails: float32, (images, pixels).
        labels: their classes, (images,).
        folds: the fold of each image, (images,), with whole groups in one fold; -1 for none.

    Returns:
        A row per image, a column per class; None if there are no folds.
    """
    labels, used = np.asarray(labels), np.asarray(folds) >= 0
    if len(np.unique(folds[used])) < 2 or len(np.unique(labels)) < 2:
        return None
    names = np.unique(labels)
    shares = np.zeros((len(labels), len(names)))
    numbers = np.unique(folds)
    for fold in near_copies.progress_bar(numbers, "look for label errors", len(numbers)):
        model = ExtraTreesClassifier(TREES, n_jobs=-1, random_state=0).fit(thumbnails[folds != fold], labels[folds != fold])
        shares[np.ix_(folds == fold, np.isin(names, model.classes_))] = model.predict_proba(thumbnails[folds == fold])
    return pd.DataFrame(shares, columns=names)


def likely_errors(shares: pd.DataFrame, labels: ArrayLike) -> pd.DataFrame:
    """Images whose label is likely to be wrong, by confident learning (Northcutt et al., 2021, https://arxiv.org/abs/1911.00068).

    A class is plausible for an image if its probability reaches the mean probability that images of this class have for it. An
    image is listed if its own class is not plausible and another one is.

    Args:
        shares: as `out_of_fold` returns them.
        labels: the classes, (images,).

    Returns:
        row (number of the image), likely_class, probability (of it), own_probability; the clearest first.

    Example:
        >>> shares = pd.DataFrame({"no": [0.9, 0.8, 0.9, 0.1], "yes": [0.1, 0.2, 0.1, 0.9]})
        >>> likely_errors(shares, ["no", "no", "yes", "yes"])["row"].tolist()
        [2]
    """
    labels = np.asarray(labels)
    values, own = shares.to_numpy(), shares.columns.get_indexer(labels)
    thresholds = np.array([values[labels == name, index].mean() for index, name in enumerate(shares.columns)])
    plausible = np.where(values >= thresholds, values, -1.0)
    rows = np.arange(len(labels))
    likely = plausible.argmax(axis=1)
    found = np.flatnonzero((plausible[rows, own] < 0) & (plausible[rows, likely] > 0))
    table = pd.DataFrame(
        {
            "row": found,
            "likely_class": shares.columns.to_numpy()[likely[found]],
            "probability": values[found, likely[found]].round(4),
            "own_probability": values[found, own[found]].round(4),
        }
    )
    margin = table["probability"] - table["own_probability"]
    return table.loc[margin.sort_values(ascending=False, kind="stable").index].reset_index(drop=True)
