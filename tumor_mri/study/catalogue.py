"""The studies: named lists of runs. Recorded runs are read, missing ones are trained."""

import os
import tempfile
from dataclasses import replace

from tumor_mri.datasets import protocols
from tumor_mri.models import networks, recipes
from tumor_mri.runs import cluster, configs, records

SEEDS = (1, 2, 3, 4, 5)  # of the networks at the centre of the report
FEWER_SEEDS = (1, 2, 3)  # if folds already give repeats, or a run is long
ONE_SEED = (1,)  # what is recorded of the others


def _runs(network, protocol, seeds=SEEDS, **settings):
    """Runs of one network under one protocol: every fold, every seed."""
    return [
        configs.config_of(network, protocol.name, fold=fold, seed=seed, **settings)
        for fold in range(protocol.folds)
        for seed in seeds
    ]


_A, _B, _GROUPED = protocols.TESTING_FOLDER, protocols.TRAINING_ONLY, protocols.GROUPED
_A_BASE = _runs("cnn", _A)
_B_BASE = _runs("cnn", _B)
_A_CHOSEN = _runs("cnn", _A, widths=networks.CHOSEN_WIDTHS)
_B_CHOSEN = _runs("cnn", _B, widths=networks.CHOSEN_WIDTHS)
_A_MORE = _runs("cnn", _A, FEWER_SEEDS, widths=networks.MORE_WIDTHS)
_B_MORE = _runs("cnn", _B, FEWER_SEEDS, widths=networks.MORE_WIDTHS)
_B_SOME_MORE = _runs("cnn", _B, FEWER_SEEDS, widths=networks.SOME_MORE_WIDTHS)
_SWEEP = _A_BASE + _A_MORE + _A_CHOSEN + _B_BASE + _B_MORE + _B_SOME_MORE + _B_CHOSEN
_GROUPED_BASE = _runs("cnn", _GROUPED, FEWER_SEEDS)
_GROUPED_CHOSEN = _runs("cnn", _GROUPED, FEWER_SEEDS, widths=networks.CHOSEN_WIDTHS)
_OURS = _runs("residual", _GROUPED, FEWER_SEEDS) + _runs("residual", _A) + _runs("residual", _B, ONE_SEED)
_PRETRAINED = _runs("lite0", _GROUPED, FEWER_SEEDS) + _runs("lite0", _A, FEWER_SEEDS) + _runs("lite0", _B, FEWER_SEEDS)
_V1, _ROUGH = protocols.GROUPED_1, {"precision": "mixed_bfloat16"}  # the folds and the precision of version 1
_ABLATION = [
    ("residual", {}),
    *(("residual", {"without": name}) for name in (*recipes.PREPARED.ablations, *networks.RESIDUAL.ablations)),
    ("cnn", {"recipe": "prepared"}),
    ("cnn", {"recipe": "prepared", "without": "schedule"}),  # with its own Adam
    ("cnn", {}),  # the report's network and recipe
]

STUDIES = {
    "compare-splits": _A_BASE + _B_BASE,
    "sweep-widths": _SWEEP,
    "confusion-matrix": _B_CHOSEN,
    "gallery": [_B_BASE[0], _B_CHOSEN[0]],
    "foreign-gliomas": _runs("cnn", protocols.FOREIGN_ADDED),  # its control: "compare-splits"
    "honest-evaluation": _SWEEP + _GROUPED_BASE + _GROUPED_CHOSEN,
    "precision": _runs("cnn", _B, **_ROUGH),  # with `backend_control`: the effect of bfloat16
    "network-that-generalises": _GROUPED_BASE + _OURS,
    "pretrained": _PRETRAINED,
    "by-image": _runs("lite0", protocols.BY_IMAGE, FEWER_SEEDS),  # a control of the grouped folds
    "twice-as-long": _runs("residual", _V1, (1, 2), epochs=120, **_ROUGH) + _runs("residual", _A, epochs=120, **_ROUGH),
    "half-as-long": _runs("residual", _V1, (1, 2), **_ROUGH) + _runs("residual", _A, **_ROUGH),  # its pairs
    # The settings were chosen on fold 0 of version 1. These are the two folds of version 2 whose validation images were least
    # often among its own: 6 and 14 %.
    "ablation": [
        configs.config_of(network, _GROUPED.name, fold=fold, seed=seed, **settings)
        for fold in (1, 4)
        for network, settings in _ABLATION
        for seed in FEWER_SEEDS
    ],
    "public-recipe": [  # the division of the public notebook first, then one after another that takes an advantage away
        run
        for protocol, seeds in (
            (protocols.MERGED_90, FEWER_SEEDS),
            (protocols.MERGED_80, FEWER_SEEDS),
            (_B, FEWER_SEEDS),
            (_GROUPED, FEWER_SEEDS),
            (_A, FEWER_SEEDS),
        )
        for run in _runs("lite0", protocol, seeds, recipe="public")
    ],
    "ablation-pretrained": [  # on two folds that chose nothing; the whole recipe is in "pretrained"
        configs.config_of("lite0", _GROUPED.name, fold=fold, without=name)
        for name in (*recipes.FINE_TUNED.ablations, *networks.LITE0.ablations)
        for fold in (2, 3)
    ],
    "new-source": [run for name in ("residual", "lite0") for run in _runs(name, protocols.HELD_OUT_SOURCE, FEWER_SEEDS)],
    "version-1": _runs("cnn", _V1, ONE_SEED, **_ROUGH) + _runs("residual", _V1, **_ROUGH),
}


def configs_of(name: str) -> list[configs.RunConfig]:
    """The configurations of a study's runs.

    Raises:
        ValueError: for an unknown name.

    Example:
        >>> [config.key for config in configs_of("gallery")]
        ['training_only-cnn-32-64-128-128-seed1', 'training_only-cnn-25-50-100-100-seed1']
    """
    if name not in STUDIES:
        raise ValueError(f"unknown study {name!r}: choose one of {', '.join(STUDIES)}")
    return STUDIES[name]


def run(name: str, *, retrain: bool | str = False) -> list[configs.Run]:
    """The runs of a study, in its order.

    Recorded runs are read. Missing runs are trained in the precision of the study, even if another one is faster on this
    machine, and kept under ``build/runs``. With ``TUMOR_MRI_RETRAIN=smoke`` in the environment, one tiny run of each network is
    trained instead: this tests that training works, and is not a result.

    Args:
        name: a key of `STUDIES`.
        retrain: True trains every run here, without reading or changing the committed records, and resumes if an earlier call
            was interrupted, see `train`; ``"one"`` trains the first run alone, and reads the others.

    Raises:
        ValueError: for another `retrain`.
        StudyError: if runs failed; the others are recorded.
    """
    if retrain not in (True, False, "one"):
        raise ValueError(f'retrain has to be False, True or "one", not {retrain!r}')
    if os.environ.get("TUMOR_MRI_RETRAIN") == "smoke":
        return _smoke(name)
    if retrain is True:
        return train(name)
    wanted = configs_of(name)
    # in the precision of the study, whatever suits this machine: it will be compared with the others
    here = cluster.complete(wanted[:1], [records.LOCAL], title=name) if retrain == "one" else []
    return here + cluster.complete(wanted[len(here) :], [records.RECORDED, records.LOCAL], title=name)


def recorded(name: str) -> list[configs.Run]:
    """The committed runs of a study, in its order. Nothing is trained; runs that are not recorded yet are left out.

    Raises:
        records.RecordError: if a record is damaged.

    Example:
        >>> [run.config.seed for run in recorded("confusion-matrix")]
        [1, 2, 3, 4, 5]
    """
    return [run for run in (records.find(config, [records.RECORDED]) for config in configs_of(name)) if run is not None]


def backend_control() -> dict[str, list[configs.Run]]:
    """The committed runs that exist twice, by backend: those of the studies, and the same trained on another backend."""
    here = records.load_all(records.CONTROL)
    return {"jax": [records.find(run.config, [records.RECORDED]) for run in here], "tensorflow": here}


def train(name: str, record: bool = False, scheduler: str | None = None, workers: int | None = None) -> list[configs.Run]:
    """Train the missing runs of a study, and return all its runs.

    Args:
        name: a key of `STUDIES`.
        record: keep the runs with the committed records, in ``data/results``; otherwise under ``build/runs``. Either way they
            train in the precision of the study: runs in two precisions have two names, and are not compared. Hardware that does
            not compute in it needs longer.
        scheduler, workers: see `cluster.complete`.

    Raises:
        StudyError: if runs failed; the others are recorded.
    """
    return cluster.complete(configs_of(name), [records.RECORDED if record else records.LOCAL], scheduler, workers, name)


def _smoke(name):
    """Two epochs on 64 images for the first seed and fold of each network: seconds instead of hours."""
    first = {}
    for config in configs_of(name):
        first.setdefault(replace(config, seed=1, fold=0), config)
    tiny = [replace(config, **configs.SMOKE) for config in first.values()]
    with tempfile.TemporaryDirectory() as folder:
        return cluster.complete(tiny, [folder], title=f"{name}, tiny")
