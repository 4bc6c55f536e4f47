"""Bodies of loops and branches, which use values from outside."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper as oh
from sardonyx.importers import load
from sardonyx.optimizer import optimize

F = np.float32


def array(name, *values):
    return onnx.numpy_helper.from_array(np.array(values[0] if len(values) == 1 else values), name)


def model(nodes, outputs=("y",), weights=(), shape=("n", 3)):
    graph = oh.make_graph(
        nodes,
        "test",
        [oh.make_tensor_value_info("x", 1, shape)],
        [oh.make_tensor_value_info(name, 1, shape) for name in outputs],
        list(weights),
    )
    return load(oh.make_model(graph, opset_imports=[oh.make_opsetid("", 24)], ir_version=10))


def loop_body(nodes, weights=(), name="body"):
    """A body with one state, s to t."""
    return oh.make_graph(
        [*nodes, oh.make_node("Identity", ["go"], ["go_on"])],
        name,
        [
            oh.make_tensor_value_info("i", 7, []),
            oh.make_tensor_value_info("go", 9, []),
            oh.make_tensor_value_info("s", 1, ["n", 3]),
        ],
        [oh.make_tensor_value_info("go_on", 9, []), oh.make_tensor_value_info("t", 1, ["n", 3])],
        list(weights),
    )


def body_of(optimized_model, op_type="Loop", name="body"):
    node = next(node for node in optimized_model.graph if node.op_type == op_type)
    return [inner.op_type for inner in node.attributes[name].as_graph()]


COUNT = [array("trips", np.int64(3)), array("yes", np.array(True))]


@pytest.mark.usefixtures("loops_stay")
def test_what_a_loop_computes_from_outside_stays_outside(optimized):
    """A sigmoid outside and its product inside are no Swish: that would run every time."""
    body = loop_body(
        [oh.make_node("Mul", ["x", "g"], ["p"]), oh.make_node("Add", ["s", "p"], ["t"])]
    )
    with_body = model(
        [
            oh.make_node("Sigmoid", ["x"], ["g"]),
            oh.make_node("Loop", ["trips", "yes", "x"], ["y"], body=body),
        ],
        weights=COUNT,
    )
    assert optimized(with_body)[0] == ["Sigmoid", "Loop"]


@pytest.mark.usefixtures("loops_stay")
def test_fusions_and_constants_inside_a_loop(optimized):
    body = loop_body(
        [
            oh.make_node("Sigmoid", ["s"], ["g"]),
            oh.make_node("Mul", ["s", "g"], ["p"]),
            oh.make_node("Mul", ["two", "three"], ["six"]),
            oh.make_node("Add", ["p", "six"], ["q"]),
            oh.make_node("Identity", ["q"], ["t"]),
        ],
        [array("two", F(2))],
    )
    with_body = model(
        [oh.make_node("Loop", ["trips", "yes", "x"], ["y"], body=body)],
        weights=[*COUNT, array("three", F(3))],
    )
    optimized(with_body)
    assert body_of(optimize(with_body)) == ["Swish", "Add", "Identity"]


def test_convolutions_inside_a_branch_take_in_their_normalization(optimized):
    rng = np.random.default_rng(4)
    out = oh.make_tensor_value_info("z", 1, None)
    then = oh.make_graph(
        [
            oh.make_node("Conv", ["x", "w"], ["c"]),
            oh.make_node("BatchNormalization", ["c", "a", "b", "m", "v"], ["n"]),
            oh.make_node("Mul", ["n", "k"], ["z"]),
        ],
        "then",
        [],
        [out],
    )
    other = oh.make_graph([oh.make_node("Conv", ["x", "w"], ["z"])], "else", [], [out])
    weights = [array("w", rng.standard_normal((3, 3, 1, 1)).astype(F)), array("limit", F(-1e9))]
    weights += [array(name, rng.random(3).astype(F) + 1) for name in "abmv"]
    weights.append(array("k", rng.random((3, 1, 1)).astype(F)))
    with_body = model(
        [
            oh.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
            oh.make_node("Greater", ["sum", "limit"], ["cond"]),
            oh.make_node("If", ["cond"], ["y"], then_branch=then, else_branch=other),
        ],
        weights=weights,
        shape=(1, 3, 4, 4),
    )
    optimized(with_body)
    optimized_model = optimize(with_body)
    assert body_of(optimized_model, "If", "then_branch") == ["Conv"]
    assert body_of(optimized_model, "If", "else_branch") == ["Conv"]


def test_a_folded_constant_does_not_hide_a_value_outside(optimized):
    """The constant folded from ``v`` in the body may not be called like ``v.folded`` outside."""
    body = loop_body(
        [
            oh.make_node("Add", ["two", "two"], ["v"]),
            oh.make_node("Mul", ["s", "v"], ["p"]),
            oh.make_node("Add", ["p", "v.folded"], ["t"]),
        ],
        [array("two", F(2))],
    )
    with_body = model(
        [
            oh.make_node("Exp", ["x"], ["v.folded"]),
            oh.make_node("Loop", ["trips", "yes", "x"], ["y"], body=body),
        ],
        weights=COUNT,
    )
    optimized(with_body)
    names = [
        str(value.name)
        for graph in optimize(with_body).graphs()
        for value in (*graph.initializers.values(), *(v for n in graph for v in n.outputs))
    ]
    assert len(names) == len(set(names))


def test_branches_without_a_name_do_not_collide(optimized):
    def branch(value):
        out = oh.make_tensor_value_info("z", 1, None)
        node = oh.make_node("Mul", ["x", "w"], ["z"])
        return oh.make_graph([node], "b", [], [out], [array("w", F(value))])

    with_body = model(
        [
            oh.make_node("If", ["yes"], ["a"], then_branch=branch(2), else_branch=branch(3)),
            oh.make_node("If", ["yes"], ["b"], then_branch=branch(4), else_branch=branch(5)),
            oh.make_node("Sub", ["a", "b"], ["y"]),
        ],
        weights=COUNT[1:],
    )
    left, _ = optimized(with_body)
    assert left == ["Mul", "Mul", "Sub"]


def test_dead_weights_of_a_body_go(optimized):
    body = loop_body([oh.make_node("Exp", ["s"], ["t"])], [array("unused", F([1, 2]))])
    with_body = model(
        [oh.make_node("Loop", ["trips", "yes", "x"], ["y"], body=body)], weights=COUNT
    )
    optimized(with_body)
    names = {name for graph in optimize(with_body).graphs() for name in graph.initializers}
    assert "unused" not in names and isinstance(with_body, ir.Model)
