"""Grad-CAM on networks whose answer is known."""

import numpy as np
import pytest

from tumor_mri.models import gradcam, networks


@pytest.fixture(scope="module")
def bright_or_dark():
    """Class 0 is how much of a scan is bright, class 1 how much is dark, classes 2 and 3 are nothing at all."""
    from tumor_mri._keras import keras

    convolution, dense = keras.layers.Conv2D(2, 1), keras.layers.Dense(4, activation="softmax")
    layers = [keras.Input((32, 48, 1)), convolution, keras.layers.ReLU(), keras.layers.GlobalAveragePooling2D(), dense]
    model = keras.Sequential(layers)
    convolution.set_weights([np.array([1, -1], dtype=np.float32).reshape(1, 1, 1, 2) / 255, np.array([0, 1], dtype=np.float32)])
    weights = np.zeros((2, 4), dtype=np.float32)
    weights[0, 0] = weights[1, 1] = 1
    dense.set_weights([weights, np.zeros(4, dtype=np.float32)])
    return model


@pytest.fixture(scope="module")
def scan():
    found = np.zeros((32, 48), dtype=np.uint8)
    found[4:12, 30:40] = 255
    return found


def test_heat_lies_where_the_class_is(bright_or_dark, scan):
    bright, dark, nothing = gradcam.heat_maps(bright_or_dark, np.stack([scan] * 3), [0, 1, 2])
    assert np.array_equal(bright > 0.5, scan > 0)
    assert np.array_equal(dark > 0.5, scan == 0)
    assert nothing.max() == 0
    assert bright.shape == scan.shape and bright.dtype == np.float32 and bright.max() == 1


def test_batches_do_not_matter(bright_or_dark, scan):
    scans = np.stack([scan, scan.T[:32, :32].repeat(2, axis=1)[:, :48], 255 - scan])
    together, apart = (gradcam.heat_maps(bright_or_dark, scans, [0, 0, 1], batch_size=size) for size in (32, 1))
    assert np.allclose(together, apart)


def test_both_networks_can_be_looked_into():
    generator = np.random.default_rng(0)
    for model, side in ((networks.build_cnn((4, 4, 4, 4)), 150), (networks.build_residual(), 96)):
        scans = generator.integers(0, 256, (2, side, side), dtype=np.uint8)
        heat = gradcam.heat_maps(model, scans, [0, 3])
        assert heat.shape == scans.shape and np.isfinite(heat).all() and 0 <= heat.min() <= heat.max() <= 1
        assert min(gradcam._layer(model, None).output.shape[1:3]) >= gradcam.SMALLEST


def test_maps_that_are_too_small_are_named():
    from tumor_mri._keras import keras

    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(2, 1), keras.layers.Flatten(), keras.layers.Dense(4)])
    with pytest.raises(ValueError, match="maps of at least 6 x 6"):
        gradcam.heat_maps(model, np.zeros((1, 4, 4)), [0])
    assert gradcam.heat_maps(model, np.zeros((1, 4, 4)), [0], layer=model.layers[0].name).shape == (1, 4, 4)
