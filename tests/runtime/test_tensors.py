"""Tensors: their layout, their views, and words of records."""

from __future__ import annotations

from sardonyx.kernels.abi import ARENA
from sardonyx.kernels.cpu.norm import channel_norm
from sardonyx.runtime.strides import channels_last_order, contiguous_strides
from sardonyx.runtime.tensors import Buffer, Tensor, words_of


def tensor(shape, strides) -> Tensor:
    return Tensor(Buffer(ARENA, 0, 0, 0), 0, "float32", shape, strides)


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


def test_floats_are_words_of_their_bits():
    fields = dict.fromkeys(channel_norm.fields, 3)
    words = dict(zip(channel_norm.fields, words_of(channel_norm, fields), strict=True))
    assert words["channels"] == 3
    assert words["epsilon"] == 0x4008000000000000
