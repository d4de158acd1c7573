"""Does a network notice unfamiliar scans? Measures of how familiar a scan is to it, and what they refuse.

Each measure is larger for a scan that is more familiar. Only the last of them needs further trainings:

``confidence``: the largest probability (Hendrycks and Gimpel, 2017, https://arxiv.org/abs/1610.02136).

``energy``: the logarithm of the sum of the exponentials of the scores before softmax, the negative of the energy of Liu et al.
(2020, https://arxiv.org/abs/2010.03759). Softmax forgets how large the scores are; this does not.

``likeness``: the mean cosine of a scan's features to those of the most similar training scans (`models.published.likeness`).

``agreement``: of an ensemble, the mutual information between its answer and the choice of the member, with a minus sign: 0 if all
members say the same (Lakshminarayanan et al., 2017, https://arxiv.org/abs/1612.01474).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import special
from sklearn import metrics

from tumor_mri.models import published

ALLOWED = 0.05  # share of the right answers on known scans that a measure may refuse


def energy(features: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Log-sum-exp of the scores before softmax, (scans,).

    Args:
        features: what the last layer is given, (scans, features).
        kernel, bias: of the last layer, (features, classes) and (classes,).

    Example:
        >>> energy(np.array([[0.0], [9.0]]), np.array([[1.0, 0.0]]), np.zeros(2)).round(2)
        array([0.69, 9.  ])
    """
    return special.logsumexp(features @ kernel + bias, axis=1)


def likeness(features: np.ndarray, known: np.ndarray) -> np.ndarray:
    """`published.likeness` from features, (scans,).

    Args:
        features: of the scans, (scans, features), of any length.
        known: of the training scans, (training scans, features).
    """
    return published.likeness(published.unit_length(features) @ published.unit_length(known).T)


def agreement(members: np.ndarray) -> np.ndarray:
    """Minus the mutual information between an ensemble's answer and the member that gives it, in nats, (scans,); at most 0.

    Args:
        members: probabilities, (members, scans, classes).

    Example:
        >>> same, apart = agreement(np.array([[[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]]))
        >>> bool(same == 0), round(float(apart), 2)
        (True, -0.69)
    """
    entropy = special.entr(members).sum(axis=-1)  # (members, scans)
    return entropy.mean(axis=0) - special.entr(members.mean(axis=0)).sum(axis=-1)


def threshold(scans: pd.DataFrame, measure: str, known: str, allowed: float = ALLOWED) -> float:
    """The value of a measure below which the given share of the right answers on known scans lies; see `refused`.

    Raises:
        ValueError: if no answer on the known scans is right.
    """
    trusted = scans[(scans["set"] == known) & scans["right"].fillna(0).astype(bool)]
    if not len(trusted):
        raise ValueError(f"no answer on {known!r} is right: there is nothing to take a threshold from")
    return float(np.quantile(trusted[measure], allowed))


def refused(scans: pd.DataFrame, measures: Sequence[str], known: str, allowed: float = ALLOWED) -> pd.DataFrame:
    """What each measure refuses if it may refuse a given share of the right answers on known scans.

    Args:
        scans: one row per scan. Columns: set (name of the set of scans that it belongs to), right (whether the answer is correct;
            missing if no answer can be), and the measures.
        measures: names of columns; larger is more familiar.
        known: the set whose right answers give the threshold of each measure.
        allowed: share of these that it refuses.

    Returns:
        One row per measure and set. Columns: measure, set, scans (how many), refused (share of the scans), right_refused and
        wrong_refused (shares of the right and of the wrong answers; NaN if there are none), auroc (of the measure, for telling
        the set from the known scans; 0.5 for chance and for the known scans themselves).

    Raises:
        ValueError: if no answer on the known scans is right.
    """
    own, rows = scans[scans["set"] == known], []
    for measure in measures:
        limit = threshold(scans, measure, known, allowed)
        for name, found in scans.groupby("set", sort=False):
            below = found[measure] < limit
            told = [below[found["right"].notna() & (found["right"] == answer)].mean() for answer in (True, False)]
            strange = np.append(np.zeros(len(own)), np.ones(len(found)))
            area = metrics.roc_auc_score(strange, -np.append(own[measure], found[measure]))
            rows.append((measure, name, len(found), below.mean(), *told, area))
    return pd.DataFrame(rows, columns=["measure", "set", "scans", "refused", "right_refused", "wrong_refused", "auroc"])
