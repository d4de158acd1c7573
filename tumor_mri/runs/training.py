"""One run: build a network, train it under a protocol with early stopping, and return its predictions."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from tumor_mri import stats, text
from tumor_mri.datasets import manifests, protocols
from tumor_mri.models import fingerprint, networks, preprocessing, recipes, styles
from tumor_mri.runs import checkpoints, configs, environment

if TYPE_CHECKING:
    import keras


def train(
    config: configs.RunConfig,
    images: np.ndarray | None = None,
    manifest: pd.DataFrame | None = None,
    progress: bool | Callable[[int, dict], Any] = True,
    build: Callable[[], keras.Model] | None = None,
    save_to: Path | str | None = None,
    checkpoint: Path | str | None = None,
) -> configs.Run:
    """Train one network under one protocol, with the recipe of `config`.

    Args:
        config: the configuration of the run.
        images: grey images, uint8, (rows of the manifest, height, width); None loads the images of the recipe.
        manifest: table of the images; None loads the manifest of the dataset of `config`.
        progress: True for a bar with epoch, loss, accuracies and remaining time; False for none; or a function that is called
            with the number of finished epochs (first with those before a stop) and the logs of the last one, a dict.
        build: a function without arguments that returns a Keras model. The model maps grey or RGB images of the size of `images`,
            with values 0 to 255, to the probabilities of the classes. If it is compiled, its optimizer and loss are used. None
            builds the network of `config`, which must be registered.
        save_to: path of the trained network, which ends in ``.keras``; None does not save the weights.
        checkpoint: path of a file with the state after each epoch, see `checkpoints`: a run that was stopped goes on from there.
            None does not keep it.

    Raises:
        ValueError: for an unknown network or one whose `faster` changes the weights, for images of another type or number, or if
            `build` returns no Keras model, a model with other inputs or outputs, one that computes in another precision or has a
            ``train_step`` of its own, or one whose outputs are not probabilities.
        FloatingPointError: if the training loss is not finite.
        DatasetError: if there are no images.
    """
    from tumor_mri._keras import keras

    started = time.perf_counter()
    recipe = recipes.get(config.recipe)
    manifest = manifests.load_manifest(manifests.get(config.dataset)) if manifest is None else manifest
    images = recipe.load(manifest, config.without) if images is None else images
    _check_images(images, manifest)
    labels = manifests.class_indices(manifest)
    split = protocols.split(manifest, config.protocol, config.fold)
    train_rows = split.train[: config.train_images]

    def build_with_grey_input():
        inner = build() if build else build_network(config, images.shape[1:])
        if not isinstance(inner, keras.Model) or not hasattr(inner, "inputs"):
            raise ValueError(
                f"`build` must return a functional or sequential keras.Model, it returned {type(inner).__name__}: predictions of "
                "other tools are scored by `tumor-mri score`"
            )
        faster = None if build else networks.get(config.network).faster
        trained = faster(inner) if faster else inner
        if trained is not inner and not _same_weights(inner, trained):
            raise ValueError(f"the faster network of {config.network!r} does not have its weights in the same order")
        return inner, trained, _grey_input(trained, images.shape[1:], len(manifests.get(config.dataset).classes))

    batches = _shuffled_batches(images, labels, train_rows, config)
    inner, trained, model = build_alone(build_with_grey_input, config.precision, config.seed)
    if any(type(one).train_step is not keras.Model.train_step for one in (inner, trained)):
        raise ValueError("the network has a train_step of its own, which this training does not use: build a network without one")
    computed = fingerprint.computes_in(trained)
    if not fingerprint.is_precision(config.precision, computed):
        raise ValueError(
            f"the network computes in {' and '.join(computed)}, and {config.precision} was asked for: leave the dtype of its "
            "layers to the policy that holds while they are built"
        )
    model.compile(
        optimizer=inner.optimizer if inner.compiled else recipe.optimizer(config, len(batches)),
        loss=inner.loss if inner.compiled else recipe.loss(config),
        metrics=["accuracy"],
        jit_compile="auto" if keras.backend.backend() == "jax" else False,  # on a CPU, XLA was slower in our measurements
    )

    def predict(rows, flipped=False):
        scans = images[rows][:, :, ::-1] if flipped else images[rows]
        return model.predict(scans[..., None], batch_size=64, verbose=0).astype(np.float32)

    validator, stopping = _validation_callback(predict, split.validation, labels), None
    if config.patience is not None:
        stopping = keras.callbacks.EarlyStopping(
            monitor="val_accuracy", mode="max", patience=config.patience, restore_best_weights=True
        )
    by = checkpoints.computed_by(images, np.concatenate([train_rows, split.validation]), fingerprint.describe(inner))
    state = checkpoints.read(checkpoint, by) if checkpoint else None
    keeper = checkpoints.callback(checkpoint, state, by, validator, stopping)
    # the validator comes first: early stopping reads the accuracy that it adds to the logs
    callbacks = [callback for callback in (validator, stopping, keeper) if callback]
    first = checkpoints.next_epoch(state, config.patience, config.epochs)
    for _ in range(first):
        batches.on_epoch_end()  # as many orders drawn as before the stop
    if progress:
        last = {name: values[-1] for name, values in keeper.history.items()}
        callbacks.append(_progress_callback(config, first) if progress is True else _reporting_callback(progress, first, last))
    model.fit(batches, initial_epoch=first, epochs=config.epochs, callbacks=callbacks, verbose=0, shuffle=False)
    logs, earlier = keeper.history, sum(state["history"]["seconds"]) if state else 0.0

    if save_to is not None:
        inner.set_weights(trained.get_weights())  # another network may have trained in its place
        with text.whole(save_to) as temporary:
            inner.save(temporary)
    testing = np.flatnonzero(manifests.is_testing(manifest))
    paths = manifest["path"].to_numpy()
    return configs.Run(
        config=config,
        history=logs,
        train_paths=list(paths[train_rows]),
        val_paths=list(paths[split.validation]),
        test_paths=list(paths[testing]),
        val_classes=np.array(validator.classes, dtype=np.uint8),
        val_probabilities=predict(split.validation),
        test_probabilities=predict(testing),
        train_classes=predict(train_rows).argmax(axis=1).astype(np.uint8),
        environment=environment.describe(manifest)
        | {"architecture": fingerprint.describe(inner), "parameters": inner.count_params(), "computes_in": computed},
        seconds=time.perf_counter() - started + earlier,
        val_flipped=predict(split.validation, flipped=True) if recipe.mirrored else None,
        test_flipped=predict(testing, flipped=True) if recipe.mirrored else None,
    )


def _same_weights(model, other):
    ours, theirs = model.get_weights(), other.get_weights()
    return len(ours) == len(theirs) and all(map(np.array_equal, ours, theirs))


def _check_images(images, manifest):
    """Make sure that images are those of a manifest, with grey levels from 0 to 255.

    Raises:
        ValueError: if they are not; the message says what was expected.
    """
    if images.dtype != np.uint8 or images.ndim != 3 or len(images) != len(manifest):
        raise ValueError(
            f"images must be uint8, ({len(manifest)}, height, width), one for each row of the manifest, with grey levels from 0 "
            f"to 255; got {images.dtype}, {images.shape}"
        )


def build_network(config: configs.RunConfig, size: tuple[int, int]) -> keras.Model:
    """The uncompiled network of a run, for images of `size` (height, width) in pixels.

    Raises:
        ValueError: if the network is not registered.
    """
    shape = (*size, recipes.get(config.recipe).channels)
    return networks.get(config.network).build(config, shape, len(manifests.get(config.dataset).classes))


def load_trained(config: configs.RunConfig, size: tuple[int, int], path: Path | str) -> keras.Model:
    """The trained network of a run, in float32 whatever its training precision.

    Args:
        config, size: see `build_network`.
        path: the file that `train` saved.
    """
    from tumor_mri._keras import keras

    model = build_network(config, size)
    model.set_weights(keras.saving.load_model(path, compile=False, safe_mode=True).get_weights())
    return model


def build_alone(build: Callable[[], Any], precision: str, seed: int) -> Any:
    """Build a network as if it were the first in this process: its weights do not depend on networks built before.

    Args:
        build: a function without arguments.
        precision: the Keras dtype policy that is active during the call.
        seed: for the initial weights and all later random numbers of the process.

    Returns:
        The result of `build`.
    """
    from tumor_mri._keras import keras

    keras.backend.clear_session()  # it also resets policy and seed: set both after it
    _make_reproducible(seed)
    keras.config.set_dtype_policy(precision)
    try:
        return build()
    finally:
        keras.config.set_dtype_policy("float32")


def _make_reproducible(seed):
    """Set every seed. With TensorFlow, use deterministic operations too; on a CPU they cost no measurable time."""
    from tumor_mri._keras import keras

    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def _grey_input(model, size, classes):
    """Add an input with one grey channel to a network with one or three channels; in the dataset's files, R = G = B."""
    from tumor_mri._keras import keras

    if model.input_shape not in [(None, *size, channels) for channels in (1, 3)] or model.output_shape != (None, classes):
        raise ValueError(
            f"the network maps {model.input_shape} to {model.output_shape}; expected (None, {size[0]}, {size[1]}, 1 or 3) to "
            f"(None, {classes})"
        )
    grey = keras.Input((*size, 1))
    channels = model.input_shape[-1]
    return keras.Model(grey, model(grey if channels == 1 else keras.layers.Concatenate()([grey] * channels)))


def _shuffled_batches(images, labels, rows, config):
    """Batches in a new random order each epoch. NumPy draws the order from the seed: it is the same on every backend.

    Each step has its own generator for data augmentation, so the result does not depend on the order in which threads prepare the
    steps. Two threads prepare them: with one thread, TensorFlow tunes the pipeline in another thread, whose sleep doubles each
    time. The end of an epoch waits for that thread, and the processor is idle. Measured: an epoch took up to twice as long.
    """
    from tumor_mri._keras import keras

    recipe = recipes.get(config.recipe)
    families, names, trained = recipe.families_of(config), recipe.styles_of(config), images[rows]
    targets = np.eye(len(manifests.get(config.dataset).classes), dtype=np.float32)[labels]

    def varied(scan, generator):
        scan = styles.restyle(scan, trained, generator, names, recipe.style_share) if names else scan
        return preprocessing.vary(scan, generator, families)

    class ShuffledBatches(keras.utils.PyDataset):
        def __init__(self):
            super().__init__(workers=2)
            self.generator = np.random.default_rng(config.seed)
            self.order = self.generator.permutation(rows)
            self.epoch = 0

        def __len__(self):
            return -(-len(rows) // config.batch_size)

        def __getitem__(self, step):
            chosen = self.order[step * config.batch_size : (step + 1) * config.batch_size]
            shown = images[chosen]
            if families or names:
                generator = np.random.default_rng([config.seed, self.epoch, step])
                shown = np.stack([varied(scan, generator) for scan in shown])
            return shown[..., None], targets[chosen]

        def on_epoch_end(self):
            self.epoch += 1
            self.order = self.generator.permutation(rows)

    return ShuffledBatches()


def _validation_callback(predict, rows, labels):
    """A callback with one pass over the validation images per epoch: it gives loss, accuracy and predicted classes."""
    from tumor_mri._keras import keras

    class Validation(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.classes = []

        def on_epoch_begin(self, epoch, logs=None):
            self.started = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            if not np.isfinite(logs["loss"]):
                raise FloatingPointError(f"the training loss became {logs['loss']} in epoch {epoch + 1}")
            probabilities = predict(rows)
            if not stats.are_probabilities(probabilities):
                raise ValueError(
                    "the answers of the network are not probabilities: each must be between 0 and 1, and those of an image must "
                    "have the sum 1; end the network with a softmax"
                )
            truth = labels[rows]
            self.classes.append(probabilities.argmax(axis=1))
            right = probabilities[np.arange(len(rows)), truth]
            logs["val_loss"] = float(-np.log(np.clip(right, 1e-7, 1)).mean())  # clipped as Keras clips
            logs["val_accuracy"] = float((self.classes[-1] == truth).mean())
            logs["seconds"] = time.perf_counter() - self.started

    return Validation()


def _progress_callback(config, first):
    """A callback with a bar over the epochs. The remaining time is an upper bound, because a run may stop early."""
    from tumor_mri._keras import keras

    class Progress(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.bar = tqdm(total=config.epochs, initial=first, desc=config.key, unit="epoch")

        def on_epoch_end(self, epoch, logs=None):
            shown = ("loss", "accuracy", "val_accuracy")
            self.bar.set_postfix({name: f"{logs[name]:.3f}" for name in shown}, refresh=False)
            self.bar.update()

        def on_train_end(self, logs=None):
            self.bar.close()

    return Progress()


def _reporting_callback(report, first, last):
    """A callback that calls a function at the start and after each epoch."""
    from tumor_mri._keras import keras

    class Reporting(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            report(first, last)

        def on_epoch_end(self, epoch, logs=None):
            report(epoch + 1, logs)

    return Reporting()
