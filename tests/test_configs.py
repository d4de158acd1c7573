"""What a run is asked for: keys, and settings that are refused."""

from dataclasses import replace

import pytest
import samples

from tumor_mri.models import networks
from tumor_mri.runs import configs


def test_a_key_names_what_was_asked_for():
    assert configs.RunConfig("grouped", fold=2, seed=3).key == "grouped-fold2-cnn-32-64-128-128-seed3"
    assert samples.TINY.key.endswith("seed1-epochs=2-train_images=64")


@pytest.mark.parametrize("without", networks.RESIDUAL.ablations)
def test_what_the_reports_network_has_not_cannot_be_left_out_of_it(without):
    with pytest.raises(ValueError, match=f"has an ingredient called '{without}'"):
        configs.RunConfig("grouped", recipe="prepared", without=without, patience=None)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"recipe": "mine"}, "choose one of report, prepared"),
        ({"without": "salt"}, "ingredient called 'salt': they have crop"),
        ({"recipe": "report", "without": "crop"}, "neither the recipe 'report' nor the network 'residual'"),
        ({"patience": 0}, "at least 1"),
        ({"widths": (1, 1, 1, 1)}, "takes no widths"),
    ],
)
def test_bad_recipes_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        replace(samples.OURS, **settings)
