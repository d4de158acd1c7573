"""Phantoms: drawings that replace scans if the dataset is not available. They contain no data of any patient."""

import zlib

import numpy as np

SIZE = 150


def draw(class_name: str, seed: int = 0, negative: str = "no_tumor") -> np.ndarray:
    """A drawing of a head from above, with a blob where a tumour of the class might lie.

    Args:
        class_name: a class folder of the dataset, such as ``glioma_tumor``.
        seed: selects one of many drawings; the same seed gives the same drawing.
        negative: the class that has no blob.

    Returns:
        Grey values, uint8, (150, 150).

    Example:
        >>> draw("glioma_tumor", seed=3).shape
        (150, 150)
    """
    generator = np.random.default_rng([seed, zlib.crc32(class_name.encode())])
    rows, columns = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    radius = np.hypot(columns / 0.72, rows / 0.86)
    texture = _smooth(generator.normal(size=(SIZE, SIZE)), 6)
    picture = np.where(radius < 0.93, 95 + 30 * texture, 15)
    picture = np.where((radius > 0.93) & (radius < 1.0), 190, picture)
    picture = np.where(radius > 1.0, 4, picture)
    if class_name != negative:
        picture = picture + _blob(class_name, rows, columns, generator)
    return np.clip(picture, 0, 255).astype(np.uint8)


def _blob(class_name, rows, columns, generator):
    """Brightness to add: ragged for a glioma, round and near the rim for a meningioma, small and low for a pituitary tumour."""
    side = generator.choice([-1, 1])
    other = zlib.crc32(class_name.encode()) % 100 / 100  # for any other class: the name decides size and raggedness
    row, column, size, ragged = {
        "glioma_tumor": (generator.uniform(-0.3, 0.2), 0.3 * side, 0.24, 0.35),
        "meningioma_tumor": (generator.uniform(-0.3, 0.1), 0.5 * side, 0.16, 0.03),
        "pituitary_tumor": (0.35, 0.0, 0.11, 0.05),
    }.get(class_name, (generator.uniform(-0.4, 0.3), 0.35 * side, 0.1 + 0.15 * other, 0.2 * other))
    angle = np.arctan2(rows - row, columns - column)
    edge = size * (1 + ragged * np.sin(3 * angle + generator.uniform(0, 6)) * np.cos(2 * angle))
    distance = np.hypot(rows - row, columns - column)
    return 90 / (1 + np.exp((distance - edge) / 0.015))


def _smooth(noise, width):
    """Noise blurred with a Gaussian in Fourier space, scaled to a standard deviation of 1."""
    frequency = np.fft.fftfreq(SIZE)
    filter_ = np.exp(-2 * (np.pi * width) ** 2 * (frequency[:, None] ** 2 + frequency**2))
    blurred = np.fft.ifft2(np.fft.fft2(noise) * filter_).real
    return blurred / blurred.std()


def no_heads() -> dict[str, np.ndarray]:
    """Pictures that show no head, by name, uint8, (200, 200): one grey level, noise and shapes."""
    across = np.mgrid[:200, :200][1]
    pictures = {
        "black": np.zeros((200, 200)),
        "white": np.full((200, 200), 255),
        "noise": np.random.default_rng(0).integers(0, 256, (200, 200)),
        "ramp": across,
        "checks": 255 * ((across // 25 + across.T // 25) % 2),
    }
    return {name: picture.astype(np.uint8) for name, picture in pictures.items()}
