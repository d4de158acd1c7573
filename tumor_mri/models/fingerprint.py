"""What tells two networks apart, and what numbers a network computes in."""

import hashlib
import inspect
import json

VERSION = "2"  # of the digest; a record of version 1 has no version in front of it
# what version 1 told two networks apart by, beside their layers and weights
TELLING = ("activation", "factor", "mode", "offset", "padding", "pool_size", "rate", "scale", "size", "strides")
SPELLED_ANEW = ("name", "dtype", "module", "registered_name", "build_config", "shared_object_id")  # differ without a difference
_MODULES = ("layers", "initializers", "regularizers", "constraints", "optimizers", "optimizers.schedules", "losses")


def describe(model) -> str:
    """A digest of a network, by which two of one name can be told apart: its graph, and every setting of every layer.

    Taken from Keras' own configuration without names, types of numbers, and settings that have their default value, since later
    versions of Keras add settings; of a compiled network with those of the optimizer and the loss. Functions and layers of one's
    own count with their source code.
    """
    told = {"network": _normalised_model(model)}
    if model.compiled:
        told |= {"optimizer": _normalised(model.optimizer), "loss": _normalised(model.loss)}
    return f"{VERSION}-{hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:16]}"


def is_of(model, digest: str) -> bool:
    """Whether a digest is that of a network, whichever version made it."""
    return digest == (describe(model) if digest.startswith(f"{VERSION}-") else describe_as_version_1(model))


def _normalised_model(model):
    """Layers in their order, each with its settings, the shapes of its weights, and the places of the layers that feed it."""
    places = {layer.name: place for place, layer in enumerate(model.layers)}
    told = []
    for layer in model.layers:
        settings = _normalised_model(layer) if hasattr(layer, "layers") else _normalised(layer)
        fed_by = sorted({places.get(name, -1) for name in _feeders(layer, model)})
        told.append([settings, [list(weight.shape) for weight in layer.weights], fed_by, layer.trainable])
    if type(model).__name__ not in ("Functional", "Sequential"):
        told.append(_source(type(model)))
    return told


def _feeders(layer, model):
    """Names of the layers whose outputs a layer takes in a model, in the order of its arguments; none if nothing is known."""
    nodes = [node for node in getattr(layer, "_inbound_nodes", []) if not node.is_input]
    return [tensor._keras_history.operation.name for node in nodes for tensor in node.input_tensors]


def _normalised(thing):
    """What Keras says of a layer, optimizer or loss, without what differs between two that are the same."""
    if thing is None or isinstance(thing, str):
        return thing
    if not hasattr(thing, "get_config"):
        return _source(thing)
    try:
        settings = thing.get_config()
    except NotImplementedError:  # a layer of one's own that does not tell its settings
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
    """Settings that differ from the defaults of the class that they make, the same for those inside them."""
    try:
        defaults = {name: one.default for name, one in inspect.signature(made_by.__init__).parameters.items()}
    except (TypeError, ValueError):
        defaults = {}
    told = {}
    for name, value in settings.items():
        if name in SPELLED_ANEW:
            continue
        value, default = _plain(value), _plain(defaults.get(name, inspect.Parameter.empty))
        if value is None or value == default or value == _plain_named(default):
            continue
        told[name] = value
    return told


def _plain(value):
    """A setting as plain data: a serialised object as its class and what differs from its defaults."""
    if isinstance(value, dict) and "class_name" in value:
        settings = value.get("config")
        made_by = _class_named(value["class_name"])
        inner = _without_defaults(settings, made_by) if isinstance(settings, dict) else settings
        return {"class": value["class_name"], "settings": inner}
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items() if name not in SPELLED_ANEW}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value


def _plain_named(default):
    """A default that is a name, such as ``glorot_uniform``, as the object that Keras makes of it."""
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
    """The class of Keras that has a name, else `object`, which has no defaults."""
    from tumor_mri._keras import keras

    for path in _MODULES:
        module = keras
        for part in path.split("."):
            module = getattr(module, part)
        if inspect.isclass(getattr(module, name, None)):
            return getattr(module, name)
    return object


def _source(thing):
    """The source code of a function or class of one's own; its compiled code where there is no source."""
    try:
        return inspect.getsource(thing)
    except (OSError, TypeError):
        code = getattr(thing, "__code__", None)
        return [code.co_code.hex(), repr(code.co_consts), repr(code.co_names)] if code else repr(type(thing))


def describe_as_version_1(model) -> str:
    """The digest that version 1 recorded: layers in their order, shapes of weights, and the settings named in `TELLING`."""
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


def computes_in(model) -> list[str]:
    """The kinds of numbers that the layers of a network compute in, such as ``["bfloat16", "float32"]``."""
    return sorted({layer.compute_dtype for layer in _layers(model)})


def is_precision(precision: str, computed) -> bool:
    """Whether a network that computes in some kinds of numbers is of a precision: bfloat16 in ``mixed_bfloat16`` alone."""
    return ("bfloat16" in computed) == (precision == "mixed_bfloat16")
