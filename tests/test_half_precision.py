"""Weights in half the bytes: the same function, the same numbers again when they are read."""

import numpy as np
import pytest

from tumor_mri._keras import keras
from tumor_mri.models import efficientnet, half_precision, networks, onnx_file

SHAPE = (64, 64, 1)
BUILDERS = {
    "residual": lambda: networks.build_residual(SHAPE),
    "efficientnet": lambda: efficientnet.build_efficientnet(SHAPE, weights=None),
}


@pytest.fixture(params=BUILDERS)
def build(request):
    return BUILDERS[request.param]


@pytest.fixture
def scans():
    return np.random.default_rng(0).integers(0, 256, (6, *SHAPE)).astype(np.float32)


def trained_a_little(build, scans):
    """A network whose normalisations have statistics and scales of their own, one of them negative and one of them zero."""
    model = build()
    generator = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            gamma = generator.uniform(0.5, 1.5, gamma.shape)
            gamma[0], gamma[1] = -gamma[0], 0
            layer.set_weights([gamma, generator.normal(0, 0.1, beta.shape), mean, variance])
    for _ in range(30):
        model(scans, training=True)  # moves the means and variances
    return model


def test_rounding_keeps_the_function_and_leaves_kernels_of_float16(build, scans):
    model = trained_a_little(build, scans)
    before = model.predict(scans, verbose=0)
    half_precision.round_kernels(model)
    assert np.abs(model.predict(scans, verbose=0) - before).max() < 0.01
    for values in model.get_weights():
        if values.ndim > 1:
            assert np.array_equal(values, values.astype(np.float16).astype(np.float32))
    scales = [
        np.asarray(layer.gamma) / np.sqrt(np.asarray(layer.moving_variance) + layer.epsilon)
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert all(np.allclose(scale, 1, atol=1e-5) for scale in scales)


def test_the_normalisation_keeps_its_function_in_training(scans):
    """Where the moving statistics are those of the batch, a step in training gives what inference gives."""
    entering = keras.Input(SHAPE)
    found = keras.layers.Conv2D(4, 3, use_bias=False)(entering)
    model = keras.Model(entering, keras.layers.BatchNormalization(momentum=0.0)(found))
    model.layers[-1].set_weights([np.array([-2.0, 0.5, 1, 3]), np.arange(4.0), np.zeros(4), np.ones(4)])
    model(scans, training=True)
    before = np.asarray(model(scans, training=True))
    half_precision.round_kernels(model)
    assert np.abs(np.asarray(model(scans, training=False)) - before).max() < 0.02  # before statistics move
    assert np.abs(np.asarray(model(scans, training=True)) - before).max() < 0.02


def test_weights_are_read_as_they_were_written_in_half_the_bytes(build, scans, tmp_path):
    model = trained_a_little(build, scans)
    half_precision.round_kernels(model)
    half_precision.write(model, tmp_path / "weights.npz")
    other = build()
    half_precision.read(other, tmp_path / "weights.npz")
    assert all(map(np.array_equal, model.get_weights(), other.get_weights()))
    assert (tmp_path / "weights.npz").stat().st_size < 0.6 * sum(values.nbytes for values in model.get_weights())


def test_a_scale_stays_where_it_cannot_be_moved():
    """A convolution with an activation, one whose output is used twice, and a normalisation without a scale."""
    layers, entering = keras.layers, keras.Input((8, 8, 1))
    active = layers.Conv2D(2, 3, use_bias=False, activation="relu", name="active")(entering)
    twice = layers.Conv2D(2, 3, use_bias=False, name="twice")(entering)
    plain = layers.Conv2D(2, 3, use_bias=False, name="plain")(entering)
    found = [layers.BatchNormalization()(active), layers.BatchNormalization()(twice), twice]
    found.append(layers.BatchNormalization(scale=False)(plain))
    model = keras.Model(entering, layers.Concatenate()(found))
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization) and layer.scale:
            layer.gamma.assign([-2.0, 3.0])
    scans = np.random.default_rng(0).normal(size=(2, 8, 8, 1)).astype(np.float32)
    before = np.asarray(model(scans))
    half_precision.round_kernels(model)
    assert np.abs(np.asarray(model(scans)) - before).max() < 0.01


def test_kernels_that_were_not_rounded_are_not_rounded_without_a_word(tmp_path):
    with pytest.raises(ValueError, match="round_kernels"):
        half_precision.write(networks.build_residual(SHAPE), tmp_path / "weights.npz")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_a_damaged_file_is_one_kind_of_error(content, tmp_path):
    (tmp_path / "weights.npz").write_bytes(content)
    with pytest.raises(ValueError, match="weights.npz holds no weights"):
        half_precision.read(networks.build_residual(SHAPE), tmp_path / "weights.npz")


def test_weights_of_another_network_are_refused(tmp_path):
    model = networks.build_residual(SHAPE)
    half_precision.round_kernels(model)
    half_precision.write(model, tmp_path / "weights.npz")
    with pytest.raises(ValueError, match="weights of efficientnet_lite0"):
        half_precision.read(efficientnet.build_efficientnet(SHAPE, weights=None), tmp_path / "weights.npz")


def test_a_kernel_too_large_for_float16_is_refused_and_not_made_infinite():
    model = networks.build_residual(SHAPE)
    dense = model.layers[-1]
    dense.kernel.assign(np.full(dense.kernel.shape, 1e6, np.float32))
    with pytest.raises(OverflowError, match=f"the kernel of {dense.name} has values that float16 cannot hold"):
        half_precision.round_kernels(model)


def test_the_onnx_file_is_half_as_large_and_agrees_with_keras(build, scans, tmp_path):
    model = trained_a_little(build, scans)
    onnx_file.write(model, tmp_path / "whole.onnx")
    half_precision.round_kernels(model)
    onnx_file.write(model, tmp_path / "half.onnx")
    assert (tmp_path / "half.onnx").stat().st_size < 0.6 * (tmp_path / "whole.onnx").stat().st_size
    found = onnx_file.answer(onnx_file.open_session(tmp_path / "half.onnx"), scans)
    for ours, theirs in zip(found, onnx_file.with_outputs(model).predict(scans, verbose=0), strict=True):
        assert np.allclose(ours, theirs, rtol=1e-4, atol=1e-5)
