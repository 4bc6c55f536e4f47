"""Movements, shape computations, no-ops and branches."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper as oh
from sardonyx.importers import load
from sardonyx.optimizer import optimize

X = {"x": ("n", 3, 4, 6)}


def ints(*values):
    return np.array(values, np.int64)


def test_transposes_compose_and_cancel(graph, optimized):
    first, second = {"perm": [0, 2, 3, 1]}, {"perm": [0, 3, 1, 2]}
    nodes = [("Transpose", "x", "t", first), ("Transpose", "t", "u", second), ("Relu", "u", "y")]
    assert optimized(graph(nodes, X))[0] == ["Relu"]
    nodes[1] = ("Transpose", "t", "u", {"perm": [3, 1, 0, 2]})
    assert optimized(graph(nodes, X))[0] == ["Transpose", "Relu"]


SIZES = [
    ("Shape", "x", "sizes"),
    ("Slice", "sizes zero two", "lead"),
    ("Concat", "lead tail", "back", {"axis": 0}),
]
TURNED = [("Reshape", "x merged", "r"), ("Transpose", "r", "t", {"perm": [0, 2, 1]})]


@pytest.mark.parametrize(
    ("merged", "tail", "left"),
    [
        ((-1, 4, 6), (6, 4), ["Transpose"]),
        ((-1, 6, 4), (4, 6), ["Reshape", "Transpose", "Shape"]),
        ((-1, 4, 6), (4, 6), ["Reshape", "Transpose", "Shape"]),
    ],
)
def test_a_transpose_while_the_first_axes_are_one(graph, optimized, merged, tail, left):
    nodes = [*SIZES, *TURNED, ("Reshape", "t back", "y")]
    shapes = {"zero": ints(0), "two": ints(2), "merged": ints(*merged), "tail": ints(*tail)}
    assert set(left) <= set(optimized(graph(nodes, {"x": ("n", "m", 4, 6)}, **shapes))[0])
    assert (len(left) == 1) == (
        "Shape" not in optimized(graph(nodes, {"x": ("n", "m", 4, 6)}, **shapes))[0]
    )


def test_a_transpose_while_other_first_axes_are_one(graph, optimized):
    nodes = [*TURNED, ("Reshape", "t back", "y")]
    shapes = {"merged": ints(12, 4, 6), "back": ints(6, 2, 6, 4)}
    model = graph(nodes, {"x": (2, 2, 3, 4, 6)}, **shapes)
    assert optimized(model)[0] == ["Reshape", "Transpose"]


def test_of_two_reshapes_one_is_left(graph, optimized):
    nodes = [("Reshape", "x a", "r"), ("Reshape", "r b", "y")]
    assert optimized(graph(nodes, X, a=ints(0, 12, 6), b=ints(-1, 8, 9)))[0] == ["Reshape"]
    nodes = [("Unsqueeze", "x a", "r"), ("Flatten", "r", "y")]
    assert optimized(graph(nodes, X, a=ints(1)))[0] == ["Reshape"]
    nodes = [("Unsqueeze", "x a", "r"), ("Squeeze", "r b", "s"), ("Relu", "s", "y")]
    assert optimized(graph(nodes, {"x": (2, 3)}, a=ints(1), b=ints(1)))[0] == ["Relu"]


def test_a_reshape_read_twice_stays(graph, optimized):
    nodes = [
        ("Reshape", "x a", "r"),
        ("Reshape", "r b", "s"),
        ("Exp", "r", "e"),
        ("Reshape", "e b", "t"),
        ("Add", "s t", "y"),
    ]
    left, _ = optimized(graph(nodes, X, a=ints(0, 12, 6), b=ints(-1, 8, 9)))
    assert left.count("Reshape") == 3


def test_slices_along_different_axes_merge(graph, optimized):
    nodes = [("Slice", "x s e a", "t"), ("Slice", "t s2 e2 a2 st", "y")]
    more = {"s": ints(1), "e": ints(3), "a": ints(1), "s2": ints(0, -1), "e2": ints(9, -9)}
    more |= {"a2": ints(2, -1), "st": ints(2, -2)}
    assert optimized(graph(nodes, X, **more))[0] == ["Slice"]
    more["a2"] = ints(2, 1)
    assert optimized(graph(nodes, X, **more))[0] == ["Slice", "Slice"]


def test_a_concat_of_a_concat_is_one(graph, optimized):
    nodes = [
        ("Relu", "x", "r"),
        ("Concat", "x r", "c", {"axis": 1}),
        ("Concat", "r c x", "y", {"axis": -3}),
    ]
    assert optimized(graph(nodes, X))[0] == ["Relu", "Concat"]
    nodes[2] = ("Concat", "c c", "y", {"axis": 0})
    assert optimized(graph(nodes, X))[0] == ["Relu", "Concat", "Concat"]


@pytest.mark.parametrize(
    "node",
    [
        ("Slice", "r s e", "y"),
        ("Expand", "r shape", "y"),
        ("Tile", "r one", "y"),
        ("Cast", "r", "y", {"to": 1}),
        ("Pad", "r none", "y"),
        ("Max", "r", "y"),
    ],
)
def test_what_does_nothing_goes(graph, optimized, node):
    weights = {"s": ints(0, 0), "e": ints(2**63 - 1, 2**63 - 1), "shape": ints(3, 4)}
    weights |= {"one": ints(1, 1), "none": ints(0, 0, 0, 0)}
    names = node[1].split()
    nodes = [("Relu", "x", "r"), node]
    used = {name: value for name, value in weights.items() if name in names}
    assert optimized(graph(nodes, {"x": (3, 4)}, **used))[0] == ["Relu"]


def test_shape_computations_fold(graph, optimized):
    nodes = [
        ("Shape", "x", "shape"),
        ("Gather", "shape zero", "batch"),
        ("Slice", "shape one three", "middle"),
        ("Unsqueeze", "batch zero1", "first"),
        ("Concat", "first middle minus", "target", {"axis": 0}),
        ("Relu", "x", "r"),
        ("Reshape", "r target", "y"),
    ]
    weights = {"zero": np.int64(0), "one": ints(1), "three": ints(3), "zero1": ints(0)}
    model = graph(nodes, {"x": ("n", 3, 4, 2, 5)}, minus=ints(-1), **weights)
    assert optimized(model)[0] == ["Relu", "Reshape"]


def test_sizes_known_only_at_run_time_stay(graph, optimized):
    nodes = [
        ("Shape", "x", "shape"),
        ("Gather", "shape index", "size"),
        ("Mul", "size two", "twice"),
        ("Concat", "twice minus", "target", {"axis": 0}),
        ("Reshape", "x target", "y"),
    ]
    model = graph(nodes, {"x": ("n", 6)}, index=ints(0), two=ints(2), minus=ints(-1))
    left, _ = optimized(model)
    assert left[-1] == "Reshape" and len(left) > 1


def test_initializers_with_equal_contents_are_one(graph, optimized):
    nodes = [("Mul", "x a", "m"), ("Exp", "m", "e"), ("Mul", "e b", "y")]
    model = graph(
        nodes, {"x": ("n", 6)}, a=np.arange(6, dtype=np.float32), b=np.arange(6, dtype=np.float32)
    )
    from sardonyx.optimizer import optimize

    assert len(model.graph.initializers) == 2
    assert len(optimize(model).graph.initializers) == 1


def branch(name, node, *weights):
    out = oh.make_tensor_value_info(node.output[0], 1, None)
    return oh.make_graph([node], name, [], [out], list(weights))


@pytest.mark.parametrize("condition", [True, False])
def test_a_constant_branch_replaces_its_if(optimized, condition):
    one = onnx.numpy_helper.from_array(np.float32([2.0]), "w")
    then = branch("then", oh.make_node("Mul", ["x", "w"], ["z"]), one)
    other = branch("else", oh.make_node("Neg", ["x"], ["z"]))
    nodes = [
        oh.make_node("If", ["c"], ["a"], "if", then_branch=then, else_branch=other),
        oh.make_node("Exp", ["a"], ["y"]),
    ]
    graph = oh.make_graph(
        nodes,
        "test",
        [oh.make_tensor_value_info("x", 1, ["n", 3])],
        [oh.make_tensor_value_info("y", 1, None)],
        [onnx.numpy_helper.from_array(np.array(condition), "c")],
    )
    model = load(oh.make_model(graph, opset_imports=[oh.make_opsetid("", 24)], ir_version=10))
    assert optimized(model)[0] == [["Neg", "Mul"][condition], "Exp"]


def test_subgraphs_are_optimized_too(optimized):
    inner = [
        oh.make_node("Identity", ["x"], ["i"]),
        oh.make_node("CastLike", ["k", "x"], ["kf"]),
        oh.make_node("Mul", ["i", "kf"], ["z"]),
    ]
    out = oh.make_tensor_value_info("z", 1, None)
    k = onnx.numpy_helper.from_array(np.array([3]), "k")
    then = oh.make_graph(inner, "then", [], [out], [k])
    other = branch("else", oh.make_node("Neg", ["x"], ["z"]))
    nodes = [
        oh.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        oh.make_node("Greater", ["s", "zero"], ["c"]),
        oh.make_node("If", ["c"], ["y"], "if", then_branch=then, else_branch=other),
    ]
    graph = oh.make_graph(
        nodes,
        "test",
        [oh.make_tensor_value_info("x", 1, [2, 3])],
        [oh.make_tensor_value_info("y", 1, None)],
        [onnx.numpy_helper.from_array(np.float32(-100), "zero")],
    )
    model = load(oh.make_model(graph, opset_imports=[oh.make_opsetid("", 24)], ir_version=10))
    left, _ = optimized(model)
    assert left == ["ReduceSum", "Greater", "If"]
    from sardonyx.optimizer import optimize

    taken = list(optimize(model).graph)[-1].attributes["then_branch"].as_graph()
    assert [node.op_type for node in taken] == ["Mul"]


@pytest.mark.parametrize(
    ("nodes", "weights", "left"),
    [
        (
            [("Unsqueeze", "x a", "t"), ("Unsqueeze", "t b", "y")],
            {"a": ints(1), "b": ints(-1, 0)},
            ["Unsqueeze"],
        ),
        (
            [("Unsqueeze", "x a", "t"), ("Squeeze", "t b", "u"), ("Relu", "u", "y")],
            {"a": ints(1), "b": ints(-2)},
            ["Relu"],
        ),
        (
            [("Unsqueeze", "x a", "t"), ("Squeeze", "t b", "u"), ("Unsqueeze", "u b", "y")],
            {"a": ints(0, 3), "b": ints(0)},
            ["Unsqueeze"],
        ),
    ],
)
def test_axes_of_size_one_where_no_other_size_is_known(graph, optimized, nodes, weights, left):
    assert optimized(graph(nodes, {"x": ("n", "m")}, **weights))[0] == left


def test_squeezes_merge(graph, optimized):
    nodes = [("Squeeze", "x a", "t"), ("Squeeze", "t b", "y")]
    model = graph(nodes, {"x": ("n", 1, 1, "m", 1)}, a=ints(1), b=ints(-1, 1))
    assert optimized(model)[0] == ["Squeeze"]


@pytest.mark.parametrize(
    ("start", "end", "step", "left"),
    [
        (1, 3, 1, 1),
        (0, 2**62, 2, 1),
        (7, 9, 1, 1),
        (-3, 2**62, 1, 2),
        (4, 1, -1, 2),
    ],
)
def test_slices_along_one_axis(graph, optimized, start, end, step, left):
    nodes = [("Slice", "x s e a st", "t"), ("Slice", "t s2 e2 a st2", "y")]
    limits = {"s": ints(1), "e": ints(12), "a": ints(-1), "st": ints(2)}
    limits |= {"s2": ints(start), "e2": ints(end), "st2": ints(step)}
    model = graph(nodes, {"x": ("n", "m")}, **limits)
    assert optimized(model, n=2, m=9)[0] == ["Slice"] * left


@pytest.mark.parametrize(
    ("kind", "middle", "last", "left"),
    [
        (np.float32, 11, 6, ["Cast"]),  # to double and on to int32
        (np.float32, 11, 1, []),
        (np.float32, 6, 1, ["Cast", "Cast"]),
        (np.float32, 10, 1, ["Cast", "Cast"]),
        (np.int64, 11, 7, ["Cast", "Cast"]),  # double holds 53 bits
        (np.int32, 11, 1, ["Cast"]),
        (np.int32, 12, 7, ["Cast", "Cast"]),  # uint32 holds no negative numbers
        (np.uint8, 6, 3, ["Cast"]),
        (np.bool_, 7, 1, ["Cast"]),
        (np.int64, 9, 7, ["Cast", "Cast"]),
    ],
)
def test_casts_merge_unless_the_first_loses_something(graph, optimized, kind, middle, last, left):
    nodes = [
        ("Cast", "x", "t", {"to": middle}),
        ("Cast", "t", "u", {"to": last}),
        ("Reshape", "u s", "y"),
    ]
    numbers = (
        np.array([0, 1, 2, -3, 7, 250]) if kind != np.int64 else ints(2**53 + 1, 0, 1, 2, 3, 4)
    )
    model = graph(nodes, {"x": ((2, 3), kind)}, s=ints(6))
    feeds = {"x": numbers.astype(kind).reshape(2, 3)}
    assert optimized(model, feeds=feeds)[0] == [*left, "Reshape"]


def test_pools_of_one_element_go_and_clips_to_finite_numbers_stay(graph, optimized):
    window = {"kernel_shape": [1, 1]}
    for node in (("MaxPool", "r", "y", window), ("AveragePool", "r", "y", window)):
        assert optimized(graph([("Relu", "x", "r"), node], {"x": (1, 2, 3, 3)}))[0] == ["Relu"]
    strided = {**window, "strides": [2, 2]}
    nodes = [("Relu", "x", "r"), ("MaxPool", "r", "y", strided)]
    assert optimized(graph(nodes, {"x": (1, 2, 3, 3)}))[0] == ["Relu", "MaxPool"]
    assert optimized(graph([("Exp", "x", "r"), ("Clip", "r", "y")], X))[0] == ["Exp", "Clip"]


def test_integer_division_of_sizes_truncates(graph, optimized):
    nodes = [
        ("Shape", "x", "s"),
        ("Sub", "s k", "d"),
        ("Div", "d two", "q"),
        ("Cast", "q", "y", {"to": 1}),
    ]
    model = graph(nodes, {"x": (3, 4)}, k=ints(8, 9), two=ints(2, -2))
    assert optimized(model)[0] == ["Cast"]


def test_a_constant_too_large_to_keep_is_not_even_computed(graph, monkeypatch):
    from sardonyx.optimizer import fold, optimize_with_report

    computed = []
    right = fold._evaluate
    monkeypatch.setattr(
        fold, "_evaluate", lambda node, *rest: computed.append(node.op_type) or right(node, *rest)
    )
    nodes = [("Expand", "one shape", "big"), ("Add", "x big", "y")]
    model = graph(nodes, {"x": (1,)}, one=np.float32([1]), shape=ints(1 << 40))
    optimized_model, report = optimize_with_report(model, explain=True)
    assert [node.op_type for node in optimized_model.graph] == ["Expand", "Add"]
    assert "Expand" not in computed
    assert any("Expand 'n0' not folded" in text for text in report.explanations)


NUMBERS = {
    np.float16: [0, -0.0, 1.5, 65504, -2, np.nan, np.inf],
    np.float32: [0, -0.0, 1 / 3, 70000, 1e-9, 2**24 + 2, np.nan, -np.inf],
    np.float64: [0, 1 / 3, 1e300, 2**53 - 1, 16777217, -np.inf],
    np.int8: [0, 1, -1, 127, -128],
    np.uint8: [0, 1, 128, 255],
    np.int32: [0, 1, -1, 16777217, 2**31 - 1, -(2**31)],
    np.int64: [0, 1, 300, 2**53 + 1, 2**63 - 1, -(2**63)],
    np.bool_: [False, True],
}


@pytest.mark.parametrize("kind", NUMBERS)
def test_casts_in_a_row_give_the_same_numbers_and_texts(kind):
    """Two casts are one only where the type between holds every number, and no text shows it."""
    to_string = onnx.TensorProto.STRING
    kinds = [oh.np_dtype_to_tensor_dtype(np.dtype(each)) for each in NUMBERS]
    pairs = [(between, last) for between in kinds for last in (*kinds, to_string)]
    nodes = []
    for index, (between, last) in enumerate(pairs):
        nodes.append(oh.make_node("Cast", ["x"], [f"m{index}"], to=between))
        nodes.append(oh.make_node("Cast", [f"m{index}"], [f"y{index}"], to=last))
    start = oh.np_dtype_to_tensor_dtype(np.dtype(kind))
    outputs = [oh.make_tensor_value_info(f"y{i}", last, ["n"]) for i, (_, last) in enumerate(pairs)]
    x = oh.make_tensor_value_info("x", start, ["n"])
    proto = oh.make_graph(nodes, "g", [x], outputs)
    model = oh.make_model(proto, opset_imports=[oh.make_opsetid("", 24)], ir_version=10)
    # A chain of casts may be written only where each cast's result is defined.
    numbers = np.array(NUMBERS[kind], kind)
    merged = ir.to_proto(optimize(load(model)))
    left = {node.output[0]: node for node in merged.graph.node}
    for index, (between, last) in enumerate(pairs):
        node = left.get(f"y{index}")
        if node is None or node.input[0] != "x" or last == between or between == start:
            continue
        exact = numbers.astype(oh.tensor_dtype_to_np_dtype(between)).astype(kind)
        assert exact.tobytes() == numbers.tobytes(), (kind, between, last)
        assert last != to_string
    assert len(left) < len(nodes)
