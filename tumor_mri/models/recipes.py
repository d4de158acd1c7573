"""How a network is trained: what of a scan it is shown, and how its weights move. Two recipes, the report's and ours.

``report``: the scan as it is, Adam at one learning rate, the epoch chosen by validation accuracy. ``prepared``: the scan
without what tells its source (see `preprocessing`), varied anew each time it is shown; AdamW, a learning rate that warms up and
then falls along a cosine (Loshchilov and Hutter, 2017 and 2019, https://arxiv.org/abs/1608.03983,
https://arxiv.org/abs/1711.05101), and softened labels (Szegedy et al., 2016, https://arxiv.org/abs/1512.00567). Beside it a run
fixes its number of epochs (``patience=None``), so that no image chooses.
"""

from tumor_mri.datasets import decoding
from tumor_mri.models import networks, preprocessing

RECIPES = ("report", "prepared")
OF_OUR_NETWORK = ("residual", "pooling")  # ingredients that are the residual network's, the others the recipe's
INGREDIENTS = ("crop", "equalisation", *preprocessing.FAMILIES, "schedule", *OF_OUR_NETWORK)  # what `without` can name
RESIDUAL = {"network": "residual", "widths": (), "recipe": "prepared", "epochs": 60, "patience": None, "learning_rate": 2e-3}
LONGER = RESIDUAL | {"epochs": 120}  # tried when the other was published
WARM_UP = 3  # epochs
WEIGHT_DECAY = 0.02
LABEL_SMOOTHING = 0.1


def load_images(config, manifest):
    """The images that a run is shown, uint8: (rows, 150, 150), or prepared ones, (rows, 96, 96).

    Args:
        config: a `training.RunConfig`.
        manifest: table of the images.

    Raises:
        dataset.DatasetError: where there are no images.
    """
    if config.recipe == "report":
        return decoding.load_images(manifest)
    return preprocessing.load_prepared(manifest, crop=config.without != "crop", equalised=config.without != "equalisation")


def families(config) -> tuple:
    """The families of random variation that a run uses, out of `preprocessing.FAMILIES`; none in the report's recipe."""
    return tuple(name for name in preprocessing.FAMILIES if config.recipe == "prepared" and name != config.without)


def build(config, size, to_train=False):
    """The network of a run, uncompiled.

    Args:
        config: a `training.RunConfig` of the report's network or the residual one.
        size: height and width of its images in pixels.
        to_train: the report's network in its faster order, see ``pool_first`` of `network.build_cnn`.
    """
    if config.network == "residual":
        return networks.build_residual((*size, 1), residual=config.without != "residual", pooling=config.without != "pooling")
    return networks.build_cnn(config.widths, input_shape=(*size, 3 if config.recipe == "report" else 1), pool_first=to_train)


def load_trained(config, size, path):
    """The trained network of a run, in float32 whatever it trained in.

    Args:
        config, size: as `build` takes them.
        path: where `training.train` saved it.
    """
    from tumor_mri._keras import keras

    model = build(config, size)
    model.set_weights(keras.saving.load_model(path, compile=False, safe_mode=True).get_weights())
    return model


def optimizer(config, steps):
    """The optimizer of a run.

    Args:
        config: a `training.RunConfig`.
        steps: per epoch.
    """
    from tumor_mri._keras import keras

    if config.recipe == "report" or config.without == "schedule":
        return keras.optimizers.Adam(config.learning_rate)
    warm_up = min(WARM_UP, config.epochs // 2)
    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.05 * config.learning_rate,
        decay_steps=(config.epochs - warm_up) * steps,
        warmup_target=config.learning_rate,
        warmup_steps=warm_up * steps,
    )
    return keras.optimizers.AdamW(rate, weight_decay=WEIGHT_DECAY)


def loss(config):
    """The loss of a run, for one-hot labels."""
    from tumor_mri._keras import keras

    return keras.losses.CategoricalCrossentropy(label_smoothing=LABEL_SMOOTHING if config.recipe == "prepared" else 0.0)
