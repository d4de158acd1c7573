"""The examples of other tools, run as a reader would run them."""

import subprocess
import sys

import pandas as pd
import pytest

from tumor_mri import __main__ as cli
from tumor_mri.datasets import manifests

EXAMPLES = manifests.ROOT / "examples"
TORCH = manifests.ROOT / "build/torch/bin/python"  # `make test-torch` makes it


def scored(example, tmp_path, *arguments, python=sys.executable):
    """The row of an example's predictions."""
    command = [python, EXAMPLES / f"{example}.py", "--output", tmp_path / f"{example}.csv", *arguments]
    done = subprocess.run(command, cwd=manifests.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"tumor-mri score {tmp_path}" in done.stdout
    arguments = ["--protocol", "grouped", "--output", str(tmp_path)]
    assert cli.main(["score", str(tmp_path / f"{example}.csv"), *arguments, "--name", "example"]) == 0
    return pd.read_csv(tmp_path / "example.csv").iloc[0]


@pytest.mark.slow
@pytest.mark.needs_dataset
def test_scikit_learn(tmp_path):
    row = scored("hog_logistic_regression", tmp_path)
    assert row["protocol"] == "grouped" and 0.7 < row["low"] < row["accuracy"] < row["high"] < 0.9
    assert row["auroc"] > 0.85 and 0 < row["unseen_recall"] < 1


@pytest.mark.slow
@pytest.mark.needs_dataset
def test_pytorch(tmp_path):
    if not TORCH.exists():
        pytest.skip("needs PyTorch, in an environment of its own: `make test-torch`")
    row = scored("pytorch_network", tmp_path, "--epochs", "1", python=TORCH)
    assert 0.3 < row["accuracy"] < 1
