"""Score a PyTorch network on the grouped folds. PyTorch is not among the project's requirements: install it in an environment of
its own, beside this project's base.

    pip install -e . torch
    python examples/pytorch_network.py --epochs 10
    tumor-mri score build/pytorch.csv --protocol grouped

Material for learning. Not a diagnostic device.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

from tumor_mri import datasets, models


def build() -> nn.Module:
    """A small network for prepared scans, (batch, 1, 96, 96) to logits, (batch, 4)."""
    layers, channels = [], 1
    for filters in (16, 32, 64, 128):
        layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.BatchNorm2d(filters), nn.ReLU(), nn.MaxPool2d(2)]
        channels = filters
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 4))


def train(scans: torch.Tensor, labels: torch.Tensor, epochs: int, seed: int) -> nn.Module:
    """Train for a fixed number of epochs: no validation image chooses anything."""
    torch.manual_seed(seed)
    model = build()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, epochs=epochs, steps_per_epoch=-(-len(scans) // 32))
    for _ in range(epochs):
        for batch in torch.randperm(len(scans)).split(32):
            loss = nn.functional.cross_entropy(model(scans[batch]), labels[batch], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("build/pytorch.csv"))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    options = parser.parse_args()
    manifest = datasets.load_manifest()
    scans = torch.from_numpy(models.load_prepared(manifest)).float()[:, None] / 128 - 1
    labels = torch.from_numpy(datasets.class_indices(manifest))
    testing = np.flatnonzero(datasets.is_testing(manifest))
    names = datasets.dataset_of(manifest).classes
    parts = []
    wanted = [(seed, fold) for seed in options.seeds for fold in range(datasets.GROUPED.folds)]
    for seed, fold in tqdm(wanted, desc="training", unit="network"):
        split = datasets.split(manifest, "grouped", fold)
        model = train(scans[split.train], labels[split.train], options.epochs, seed)
        asked = np.concatenate([split.validation, testing])
        with torch.no_grad():
            shares = torch.cat([model(part).softmax(dim=1) for part in scans[asked].split(256)]).numpy()
        paths = manifest["path"].to_numpy()[asked]
        parts.append(pd.DataFrame(shares, columns=list(names)).assign(path=paths, fold=fold, seed=seed))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    pd.concat(parts).to_csv(options.output, index=False)
    print(f"The predictions are in {options.output}: run `tumor-mri score {options.output} --protocol grouped`")


if __name__ == "__main__":
    main()
