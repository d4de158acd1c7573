"""The fingerprint of a network (a digest of its graph and settings), and the precision that its layers compute in."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

VERSION = "2"  # prefix of the digest; digests of version 1 have no prefix
# layer settings included in a digest of version 1, besides the types of the layers and the shapes of their weights
SETTINGS_OF_VERSION_1 = ("activation", "factor", "mode", "offset", "padding", "pool_size", "rate", "scale", "size", "strides")
# settings that can differ between two equal networks
IGNORED = ("name", "dtype", "module", "registered_name", "build_config", "shared_object_id")
_MODULES = ("layers", "initializers", "regularizers", "constraints", "optimizers", "optimizers.schedules", "losses")


def describe(model: keras.Model) -> str:
    """A digest of a network: of its graph, and of every setting of every layer.

    It distinguishes two networks that have the same name. It is computed from the Keras configuration. Names, dtypes and settings
    with their default value are left out, because later versions of Keras add settings. If the network is compiled, the settings
    of the optimizer and of the loss are included. For custom layers and functions the source code is included.
    """
    told = {"network": _normalised_model(model)}
    if model.compiled:
        told |= {"optimizer": _normalised(model.optimizer), "loss": _normalised(model.loss)}
    return f"{VERSION}-{hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:16]}"


def is_of(model: keras.Model, digest: str) -> bool:
    """Whether a digest, of either version, is the digest of this network."""
    return digest == (describe(model) if digest.startswith(f"{VERSION}-") else describe_as_version_1(model))


def _normalised_model(model):
    """The layers in order, each with its settings, the shapes of its weights, and the positions of its input layers."""
    places = {layer.name: place for place, layer in enumerate(model.layers)}
    told = []
    for layer in model.layers:
        settings = _normalised_model(layer) if hasattr(layer, "layers") else _normalised(layer)
        fed_by = sorted({places.get(name, -1) for name in _input_layers(layer)})
        told.append([settings, [list(weight.shape) for weight in layer.weights], fed_by, layer.trainable])
    if type(model).__name__ not in ("Functional", "Sequential"):
        told.append(_source(type(model)))
    return told


def _input_layers(layer):
    """Names of the layers whose outputs are the inputs of a layer; an empty list if they are unknown."""
    nodes = [node for node in getattr(layer, "_inbound_nodes", []) if not node.is_input]
    return [tensor._keras_history.operation.name for node in nodes for tensor in node.input_tensors]


def _normalised(thing):
    """The Keras configuration of a layer, optimizer or loss, without the settings that can differ between two equal ones."""
    if thing is None or isinstance(thing, str):
        return thing
    if not hasattr(thing, "get_config"):
        return _source(thing)
    try:
        settings = thing.get_config()
    except NotImplementedError:  # a custom layer without `get_config`
        settings = {}
    told = {"class": type(thing).__name__, "settings": _without_defaults(settings, type(thing))}
    if not type(thing).__module__.startswith("keras."):
        told["source"] = _source(type(thing))
    for name in ("function", "arguments"):
        if callable(getattr(thing, name, None)):
            told[name] = _source(getattr(thing, name))
            told["settings"].pop(name, None)
    return told


def _without_defaults(settings, made_by):
    """The settings that differ from the defaults of their class; nested settings are treated in the same way."""
    try:
        defaults = {name: one.default for name, one in inspect.signature(made_by.__init__).parameters.items()}
    except (TypeError, ValueError):
        defaults = {}
    told = {}
    for name, value in settings.items():
        if name in IGNORED:
            continue
        value, default = _plain(value), _plain(defaults.get(name, inspect.Parameter.empty))
        if value is None or value == default or value == _object_named(default):
            continue
        told[name] = value
    return told


def _plain(value):
    """A setting as plain data. A serialised object becomes its class and the settings that differ from the defaults."""
    if isinstance(value, dict) and "class_name" in value:
        settings = value.get("config")
        made_by = _class_named(value["class_name"])
        inner = _without_defaults(settings, made_by) if isinstance(settings, dict) else settings
        return {"class": value["class_name"], "settings": inner}
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items() if name not in IGNORED}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value


def _object_named(default):
    """A default given by name, such as ``glorot_uniform``, as the object that Keras creates for it."""
    from tumor_mri._keras import keras

    if not isinstance(default, str):
        return default
    for module in (keras.initializers, keras.regularizers, keras.constraints):
        try:
            made = module.get(default)
        except ValueError:
            continue
        return {"class": type(made).__name__, "settings": _without_defaults(made.get_config(), type(made))}
    return default


def _class_named(name):
    """The Keras class with this name, or `object`, which has no defaults, if there is none."""
    from tumor_mri._keras import keras

    for path in _MODULES:
        module = keras
        for part in path.split("."):
            module = getattr(module, part)
        if inspect.isclass(getattr(module, name, None)):
            return getattr(module, name)
    return object


def _source(thing):
    """The source code of a custom function or class; of a function also its constants and names, as a line may hold two."""
    code = getattr(thing, "__code__", None)
    constants = [repr(value) for value in code.co_consts if not inspect.iscode(value)] if code else []
    told = [constants, list(code.co_names) if code else []]
    try:
        return [inspect.getsource(thing), *told]
    except (OSError, TypeError):
        return [code.co_code.hex(), *told] if code else repr(type(thing))


def describe_as_version_1(model: keras.Model) -> str:
    """The digest that version 1 recorded: the layers in order, the shapes of their weights, and `SETTINGS_OF_VERSION_1`."""
    lines = [_describe_layer(layer) for layer in _layers(model)]
    if model.compiled:
        loss = model.loss if isinstance(model.loss, str) else getattr(model.loss, "__name__", type(model.loss).__name__)
        lines.append(f"{type(model.optimizer).__name__} {float(model.optimizer.learning_rate):.6g} {loss}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _describe_layer(layer):
    try:
        settings = layer.get_config()
    except NotImplementedError:  # a custom layer without `get_config`
        settings = {}
    told = {name: settings[name] for name in SETTINGS_OF_VERSION_1 if name in settings}
    shapes = [tuple(weight.shape) for weight in layer.weights]
    return f"{type(layer).__name__} {shapes} {json.dumps(told, sort_keys=True, default=lambda value: type(value).__name__)}"


def _layers(model):
    """The layers of a network in order; a nested network is replaced by its layers."""
    for layer in model.layers:
        yield from _layers(layer) if hasattr(layer, "layers") else [layer]


def computes_in(model: keras.Model) -> list[str]:
    """The dtypes that the layers of a network compute in, such as ``["bfloat16", "float32"]``."""
    return sorted({layer.compute_dtype for layer in _layers(model)})


def is_precision(precision: str, computed: Iterable[str]) -> bool:
    """Whether the dtypes that a network computes in fit a precision: bfloat16 must occur in ``mixed_bfloat16``, and nowhere else.

    Example:
        >>> is_precision("mixed_bfloat16", ["bfloat16", "float32"])
        True
        >>> is_precision("float32", ["bfloat16", "float32"])
        False
    """
    return ("bfloat16" in computed) == (precision == "mixed_bfloat16")
