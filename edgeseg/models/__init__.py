"""Networks: a registered backbone under a registered head."""

from edgeseg.models import (  # registers what they hold
    deeplab_v3plus,
    kmax,
    kmax_deeplab,
    lraspp,
    maskconver,
    moat,
    mobilenet,
    panoptic_deeplab,
    pem,
    timm_adapter,
)
from edgeseg.models.model import SlotsModel, build_model, count_macs, count_parameters
from edgeseg.models.registry import BACKBONES, HEADS, register_backbone, register_head

__all__ = [
    "BACKBONES",
    "HEADS",
    "SlotsModel",
    "build_model",
    "count_macs",
    "count_parameters",
    "deeplab_v3plus",
    "kmax",
    "kmax_deeplab",
    "lraspp",
    "maskconver",
    "moat",
    "mobilenet",
    "panoptic_deeplab",
    "pem",
    "register_backbone",
    "register_head",
    "timm_adapter",
]
