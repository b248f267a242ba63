"""Float model to integer model: recipes, quantizers, calibration and training."""

from edgeseg.quantize.modules import ActivationQuantizer, QuantConv2d, set_phase
from edgeseg.quantize.prepare import prepare
from edgeseg.quantize.qat import (
    Progress,
    calibrate,
    count_integer_weights,
    deploy,
    distillation_loss,
    fine_tune,
    quantize,
)
from edgeseg.quantize.recipes import RECIPES, Recipe, find_recipe

__all__ = [
    "RECIPES",
    "ActivationQuantizer",
    "Progress",
    "QuantConv2d",
    "Recipe",
    "calibrate",
    "count_integer_weights",
    "deploy",
    "distillation_loss",
    "find_recipe",
    "fine_tune",
    "prepare",
    "quantize",
    "set_phase",
]
