"""How much arithmetic the network asks for, counted exactly: the base of what a machine could do at best.

A multiplication and an addition count as two operations. Only convolutions and dense layers are counted: all else (biases,
ReLU, pooling, dropout, softmax, Adam) is a few percent of operations, and no matrix product.
"""

from tumor_mri.models import networks

KERNEL = 3  # pixels, the side of every convolution's window


def layers(widths=networks.BASE_WIDTHS, input_shape=(150, 150, 3), class_count=4) -> list:
    """Operations of each layer for one image.

    Args:
        widths: filters of the three convolutions, then units of the dense layer.
        input_shape: height, width, channels.
        class_count: number of classes.

    Returns:
        list of (name, forward, backward). Backward is the gradient of the weights and that of the inputs, each as much as
        forward; the first convolution needs none of its inputs, which are pixels.
    """
    height, width, inputs = input_shape
    found = []
    for number, filters in enumerate(widths[:3], start=1):
        height, width = height - KERNEL + 1, width - KERNEL + 1
        forward = 2 * height * width * filters * KERNEL**2 * inputs
        found.append((f"convolution {number}", forward, forward if number == 1 else 2 * forward))
        height, width, inputs = height // 2, width // 2, filters  # pooling leaves an odd last row or column out
    features = height * width * inputs
    for name, units in (("dense", widths[3]), ("output", class_count)):
        forward = 2 * features * units
        found.append((name, forward, 2 * forward))
        features = units
    return found


def per_epoch(train_images, validation_images, widths=networks.BASE_WIDTHS, input_shape=(150, 150, 3), class_count=4) -> int:
    """Operations of one epoch: training images forward and backward, validation images forward."""
    counted = layers(widths, input_shape, class_count)
    forward = sum(layer[1] for layer in counted)
    backward = sum(layer[2] for layer in counted)
    return train_images * (forward + backward) + validation_images * forward
