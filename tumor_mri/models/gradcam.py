"""Where a network looks: Grad-CAM, in a few lines, for any Keras network of scans that ends in a dense layer.

A heat map says which places of a layer's maps raise the score of a class. It does not say that the network reasons as a
radiologist would, and heat on a tumour is no proof that the tumour decided.
"""

import numpy as np
from PIL import Image

SMALLEST = 6  # pixels: the side that the maps of the layer looked at have at least, else a heat map is a few blocks


def heat_maps(model, scans, classes, layer=None, batch_size=32) -> np.ndarray:
    """Heat maps of Grad-CAM, one a scan, at the size of the scan.

    The maps of a convolutional layer are added up, each weighted by the mean gradient of the class's score, before softmax, with
    respect to that map; what lowers the score is cut off (Selvaraju et al., 2017, https://arxiv.org/abs/1610.02391).

    Args:
        model: a Keras model of (batch, height, width, 1 or 3) whose last layer is dense; on the TensorFlow backend.
        scans: grey, (scans, height, width), as the model takes them.
        classes: the class to be explained, an index a scan.
        layer: name of the layer looked at; None for the last whose maps have a side of at least `SMALLEST`.
        batch_size: scans at a time.

    Returns:
        float32, (scans, height, width), each from 0 to 1; all zero where nothing raises the score.

    Raises:
        ValueError: where no layer has such maps, or the backend is another.
    """
    import tensorflow as tf

    from tumor_mri._keras import keras

    if keras.backend.backend() != "tensorflow":
        raise ValueError(f"Grad-CAM here needs the TensorFlow backend, this is {keras.backend.backend()}")
    last = model.layers[-1]
    watched = keras.Model(model.inputs[0], [_layer(model, layer).output, last.input])
    heat = []
    for start in range(0, len(scans), batch_size):
        some = np.asarray(scans[start : start + batch_size], dtype=np.float32)[..., None]
        with tf.GradientTape() as tape:
            maps, features = watched(np.repeat(some, model.input_shape[-1], axis=-1), training=False)
            scores = tf.matmul(tf.cast(features, tf.float32), last.kernel) + last.bias
            score = tf.gather(scores, classes[start : start + batch_size], axis=1, batch_dims=1)
        gradients = tf.cast(tape.gradient(score, maps), tf.float32)
        weights = tf.reduce_mean(gradients, axis=(1, 2), keepdims=True)
        heat += list(tf.nn.relu(tf.reduce_sum(weights * tf.cast(maps, tf.float32), axis=-1)).numpy())
    return np.stack([_enlarge(one, scans.shape[1:]) for one in heat])


def _layer(model, name):
    """The layer of a name, or the last whose output is maps that are not too small."""
    if name is not None:
        return model.get_layer(name)
    for layer in reversed(model.layers):
        shape = layer.output.shape
        if len(shape) == 4 and min(shape[1:3]) >= SMALLEST:
            return layer
    raise ValueError(f"no layer of {model.name} gives maps of at least {SMALLEST} x {SMALLEST}")


def _enlarge(heat, size):
    """A heat map from 0 to 1, smoothly enlarged to (height, width)."""
    height, width = size
    most = heat.max()
    scaled = heat / most if most > 0 else heat
    return np.asarray(Image.fromarray(scaled.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR))
