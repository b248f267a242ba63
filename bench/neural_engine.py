"""What Apple's Neural Engine takes of an ML program, from public sources: none of it was measured by edgeseg.

Core ML decides on the device, and what it may place on the engine it need not: small graphs have been seen on the CPU
altogether (MLComputePlan on a Mac tells, or Xcode's performance report). This table says what can never be there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

APPLE = (
    "Apple: coremltools guide, Typed Execution (apple.github.io/coremltools/docs-guides/source/typed-execution.html)"
)
GUIDE = "sbryngelson/ane-guide, appendix A (M1, M2, M5 measured; M3, M4 read from the compiler)"
GATHER = "apple/coremltools issue 1103 (gather seen on the CPU) against sbryngelson/ane-guide, appendix A (native)"

Status = Literal["taken", "folded", "refused"]


@dataclass(frozen=True)
class Placement:
    """Where an operator of a float16 program can run.

    Attributes:
        status: `taken` by the engine, `folded` into a neighbour or a constant, or `refused`.
        since: First chip whose engine does, where older ones do not.
        source: Who says so.
    """

    status: Status
    since: str = ""
    source: str = GUIDE


_TAKEN = (
    "conv conv_transpose linear matmul einsum avg_pool max_pool scaled_dot_product_attention "
    "batch_norm layer_norm instance_norm l2_norm "
    "abs add sub mul real_div floor_div pow square sqrt rsqrt inverse maximum minimum "
    "equal not_equal greater greater_equal less less_equal logical_not select "
    "relu relu6 leaky_relu prelu clamped_relu thresholded_relu threshold clip elu sigmoid sigmoid_hard tanh gelu silu "
    "softmax softplus erf exp log sign ceil floor round "
    "reduce_sum reduce_mean reduce_max reduce_min reduce_argmax "
    "reshape expand_dims squeeze transpose concat split stack pad slice_by_size tile depth_to_space space_to_depth "
    "pixel_shuffle identity fill crop cast quantize dequantize constexpr_lut_to_dense"
)
_TAKEN_SINCE_A14 = (
    "resize resize_bilinear upsample_bilinear upsample_nearest_neighbor crop_resize resample topk argsort"
)
_FOLDED = "const slice_by_index constexpr_affine_dequantize constexpr_blockwise_shift_scale"
_REFUSED = (
    "mod logical_and logical_or logical_xor reduce_prod scatter scatter_along_axis scatter_nd one_hot non_zero shape "
    "band_part sliding_windows reverse_sequence constexpr_cast gru lstm rnn"
)

PLACEMENTS: dict[str, Placement] = {
    **{name: Placement("taken") for name in _TAKEN.split()},
    **{name: Placement("taken", "A14, M2") for name in _TAKEN_SINCE_A14.split()},
    **{name: Placement("taken", "A14, M2", GATHER) for name in ("gather", "gather_along_axis")},
    **{name: Placement("folded") for name in _FOLDED.split()},
    **{name: Placement("refused") for name in _REFUSED.split()},
}
"""By MIL operator; what is not here nobody has said."""


def where(operator: str, element_type: str) -> tuple[str, bool | None, str]:
    """Where an operator can run: in words, whether on the Neural Engine (None: unknown), and who says so.

    Args:
        operator: MIL's name.
        element_type: Of its output. Apple runs float32 programs on GPU and CPU only.
    """
    if element_type == "float32":
        return "GPU or CPU (float32)", False, APPLE
    placement = PLACEMENTS.get(operator)
    if placement is None:
        return "unknown", None, ""
    if placement.status == "refused":
        return "GPU or CPU", False, placement.source
    words = "Neural Engine possible"
    if placement.status == "folded":
        words = "folded"
    return words + (f" since {placement.since}" if placement.since else ""), True, placement.source
