"""One run, on noise instead of scans: seeds, precision, order of images, epochs."""

import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from importlib.util import find_spec

import numpy as np
import pytest
import samples

from tumor_mri.evaluation import scoring
from tumor_mri.models import networks
from tumor_mri.runs import configs, records, training


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


def test_the_saved_network_answers_as_the_run_did(noise, manifest, tmp_path):
    """Though another network trained in its place: its weights are copied back."""
    config = replace(samples.TINY, precision="float32", epochs=1)
    run = training.train(config, noise, manifest, progress=False, save_to=tmp_path / "trained.keras")
    model = training.load_trained(config, noise.shape[1:], tmp_path / "trained.keras")
    rows = manifest.reset_index().set_index("path").loc[run.val_paths[:50], "index"]
    answers = model.predict(noise[rows][..., None].repeat(3, axis=-1), verbose=0)
    assert np.allclose(answers, run.val_probabilities[:50], atol=1e-5)


def test_a_faster_network_with_other_weights_is_refused_before_it_trains(noise, manifest, monkeypatch):
    from tumor_mri._keras import keras

    def reset(model):
        return keras.models.clone_model(model)  # with weights of its own

    monkeypatch.setitem(networks.NETWORKS, "cnn", replace(networks.CNN, faster=reset))
    with pytest.raises(ValueError, match="the faster network of 'cnn' does not have its weights in the same order"):
        training.train(samples.TINY, noise, manifest, progress=False)


def test_same_seed_same_bits(run, noise, manifest):
    again = training.train(samples.TINY, noise, manifest, progress=False)
    assert again.history["loss"] == run.history["loss"]
    assert np.array_equal(again.test_probabilities, run.test_probabilities)
    other = training.train(replace(samples.TINY, seed=2), noise, manifest, progress=False)
    assert other.history["loss"] != run.history["loss"]


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "float32"])
def test_a_network_computes_in_the_precision_asked_for(noise, manifest, monkeypatch, precision):
    built, build = [], networks.build_cnn

    def watch(*arguments, **settings):
        built.append((keras.config.dtype_policy().name, build(*arguments, **settings)))
        return built[-1][1]

    from tumor_mri._keras import keras

    monkeypatch.setattr(networks, "build_cnn", watch)
    training.train(replace(samples.TINY, epochs=1, precision=precision), noise, manifest, progress=False)
    (policy, model), computed = built[0], precision.removeprefix("mixed_")
    assert policy == precision
    assert [layer.compute_dtype for layer in model.layers if layer.weights] == [computed] * 4 + ["float32"]  # softmax stays exact
    assert keras.config.dtype_policy().name == "float32"  # nothing of it outlasts the run


def test_a_network_of_another_precision_than_asked_for_is_not_trained(noise, manifest):
    def build(dtype):
        from tumor_mri._keras import keras

        pooled = [keras.Input((150, 150, 1)), keras.layers.AveragePooling2D(30, dtype=dtype), keras.layers.Flatten(dtype=dtype)]
        return keras.Sequential([*pooled, keras.layers.Dense(4, "softmax", dtype=dtype)])

    config = replace(samples.TINY, widths=(), network="mine")
    rough = replace(config, precision="mixed_bfloat16")
    with pytest.raises(ValueError, match="computes in float32, and mixed_bfloat16 was asked for"):
        training.train(rough, noise, manifest, progress=False, build=lambda: build("float32"))
    with pytest.raises(ValueError, match="float32 was asked for"):
        training.train(config, noise, manifest, progress=False, build=lambda: build("bfloat16"))


def test_a_record_of_another_precision_than_it_says_is_found(run, manifest):
    assert run.environment["computes_in"] == ["float32"]
    lies = replace(run, environment=run.environment | {"computes_in": ["bfloat16", "float32"]})
    with pytest.raises(scoring.EvaluationError, match="computed in bfloat16 and float32, not in float32"):
        scoring.check(lies, manifest)
    older = {name: value for name, value in run.environment.items() if name != "computes_in"}
    scoring.check(replace(run, environment=older), manifest)


def test_the_seed_makes_the_weights_whatever_was_built_before():
    def first_weight(seed):
        return training.build_alone(lambda: networks.build_cnn(samples.TINY.widths), "float32", seed).get_weights()[0]

    once = first_weight(1)
    networks.build_cnn(samples.TINY.widths)
    assert np.array_equal(first_weight(1), once)
    assert not np.array_equal(first_weight(2), once)


ON_JAX = """
import sys
import numpy as np
from tumor_mri.datasets import manifests
from tumor_mri.runs import configs, records, training
manifest = manifests.load_manifest()
for network, settings, side in [("cnn", {"widths": (4, 4, 4, 4)}, 150), ("residual", {}, 32)]:
    noise = np.random.default_rng(0).integers(0, 256, (len(manifest), side, side), dtype=np.uint8)
    config = configs.config_of(network, "training_only", epochs=2, train_images=64, **settings)
    records.save(training.train(config, noise, manifest, progress=False), sys.argv[1])
"""


@pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed: `make test-jax` runs this test with it")
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
    batches = training._shuffled_batches(noise, np.zeros(len(noise), dtype=int), rows, samples.TINY)
    first = batches.order
    batches.on_epoch_end()
    assert sorted(first) == sorted(batches.order) == list(rows)
    assert list(first) != list(batches.order)
    assert sum(len(batches[step][0]) for step in range(len(batches))) == len(rows)


def test_a_loss_that_is_no_number_is_reported(noise, manifest):
    with pytest.raises(FloatingPointError, match="epoch 1"):
        training.train(replace(samples.TINY, learning_rate=float("nan"), epochs=2), noise, manifest, progress=False)


def test_epochs_fixed_beforehand_are_all_trained_and_the_last_one_counts(residual_run, manifest):
    assert residual_run.epochs_run == residual_run.best_epoch == samples.TINY_OURS.epochs
    assert np.array_equal(residual_run.val_probabilities.argmax(axis=1), residual_run.val_classes[-1])
    scoring.check(residual_run, manifest)
    assert (scoring.cross_fitted_classes(residual_run, manifest) == residual_run.val_classes[-1]).all()
    scores = scoring.image_scores([residual_run], manifest)
    assert np.array_equal(scores["right"], scores["right_at_best"])  # nothing was chosen, so that nothing flatters


def test_same_seed_same_bits_of_our_network(residual_run, small_noise, manifest):
    again = training.train(samples.TINY_OURS, small_noise, manifest, progress=False)
    assert again.history["loss"] == residual_run.history["loss"]
    assert np.array_equal(again.test_probabilities, residual_run.test_probabilities)


def test_a_step_is_varied_by_seed_epoch_and_place_alone(small_noise):
    rows, labels = np.arange(64), np.zeros(len(small_noise), dtype=int)
    first, second = (training._shuffled_batches(small_noise, labels, rows, samples.TINY_OURS) for _ in range(2))
    second[0]  # steps may be made in any order, and more than once
    assert np.array_equal(first[1][0], second[1][0])
    unvaried = training._shuffled_batches(
        small_noise, labels, rows, replace(samples.OURS, network="cnn", widths=(4, 4, 4, 4), recipe="report")
    )
    assert unvaried[0][0].dtype == np.uint8 and first[0][0].dtype == np.float32
    first.on_epoch_end()
    first.order = second.order
    assert not np.array_equal(first[1][0], second[1][0])  # another epoch
    other = training._shuffled_batches(small_noise, labels, rows, replace(samples.TINY_OURS, seed=2))
    other.order = second.order
    assert not np.array_equal(other[1][0], second[1][0])  # another seed
    second.order = np.concatenate([rows[:32], rows[:32]])
    assert not np.array_equal(second[0][0], second[1][0])  # the same scans in another place


def test_the_reports_network_takes_prepared_scans_too(small_noise, manifest):
    config = replace(samples.TINY_OURS, network="cnn", widths=(4, 4, 4, 4), epochs=1, train_images=32)
    run = training.train(config, small_noise, manifest, progress=False)
    assert config.label == "4/4/4/4, 1 epochs, learning rate 0.002, 32 training images on prepared scans"
    assert scoring.key_figures([run], manifest)["parameters"][0] == run.environment["parameters"]


def flat(keras, last):
    """A tiny network of 64 x 64 grey scans with a given last layer."""
    return keras.Sequential([keras.Input((64, 64, 1)), keras.layers.AveragePooling2D(16), keras.layers.Flatten(), last])


@pytest.mark.parametrize("activation", [None, "sigmoid"])
def test_answers_that_are_no_probabilities_are_refused(small_noise, manifest, activation):
    """Logits would be scored with a wrong confidence, and answers of NaN as the first class."""
    from tumor_mri._keras import keras

    config = configs.RunConfig("training_only", widths=(), network="mine", precision="float32", epochs=1, train_images=32)
    with pytest.raises(ValueError, match="not probabilities: .* end the network with a softmax"):
        training.train(
            config, small_noise, manifest, progress=False, build=lambda: flat(keras, keras.layers.Dense(4, activation=activation))
        )


def test_a_train_step_of_ones_own_is_refused_and_not_silently_left_out(small_noise, manifest):
    from tumor_mri._keras import keras

    class Own(keras.Model):
        def train_step(self, *arguments):
            raise AssertionError("called")

    def build():
        plain = flat(keras, keras.layers.Dense(4, activation="softmax"))
        return Own(plain.inputs, plain.outputs)

    config = configs.RunConfig("training_only", widths=(), network="mine", precision="float32", epochs=1, train_images=32)
    with pytest.raises(ValueError, match="a train_step of its own"):
        training.train(config, small_noise, manifest, progress=False, build=build)


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda images: images.astype(np.float32) / 255, "images must be uint8, .* got float32"),
        (lambda images: images[:-1], "one for each row of the manifest"),
        (lambda images: images[..., None], "images must be uint8"),
    ],
    ids=["floats", "too few", "colour"],
)
def test_images_of_another_kind_are_refused_at_once(noise, manifest, spoil, words):
    with pytest.raises(ValueError, match=words):
        training.train(configs.RunConfig("training_only", **configs.SMOKE), spoil(noise), manifest)


@pytest.mark.parametrize("build", [lambda: None, lambda: object(), lambda: "network"], ids=["none", "object", "text"])
def test_a_builder_of_anything_but_a_keras_model_is_refused(noise, manifest, build):
    with pytest.raises(ValueError, match=r"`build` must return a functional or sequential keras.Model, it returned"):
        training.train(configs.RunConfig("training_only", **configs.SMOKE), noise, manifest, build=build)
