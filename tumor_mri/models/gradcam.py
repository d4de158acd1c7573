"""Where a network looks: Grad-CAM, in a few lines, for any Keras network of scans that ends in a dense layer.

A heat map shows which positions in the feature maps of a layer raise the score of a class. It does not show that the network
reasons as a radiologist does. Heat on a tumour does not prove that the tumour decided the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import keras

SMALLEST = 6  # minimum side of the feature maps, in pixels; smaller maps give a heat map of a few blocks


def heat_maps(
    model: keras.Model,
    scans: np.ndarray,
    classes: Sequence[int] | np.ndarray,
    layer: str | None = None,
    batch_size: int = 32,
) -> np.ndarray:
    """Grad-CAM heat maps, one per scan, at the size of the scan.

    A heat map is a weighted sum of the feature maps of a convolutional layer. The weight of a feature map is the mean gradient of
    the class score, before softmax, with respect to that map. Negative values, which lower the score, are set to zero (Selvaraju
    et al., 2017, https://arxiv.org/abs/1610.02391).

    Args:
        model: a Keras model on the TensorFlow backend, with input (batch, height, width, 1 or 3) and a dense last layer.
        scans: grey, (scans, height, width), prepared as the model expects them.
        classes: the class to be explained, one index per scan.
        layer: name of the layer to use; None for the last one whose feature maps have a side of at least `SMALLEST`.
        batch_size: scans per batch.

    Returns:
        float32, (scans, height, width), each from 0 to 1; all zero if nothing raises the score.

    Raises:
        ValueError: if no layer has such feature maps, or if the backend is not TensorFlow.
    """
    import tensorflow as tf

    from tumor_mri._keras import keras

    if keras.backend.backend() != "tensorflow":
        raise ValueError(f"Grad-CAM here needs the TensorFlow backend, this is {keras.backend.backend()}")
    last = model.layers[-1]
    watched = keras.Model(model.inputs[0], [_layer(model, layer).output, last.input])
    heat = []
    for start in range(0, len(scans), batch_size):
        batch = np.asarray(scans[start : start + batch_size], dtype=np.float32)[..., None]
        with tf.GradientTape() as tape:
            maps, features = watched(np.repeat(batch, model.input_shape[-1], axis=-1), training=False)
            scores = tf.matmul(tf.cast(features, tf.float32), last.kernel) + last.bias
            score = tf.gather(scores, classes[start : start + batch_size], axis=1, batch_dims=1)
        gradients = tf.cast(tape.gradient(score, maps), tf.float32)
        weights = tf.reduce_mean(gradients, axis=(1, 2), keepdims=True)
        heat += list(tf.nn.relu(tf.reduce_sum(weights * tf.cast(maps, tf.float32), axis=-1)).numpy())
    return np.stack([_enlarge(one, scans.shape[1:]) for one in heat])


def _layer(model, name):
    """The layer with this name, or the last one whose feature maps are large enough."""
    if name is not None:
        return model.get_layer(name)
    for layer in reversed(model.layers):
        shape = layer.output.shape
        if len(shape) == 4 and min(shape[1:3]) >= SMALLEST:
            return layer
    raise ValueError(f"no layer of {model.name} gives maps of at least {SMALLEST} x {SMALLEST}")


def _enlarge(heat, size):
    """A heat map scaled to 0 to 1 and enlarged to (height, width) by bilinear interpolation."""
    height, width = size
    highest = heat.max()
    scaled = heat / highest if highest > 0 else heat
    return np.asarray(Image.fromarray(scaled.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR))
