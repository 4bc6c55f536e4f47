import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sardonyx.kernels.compiler import native_function
from sardonyx.runtime.symbolic import (
    Code,
    ceil_divide,
    evaluate,
    floor_divide,
    maximum,
    minimum,
    modulo,
    not_one,
    symbol,
)
from sardonyx.runtime.team import executor_function

H, W = symbol("h"), symbol("w")


def test_equal_expressions_have_one_normal_form():
    assert (H + W) * 2 == 2 * W + H + H
    assert (H * W) // W == H
    assert (4 * H + 4) // 4 == H + 1
    assert H - H == 0


def test_a_limit_of_a_dimension_is_no_larger_than_the_dimension():
    assert maximum(H, minimum(H, 512)) == H == maximum(minimum(512, H), H)
    assert minimum(H + 1, maximum(H + 1, W)) == H + 1
    assert maximum(H, minimum(W, 512)) not in (H, W)
    assert maximum(H, 2 * minimum(H, 3)) != H


def test_the_largest_of_many_names_each_once():
    a, b = maximum(H, W), maximum(W, 3)
    assert maximum(a, maximum(W, H)) == a
    for _ in range(100):
        a, b = maximum(a, b), maximum(b, a)
    assert a == b == maximum(3, maximum(H, W))


_LEAVES = st.sampled_from([H, W, H + 1, 2 * W]) | st.integers(1, 9)
_TREES = st.recursive(_LEAVES, lambda part: st.tuples(st.booleans(), part, part), max_leaves=12)


@given(_TREES, st.integers(1, 9), st.integers(1, 9))
def test_extremes_of_extremes_are_what_they_say(tree, h, w):
    def made(part):
        if not isinstance(part, tuple):
            return part, evaluate(part, {"h": h, "w": w})
        (a, x), (b, y) = made(part[1]), made(part[2])
        return (maximum(a, b), max(x, y)) if part[0] else (minimum(a, b), min(x, y))

    expression, value = made(tree)
    assert evaluate(expression, {"h": h, "w": w}) == value


@pytest.mark.parametrize(
    "expression",
    [
        (H - 1) // 2 + 1,
        ceil_divide(H, 3) * W,
        modulo(H * W, 7),
        maximum(H, W) - minimum(H, 5),
        floor_divide(H + 3, W),
        not_one(H) * W + 2,
        5 - H,
    ],
)
@pytest.mark.parametrize("sizes", [(1, 1), (7, 3), (640, 48)])
def test_compiled_evaluation_agrees_with_the_reference(expression, sizes):
    named = dict(zip(("h", "w"), sizes, strict=True))
    code = Code()
    slot = code.slot(expression)
    table = np.array(code.instructions, np.int64)
    symbols = np.array([named[name] for name in code.symbols], np.int64)
    values = np.zeros(len(table), np.int64)
    record = np.array(
        [table.ctypes.data, len(table), symbols.ctypes.data, values.ctypes.data], np.int64
    )
    native_function(executor_function("evaluate"))(record.ctypes.data)
    assert values[slot] == evaluate(expression, named)


@given(st.integers(1, 100), st.integers(1, 100), st.integers(1, 9))
def test_division_is_floor_division(h, w, by):
    sizes = {"h": h, "w": w}
    assert evaluate((H * 6 + W) // by, sizes) == (6 * h + w) // by
    assert evaluate(ceil_divide(H + W, by), sizes) == -(-(h + w) // by)
