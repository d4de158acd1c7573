"""The two recipes: their ingredients, and how the weights move."""

from dataclasses import replace

import pytest
import samples

from tumor_mri.models import fingerprint, recipes


def test_the_learning_rate_warms_up_then_falls():
    schedule = recipes.optimizer(samples.OURS, steps=10)._learning_rate
    rates = [float(schedule(step)) for step in (0, 10 * recipes.WARM_UP, 10 * samples.OURS.epochs // 2, 10 * samples.OURS.epochs)]
    assert rates[0] < rates[2] < rates[1] == pytest.approx(samples.OURS.learning_rate) and rates[3] < 1e-6
    assert type(recipes.optimizer(replace(samples.OURS, without="schedule"), steps=10)).__name__ == "Adam"


@pytest.mark.parametrize("without", recipes.INGREDIENTS)
def test_each_ingredient_can_be_left_out_and_no_other_goes_with_it(without, monkeypatch):
    """What a run is made of, with and without an ingredient, differs in one place."""
    monkeypatch.setattr(recipes.preprocessing, "load_prepared", lambda manifest, **kept: kept)

    def made_of(config):
        asked = recipes.load_images(config, None)
        layers = fingerprint.describe(recipes.build(config, (32, 32)))
        return {**asked, "families": recipes.families(config), "layers": layers, "optimizer": type(recipes.optimizer(config, 9))}

    whole, less = made_of(samples.OURS), made_of(replace(samples.OURS, without=without))
    assert len([name for name in whole if whole[name] != less[name]]) == 1
