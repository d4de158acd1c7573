"""The digest that tells networks apart."""

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
