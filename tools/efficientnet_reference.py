"""Record what the original network says about two photographs: ``python -m tools.efficientnet_reference WHEEL``.

This is the only part that needs PyTorch, and nothing else does: in an environment of its own,
``pip install torch==2.13.0 efficientnet-lite-pytorch==0.1.0 scikit-learn pillow pandas tqdm``.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

from tools import convert_efficientnet
from tumor_mri.datasets import manifests

REFERENCE = manifests.ROOT / "tests" / "efficientnet_lite0_reference.npz"  # committed
PHOTOGRAPHS = ("china", "flower")
SIDE = 224  # pixels; what the network was trained with


def photograph(name):
    """One of scikit-learn's photographs, the square in its middle.

    Args:
        name: out of `PHOTOGRAPHS`.

    Returns:
        uint8, (224, 224, 3), red, green and blue.
    """
    pixels = load_sample_image(f"{name}.jpg")
    side = min(pixels.shape[:2])
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    middle = Image.fromarray(pixels[top : top + side, left : left + side])
    return np.asarray(middle.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def original_answers(tensors) -> dict:
    """Features and probabilities of the original network.

    Args:
        tensors: from `convert_efficientnet.read_tensors`.

    Returns:
        ``NAME_features``, float32, (1280,), and ``NAME_probabilities``, float32, (1000,), for each photograph.
    """
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    original = EfficientNet.from_name("efficientnet-lite0", image_size=SIDE).eval()
    original.load_state_dict({name: torch.tensor(values) for name, values in tensors.items()})
    answers = {}
    for name in PHOTOGRAPHS:
        pixels = torch.tensor((photograph(name).astype(np.float32) - 127) / 128).permute(2, 0, 1)[None]
        with torch.no_grad():
            features = original.extract_features(pixels).mean(dim=(2, 3))
            probabilities = original(pixels).softmax(dim=1)
        answers |= {f"{name}_features": features[0].numpy(), f"{name}_probabilities": probabilities[0].numpy()}
    return answers


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    wheel = parser.parse_args().wheel
    np.savez(REFERENCE, **original_answers(convert_efficientnet.read_wheel(wheel, "lite0")))
