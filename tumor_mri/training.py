"""One run: build a network, fit it under a protocol, stop early, and keep what it predicted."""

import hashlib
import json
import os
import platform
import time
from dataclasses import dataclass, fields
from importlib.metadata import version

import numpy as np
from tqdm.auto import tqdm

from tumor_mri import dataset, machine, network, preprocessing, protocols, recipe

# what tells two networks apart beside their layers and weights; not all settings, whose list differs between versions of Keras
TELLING = ("activation", "factor", "mode", "offset", "padding", "pool_size", "rate", "scale", "size", "strides")


@dataclass(frozen=True)
class RunConfig:
    """What one training is asked to be. The defaults are the report's settings.

    Attributes:
        protocol: how images train and validate, one of `protocols.PROTOCOLS`.
        fold: 0 to 4 under ``grouped``, 0 or 1 under ``foreign_added``, 0 elsewhere.
        network: ``cnn`` for the report's, ``residual`` for ours, else the name of the builder given to `train`.
        widths: filters of the three convolutions and units of the dense layer; empty for another network than the report's.
        recipe: how it is trained, one of `recipe.RECIPES`.
        without: the one ingredient of ``prepared`` that is left out, of `recipe.INGREDIENTS`; empty for none.
        seed: of weights, dropout and the order of the images; 0 or more.
        precision: a Keras dtype policy, ``mixed_bfloat16`` or ``float32``.
        epochs: the most epochs trained.
        patience: epochs without a better validation accuracy after which training stops, and the best epoch's weights come back;
            None trains all epochs and keeps the last one's, so that the validation images choose nothing.
        batch_size: images per step.
        learning_rate: of Adam; the highest of AdamW's.
        train_images: train on the first so many images of the split only; None for all.
    """

    protocol: str
    widths: tuple = network.BASE_WIDTHS
    seed: int = 1
    fold: int = 0
    precision: str = "mixed_bfloat16"
    epochs: int = 60
    patience: int | None = 10
    batch_size: int = 32
    learning_rate: float = 1e-3
    train_images: int | None = None
    network: str = "cnn"
    recipe: str = "report"
    without: str = ""

    def __post_init__(self):
        object.__setattr__(self, "widths", tuple(self.widths))
        protocols.check(self.protocol, self.fold)
        if self.network == "cnn":
            network.check_widths(self.widths)
        elif self.widths:
            raise ValueError(f"widths are those of 'cnn'; the network {self.network!r} has its own, got {self.widths!r}")
        if self.seed < 0:
            raise ValueError(f"a seed is 0 or more, got {self.seed}")
        if self.precision not in ("mixed_bfloat16", "float32"):
            raise ValueError(f"precision is 'mixed_bfloat16' or 'float32', got {self.precision!r}")
        if min(self.epochs, self.batch_size, 1 if self.patience is None else self.patience) < 1:
            raise ValueError("epochs, patience and batch_size are at least 1")
        if self.recipe not in recipe.RECIPES:
            raise ValueError(f"unknown recipe {self.recipe!r}: choose one of {', '.join(recipe.RECIPES)}")
        if self.without and (self.recipe == "report" or self.without not in recipe.INGREDIENTS):
            raise ValueError(
                f"of the recipe {self.recipe!r} nothing called {self.without!r} can be left out: see recipe.INGREDIENTS"
            )
        if self.network == "cnn" and self.without in recipe.OF_OUR_NETWORK:
            raise ValueError(f"the report's network has nothing called {self.without!r} that could be left out")
        if self.train_images is not None and self.train_images < 1:
            raise ValueError(f"train_images is at least 1, or None for all, got {self.train_images}")

    @property
    def key(self) -> str:
        """A name for the run, and for the file that keeps it: what was asked for, and nothing else."""
        parts = [self.protocol]
        if protocols.FOLD_COUNTS.get(self.protocol, 1) > 1:
            parts.append(f"fold{self.fold}")
        parts += [self.network, *(str(width) for width in self.widths), f"seed{self.seed}"]
        named = {"protocol", "fold", "network", "widths", "seed"}
        for setting in fields(self):
            value = getattr(self, setting.name)
            if setting.name not in named and value != setting.default:
                parts.append(f"{setting.name}={value}")
        return "-".join(parts)


@dataclass(frozen=True)
class Run:
    """One finished training, with every prediction needed to score it again without a network.

    Attributes:
        config: what was asked for.
        history: per epoch: loss, accuracy (as Keras logs them, a running mean with dropout on), val_loss (cross-entropy of the
            true class, whatever loss was trained on: with softened labels it is not of one kind with ``loss``), val_accuracy,
            seconds.
        train_paths, val_paths, test_paths: paths of the manifest, in the order of the arrays below; the last is all of Testing.
        val_classes: predicted class of each validation image at each epoch, uint8, (epochs, validation images).
        val_probabilities: with the restored weights, float32, (validation images, 4).
        test_probabilities: with the restored weights, float32, (394, 4).
        train_classes: with the restored weights and dropout off, uint8, (training images,).
        environment: versions, hardware, backend, commit, dataset fingerprint, what the layers compute in.
        seconds: wall time of the whole run.
        val_flipped, test_flipped: probabilities for the same images mirrored left to right; None in the report's recipe, which
            does not train on mirrored ones.
    """

    config: RunConfig
    history: dict
    train_paths: list
    val_paths: list
    test_paths: list
    val_classes: np.ndarray
    val_probabilities: np.ndarray
    test_probabilities: np.ndarray
    train_classes: np.ndarray
    environment: dict
    seconds: float
    val_flipped: np.ndarray | None = None
    test_flipped: np.ndarray | None = None

    @property
    def best_epoch(self) -> int:
        """The epoch, counted from 1, whose weights were kept: the first with the highest validation accuracy, or the last one
        where the number of epochs was fixed."""
        if self.config.patience is None:
            return self.epochs_run
        return int(np.argmax(self.history["val_accuracy"])) + 1

    @property
    def epochs_run(self) -> int:
        """How many epochs were trained before early stopping, or the limit, ended the run."""
        return len(self.history["val_accuracy"])


def train(config: RunConfig, images=None, manifest=None, progress=True, build=None, save_to=None) -> Run:
    """Train one network under one protocol, by the recipe of `config`.

    Args:
        config: what to train.
        images: uint8 grey images, (rows of the manifest, height, width); None loads those of the recipe.
        manifest: table of the images; None loads the project's.
        progress: True for a bar with epoch, loss, accuracies and the time left; False for none; or a function of the epoch
            (0 before the first one ends) and its logs, a dict.
        build: a function of no arguments that returns a Keras model, of grey or RGB images of the size of `images`, values 0 to
            255, to the probabilities of the four classes; compiled, it keeps its optimizer and loss. None for the network of
            `config`.
        save_to: where to write the trained network, a path that ends in ``.keras``; None keeps what it predicted, and no weights.

    Raises:
        ValueError: where `build` returns a model of other inputs or outputs, or one that computes in another precision.
        FloatingPointError: where the loss stopped being a number.
        dataset.DatasetError: where there are no images.
    """
    from tumor_mri.quiet import keras

    started = time.perf_counter()
    manifest = dataset.load_manifest() if manifest is None else manifest
    images = recipe.load_images(config, manifest) if images is None else images
    labels = dataset.class_indices(manifest)
    split = protocols.split(manifest, config.protocol, config.fold)
    train_rows = split.train[: config.train_images]

    def build_both():
        inner = build() if build else recipe.build(config, images.shape[1:], to_train=True)
        return inner, _grey_input(inner, images.shape[1:])

    batches = _shuffled_batches(images, labels, train_rows, config)
    inner, model = build_alone(build_both, config.precision, config.seed)
    computed = computes_in(inner)
    if not is_precision(config.precision, computed):
        raise ValueError(
            f"the network computes in {' and '.join(computed)}, and {config.precision} was asked for: leave the dtype of its "
            "layers to the policy that holds while they are built"
        )
    model.compile(
        optimizer=inner.optimizer if inner.compiled else recipe.optimizer(config, len(batches)),
        loss=inner.loss if inner.compiled else recipe.loss(config),
        metrics=["accuracy"],
        jit_compile="auto" if keras.backend.backend() == "jax" else False,  # measured: XLA is slower here on a CPU
    )

    def predict(rows, flipped=False):
        scans = images[rows][:, :, ::-1] if flipped else images[rows]
        return model.predict(scans[..., None], batch_size=64, verbose=0).astype(np.float32)

    validator = _validation_callback(predict, split.validation, labels)
    callbacks = [validator]  # first: early stopping reads the accuracy that it writes
    if config.patience is not None:
        callbacks.append(
            keras.callbacks.EarlyStopping(monitor="val_accuracy", mode="max", patience=config.patience, restore_best_weights=True)
        )
    if progress:
        callbacks.append(_progress_callback(config) if progress is True else _reporting_callback(progress))
    logs = model.fit(batches, epochs=config.epochs, callbacks=callbacks, verbose=0, shuffle=False).history

    if save_to is not None:
        inner.save(save_to)
    testing = np.flatnonzero((manifest["split"] == "Testing").to_numpy())
    paths = manifest["path"].to_numpy()
    flips = config.recipe == "prepared"
    return Run(
        config=config,
        history={name: [float(value) for value in logs[name]] for name in logs},
        train_paths=list(paths[train_rows]),
        val_paths=list(paths[split.validation]),
        test_paths=list(paths[testing]),
        val_classes=np.array(validator.classes, dtype=np.uint8),
        val_probabilities=predict(split.validation),
        test_probabilities=predict(testing),
        train_classes=predict(train_rows).argmax(axis=1).astype(np.uint8),
        environment=describe_environment(manifest)
        | {"architecture": describe(inner), "parameters": inner.count_params(), "computes_in": computed},
        seconds=time.perf_counter() - started,
        val_flipped=predict(split.validation, flipped=True) if flips else None,
        test_flipped=predict(testing, flipped=True) if flips else None,
    )


def describe_environment(manifest) -> dict:
    """Versions, hardware, backend, commit and dataset fingerprint: what a comparison of runs must hold equal or name."""
    from tumor_mri.quiet import keras

    return {
        "backend": keras.backend.backend(),
        "commit": machine.commit(),
        "cpu": machine.processor_name(),
        "cpus": machine.cpu_count(),
        "dataset": dataset.fingerprint(manifest),
        "devices": _accelerators(),
        "keras": keras.__version__,
        "numpy": np.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "tensorflow": _installed_version("tensorflow"),
        "jax": _installed_version("jax"),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
    }


def describe(model) -> str:
    """A short digest of a network, by which two of one name can be told apart, the same in every version of Keras.

    It covers the layers in their order, the shapes of their weights, the settings named in `TELLING`, and of a compiled network
    the optimizer, its learning rate and the loss.
    """
    lines = [_describe_layer(layer) for layer in _layers(model)]
    if model.compiled:
        loss = model.loss if isinstance(model.loss, str) else getattr(model.loss, "__name__", type(model.loss).__name__)
        lines.append(f"{type(model.optimizer).__name__} {float(model.optimizer.learning_rate):.6g} {loss}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _describe_layer(layer):
    try:
        settings = layer.get_config()
    except NotImplementedError:  # a layer of one's own that does not tell its settings
        settings = {}
    told = {name: settings[name] for name in TELLING if name in settings}
    shapes = [tuple(weight.shape) for weight in layer.weights]
    return f"{type(layer).__name__} {shapes} {json.dumps(told, sort_keys=True, default=lambda value: type(value).__name__)}"


def _layers(model):
    """The layers of a network in their order, those of networks inside it one by one."""
    for layer in model.layers:
        yield from _layers(layer) if hasattr(layer, "layers") else [layer]


def computes_in(model) -> list:
    """The kinds of numbers that the layers of a network compute in, such as ``["bfloat16", "float32"]``."""
    return sorted({layer.compute_dtype for layer in _layers(model)})


def is_precision(precision, computed) -> bool:
    """Whether a network that computes in some kinds of numbers is of a precision: bfloat16 in ``mixed_bfloat16`` alone."""
    return ("bfloat16" in computed) == (precision == "mixed_bfloat16")


def build_alone(build, precision, seed):
    """Build a network as if it were the first of its process, so that its weights do not depend on what was built before.

    Args:
        build: a function of no arguments.
        precision: a Keras dtype policy, which holds while it is called.
        seed: of the weights, and of all that the process draws from then on.
    """
    from tumor_mri.quiet import keras

    keras.backend.clear_session()  # forgets policy and seed too, so that both are set behind it
    _make_reproducible(seed)
    keras.config.set_dtype_policy(precision)
    try:
        return build()
    finally:
        keras.config.set_dtype_policy("float32")


def _make_reproducible(seed):
    """Fix every seed; on TensorFlow ask for deterministic kernels too, which cost no measurable time on a CPU."""
    from tumor_mri.quiet import keras

    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def _grey_input(model, size):
    """Put one grey channel in front of a network of one or three: the dataset's files hold R = G = B."""
    from tumor_mri.quiet import keras

    classes = len(dataset.CLASSES)
    if model.input_shape not in [(None, *size, channels) for channels in (1, 3)] or model.output_shape != (None, classes):
        raise ValueError(
            f"the network maps {model.input_shape} to {model.output_shape}; expected (None, {size[0]}, {size[1]}, 1 or 3) to "
            f"(None, {classes})"
        )
    grey = keras.Input((*size, 1))
    channels = model.input_shape[-1]
    return keras.Model(grey, model(grey if channels == 1 else keras.layers.Concatenate()([grey] * channels)))


def _shuffled_batches(images, labels, rows, config):
    """Batches in a new order each epoch, drawn from the seed with NumPy: the same order on every backend.

    What the recipe varies is drawn for each step by itself, so that it does not depend on the order in which steps are made. Two
    threads make them: with one, TensorFlow tunes the pipeline in a thread that sleeps twice as long each time, and for which the
    end of an epoch then waits, the processor idle: measured, it took up to twice as long.
    """
    from tumor_mri.quiet import keras

    families = recipe.families(config)
    targets = np.eye(len(dataset.CLASSES), dtype=np.float32)[labels]

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
            if families:
                generator = np.random.default_rng([config.seed, self.epoch, step])
                shown = np.stack([preprocessing.vary(scan, generator, families) for scan in shown])
            return shown[..., None], targets[chosen]

        def on_epoch_end(self):
            self.epoch += 1
            self.order = self.generator.permutation(rows)

    return ShuffledBatches()


def _validation_callback(predict, rows, labels):
    """One pass over the validation images after each epoch, for loss, accuracy and the predicted classes alike."""
    from tumor_mri.quiet import keras

    class Validation(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.classes = []

        def on_epoch_begin(self, epoch, logs=None):
            self.started = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            if not np.isfinite(logs["loss"]):
                raise FloatingPointError(f"the training loss became {logs['loss']} in epoch {epoch + 1}")
            probabilities = predict(rows)
            truth = labels[rows]
            self.classes.append(probabilities.argmax(axis=1))
            right = probabilities[np.arange(len(rows)), truth]
            logs["val_loss"] = float(-np.log(np.clip(right, 1e-7, 1)).mean())  # clipped as Keras clips
            logs["val_accuracy"] = float((self.classes[-1] == truth).mean())
            logs["seconds"] = time.perf_counter() - self.started

    return Validation()


def _progress_callback(config):
    """A bar over the epochs; tqdm adds the time left, an upper bound since a run may stop early."""
    from tumor_mri.quiet import keras

    class Progress(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.bar = tqdm(total=config.epochs, desc=config.key, unit="epoch")

        def on_epoch_end(self, epoch, logs=None):
            shown = ("loss", "accuracy", "val_accuracy")
            self.bar.set_postfix({name: f"{logs[name]:.3f}" for name in shown}, refresh=False)
            self.bar.update()

        def on_train_end(self, logs=None):
            self.bar.close()

    return Progress()


def _reporting_callback(report):
    """Hand each epoch to a function."""
    from tumor_mri.quiet import keras

    class Reporting(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            report(0, {})

        def on_epoch_end(self, epoch, logs=None):
            report(epoch + 1, logs)

    return Reporting()


def _accelerators():
    """Names of the accelerators that the backend sees; empty on a CPU."""
    from tumor_mri.quiet import keras

    return [name for name in keras.distribution.list_devices() if not name.startswith("cpu")]


def _installed_version(package):
    try:
        return version(package)
    except ImportError:
        return None
