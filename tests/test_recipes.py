"""The two recipes: their ingredients, and how the weights move."""

import inspect
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import samples

import tools.tries
from tumor_mri.datasets import manifests
from tumor_mri.models import efficientnet, fingerprint, networks, recipes, styles
from tumor_mri.runs import training


def test_the_learning_rate_warms_up_then_falls():
    schedule = recipes.PREPARED.optimizer(samples.OURS, 10)._learning_rate
    epochs = samples.OURS.epochs
    rates = [float(schedule(step)) for step in (0, 10 * recipes.PREPARED.warm_up, 10 * epochs // 2, 10 * epochs)]
    assert rates[0] < rates[2] < rates[1] == pytest.approx(samples.OURS.learning_rate) and rates[3] < 1e-6
    assert type(recipes.PREPARED.optimizer(replace(samples.OURS, without="schedule"), 10)).__name__ == "Adam"


@pytest.mark.parametrize("without", [*recipes.PREPARED.ablations, *networks.RESIDUAL.ablations])
def test_each_ingredient_can_be_left_out_and_no_other_goes_with_it(without, monkeypatch):
    """What a run is made of, with and without an ingredient, differs in one place."""
    monkeypatch.setattr(recipes.preprocessing, "load_prepared", lambda manifest, **kept: kept)

    def made_of(config):
        recipe = recipes.get(config.recipe)
        asked = recipe.load(None, config.without)
        layers = fingerprint.describe(training.build_network(config, (32, 32)))
        return {**asked, "families": recipe.families_of(config), "layers": layers, "optimizer": type(recipe.optimizer(config, 9))}

    whole, less = made_of(samples.OURS), made_of(replace(samples.OURS, without=without))
    assert len([name for name in whole if whole[name] != less[name]]) == 1


def test_the_recipe_of_the_pretrained_network_is_the_one_that_the_rule_chooses():
    """Of the tries with three seeds, the best mean score: two thirds new patients, one third a new source."""
    tries = pd.read_csv(manifests.DATA / "tries_pretrained.csv").dropna(subset="score")
    folds, source = tries[["fold0", "fold1"]].mean(axis=1), tries[["source_meningioma", "source_pituitary"]].mean(axis=1)
    assert np.allclose(tries["score"], 2 / 3 * folds + source / 3, atol=1e-4)
    of_try = tries.groupby("try")["score"].agg(["mean", "size"])
    single = tries[tries["seed"] == 1].set_index("try")["score"]
    assert set(of_try.index[of_try["size"] == 3]) == set(single.nlargest(3).index)
    chosen = of_try.loc[of_try["size"] == 3, "mean"].idxmax()
    recipe, settings = recipes.FINE_TUNED, tries.set_index("try").loc[chosen, "differs"].iloc[0]
    assert chosen == f"styles, {recipes.FINE_TUNED_SIDE} pixels" and f"pixels {recipes.FINE_TUNED_SIDE};" in settings
    assert f"style {'+'.join(recipe.styles)}; style_share {recipe.style_share}" in settings
    assert recipe.styles == tuple(styles.STYLES)
    attempt, network = tools.tries.TRIES[chosen], inspect.signature(efficientnet.build_efficientnet).parameters
    tried = attempt.pixels, attempt.epochs, attempt.learning_rate, attempt.weight_decay, attempt.label_smoothing
    settings = recipes.FINE_TUNED_SIDE, recipe.epochs, recipe.learning_rate, recipes.WEIGHT_DECAY, recipes.LABEL_SMOOTHING
    assert tried == settings and recipe.warm_up == 1 and attempt.equalised
    assert all(getattr(attempt, name) == network[name].default for name in ("pooling", "dropout", "drop_path", "weights"))
    assert not (attempt.mixup or attempt.ema or attempt.frozen or attempt.mixstyle)  # the recipe has none of these
