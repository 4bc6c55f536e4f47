"""Sizes as values: contents of shape tensors, by number or name."""

import numpy as np
import pytest
from sardonyx.optimizer.size_products import multiply_sizes, quotient_of_sizes
from sardonyx.optimizer.size_sums import add_sizes, subtract_sizes
from sardonyx.optimizer.sizes import are_sizes, contents, measured, measured_everywhere

X = {"x": ("n", 3, "m")}
SHAPE = ("Shape", "x", "s")


def ints(*values):
    return np.array(values, np.int64)


def result(graph, nodes, inputs=X, **weights):
    return graph(nodes, inputs, **weights).graph.outputs[0]


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([SHAPE], ["n", 3, "m"]),
        ([("Shape", "x", "s", {"start": 1})], [3, "m"]),
        ([SHAPE, ("Gather", "s last", "y")], ["m", "n"]),
        ([SHAPE, ("Gather", "s one", "g"), ("Cast", "g", "y", {"to": 1})], [3]),
        ([SHAPE, ("Cast", "s", "y", {"to": 9})], [None, True, None]),
        ([SHAPE, ("Slice", "s zero two", "y")], ["n", 3]),
        ([SHAPE, ("Concat", "s two", "y", {"axis": 0})], ["n", 3, "m", 2]),
        ([SHAPE, ("Mul", "s two", "y")], ["n (x) 2", 6, "m (x) 2"]),
        ([SHAPE, ("Mul", "s negative", "y")], [None, -3, None]),
        ([SHAPE, ("Mul", "s s", "y")], ["n (x) n (x) 1", 9, "m (x) m (x) 1"]),
        ([SHAPE, ("Div", "s two", "y")], [None, 1, None]),
        ([SHAPE, ("Div", "s zero", "y")], [None, None, None]),
        ([SHAPE, ("Equal", "s negative", "y")], [False, False, False]),
        ([SHAPE, ("Max", "s s", "y")], ["n", 3, "m"]),
        ([SHAPE, ("Max", "s negative two", "y")], [None, 3, None]),
        ([SHAPE, ("Max", "negative s", "y")], ["n", 3, "m"]),
        ([SHAPE, ("Min", "s zero", "y")], [0, 0, 0]),
        ([SHAPE, ("ReduceProd", "s", "y")], ["m (x) n (x) 3"]),
        ([SHAPE, ("ReduceSum", "s zero", "y", {"keepdims": 0})], ["m (+) n (+) 3"]),
        ([SHAPE, ("ReduceMax", "s", "y")], [None]),
        ([SHAPE, ("ReduceMin", "s", "y", {"noop_with_empty_axes": 1})], [None, None, None]),
        ([SHAPE, ("Reshape", "s column", "r"), ("Squeeze", "r ones", "y")], ["n", 3, "m"]),
        ([("Cast", "half", "y", {"to": 7})], None),
        ([("Cast", "infinite", "y", {"to": 7})], None),
    ],
)
def test_contents(graph, nodes, expected):
    value = result(
        graph, nodes, one=np.int64(1), last=ints(2, 0), zero=ints(0), two=ints(2), ones=ints(1),
        negative=ints(-1), column=ints(3, 1), half=np.float32([0.5, 1]),
        infinite=np.float32([np.inf]),
    )  # fmt: skip
    elements = contents(value)
    assert elements == expected or (expected is None and set(elements) == {None})


def test_a_scalar_is_no_unknown_rank(graph):
    scalar = result(graph, [("Shape", "x", "y")], {"x": ()})
    assert contents(scalar) == []
    unknown = result(graph, [("Shape", "x", "y")], {"x": None})
    assert contents(unknown) is None
    assert contents(
        result(graph, [("Shape", "x", "s"), ("Gather", "s one", "y")], {"x": None}, one=ints(0))
    ) == [None]


@pytest.mark.parametrize("count", [60, 3000])
def test_values_made_of_one_another_many_times_are_looked_at_once(graph, count):
    """Each is the sum of the last one and itself: 2**60 ways lead to the first."""
    nodes = [SHAPE, ("Add", "s s", "v0")]
    nodes += [("Mul", f"v{i} v{i}", f"v{i + 1}") for i in range(count)]
    assert are_sizes(result(graph, nodes))
    nodes[1] = ("Sub", "s s", "v0")
    assert not are_sizes(result(graph, nodes))


def test_long_chains_end(graph):
    """Contents that follow from too many nodes are not known; nothing recurs without end."""
    nodes = [("Gather", "s zero", "v0")]
    nodes += [("Mul", f"v{i} v{i}", f"v{i + 1}") for i in range(3000)]
    value = result(graph, [SHAPE, *nodes], {"x": (1, 3)}, zero=np.int64(0))
    assert measured(value) is None


def test_numbers_are_measured(graph):
    nodes = [SHAPE, ("Gather", "s zero", "g"), ("Unsqueeze", "g axes", "u")]
    weights = {"zero": np.int64(0), "axes": ints(0)}
    assert measured(result(graph, nodes, **weights)) == "n"
    nodes += [("Gather", "s one", "b"), ("Expand", "u b", "y")]
    assert measured_everywhere(result(graph, nodes, one=ints(1), **weights)) == "n"
    assert measured_everywhere(result(graph, [SHAPE])) is None


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([SHAPE], True),
        ([SHAPE, ("Mul", "s two", "y")], True),
        ([SHAPE, ("Concat", "s mark", "y", {"axis": 0})], False),
        ([SHAPE, ("Sub", "s two", "y")], False),
    ],
)
def test_marks_are_no_sizes(graph, nodes, expected):
    assert are_sizes(result(graph, nodes, two=ints(2), mark=ints(-1))) == expected


def test_equal_sums_have_equal_names():
    one, other = add_sizes(add_sizes("a", 2), "b"), add_sizes("b", add_sizes("a", 2))
    assert one == other and one not in ("a", "b")
    assert subtract_sizes(one, "b") == add_sizes("a", 2)
    assert subtract_sizes(subtract_sizes(one, "b"), 2) == "a"
    assert subtract_sizes(one, one) == 0 and add_sizes(3, 4) == 7
    assert subtract_sizes("a", "b") is None and subtract_sizes("a", 1) is None
    assert add_sizes("a", None) is None and subtract_sizes(None, 1) is None


def test_products_of_sizes_have_one_name_whatever_made_them():
    heads = multiply_sizes("b", 4)
    assert heads == multiply_sizes(4, "b") == multiply_sizes(multiply_sizes("b", 2), 2)
    assert quotient_of_sizes([heads, "s"], ["s", 4]) == "b"
    assert quotient_of_sizes([heads, "s"], ["b", "s"]) == 4
    assert quotient_of_sizes(["b", 6, "s"], ["s", 3]) == multiply_sizes("b", 2)
    assert quotient_of_sizes([heads], [3]) is None and quotient_of_sizes([heads], ["s"]) is None
    assert multiply_sizes("b", 0) == 0 and multiply_sizes("b", -1) is None


def test_a_sum_is_a_factor_only_as_it_is():
    total = add_sizes("past", "new")
    assert quotient_of_sizes([total, "b"], ["b"]) == total
    assert multiply_sizes(total, 2) is None
    assert subtract_sizes(add_sizes(multiply_sizes("b", 4), "s"), "s") == multiply_sizes("b", 4)
