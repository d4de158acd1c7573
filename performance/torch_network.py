"""The peer: the same network, the same images and the same work per epoch, in PyTorch, as fast as we can make it."""

import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from tumor_mri.datasets import decoding, manifests, protocols
from tumor_mri.models import networks

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Network(nn.Module):
    """`network.build_cnn` without its softmax, which is in the loss.

    ReLU comes after max-pooling: the same function and the same gradients, on a quarter of the values.
    """

    def __init__(self, widths=networks.BASE_WIDTHS, input_shape=(150, 150, 3), class_count=4):
        super().__init__()
        first, second, third, dense = widths
        height, width, channels = input_shape
        self.first = nn.Conv2d(channels, first, 3)
        self.second = nn.Conv2d(first, second, 3)
        self.third = nn.Conv2d(second, third, 3)
        for _ in range(3):
            height, width = (height - 2) // 2, (width - 2) // 2
        self.dense = nn.Linear(height * width * third, dense)
        self.output = nn.Linear(dense, class_count)

    def forward(self, pixels):
        """Logits, (batch, classes), of pixels in 0 to 255, (batch, channels, height, width)."""
        values = pixels / 127.5 - 1
        values = functional.relu(functional.max_pool2d(self.first(values), 2))
        values = functional.relu(functional.max_pool2d(self.second(values), 2))
        values = functional.dropout(values, 0.25, self.training)
        values = functional.relu(functional.max_pool2d(self.third(values), 2))
        values = functional.dropout(values, 0.25, self.training)
        values = functional.relu(self.dense(values.flatten(1)))
        return self.output(functional.dropout(values, 0.5, self.training))


class Trainer:
    """Trains the network on split B, epoch by epoch.

    Args:
        precision: ``float32``, or ``mixed_bfloat16`` for autocast.
        compiled: whether `torch.compile` makes one program of the network.
    """

    def __init__(self, precision, compiled, batch_size=32):
        torch.manual_seed(1)
        manifest = manifests.load_manifest()
        self.images = decoding.load_images(manifest)
        self.labels = manifests.class_indices(manifest)
        self.split = protocols.split(manifest, "training_only")
        self.generator = np.random.default_rng(1)
        self.batch_size = batch_size
        network_ = Network().to(DEVICE, memory_format=torch.channels_last)
        self.optimiser = torch.optim.Adam(network_.parameters(), lr=1e-3, fused=True)
        self.network = torch.compile(network_) if compiled else network_
        self.autocast = torch.autocast(DEVICE, torch.bfloat16, enabled=precision == "mixed_bfloat16")

    def steps(self, count) -> float:
        """Seconds of a training step: the median of `count`, after as many that warm up."""
        rows = self.generator.permutation(self.split.train)
        seconds = []
        for step in range(2 * count):
            started = time.perf_counter()
            self._train(rows[step * self.batch_size : (step + 1) * self.batch_size]).item()
            seconds.append(time.perf_counter() - started)
        return float(np.median(seconds[count:]))

    def epoch(self) -> float:
        """Train on every training image, then predict every validation image; the validation accuracy."""
        rows = self.generator.permutation(self.split.train)
        starts = range(0, len(rows), self.batch_size)
        loss = sum(self._train(rows[start : start + self.batch_size]) for start in starts)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the training loss became {loss.item()}")
        right = sum(self._right(self.split.validation[start : start + 64]) for start in range(0, len(self.split.validation), 64))
        return right.item() / len(self.split.validation)

    def _batch(self, rows):
        grey = torch.from_numpy(self.images[rows]).to(DEVICE)[:, None].float()
        pixels = grey.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        return pixels, torch.from_numpy(self.labels[rows]).long().to(DEVICE)

    def _train(self, rows):
        pixels, labels = self._batch(rows)
        self.network.train()
        self.optimiser.zero_grad(set_to_none=True)
        with self.autocast:
            logits = self.network(pixels)
        loss = functional.cross_entropy(logits.float(), labels)
        loss.backward()
        self.optimiser.step()
        return loss.detach()

    @torch.inference_mode()
    def _right(self, rows):
        pixels, labels = self._batch(rows)
        self.network.eval()
        with self.autocast:
            return (self.network(pixels).argmax(1) == labels).sum()
