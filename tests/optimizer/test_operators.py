"""The table of operators: entries agree with the standard and with what the operators compute."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import sardonyx
from onnx import helper as oh
from onnx import parser
from onnx.reference import ReferenceEvaluator
from sardonyx.optimizer import operators
from sardonyx.optimizer.operators import OPERATORS, lookup
from sardonyx.optimizer.operators.record import Operator

ELEMENTWISE = [op_type for op_type, operator in OPERATORS.items() if operator.elementwise]
BOOLS = {"And", "Or", "Xor", "Not"}
OPERANDS = {"PRelu": 2, "Where": 3}
ATTRIBUTES = {"Cast": {"to": onnx.TensorProto.DOUBLE}, "Mod": {"fmod": 1}}


def run(op_type, arrays):
    feeds = {f"x{i}": array for i, array in enumerate(arrays)}
    node = oh.make_node(op_type, list(feeds), ["y"], **ATTRIBUTES.get(op_type, {}))
    types = [(name, oh.np_dtype_to_tensor_dtype(array.dtype)) for name, array in feeds.items()]
    inputs = [oh.make_tensor_value_info(name, kind, [None, None]) for name, kind in types]
    graph = oh.make_graph([node], "test", inputs, [onnx.ValueInfoProto(name="y")])
    model = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 24)], ir_version=10)
    return ReferenceEvaluator(model).run(None, feeds)[0]


def operands(op_type, rng):
    count = OPERANDS.get(op_type, 2 if OPERATORS[op_type].broadcasts else 1)
    arrays = [rng.uniform(0.5, 2, (3, 4)).astype(np.float32) for _ in range(count)]
    if op_type in BOOLS:
        arrays = [array > 1 for array in arrays]
    if op_type == "Where":
        arrays[0] = arrays[0] > 1
    return arrays


def test_entries_are_operators_of_the_standard():
    assert [op_type for op_type in OPERATORS if not onnx.defs.has(op_type)] == []


def test_an_operator_has_one_entry():
    entries = [op_type for family in operators._FAMILIES for op_type in family.OPERATORS]
    assert len(entries) == len(set(entries)) == len(OPERATORS)


def test_nothing_is_known_of_other_domains():
    assert lookup(ir.node("Relu", [], domain="com.example")) == Operator()
    assert lookup(ir.node("Acosh", [])) == Operator()


@pytest.mark.parametrize("op_type", ELEMENTWISE)
def test_elementwise_operators_compute_the_same_in_another_order_of_axes(rng, op_type):
    arrays = operands(op_type, rng)
    transposed = run(op_type, [array.T for array in arrays])
    np.testing.assert_array_equal(run(op_type, arrays).T, transposed)


@pytest.mark.parametrize("op_type", [op for op in ELEMENTWISE if OPERATORS[op].broadcasts])
def test_broadcasting_operators_have_the_shape_of_all_operands(rng, op_type):
    arrays = operands(op_type, rng)
    arrays[-1] = arrays[-1][:1]
    assert run(op_type, arrays).shape == (3, 4)


@pytest.mark.parametrize("op_type", [op for op in OPERATORS if OPERATORS[op].commutative])
def test_operands_of_commutative_operators_may_be_exchanged(rng, op_type):
    arrays = operands(op_type, rng)
    np.testing.assert_array_equal(run(op_type, arrays), run(op_type, arrays[::-1]))


CONV = ("Conv", "x w", "c")
WEIGHTS = np.ones((10, 3, 1, 1), np.float32)


@pytest.mark.parametrize("known", [False, True])
def test_an_entry_is_all_that_passes_need(graph, optimized, monkeypatch, known):
    """Hoisting and the order of axes alike, for an operator that has had no entry."""
    if known:
        monkeypatch.setitem(OPERATORS, "Atan", Operator(elementwise=True, activation=True))
    image = {"x": ("n", 3, 6, 8)}
    nodes = [CONV, ("Reshape", "c shape", "r"), ("Atan", "r", "y")]
    model = graph(nodes, image, w=WEIGHTS, shape=np.array([-1, 2, 5, 6, 8]))
    assert optimized(model)[0].index("Atan") == (1 if known else 2)
    to_last, to_first = {"perm": [0, 2, 3, 1]}, {"perm": [0, 3, 1, 2]}
    nodes = [
        ("Transpose", "x", "t", to_last),
        ("Atan", "t", "a"),
        ("Transpose", "a", "y", to_first),
    ]
    left, _ = optimized(graph(nodes, image))
    assert left == (["Atan"] if known else ["Transpose", "Atan", "Transpose"])


@pytest.mark.parametrize(
    "text",
    [
        "(float x) => (y) { y = Concat <axis = -2> (x, x) }",
        "(float x) => (y) { y = Squeeze <axes = [0]> (x) }",
        "(float x) => (y) { y = Slice <starts = [0], ends = [0], axes = [0]> (x) }",
        "(float[2, 3] x) => (y) { y = Slice <starts = [0], ends = [9999999999], axes = [7]> (x) }",
        "(float[2, 3] x) => (y) { y = Slice <starts = [-5], ends = [1], axes = [7]> (x) }",
    ],
)
def test_axes_that_no_value_has_are_left_to_who_runs_the_model(text):
    model = sardonyx.load(parser.parse_model('<ir_version: 10, opset_import: ["": 1]> g ' + text))
    wanted = [node.op_type for node in model.graph if node.op_type != "Constant"]
    assert [node.op_type for node in sardonyx.optimize(model).graph] == wanted
