"""Half the bytes for a trained network: its kernels are stored as float16, everything else as float32. It computes in float32.

An export to ONNX multiplies the kernel of a convolution by the scale of the normalisation that follows it. A kernel that was
rounded before would no longer be one of float16. So the scale is moved into the kernel first, and the result is rounded: Keras
and ONNX then compute with the same kernels.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tumor_mri import text

if TYPE_CHECKING:
    import keras


def round_kernels(model: keras.Model) -> None:
    """Round the kernels of a network to float16, in place, after the scales of normalisations were moved into them.

    The normalisation keeps its function in training too: it is told the mean and the variance of what the new kernel gives.

    Args:
        model: a functional model in float32.

    Raises:
        OverflowError: if a kernel has a value that float16 cannot hold.
    """
    from tumor_mri._keras import keras

    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            producer = layer.input._keras_history.operation
            if isinstance(producer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D) and not producer.use_bias:
                _move_scale(producer, layer)
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            with np.errstate(over="ignore"):
                rounded = np.asarray(layer.kernel).astype(np.float16).astype(np.float32)
            if not np.isfinite(rounded).all():
                raise OverflowError(
                    f"the kernel of {layer.name} has values above {np.finfo(np.float16).max:.0f}, the most of float16"
                )
            layer.kernel.assign(rounded)


def _move_scale(convolution, normalisation):
    """Multiply the kernel of a convolution by the scale of the normalisation after it, which then has a scale of 1."""
    gamma, beta, mean, variance = (values.astype(np.float64) for values in normalisation.get_weights())
    scale = gamma / np.sqrt(variance + normalisation.epsilon)
    kernel = np.asarray(convolution.kernel)
    along = scale[:, None] if len(scale) != kernel.shape[-1] else scale  # a depthwise kernel ends in its multiplier, 1
    convolution.kernel.assign((kernel * along).astype(np.float32))
    variance = variance * scale**2
    new = np.sqrt(variance + normalisation.epsilon), beta, mean * scale, variance
    normalisation.set_weights([values.astype(np.float32) for values in new])


def write(model: keras.Model, path: Path | str) -> None:
    """Write the weights of a network, in Keras' order: kernels as float16, vectors as float32. Nothing is pickled.

    Args:
        model: after `round_kernels`.
        path: ends in ``.npz``.
    """
    arrays = {f"{number:03d}": _stored(values) for number, values in enumerate(model.get_weights())}
    with text.whole(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _stored(values):
    return values.astype(np.float16) if values.ndim > 1 else values


def read(model: keras.Model, path: Path | str) -> None:
    """Give a network the weights of a file that `write` wrote.

    Raises:
        ValueError: if they are those of another network.
        OSError: if the file cannot be read.
    """
    with np.load(path, allow_pickle=False) as stored:
        arrays = [stored[name] for name in sorted(stored.files)]
    shapes = [tuple(weight.shape) for weight in model.weights]
    if [values.shape for values in arrays] != shapes:
        raise ValueError(f"{len(arrays)} arrays whose shapes are not those of the {len(shapes)} weights of {model.name}")
    model.set_weights([values.astype(np.float32) for values in arrays])
