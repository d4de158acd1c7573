"""What several tests start from: settings of small runs, a run of nothing, a dataset of three files."""

import hashlib
from dataclasses import replace

import numpy as np
import pandas as pd

from tumor_mri.runs import configs

BASE, CHOSEN = "32/64/128/128", "25/50/100/100"  # names of the report's network and of its final one
TINY = configs.RunConfig("training_only", widths=(4, 4, 4, 4), epochs=2, train_images=64)
OURS = configs.config_of("residual", "grouped")
TINY_OURS = replace(OURS, epochs=2, train_images=64)


def empty_run(config=TINY):
    """A whole run of nothing, for tests that train none."""
    nothing = np.zeros((1, 4), dtype=np.float32)
    classes = np.zeros((1, 1), dtype=np.uint8)
    history = {"accuracy": [0.5], "val_accuracy": [0.5]}
    environment = {"backend": "none", "dataset": "none"}
    return configs.Run(config, history, ["a"], ["b"], ["c"], classes, nothing, nothing, classes[0], environment, 1.0)


def tiny_dataset(folder):
    """Three files, and their manifest."""
    rows = []
    for path, content in {
        "Training/no_tumor/a.jpg": b"first image",
        "Training/no_tumor/b.jpg": b"second image",
        "Testing/no_tumor/c.jpg": b"third image",
    }.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        rows.append({"path": path, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)})
    return pd.DataFrame(rows)
