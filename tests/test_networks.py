"""The two networks: layers, parameters, and how they start."""

import numpy as np
import pytest

from tumor_mri._keras import keras
from tumor_mri.models import networks
from tumor_mri.runs import training


def test_the_base_network_is_the_reports():
    model = networks.build_cnn()
    kinds = [type(layer).__name__ for layer in model.layers]
    conv, pool, drop = "Conv2D", "MaxPooling2D", "Dropout"
    assert kinds == ["Rescaling", conv, pool, conv, pool, drop, conv, pool, drop, "Flatten", "Dense", drop, "Dense"]
    assert model.count_params() == 4_828_868


@pytest.mark.parametrize("widths", networks.REPORT_WIDTHS)
def test_parameters_are_counted_without_building(widths):
    assert networks.parameter_count(widths) == networks.build_cnn(widths).count_params()


@pytest.mark.parametrize("widths", [(32, 64, 128), (0, 1, 1, 1), (1.5, 1, 1, 1)])
def test_bad_widths_are_named(widths):
    with pytest.raises(ValueError, match="four integers"):
        networks.build_cnn(widths)


def test_the_residual_network_keeps_below_two_million_parameters():
    whole = networks.build_residual()
    assert whole.output_shape == (None, 4) and whole.count_params() < 2_000_000
    plain, flat = networks.build_residual(shortcuts=False), networks.build_residual(pooling=False)
    assert not any(type(layer).__name__ == "Add" for layer in plain.layers)
    assert plain.count_params() < whole.count_params() < flat.count_params()


def test_a_residual_stage_begins_as_its_shortcut():
    """At the start the second normalisation of each stage gives zero: the network is its shortcuts, whatever the 3x3 kernels."""
    model = networks.build_residual((32, 32, 1))
    scans = np.random.default_rng(1).uniform(0, 255, (2, 32, 32, 1)).astype(np.float32)
    before = model.predict(scans, verbose=0)
    for layer in model.layers:
        if getattr(layer, "kernel_size", None) == (3, 3):
            layer.kernel.assign(layer.kernel * 0 + 1)
    assert np.array_equal(model.predict(scans, verbose=0), before)
    plain = networks.build_residual((32, 32, 1), shortcuts=False)
    before = plain.predict(scans, verbose=0)
    next(layer for layer in plain.layers if getattr(layer, "kernel_size", None) == (3, 3)).kernel.assign(
        np.ones((3, 3, networks.STEM, networks.STAGES[0]))
    )
    assert not np.array_equal(plain.predict(scans, verbose=0), before)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("mixed_bfloat16", 2e-2)])  # three digits
def test_the_reports_network_on_one_channel_is_the_same_network(precision, tolerance):
    """The same answers for three equal channels; after some steps with dropout, the same weights but for rounding."""
    whole = training.build_alone(lambda: networks.build_cnn((4, 4, 4, 8), (40, 40, 3), pool_first=True), precision, seed=1)
    keras.config.set_dtype_policy(precision)
    grey = networks.on_one_channel(whole)
    keras.config.set_dtype_policy("float32")
    scans = np.random.default_rng(0).integers(0, 256, (16, 40, 40, 1)).astype(np.float32)
    three, truth = scans.repeat(3, axis=-1), np.eye(4, dtype=np.float32)[np.arange(16) % 4]
    np.testing.assert_allclose(grey.predict(scans, verbose=0), whole.predict(three, verbose=0), atol=tolerance)
    before = whole.get_weights()
    for model, shown in ((whole, three), (grey, scans)):
        model.compile(keras.optimizers.SGD(0.05), "categorical_crossentropy")
        model.fit(shown, truth, epochs=3, batch_size=16, shuffle=False, verbose=0)
    for old, ours, theirs in zip(before, grey.get_weights(), whole.get_weights(), strict=True):
        assert np.abs(theirs - old).max() > 1e-4
        np.testing.assert_allclose(ours, theirs, atol=tolerance)


def test_only_a_network_of_three_channels_is_put_on_one():
    for model in (networks.build_cnn((4, 4, 4, 4), (40, 40, 1)), networks.build_residual((32, 32, 3))):
        with pytest.raises(ValueError, match="does not begin with a rescaling and a convolution of three channels"):
            networks.on_one_channel(model)
