"""The networks, as functions of their widths."""

REPORT_WIDTHS = {
    "32/64/128/128": (32, 64, 128, 128),
    "40/80/160/160": (40, 80, 160, 160),
    "36/72/144/144": (36, 72, 144, 144),
    "25/50/100/100": (25, 50, 100, 100),
}
BASE_WIDTHS = REPORT_WIDTHS["32/64/128/128"]
CHOSEN_WIDTHS = REPORT_WIDTHS["25/50/100/100"]


def build_cnn(widths=BASE_WIDTHS, input_shape=(150, 150, 3), class_count=4):
    """The report's network, layer for layer.

    Args:
        widths: filters of the three convolutions, then units of the dense layer; four integers of at least 1.
        input_shape: height, width (both at least 22 pixels), channels. Pixels are expected in 0 to 255.
        class_count: number of classes, at least 2.

    Returns:
        An uncompiled ``keras.Sequential``: ``(batch, *input_shape)`` to ``(batch, class_count)`` probabilities.

    Raises:
        ValueError: where `widths` is not four integers of at least 1.
    """
    import keras  # here, so that reading recorded runs needs no TensorFlow
    from keras import layers

    if len(widths) != 4 or any(int(width) != width or width < 1 for width in widths):
        raise ValueError(f"widths are four integers of at least 1 (three convolutions, one dense layer), got {widths!r}")
    first, second, third, dense = widths
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Rescaling(scale=1.0 / 127.5, offset=-1),
            layers.Conv2D(first, (3, 3), activation="relu"),
            layers.MaxPooling2D((2, 2)),
            layers.Conv2D(second, (3, 3), activation="relu"),
            layers.MaxPooling2D((2, 2)),
            layers.Dropout(0.25),
            layers.Conv2D(third, (3, 3), activation="relu"),
            layers.MaxPooling2D((2, 2)),
            layers.Dropout(0.25),
            layers.Flatten(),
            layers.Dense(dense, activation="relu"),
            layers.Dropout(0.5),
            # float32 under mixed precision too: a softmax in bfloat16 would round probabilities to two or three digits
            layers.Dense(class_count, activation="softmax", dtype="float32"),
        ],
        name="cnn_" + "_".join(str(width) for width in widths),
    )
