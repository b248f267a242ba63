"""Networks: a registered backbone under a registered head."""

from edgeseg.models import kmax, mobilenet, panoptic_deeplab  # registers what they hold
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
    "panoptic_deeplab",
    "register_backbone",
    "register_head",
]
