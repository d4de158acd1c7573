"""The train lane: each notebook with RETRAIN runs top to bottom, with tiny real trainings in a temporary folder."""

import os
import sys
import time

from tumor_mri.datasets import download, manifests
from tumor_mri.site import notebooks


def main():
    try:
        found = download.find()
    except manifests.DatasetError as error:
        sys.exit(f"error: {error}")
    if found is None:
        print("SKIPPED the train lane: needs the dataset: run `make data`, or set TUMOR_MRI_DATA to its folder")
        return 0
    os.environ["TUMOR_MRI_RETRAIN"] = "smoke"
    failed = 0
    paths = [path for path in notebooks.notebook_paths() if "RETRAIN" in path.read_text(encoding="utf-8")]
    for path in paths:
        started = time.perf_counter()
        try:
            notebooks.execute(path)
            print(f"{path.name}: trained, {time.perf_counter() - started:.0f} s", flush=True)
        except Exception as error:  # a failing cell, an unknown magic, a dead kernel: all count, the others still run
            failed += 1
            print(f"{path.name}: FAILED\n{error}", flush=True)
    print(f"{len(paths) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
