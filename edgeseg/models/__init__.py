"""Networks: a registered backbone under a registered head."""

from edgeseg.models import kmax, mobilenet  # registers what they hold
from edgeseg.models.model import SlotsModel, build_model, count_macs, count_parameters
from edgeseg.models.registry import BACKBONES, HEADS, register_backbone, register_head

__all__ = [
    "BACKBONES",
    "HEADS",
    "SlotsModel",
    "build_model",
    "count_macs",
    "count_parameters",
    "kmax",
    "mobilenet",
    "register_backbone",
    "register_head",
]
