"""Float model to integer model: recipes, quantizers, calibration and training."""

from edgeseg.quantize.activations import ActivationQuantizer
from edgeseg.quantize.calibrate import calibrate
from edgeseg.quantize.deploy import deploy, deploy_again
from edgeseg.quantize.divergence import distillation_loss
from edgeseg.quantize.fine_tune import Progress, fine_tune
from edgeseg.quantize.integer_reference import integer_reference
from edgeseg.quantize.modules import QuantConv2d, QuantLinear, set_phase
from edgeseg.quantize.prepare import prepare
from edgeseg.quantize.qat import count_integer_weights, quantize
from edgeseg.quantize.recipes import RECIPES, Recipe, find_recipe

__all__ = [
    "RECIPES",
    "ActivationQuantizer",
    "Progress",
    "QuantConv2d",
    "QuantLinear",
    "Recipe",
    "calibrate",
    "count_integer_weights",
    "deploy",
    "deploy_again",
    "distillation_loss",
    "find_recipe",
    "fine_tune",
    "integer_reference",
    "prepare",
    "quantize",
    "set_phase",
]
