"""The two recipes: what a network is shown, which network it is, and how its weights move."""

from dataclasses import replace

import numpy as np
import pytest

from tumor_mri.evaluation import benchmark, ensembles, scoring
from tumor_mri.models import fingerprint, networks, recipes
from tumor_mri.runs import configs, records, training

OURS = configs.RunConfig("grouped", **recipes.RESIDUAL)
TINY = replace(OURS, epochs=2, train_images=64)


@pytest.fixture(scope="module")
def noise(manifest):
    return np.random.default_rng(0).integers(0, 256, (len(manifest), 64, 64), dtype=np.uint8)


@pytest.fixture(scope="module")
def run(noise, manifest):
    return training.train(TINY, noise, manifest, progress=False)


def test_the_residual_network_keeps_below_two_million_parameters():
    whole = networks.build_residual()
    assert whole.output_shape == (None, 4) and whole.count_params() < 2_000_000
    plain, flat = networks.build_residual(residual=False), networks.build_residual(pooling=False)
    assert not any(type(layer).__name__ == "Add" for layer in plain.layers)
    assert plain.count_params() < whole.count_params() < flat.count_params()


def test_a_residual_stage_begins_as_its_shortcut():
    """At the start the second normalisation of each stage gives zero: the network is its shortcuts, whatever the 3x3 kernels."""
    model = networks.build_residual((32, 32, 1))
    scans = np.random.default_rng(1).uniform(0, 255, (2, 32, 32, 1)).astype(np.float32)
    before = model.predict(scans, verbose=0)
    for layer in model.layers:
        if getattr(layer, "kernel_size", None) == (3, 3):
            layer.kernel.assign(layer.kernel * 0 + 1)
    assert np.array_equal(model.predict(scans, verbose=0), before)
    plain = networks.build_residual((32, 32, 1), residual=False)
    before = plain.predict(scans, verbose=0)
    next(layer for layer in plain.layers if getattr(layer, "kernel_size", None) == (3, 3)).kernel.assign(
        np.ones((3, 3, networks.STEM, networks.STAGES[0]))
    )
    assert not np.array_equal(plain.predict(scans, verbose=0), before)


def test_epochs_fixed_beforehand_are_all_trained_and_the_last_one_counts(run, manifest):
    assert run.epochs_run == run.best_epoch == TINY.epochs
    assert np.array_equal(run.val_probabilities.argmax(axis=1), run.val_classes[-1])
    scoring.check(run, manifest)
    assert (scoring.cross_fitted_classes(run, manifest) == run.val_classes[-1]).all()
    scores = scoring.image_scores([run], manifest)
    assert np.array_equal(scores["right"], scores["right_at_best"])  # nothing was chosen, so that nothing flatters


def test_same_seed_same_bits(run, noise, manifest):
    again = training.train(TINY, noise, manifest, progress=False)
    assert again.history["loss"] == run.history["loss"]
    assert np.array_equal(again.test_probabilities, run.test_probabilities)


def test_a_step_is_varied_by_seed_epoch_and_place_alone(noise):
    rows, labels = np.arange(64), np.zeros(len(noise), dtype=int)
    first, second = (training._shuffled_batches(noise, labels, rows, TINY) for _ in range(2))
    second[0]  # steps may be made in any order, and more than once
    assert np.array_equal(first[1][0], second[1][0])
    unvaried = training._shuffled_batches(noise, labels, rows, replace(OURS, network="cnn", widths=(4, 4, 4, 4), recipe="report"))
    assert unvaried[0][0].dtype == np.uint8 and first[0][0].dtype == np.float32
    first.on_epoch_end()
    first.order = second.order
    assert not np.array_equal(first[1][0], second[1][0])  # another epoch
    other = training._shuffled_batches(noise, labels, rows, replace(TINY, seed=2))
    other.order = second.order
    assert not np.array_equal(other[1][0], second[1][0])  # another seed
    second.order = np.concatenate([rows[:32], rows[:32]])
    assert not np.array_equal(second[0][0], second[1][0])  # the same scans in another place


def test_the_learning_rate_warms_up_then_falls():
    schedule = recipes.optimizer(OURS, steps=10)._learning_rate
    rates = [float(schedule(step)) for step in (0, 10 * recipes.WARM_UP, 10 * OURS.epochs // 2, 10 * OURS.epochs)]
    assert rates[0] < rates[2] < rates[1] == pytest.approx(OURS.learning_rate) and rates[3] < 1e-6
    assert type(recipes.optimizer(replace(OURS, without="schedule"), steps=10)).__name__ == "Adam"


@pytest.mark.parametrize("without", recipes.INGREDIENTS)
def test_each_ingredient_can_be_left_out_and_no_other_goes_with_it(without, monkeypatch):
    """What a run is made of, with and without an ingredient, differs in one place."""
    monkeypatch.setattr(recipes.preprocessing, "load_prepared", lambda manifest, **kept: kept)

    def made_of(config):
        asked = recipes.load_images(config, None)
        layers = fingerprint.describe(recipes.build(config, (32, 32)))
        return {**asked, "families": recipes.families(config), "layers": layers, "optimizer": type(recipes.optimizer(config, 9))}

    whole, less = made_of(OURS), made_of(replace(OURS, without=without))
    assert len([name for name in whole if whole[name] != less[name]]) == 1


@pytest.mark.parametrize("without", recipes.OF_OUR_NETWORK)
def test_what_the_reports_network_has_not_cannot_be_left_out_of_it(without):
    with pytest.raises(ValueError, match=f"nothing called '{without}'"):
        configs.RunConfig("grouped", recipe="prepared", without=without, patience=None)


def test_a_record_says_what_was_left_out(run, tmp_path):
    config = replace(TINY, without="geometry")
    back = records.load(records.save(replace(run, config=config), tmp_path))
    assert back.config == config and back.config.key != TINY.key
    assert scoring.network_name(back.config) == "residual without geometry"


def test_a_network_trained_longer_has_a_name_of_its_own_and_answers_with_no_other(run, manifest):
    longer = replace(run, config=replace(OURS, **recipes.LONGER))
    assert scoring.network_name(longer.config) == "residual, 120 epochs"
    assert len(benchmark.combined([run], manifest)) == 1 and benchmark.combined([longer], manifest) == []


def test_the_reports_network_takes_prepared_scans_too(noise, manifest):
    config = replace(TINY, network="cnn", widths=(4, 4, 4, 4), epochs=1, train_images=32)
    run = training.train(config, noise, manifest, progress=False)
    assert scoring.network_name(config) == "4/4/4/4 on prepared scans"
    assert scoring.key_figures([run], manifest)["parameters"][0] == run.environment["parameters"]


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"recipe": "mine"}, "choose one of report, prepared"),
        ({"without": "salt"}, "nothing called 'salt' can be left out"),
        ({"recipe": "report", "without": "crop"}, "of the recipe 'report' nothing"),
        ({"patience": 0}, "at least 1"),
        ({"widths": (1, 1, 1, 1)}, "has its own"),
    ],
)
def test_bad_recipes_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        replace(OURS, **settings)


def test_mirrored_scans_are_recorded_and_come_back(run, noise, manifest, tmp_path):
    assert run.val_flipped.shape == run.val_probabilities.shape and run.test_flipped.shape == run.test_probabilities.shape
    assert not np.allclose(run.test_flipped, run.test_probabilities)
    back = records.load(records.save(run, tmp_path))
    assert np.array_equal(back.val_flipped, run.val_flipped) and np.array_equal(back.test_flipped, run.test_flipped)


def test_seeds_answer_together_and_mirrored_scans_beside_scans(run, manifest):
    other = replace(run, config=replace(TINY, seed=2), val_probabilities=run.val_flipped, test_probabilities=run.test_flipped)
    both, flipped = ensembles.together([run, other], manifest), ensembles.with_flips(run, manifest)
    assert np.allclose(both.val_probabilities, (run.val_probabilities + run.val_flipped) / 2)
    assert np.allclose(both.test_probabilities, flipped.test_probabilities)
    for one, name in ((both, "residual, 2 seeds together"), (flipped, "residual, flips")):
        scoring.check(one, manifest)
        assert scoring.network_name(one.config) == name
        scores = scoring.image_scores([one], manifest)
        assert scores["right"].mean() == pytest.approx(one.history["val_accuracy"][0])
    with pytest.raises(ValueError, match="nothing but the seed"):
        ensembles.together([run, replace(run, config=replace(TINY, fold=1))], manifest)
    with pytest.raises(ValueError, match="has not recorded"):
        ensembles.with_flips(both, manifest)
