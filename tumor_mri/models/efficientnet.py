"""EfficientNet-Lite with the weights that it learnt on ImageNet: it knows edges, textures and shapes before its first scan.

After Tan and Le, EfficientNet (2019, https://arxiv.org/abs/1905.11946), in the variant for small devices (Liu, 2020,
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite): ReLU6 everywhere, no squeeze-and-excitation.
The weights are in ``data/pretrained``, whose README says where they come from. Nothing is downloaded.
"""

from __future__ import annotations

import functools
import hashlib
import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tumor_mri import text
from tumor_mri.datasets import manifests

if TYPE_CHECKING:
    import keras

FOLDER = manifests.DATA / "pretrained"  # committed
BACKBONE, CLASSIFIER = "efficientnet_lite0.npz", "efficientnet_lite0_classifier.npz"
SHA256 = {
    BACKBONE: "5be89d0fe5fd9678f651d425d769c2e768a4c79f717161ce5bf1734ffe687917",
    CLASSIFIER: "953ce3fee09a201da2eaa1e16c61a68db0ddd37f5dbeb1751d3d96568679300d",
}
PRETRAINED = "lite0"  # the variant whose weights are here
IMAGENET_CLASSES = 1000
STEM, HEAD = 32, 1280  # filters before and after the blocks, the same in each variant
STAGES = (  # repeats, side of the kernel, strides of the first block, expansion, filters
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
VARIANTS = {"lite0": (1.0, 1.0), "lite2": (1.1, 1.2)}  # times as many filters, times as many blocks
POOLINGS = ("mean", "mean and maximum")


class PretrainedError(text.ProjectError):
    """The pretrained weights cannot be used; the text says why and what to do."""


class Block(NamedTuple):
    """One inverted residual block: 1x1 expansion, depthwise convolution, 1x1 projection."""

    kernel: int  # side in pixels
    strides: int
    expansion: int  # filters of the depthwise convolution, for each filter that enters; 1 has no expansion
    entering: int  # filters
    filters: int  # that leave it

    @property
    def shortcut(self) -> bool:
        """Whether what enters is added to what leaves."""
        return self.strides == 1 and self.entering == self.filters


def build_efficientnet(
    input_shape: tuple[int, int, int] = (128, 128, 1),
    class_count: int = 4,
    variant: str = "lite0",
    weights: str | None = "imagenet",
    pooling: str = "mean",
    dropout: float = 0.3,
    drop_path: float = 0.1,
    imagenet_classifier: bool = False,
) -> keras.Model:
    """EfficientNet-Lite for scans, or for photographs with its own 1,000 classes.

    A grey scan would be shown to the pretrained network three times, once for each colour. The first convolution is linear, so
    the sum of its kernels over the colours gives the same numbers from one channel, and the input is a third as large.

    Args:
        input_shape: height and width of at least 32 pixels, channels (1 or 3). Pixels are expected in 0 to 255.
        class_count: number of classes, at least 2; of no account with `imagenet_classifier`.
        variant: a key of `VARIANTS`.
        weights: ``"imagenet"`` (`PRETRAINED` only), or None: random ones.
        pooling: one of `POOLINGS`: what the layer ``features`` keeps of all places; 1,280 numbers, or 2,560.
        dropout: share of the features that is left out at random in training.
        drop_path: share of the scans for which the last block is left out at random in training; it grows from zero at the
            first block. Stochastic depth: Huang et al., 2016, https://arxiv.org/abs/1603.09382.
        imagenet_classifier: the last layer is the one of ImageNet, with its weights.

    Returns:
        An uncompiled ``keras.Model``: ``(batch, *input_shape)`` to ``(batch, class_count)`` probabilities.

    Raises:
        ValueError: an argument is not one of those above.
        PretrainedError: the file with the weights is missing or damaged.
    """
    from tumor_mri._keras import keras  # here, so that reading recorded runs needs no TensorFlow

    _check_arguments(input_shape, variant, weights, pooling, imagenet_classifier)
    layers = keras.layers
    scans = keras.Input(input_shape)
    # (pixel - 127) / 128; whole numbers of grey stay exact in bfloat16 too
    found = layers.Rescaling(scale=1 / 128, offset=-127 / 128, name="rescaling")(scans)
    found = _convolution(found, STEM, 3, strides=2, name="stem")
    steps = blocks(variant)
    for number, block in enumerate(steps):
        found = _block(found, block, drop_path * number / len(steps), f"block{number}")
    found = _convolution(found, HEAD, 1, name="head")
    found = layers.Dropout(dropout, name="dropout")(_pool(found, pooling))
    # float32 under mixed precision too: a softmax in bfloat16 would round probabilities to two or three digits
    count, name = (IMAGENET_CLASSES, "imagenet_classifier") if imagenet_classifier else (class_count, "classifier")
    found = layers.Dense(count, activation="softmax", dtype="float32", name=name)(found)
    model = keras.Model(scans, found, name=f"efficientnet_{variant}")
    if weights == "imagenet":
        assign(model, load_weights(BACKBONE) | (load_weights(CLASSIFIER) if imagenet_classifier else {}))
    return model


def _check_arguments(input_shape, variant, weights, pooling, imagenet_classifier):
    if variant not in VARIANTS:
        raise ValueError(f"the variant is one of {', '.join(VARIANTS)}, got {variant!r}")
    if pooling not in POOLINGS:
        raise ValueError(f"pooling is one of {', '.join(POOLINGS)}, got {pooling!r}")
    if weights not in ("imagenet", None):
        raise ValueError(f"weights are 'imagenet' or None, got {weights!r}")
    if weights and variant != PRETRAINED:
        raise ValueError(f"there are pretrained weights of {PRETRAINED} only, not of {variant}: use weights=None")
    if imagenet_classifier and pooling != "mean":
        raise ValueError("the classifier of ImageNet needs pooling='mean'")
    if len(input_shape) != 3 or min(input_shape[:2]) < 32 or input_shape[2] not in (1, 3):
        raise ValueError(f"input_shape is height and width of at least 32 pixels and 1 or 3 channels, got {input_shape!r}")


def blocks(variant: str) -> list:
    """The blocks of a variant, first to last. The first and the last stage are not repeated more often.

    Args:
        variant: a key of `VARIANTS`.
    """
    width, depth = VARIANTS[variant]
    found, entering = [], STEM
    for number, (repeats, kernel, strides, expansion, filters) in enumerate(STAGES):
        filters = _multiple_of_8(width * filters)
        if 0 < number < len(STAGES) - 1:
            repeats = math.ceil(depth * repeats)
        for repeat in range(repeats):
            found.append(Block(kernel, 1 if repeat else strides, expansion, entering, filters))
            entering = filters
    return found


def _multiple_of_8(filters):
    """The nearest multiple of 8, or the next one if that is more than a tenth too few."""
    nearest = max(8, int(filters + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * filters else nearest


def _block(entering, block, drop_path, name):
    """An inverted residual block; ``drop_path`` is the share of scans that skip it in training."""
    from tumor_mri._keras import keras

    layers = keras.layers
    found = entering
    if block.expansion > 1:
        found = _convolution(found, block.expansion * block.entering, 1, name=f"{name}_expand")
    found = _convolution(found, None, block.kernel, strides=block.strides, name=f"{name}_depthwise")
    found = _convolution(found, block.filters, 1, activation=False, name=f"{name}_project")
    if not block.shortcut:
        return found
    if drop_path:
        found = layers.Dropout(drop_path, noise_shape=(None, 1, 1, 1), name=f"{name}_drop")(found)
    return layers.Add(name=f"{name}_add")([found, entering])


def _convolution(entering, filters, size, strides=1, activation=True, name=""):
    """A convolution without bias, normalised over the batch, then ReLU6 or nothing. Depthwise if ``filters`` is None."""
    from tumor_mri._keras import keras

    layers = keras.layers
    # "same" as TensorFlow pads: with strides 2 and an even size one pixel more on the right and below
    shape = {"strides": strides, "padding": "same", "use_bias": False, "name": f"{name}_conv"}
    convolution = layers.Conv2D(filters, size, **shape) if filters else layers.DepthwiseConv2D(size, **shape)
    found = layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=f"{name}_norm")(convolution(entering))
    return layers.ReLU(max_value=6, name=f"{name}_relu6")(found) if activation else found


def with_fused_normalisation(model: keras.Model) -> keras.Model:
    """The same network, normalised with TensorFlow's fused operation: a step on a processor takes three quarters of the time.

    The numbers are the same but for rounding. After training, copy the weights back, ``model.set_weights(faster.get_weights())``:
    the faster network has layers of its own and cannot be saved for others.

    Args:
        model: from `build_efficientnet`.

    Returns:
        A model with copies of the weights, in the same order. With another backend than TensorFlow it is the network itself.
    """
    from tumor_mri._keras import copy_state, keras

    if keras.backend.backend() != "tensorflow":
        return model

    def made(layer):
        kind = _fused_normalisation() if type(layer) is keras.layers.BatchNormalization else type(layer)
        return kind.from_config(layer.get_config())

    faster = keras.models.clone_model(model, clone_function=made)
    copy_state(model, faster)
    return faster


@functools.cache
def _fused_normalisation():
    """The class of a batch normalisation that is one operation in training, where Keras has a dozen."""
    import tensorflow as tf

    from tumor_mri._keras import keras

    class FusedNormalisation(keras.layers.BatchNormalization):
        def call(self, inputs, training=None, mask=None):
            if not (training and self.trainable):
                return super().call(inputs, training=training, mask=mask)
            scale, offset = tf.cast(self.gamma, "float32"), tf.cast(self.beta, "float32")
            found, mean, variance = tf.compat.v1.nn.fused_batch_norm(inputs, scale, offset, epsilon=self.epsilon)
            # TensorFlow divides by one less than the number of values, Keras by their number
            count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), "float32")
            self._move(self.moving_mean, mean)
            self._move(self.moving_variance, variance * (count - 1) / count)
            return found

        def _move(self, average, value):
            average.assign(average * self.momentum + value * (1 - self.momentum))

    return FusedNormalisation


def _pool(found, pooling):
    """What is kept of all places: the layer ``features``."""
    from tumor_mri._keras import keras

    layers = keras.layers
    if pooling == "mean":
        return layers.GlobalAveragePooling2D(name="features")(found)
    pools = [layers.GlobalAveragePooling2D(name="mean"), layers.GlobalMaxPooling2D(name="maximum")]  # a tumour fills a few places
    return layers.Concatenate(name="features")([pool(found) for pool in pools])


def load_weights(name: str, folder: Path | str = FOLDER) -> dict:
    """The arrays of a file of pretrained weights, after it was compared with its digest.

    Args:
        name: a key of `SHA256`.
        folder: where it is.

    Returns:
        ``layer/variable`` to a float16 kernel or a float32 vector.

    Raises:
        PretrainedError: the file is missing or damaged.
    """
    path = folder / name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PretrainedError(f"there are no pretrained weights in {path} ({error.strerror}): get the project again") from None
    if hashlib.sha256(content).hexdigest() != SHA256[name]:
        raise PretrainedError(f"the pretrained weights in {path} are damaged: get the project again")
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        return dict(stored)


def assign(model: keras.Model, arrays: dict[str, np.ndarray]) -> None:
    """Give a network its pretrained weights. A classifier of other classes keeps its random ones.

    Args:
        model: from `build_efficientnet`.
        arrays: ``layer/variable`` to array, as `load_weights` returns them.

    Raises:
        PretrainedError: an array is missing, left over, or has another shape.
    """
    arrays = dict(arrays)
    for layer in model.layers:
        for variable in layer.weights if layer.name != "classifier" else []:
            values = arrays.pop(f"{layer.name}/{variable.name}", None)
            if layer.name == "stem_conv" and values is not None and variable.shape[2] == 1:
                values = values.astype("float32").sum(axis=2, keepdims=True)  # a grey scan three times
            if values is None or values.shape != tuple(variable.shape):
                raise PretrainedError(f"the pretrained weights do not fit {layer.name}: they are those of another network")
            variable.assign(values.astype("float32"))
    if arrays:
        raise PretrainedError(f"the pretrained weights have layers that the network lacks, such as {min(arrays)}")
