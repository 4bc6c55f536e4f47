"""Strides, and the tensors that have them."""

from __future__ import annotations

import pytest
from sardonyx.kernels.abi import ARENA
from sardonyx.kernels.cpu.norm import channel_norm
from sardonyx.runtime.strides import (
    channels_last_order,
    channels_last_strides,
    contiguous_strides,
    padded_pixels,
    same_strides,
)
from sardonyx.runtime.symbolic import symbol
from sardonyx.runtime.tensors import Buffer, Tensor, words_of


def tensor(shape, strides) -> Tensor:
    return Tensor(Buffer(ARENA, 0, 0, 0), 0, "float32", shape, strides)


def test_contiguous_strides_follow_the_order_of_axes():
    n = symbol("n")
    assert contiguous_strides((n, 3, 4)) == (12, 4, 1)
    assert contiguous_strides((2, 3, n)) == (3 * n, n, 1)
    assert contiguous_strides((2, 3, 4, 5), channels_last_order(4)) == (60, 1, 15, 3)


def test_axes_of_size_one_may_have_any_stride():
    assert same_strides((2, 1, 3), (3, 7, 1), (3, 0, 1))
    assert not same_strides((2, 1, 3), (3, 7, 1), (6, 7, 1))


def test_what_tensors_tell_of_their_layout():
    shape = (2, 3, 4, 5)
    plain = tensor(shape, contiguous_strides(shape))
    last = tensor(shape, contiguous_strides(shape, channels_last_order(4)))
    part = tensor(shape, (120, 1, 30, 6))
    assert [t.is_contiguous for t in (plain, last, part)] == [True, False, False]
    assert [t.is_channels_last for t in (plain, last, part)] == [False, True, True]
    assert plain.is_dense
    assert last.is_dense
    assert not part.is_dense


def test_views_move_by_elements_and_keep_the_buffer():
    whole = tensor((4, 6), (6, 1))
    part = whole.view((2, 6), (12, 1), offset=6, name="part")
    assert part.buffer is whole.buffer
    assert (part.offset, part.nbytes, part.name) == (24, 48, "part")


@pytest.mark.parametrize(
    ("shape", "strides", "expected"),
    [
        ((1, 8, 4, 5), (160, 1, 40, 8), (160, 1, 40, 8)),
        ((1, 8, 4, 5), (640, 1, 160, 32), (640, 1, 160, 32)),  # a part of more channels
        ((1, 8, 4, 5), (160, 20, 5, 1), None),
        ((1, 8, 4, 5), (320, 1, 80, 8), None),  # a gap after each row
        ((1, 1, 4, 5), (20, 20, 5, 1), (20, 1, 5, 1)),
        ((2, 8, 1, 1), (8, 1, 1, 1), (8, 1, 8, 8)),
    ],
)
def test_channels_last_strides(shape, strides, expected):
    assert channels_last_strides(shape, strides) == expected


def test_pixels_pages_apart_get_room():
    n = symbol("n")
    assert padded_pixels((n, 256, 8, 8), 4) == (n, 272, 8, 8)
    for shape in ((1, 255, 8, 8), (1, 256, 1, 1), (1, 256), (1, n, 8, 8), (1, 0, 8, 8)):
        assert padded_pixels(shape, 4) == shape


def test_floats_are_words_of_their_bits():
    fields = dict.fromkeys(channel_norm.fields, 3)
    words = dict(zip(channel_norm.fields, words_of(channel_norm, fields), strict=True))
    assert words["channels"] == 3
    assert words["epsilon"] == 0x4008000000000000
