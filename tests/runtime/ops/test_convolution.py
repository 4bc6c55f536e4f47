"""Convolutions as objects, and their windows."""

import dataclasses

import numpy as np
import pytest
from sardonyx.kernels.abi import ARENA
from sardonyx.runtime.groups import Group
from sardonyx.runtime.ops.convolution import Convolution
from sardonyx.runtime.ops.epilogue import Epilogue
from sardonyx.runtime.ops.windows import Window
from sardonyx.runtime.strides import channels_last_order, contiguous_strides
from sardonyx.runtime.tensors import Buffer, Tensor

TALL = Window((3, 1), (2, 1), (4, 1), (1, 0, 2, 0))


def image(*shape, pixel=None):
    """A channels-last tensor whose pixels are ``pixel`` elements apart."""
    wide = (shape[0], pixel or shape[1], *shape[2:])
    strides = contiguous_strides(wide, channels_last_order(len(shape)))
    return Tensor(Buffer(ARENA, 0, 0, 0), 0, "float32", shape, strides)


def convolution(x, y, weights, window, **more):
    return Convolution(group=Group([]), x=x, y=y, output=y, weights=weights, window=window, **more)


def test_a_window_turned_twice_is_itself():
    assert TALL.turned() == Window((1, 3), (1, 2), (1, 4), (0, 1, 0, 2))
    assert TALL.turned().turned() == TALL
    assert [TALL.turned().size(axis, 30) for axis in (1, 0)] == [
        TALL.size(axis, 30) for axis in (0, 1)
    ]


def test_a_single_axis_is_that_of_the_columns():
    assert Window.over([3], [2], [4], [1, 5]) == Window((1, 3), (1, 2), (1, 4), (0, 1, 0, 5))


def test_a_turned_column_is_a_row_of_the_same_elements():
    size = TALL.size(0, 30)
    weights = np.arange(5 * 4 * 3, dtype=np.float32).reshape(5, 4, 3, 1)
    column = convolution(image(2, 4, 30, 1), image(2, 5, size, 1), weights, TALL)
    assert column.is_column
    row = column.turned()
    assert row.x.shape == (2, 4, 1, 30) and row.x.strides[3] == column.x.strides[2]
    assert row.y.shape == (2, 5, 1, size) and row.y.strides[3] == column.y.strides[2]
    assert (row.filters == weights.transpose(0, 1, 3, 2)).all()
    assert (row.flops, row.depth, row.output) == (column.flops, column.depth, column.output)


@pytest.mark.parametrize(
    ("change", "is_flat"),
    [
        ({}, True),
        ({"x": image(2, 4, 6, 7, pixel=9), "residual": image(2, 5, 6, 7, pixel=6)}, True),
        ({"window": Window((1, 1), (2, 2))}, False),
        ({"window": Window((1, 1), pads=(0, 0, 0, 1))}, False),
        ({"epilogue": Epilogue(may_flatten=False)}, False),
    ],
)
def test_pixels_are_one_row_where_nothing_tells_rows_apart(change, is_flat):
    x, y = image(2, 4, 6, 7), image(2, 5, 6, 7)
    conv = convolution(x, y, np.zeros((5, 4, 1, 1), np.float32), Window((1, 1)))
    conv = dataclasses.replace(conv, **change)
    assert conv.is_flat == is_flat
    assert conv.row_pixels == (42 if is_flat else 7)


def test_channels_are_those_of_a_group():
    weights = np.zeros((6, 2, 3, 3), np.float32)
    conv = convolution(image(1, 6, 9, 9), image(1, 6, 7, 7), weights, Window((3, 3)), groups=3)
    assert (conv.channels, conv.out_channels, conv.depth) == (2, 2, 18)
    assert conv.flops == 2 * 6 * 7 * 7 * 18
    assert not conv.is_depthwise
    single = dataclasses.replace(conv, weights=weights[:3, :1], groups=3)
    assert single.is_depthwise
