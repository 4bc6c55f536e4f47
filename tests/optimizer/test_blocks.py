"""Axes before a reshape and after it."""

import math

import numpy as np
import pytest
from sardonyx.optimizer.blocks import as_reshape, blocks, carry, reshape_target


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ((2, 3, 4), (2, 12), [((0,), (0,)), ((1, 2), (1,))]),
        ((2, 12), (2, 3, 4), [((0,), (0,)), ((1,), (1, 2))]),
        (("n", 4, 6), ("n", 8, 3), [((0,), (0,)), ((1, 2), (1, 2))]),
        (("n", 4, 6), ("m", 4, 6), [((0,), (0,)), ((1,), (1,)), ((2,), (2,))]),
        (("n", 1, 4), ("n", 4, 1), [((0,), (0,)), ((2,), (1,))]),
        (("n", "h", 2, "w"), ("n", None, "w"), [((0,), (0,)), ((1, 2), (1,)), ((3,), (2,))]),
        (("n", 4, "m"), (4, "n", "m"), [((0, 1), (0, 1)), ((2,), (2,))]),
        (("n", "m"), ("m", "n"), [((0, 1), (0, 1))]),
        ((None, 4), (None, 2, 2), [((0,), (0,)), ((1,), (1, 2))]),
        ((1, 1), (1,), []),
    ],
)
def test_blocks(before, after, expected):
    assert blocks(before, after) == expected


@pytest.mark.parametrize(
    ("layout", "before", "after", "expected"),
    [
        ((0, 3, 1, 2), (2, 4, 5, 6), (2, 4, 5, 2, 3), (0, 3, 4, 1, 2)),
        ((0, 3, 1, 2), (2, 4, 5, 6), (2, 20, 6), (0, 2, 1)),
        ((0, 2, 3, 1), (2, 4, 5, 6), (2, 20, 6), None),
        ((0, 2, 1), (2, 5, 6), (2, 1, 5, 6), (0, 3, 1, 2)),
        ((0, 3, 1, 2), (2, 1, 1, 6), (2, 6), (0, 1)),
    ],
)
def test_orders_are_carried_through(layout, before, after, expected):
    carried = carry(layout, blocks(before, after), len(after))
    assert carried == expected
    if carried is not None:
        x = np.arange(math.prod(before)).reshape(before)
        moved = np.transpose(x, layout).reshape([after[axis] for axis in carried])
        np.testing.assert_array_equal(moved, np.transpose(x.reshape(after), carried))


def test_targets_copy_what_is_named():
    assert reshape_target(["n", 4, "m"], ["n", 2, 2, "k"]) == [0, 2, 2, -1]
    assert reshape_target(["n", "m"], ["m", "n"]) is None
    assert reshape_target(["n"], ["n", 0]) is None


def test_moves_of_single_axes_are_reshapes():
    assert as_reshape(["n", 1, 1, 6], [0, 3, 1, 2]) == [0, 6, 1, 1]
    assert as_reshape(["n", 2, 1, 6], [0, 3, 1, 2]) is None
    assert as_reshape([1, 6], [1, 0]) is None
