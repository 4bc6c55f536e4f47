"""Strides: orders of axes, channels last, and axes that are walked as one."""

from __future__ import annotations

import pytest
from sardonyx.runtime.graph import OnHost
from sardonyx.runtime.strides import (
    channels_last_order,
    channels_last_strides,
    collapse,
    contiguous_strides,
    padded_pixels,
    same_strides,
)
from sardonyx.runtime.symbolic import symbol


def test_contiguous_strides_follow_the_order_of_axes():
    n = symbol("n")
    assert contiguous_strides((n, 3, 4)) == (12, 4, 1)
    assert contiguous_strides((2, 3, n)) == (3 * n, n, 1)
    assert contiguous_strides((2, 3, 4, 5), channels_last_order(4)) == (60, 1, 15, 3)


def test_axes_of_size_one_may_have_any_stride():
    assert same_strides((2, 1, 3), (3, 7, 1), (3, 0, 1))
    assert not same_strides((2, 1, 3), (3, 7, 1), (6, 7, 1))


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


def test_axes_that_all_operands_walk_evenly_are_merged():
    n = symbol("n")
    dense, rows_apart = (12 * n, 4 * n, n, 1), (24 * n, 8 * n, 2 * n, 1)
    shape = (2, 3, 4, n)
    assert collapse(shape, range(4), [dense]) == ([24 * n], [[1]])
    assert collapse(shape, range(4), [dense, rows_apart]) == ([24, n], [[n, 1], [2 * n, 1]])
    assert collapse((1, n, 1), range(3), [(7, 1, 9)], 2) == ([1, n], [[0, 1]])


def test_more_axes_than_a_kernel_has_are_refused():
    with pytest.raises(OnHost, match="more than 1 separate axes"):
        collapse((2, 3), (0, 1), [(6, 1)], 1)
