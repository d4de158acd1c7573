"""What tells two networks apart, and what numbers a network computes in."""

import hashlib
import json

# what tells two networks apart beside their layers and weights; not all settings, whose list differs between versions of Keras
TELLING = ("activation", "factor", "mode", "offset", "padding", "pool_size", "rate", "scale", "size", "strides")


def describe(model) -> str:
    """A short digest of a network, by which two of one name can be told apart, the same in every version of Keras.

    It covers the layers in their order, the shapes of their weights, the settings named in `TELLING`, and of a compiled network
    the optimizer, its learning rate and the loss.
    """
    lines = [_describe_layer(layer) for layer in _layers(model)]
    if model.compiled:
        loss = model.loss if isinstance(model.loss, str) else getattr(model.loss, "__name__", type(model.loss).__name__)
        lines.append(f"{type(model.optimizer).__name__} {float(model.optimizer.learning_rate):.6g} {loss}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _describe_layer(layer):
    try:
        settings = layer.get_config()
    except NotImplementedError:  # a layer of one's own that does not tell its settings
        settings = {}
    told = {name: settings[name] for name in TELLING if name in settings}
    shapes = [tuple(weight.shape) for weight in layer.weights]
    return f"{type(layer).__name__} {shapes} {json.dumps(told, sort_keys=True, default=lambda value: type(value).__name__)}"


def _layers(model):
    """The layers of a network in their order, those of networks inside it one by one."""
    for layer in model.layers:
        yield from _layers(layer) if hasattr(layer, "layers") else [layer]


def computes_in(model) -> list:
    """The kinds of numbers that the layers of a network compute in, such as ``["bfloat16", "float32"]``."""
    return sorted({layer.compute_dtype for layer in _layers(model)})


def is_precision(precision, computed) -> bool:
    """Whether a network that computes in some kinds of numbers is of a precision: bfloat16 in ``mixed_bfloat16`` alone."""
    return ("bfloat16" in computed) == (precision == "mixed_bfloat16")
