"""The networks: each registered once, with the recipe that trains it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

DEFAULT_RECIPE = "report"  # the recipe of a network that names no other
BASE_WIDTHS = (32, 64, 128, 128)
MORE_WIDTHS = (40, 80, 160, 160)
SOME_MORE_WIDTHS = (36, 72, 144, 144)
CHOSEN_WIDTHS = (25, 50, 100, 100)  # the network that the report settles on
STEM, STAGES = 32, (48, 96, 160, 192)  # filters of the residual network, whose weights so stay below 5 MB
REPORT_WIDTHS = (BASE_WIDTHS, MORE_WIDTHS, SOME_MORE_WIDTHS, CHOSEN_WIDTHS)


def build_cnn(widths=BASE_WIDTHS, input_shape=(150, 150, 3), class_count=4, pool_first=False):
    """The report's network, layer for layer.

    Args:
        widths: filters of the three convolutions, then units of the dense layer; four integers of at least 1.
        input_shape: height, width (both at least 22 pixels), channels. Pixels are expected in 0 to 255.
        class_count: number of classes, at least 2.
        pool_first: ReLU after max-pooling, not before. The largest of four numbers is cut off at zero either way, so that
            outputs and gradients are the same, to the bit, and ReLU has a quarter of the work.

    Returns:
        An uncompiled ``keras.Sequential``: ``(batch, *input_shape)`` to ``(batch, class_count)`` probabilities.

    Raises:
        ValueError: where `widths` is not four integers of at least 1.
    """
    from tumor_mri._keras import keras  # here, so that reading recorded runs needs no TensorFlow

    check_widths(widths)
    first, second, third, dense = widths

    def found(filters):
        if pool_first:
            return [keras.layers.Conv2D(filters, (3, 3)), keras.layers.MaxPooling2D((2, 2)), keras.layers.ReLU()]
        return [keras.layers.Conv2D(filters, (3, 3), activation="relu"), keras.layers.MaxPooling2D((2, 2))]

    return keras.Sequential(
        [
            keras.Input(input_shape),
            keras.layers.Rescaling(scale=1.0 / 127.5, offset=-1),
            *found(first),
            *found(second),
            keras.layers.Dropout(0.25),
            *found(third),
            keras.layers.Dropout(0.25),
            keras.layers.Flatten(),
            keras.layers.Dense(dense, activation="relu"),
            keras.layers.Dropout(0.5),
            # float32 under mixed precision too: a softmax in bfloat16 would round probabilities to two or three digits
            keras.layers.Dense(class_count, activation="softmax", dtype="float32"),
        ],
        name="cnn_" + "_".join(str(width) for width in widths),
    )


def build_residual(input_shape=(96, 96, 1), class_count=4, shortcuts=True, pooling=True):
    """The network that generalises better: a strided stem and four residual stages, the first three each at half the resolution.

    After He et al., Deep Residual Learning (2016, https://arxiv.org/abs/1512.03385), with shortcuts that average before they
    halve, after He et al., Bag of Tricks (2019, https://arxiv.org/abs/1812.01187), and the last normalisation of a stage
    starting at zero, so that each begins as its shortcut.

    Args:
        input_shape: height, width (both divisible by 16), channels. Pixels are expected in 0 to 255.
        class_count: number of classes, at least 2.
        shortcuts: past the convolutions of a stage; without them the same convolutions follow one another.
        pooling: mean and maximum over places before the last layer; else it sees every place by itself, as the report's does.

    Returns:
        An uncompiled ``keras.Model``: ``(batch, *input_shape)`` to ``(batch, class_count)`` probabilities.
    """
    from tumor_mri._keras import keras

    layers = keras.layers
    scans = keras.Input(input_shape)
    found = layers.Rescaling(scale=1.0 / 64, offset=-1.5)(scans)
    found = layers.ReLU()(_convolution(found, STEM, 5, strides=2))
    for number, filters in enumerate(STAGES, start=1):
        found = _stage(found, filters, shortcuts, strides=1 if number == len(STAGES) else 2)
    pools = [layers.GlobalAveragePooling2D(), layers.GlobalMaxPooling2D()]  # a tumour fills a few places
    found = layers.Concatenate(name="features")([pool(found) for pool in pools]) if pooling else layers.Flatten()(found)
    found = layers.Dropout(0.4)(found)
    return keras.Model(scans, layers.Dense(class_count, activation="softmax", dtype="float32")(found), name="residual")


def _stage(entering, filters, shortcuts, strides):
    """Two convolutions, the first strided, beside a shortcut."""
    from tumor_mri._keras import keras

    layers = keras.layers
    found = layers.ReLU()(_convolution(entering, filters, 3, strides=strides))
    found = _convolution(found, filters, 3, gamma_initializer="zeros" if shortcuts else "ones")
    if shortcuts:
        shortcut = layers.AveragePooling2D(strides)(entering) if strides > 1 else entering
        found = layers.Add()([found, _convolution(shortcut, filters, 1)])
    return layers.ReLU()(found)


def _convolution(entering, filters, size, strides=1, gamma_initializer="ones"):
    """A convolution, normalised over the batch."""
    from tumor_mri._keras import keras

    found = keras.layers.Conv2D(filters, size, strides=strides, padding="same", use_bias=False)(entering)
    return keras.layers.BatchNormalization(momentum=0.9, gamma_initializer=gamma_initializer)(found)


def check_widths(widths) -> None:
    """Make sure that widths are four integers of at least 1.

    Raises:
        ValueError: where they are not.
    """
    if len(widths) != 4 or any(int(width) != width or width < 1 for width in widths):
        raise ValueError(f"widths are four integers of at least 1 (three convolutions, one dense layer), got {widths!r}")


def label(widths) -> str:
    """Widths as the report writes them: ``32/64/128/128``."""
    return "/".join(str(width) for width in widths)


def parameter_count(widths, input_shape=(150, 150, 3), class_count=4) -> int:
    """Trainable parameters of `build_cnn`, counted without building it."""
    height, inputs = input_shape[0], input_shape[2]
    side, count = height, 0
    for filters in widths[:3]:
        count += (9 * inputs + 1) * filters
        side, inputs = (side - 2) // 2, filters
    dense = widths[3]
    return count + (side * side * inputs + 1) * dense + (dense + 1) * class_count


@dataclass(frozen=True)
class Network:
    """A kind of network. `register` one, and every run, record, score and figure knows it.

    Attributes:
        name: of runs and their records: letters, digits, ``_`` and ``.``.
        build: a function of a run's configuration (`runs.configs.RunConfig`), the input's shape (height, width, channels) and
            the number of classes, which returns an uncompiled Keras model of grey levels from 0 to 255 to probabilities.
        recipe: the name of the recipe that trains it unless another is asked for.
        settings: where it differs from the defaults of that recipe, such as ``{"learning_rate": 2e-3}``.
        ablations: parts that `build` can leave out, for the setting ``without``.
        has_widths: whether the setting ``widths`` says how many filters it has.
    """

    name: str
    build: Callable
    recipe: str = DEFAULT_RECIPE
    settings: Mapping[str, object] = field(default_factory=dict, hash=False)
    ablations: tuple[str, ...] = ()
    has_widths: bool = False

    def __post_init__(self):
        check_name(self.name)


NETWORKS: dict[str, Network] = {}


def check_name(name: str) -> None:
    """Make sure that a network can have a name.

    Raises:
        ValueError: if it holds anything but letters, digits, ``_`` and ``.``.
    """
    if not re.fullmatch(r"[A-Za-z0-9_.]+", name):
        raise ValueError(f"the name of a network is made of letters, digits, _ and ., got {name!r}")


def register(network: Network) -> Network:
    """Make a network known by its name.

    Raises:
        ValueError: if another one has the name.
    """
    if NETWORKS.setdefault(network.name, network) != network:
        raise ValueError(f"there is another network called {network.name!r}")
    return network


def get(name: str) -> Network:
    """The network of a name.

    Raises:
        ValueError: naming those that are registered.
    """
    if name not in NETWORKS:
        raise ValueError(f"unknown network {name!r}: registered are {', '.join(NETWORKS)}")
    return NETWORKS[name]


CNN = register(
    Network(
        "cnn",
        lambda config, shape, classes: build_cnn(config.widths, shape, classes, pool_first=True),
        has_widths=True,
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
