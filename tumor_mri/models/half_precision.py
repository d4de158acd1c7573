"""Half the bytes for a trained network: its kernels are stored as float16, everything else as float32. It computes in float32.

An export to ONNX multiplies the kernel of a convolution by the scale of the normalisation that follows it. A kernel rounded
before that would no longer fit float16 exactly. So the scale is moved into the kernel first, and the result is rounded: Keras and
ONNX then compute with the same kernels.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tumor_mri import text

if TYPE_CHECKING:
    import keras


def round_kernels(model: keras.Model) -> None:
    """Round the kernels of a network to float16, in place, after the scales of normalisations were moved into them.

    A scale is moved if it follows a convolution without bias and activation whose output nothing else uses; others stay where
    they are. The normalisation keeps its function in training too, up to rounding and its epsilon: its mean and variance become
    those of the scaled kernel's output.

    Args:
        model: a functional model in float32.

    Raises:
        OverflowError: if a kernel has a value that float16 cannot hold: infinite, NaN or beyond 65504.
    """
    from tumor_mri._keras import keras

    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            producer = layer.input._keras_history.operation
            if _may_move(producer, layer):
                _move_scale(producer, layer)
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            rounded = _half(np.asarray(layer.kernel)).astype(np.float32)
            if not np.isfinite(rounded).all():
                raise OverflowError(
                    f"the kernel of {layer.name} has values that float16 cannot hold: infinite, NaN or beyond 65504"
                )
            layer.kernel.assign(rounded)


def _half(values):
    """Values as float16, infinite if they are too large for it."""
    with np.errstate(over="ignore"):
        return values.astype(np.float16)


def _may_move(producer, normalisation):
    """Whether a normalisation's scale can be moved into the layer before it, and nothing else would change."""
    from tumor_mri._keras import keras

    return (
        isinstance(producer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D))
        and not producer.use_bias
        and producer.activation is keras.activations.linear
        and len(producer._outbound_nodes) == 1
        and normalisation.scale
        and normalisation.center
    )


def _move_scale(convolution, normalisation):
    """Multiply the kernel of a convolution by the scale of the normalisation after it, which then has a scale of 1."""
    from tumor_mri._keras import keras

    gamma, beta, mean, variance = (values.astype(np.float64) for values in normalisation.get_weights())
    scale = gamma / np.sqrt(variance + normalisation.epsilon)
    kernel = np.asarray(convolution.kernel)
    along = scale.reshape(kernel.shape[2:]) if isinstance(convolution, keras.layers.DepthwiseConv2D) else scale
    convolution.kernel.assign((kernel * along).astype(np.float32))
    variance = variance * scale**2
    new = np.sqrt(variance + normalisation.epsilon), beta, mean * scale, variance
    normalisation.set_weights([values.astype(np.float32) for values in new])


def write(model: keras.Model, path: Path | str) -> None:
    """Write the weights of a network, in Keras' order: kernels as float16, vectors as float32. Nothing is pickled.

    Args:
        model: after `round_kernels`.
        path: ends in ``.npz``.

    Raises:
        ValueError: if a kernel does not fit float16 exactly.
    """
    arrays = {f"{number:03d}": _stored(values) for number, values in enumerate(model.get_weights())}
    with text.whole(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


def _stored(values):
    if values.ndim < 2:
        return values
    half = _half(values)
    if not np.array_equal(half, values):
        raise ValueError("the kernels do not fit float16 exactly: call round_kernels first")
    return half


def read(model: keras.Model, path: Path | str) -> None:
    """Give a network the weights of a file that `write` wrote.

    Raises:
        ValueError: if the file is damaged, or holds those of another network.
        OSError: if the file cannot be read.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = [stored[name] for name in sorted(stored.files)]
    except (ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{Path(path).name} holds no weights: {text.one_line(error)[:200]}") from error
    shapes = [tuple(weight.shape) for weight in model.weights]
    if [values.shape for values in arrays] != shapes:
        raise ValueError(f"{len(arrays)} arrays whose shapes are not those of the {len(shapes)} weights of {model.name}")
    model.set_weights([values.astype(np.float32) for values in arrays])
