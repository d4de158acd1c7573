"""Why the gap: the parts of Testing, scores on them, random draws, the swap of foreign gliomas, and the verdict on C9."""

from dataclasses import replace

import numpy as np
import pytest

from tumor_mri import figures
from tumor_mri.audit import this_dataset
from tumor_mri.datasets import decoding, download, manifests, protocols
from tumor_mri.evaluation import scoring
from tumor_mri.figures import about_dataset
from tumor_mri.study import catalogue, claims, gap


@pytest.fixture(scope="module")
def runs():
    return catalogue.recorded("sweep-widths")


@pytest.fixture(scope="module")
def base(runs):
    """The base network's first run on each split."""
    chosen = [run for run in runs if run.config.widths == (32, 64, 128, 128) and run.config.seed == 1]
    return {run.config.protocol: run for run in chosen}


def guess(run, manifest, right):
    """A run whose probabilities on Testing are all right, or all wrong."""
    labels = scoring.truth(run.test_paths, manifest)
    return replace(run, test_probabilities=np.eye(4, dtype=np.float32)[labels if right else (labels + 1) % 4])


def test_the_parts_of_testing_are_disjoint_and_whole(manifest):
    parts = protocols.testing_parts(manifest)
    assert {name: len(rows) for name, rows in parts.items()} == {"near-copies": 258, "foreign gliomas": 81, "others": 55}
    rows = np.concatenate(list(parts.values()))
    assert sorted(rows) == protocols.testing_folder(manifest).validation.tolist()


def test_unseen_testing_shares_nothing_with_training(manifest):
    unseen = manifest.iloc[protocols.unseen_testing(manifest)]
    training = manifest[manifest["split"] == "Training"]
    assert unseen["class"].value_counts().reindex(manifests.CLASSES, fill_value=0).tolist() == [81, 6, 0, 46]
    assert not set(unseen["patient"].dropna()) & set(training["patient"].dropna())
    assert (unseen["nearest_training_corr"] <= 0.99).all()


def test_errors_on_the_parts_are_all_errors(runs, manifest):
    scores = gap.testing_scores(runs, manifest)
    parts = scores[scores["part"] != "unseen"]
    for run, errors in zip(runs, parts.groupby(np.arange(len(parts)) // 3)["errors"].sum()):
        assert errors == (run.test_probabilities.argmax(axis=1) != scoring.truth(run.test_paths, manifest)).sum()


def test_a_run_that_trained_on_testing_is_not_scored_on_it(base, manifest):
    leaked = replace(base["training_only"], train_paths=base["training_only"].test_paths)
    with pytest.raises(scoring.EvaluationError, match="trained on 258"):
        gap.testing_scores([leaked], manifest)


def test_foreign_halves_share_no_group(manifest):
    first, second = protocols.foreign_halves(manifest)
    assert sorted([*first, *second]) == protocols.testing_parts(manifest)["foreign gliomas"].tolist()
    assert not set(manifest["group"].iloc[first]) & set(manifest["group"].iloc[second])
    assert abs(len(first) - len(second)) <= 1


@pytest.mark.parametrize("fold", [0, 1])
def test_foreign_gliomas_take_the_place_of_as_many_cheng_gliomas(manifest, fold):
    control, swapped = protocols.training_only(manifest), protocols.split(manifest, "foreign_added", fold)
    changed = swapped.train != control.train
    held_out = protocols.foreign_halves(manifest)[1 - fold]
    assert sorted(swapped.train[changed]) == sorted(protocols.foreign_halves(manifest)[fold])
    assert manifest["cheng_slice"].iloc[control.train[changed]].notna().all()
    assert set(manifest["class"].iloc[control.train[changed]]) == {"glioma_tumor"}
    assert np.array_equal(swapped.validation, control.validation)
    assert len(set(swapped.train)) == len(control.train)
    assert not set(manifest["group"].iloc[swapped.train]) & set(manifest["group"].iloc[held_out])


def added(control, manifest, fold, right):
    """A run of foreign_added beside a run on split B, all right or all wrong on Testing."""
    config = replace(control.config, protocol="foreign_added", fold=fold)
    train = manifest["path"].iloc[protocols.foreign_added(manifest, fold).train]
    return guess(replace(control, config=config, train_paths=list(train)), manifest, right)


def test_foreign_scores_leave_out_the_half_that_trained(base, manifest):
    control = base["training_only"]
    swapped = added(control, manifest, 1, right=True)
    scores = gap.foreign_scores([control, swapped], manifest)
    assert set(scores["half"]) == {0}  # split B's run on half 1 has no partner
    assert sorted(set(scores["path"])) == sorted(manifest["path"].iloc[protocols.foreign_halves(manifest)[0]])
    recall = gap.foreign_recall(scores)
    assert recall[["half", "images", "with"]].to_numpy().tolist() == [[0, 40, 1]]
    mislabelled = replace(swapped, config=replace(swapped.config, fold=0))  # says that it trained on the other half
    with pytest.raises(scoring.EvaluationError, match="train_paths are not the images of its protocol"):
        gap.foreign_scores([control, mislabelled], manifest)
    with pytest.raises(scoring.EvaluationError, match="trained on 41"):
        scoring.testing_right(swapped, manifest["path"].iloc[protocols.foreign_halves(manifest)[1]], manifest)
    assert "foreign_added-fold1" in swapped.config.key


@pytest.mark.parametrize(("before", "after", "points"), [(False, True, 100), (True, False, -100), (True, True, 0)])
def test_the_effect_of_foreign_gliomas_is_that_of_the_pairs(base, manifest, before, after, points, capsys):
    control = guess(base["training_only"], manifest, before)
    unpaired = replace(guess(control, manifest, not before), config=replace(control.config, seed=9))
    runs = [control, unpaired, *(added(control, manifest, fold, after) for fold in (0, 1))]
    scores = gap.foreign_scores(runs, manifest)
    effect = gap.foreign_effect(scores)
    assert effect == {"without": before, "with": after, "points": points, "low": points, "high": points, "pairs": 2}
    figures.foreign_gliomas_added(scores)
    assert f"it rises in {2 if points > 0 else 0} of 2 pairs" in capsys.readouterr().out


def test_the_effect_of_foreign_gliomas_needs_a_pair(base, manifest):
    other_seed = replace(base["training_only"], config=replace(base["training_only"].config, seed=9))
    scores = gap.foreign_scores([base["training_only"], added(other_seed, manifest, 0, right=True)], manifest)
    with pytest.raises(scoring.EvaluationError, match="no run of foreign_added"):
        gap.foreign_effect(scores)


def test_draws_scatter_more_when_they_are_smaller(base, manifest):
    large, small = (gap.draw_accuracies(base["training_only"], manifest, size) for size in (394, 100))
    accuracy = max(base["training_only"].history["val_accuracy"])
    assert abs(large.mean() - accuracy) < 0.002
    assert np.isclose(large.std(), np.sqrt(accuracy * (1 - accuracy) / 394), rtol=0.1)
    assert small.std() > 1.7 * large.std()
    assert np.array_equal(small, gap.draw_accuracies(base["training_only"], manifest, 100))


@pytest.mark.parametrize(
    ("testing", "near_copies", "verdict"),
    [(0.75, 0.99, "refuted"), (0.92, 0.99, "holds"), (0.75, 0.80, "holds"), (0.75, 0.881, "refuted")],
)
def test_the_verdict_on_c9_follows_its_criterion(runs, manifest, monkeypatch, testing, near_copies, verdict):
    pairs = claims.testing_pairs(runs, manifest).iloc[[0, 0]]
    pairs = pairs.assign(testing=testing, near_copies=near_copies, set_aside=0.93, low=0.90, high=0.95)
    monkeypatch.setattr(claims, "testing_pairs", lambda *arguments: pairs)
    assert claims.claim_on_testing(runs, manifest).verdict == verdict


def test_pairs_are_of_one_network_and_seed(runs, base, manifest):
    pairs = claims.testing_pairs(runs, manifest)
    row = pairs[(pairs["widths"] == "32/64/128/128") & (pairs["seed"] == 1)].iloc[0]
    assert np.isclose(row["testing"], max(base["testing_folder"].history["val_accuracy"]))
    assert np.isclose(row["set_aside"], max(base["training_only"].history["val_accuracy"]))
    assert not pairs.duplicated(["widths", "seed"]).any()


@pytest.mark.parametrize("protocol", ["testing_folder", "training_only"])
def test_one_split_alone_decides_nothing(base, manifest, protocol):
    assert claims.claim_on_testing([base[protocol]], manifest).verdict == "cannot be decided"


def test_a_shuffled_label_changes_the_parts_scores(base, manifest):
    right = guess(base["training_only"], manifest, right=True)
    assert gap.testing_scores([right], manifest)["errors"].sum() == 0
    wrong = replace(right, test_probabilities=right.test_probabilities[::-1])
    assert gap.testing_scores([wrong], manifest)["errors"].sum() > 0


def test_near_copies_of_testing_come_with_their_pair(manifest):
    pairs = this_dataset.testing_near_copies(manifest)
    assert len(pairs) == 258
    assert set(pairs["first_split"]) == {"Testing"}
    assert set(pairs["second_split"]) == {"Training"}
    assert (pairs["correlation"] > 0.99).all()


def test_pictures_without_a_dataset_are_phantoms(manifest, capsys, monkeypatch):
    monkeypatch.setattr(decoding, "scan", lambda *arguments: pytest.fail("read a scan"))
    about_dataset.two_kinds_of_glioma(manifest, None)
    assert "18 Cheng set, 81 foreign, of 100" in capsys.readouterr().out


def test_figures_take_any_number_of_seeds(runs, manifest, capsys):
    first = [run for run in runs if run.config.seed == 1]
    more = [replace(run, config=replace(run.config, seed=seed)) for run in first for seed in (1, 2, 3)]
    scores = gap.testing_scores(more, manifest)
    figures.errors_by_part(scores)
    figures.accuracy_by_part(scores)
    on_b = [run for run in more if run.config.protocol == "training_only"]
    pairs = claims.testing_pairs(more, manifest)
    assert len(pairs) == 3 * len(claims.testing_pairs(first, manifest))
    figures.draws_beside_testing(gap.draw_ranges(on_b, manifest), pairs)
    assert capsys.readouterr().out.count("\n") == 3


@pytest.mark.needs_dataset
def test_the_nearest_neighbour_scores(manifest):
    table = this_dataset.neighbour_scores(manifest, this_dataset.manifest_thumbnails(download.find(), manifest))
    assert (100 * table["accuracy"]).round(1).tolist() == [76.6, 90.6, 69.0, 93.4, 69.1]
    assert table["images"].tolist() == [394, 574, 574, 453, 453]
