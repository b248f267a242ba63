"""Ternary weights in bytes of five."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgeseg.quantize.packed import pack_bits, pack_state, pack_ternary, unpack_state, unpack_ternary

codes = st.lists(st.sampled_from([-1, 0, 1]), max_size=40)


def test_all_243_fives_have_a_byte_of_their_own_in_base_3() -> None:
    fives = np.array(list(itertools.product((-1, 0, 1), repeat=5)), np.int8)
    packed = pack_ternary(fives)
    assert sorted(packed.tolist()) == list(range(243))
    assert packed[0] == 0  # all -1
    assert pack_ternary(np.array([1, 0, 0, 0, -1], np.int8)).tolist() == [2 + 3 + 9 + 27]


@given(codes)
def test_what_is_packed_comes_back(values: list[int]) -> None:
    array = np.array(values, np.int8)
    packed = pack_ternary(array)
    assert len(packed) == -(-len(values) // 5)
    assert unpack_ternary(packed, len(values)).tolist() == values


def test_wrong_codes_counts_and_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="from 0 to 2"):
        pack_ternary(np.array([0, 2], np.int8))
    with pytest.raises(ValueError, match="6 ternary codes take 2 bytes, not 1"):
        unpack_ternary(np.zeros(1, np.uint8), 6)
    with pytest.raises(ValueError, match="at most 242, one is 243"):
        unpack_ternary(np.array([243], np.uint8), 5)


def test_a_state_comes_back_in_value_shape_and_type_and_is_shorter() -> None:
    generator = torch.Generator().manual_seed(0)
    state = {
        "ternary": torch.randint(-1, 2, (8, 4, 3, 3), generator=generator, dtype=torch.int8),
        "eight": torch.randint(-127, 128, (8, 4), generator=generator, dtype=torch.int8),
        "small": torch.tensor([-40, 3], dtype=torch.int32),
        "large": torch.tensor([-40_000, 3], dtype=torch.int32),
        "short": torch.tensor([0.5, 1.25]),
        "exact": torch.tensor([0.1, 1.25]),
    }
    packed = pack_state(state)
    assert {name: tensor.dtype for name, tensor in packed.items()} == {
        "ternary.base3": torch.uint8,
        "eight": torch.int8,
        "small": torch.int16,
        "large": torch.int32,
        "short": torch.bfloat16,
        "exact": torch.float32,
    }
    again = unpack_state(packed, state)
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], state[name]) and again[name].dtype == state[name].dtype for name in state)


def test_two_and_four_bits_fill_bytes_from_the_lowest_bits_on() -> None:
    """Two's complement by hand: -1 is 0b11 or 0xF, -2 is 0b10, -8 is 0x8."""
    assert pack_bits(np.array([1, -1, 0, -2, 1], np.int8), 2).tolist() == [0b10_00_11_01, 0b01]
    assert pack_bits(np.array([[7, -1], [-8, 3]], np.int8), 4).tolist() == [0xF7, 0x38]
    assert pack_bits(np.zeros(0, np.int8), 4).tolist() == []
    with pytest.raises(ValueError, match="2 bits hold -2 to 1; these go from -1 to 2"):
        pack_bits(np.array([-1, 2], np.int8), 2)
