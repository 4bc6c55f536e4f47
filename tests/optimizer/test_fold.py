"""Constants are computed ahead where that is cheap, bounded and defined."""

from __future__ import annotations

import resource
import time

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import helper as oh
from onnx.reference import ReferenceEvaluator
from sardonyx.importers import load
from sardonyx.optimizer import optimize, optimize_with_report

F = np.float32


def constant_model(nodes, weights, opset=21):
    """Make a model that adds the sum of the last node's result to its input."""
    made = [
        oh.make_node(op_type, names.split(), [output], output, **dict(*attributes))
        for op_type, names, output, *attributes in nodes
    ]
    last = made[-1].output[0]
    made += [
        oh.make_node("Cast", [last], ["as_float"], to=1),
        oh.make_node("ReduceSum", ["as_float"], ["total"], keepdims=0),
        oh.make_node("Add", ["x", "total"], ["y"]),
    ]
    tensors = [onnx.numpy_helper.from_array(np.asarray(a), name) for name, a in weights.items()]
    x, y = (oh.make_tensor_value_info(name, 1, ["n"]) for name in "xy")
    graph = oh.make_graph(made, "g", [x], [y], tensors)
    return oh.make_model(graph, opset_imports=[oh.make_opsetid("", opset)], ir_version=10)


BIG = 2**14
SQUARE = ("Mul", "k k", "big")
ONE, IMAGE, NOTHING = np.ones(1, F), np.ones((1, 1, 4, 4), F), np.ones(0, F)
MATRIX = np.ones((3000, 3000), F)
BOMBS = {
    "OneHot": ([("OneHot", "i d v", "o")], {"i": [1], "d": 2**29, "v": np.array([0, 1], F)}),
    "HannWindow": ([("HannWindow", "d", "o")], {"d": 2**28}),
    "Range": ([SQUARE, ("Range", "zero big one", "o")], {"k": BIG, "zero": 0, "one": 1}),
    "Tile": ([SQUARE, ("Tile", "v big", "o")], {"k": [BIG], "v": ONE}),
    "Expand": ([SQUARE, ("Expand", "v big", "o")], {"k": [BIG], "v": ONE}),
    "Pad": (
        [SQUARE, ("Concat", "zero big", "p", {"axis": 0}), ("Pad", "v p", "o")],
        {"k": [BIG], "zero": [0], "v": ONE},
    ),
    "Resize": (
        [("Resize", "v e s", "o")],
        {"v": IMAGE, "e": NOTHING, "s": np.array([1, 1, BIG, BIG], F)},
    ),
    "a slow Resize": (
        [("Resize", "v e s", "o", {"mode": "cubic"})],
        {"v": IMAGE, "e": NOTHING, "s": np.array([1, 1, 99, 99], F)},
    ),
    "MatMul": ([("MatMul", "a b", "o")], {"a": MATRIX, "b": MATRIX + 1}),
    "Einsum": ([("Einsum", "a a a a", "o", {"equation": "a,b,c,d->"})], {"a": np.ones(500, F)}),
    "Conv": (
        [("Conv", "a b", "o")],
        {"a": np.ones((1, 64, 64, 64), F), "b": np.ones((64, 64, 5, 5), F)},
    ),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_what_is_large_or_slow_is_not_computed_ahead(kind):
    nodes, weights = BOMBS[kind]
    model = load(constant_model(nodes, weights))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    optimized = optimize(model)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert nodes[-1][0] in {node.op_type for node in optimized.graph}
    assert grown < 400 << 10  # KiB; the smallest result would be larger, or take minutes
    assert time.perf_counter() - start < 30


def test_many_nodes_of_an_allowed_size_are_not_all_computed_ahead():
    nodes = [("Expand", "v d", f"o{i}") for i in range(400)]
    weights = {"v": np.ones(1, F), "d": [2**18 - 1]}
    for i in range(400):  # each differs, so that none is found to be another
        weights[f"v{i}"] = np.full(1, i, F)
        nodes[i] = ("Expand", f"v{i} d", f"o{i}")
    sums = [("Max", " ".join(f"o{i}" for i in range(400)), "o")]
    optimized = optimize(load(constant_model(nodes + sums, weights)), "basic")
    sizes = [value.const_value.nbytes for value in optimized.graph.initializers.values()]
    assert sum(sizes) < 300 << 20


def test_the_limit_can_be_set():
    nodes, weights = [("Expand", "v d", "o")], {"v": np.ones(1, F), "d": [2**19]}
    model = load(constant_model(nodes, weights))
    for limit, left in ((None, True), (4 << 20, False), (16, True)):
        options = {} if limit is None else {"fold_limit": limit}
        names = {node.op_type for node in optimize(model, **options).graph}
        assert ("Expand" in names) == left
        session = sardonyx.Session(constant_model(nodes, weights), threads=1, **options)
        assert session(np.zeros(1, F))[0] == 2**19
    with pytest.raises(sardonyx.InvalidArgument, match="fold_limit"):
        optimize(model, fold_limit=-1)
    with pytest.raises(sardonyx.InvalidArgument, match="fold_limit"):
        sardonyx.Session(constant_model(nodes, weights), fold_limit="much")


@pytest.mark.parametrize(
    ("node", "weights"),
    [
        (("Div", "a b", "o"), {"a": np.array([4, 1]), "b": np.array([2, 0])}),
        (("Mod", "a b", "o"), {"a": np.array([4, 1]), "b": np.array([2, 0])}),
        (("Div", "a b", "o"), {"a": np.array([-(2**31)], np.int32), "b": np.array([-1], np.int32)}),
        (("Cast", "a", "o", {"to": 6}), {"a": np.array([1, np.inf], F)}),
        (("Cast", "a", "o", {"to": 7}), {"a": np.array([np.nan], F)}),
        (("Cast", "a", "o", {"to": 6}), {"a": np.array([1e30], F)}),
    ],
)
def test_what_has_no_defined_result_is_left_alone(node, weights):
    optimized = optimize(load(constant_model([node], weights)))
    assert node[0] in {each.op_type for each in optimized.graph}
    defined = {name: np.abs(np.nan_to_num(a, posinf=1)).clip(1, 9) for name, a in weights.items()}
    left = {each.op_type for each in optimize(load(constant_model([node], defined))).graph}
    assert left == {"Add"}


def test_explanations_say_why():
    nodes, weights = BOMBS["MatMul"]
    _, report = optimize_with_report(load(constant_model(nodes, weights)), explain=True)
    assert any("operations" in text for text in report.explanations)


@pytest.mark.parametrize("kind", ["INT8", "UINT4", "INT4", "UINT16", "FLOAT8E4M3FN", "FLOAT8E5M2"])
@pytest.mark.parametrize("per_column", [False, True])
def test_weights_are_quantized_once(kind, per_column):
    """Their DequantizeLinear stays: constants stay small, and a session widens them once."""
    weights = np.random.default_rng(0).standard_normal((40, 24)).astype(F)
    weights[0, 0] = 1e6  # saturates
    scale = np.full(24 if per_column else (), 0.03, F)
    nodes = [
        oh.make_node("QuantizeLinear", ["w", "s", "z"], ["q"], axis=1),
        oh.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], axis=1),
        oh.make_node("MatMul", ["x", "d"], ["y"]),
    ]
    zero = oh.make_tensor("z", getattr(onnx.TensorProto, kind), scale.shape, [0] * scale.size)
    tensors = [onnx.numpy_helper.from_array(a, n) for n, a in {"w": weights, "s": scale}.items()]
    x, y = (oh.make_tensor_value_info(n, 1, ["n", k]) for n, k in (("x", 40), ("y", 24)))
    graph = oh.make_graph(nodes, "g", [x], [y], [*tensors, zero])
    proto = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 21)], ir_version=10)
    assert [node.op_type for node in optimize(load(proto)).graph] == ["DequantizeLinear", "MatMul"]
    feeds = {"x": np.random.default_rng(1).standard_normal((3, 40)).astype(F)}
    session = sardonyx.Session(proto, threads=1)
    (wanted,) = ReferenceEvaluator(proto).run(None, feeds)
    np.testing.assert_allclose(session.run(None, feeds)[0], wanted, rtol=1e-4, atol=1e-4)
    assert "QuantizeLinear" not in str([step.op_type for step in session.engine.program.steps])
