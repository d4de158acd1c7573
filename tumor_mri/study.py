"""Many runs: named tables of them, read from records where they are recorded and trained where they are not."""

import os
import tempfile
from dataclasses import replace
from pathlib import Path

from tqdm.auto import tqdm

from tumor_mri import dataset, network, records, training

RECORDED = dataset.DATA / "results"  # committed: what the notebooks' figures come from
LOCAL = dataset.ROOT / "build" / "runs"  # trained here, ignored by git


def _configs(protocol, widths, seeds):
    return [training.RunConfig(protocol, widths, seed) for seed in seeds]


_A_BASE = _configs("testing_folder", network.BASE_WIDTHS, (1,))
_B_BASE = _configs("training_only", network.BASE_WIDTHS, (1,))
_A_CHOSEN = _configs("testing_folder", network.CHOSEN_WIDTHS, (1,))
_B_CHOSEN = _configs("training_only", network.CHOSEN_WIDTHS, (1,))
_A_MORE = _configs("testing_folder", network.MORE_WIDTHS, (1,))
_B_MORE = _configs("training_only", network.MORE_WIDTHS, ())
_B_SOME_MORE = _configs("training_only", network.SOME_MORE_WIDTHS, (1,))

STUDIES = {
    "compare-splits": _A_BASE + _B_BASE,
    "sweep-widths": _A_BASE + _A_MORE + _A_CHOSEN + _B_BASE + _B_MORE + _B_SOME_MORE + _B_CHOSEN,
    "confusion-matrix": _B_CHOSEN,
}


def configs(name) -> list:
    """The runs of a study.

    Raises:
        ValueError: for an unknown name.
    """
    if name not in STUDIES:
        raise ValueError(f"unknown study {name!r}: choose one of {', '.join(STUDIES)}")
    return STUDIES[name]


def run(name, retrain=False) -> list:
    """The runs of a study, in its order: a list of `training.Run`.

    Recorded runs are read; a run that is not recorded is trained and kept under ``build/runs``. With ``TUMOR_MRI_RETRAIN=smoke``
    in the environment, one tiny run of each network is trained instead: a test that training works, not a result.

    Args:
        name: a key of `STUDIES`.
        retrain: train every run here, leaving the committed records alone. Goes on where an earlier call stopped.
    """
    if os.environ.get("TUMOR_MRI_RETRAIN") == "smoke":
        return _smoke(name)
    folders = [LOCAL] if retrain else [RECORDED, LOCAL]
    return [_recorded(config, folders) or _train(config, LOCAL) for config in configs(name)]


def train(name, record=False) -> list:
    """Train what a study still lacks, and return its runs.

    Args:
        name: a key of `STUDIES`.
        record: keep the runs with the committed records, replacing those that are there; else under ``build/runs``.
    """
    if not record:
        return run(name, retrain=True)
    return [_train(config, RECORDED) for config in tqdm(configs(name), desc=name, unit="run")]


def _recorded(config, folders):
    """The first record of a run in `folders`, or None."""
    paths = [records.path_of(config, folder) for folder in folders]
    return next((records.load(path) for path in paths if path.is_file()), None)


def _train(config, folder):
    run = training.train(config)
    records.save(run, folder, overwrite=True)
    return run


def _smoke(name):
    """Two epochs on 64 images for the first seed of each network: seconds instead of hours."""
    wanted = [config for config in configs(name) if config.seed == 1]
    with tempfile.TemporaryDirectory() as folder:
        return [_train(replace(config, epochs=2, train_images=64), Path(folder)) for config in wanted]
