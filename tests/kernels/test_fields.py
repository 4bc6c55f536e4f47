"""Groups of fields stand for their words, in order; records take one value for each word."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from sardonyx.kernels.cpu.conv import convolve
from sardonyx.kernels.cpu.depthwise import depthwise
from sardonyx.kernels.cpu.tile import TILE, TileRecord, tile
from sardonyx.kernels.cpu.winograd import winograd
from sardonyx.kernels.cpu.winograd_records import INPUT, OUTPUT
from sardonyx.kernels.cpu.winograd_tiles import winograd_input, winograd_output
from sardonyx.kernels.fields import Depth, Epilogue, ResidualStrides, Sizes, Strides, Tiles, Window
from sardonyx.kernels.record import make_record
from sardonyx.kernels.registry import Kernel

ALL = (Depth, Epilogue, Sizes, Strides)


@pytest.mark.parametrize(
    ("kernel", "groups"),
    [
        (convolve, (*ALL, Window, ResidualStrides, Tiles)),
        (winograd, (*ALL, ResidualStrides, Tiles)),
        (depthwise(3, 1, 8), (*ALL, Window)),
    ],
    ids=["convolve", "winograd", "depthwise"],
)
def test_a_group_stands_for_its_fields_in_order(kernel, groups):
    for group in groups:
        first = kernel.fields.index(group._fields[0])
        assert kernel.fields[first : first + len(group._fields)] == group._fields
    assert kernel.floats == {"low", "high"}
    assert len(set(kernel.fields)) == len(kernel.fields)


@pytest.mark.parametrize(
    ("kernel", "positions"),
    [
        (tile(2, 1), TILE),
        (winograd_input(2, 2, 3, 3, 1, 1), INPUT),
        (winograd_output(2, 2, 3, 3, 1, 1, 1), OUTPUT),
    ],
    ids=["tile", "winograd_input", "winograd_output"],
)
def test_positions_are_those_of_the_record(kernel, positions):
    assert kernel.fields == type(positions)._fields
    assert all(kernel.fields[at] == name for name, at in positions._asdict().items())


def test_a_kernel_begins_with_its_share_of_the_work():
    def nothing(record: TileRecord, thread: int, part: int, until: int, parts: int) -> int:
        return 0

    with pytest.raises(TypeError, match="must begin with thread, part, until, parts"):
        Kernel(nothing)


def test_a_record_holds_addresses_numbers_and_bits_of_floats():
    array = np.zeros(3, np.float32)
    record = make_record(("a", "low", "n"), {"low"}, n=7, a=array, low=-0.5)
    assert record.tolist() == [
        array.ctypes.data, struct.unpack("<q", struct.pack("<d", -0.5))[0], 7,
    ]  # fmt: skip


@pytest.mark.parametrize("values", [{"a": 1}, {"a": 1, "b": 2, "c": 3}])
def test_a_record_wants_exactly_its_fields(values):
    with pytest.raises(TypeError, match=r"fields of a record differ: \['[bc]'\]"):
        make_record(("a", "b"), **values)
