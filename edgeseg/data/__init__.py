"""Images with panoptic labels."""
