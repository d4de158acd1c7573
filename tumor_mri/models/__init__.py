"""Networks, training recipes, preprocessing of scans, the published network, and Grad-CAM."""

from tumor_mri.models.efficientnet import build_efficientnet
from tumor_mri.models.fingerprint import computes_in, describe, is_of, is_precision
from tumor_mri.models.gradcam import heat_maps
from tumor_mri.models.networks import (
    BASE_WIDTHS,
    CHOSEN_WIDTHS,
    CNN,
    LITE0,
    MORE_WIDTHS,
    NETWORKS,
    REPORT_WIDTHS,
    RESIDUAL,
    SOME_MORE_WIDTHS,
    Network,
    build_cnn,
    build_residual,
    label,
    parameter_count,
)
from tumor_mri.models.preprocessing import crop_to_head, equalise, find_head, load_prepared, prepare
from tumor_mri.models.published import PredictionError, Published, about, as_text, load, load_keras, predict
from tumor_mri.models.recipes import FINE_TUNED, LABEL_SMOOTHING, PREPARED, PUBLIC, RECIPES, REPORT, Recipe

__all__ = [
    "BASE_WIDTHS",
    "CHOSEN_WIDTHS",
    "CNN",
    "FINE_TUNED",
    "LABEL_SMOOTHING",
    "LITE0",
    "MORE_WIDTHS",
    "NETWORKS",
    "Network",
    "PREPARED",
    "PUBLIC",
    "PredictionError",
    "Published",
    "RECIPES",
    "REPORT",
    "REPORT_WIDTHS",
    "RESIDUAL",
    "Recipe",
    "SOME_MORE_WIDTHS",
    "about",
    "as_text",
    "build_cnn",
    "build_efficientnet",
    "build_residual",
    "computes_in",
    "crop_to_head",
    "describe",
    "equalise",
    "find_head",
    "heat_maps",
    "is_of",
    "is_precision",
    "label",
    "load",
    "load_keras",
    "load_prepared",
    "parameter_count",
    "predict",
    "prepare",
]
