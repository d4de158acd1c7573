"""What is timed, each in a process of its own: ``python -m performance.pipelines ours --epochs 3`` prints its figures as JSON.

An epoch is one pass over the 2,296 training images of split B with their updates, and one over its 574 validation images.
"""

import argparse
import itertools
import json
import sys
import time

import numpy as np

from tumor_mri.datasets import download, protocols
from tumor_mri.models import networks
from tumor_mri.runs import configs, environment, training

SIZES = (1024, 2048, 4096)  # rows and columns of the matrices; the fastest counts
PRODUCTS = 5  # of each size


def report(epochs) -> list:
    """The report's own pipeline: JPEG files decoded at each epoch, float32, its order of layers; seconds of each epoch."""
    from tumor_mri._keras import keras

    train, validation = keras.utils.image_dataset_from_directory(
        download.locate() / "Training",
        labels="inferred",
        label_mode="categorical",
        image_size=(150, 150),
        batch_size=32,
        validation_split=0.2,
        subset="both",
        seed=protocols.SPLIT_SEED,
        verbose=False,
    )
    train, validation = train.prefetch(32), validation.prefetch(32)  # batches, as in the report
    model = networks.build_cnn()
    model.compile(loss="categorical_crossentropy", optimizer=keras.optimizers.Adam(1e-3), metrics=["accuracy"])
    clock = Clock()
    on_epoch = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: clock.tick(), on_epoch_end=lambda epoch, logs: clock.tick()
    )
    stop = keras.callbacks.EarlyStopping(monitor="val_accuracy", mode="max", patience=epochs, restore_best_weights=True)
    model.fit(train, validation_data=validation, epochs=epochs, callbacks=[stop, on_epoch], verbose=0)
    return clock.seconds()


def ours(epochs) -> list:
    """`training.train` in the precision of this machine; seconds of each epoch."""
    clock = Clock()
    config = configs.RunConfig("training_only", epochs=epochs, patience=60, precision=environment.native_precision())
    training.train(config, progress=lambda epoch, logs: clock.tick())
    return clock.seconds()


def peer(epochs, precision, compiled) -> list:
    """The same network in PyTorch; seconds of each epoch."""
    from performance.torch_network import Trainer

    trainer = Trainer(precision, compiled)
    clock = Clock()
    clock.tick()
    for _ in range(epochs):
        trainer.epoch()
        clock.tick()
    return clock.seconds()


def race(steps, precision, compiled) -> float:
    """Seconds of a training step in PyTorch, to choose its best form."""
    from performance.torch_network import Trainer

    return Trainer(precision, compiled).steps(steps)


def limits() -> dict:
    """The highest rate of matrix products that this machine reaches, in operations a second, by type of number.

    For float32 the better of NumPy and Keras' backend; for bfloat16, where the hardware has it, Keras' backend.
    """
    from tumor_mri._keras import keras

    def on_backend(size, dtype):
        matrix = keras.ops.cast(keras.random.normal((size, size)), dtype)
        return lambda: np.asarray(keras.ops.convert_to_numpy(keras.ops.matmul(matrix, matrix)[:1, :1]))  # waits for the result

    def in_numpy(size):
        matrix = np.random.default_rng(1).standard_normal((size, size), dtype=np.float32)
        return lambda: matrix @ matrix

    rates = {"float32": max(_rate(size, make(size)) for size in SIZES for make in (in_numpy, lambda n: on_backend(n, "float32")))}
    if environment.native_precision() == "mixed_bfloat16":
        rates["bfloat16"] = max(_rate(size, on_backend(size, "bfloat16")) for size in SIZES)
    return rates


def _rate(size, product):
    """Operations a second of the fastest of some products of two square matrices."""
    product()  # the first one starts threads and chooses kernels
    clock = Clock()
    clock.tick()
    for _ in range(PRODUCTS):
        product()
        clock.tick()
    return 2 * size**3 / min(clock.seconds())


class Clock:
    """Seconds between ticks."""

    def __init__(self):
        self.times = []

    def tick(self):
        self.times.append(time.perf_counter())

    def seconds(self) -> list:
        return [after - before for before, after in itertools.pairwise(self.times)]


def peak_bytes() -> int | None:
    """The most memory that this process has held, in bytes; None where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main(arguments=None):
    """Time one pipeline and print its figures as one line of JSON, the last one printed."""
    parser = argparse.ArgumentParser(prog="python -m performance.pipelines", description=__doc__)
    parser.add_argument("name", choices=("report", "ours", "peer", "race", "limits"))
    parser.add_argument("--epochs", type=int, default=2, help="epochs, or for the race steps")
    parser.add_argument("--precision", choices=("float32", "mixed_bfloat16"), default="float32", help="of the peer")
    parser.add_argument("--compiled", action="store_true", help="the peer's network, by torch.compile")
    options = parser.parse_args(arguments)
    form = (options.epochs, options.precision, options.compiled)
    run = {
        "report": lambda: report(options.epochs),
        "ours": lambda: ours(options.epochs),
        "peer": lambda: peer(*form),
        "race": lambda: race(*form),
        "limits": limits,
    }[options.name]
    print(json.dumps({"result": run(), "peak_bytes": peak_bytes()}))


if __name__ == "__main__":
    main()
