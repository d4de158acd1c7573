"""Recipes: how a network is trained, from the images and their augmentation to the optimizer. Each is registered once.

``report``: whole scans, Adam with a constant learning rate, and the epoch with the best validation accuracy (early stopping).

``prepared``: prepared scans (see `preprocessing`) with data augmentation; AdamW; a learning rate with warm-up and cosine decay
(Loshchilov and Hutter, 2017 and 2019, https://arxiv.org/abs/1608.03983, https://arxiv.org/abs/1711.05101); and label smoothing
(Szegedy et al., 2016, https://arxiv.org/abs/1512.00567). The number of epochs is fixed, so no image is used to choose the epoch.

``fine_tuned``: the same for a pretrained network, with fewer epochs, a lower learning rate, larger scans and changes of style
(see `styles`). ``data/tries_pretrained.csv`` holds what was tried, and the rule by which it was chosen.

``public``: a pretrained network as public notebooks on this dataset fine-tune it, following the one that others cite as their
model (https://www.kaggle.com/code/jaykumar1607/brain-tumor-mri-classification-tensorflow-cnn): whole scans of 150 x 150 pixels,
Adam, 12 epochs, no data augmentation. There, the learning rate is reduced when the accuracy on some images stops rising; here it
follows cosine decay, so no image is used to choose anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tumor_mri import registry
from tumor_mri.datasets import decoding
from tumor_mri.models import preprocessing, styles

if TYPE_CHECKING:
    import keras
    import pandas as pd

FINE_TUNED_SIDE = 192  # pixels of a prepared scan
WEIGHT_DECAY = 0.02
LABEL_SMOOTHING = 0.1


@dataclass(frozen=True)
class Recipe:
    """A way to train a network. After `register`, every run, record, score and figure can use it.

    Attributes:
        name: used in the names of runs and records: letters, digits and ``_``.
        shown: the images it uses, in words; part of the label of a network whose default recipe is another one.
        load: a function of a manifest and the ingredient left out; it returns all scans, uint8, (rows, height, width).
        view: a function of one scan (grey, uint8, any size) and the ingredient left out; it returns the scan as `load` does.
        channels: input channels of the network, 1 or 3; with 3, the grey channel is repeated.
        optimizer: a function of a run's configuration and its steps per epoch.
        loss: a function of a run's configuration; labels are one-hot.
        families: data augmentation: names from `preprocessing.FAMILIES`, in the order in which they are applied.
        styles: changes of style before it: names from `styles.STYLES`; ``styles`` is the ingredient that leaves them out.
        style_share: of the scans that each style changes, 0 to 1.
        ablations: ingredients that can be left out, for the setting ``without``.
        warm_up: epochs in which the learning rate rises; at most half of a run.
        mirrored: whether training includes mirrored scans; a run then also records its predictions for mirrored images.
        epochs, patience, batch_size, learning_rate: default settings of a run, see `runs.configs`. The names of records depend
            on them: do not change them once a run is recorded.
    """

    name: str
    shown: str
    load: Callable[[pd.DataFrame, str], np.ndarray]
    view: Callable[[np.ndarray, str], np.ndarray]
    channels: int
    optimizer: Callable[..., keras.optimizers.Optimizer]
    loss: Callable[..., keras.losses.Loss]
    families: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    style_share: float = 0.0
    ablations: tuple[str, ...] = ()
    mirrored: bool = False
    warm_up: int = 0
    epochs: int = 60
    patience: int | None = 10
    batch_size: int = 32
    learning_rate: float = 1e-3

    def families_of(self, config: Any) -> tuple[str, ...]:
        """The families of data augmentation that a run uses: all except the one left out by its `runs.configs.RunConfig`."""
        return tuple(name for name in self.families if name != config.without)

    def styles_of(self, config: Any) -> tuple[str, ...]:
        """The changes of style that a run uses: all or, if it is without ``styles``, none."""
        return () if config.without == "styles" else self.styles


RECIPES: dict[str, Recipe] = {}


def register(recipe: Recipe) -> Recipe:
    """Add a recipe to the registry, and return it.

    Raises:
        ValueError: if a different recipe has the same name, or the same words in labels.
    """
    if any(other.shown == recipe.shown and other.name != recipe.name for other in RECIPES.values()):
        raise ValueError(f"another recipe has the label {recipe.shown!r}: choose other words for what this one shows")
    return registry.add(RECIPES, "recipe", recipe)


def get(name: str) -> Recipe:
    """The registered recipe with this name.

    Raises:
        ValueError: if there is none; the message lists the registered recipes.

    Example:
        >>> get("prepared").families
        ('geometry', 'intensity', 'degradation')
    """
    return registry.named(RECIPES, "recipe", name)


def _resized(scan, without):
    """A scan resized to 150 x 150 pixels in the same way as by the Keras loader; its proportions are not kept."""
    from tumor_mri._keras import keras

    resized = keras.ops.image.resize(scan[..., None].astype(np.float32), decoding.IMAGE_SIZE)
    return np.rint(keras.ops.convert_to_numpy(resized)[..., 0]).astype(np.uint8)


def _adam(config, steps):
    from tumor_mri._keras import keras

    return keras.optimizers.Adam(config.learning_rate)


def _adamw_with_cosine(config, steps):
    """AdamW with warm-up and cosine decay of the learning rate; if ``schedule`` is left out, the report's Adam."""
    from tumor_mri._keras import keras

    if config.without == "schedule":
        return _adam(config, steps)
    warm_up = min(get(config.recipe).warm_up, config.epochs // 2)
    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.05 * config.learning_rate,
        decay_steps=(config.epochs - warm_up) * steps,
        warmup_target=config.learning_rate,
        warmup_steps=warm_up * steps,
    )
    return keras.optimizers.AdamW(rate, weight_decay=WEIGHT_DECAY)


def _adam_with_cosine(config, steps):
    """Adam with cosine decay of the learning rate."""
    from tumor_mri._keras import keras

    return keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(config.learning_rate, config.epochs * steps))


def _cross_entropy(label_smoothing):
    def loss(config):
        from tumor_mri._keras import keras

        return keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing)

    return loss


# how a recipe shows scans: its functions ``load`` and ``view``
_WHOLE = {"load": lambda manifest, without: decoding.load_images(manifest), "view": _resized}


def _prepared(side):
    """As `_WHOLE`, for prepared scans of `side` pixels."""

    def how(without):
        return {"crop": without != "crop", "equalised": without != "equalisation", "side": side}

    return {
        "load": lambda manifest, without: preprocessing.load_prepared(manifest, **how(without)),
        "view": lambda scan, without: preprocessing.prepare(scan, **how(without)),
    }


REPORT = register(
    Recipe(
        "report",
        "whole scans",
        **_WHOLE,
        channels=3,
        optimizer=_adam,
        loss=_cross_entropy(0.0),
    )
)
PREPARED = register(
    Recipe(
        "prepared",
        "prepared scans",
        **_prepared(preprocessing.SIDE),
        channels=1,
        optimizer=_adamw_with_cosine,
        warm_up=3,
        loss=_cross_entropy(LABEL_SMOOTHING),
        families=tuple(preprocessing.FAMILIES),
        ablations=("crop", "equalisation", *preprocessing.FAMILIES, "schedule"),
        mirrored=True,
        patience=None,
    )
)
FINE_TUNED = register(
    Recipe(
        "fine_tuned",
        f"prepared scans of {FINE_TUNED_SIDE} pixels",
        **_prepared(FINE_TUNED_SIDE),
        channels=1,
        optimizer=_adamw_with_cosine,
        warm_up=1,
        loss=_cross_entropy(LABEL_SMOOTHING),
        families=tuple(preprocessing.FAMILIES),
        styles=tuple(styles.STYLES),
        style_share=0.3,
        ablations=("crop", "equalisation", *preprocessing.FAMILIES, "styles", "schedule"),
        mirrored=True,
        epochs=12,
        patience=None,
        learning_rate=5e-4,
    )
)
PUBLIC = register(
    Recipe(
        "public",
        "whole scans, public recipe",
        **_WHOLE,
        channels=1,
        optimizer=_adam_with_cosine,
        loss=_cross_entropy(0.0),
        epochs=12,
        patience=None,
    )
)
