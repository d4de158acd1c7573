"""A trained network as an ONNX file (https://onnx.ai): any ONNX runtime gives its answers, without Keras and without Python.

The file has one input, ``scans``, float32, (batch, height, width, channels), with grey levels from 0 to 255, and three outputs:
``features``, what the last layer is given; ``probabilities``, (batch, classes); and ``heat``, (batch, rows, columns, classes),
Grad-CAM of each class, not scaled.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tumor_mri import text

if TYPE_CHECKING:
    import keras
    import onnxruntime

OUTPUTS = ("features", "probabilities", "heat")
BATCH = 64  # scans at a time: the feature maps of a whole folder would not fit into memory
FLOAT32_ROUNDING = 1e-6  # relative; a few roundings of float32


def with_outputs(model: keras.Model) -> keras.Model:
    """The same network with the outputs features, probabilities and heat.

    Between the last feature maps and the scores of the classes lie only a mean, or a mean and a maximum, over all positions, and
    a dense layer. The gradient that Grad-CAM averages over positions is therefore the same for every scan: the weight of the
    mean plus that of the maximum, divided by the number of positions. So Grad-CAM is a convolution of 1 x 1.

    Args:
        model: ends with pooling, a layer named ``features``, and a dense layer.

    Raises:
        ValueError: if no feature maps are pooled, as in a network that flattens.
    """
    from tumor_mri._keras import keras

    features, dense = model.get_layer("features"), model.layers[-1]
    pools = [features] if not isinstance(features.input, list) else [_producer(model, tensor) for tensor in features.input]
    kinds = (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D)
    if not all(isinstance(pool, kinds) for pool in pools):
        raise ValueError(f"the features of {model.name} are not pooled over positions: there is no heat map of this kind")
    maps = pools[0].input
    rows, columns, channels = maps.shape[1:]
    kernel = dense.get_weights()[0].reshape(len(pools), channels, -1).sum(axis=0) / (rows * columns)
    heat = keras.layers.Conv2D(kernel.shape[1], 1, activation="relu", use_bias=False, name="heat")
    outputs = keras.Model(model.inputs[0], [features.output, model.outputs[0], heat(maps)])
    heat.set_weights([kernel[None, None]])
    return outputs


def _producer(model, tensor):
    """The layer whose output a tensor is."""
    return next(layer for layer in model.layers if layer.output is tensor)


def write(model: keras.Model, path: Path | str) -> None:
    """Export a network to ONNX. Kernels that float16 represents exactly are stored so; a session makes them float32 again.

    Args:
        model: as for `with_outputs`, in float32; after `half_precision.round_kernels` its file is half as large.
        path: ends in ``.onnx``.

    Raises:
        ImportError: if tf2onnx and onnx are not installed: ``pip install tumor-mri[publish]``.
    """
    import onnx

    whole = with_outputs(model)
    whole(np.zeros((1, *model.input_shape[1:]), dtype=np.float32))  # Keras exports only what was called
    with text.whole(path) as temporary:
        whole.export(temporary, format="onnx", verbose=False)
        onnx.save(_with_half_kernels(_with_names(onnx.load(temporary))), temporary)


def _with_names(exported):
    """The exported graph with the names of its input and outputs that the module's docstring promises."""
    graph = exported.graph
    names = dict(zip([one.name for one in graph.output], OUTPUTS, strict=True)) | {graph.input[0].name: "scans"}
    for one in [*graph.input, *graph.output]:
        one.name = names[one.name]
    for one in [*graph.input, *graph.output]:
        one.type.tensor_type.shape.dim[0].dim_param = "batch"
    for node in graph.node:
        for places in (node.input, node.output):
            places[:] = [names.get(name, name) for name in places]
    return exported


def _with_half_kernels(exported):
    """The exported graph with each kernel in float16, if that changes it by no more than `FLOAT32_ROUNDING`."""
    from onnx import TensorProto, helper, numpy_helper

    graph, casts = exported.graph, []
    for kernel in graph.initializer:
        values = numpy_helper.to_array(kernel)
        if values.dtype != np.float32 or values.ndim < 2:
            continue
        half = values.astype(np.float16)
        if (np.abs(half - values) > FLOAT32_ROUNDING * np.abs(values)).any():
            continue
        name = kernel.name
        kernel.CopyFrom(numpy_helper.from_array(half, f"{name}/float16"))
        casts.append(helper.make_node("Cast", [kernel.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return exported


def open_session(path: Path | str) -> onnxruntime.InferenceSession:
    """A network in ONNX, ready to answer on the processor.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is not a network of this kind.
    """
    import onnxruntime

    content = Path(path).read_bytes()
    try:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's errors have no common type
        raise ValueError(f"{path} is not a network in ONNX: {text.one_line(error)[:200]}") from None
    found = tuple(output.name for output in session.get_outputs())
    if found != OUTPUTS:
        raise ValueError(f"{path} has the outputs {', '.join(found)}, expected {', '.join(OUTPUTS)}")
    return session


def answer(session: onnxruntime.InferenceSession, scans: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, probabilities and heat of scans, (scans, height, width, channels); `BATCH` scans at a time."""
    starts = range(0, max(len(scans), 1), BATCH)
    parts = [session.run(list(OUTPUTS), {"scans": scans[start : start + BATCH].astype(np.float32)}) for start in starts]
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))
