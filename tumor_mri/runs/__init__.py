"""One training: what was asked for, the training itself, its record on disk, and many of them on a cluster."""

from tumor_mri.runs.cluster import StudyError, complete
from tumor_mri.runs.configs import Run, RunConfig
from tumor_mri.runs.records import RecordError, check_writable, decode, encode, find, keep, load, load_all, path_of, save, sweep
from tumor_mri.runs.training import build_alone, train

__all__ = [
    "RecordError",
    "Run",
    "RunConfig",
    "StudyError",
    "build_alone",
    "check_writable",
    "complete",
    "decode",
    "encode",
    "find",
    "keep",
    "load",
    "load_all",
    "path_of",
    "save",
    "sweep",
    "train",
]
