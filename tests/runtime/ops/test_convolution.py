"""Convolutions as objects, and their windows."""

import dataclasses

import numpy as np
import pytest
from sardonyx.kernels.abi import ARENA
from sardonyx.runtime.groups import Group
from sardonyx.runtime.ops.convolution import Convolution
from sardonyx.runtime.ops.epilogue import Epilogue
from sardonyx.runtime.ops.windows import Along, Window
from sardonyx.runtime.strides import channels_last_order, contiguous_strides
from sardonyx.runtime.tensors import Buffer, Tensor

THREE = Window(rows=Along(3), columns=Along(3))
TALL = Window(rows=Along(3, 2, 4, 1, 2))


def image(*shape, pixel=None):
    """A channels-last tensor whose pixels are ``pixel`` elements apart."""
    wide = (shape[0], pixel or shape[1], *shape[2:])
    strides = contiguous_strides(wide, channels_last_order(len(shape)))
    return Tensor(Buffer(ARENA, 0, 0, 0), 0, "float32", shape, strides)


def convolution(x, y, weights, window, **more):
    return Convolution(group=Group([]), x=x, y=y, output=y, weights=weights, window=window, **more)


def test_a_window_turned_twice_is_itself():
    assert TALL.turned() == Window(columns=Along(3, 2, 4, 1, 2))
    assert TALL.turned().turned() == TALL
    assert TALL.turned().sizes([20, 30]) == TALL.sizes([30, 20])[::-1]


def test_a_single_axis_is_that_of_the_columns():
    assert Window.over([3], [2], [4], [1, 5]) == Window(columns=Along(3, 2, 4, 1, 5))


def test_a_single_tap_has_no_distance_to_others():
    window = Window.over([1, 1, 2], [1, 1, 1], [3, 4, 5], [0, 1, 0, 0, 1, 0])
    assert window == Window(rows=Along(before=1, after=1), columns=Along(2, 1, 5))


def test_a_turned_column_is_a_row_of_the_same_elements():
    size = TALL.rows.size(30)
    weights = np.arange(5 * 4 * 3, dtype=np.float32).reshape(5, 4, 1, 3, 1)
    column = convolution(image(2, 4, 30, 1), image(2, 5, size, 1), weights, TALL)
    assert column.is_column
    row = column.turned()
    assert row.x.shape == (2, 4, 1, 30) and row.x.strides[3] == column.x.strides[2]
    assert row.y.shape == (2, 5, 1, size) and row.y.strides[3] == column.y.strides[2]
    assert (row.filters == weights.swapaxes(-1, -2)).all()
    assert (row.flops, row.sum_length) == (column.flops, column.sum_length)
    assert row.output is column.output


def test_slices_are_rows_where_the_window_is_one_pixel_of_them():
    weights = np.arange(5 * 4 * 3, dtype=np.float32).reshape(5, 4, 3, 1, 1)
    x, y = image(2, 4, 8, 6, 7, pixel=9), image(2, 5, 6, 6, 7)
    volume = convolution(x, y, weights, Window(Along(3)))
    rows = volume.with_slices_as_rows()
    assert rows.x.shape == (2, 4, 8, 42) and rows.x.strides == (*x.strides[:3], 9)
    assert rows.y.shape == (2, 5, 6, 42)
    assert rows.window == Window(rows=Along(3))
    assert (rows.filters == weights.swapaxes(2, 3)).all()
    assert rows.flops == volume.flops
    padded = dataclasses.replace(volume, window=Window(Along(3), columns=Along(after=1)))
    assert padded.with_slices_as_rows() is padded


@pytest.mark.parametrize(
    ("change", "is_flat"),
    [
        ({}, True),
        ({"x": image(2, 4, 6, 7, pixel=9), "residual": image(2, 5, 6, 7, pixel=6)}, True),
        ({"window": Window.over([1, 1], [2, 2], [1, 1], [0] * 4)}, False),
        ({"window": Window(columns=Along(after=1))}, False),
        ({"epilogue": Epilogue(may_flatten=False)}, False),
    ],
)
def test_pixels_are_one_row_where_nothing_tells_rows_apart(change, is_flat):
    x, y = image(2, 4, 6, 7), image(2, 5, 6, 7)
    conv = convolution(x, y, np.zeros((5, 4, 1, 1, 1), np.float32), Window())
    conv = dataclasses.replace(conv, **change)
    assert conv.is_flat == is_flat
    assert conv.row_pixels == (42 if is_flat else 7)


def test_channels_are_those_of_a_group():
    weights = np.zeros((6, 2, 1, 3, 3), np.float32)
    conv = convolution(image(1, 6, 9, 9), image(1, 6, 7, 7), weights, THREE, groups=3)
    assert (conv.channels, conv.out_channels, conv.sum_length) == (2, 2, 18)
    assert conv.flops == 2 * 6 * 7 * 7 * 18
    assert not conv.is_depthwise
    single = dataclasses.replace(conv, weights=weights[:3, :1], groups=3)
    assert single.is_depthwise
