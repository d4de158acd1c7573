"""How a network is trained: what of a scan it is shown, and how its weights move. Each recipe is registered once.

``report``: the scan as it is, Adam at one learning rate, the epoch chosen by validation accuracy. ``prepared``: the scan
without what tells its source (see `preprocessing`), varied at random each time it is shown (data augmentation); AdamW, a
learning rate that warms up and then falls along a cosine (Loshchilov and Hutter, 2017 and 2019,
https://arxiv.org/abs/1608.03983, https://arxiv.org/abs/1711.05101), and label smoothing (Szegedy et al., 2016,
https://arxiv.org/abs/1512.00567). Its number of epochs is fixed, so no image chooses the epoch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tumor_mri.datasets import decoding
from tumor_mri.models import preprocessing

WARM_UP = 3  # epochs
WEIGHT_DECAY = 0.02
LABEL_SMOOTHING = 0.1


@dataclass(frozen=True)
class Recipe:
    """A way to train a network. `register` one, and every run, record, score and figure knows it.

    Attributes:
        name: of runs and their records: letters, digits and ``_``.
        shown: what a network is shown, for the label of one that is usually trained by another recipe.
        load: a function of a manifest and the ingredient left out, which gives all scans, uint8, (rows, height, width).
        view: a function of one scan (grey, uint8, of any size) and the ingredient left out, which gives it as `load` would.
        channels: of the network's input, 1 or 3; three are the same grey three times.
        optimizer: a function of a run's configuration and its steps per epoch.
        loss: a function of a run's configuration; labels are one-hot.
        families: of random variation, names out of `preprocessing.FAMILIES`, in the order in which they are applied.
        ablations: ingredients that can be left out, for the setting ``without``.
        mirrored: whether it trains on mirrored scans; then a run also records its predictions for them.
        epochs, patience, batch_size, learning_rate, precision: what a run has unless asked otherwise, see `runs.configs`.
    """

    name: str
    shown: str
    load: Callable
    view: Callable
    channels: int
    optimizer: Callable
    loss: Callable
    families: tuple[str, ...] = ()
    ablations: tuple[str, ...] = ()
    mirrored: bool = False
    epochs: int = 60
    patience: int | None = 10
    batch_size: int = 32
    learning_rate: float = 1e-3
    precision: str = "mixed_bfloat16"

    def families_of(self, config) -> tuple[str, ...]:
        """The families of random variation that a run uses: all but the one left out."""
        return tuple(name for name in self.families if name != config.without)


RECIPES: dict[str, Recipe] = {}


def register(recipe: Recipe) -> Recipe:
    """Make a recipe known by its name.

    Raises:
        ValueError: if another one has the name.
    """
    if RECIPES.setdefault(recipe.name, recipe) != recipe:
        raise ValueError(f"there is another recipe called {recipe.name!r}")
    return recipe


def get(name: str) -> Recipe:
    """The recipe of a name.

    Raises:
        ValueError: naming those that are registered.
    """
    if name not in RECIPES:
        raise ValueError(f"unknown recipe {name!r}: choose one of {', '.join(RECIPES)}")
    return RECIPES[name]


def _resized(scan, without):
    """A scan squeezed into 150 x 150 pixels, as Keras' loader does."""
    from tumor_mri._keras import keras

    resized = keras.ops.image.resize(scan[..., None].astype(np.float32), decoding.IMAGE_SIZE)
    return np.rint(keras.ops.convert_to_numpy(resized)[..., 0]).astype(np.uint8)


def _adam(config, steps):
    from tumor_mri._keras import keras

    return keras.optimizers.Adam(config.learning_rate)


def _adamw_with_cosine(config, steps):
    """AdamW, its learning rate warmed up and then along a cosine; without ``schedule``, the report's Adam."""
    from tumor_mri._keras import keras

    if config.without == "schedule":
        return _adam(config, steps)
    warm_up = min(WARM_UP, config.epochs // 2)
    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.05 * config.learning_rate,
        decay_steps=(config.epochs - warm_up) * steps,
        warmup_target=config.learning_rate,
        warmup_steps=warm_up * steps,
    )
    return keras.optimizers.AdamW(rate, weight_decay=WEIGHT_DECAY)


def _cross_entropy(label_smoothing):
    def loss(config):
        from tumor_mri._keras import keras

        return keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing)

    return loss


REPORT = register(
    Recipe(
        "report",
        "whole scans",
        load=lambda manifest, without: decoding.load_images(manifest),
        view=_resized,
        channels=3,
        optimizer=_adam,
        loss=_cross_entropy(0.0),
    )
)
PREPARED = register(
    Recipe(
        "prepared",
        "prepared scans",
        load=lambda manifest, without: preprocessing.load_prepared(
            manifest, crop=without != "crop", equalised=without != "equalisation"
        ),
        view=lambda scan, without: preprocessing.prepare(scan, crop=without != "crop", equalised=without != "equalisation"),
        channels=1,
        optimizer=_adamw_with_cosine,
        loss=_cross_entropy(LABEL_SMOOTHING),
        families=tuple(preprocessing.FAMILIES),
        ablations=("crop", "equalisation", *preprocessing.FAMILIES, "schedule"),
        mirrored=True,
        patience=None,
    )
)
