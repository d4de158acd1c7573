"""A run: what was asked for, and what came of it."""

from dataclasses import dataclass, fields

import numpy as np

from tumor_mri.datasets import protocols
from tumor_mri.models import networks, recipes


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
    widths: tuple = networks.BASE_WIDTHS
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
        protocols.check_fold(self.protocol, self.fold)
        if self.network == "cnn":
            networks.check_widths(self.widths)
        elif self.widths:
            raise ValueError(f"widths are those of 'cnn'; the network {self.network!r} has its own, got {self.widths!r}")
        if self.seed < 0:
            raise ValueError(f"a seed is 0 or more, got {self.seed}")
        if self.precision not in ("mixed_bfloat16", "float32"):
            raise ValueError(f"precision is 'mixed_bfloat16' or 'float32', got {self.precision!r}")
        if min(self.epochs, self.batch_size, 1 if self.patience is None else self.patience) < 1:
            raise ValueError("epochs, patience and batch_size are at least 1")
        if self.recipe not in recipes.RECIPES:
            raise ValueError(f"unknown recipe {self.recipe!r}: choose one of {', '.join(recipes.RECIPES)}")
        if self.without and (self.recipe == "report" or self.without not in recipes.INGREDIENTS):
            raise ValueError(
                f"of the recipe {self.recipe!r} nothing called {self.without!r} can be left out: see recipe.INGREDIENTS"
            )
        if self.network == "cnn" and self.without in recipes.OF_OUR_NETWORK:
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
