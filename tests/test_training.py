"""The networks and one run, on noise instead of scans."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from importlib.util import find_spec

import numpy as np
import pytest

from tumor_mri.evaluation import scoring
from tumor_mri.models import fingerprint, networks
from tumor_mri.runs import configs, records, training

CONFIG = configs.RunConfig("training_only", widths=(4, 4, 4, 4), epochs=2, train_images=64)


@pytest.fixture(scope="module")
def noise(manifest):
    return np.random.default_rng(0).integers(0, 256, (len(manifest), 150, 150), dtype=np.uint8)


@pytest.fixture(scope="module")
def run(noise, manifest):
    return training.train(CONFIG, noise, manifest, progress=False)


def test_the_base_network_is_the_reports():
    model = networks.build_cnn()
    kinds = [type(layer).__name__ for layer in model.layers]
    conv, pool, drop = "Conv2D", "MaxPooling2D", "Dropout"
    assert kinds == ["Rescaling", conv, pool, conv, pool, drop, conv, pool, drop, "Flatten", "Dense", drop, "Dense"]
    assert model.count_params() == 4_828_868


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_pooling_before_relu_changes_no_bit(precision):
    """The order in which `training.train` has them against the report's, weights copied across: outputs, gradients, dropout."""
    from tumor_mri._keras import keras

    generator = np.random.default_rng(0)
    scans = generator.integers(0, 256, (8, 40, 40, 3)).astype(np.float32)
    targets = np.eye(4, dtype=np.float32)[np.arange(8) % 4]
    start, trained = networks.build_cnn((8, 8, 8, 8), (40, 40, 3)).get_weights(), []
    for pool_first in (False, True):
        build = partial(networks.build_cnn, (8, 8, 8, 8), (40, 40, 3), pool_first=pool_first)
        model = training.build_alone(build, precision, seed=1)
        model.set_weights(start)
        before = model.predict(scans, verbose=0)
        model.compile(optimizer=keras.optimizers.SGD(0.1), loss="categorical_crossentropy")
        for _ in range(3):
            model.train_on_batch(scans, targets)
        trained.append([before, *model.get_weights()])
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds[1:4] == ["Conv2D", "MaxPooling2D", "ReLU"] and model.layers[1].activation is keras.activations.linear
    assert all(np.array_equal(one, other) for one, other in zip(*trained, strict=True))
    assert not np.array_equal(trained[0][1], start[0])  # something was learned


@pytest.mark.parametrize("widths", networks.REPORT_WIDTHS)
def test_parameters_are_counted_without_building(widths):
    assert networks.parameter_count(widths) == networks.build_cnn(widths).count_params()


@pytest.mark.parametrize("widths", [(32, 64, 128), (0, 1, 1, 1), (1.5, 1, 1, 1)])
def test_bad_widths_are_named(widths):
    with pytest.raises(ValueError, match="four integers"):
        networks.build_cnn(widths)


def test_same_seed_same_bits(run, noise, manifest):
    again = training.train(CONFIG, noise, manifest, progress=False)
    assert again.history["loss"] == run.history["loss"]
    assert np.array_equal(again.test_probabilities, run.test_probabilities)
    other = training.train(replace(CONFIG, seed=2), noise, manifest, progress=False)
    assert other.history["loss"] != run.history["loss"]


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "float32"])
def test_a_network_computes_in_the_precision_asked_for(noise, manifest, monkeypatch, precision):
    built, build = [], networks.build_cnn

    def watch(widths, **settings):
        built.append((keras.config.dtype_policy().name, build(widths, **settings)))
        return built[-1][1]

    from tumor_mri._keras import keras

    monkeypatch.setattr(networks, "build_cnn", watch)
    training.train(replace(CONFIG, epochs=1, precision=precision), noise, manifest, progress=False)
    (policy, model), computed = built[0], precision.removeprefix("mixed_")
    assert policy == precision
    assert [layer.compute_dtype for layer in model.layers if layer.weights] == [computed] * 4 + ["float32"]  # softmax stays exact
    assert keras.config.dtype_policy().name == "float32"  # nothing of it outlasts the run


def test_a_network_of_another_precision_than_asked_for_is_not_trained(noise, manifest):
    def build(dtype):
        from tumor_mri._keras import keras

        pooled = [keras.Input((150, 150, 1)), keras.layers.AveragePooling2D(30, dtype=dtype), keras.layers.Flatten(dtype=dtype)]
        return keras.Sequential([*pooled, keras.layers.Dense(4, "softmax", dtype=dtype)])

    config = replace(CONFIG, widths=(), network="mine")
    with pytest.raises(ValueError, match="computes in float32, and mixed_bfloat16 was asked for"):
        training.train(config, noise, manifest, progress=False, build=lambda: build("float32"))
    with pytest.raises(ValueError, match="float32 was asked for"):
        training.train(replace(config, precision="float32"), noise, manifest, progress=False, build=lambda: build("bfloat16"))


def test_a_record_of_another_precision_than_it_says_is_found(run, manifest):
    assert run.environment["computes_in"] == ["bfloat16", "float32"]
    lies = replace(run, environment=run.environment | {"computes_in": ["float32"]})
    with pytest.raises(scoring.EvaluationError, match="computed in float32, not in mixed_bfloat16"):
        scoring.check(lies, manifest)
    older = {name: value for name, value in run.environment.items() if name != "computes_in"}
    scoring.check(replace(run, environment=older), manifest)


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


def test_the_seed_makes_the_weights_whatever_was_built_before():
    def first_weight(seed):
        return training.build_alone(lambda: networks.build_cnn(CONFIG.widths), "float32", seed).get_weights()[0]

    once = first_weight(1)
    networks.build_cnn(CONFIG.widths)
    assert np.array_equal(first_weight(1), once)
    assert not np.array_equal(first_weight(2), once)


ON_JAX = """
import sys
import numpy as np
from tumor_mri.datasets import manifests
from tumor_mri.models import recipes
from tumor_mri.runs import configs, records, training
manifest = manifests.load_manifest()
for settings, side in [({"widths": (4, 4, 4, 4)}, 150), (recipes.RESIDUAL, 32)]:
    noise = np.random.default_rng(0).integers(0, 256, (len(manifest), side, side), dtype=np.uint8)
    config = configs.RunConfig("training_only", **settings | {"epochs": 2}, train_images=64)
    records.save(training.train(config, noise, manifest, progress=False), sys.argv[1])
"""


@pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed: python -m pip install jax")
def test_both_networks_train_on_jax_too(manifest, tmp_path):
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", ON_JAX, str(tmp_path)], env=environment, check=True, timeout=600)
    runs = records.load_all(tmp_path)
    assert {run.config.network for run in runs} == {"cnn", "residual"}
    for run in runs:
        assert run.environment["backend"] == "jax" and run.epochs_run == 2
        scoring.check(run, manifest)
        assert np.array_equal(run.val_probabilities.argmax(axis=1), run.val_classes[run.best_epoch - 1])


def test_the_best_epoch_comes_back(run):
    assert np.array_equal(run.val_probabilities.argmax(axis=1), run.val_classes[run.best_epoch - 1])


def test_a_run_passes_its_own_check(run, manifest):
    scoring.check(run, manifest)


def test_every_epoch_sees_each_image_once_in_a_new_order(noise, manifest):
    rows = np.arange(100, 170)
    batches = training._shuffled_batches(noise, np.zeros(len(noise), dtype=int), rows, CONFIG)
    first = batches.order
    batches.on_epoch_end()
    assert sorted(first) == sorted(batches.order) == list(rows)
    assert list(first) != list(batches.order)
    assert sum(len(batches[step][0]) for step in range(len(batches))) == len(rows)


def test_a_loss_that_is_no_number_is_reported(noise, manifest):
    with pytest.raises(FloatingPointError, match="epoch 1"):
        training.train(replace(CONFIG, learning_rate=float("nan"), epochs=2), noise, manifest, progress=False)


def test_a_key_names_what_was_asked_for():
    assert configs.RunConfig("grouped", fold=2, seed=3).key == "grouped-fold2-cnn-32-64-128-128-seed3"
    assert CONFIG.key.endswith("seed1-epochs=2-train_images=64")


def test_records_round_trip(run, tmp_path):
    path = records.save(run, tmp_path)
    back = records.load(path)
    assert (back.config, back.history, back.val_paths) == (run.config, run.history, run.val_paths)
    for name in records.ARRAYS:
        assert np.array_equal(getattr(back, name), getattr(run, name))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_records_are_not_overwritten_unless_asked(run, tmp_path):
    records.save(run, tmp_path)
    with pytest.raises(FileExistsError):
        records.save(run, tmp_path)
    records.save(run, tmp_path, overwrite=True)
    assert len(list(tmp_path.iterdir())) == 1


def test_only_what_dead_writers_left_is_swept(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left, being_written, elsewhere = (
        tmp_path / name
        for name in (f"{records._writing()}{dead.pid}-a", f"{records._writing()}{os.getpid()}-b", f".writing-other-{dead.pid}-c")
    )
    for path in (left, being_written, elsewhere):
        path.write_bytes(b"half a record")
    records.sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([being_written, elsewhere])
    records.sweep(tmp_path / "nowhere")


def test_damage_anywhere_is_found(run, tmp_path):
    path = records.save(run, tmp_path)
    whole = path.read_bytes()
    original = records.load(path)
    for position in range(0, len(whole), 11):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        try:
            harmless = records._digest({}, {n: getattr(records.load(path), n) for n in records.ARRAYS})
        except records.RecordError:
            continue
        # bytes of the container that carry no content may change: the content must be what it was
        assert harmless == records._digest({}, {n: getattr(original, n) for n in records.ARRAYS})
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(records.RecordError, match="damaged"):
        records.load(path)


@pytest.mark.parametrize("about", [[1], {"format": 99}, {"format": 1}, {}], ids=str)
def test_foreign_and_later_records_are_refused(about, tmp_path):
    path = tmp_path / "foreign.npz"
    np.savez(path, about=np.frombuffer(json.dumps(about).encode(), dtype=np.uint8))
    with pytest.raises(records.RecordError, match="no record|format 99|damaged"):
        records.load(path)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(records.RecordError, match="no record"):
        records.load(path)


def test_missing_and_unwritable_are_one_clear_sentence(run, tmp_path):
    with pytest.raises(records.RecordError, match="no record"):
        records.load(tmp_path / "absent.npz")
    (tmp_path / "file").write_text("")
    with pytest.raises(records.RecordError, match="could not be recorded"):
        records.save(run, tmp_path / "file" / "below")
