"""Runs: the configuration of a training, the training itself, its record on disk, and many trainings on a cluster."""

from tumor_mri.runs.cluster import StudyError, complete
from tumor_mri.runs.configs import Prediction, Run, RunConfig, config_of, usual_settings
from tumor_mri.runs.records import RecordError, find, is_recorded, keep, load, load_all, save
from tumor_mri.runs.training import build_network, load_trained, train

__all__ = [
    "Prediction",
    "RecordError",
    "Run",
    "RunConfig",
    "StudyError",
    "build_network",
    "complete",
    "config_of",
    "find",
    "is_recorded",
    "keep",
    "load",
    "load_all",
    "load_trained",
    "save",
    "train",
    "usual_settings",
]
