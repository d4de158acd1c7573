"""Measures of how familiar a scan is, on made-up features whose answers are known."""

import numpy as np
import pandas as pd
import pytest
from scipy import special

from tumor_mri.evaluation import novelty
from tumor_mri.models import published


def test_energy_is_what_softmax_divides_by():
    generator = np.random.default_rng(0)
    features, kernel, bias = generator.normal(size=(7, 5)), generator.normal(size=(5, 4)), generator.normal(size=4)
    scores = features @ kernel + bias
    expected = scores - np.log(special.softmax(scores, axis=1))  # the same for each class
    assert np.allclose(novelty.energy(features, kernel, bias)[:, None], expected)


def test_likeness_is_the_cosine_to_the_nearest_whatever_the_length(monkeypatch):
    known = np.array([[1.0, 0, 0], [0, 2, 0], [0, 0, 5]])
    asked = np.array([[3.0, 0, 0], [1, 1, 0], [-1, 0, 0]])
    for neighbours, expected in ((1, [1, np.sqrt(0.5), 0]), (2, [0.5, np.sqrt(0.5), 0])):
        monkeypatch.setattr(published, "NEIGHBOURS", neighbours)
        assert np.allclose(novelty.likeness(asked, known), expected)


def test_agreement_is_less_the_more_members_differ_and_not_if_all_are_unsure():
    unsure = np.full((3, 1, 2), 0.5)
    apart = np.array([[[0.9, 0.1]], [[0.5, 0.5]], [[0.1, 0.9]]])
    same = np.array([[[0.9, 0.1]]] * 3)
    assert novelty.agreement(unsure)[0] == pytest.approx(0) == novelty.agreement(same)[0]
    assert novelty.agreement(apart)[0] < -0.1


def test_what_is_refused_is_counted_by_set():
    """Known scans of 0 to 99, all right from 10 on; strange ones below 10; pictures without an answer at 50."""
    known = pd.DataFrame({"set": "known", "right": np.arange(100) >= 10, "measure": np.arange(100.0)})
    strange = pd.DataFrame({"set": "strange", "right": [True, False, False, False], "measure": [60.0, 1, 2, 3]})
    nothing = pd.DataFrame({"set": "nothing", "right": [None] * 2, "measure": [50.0, 50.0]})
    found = novelty.refused(pd.concat([known, strange, nothing]), ["measure"], "known", allowed=0.1).set_index("set")
    threshold = np.quantile(np.arange(10, 100), 0.1)  # 18.9
    assert found.loc["known", "refused"] == pytest.approx(19 / 100) and threshold < 19
    assert found.loc["known", "right_refused"] == pytest.approx(9 / 90) and found.loc["known", "wrong_refused"] == 1
    assert found.loc["strange", ["refused", "right_refused", "wrong_refused"]].tolist() == [0.75, 0, 1]
    assert found.loc["nothing", "refused"] == 0 and found.loc["nothing", ["right_refused", "wrong_refused"]].isna().all()
    assert found.loc["known", "auroc"] == 0.5 and found.loc["strange", "auroc"] == pytest.approx(
        (3 * 97.5 + 39.5) / 400, abs=0.02
    )
    assert found["scans"].tolist() == [100, 4, 2]


def test_without_a_right_answer_there_is_no_threshold():
    scans = pd.DataFrame({"set": ["known"], "right": [False], "measure": [1.0]})
    with pytest.raises(ValueError, match="no answer on 'known' is right"):
        novelty.refused(scans, ["measure"], "known")
