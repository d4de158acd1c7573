"""The digest that tells networks apart."""

import pytest

from tumor_mri.models import fingerprint


def test_a_digest_tells_networks_apart_and_nothing_else():
    from tumor_mri._keras import keras

    def build(units=2, rate=0.5, activation="relu", compiled=None):
        dense = keras.layers.Dense(units, activation=activation)
        model = keras.Sequential([keras.Input((8,)), dense, keras.layers.Dropout(rate), keras.layers.Dense(4)])
        if compiled:
            model.compile(keras.optimizers.Adam(compiled), "categorical_crossentropy")
        return keras.Sequential([keras.Input((8,)), model]) if compiled is None else model

    others = [build(units=3), build(rate=0.25), build(activation="tanh"), build(compiled=1e-3), build(compiled=1e-4)]
    assert fingerprint.describe(build()) == fingerprint.describe(build())  # Keras names the second's layers otherwise
    assert len({fingerprint.describe(model) for model in [build(), *others]}) == 6


def small(*, dilation=1, l2=0.0, initialiser="glorot_uniform", wiring="straight", decay=0.01, momentum=0.99, trainable=True):
    """Networks that differ in one setting, or in nothing but how the same layers are joined."""
    from tumor_mri._keras import keras

    layers = keras.layers
    scans = keras.Input((16, 16, 1))
    regulariser = keras.regularizers.L2(l2) if l2 else None
    first = layers.Conv2D(4, 3, padding="same", dilation_rate=dilation, kernel_regularizer=regulariser)(scans)
    second = layers.Conv2D(4, 3, padding="same", kernel_initializer=initialiser)(first)
    third = layers.Conv2D(4, 3, padding="same")(second if wiring == "straight" else first)
    added = layers.Add()([third, first if wiring == "straight" else second])
    normalised = layers.BatchNormalization(momentum=momentum)(added)
    model = keras.Model(scans, layers.Dense(4, "softmax")(layers.Flatten()(normalised)))
    model.layers[1].trainable = trainable
    model.compile(keras.optimizers.AdamW(1e-3, weight_decay=decay), keras.losses.CategoricalCrossentropy())
    return model


OTHERS = [
    {"dilation": 2},
    {"l2": 0.01},
    {"initialiser": "he_normal"},
    {"wiring": "crossed"},
    {"decay": 0.02},
    {"momentum": 0.9},
    {"trainable": False},
]


@pytest.mark.parametrize("changed", OTHERS, ids=str)
def test_every_setting_and_the_graph_are_told(changed):
    assert fingerprint.describe(small()) == fingerprint.describe(small())
    assert fingerprint.describe(small(**changed)) != fingerprint.describe(small())


def test_a_default_that_is_spelled_out_makes_no_other_network():
    from tumor_mri._keras import keras

    spelled = small(initialiser=keras.initializers.GlorotUniform())
    assert fingerprint.describe(spelled) == fingerprint.describe(small())


def test_the_code_of_a_lambda_and_of_a_layer_of_ones_own_counts():
    from tumor_mri._keras import keras

    def with_layer(layer):
        return keras.Sequential([keras.Input((4,)), layer, keras.layers.Dense(2)])

    class Halved(keras.layers.Layer):
        def call(self, values):
            return values / 2

    class Doubled(keras.layers.Layer):
        def call(self, values):
            return values * 2

    Doubled.__name__ = "Halved"
    assert fingerprint.describe(with_layer(Halved())) != fingerprint.describe(with_layer(Doubled()))
    one, other = (keras.layers.Lambda(function) for function in (lambda values: values + 1, lambda values: values + 2))
    assert fingerprint.describe(with_layer(one)) != fingerprint.describe(with_layer(other))


def test_a_digest_of_version_1_is_still_known():
    model = small()
    assert fingerprint.is_of(model, fingerprint.describe(model))
    assert fingerprint.is_of(model, fingerprint.describe_as_version_1(model))
    assert not fingerprint.is_of(small(decay=0.02), fingerprint.describe(model))
