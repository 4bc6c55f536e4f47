"""Sizes that are equal under different names are recognized, others are not."""

import numpy as np
import pytest
from sardonyx.optimizer import optimize
from sardonyx.optimizer.values import dims


def ints(*values):
    return np.array(values, np.int64)


def sizes(model, name):
    values = {value.name: value for node in model.graph for value in node.outputs}
    return dims(values[name])


@pytest.mark.parametrize(
    ("shape", "target", "expected"),
    [
        (("n", 6), (-1, 2, 3), ["n", 2, 3]),
        (("n", 2, 3), (-1, 6), ["n", 6]),
        (("n", "m", 2), (0, -1, 2), ["n", "m", 2]),
        (("n", "m", 2), (0, -1), ["n", None]),
        (("n", 6), (-1, 3), [None, 3]),
        (("n", 0), (-1, 0), None),
    ],
)
def test_the_size_left_open_is_named_where_it_is_known(graph, shape, target, expected):
    nodes = [("Reshape", "x s", "r"), ("Relu", "r", "y")]
    if expected is None:  # what the size is cannot be told, and the model cannot run
        nodes[0] = ("Reshape", "x s", "r", {"allowzero": 1})
        target = (1, 0)
        expected = [1, 0]
    optimized_model = optimize(graph(nodes, {"x": shape}, s=ints(*target)))
    named = sizes(optimized_model, optimized_model.graph.node(0).outputs[0].name)
    known = [None if isinstance(d, str) and d not in shape else d for d in named]
    assert known == expected


def test_the_size_left_open_of_an_unknown_rank_is_not_that_of_a_scalar(graph):
    nodes = [("Reshape", "x s", "r"), ("Relu", "r", "y")]
    optimized_model = optimize(graph(nodes, {"x": None}, s=ints(-1)))
    assert sizes(optimized_model, "y") != [1]


BROADCAST = [
    ("Reshape", "x s", "r"),
    ("Shape", "x", "shape"),
    ("Slice", "shape zero one", "batch"),
    ("Concat", "batch three", "target", {"axis": 0}),
    ("Expand", "r target", "e"),
    ("Mul", "e x", "y"),
]


def test_an_expand_to_the_size_a_tensor_has_goes(graph, optimized):
    weights = {"s": ints(-1, 3), "zero": ints(0), "one": ints(1), "three": ints(3)}
    model = graph(BROADCAST, {"x": ("n", 3)}, **weights)
    for n in (1, 4):
        assert optimized(model, n=n)[0] == ["Mul"]


def test_an_expand_to_the_size_of_another_tensor_stays(graph, optimized):
    nodes = [(op, names.replace("r target", "z target"), *rest) for op, names, *rest in BROADCAST]
    weights = {"zero": ints(0), "one": ints(1), "three": ints(3)}
    model = graph(nodes[1:], {"x": ("n", 3), "z": ("m", 3)}, **weights)
    for m in (1, 4):
        left, _ = optimized(model, n=4, m=m)
        assert "Expand" in left


def test_sums_of_two_names_have_neither(graph, optimized):
    """Either may be 1."""
    nodes = [
        ("Add", "x z", "a"),
        ("Shape", "x", "shape"),
        ("Expand", "a shape", "e"),
        ("Relu", "e", "y"),
    ]
    model = graph(nodes, {"x": ("n", 3), "z": ("m", 3)})
    assert "Expand" in optimized(model, n=4, m=1)[0]
    assert "Expand" in optimized(model, n=1, m=4)[0]


@pytest.mark.parametrize("end", [10**9, 2**31 - 1, 2**63 - 1, 5])
def test_slices_that_reach_every_end_go(graph, optimized, end):
    nodes = [("Relu", "x", "r"), ("Slice", "r s e a", "t"), ("Exp", "t", "y")]
    limits = {"s": ints(0, 0), "e": ints(end, end), "a": ints(0, 1)}
    model = graph(nodes, {"x": ("n", 2**18)}, **limits)
    left, _ = optimized(model, n=7)
    assert left == (["Relu", "Exp"] if end > 5 else ["Relu", "Slice", "Exp"])
    left, _ = optimized(graph(nodes, {"x": ("n", "n")}, **limits), n=7)
    assert left == (["Relu", "Exp"] if end > 5 else ["Relu", "Slice", "Exp"])
    # With so few other elements, 1e9 rows could be there.
    left, _ = optimized(graph(nodes, {"x": ("n", 5)}, **limits), n=7)
    assert left == (["Relu", "Exp"] if end > 10**9 else ["Relu", "Slice", "Exp"])


@pytest.mark.parametrize(("end", "goes"), [(2**31 - 1, True), (2, False)])
def test_slices_along_an_axis_of_the_input_go_if_they_reach_any_end(graph, optimized, end, goes):
    nodes = [("Relu", "x", "r"), ("Slice", "r s e a", "t"), ("Exp", "t", "y")]
    inputs = {"x": (2, 8), "a": ((1,), np.int64)}
    model = graph(nodes, inputs, s=ints(0), e=ints(end))
    feeds = {"x": np.ones((2, 8), np.float32), "a": ints(1)}
    left, _ = optimized(model, feeds=feeds)
    assert left == (["Relu", "Exp"] if goes else ["Relu", "Slice", "Exp"])


def known_sizes(graph, nodes, inputs, **weights):
    """Sizes of the output, None for those without a name of the inputs'."""
    optimized_model = optimize(graph(nodes, inputs, **weights))
    names = {size for shape in inputs.values() for size in shape}
    output = dims(optimized_model.graph.outputs[0])
    return [size if isinstance(size, int) or size in names else None for size in output]


SHAPE = [("Shape", "x", "shape"), ("Gather", "shape i", "n")]


@pytest.mark.parametrize(
    ("nodes", "weights", "expected"),
    [
        ([*SHAPE, ("Range", "zero n step", "y")], {"step": np.int64(1)}, ["n"]),
        ([*SHAPE, ("Range", "zero n step", "y")], {"step": np.int64(2)}, [None]),
        ([("Slice", "x start end axis", "y")], {"axis": ints(1)}, ["n", None, 4]),
        ([("Slice", "x start end axis", "y")], {"axis": ints(-1)}, ["n", "m", 2]),
        ([("Slice", "x start end axis step", "y")], {"axis": ints(2), "step": ints(2)},
         ["n", "m", 1]),
        ([("Gather", "x places", "y", {"axis": 2})], {"places": ints(3, 1)}, ["n", "m", 2]),
        ([("Gather", "x i", "y", {"axis": -2})], {}, ["n", 4]),
        ([("Reshape", "x target", "y")], {"target": ints(0, 0, -1, 2)}, ["n", "m", 2, 2]),
        ([("Reshape", "x target", "y")], {"target": ints(0, 0, 1, -1)}, ["n", "m", 1, 4]),
        ([("Reshape", "x target", "y")], {"target": ints(0, -1, 3)}, ["n", None, 3]),
        (
            [("Reshape", "x target", "r"), ("Transpose", "z", "t"), ("MatMul", "r t", "y")],
            {"target": ints(0, 0, 2, 2)},
            ["n", "m", 2, "k"],
        ),
        (
            [("IsNaN", "x", "a"), ("Unsqueeze", "a zero1", "b"), ("Or", "a b", "y")],
            {},
            [1, "n", "m", 4],
        ),
    ],
)  # fmt: skip
def test_sizes_of_results(graph, nodes, weights, expected):
    every = {"i": np.int64(0), "zero": np.int64(0), "zero1": ints(0), "start": ints(1)}
    every |= {"end": ints(3), **weights}
    read = {name for node in nodes for name in node[1].split()}
    used = {name: array for name, array in every.items() if name in read}
    inputs = {"x": ("n", "m", 4)} | ({"z": ("k", 2)} if "z" in read else {})
    assert known_sizes(graph, nodes, inputs, **used) == expected


def test_a_slice_up_to_the_size_of_its_axis_goes(graph, optimized):
    nodes = [
        ("Shape", "x", "n", {"start": 0, "end": 1}),
        ("Slice", "x zero n zero one", "whole"),
        ("Relu", "whole", "y"),
    ]
    model = graph(nodes, {"x": ("n", "m")}, zero=ints(0), one=ints(1))
    assert optimized(model, n=3, m=5)[0] == ["Relu"]
    nodes[1] = ("Slice", "x zero n one one", "whole")
    assert "Slice" in optimized(graph(nodes, {"x": ("n", "m")}, zero=ints(0), one=ints(1)))[0]


def test_rows_of_a_table_are_as_many_as_what_they_are_added_to(graph, optimized):
    nodes = [
        ("Shape", "x", "n", {"start": 1, "end": 2}),
        ("Slice", "table zero n zero", "rows"),
        ("Add", "x rows", "sum"),
        ("Expand", "x shape", "same"),
        ("Shape", "sum", "shape"),
        ("Relu", "same", "y"),
    ]
    nodes = [*nodes[:3], nodes[4], nodes[3], nodes[5]]
    table = np.zeros((9, 4), np.float32)
    model = graph(nodes, {"x": ("b", "n", 4)}, "y sum", table=table, zero=ints(0))
    assert "Expand" not in optimized(model, b=2, n=3)[0]


def test_rows_of_a_table_are_no_more_than_it_has(graph, optimized):
    """Where nothing else has the size, it is not that which was asked for."""
    nodes = [
        ("Shape", "x", "n", {"start": 0, "end": 1}),
        ("Slice", "table zero n zero", "rows"),
        ("Shape", "rows", "y"),
    ]
    table = np.zeros((4,), np.float32)
    model = graph(nodes, {"x": ("n",)}, "y n", table=table, zero=ints(0))
    for count in (3, 7):
        assert "Slice" in optimized(model, n=count)[0]


def test_a_tile_multiplies_sizes(graph):
    nodes = [
        ("Shape", "x", "n", {"start": 0, "end": 1}),
        ("Concat", "n two", "counts", {"axis": 0}),
        ("Tile", "w counts", "tiled"),
        ("Relu", "tiled", "y"),
    ]
    weights = {"w": np.ones((3, 2), np.float32), "two": ints(2)}
    model = optimize(graph(nodes, {"x": ("n",)}, **weights))
    assert sizes(model, "tiled") == ["n (x) 3", 4]


def test_an_expand_as_torchscript_writes_it(graph, optimized):
    """Sizes of -1 are replaced by 1: no size is -1."""
    nodes = [
        ("Shape", "z", "shape"),
        ("Concat", "shape minus", "wanted", {"axis": 0}),
        ("Equal", "wanted minuses", "open"),
        ("Where", "open ones wanted", "target"),
        ("Expand", "x target", "e"),
        ("Add", "e z3", "y"),
    ]
    weights = {"minus": ints(-1), "minuses": ints(-1, -1, -1), "ones": ints(1, 1, 1)}
    inputs = {"x": ("n", "m", 1), "z": ("n", "m"), "z3": ("n", "m", 1)}
    assert optimized(graph(nodes, inputs, **weights), n=3, m=4)[0] == ["Add"]


def test_the_same_sizes_are_computed_once(graph, optimized):
    nodes = [
        ("Exp", "x", "a"),
        ("Shape", "x", "s"),
        ("Shape", "a", "t"),
        ("Expand", "one s", "e"),
        ("Expand", "one t", "f"),
        ("Concat", "e f a", "y", {"axis": 0}),
    ]
    left, _ = optimized(graph(nodes, {"x": ("n", "m")}, one=np.float32(1)))
    assert left.count("Shape") == left.count("Expand") == 1


@pytest.mark.parametrize(
    ("name", "count"),
    [("n", 1), *((name, 2) for name in ("?", "_", "dynamic", "None", "unknown", "-1"))],
)
def test_a_question_mark_is_no_name(graph, optimized, name, count):
    nodes = [
        ("Shape", "x", "s"),
        ("Shape", "z", "t"),
        ("Expand", "one s", "e"),
        ("Expand", "one t", "f"),
        ("Concat", "e f", "y", {"axis": 0}),
    ]
    model = graph(nodes, {"x": (name, 3), "z": (name, 3)}, one=np.float32([[1]]))
    left, _ = optimized(model)
    assert left.count("Shape") == count


def test_sizes_of_what_is_computed_are_those_of_inputs(graph, optimized):
    """So that no value is needed for its size alone: its only other reader can be fused."""
    nodes = [
        ("Sigmoid", "x", "g"),
        ("Mul", "x g", "s"),
        ("Exp", "s", "a"),
        ("Shape", "g", "shape"),
        ("Expand", "one shape", "e"),
        ("Add", "a e", "y"),
    ]
    for sizes in (("n", "m"), ("n", 3)):
        left, _ = optimized(graph(nodes, {"x": sizes}, one=np.float32([[1]])), n=4, m=3)
        assert "Swish" in left


def test_softmax_as_jax_has_it(graph, optimized):
    nodes = [
        ("ReduceMax", "x a", "m", {"keepdims": 0}),
        ("Max", "least m", "n"),
        ("Reshape", "n column", "c"),
        ("Sub", "x c", "d"),
        ("Exp", "d", "e"),
        ("ReduceSum", "e a", "s", {"keepdims": 0}),
        ("Unsqueeze", "s a", "t"),
        ("Div", "e t", "y"),
    ]
    weights = {"a": ints(1), "least": np.float32(-np.inf), "column": ints(-1, 1)}
    assert optimized(graph(nodes, {"x": ("n", 5)}, **weights))[0] == ["Softmax"]
    weights["column"] = ints(1, -1)
    assert "Softmax" not in optimized(graph(nodes, {"x": (5, 5)}, **weights))[0]


def test_what_is_left_open_of_the_same_sizes_is_the_same(graph):
    """Heads of queries and keys, whose number follows from sizes that are not known to be equal."""
    nodes = [
        ("Concat", "x x2", "long", {"axis": 1}),
        ("Relu", "long", "a"),
        ("Sigmoid", "long", "b"),
        ("Reshape", "a target", "q"),
        ("Reshape", "b target", "k"),
        ("Add", "q k", "y"),
    ]
    model = graph(nodes, {"x": ("n", "s", 8), "x2": ("n", "t", 8)}, target=ints(-1, 2, 4))
    optimized_model = optimize(model)
    assert sizes(optimized_model, "q") == sizes(optimized_model, "k") == sizes(optimized_model, "y")


def test_sizes_follow_through_shape_operators(graph):
    nodes = [
        ("Shape", "x", "shape"),
        ("Gather", "shape axis", "s"),
        ("Range", "zero s one", "r"),
        ("Unsqueeze", "r last", "column"),
        ("Unsqueeze", "r first", "row"),
        ("Sub", "column row", "distance"),
        ("Shape", "distance", "sizes"),
        ("ConstantOfShape", "sizes", "fill"),
        ("Cast", "distance", "apart", {"to": 1}),
        ("Add", "apart fill", "square"),
        ("Transpose", "square", "turned", {"perm": [1, 0]}),
        ("Squeeze", "x first", "flat"),
        ("MatMul", "turned flat", "y"),
    ]
    weights = {"axis": np.int64(1), "zero": np.int64(0), "one": np.int64(1)}
    model = graph(nodes, {"x": (1, "n", 8)}, last=ints(1), first=ints(0), **weights)
    assert sizes(optimize(model), "y") == ["n", 8]
