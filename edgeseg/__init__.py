"""Efficient panoptic segmentation for phones."""
