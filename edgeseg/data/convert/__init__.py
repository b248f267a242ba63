"""Other label formats made into COCO panoptic folders."""
