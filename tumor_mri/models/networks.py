"""The networks. Each is registered once, with the recipe that trains it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tumor_mri import registry
from tumor_mri.models import efficientnet

if TYPE_CHECKING:
    import keras

DEFAULT_RECIPE = "report"  # of a network that does not name a recipe
BASE_WIDTHS = (32, 64, 128, 128)
MORE_WIDTHS = (40, 80, 160, 160)
SOME_MORE_WIDTHS = (36, 72, 144, 144)
CHOSEN_WIDTHS = (25, 50, 100, 100)  # the network that the report settles on
STEM, STAGES = 32, (48, 96, 160, 192)  # filters of the residual network: its weights take less than 5 MB
REPORT_WIDTHS = (BASE_WIDTHS, MORE_WIDTHS, SOME_MORE_WIDTHS, CHOSEN_WIDTHS)


def build_cnn(
    widths: Sequence[int] = BASE_WIDTHS,
    input_shape: tuple[int, int, int] = (150, 150, 3),
    class_count: int = 4,
    *,
    pool_first: bool = False,
) -> keras.Sequential:
    """The report's network, layer for layer.

    Args:
        widths: filters of the three convolutions, then units of the dense layer; four integers of at least 1.
        input_shape: height, width (both at least 22 pixels), channels. Pixels are expected in 0 to 255.
        class_count: number of classes, at least 2.
        pool_first: apply ReLU after max-pooling, not before. The two operations commute: outputs and gradients are identical to
            the bit, and ReLU handles a quarter of the values.

    Returns:
        An uncompiled model that maps ``(batch, *input_shape)`` to probabilities, ``(batch, class_count)``.

    Raises:
        ValueError: if `widths` is not four integers of at least 1.
    """
    from tumor_mri._keras import keras  # imported here: reading recorded runs must not need TensorFlow

    check_widths(widths)
    first, second, third, dense = widths

    def convolution(filters):
        if pool_first:
            return [keras.layers.Conv2D(filters, (3, 3)), keras.layers.MaxPooling2D((2, 2)), keras.layers.ReLU()]
        return [keras.layers.Conv2D(filters, (3, 3), activation="relu"), keras.layers.MaxPooling2D((2, 2))]

    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Rescaling(scale=1.0 / 127.5, offset=-1),
            *convolution(first),
            *convolution(second),
            keras.layers.Dropout(0.25),
            *convolution(third),
            keras.layers.Dropout(0.25),
            keras.layers.Flatten(),
            keras.layers.Dense(dense, activation="relu"),
            keras.layers.Dropout(0.5),
            # float32 even under mixed precision: a softmax in bfloat16 would round probabilities to two or three digits
            keras.layers.Dense(class_count, activation="softmax", dtype="float32"),
        ],
        name="cnn_" + "_".join(str(width) for width in widths),
    )


def on_one_channel(model: keras.Model) -> keras.Model:
    """The report's network for scans whose three channels are equal: it takes one of them, and gives the same answers.

    The sum of a kernel's three channels gives for one channel what the three give for three equal channels, and each of the three
    gets the gradient of the sum. A step takes about an eighth less time.

    Args:
        model: from `build_cnn`, for images of three channels.

    Returns:
        A model for images of one channel, with copies of the weights, in the same order and of the same shapes; it switches off
        the same values in dropout.

    Raises:
        ValueError: if the model does not begin with a rescaling and a convolution, or takes one channel already.
    """
    from tumor_mri._keras import copy_state, keras

    class SummedConv2D(keras.layers.Conv2D):
        def build(self, input_shape):
            super().build((*input_shape[:-1], 3))
            self.input_spec = keras.layers.InputSpec(min_ndim=4, axes={-1: 1})

        def convolution_op(self, inputs, kernel):
            return super().convolution_op(inputs, keras.ops.sum(kernel, axis=2, keepdims=True))

    rescaling, first = model.layers[:2]
    if (type(rescaling), type(first), model.input_shape[-1]) != (keras.layers.Rescaling, keras.layers.Conv2D, 3):
        raise ValueError(f"{model.name} does not begin with a rescaling and a convolution of three channels")
    kinds = {first: SummedConv2D}
    layers = [kinds.get(layer, type(layer)).from_config(layer.get_config()) for layer in model.layers]
    faster = keras.Sequential([keras.Input((*model.input_shape[1:3], 1)), *layers])
    copy_state(model, faster)
    return faster


def build_residual(
    input_shape: tuple[int, int, int] = (96, 96, 1), class_count: int = 4, *, shortcuts: bool = True, pooling: bool = True
) -> keras.Model:
    """The network that generalises better: a strided stem and four residual stages. The first three halve the resolution.

    The design follows He et al., Deep Residual Learning (2016, https://arxiv.org/abs/1512.03385). Two details come from
    He et al., Bag of Tricks (2019, https://arxiv.org/abs/1812.01187): shortcuts use average pooling to halve the resolution, and
    the last normalisation of a stage starts with a scale of zero, which makes the stage equal to its shortcut at first.

    Args:
        input_shape: height, width (both divisible by 16), channels. Pixels are expected in 0 to 255.
        class_count: number of classes, at least 2.
        shortcuts: add to each stage a shortcut past its convolutions; without them the stages are plain convolutions.
        pooling: take the mean and maximum over all positions before the last layer; otherwise flatten, as the report's network
            does.

    Returns:
        An uncompiled model that maps ``(batch, *input_shape)`` to probabilities, ``(batch, class_count)``.
    """
    from tumor_mri._keras import keras

    layers = keras.layers
    scans = keras.Input(input_shape)
    maps = layers.Rescaling(scale=1.0 / 64, offset=-1.5)(scans)
    maps = layers.ReLU()(_convolution(maps, STEM, 5, strides=2))
    for number, filters in enumerate(STAGES, start=1):
        maps = _stage(maps, filters, shortcuts, strides=1 if number == len(STAGES) else 2)
    pools = [layers.GlobalAveragePooling2D(), layers.GlobalMaxPooling2D()]  # the maximum, because a tumour fills few positions
    features = layers.Concatenate(name="features")([pool(maps) for pool in pools]) if pooling else layers.Flatten()(maps)
    features = layers.Dropout(0.4)(features)
    return keras.Model(scans, layers.Dense(class_count, activation="softmax", dtype="float32")(features), name="residual")


def _stage(inputs, filters, shortcuts, strides):
    """Two convolutions, the first strided, beside a shortcut."""
    from tumor_mri._keras import keras

    layers = keras.layers
    maps = layers.ReLU()(_convolution(inputs, filters, 3, strides=strides))
    maps = _convolution(maps, filters, 3, gamma_initializer="zeros" if shortcuts else "ones")
    if shortcuts:
        shortcut = layers.AveragePooling2D(strides)(inputs) if strides > 1 else inputs
        maps = layers.Add()([maps, _convolution(shortcut, filters, 1)])
    return layers.ReLU()(maps)


def _convolution(inputs, filters, size, strides=1, gamma_initializer="ones"):
    """A convolution with batch normalisation."""
    from tumor_mri._keras import keras

    maps = keras.layers.Conv2D(filters, size, strides=strides, padding="same", use_bias=False)(inputs)
    return keras.layers.BatchNormalization(momentum=0.9, gamma_initializer=gamma_initializer)(maps)


def check_widths(widths: Sequence[int]) -> None:
    """Make sure that widths are four integers of at least 1.

    Raises:
        ValueError: if they are not.
    """
    if len(widths) != 4 or any(int(width) != width or width < 1 for width in widths):
        raise ValueError(f"widths are four integers of at least 1 (three convolutions, one dense layer), got {widths!r}")


def label(widths: Sequence[int]) -> str:
    """Widths as the report writes them.

    Example:
        >>> label((32, 64, 128, 128))
        '32/64/128/128'
    """
    return "/".join(str(width) for width in widths)


def parameter_count(widths: Sequence[int], input_shape: tuple[int, int, int] = (150, 150, 3), class_count: int = 4) -> int:
    """The number of trainable parameters of `build_cnn`, calculated without building the network.

    Example:
        >>> parameter_count(BASE_WIDTHS)
        4828868
    """
    height, inputs = input_shape[0], input_shape[2]
    side, count = height, 0
    for filters in widths[:3]:
        count += (9 * inputs + 1) * filters
        side, inputs = (side - 2) // 2, filters
    dense = widths[3]
    return count + (side * side * inputs + 1) * dense + (dense + 1) * class_count


@dataclass(frozen=True)
class Network:
    """A kind of network. After `register`, every run, record, score and figure can use it.

    Attributes:
        name: used in the names of runs and records: letters, digits, ``_`` and ``.``.
        build: a function of a run's configuration (`runs.configs.RunConfig`), the input shape (height, width, channels) and the
            number of classes. It returns an uncompiled Keras model that maps grey levels from 0 to 255 to probabilities.
        recipe: the name of its default recipe.
        settings: the settings that differ from the defaults of that recipe, such as ``{"learning_rate": 2e-3}``.
        ablations: parts that `build` can leave out, for the setting ``without``.
        has_widths: whether the setting ``widths`` gives its numbers of filters.
        faster: a function of a network that `build` returned. It returns another model with the same weights, in the same order,
            whose training steps give the same numbers but for rounding and take less time. If None, the network itself trains.
    """

    name: str
    build: Callable
    recipe: str = DEFAULT_RECIPE
    settings: Mapping[str, object] = field(default_factory=dict, hash=False)
    ablations: tuple[str, ...] = ()
    has_widths: bool = False
    faster: Callable[[keras.Model], keras.Model] | None = None

    def __post_init__(self):
        check_name(self.name)


NETWORKS: dict[str, Network] = {}


def check_name(name: str) -> None:
    """Make sure that a network can have this name.

    Raises:
        ValueError: if it holds anything but letters, digits, ``_`` and ``.``.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.]+", name):
        raise ValueError(f"the name of a network is made of letters, digits, _ and ., got {name!r}")


def register(network: Network) -> Network:
    """Add a network to the registry, and return it.

    Raises:
        ValueError: if a different network has the same name.
    """
    return registry.add(NETWORKS, "network", network)


def get(name: str) -> Network:
    """The registered network with this name.

    Raises:
        ValueError: if there is none; the message lists the registered networks.

    Example:
        >>> get("residual").ablations
        ('shortcuts', 'pooling')
    """
    return registry.named(NETWORKS, "network", name)


CNN = register(
    Network(
        "cnn",
        lambda config, shape, classes: build_cnn(config.widths, shape, classes, pool_first=True),
        has_widths=True,
        faster=lambda model: on_one_channel(model) if model.input_shape[-1] == 3 else model,
    )
)
RESIDUAL = register(
    Network(
        "residual",
        lambda config, shape, classes: build_residual(
            shape, classes, shortcuts=config.without != "shortcuts", pooling=config.without != "pooling"
        ),
        recipe="prepared",
        settings={"learning_rate": 2e-3},
        ablations=("shortcuts", "pooling"),
    )
)
LITE0 = register(
    Network(
        "lite0",
        lambda config, shape, classes: efficientnet.build_efficientnet(
            shape, classes, weights=None if config.without == "pretraining" else "imagenet"
        ),
        recipe="fine_tuned",
        ablations=("pretraining",),
        faster=efficientnet.with_fused_normalisation,
    )
)
