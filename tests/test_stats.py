"""Intervals, tests and calibration against known answers."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from tumor_mri import stats
from tumor_mri.datasets import manifests, protocols


def test_an_interval_is_students():
    mean, half = stats.interval([1.0, 2.0, 3.0])
    assert mean == 2
    assert np.isclose(half, 4.302652729911275 / np.sqrt(3))
    assert np.isnan(stats.interval([5])[1])


def test_a_group_counts_once_in_an_interval():
    rng = np.random.default_rng(0)
    right = rng.random(100) < 0.7
    low, high = stats.group_interval(right, np.arange(100))
    copied_low, copied_high = stats.group_interval(np.repeat(right, 20), np.repeat(np.arange(100), 20))
    assert low < right.mean() < high
    assert copied_high - copied_low == pytest.approx(high - low, abs=0.02)  # twenty copies of each tell nothing new


def test_a_paired_interval_is_that_of_the_t_test():
    first, second = np.random.default_rng(0).normal(size=(2, 7))
    found = stats.paired_difference(first, second)
    expected = scipy_stats.ttest_rel(second, first).confidence_interval()
    assert (found["low"], found["high"]) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert (found["pairs"], found["difference"]) == (7, pytest.approx((second - first).mean()))
    for values in ([1.0], [1.0, 2.0, 3.0], [[1.0, 2.0]]):
        with pytest.raises(ValueError, match="pairs"):
            stats.paired_difference(values, [1.0, 2.0] if len(values) > 1 else values)


def test_the_detectable_difference_is_found_as_often_as_it_says():
    assert stats.detectable_difference(1, 33.36713) == pytest.approx(0.5, abs=1e-4)  # R: pwr.t.test(d = 0.5, power = 0.8)
    deviation, pairs = 0.7, 5
    true = stats.detectable_difference(deviation, pairs)
    samples = np.random.default_rng(0).normal(true, deviation, (50_000, pairs))
    assert (scipy_stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05).mean() == pytest.approx(0.8, abs=0.01)
    assert stats.paired_difference([0, 0, 0], [1, 1, 1])["detectable"] == 0


def test_a_difference_over_groups_pairs_what_both_have():
    rng = np.random.default_rng(0)
    images = pd.DataFrame({"group": np.arange(200) // 2, "right": (rng.random(200) < 0.7).astype(float)})
    assert stats.group_difference(images, images) == (0, 0, 0)  # the same images: no doubt is left
    better = images.assign(right=np.where(rng.random(200) < 0.3, 1, images["right"]))
    difference, low, high = stats.group_difference(images, better)
    assert 0 < low < difference < high
    strangers = better.assign(group=better["group"] + 1000)  # the same figures for other groups: much more doubt
    assert stats.group_difference(images, strangers)[1] < low
    copies = pd.concat([images] * 20), pd.concat([better] * 20)
    assert stats.group_difference(*copies) == pytest.approx((difference, low, high))  # copies tell nothing new


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    # twice the tail of ten coins: (1 + 10) / 1024; of five: 1 / 32; as many on either side
    [(1, 9, 2 * 11 / 1024), (9, 1, 2 * 11 / 1024), (5, 0, 2 / 32), (4, 4, 1), (0, 0, 1)],
)
def test_mcnemar_is_exact(only_first, only_second, p):
    first = np.repeat([True, False, True, False], [only_first, only_second, 30, 5])
    second = np.repeat([False, True, True, False], [only_first, only_second, 30, 5])
    assert stats.mcnemar(first, second) == pytest.approx(p)


def test_holms_correction_is_that_of_r_and_keeps_its_promise():
    found = stats.holm([0.05, 0.01, 0.03, 0.02, 0.04])
    assert found == pytest.approx([0.09, 0.05, 0.09, 0.08, 0.09])  # R: p.adjust(c(.05, .01, .03, .02, .04), "holm")
    assert list(stats.holm([0.6, 0.9])) == [1, 1] and list(stats.holm([])) == []
    nothing_differs = np.random.default_rng(0).random((10_000, 6))
    assert np.mean([stats.holm(p).min() < 0.05 for p in nothing_differs]) == pytest.approx(0.05, abs=0.006)


def test_calibration_is_known_where_it_is_constructed():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.25, 1, 100_000)
    calibrated = rng.random(100_000) < confidence
    assert stats.calibration_error(confidence, calibrated) < 0.01
    assert stats.calibration_error(np.full(1000, 0.99), np.arange(1000) < 600) == pytest.approx(0.39)  # sure, not right
    halves = np.repeat([0.9, 0.5], 500), np.concatenate([np.arange(500) < 400, np.arange(500) < 350])
    assert stats.calibration_error(*halves) == pytest.approx(0.1 / 2 + 0.2 / 2)  # over in one bin, under in the other
    curve = stats.reliability(confidence, calibrated)
    assert curve["images"].sum() == 100_000
    assert np.allclose(curve["accuracy"], curve["confidence"], atol=0.02)


def test_the_noise_floor_is_the_error_of_perfect_calibration():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.25, 1, 150)
    errors = [stats.calibration_error(confidence, rng.random(150) < confidence) for _ in range(300)]
    floor = stats.calibration_noise(confidence)
    assert floor == pytest.approx(np.mean(errors), rel=0.05)
    assert floor == stats.calibration_noise(confidence)  # the same numbers always give the same floor
    other = stats.calibration_noise(confidence, seed=2)
    assert other != floor and other == pytest.approx(floor, rel=0.1)
    assert stats.calibration_noise(np.repeat(confidence, 100)) == pytest.approx(floor / 10, rel=0.1)  # as one over the root
    assert stats.calibration_noise(confidence, bins=1) < floor  # fewer bins, less noise
    assert stats.calibration_noise([1.0, 1.0]) == 0  # who is certain and calibrated cannot be wrong


def test_all_right_and_all_wrong_are_calibrations_too():
    assert stats.calibration_error([1.0, 1.0], [True, True]) == 0
    assert stats.calibration_error([0.8, 0.8], [False, False]) == pytest.approx(0.8)


def test_the_temperature_undoes_false_confidence():
    generator = np.random.default_rng(0)
    honest = generator.dirichlet([0.6] * 4, 4000)
    truth = np.array([generator.choice(4, p=odds) for odds in honest])
    for factor in (0.5, 1.0, 2.0):
        assert stats.fit_temperature(stats.soften(honest, factor), truth) == pytest.approx(1 / factor, rel=0.1)


def test_abstaining_costs_answers_and_saves_errors():
    confidence, right = np.array([0.9, 0.8, 0.8, 0.6, 0.5]), np.array([1, 1, 0, 1, 0])
    table = stats.abstention(confidence, right)
    assert list(table["threshold"]) == [0.5, 0.6, 0.8, 0.9]
    assert list(table["answered"]) == pytest.approx([1, 0.8, 0.6, 0.2])
    assert list(table["accuracy"]) == pytest.approx([3 / 5, 3 / 4, 2 / 3, 1])
    assert stats.choose_threshold(confidence, right, 0.7) == 0.6
    assert stats.choose_threshold(confidence, np.zeros(5), 0.7) == 1.0


def group_sizes(which):
    """How many images the groups of this dataset have, for kinds of images whose intervals are published."""
    manifest = manifests.load_manifest()
    unseen = manifest.iloc[protocols.unseen_testing(manifest)]
    fold = manifest.iloc[protocols.grouped(manifest, 1).validation]
    table = {"unseen pituitary": unseen[unseen["class"] == "pituitary_tumor"], "fold": fold}
    table["fold, gliomas"] = fold[fold["class"] == "glioma_tumor"]
    return table[which].groupby("group").size().to_numpy()


@pytest.mark.parametrize("which", ["unseen pituitary", "fold, gliomas", "fold"])
@pytest.mark.parametrize("true", [0.6, 0.9, 0.97])
def test_intervals_over_groups_cover_the_truth(which, true):
    """Simulated: images of one group are correct with a probability of their own, whose mean is the true accuracy."""
    sizes, generator, covered = group_sizes(which), np.random.default_rng(7), 0
    for _ in range(300):
        drawn = generator.choice(sizes, len(sizes))
        own = generator.beta(true * 7 / 3, (1 - true) * 7 / 3, len(drawn))  # a correlation of 0.3 within groups
        right = np.concatenate([generator.random(size) < share for size, share in zip(drawn, own, strict=True)])
        low, high = stats.group_interval(right, np.repeat(np.arange(len(drawn)), drawn))
        covered += low <= true <= high
    assert covered / 300 >= (0.88 if true < 0.95 else 0.82)  # nominally 0.95; rare errors may all be those of one patient


def test_an_interval_over_groups_is_exact_where_all_answers_are_right_or_none():
    low, high = stats.group_interval(np.ones(30), np.arange(30) // 3)
    assert high == 1 and low == pytest.approx(scipy_stats.binomtest(10, 10).proportion_ci(method="exact").low)
    assert stats.group_interval(np.zeros(30), np.arange(30) // 3) == pytest.approx((0, 1 - low))
    assert stats.group_interval([1, 0, 1], ["a"] * 3) == (0, 1)  # one group says nothing about others
