import numpy as np
import onnx
import pytest
from onnx import helper as oh
from sardonyx.importers import load
from sardonyx.optimizer import optimize

F = np.float32
X = {"x": ("n", 4)}


def weights(model):
    return sorted(str(name) for graph in model.graphs() for name in graph.initializers)


def test_equal_computations_are_one(graph, optimized):
    nodes = [("Exp", "x", "a"), ("Exp", "x", "b"), ("Neg", "a", "c"), ("Sub", "c b", "y")]
    assert sorted(optimized(graph(nodes, X))[0]) == ["Exp", "Neg", "Sub"]


def test_attributes_tell_computations_apart(graph, optimized):
    nodes = [
        ("Elu", "x", "a", {"alpha": 0.5}),
        ("Elu", "x", "b", {"alpha": 1.0}),
        ("Sub", "a b", "y"),
    ]
    assert optimized(graph(nodes, X))[0] == ["Elu", "Elu", "Sub"]


def test_two_equal_outputs_keep_their_names(graph, optimized):
    model = graph([("Exp", "x", "a"), ("Exp", "x", "b")], X, "a b")
    assert optimized(model)[0] == ["Exp", "Exp"]
    assert [value.name for value in optimize(model).graph.outputs] == ["a", "b"]


def test_an_output_takes_over_an_equal_computation(graph, optimized):
    nodes = [("Exp", "x", "a"), ("Neg", "a", "c"), ("Exp", "x", "b")]
    model = graph(nodes, X, "c b")
    assert optimized(model)[0] == ["Exp", "Neg"]
    assert [value.name for value in optimize(model).graph.outputs] == ["c", "b"]


def test_random_numbers_are_drawn_twice(graph):
    nodes = [
        ("Bernoulli", "x", "a"),
        ("Bernoulli", "x", "b"),
        ("RandomUniformLike", "x", "c"),
        ("RandomUniformLike", "x", "d"),
        ("Sum", "a b c d", "y"),
    ]
    assert len(optimize(graph(nodes, X)).graph) == 5


def test_large_weights_with_equal_bytes_are_one(graph, optimized):
    big = np.random.default_rng(1).standard_normal((64, 64)).astype(F)
    other = big.copy()
    other[7, 9] += 1
    nodes = [("MatMul", "x a", "p"), ("MatMul", "p b", "q"), ("MatMul", "q c", "y")]
    model = graph(nodes, {"x": ("n", 64)}, a=big, b=big.copy(), c=other)
    assert weights(optimize(model)) == ["a", "c"]
    optimized(model)


def test_zero_and_negative_zero_are_two(graph, optimized):
    nodes = [("Div", "x a", "p"), ("Div", "x b", "q"), ("Concat", "p q", "y", {"axis": 0})]
    model = graph(nodes, X, a=F([0.0]), b=F([-0.0]))
    assert weights(optimize(model)) == ["a", "b"]
    optimized(model)


def test_a_weight_that_is_an_output_stays(graph, optimized):
    nodes = [("Mul", "x a", "p"), ("Identity", "b", "c"), ("Mul", "p b", "y")]
    model = graph(nodes, X, "y c", a=F([2, 3, 4, 5]), b=F([2, 3, 4, 5]))
    optimized(model)
    assert [value.name for value in optimize(model).graph.outputs] == ["y", "c"]


def _with_branches(then_nodes, then_weights=()):
    out = oh.make_tensor_value_info("z", 1, None)
    then = oh.make_graph(then_nodes, "then", [], [out], list(then_weights))
    other = oh.make_graph([oh.make_node("Neg", ["x"], ["z"])], "else", [], [out])
    nodes = [
        oh.make_node("Exp", ["x"], ["e"]),
        oh.make_node("Mul", ["e", "w"], ["m"]),
        oh.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        oh.make_node("Greater", ["s", "limit"], ["c"]),
        oh.make_node("If", ["c"], ["i"], "if", then_branch=then, else_branch=other),
        oh.make_node("Add", ["i", "m"], ["y"]),
    ]
    graph = oh.make_graph(
        nodes,
        "test",
        [oh.make_tensor_value_info("x", 1, [2, 3])],
        [oh.make_tensor_value_info("y", 1, None)],
        [
            onnx.numpy_helper.from_array(F([1, 2, 3]), "w"),
            onnx.numpy_helper.from_array(F(-100), "limit"),
        ],
    )
    return load(oh.make_model(graph, opset_imports=[oh.make_opsetid("", 24)], ir_version=10))


def test_a_branch_uses_what_is_computed_outside(optimized):
    inner = [
        oh.make_node("Exp", ["x"], ["e2"]),
        oh.make_node("Mul", ["e2", "w2"], ["m2"]),
        oh.make_node("Sqrt", ["m2"], ["z"]),
    ]
    model = _with_branches(inner, [onnx.numpy_helper.from_array(F([1, 2, 3]), "w2")])
    optimized(model)
    optimized_model = optimize(model)
    taken = (
        next(n for n in optimized_model.graph if n.op_type == "If")
        .attributes["then_branch"]
        .as_graph()
    )
    assert [node.op_type for node in taken] == ["Sqrt"]
    assert "w2" not in weights(optimized_model)


def test_the_outside_does_not_use_what_a_branch_computes(optimized):
    inner = [oh.make_node("Sqrt", ["e"], ["t"]), oh.make_node("Neg", ["t"], ["z"])]
    model = _with_branches(inner)
    nodes = list(model.graph)
    import onnx_ir as ir

    late = ir.node("Sqrt", [nodes[0].outputs[0]], name="late")
    total = ir.node("Add", [nodes[-1].outputs[0], late.outputs[0]], name="total")
    model.graph.extend([late, total])
    total.outputs[0].name = "total"
    total.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    model.graph.outputs[0] = total.outputs[0]
    left, _ = optimized(model)
    assert left.count("Sqrt") == 1


@pytest.mark.parametrize("past", [False, True])
@pytest.mark.parametrize("read", ["", "p", "r", "pr"])
def test_present_keys_and_values_stay_together(optimized, read, past):
    inputs = ["q", "k", "v", "", "a", "b"] if past else ["q", "k", "v"]
    values = [oh.make_tensor_value_info(name, 1, [1, 2, 3, 4]) for name in inputs if name]
    node = oh.make_node("Attention", inputs, ["y", "p", "r"])
    outputs = [oh.make_tensor_value_info(name, 1, [1, 2, None, 4]) for name in f"y{read}"]
    proto = oh.make_graph([node], "g", values, outputs)
    model = oh.make_model(proto, opset_imports=[oh.make_opsetid("", 24)], ir_version=10)
    assert optimized(load(model))[0] == ["Attention"]
