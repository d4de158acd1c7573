"""Runs: the configuration of a training, the training itself, its record on disk, and many trainings on a cluster."""

from tumor_mri.runs.cluster import StudyError, complete
from tumor_mri.runs.configs import Prediction, Run, RunConfig, config_of, usual_settings
from tumor_mri.runs.records import (
    RecordError,
    check_writable,
    decode,
    encode,
    find,
    is_recorded,
    keep,
    load,
    load_all,
    path_of,
    save,
    sweep,
)
from tumor_mri.runs.training import build_alone, build_network, load_trained, train

__all__ = [
    "Prediction",
    "RecordError",
    "Run",
    "RunConfig",
    "StudyError",
    "build_alone",
    "build_network",
    "check_writable",
    "complete",
    "config_of",
    "decode",
    "encode",
    "find",
    "is_recorded",
    "keep",
    "load",
    "load_all",
    "load_trained",
    "path_of",
    "save",
    "sweep",
    "train",
    "usual_settings",
]
