"""The hardware and software of this computer: cores, processor, GPUs, precision, versions, commit."""

import os
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from tumor_mri.datasets import manifests

CPU_INFO = Path("/proc/cpuinfo")
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # two flags of x86 processors, one of ARM
BFLOAT16_CAPABILITY = 8.0  # minimum compute capability of NVIDIA GPUs (Ampere)


def cpu_count() -> int:
    """The number of cores that this process may use; in a container, this can be fewer than the computer has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def processor_name() -> str:
    """The name of the processor, or its architecture if the system does not give the name."""
    return _cpu_info().get("model name") or platform.processor() or platform.machine()


def gpu_capabilities() -> list[float]:
    """The compute capability of each NVIDIA GPU, such as 8.0; empty if there is none. Needs neither TensorFlow nor JAX."""
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True)
    return [float(line) for line in answer.stdout.split()] if answer.returncode == 0 else []


def native_precision() -> str:
    """``mixed_bfloat16`` if the hardware supports it, otherwise ``float32``, which is faster than emulated bfloat16."""
    gpus = gpu_capabilities()
    if gpus:
        return "mixed_bfloat16" if min(gpus) >= BFLOAT16_CAPABILITY else "float32"
    info = _cpu_info()
    flags = set((info.get("flags") or info.get("Features") or "").split())
    return "mixed_bfloat16" if flags & BFLOAT16_FLAGS else "float32"


def commit() -> str | None:
    """The commit of this code, with '+' if files differ from it; None outside a git checkout."""

    def git(*arguments):
        answer = subprocess.run(["git", *arguments], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True)
        return answer.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", ".")
        return git("rev-parse", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _cpu_info():
    """The entries for the first processor in Linux' ``/proc/cpuinfo``; empty on other systems."""
    try:
        first = CPU_INFO.read_text().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def describe(manifest: pd.DataFrame) -> dict:
    """Versions, hardware, backend, commit and dataset fingerprint. A comparison of runs must keep these equal, or name them."""
    from tumor_mri._keras import keras

    return {
        "backend": keras.backend.backend(),
        "commit": commit(),
        "cpu": processor_name(),
        "cpus": cpu_count(),
        "dataset": manifests.fingerprint(manifest),
        "devices": _accelerators(),
        "keras": keras.__version__,
        "numpy": np.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "tensorflow": _installed_version("tensorflow"),
        "jax": _installed_version("jax"),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
    }


def _accelerators():
    """The accelerators that the backend can use; empty on a CPU."""
    from tumor_mri._keras import keras

    return [name for name in keras.distribution.list_devices() if not name.startswith("cpu")]


def _installed_version(package):
    """The version of a package; None if it is not installed."""
    try:
        return version(package)
    except ImportError:
        return None
