"""Networks and how they are trained, what of a scan they are shown, the published one, and where a network looks."""

from tumor_mri.models.fingerprint import computes_in, describe, is_precision
from tumor_mri.models.gradcam import heat_maps
from tumor_mri.models.networks import (
    BASE_WIDTHS,
    CHOSEN_WIDTHS,
    MORE_WIDTHS,
    REPORT_WIDTHS,
    SOME_MORE_WIDTHS,
    build_cnn,
    build_residual,
    check_widths,
    label,
    parameter_count,
)
from tumor_mri.models.preprocessing import crop_to_head, equalise, find_head, load_prepared, prepare, read, vary
from tumor_mri.models.published import PredictionError, Published, about, as_text, files_in, load, predict
from tumor_mri.models.recipes import (
    LABEL_SMOOTHING,
    RESIDUAL,
    WARM_UP,
    build,
    families,
    load_images,
    load_trained,
    loss,
    optimizer,
)

__all__ = [
    "BASE_WIDTHS",
    "CHOSEN_WIDTHS",
    "LABEL_SMOOTHING",
    "MORE_WIDTHS",
    "PredictionError",
    "Published",
    "REPORT_WIDTHS",
    "RESIDUAL",
    "SOME_MORE_WIDTHS",
    "WARM_UP",
    "about",
    "as_text",
    "build",
    "build_cnn",
    "build_residual",
    "check_widths",
    "computes_in",
    "crop_to_head",
    "describe",
    "equalise",
    "families",
    "files_in",
    "find_head",
    "heat_maps",
    "is_precision",
    "label",
    "load",
    "load_images",
    "load_prepared",
    "load_trained",
    "loss",
    "optimizer",
    "parameter_count",
    "predict",
    "prepare",
    "read",
    "vary",
]
