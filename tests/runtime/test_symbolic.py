"""Expressions of sizes: their normal form, and their compiled evaluation against big integers."""

import operator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sardonyx.kernels.abi import CODE_COLUMNS, OVERFLOW, SIZE_LIMIT, UNKNOWN
from sardonyx.runtime.size_code import Code
from sardonyx.runtime.symbolic import (
    Expr,
    bound,
    broadcast,
    ceil_divide,
    floor_divide,
    maximum,
    minimum,
    modulo,
    named_text,
    not_one,
    product,
    scaled,
    sum_dims,
    symbol,
    symbol_of,
)

from .sizes import OPERATIONS, compiled, exact

H, W = symbol("h"), symbol("w")


# --- normal form ------------------------------------------------------------------------------


def test_equal_expressions_have_one_normal_form():
    assert (H + W) * 2 == 2 * W + H + H
    assert (H * W) // W == H
    assert (4 * H + 4) // 4 == H + 1
    assert H - H == 0
    assert repr((H + 1) * W) == "h*w + w"


def test_a_limit_of_a_dimension_is_no_larger_than_the_dimension():
    assert maximum(H, minimum(H, 512)) == H == maximum(minimum(512, H), H)
    assert minimum(H + 1, maximum(H + 1, W)) == H + 1
    assert maximum(H, minimum(W, 512)) not in (H, W)
    assert maximum(H, 2 * minimum(H, 3)) != H


def test_no_size_is_below_zero():
    assert maximum(0, H * W + 1) == H * W + 1
    assert minimum(0, H // 2) == 0
    assert maximum(0, H - 1) != H - 1
    assert bound(H, W) == minimum(H, W)
    assert bound(2, H) == minimum(2, H)
    assert bound(-2, H) == maximum(0, H - 2)


def test_the_largest_of_many_names_each_once():
    a, b = maximum(H, W), maximum(W, 3)
    assert maximum(a, maximum(W, H)) == a
    for _ in range(100):
        a, b = maximum(a, b), maximum(b, a)
    assert a == b == maximum(3, maximum(H, W))


@pytest.mark.parametrize(("name", "origin"), [("threads", "runtime"), ("0.0.1", "result")])
def test_no_name_of_a_model_is_that_of_another_symbol(name, origin):
    own = symbol(name, origin)
    for label in (name, f"{origin}:{name}", f"model:{name}", symbol_of(own)):
        assert symbol(label) != own


def test_a_name_is_not_the_expression_that_it_reads_like():
    assert symbol("h + w") != H + W
    assert symbol("2*h") + W != 2 * H + W
    assert symbol("h|w") * symbol("") != symbol("h") * symbol("|w")
    assert symbol("\0\udcff") == symbol("\0\udcff") != symbol("\0")


def test_only_names_of_the_model_are_told():
    assert named_text(H * 2 + 1) == "2*h + 1"
    assert named_text(symbol("x.0", "input")) is None
    assert named_text(maximum(H, symbol("0.0.1", "result"))) is None
    assert named_text(sum_dims(symbol(f"n{i}") for i in range(100))) is None


# --- growth -----------------------------------------------------------------------------------


def _count(value) -> int:
    code = Code()
    code.slot(value)
    return len(code.instructions) // CODE_COLUMNS


def test_sizes_of_many_layers_stay_small():
    """Each layer's size has two operands, and both are made of the size before."""
    counts = []
    for layers in (10, 20, 2000):
        size = H
        for _ in range(layers):
            size = minimum((size + 1) // 2 + 1, (size + 2) // 3 * 2)
        counts.append(_count(size) / layers)
    assert counts[2] <= 1.5 * counts[0]


def test_products_of_sums_are_not_multiplied_out():
    sums = [sum_dims(symbol(f"{axis}.{i}") for i in range(12)) for axis in range(8)]
    assert _count(product(sums)) < 250
    assert product(sums) == product(reversed(sums))
    sizes = {f"{axis}.{i}": axis + i for axis in range(8) for i in range(12)}
    assert exact(product(sums), sizes) == compiled(product(sums), sizes)


def test_partial_sums_of_many_sizes_take_linear_space():
    sizes = [symbol(f"n{i}") for i in range(2000)]
    code, total = Code(), 0
    for size in sizes:
        total = total + size
        code.slot(4 * total)
    assert len(code.instructions) // CODE_COLUMNS < 40 * len(sizes)
    assert compiled(total, {f"n{i}": i for i in range(2000)}) == sum(range(2000))


def test_powers_and_coefficients_stay_small():
    size, factor = H, H
    for _ in range(100):
        size, factor = size * size, factor * 1000
    assert _count(size) < 1000
    assert compiled(size, {"h": 1}) == 1
    assert compiled(size, {"h": 2}) == compiled(factor, {"h": 1}) == OVERFLOW


def test_text_of_what_is_large_is_short():
    size = H
    for _ in range(5000):
        size = maximum(size * W + 1, size // 3)
    assert len(repr(size)) < 1000


# --- evaluation -------------------------------------------------------------------------------

_LEAVES = st.sampled_from([H, W, H + 1, 2 * W]) | st.integers(1, 9)
_TREES = st.recursive(_LEAVES, lambda part: st.tuples(st.booleans(), part, part), max_leaves=12)


@settings(deadline=None)
@given(_TREES, st.integers(1, 9), st.integers(1, 9))
def test_extremes_of_extremes_are_what_they_say(tree, h, w):
    def made(part):
        if not isinstance(part, tuple):
            return part, exact(part, {"h": h, "w": w})
        (a, x), (b, y) = made(part[1]), made(part[2])
        return (maximum(a, b), max(x, y)) if part[0] else (minimum(a, b), min(x, y))

    expression, value = made(tree)
    assert exact(expression, {"h": h, "w": w}) == value


_MADE = {
    "add": (operator.add, operator.add),
    "sub": (operator.sub, operator.sub),
    "mul": (operator.mul, operator.mul),
    "div": (floor_divide, OPERATIONS["div"]),
    "mod": (modulo, OPERATIONS["mod"]),
    "min": (minimum, min),
    "max": (maximum, max),
    "bound": (bound, OPERATIONS["bound"]),
}
_PROGRAMS = st.lists(
    st.tuples(st.sampled_from(sorted(_MADE)), st.integers(0, 200), st.integers(0, 200)), max_size=40
)
_NUMBERS = st.sampled_from([0, 1, 2, 3, -1, -2, 7, 2**31 - 1, 2**40, -(2**61), SIZE_LIMIT - 1])


def _results(program, values, numbers):
    """Expressions that share parts, and what they are in Python's integers."""
    named = {f"s{i}": value for i, value in enumerate(values)}
    made = [(symbol(name), value) for name, value in named.items()] + [(n, n) for n in numbers]
    for name, left, right in program:
        (a, x), (b, y) = made[left % len(made)], made[right % len(made)]
        if name in ("div", "mod") and y == 0:
            continue  # (a * b) // b is a, whatever b will be
        if name == "bound" and y < 0:
            continue
        build, compute = _MADE[name]
        made.append((build(a, b), compute(x, y)))
    return made, named


@settings(deadline=None)
@given(
    _PROGRAMS,
    st.lists(st.integers(0, 2**20) | st.sampled_from([0, 1, 2**31, 2**61]), min_size=1, max_size=4),
    st.lists(_NUMBERS, min_size=1, max_size=4),
)
def test_a_size_is_right_or_beyond_64_bits(program, values, numbers):
    made, named = _results(program, values, numbers)
    for expression, value in made:
        if isinstance(expression, Expr):
            assert compiled(expression, named) in (value, OVERFLOW)
        else:
            assert expression == value


@settings(deadline=None)
@given(_PROGRAMS, st.lists(st.integers(0, 1000), min_size=1, max_size=4))
def test_sizes_within_reach_are_evaluated(program, values):
    made, named = _results(program[:5], values, [1, 3, -2])
    for expression, value in made:
        assert exact(expression, named) == value
        if isinstance(expression, Expr) and abs(value) < 2**30:
            assert compiled(expression, named) in (value, *[OVERFLOW] * (len(program) > 3))


_ANY = st.integers(0, SIZE_LIMIT - 1) | st.integers(0, 2**32)


@settings(deadline=None)
@given(_ANY, _ANY)
def test_sums_and_products_beyond_the_limit_are_told(h, w):
    for made, value in ((H * W, h * w), (H + W, h + w), (-H * W, -h * w), (H - W, h - w)):
        right = value if abs(value) < SIZE_LIMIT else OVERFLOW
        assert compiled(made, {"h": h, "w": w}) == right


@pytest.mark.parametrize("number", [SIZE_LIMIT, -SIZE_LIMIT, 2**63, 2**64 + 5])
def test_numbers_beyond_the_limit_are_no_sizes(number):
    assert compiled(number, {}) == OVERFLOW
    assert compiled(H * number, {"h": 0}) == OVERFLOW
    assert compiled(maximum(H, abs(number)), {"h": 5}) == OVERFLOW


def test_a_scaled_size_is_rounded_down_after_float32():
    assert scaled(5, 1.4) == 7  # 6.99... exactly, of the float32 nearest to 1.4
    assert compiled(scaled(H, 1.4), {"h": 5}) == 7
    assert compiled(scaled(H, 2.0**20), {"h": SIZE_LIMIT - 1}) == OVERFLOW
    with pytest.raises(ValueError):
        scaled(H, 1e-30)


def test_what_is_not_known_yet_stays_unknown():
    sizes = {"h": UNKNOWN, "w": SIZE_LIMIT - 1}
    for expression in (H + 1, H * 0 + H * W, maximum(H, W), H // W, not_one(H), bound(W - H, 3)):
        assert compiled(expression, sizes) == UNKNOWN
    assert compiled(2 * W, sizes) == OVERFLOW


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
        bound(-W, H),
        broadcast(H, broadcast(W, 1)),
        scaled(H, 1.4) + scaled(W, 0.7),
    ],
)
@pytest.mark.parametrize("sizes", [(1, 1), (7, 3), (640, 48), (5, 45), (0, 1), (1, 0)])
def test_compiled_evaluation_agrees_with_the_reference(expression, sizes):
    named = dict(zip(("h", "w"), sizes, strict=True))
    assert compiled(expression, named) == exact(expression, named)


@settings(deadline=None)
@given(st.integers(1, 100), st.integers(1, 100), st.integers(1, 9))
def test_division_is_floor_division(h, w, by):
    sizes = {"h": h, "w": w}
    assert exact((H * 6 + W) // by, sizes) == (6 * h + w) // by
    assert exact(ceil_divide(H + W, by), sizes) == -(-(h + w) // by)


@settings(deadline=None)
@given(st.integers(-30, 30), st.integers(-30, 30), st.integers(0, 20))
def test_bounds_are_those_of_a_python_slice(start, end, size):
    first, last, _ = slice(start, end).indices(size)
    sizes = {"h": start % 61, "w": end % 61, "n": size}
    n = symbol("n")
    made = [bound(s - 61 * (x < 0), n) for s, x in ((H, start), (W, end))]
    assert [compiled(each, sizes) for each in made] == [first, last]


@settings(deadline=None)
@given(st.permutations([0, 1, 1, 3]).map(lambda sizes: [s for s in sizes if s != 3]))
def test_broadcasting_to_zero(sizes):
    named = {f"s{i}": size for i, size in enumerate(sizes)}
    size = 1
    for name in named:
        size = broadcast(size, symbol(name))
    assert compiled(size, named) == 0


def test_a_deep_expression_needs_no_recursion():
    size = H
    for _ in range(20_000):
        size = (size + 3) // 2
    assert compiled(size, {"h": 9}) == 3
