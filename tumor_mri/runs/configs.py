"""The configuration of a run, its result, and predictions that combine several runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tumor_mri.datasets import manifests, protocols
from tumor_mri.models import networks, recipes

PRECISIONS = {"mixed_bfloat16": "bfloat16", "float32": "float32"}  # Keras dtype policies, and their names in labels
SMOKE = {"epochs": 2, "train_images": 64}  # settings of a run that only tests whether training works


@dataclass(frozen=True)
class RunConfig:
    """The configuration of one training. The defaults are the report's settings; `config_of` gives those of any network.

    Attributes:
        protocol: how training and validation images are chosen: a name from `protocols.PROTOCOLS`.
        fold: 0 to the protocol's number of folds - 1.
        network: a name from `networks.NETWORKS`, or the name of the network that is passed to `training.train`.
        widths: filters of the three convolutions and units of the dense layer; empty for a network that has no widths.
        recipe: how the network is trained: a name from `recipes.RECIPES`.
        without: for an ablation, the ingredient of the recipe or the network that is left out; empty for none.
        seed: for initial weights, dropout and the order of the images; 0 or more.
        precision: a Keras dtype policy, ``mixed_bfloat16`` or ``float32``.
        epochs: the maximum number of epochs.
        patience: for early stopping: training stops after this many epochs without a better validation accuracy, and the weights
            of the best epoch are restored. None trains all epochs and keeps the last weights; validation images then choose
            nothing.
        batch_size: images per step.
        learning_rate: learning rate of Adam, or the highest learning rate of AdamW.
        train_images: use only this many images from the start of the training split; None for all.
        dataset: a name from `manifests.DATASETS`.

    Raises:
        ValueError: for an unknown name or a number out of range; the message says which, and what is possible.

    Example:
        >>> RunConfig("grouped", fold=3, seed=2).key
        'grouped-fold3-cnn-32-64-128-128-seed2'
        >>> RunConfig("grouped", fold=3, precision="mixed_bfloat16").label
        '32/64/128/128, bfloat16'
    """

    protocol: str
    widths: tuple[int, ...] = networks.BASE_WIDTHS
    seed: int = 1
    fold: int = 0
    precision: str = "float32"
    epochs: int = 60
    patience: int | None = 10
    batch_size: int = 32
    learning_rate: float = 1e-3
    train_images: int | None = None
    network: str = "cnn"
    recipe: str = "report"
    without: str = ""
    dataset: str = manifests.BRAIN_TUMOUR_MRI.name

    def __post_init__(self):
        object.__setattr__(self, "widths", tuple(self.widths))
        protocols.get(self.protocol).check(self.fold)
        manifests.get(self.dataset)
        networks.check_name(self.network)
        network = networks.NETWORKS.get(self.network)
        if network and network.has_widths:
            networks.check_widths(self.widths)
        elif self.widths:
            raise ValueError(f"the network {self.network!r} takes no widths, got {self.widths!r}")
        if self.seed < 0:
            raise ValueError(f"a seed is 0 or more, got {self.seed}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision is {' or '.join(map(repr, PRECISIONS))}, got {self.precision!r}")
        if min(self.epochs, self.batch_size, 1 if self.patience is None else self.patience) < 1:
            raise ValueError("epochs, patience and batch_size are at least 1")
        possible = recipes.get(self.recipe).ablations + (network.ablations if network else ())
        if self.without and self.without not in possible:
            raise ValueError(
                f"neither the recipe {self.recipe!r} nor the network {self.network!r} has an ingredient called "
                f"{self.without!r}: they have {', '.join(possible) or 'none'}"
            )
        if self.train_images is not None and self.train_images < 1:
            raise ValueError(f"train_images is at least 1, or None for all, got {self.train_images}")

    @property
    def key(self) -> str:
        """The name of the run and of its record. It shows each setting that differs from its default."""
        parts = [self.protocol]
        if protocols.get(self.protocol).folds > 1:
            parts.append(f"fold{self.fold}")
        parts += [self.network, *map(str, self.widths), f"seed{self.seed}"]
        parts += [f"{name}={value}" for name, value in self.unusual_settings().items()]
        return "-".join(parts)

    @property
    def label(self) -> str:
        """The network in words: its name or widths, and each setting that differs from its default.

        Two configurations have the same label only if they differ in nothing but protocol, fold and seed, or one is tiny: it has
        the label of the run that it stands in for.
        """
        unusual = self.stands_for.unusual_settings()
        recipe, without, dataset = (unusual.pop(name, None) for name in ("recipe", "without", "dataset"))
        words = ", ".join([networks.label(self.widths) or self.network, *(_in_words(*item) for item in unusual.items())])
        words += f" on {recipes.get(recipe).shown}" if recipe else ""
        words += f" without {without}" if without else ""
        return words + (f" ({dataset})" if dataset else "")

    @property
    def stands_for(self) -> RunConfig:
        """The run in whose place a tiny one (`SMOKE`) was trained, to test that training works; otherwise the run itself.

        Example:
            >>> RunConfig("grouped", **SMOKE).stands_for == RunConfig("grouped")
            True
        """
        if any(getattr(self, name) != value for name, value in SMOKE.items()):
            return self
        usual = usual_settings(self.network, self.recipe)
        return replace(self, **{name: usual[name] for name in SMOKE})

    def unusual_settings(self) -> dict:
        """The settings that differ from the defaults of the network and the recipe, by name."""
        usual = usual_settings(self.network, self.recipe)
        return {name: getattr(self, name) for name, value in usual.items() if getattr(self, name) != value}

    def same_network(self, other: RunConfig) -> bool:
        """Whether two runs, or those that they stand in for, differ in nothing but protocol, fold and seed.

        Example:
            >>> RunConfig("grouped", fold=1).same_network(RunConfig("training_only", seed=2))
            True
        """
        return replace(self.stands_for, protocol=other.protocol, fold=other.fold, seed=other.seed) == other.stands_for


def usual_settings(network: str, recipe: str) -> dict:
    """The default settings of a run, by name: those of the recipe and, with the network's default recipe, those of the network.

    Example:
        >>> usual_settings("residual", "prepared")["learning_rate"]
        0.002
    """
    registered, trained = networks.NETWORKS.get(network), recipes.get(recipe)
    own = registered.recipe if registered else networks.DEFAULT_RECIPE
    return {
        "precision": "float32",
        "epochs": trained.epochs,
        "patience": trained.patience,
        "batch_size": trained.batch_size,
        "learning_rate": trained.learning_rate,
        **(registered.settings if registered and recipe == own else {}),
        "train_images": None,
        "recipe": own,
        "without": "",
        "dataset": manifests.BRAIN_TUMOUR_MRI.name,
    }


def _in_words(name, value):
    """A setting in words, for a label."""
    if name == "patience":
        return "no early stopping" if value is None else f"patience {value}"
    if name == "precision":
        return PRECISIONS[value]
    words = {"epochs": "{} epochs", "batch_size": "batches of {}", "train_images": "{} training images"}
    return words.get(name, name.replace("_", " ") + " {}").format(value)


def config_of(network: str, protocol: str, **changes: Any) -> RunConfig:
    """The configuration of a registered network, with the settings of its recipe.

    Args:
        network: a name from `networks.NETWORKS`.
        protocol: a name from `protocols.PROTOCOLS`.
        changes: settings to change, such as ``seed``, ``fold`` or ``recipe``.

    Raises:
        ValueError: see `RunConfig`.

    Example:
        >>> config_of("residual", "grouped", fold=1, epochs=120).label
        'residual, 120 epochs'
    """
    registered = networks.get(network)
    recipe = changes.get("recipe", registered.recipe)
    usual = usual_settings(network, recipe) | {"recipe": recipe}
    widths = {} if registered.has_widths else {"widths": ()}
    return RunConfig(protocol, **{**widths, **usual, "network": network, **changes})


@dataclass(frozen=True)
class Run:
    """One finished training, with all predictions that are needed to score it without the network.

    Attributes:
        config: the configuration.
        history: per epoch: loss and accuracy (as Keras logs them, a running mean with dropout active), val_loss, val_accuracy and
            seconds. val_loss is the cross-entropy of the true class whatever the training loss; with label smoothing it cannot be
            compared with ``loss``.
        train_paths, val_paths, test_paths: paths from the manifest, in the order of the arrays below; test_paths is all of
            Testing.
        val_classes: predicted class of each validation image at each epoch, uint8, (epochs, validation images).
        val_probabilities: with the restored weights, float32, (validation images, classes).
        test_probabilities: with the restored weights, float32, (images of Testing, classes).
        train_classes: with the restored weights and dropout off, uint8, (training images,).
        environment: versions, hardware, backend, commit, fingerprint of the dataset, and the dtypes of the layers.
        seconds: wall time of the whole run.
        val_flipped, test_flipped: probabilities for the same images mirrored left to right, for test-time augmentation; None if
            the recipe does not train on mirrored images.
    """

    config: RunConfig
    history: dict[str, list[float]]
    train_paths: list[str]
    val_paths: list[str]
    test_paths: list[str]
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
        if the number of epochs was fixed."""
        if not self.chose_epoch:
            return self.epochs_run
        return int(np.argmax(self.history["val_accuracy"])) + 1

    @property
    def epochs_run(self) -> int:
        """The number of epochs until early stopping or the limit ended the run."""
        return len(self.history["val_accuracy"])

    @property
    def label(self) -> str:
        """The network in words: `RunConfig.label`."""
        return self.config.label

    @property
    def chose_epoch(self) -> bool:
        """Whether the validation images chose the epoch whose weights were kept."""
        return self.config.patience is not None


class _OneEpoch:
    """What is scored from its final probabilities alone: no validation image chose an epoch."""

    val_probabilities: np.ndarray

    @property
    def val_classes(self) -> np.ndarray:
        """Predicted class of each validation image, uint8, (1, validation images), as for a run of one epoch."""
        return self.val_probabilities.argmax(axis=1).astype(np.uint8)[None]

    @property
    def chose_epoch(self) -> bool:
        """Always False: a member that chose its epoch is refused, and a submission may not have chosen it."""
        return False


@dataclass(frozen=True)
class Prediction(_OneEpoch):
    """The predictions of an ensemble, or of test-time augmentation: probabilities computed from one or several runs.

    It is scored in the same way as a `Run`. Nothing was trained for it, so it has no history.

    Attributes:
        members: the runs behind it, all with the same network, protocol and fold.
        how: how their answers are combined, such as ``flips`` or ``5 seeds together``; part of the label.
        val_probabilities: float32, (validation images, classes).
        test_probabilities: float32, (images of Testing, classes).

    Raises:
        ValueError: if there are no members, or if a member chose its epoch on the validation images: its accuracy on them is
            too high.
    """

    members: tuple[Run, ...]
    how: str
    val_probabilities: np.ndarray
    test_probabilities: np.ndarray

    def __post_init__(self):
        if not self.members:
            raise ValueError("a prediction needs at least one run")
        chose = [run.config.key for run in self.members if run.chose_epoch]
        if chose:
            raise ValueError(f"{chose[0]} chose its epoch on the validation images: only runs of a fixed length can be combined")

    @property
    def config(self) -> RunConfig:
        """The configuration of the first member; the others differ from it only in the seed."""
        return self.members[0].config

    @property
    def label(self) -> str:
        """The network, and how the answers are combined, in words."""
        return f"{self.config.label}, {self.how}"

    @property
    def train_paths(self) -> list[str]:
        """Paths of the images that the members trained on."""
        return self.members[0].train_paths

    @property
    def val_paths(self) -> list[str]:
        """Paths of the validation images."""
        return self.members[0].val_paths

    @property
    def test_paths(self) -> list[str]:
        """Paths of all of Testing."""
        return self.members[0].test_paths

    @property
    def environment(self) -> dict:
        """The environment of the first member."""
        return self.members[0].environment


@dataclass(frozen=True)
class Submission(_OneEpoch):
    """The probabilities that a network trained elsewhere gives for one fold of a protocol. It is scored like a `Run`.

    Nothing shows how it was trained, so a table marks it as not trained again.

    Attributes:
        config: protocol, fold, seed and the network's name, with a fixed number of epochs: no validation image chose anything.
        val_paths: paths of the validation images, in the order of the protocol.
        val_probabilities: float32, (validation images, classes).
        test_paths: paths of all of Testing, or empty if the network was not asked about it.
        test_probabilities: float32, (images of Testing, classes).
        train_paths: paths of the images that the protocol trains on.
        environment: ``backend``, the tool, and ``dataset``, the fingerprint of the manifest.
    """

    config: RunConfig
    val_paths: list[str]
    val_probabilities: np.ndarray
    test_paths: list[str]
    test_probabilities: np.ndarray
    train_paths: list[str]
    environment: dict

    @property
    def label(self) -> str:
        """The name of the network."""
        return self.config.network
