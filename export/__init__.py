"""Model to verified bundle."""

from edgeseg.export.api import Progress, export_bundle, load_predictor, verify_bundle
from edgeseg.export.bundle import Artifact, Bundle, Verdict, open_bundle
from edgeseg.export.runtimes import Coverage, Runtime, get_runtime, runtime_names

__all__ = [
    "Artifact",
    "Bundle",
    "Coverage",
    "Progress",
    "Runtime",
    "Verdict",
    "export_bundle",
    "get_runtime",
    "load_predictor",
    "open_bundle",
    "runtime_names",
    "verify_bundle",
]
