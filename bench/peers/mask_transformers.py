"""Mask2Former and EoMT of transformers with their own pre- and post-processing, in the peers' environment.

python -m edgeseg.bench.peers.mask_transformers NAME SIDE SEGMENTS takes turns (turns.py). Weights are random; shapes
are those of the smallest published COCO panoptic checkpoints.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeseg.bench.peers.turns import Facts, Subject, photo, serve

_NUM_CATEGORIES = 133  # of COCO panoptic


def mask2former(side: int) -> tuple[Any, Any]:
    """Network and image processor; shape of facebook/mask2former-swin-tiny-coco-panoptic."""
    from transformers import (
        Mask2FormerConfig,
        Mask2FormerForUniversalSegmentation,
        Mask2FormerImageProcessor,
        SwinConfig,
    )

    swin = SwinConfig(
        embed_dim=96,
        depths=[2, 2, 6, 2],
        num_heads=[3, 6, 12, 24],
        window_size=7,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = Mask2FormerConfig(backbone_config=swin, num_queries=100, id2label=_labels())
    size = {"height": side, "width": side}
    return Mask2FormerForUniversalSegmentation(config), Mask2FormerImageProcessor(size=size)


def eomt(side: int) -> tuple[Any, Any]:
    """Network and image processor; EoMT-S of tue-mps/eomt (configs, coco panoptic, small 640): ViT-S, 200 queries."""
    from transformers import EomtConfig, EomtForUniversalSegmentation, EomtImageProcessor

    config = EomtConfig(
        hidden_size=384,
        num_hidden_layers=12,
        num_attention_heads=6,
        num_blocks=3,
        num_queries=200,
        image_size=side,
        id2label=_labels(),
    )
    size = {"shortest_edge": side, "longest_edge": side}
    return EomtForUniversalSegmentation(config), EomtImageProcessor(size=size, do_pad=True)


PEERS = {"mask2former": mask2former, "eomt": eomt}


def load(name: str, side: int, num_segments: int) -> Subject:
    """A peer whose post-processing keeps as many queries as said, or all that it does not call void, if fewer.

    Args:
        name: Of `PEERS`.
        side: Height and width of the network's input; the map has them too.
        num_segments: Queries to keep.
    """
    import torch
    import transformers
    from torch.utils.flop_counter import FlopCounterMode

    torch.set_num_threads(1)
    torch.manual_seed(0)
    transformers.logging.set_verbosity_error()
    network, processor = PEERS[name](side)
    network.eval()
    torch.set_grad_enabled(False)

    def prepare(image: NDArray[np.uint8]) -> Any:
        return processor(images=image, return_tensors="pt")["pixel_values"]

    fed = prepare(photo())
    counter = FlopCounterMode(display=False)
    with counter:
        score, label = network(fed).class_queries_logits[0].softmax(-1).max(-1)
    scores = score[label != _NUM_CATEGORIES].sort(descending=True).values.tolist()
    threshold = scores[num_segments] if len(scores) > num_segments else 0.0

    def finish(outputs: Any) -> NDArray[Any]:
        found = processor.post_process_panoptic_segmentation(outputs, threshold=threshold, target_sizes=[(side, side)])
        segmentation: NDArray[Any] = found[0]["segmentation"].numpy()
        return segmentation

    parameters = [*network.parameters()]
    facts = Facts(
        version=f"transformers {transformers.__version__}, torch {torch.__version__} (eager)",
        params=sum(parameter.numel() for parameter in parameters),
        macs=counter.get_total_flops() // 2,
        bytes=sum(parameter.numel() * parameter.element_size() for parameter in parameters),
    )
    return Subject(prepare, network, {"": finish}, facts)


def _labels() -> dict[int, str]:
    return {index: str(index) for index in range(_NUM_CATEGORIES)}


if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"
    serve(lambda: load(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
