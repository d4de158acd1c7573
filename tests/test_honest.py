"""Honest scores: cross-fitting, intervals and differences of recorded runs, and that cheats are seen."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import samples
import scipy.stats

from tumor_mri import stats
from tumor_mri.datasets import protocols
from tumor_mri.evaluation import comparisons, scoring
from tumor_mri.runs import configs
from tumor_mri.study import catalogue, gap


def guessing(run, manifest, epochs=60, seed=0):
    """A run whose every epoch guesses, as consistent as a real one."""
    actual = scoring.truth(run.val_paths, manifest)
    classes = np.random.default_rng(seed).integers(0, 4, (epochs, len(actual)), dtype=np.uint8)
    accuracy = (classes == actual).mean(axis=1)
    history = {name: list(accuracy) for name in run.history}
    return replace(run, val_classes=classes, val_probabilities=np.eye(4)[classes[accuracy.argmax()]], history=history)


def at_own_best_epoch(run, manifest):
    """The cheat: every image is scored at the epoch that it helped to choose."""
    return run.val_classes[[run.best_epoch - 1]]


def assert_no_knowledge(runs, manifest):
    assert abs(scoring.image_scores(runs, manifest)["right"].mean() - 0.25) < 0.015


def test_guessing_is_seen_for_what_it_is(split_b, manifest):
    guesses = [guessing(split_b, manifest, seed=seed) for seed in range(3)]
    scores = scoring.run_scores(scoring.image_scores(guesses[:1], manifest))
    assert scores["at_best_epoch"][0] > 0.28
    assert scores["flattery"][0] > 2.5
    assert_no_knowledge(guesses, manifest)


def test_a_fold_scored_at_its_own_best_epoch_is_not_honest(split_b, manifest, monkeypatch):
    monkeypatch.setattr(scoring, "cross_fitted_classes", at_own_best_epoch)
    with pytest.raises(AssertionError):
        assert_no_knowledge([guessing(split_b, manifest, seed=seed) for seed in range(3)], manifest)


def leaks(split, manifest):
    """Groups on both sides."""
    return set(manifest["group"].iloc[split.train]) & set(manifest["group"].iloc[split.validation])


def test_no_group_is_on_both_sides_of_a_fold_or_of_a_halving(split_b, manifest):
    assert not any(leaks(protocols.grouped(manifest, fold), manifest) for fold in range(5))
    assert leaks(protocols.training_only(manifest), manifest)  # what a leak looks like
    groups = manifest.set_index("path")["group"].loc[split_b.val_paths].to_numpy()
    actual = scoring.truth(split_b.val_paths, manifest)
    for halving in scoring._halvings(tuple(actual), tuple(groups), 20):
        for choosing, scored in halving:
            assert not set(groups[choosing]) & set(groups[scored])
        assert sorted(np.concatenate([scored for _, scored in halving])) == list(range(574))


def perfect(run, manifest, split):
    """A run of ``grouped`` on the images of a split, right in everything."""
    train, validation = (list(manifest["path"].iloc[rows]) for rows in (split.train, split.validation))
    actual = scoring.truth(validation, manifest)
    answers = {"val_classes": actual[None].astype(np.uint8), "val_probabilities": np.eye(4)[actual]}
    answers["train_classes"] = scoring.truth(train, manifest).astype(np.uint8)
    config, history = replace(run.config, protocol="grouped"), {"accuracy": [1.0], "val_accuracy": [1.0]}
    return replace(run, config=config, train_paths=train, val_paths=validation, history=history, **answers)


def test_a_run_with_a_leaked_group_is_refused(split_b, manifest):
    split = protocols.grouped(manifest, 0)
    scoring.image_scores([perfect(split_b, manifest, split)], manifest)
    groups = manifest["group"].iloc[split.validation]
    train, validation = split.train.copy(), split.validation.copy()
    place = np.flatnonzero(groups.duplicated())[0]  # its group stays, it goes and trains
    train[0], validation[place] = validation[place], train[0]
    leaky = protocols.Split(train, validation)
    assert leaks(leaky, manifest)
    with pytest.raises(scoring.EvaluationError, match="not the images of its protocol"):
        scoring.image_scores([perfect(split_b, manifest, leaky)], manifest)


def test_shuffled_labels_leave_no_knowledge(split_b, manifest):
    mixed = manifest.copy()
    rows = mixed["path"].isin(split_b.val_paths)
    mixed.loc[rows, "class"] = np.random.default_rng(0).permutation(mixed.loc[rows, "class"])
    right = (scoring.cross_fitted_classes(split_b, mixed) == scoring.truth(split_b.val_paths, mixed)).mean()
    assert right < 0.35
    with pytest.raises(scoring.EvaluationError):
        scoring.image_scores([split_b], mixed)


def test_scores_by_image_are_those_of_the_runs(runs, scores, manifest):
    found = scoring.run_scores(scores)
    assert len(found) == len(runs)
    assert np.allclose(found["at_best_epoch"], scoring.key_figures(runs, manifest)["val_accuracy"])
    for run, accuracy in zip(runs[:2], found["accuracy"][:2], strict=True):
        classes = scoring.cross_fitted_classes(run, manifest)
        assert accuracy == pytest.approx((classes == scoring.truth(run.val_paths, manifest)).mean())


def test_split_a_has_no_honest_score_on_testing(runs, split_b, manifest):
    unseen = scoring.unseen_scores([split_b], manifest)
    expected = gap.testing_scores([split_b], manifest).set_index("part").loc["unseen", "accuracy"]
    assert len(unseen) == 118
    assert unseen["right"].mean() == pytest.approx(expected)
    assert "no tumour" not in set(unseen["class"])
    with pytest.raises(scoring.EvaluationError, match="chose its epoch on Testing"):
        scoring.unseen_scores(runs, manifest)


def test_an_interval_is_over_seeds_from_three_on(scores):
    base = scores[(scores["protocol"] == "training_only") & (scores["network"] == samples.BASE)]
    mean, low, high, over = comparisons.mean_and_interval(base)
    expected = stats.interval(base.groupby("seed")["right"].mean())
    assert (mean, high - mean, over) == (pytest.approx(expected[0]), pytest.approx(expected[1]), "seeds")
    one = base[base["seed"] == 1]
    assert comparisons.mean_and_interval(one)[1:3] == stats.group_interval(one["right"], one["group"])
    assert comparisons.mean_and_interval(one)[3] == "groups" and np.isnan(comparisons.over_seeds(one)).all()
    patients = comparisons.mean_and_interval(base.assign(protocol="grouped"))  # however many seeds
    assert patients == (pytest.approx(mean), *comparisons.over_groups(base), "groups")


def test_mcnemar_pairs_differ_in_one_thing(scores):
    pairs = comparisons.mcnemar_pairs(scores)
    for pair in pairs.itertuples():
        (first, one), (second, other) = (name.split(" seed ") for name in (pair.first, pair.second))
        assert (first == second) == (pair.differ == "seed")
        assert (one == other) == (pair.differ == "network")
    a_seed, b_seed = (
        scores[(scores["protocol"] == "training_only") & (scores["network"] == samples.BASE) & (scores["seed"] == s)]
        for s in (1, 2)
    )
    row = pairs[(pairs["first"] == f"{samples.BASE} seed 1") & (pairs["second"] == f"{samples.BASE} seed 2")].iloc[-1]
    assert row["discordant"] == (a_seed["right_at_best"].to_numpy() != b_seed["right_at_best"].to_numpy()).sum()
    assert row["p"] == stats.mcnemar(a_seed["right_at_best"], b_seed["right_at_best"])


def test_differences_are_to_the_base_network_of_the_same_seed(scores):
    table = comparisons.network_differences(scores).set_index(["protocol", "network"])
    means = scoring.run_scores(scores).set_index(["protocol", "network", "seed"])["accuracy"].sort_index()
    row = table.loc[("training_only", samples.CHOSEN)]
    expected = 100 * (means["training_only", samples.CHOSEN] - means["training_only", samples.BASE])
    assert (row["pairs"], row["over"]) == (len(expected), "seeds")
    assert row["difference"] == pytest.approx(expected.mean())
    assert row["low"] < row["difference"] < row["high"]
    assert samples.BASE not in table.index.get_level_values("network")
    on_b = scores[scores["protocol"] == "training_only"]
    patients = comparisons.network_differences(on_b.assign(protocol="grouped")).set_index("network").loc[samples.CHOSEN]
    assert (patients["over"], patients["difference"]) == ("groups", pytest.approx(row["difference"]))


def test_differences_are_paired_by_fold_too(scores):
    """A run of one fold is compared with the reference's run of that fold, not with its other folds."""
    one = scores[(scores["protocol"] == "training_only") & (scores["seed"] == 1) & (scores["network"] == samples.BASE)]
    folds = pd.concat([one, one.assign(fold=1, right=0.0)])
    alone = pd.concat([folds, one.assign(network="other")])
    for reference, other in ((samples.BASE, "other"), ("other", samples.BASE)):
        row = comparisons.network_differences(alone, reference).iloc[0]
        assert (row["network"], row["difference"], row["low"], row["high"]) == (other, 0, 0, 0)


def test_a_run_is_held_against_the_mean_of_seeds(scores):
    on_b = scores[(scores["protocol"] == "training_only") & (scores["network"] == samples.BASE)]
    mean = comparisons.mean_of_seeds(on_b)
    assert len(mean) == on_b["path"].nunique() and mean["right"].mean() == pytest.approx(on_b["right"].mean())
    one = on_b[on_b["seed"] == 1]
    row = comparisons.network_differences(pd.concat([mean, one.assign(network="one")])).iloc[0]
    assert row["difference"] == pytest.approx(100 * (one["right"].mean() - on_b["right"].mean()))


def test_the_variation_between_trainings_adds_to_the_error_over_groups(scores):
    """Worked by hand for one seed against two, then two against two: the parts' squares add up, p is Student's."""
    on_b = scores[(scores["protocol"] == "training_only") & (scores["network"] == samples.BASE)].assign(protocol="grouped")
    whole = on_b[on_b["seed"] <= 2]
    worse = whole.assign(network="worse", right=whole["right"].where(whole["class"] != "glioma", 0.9 * whole["right"]))
    worse.loc[worse["seed"] == 2, "right"] *= 0.95
    for seeds in (1, 2):
        both = pd.concat([whole, worse[worse["seed"] <= seeds]])
        differences = comparisons.network_differences(comparisons.mean_of_seeds(both))
        row = comparisons.with_training_variation(differences, both).iloc[0]
        squares = []
        for network in (samples.BASE, "worse")[:seeds]:
            first, second = 100 * both[both["network"] == network].groupby("seed")["right"].mean()
            squares.append((first - second) ** 2 / 2)
        patients = (row["high"] - row["low"]) / (2 * 1.959964)
        training = (sum(squares) / len(squares)) ** 0.5 * (1 / seeds + 1 / 2) ** 0.5
        error = (patients**2 + training**2) ** 0.5
        assert row[["patients", "training", "error"]].tolist() == pytest.approx([patients, training, error])
        freedom = seeds * (error / training) ** 4
        assert row["half_width"] == pytest.approx(error * scipy.stats.t.ppf(0.975, freedom))
        assert row["p"] == pytest.approx(2 * scipy.stats.t.sf(abs(row["difference"]) / error, freedom))
    single = comparisons.with_training_variation(differences, both[both["seed"] == 1]).iloc[0]
    assert single[["training", "error", "half_width", "p"]].isna().all() and single["patients"] == row["patients"]
    with pytest.raises(scoring.EvaluationError, match="over groups"):
        comparisons.with_training_variation(differences.assign(over="seeds"), both)


def test_the_mean_of_recalls_image_by_image(scores):
    on_b = scores[scores["protocol"] == "training_only"]
    classes = ["glioma", "pituitary"]
    weighted = comparisons.as_mean_recall(on_b, classes)
    recalls = on_b.groupby(["network", "class"])["right"].mean().unstack()[classes].mean(axis=1)
    assert set(weighted["class"]) == set(classes)
    assert weighted.groupby("network")["right"].mean().tolist() == pytest.approx(recalls.tolist())
    with pytest.raises(scoring.EvaluationError, match="of class schwannoma"):
        comparisons.as_mean_recall(on_b, ["glioma", "schwannoma"])
    less = on_b[(on_b["network"] != samples.BASE) | (on_b["path"] != on_b["path"].iloc[0])]
    with pytest.raises(scoring.EvaluationError, match="different images"):
        comparisons.as_mean_recall(less, list(on_b["class"].unique()))


def test_recalls_and_their_differences(scores):
    on_b = scores[scores["protocol"] == "training_only"]
    table = comparisons.class_recalls(on_b).set_index("class")
    assert table["images"].tolist() == [158, 162, 83, 171]
    assert table.loc["glioma", "recall"] == pytest.approx(on_b[on_b["class"] == "glioma"]["right"].mean())
    worse = on_b.assign(right=on_b["right"].where(on_b["class"] != "glioma", 0))
    lost = comparisons.recall_differences(on_b, worse).set_index("class")
    assert lost.loc["glioma", ["difference", "low", "high"]].max() < -70
    assert (lost.loc[["meningioma", "pituitary"], ["difference", "low", "high"]] == 0).all(axis=None)


def _as_bfloat16(run):
    return replace(
        run,
        config=replace(run.config, precision="mixed_bfloat16"),
        environment=run.environment | {"computes_in": ["bfloat16", "float32"]},
    )


def test_precisions_stand_side_by_side_in_one_place_only(runs, manifest):
    base = [run for run in runs if run.config.protocol == "training_only" and run.config.widths == (32, 64, 128, 128)]
    rough = [_as_bfloat16(run) for run in base]
    pairs = comparisons.precision_scores([*base, *rough], manifest)
    assert set(pairs["network"]) == {"mixed_bfloat16", "float32"}
    same = comparisons.network_differences(pairs, reference="float32")
    assert (same["network"].tolist(), same["pairs"].tolist()) == (["mixed_bfloat16"], [len(base)])
    assert (same[["difference", "low", "high", "detectable"]] == 0).all(axis=None)
    worse = pairs.assign(right=pairs["right"].where(pairs["network"] == "float32", 0.9 * pairs["right"]))
    lost = comparisons.network_differences(worse, reference="float32").iloc[0]
    assert lost["high"] < -8 and lost["difference"] == pytest.approx(-10 * pairs["right"].mean())
    with pytest.raises(scoring.EvaluationError, match="precisions"):
        scoring.image_scores([*base, *rough], manifest)
    with pytest.raises(scoring.EvaluationError, match="each seed needs"):
        comparisons.precision_scores([*base, rough[0]], manifest)
    with pytest.raises(scoring.EvaluationError, match="each seed needs"):
        comparisons.precision_scores(base, manifest)
    other = [replace(run, config=replace(run.config, widths=(25, 50, 100, 100))) for run in rough]
    with pytest.raises(scoring.EvaluationError, match="settings"):
        comparisons.precision_scores([*base, *other], manifest)
    elsewhere = [replace(run, environment=run.environment | {"backend": "another"}) for run in rough]
    with pytest.raises(scoring.EvaluationError, match="backends"):
        comparisons.precision_scores([*base, *elsewhere], manifest)


def test_backends_stand_side_by_side_too(manifest):
    control = catalogue.backend_control()
    assert {run.environment["backend"] for run in control["jax"]} == {"jax"}
    assert {run.environment["backend"] for run in control["tensorflow"]} == {"tensorflow"}
    base = configs.config_of("cnn", "training_only")
    pairs = [
        run for runs in control.values() for run in runs if run.config.same_network(base) and run.config.protocol == base.protocol
    ]
    table = comparisons.network_differences(comparisons.backend_scores(pairs, manifest), reference="jax").iloc[0]
    assert table["pairs"] == 5 and table["low"] < 0 < table["high"] + 1
    with pytest.raises(scoring.EvaluationError, match="each seed needs"):
        comparisons.backend_scores(pairs[:-1], manifest)
    with pytest.raises(scoring.EvaluationError, match="precisions"):
        comparisons.backend_scores([*pairs, _as_bfloat16(pairs[0])], manifest)
