"""The strict lane: re-execute the notebooks and compare every stored text with the new one (nbval)."""

import subprocess
import sys
from pathlib import Path

from tumor_mri.datasets import download, manifests
from tumor_mri.site import notebook_files, notebooks

HERE = Path(__file__).parent


def command(paths):
    """The pytest command that compares notebooks, in the Python that runs this."""
    side_by_side = ["-n", "2", "--dist", "loadscope"] if len(paths) > 1 else []
    options = ["--nbval", "--nbval-current-env", "--nbval-cell-timeout=600", f"--nbval-sanitize-with={HERE / 'sanitize.cfg'}"]
    return [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *side_by_side, *options, *map(str, paths)]


def needs_dataset(path):
    return '"needs-dataset"' in path.read_text(encoding="utf-8")


def main():
    try:
        found = download.find()
    except manifests.DatasetError as error:
        sys.exit(f"error: {error}")
    paths = notebooks.notebook_paths() + notebook_files.solution_paths()
    if found is None:
        for path in filter(needs_dataset, paths):
            print(f"SKIPPED {path.name}: needs the dataset: run `make data`, or set TUMOR_MRI_DATA to its folder")
        paths = [path for path in paths if not needs_dataset(path)]
    return subprocess.run(command(paths)).returncode if paths else 0


if __name__ == "__main__":
    sys.exit(main())
