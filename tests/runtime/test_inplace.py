"""Results lie over operands that are not read again, and over nothing else."""

from __future__ import annotations

import numpy as np
import onnx.helper as oh
import onnx.reference
import pytest
import sardonyx
from sardonyx.kernels.abi import ARENA
from sardonyx.runtime.inplace import Inplace
from sardonyx.runtime.tensors import Buffer, Tensor


def opened(
    nodes, outputs=("y",), shape=(2, 16, 24, 24)
) -> tuple[sardonyx.Session, onnx.ModelProto]:
    x = oh.make_tensor_value_info("x", 1, list(shape))
    graph = oh.make_graph(nodes, "g", [x], [oh.make_tensor_value_info(n, 1, None) for n in outputs])
    model = oh.make_model(graph, ir_version=10, opset_imports=[oh.make_opsetid("", 22)])
    return sardonyx.Session(model, threads=2), model


def places(session: sardonyx.Session) -> dict[str, int]:
    """Buffer of every value in memory, by its name."""
    return {spec.name: spec.buffer for spec in session.engine.program.tensors if spec.name}


def check(session, model, shape=(2, 16, 24, 24)) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    expected = onnx.reference.ReferenceEvaluator(model).run(None, {"x": x})
    for _ in range(3):
        for a, b in zip(session.run(None, {"x": x}), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    traced = session.trace({"x": x})
    names = [output.name for output in model.graph.output]
    for name, value in zip(names, expected, strict=True):
        np.testing.assert_allclose(traced[name], value, rtol=1e-4, atol=1e-5)


# A value that no kernel of a chain of elementwise operators takes over.
def softmax(x: str, y: str, axis: int = 1) -> onnx.NodeProto:
    return oh.make_node("Softmax", [x], [y], axis=axis)


def mean(x: str, y: str) -> onnx.NodeProto:
    return oh.make_node("GlobalAveragePool", [x], [y])


def test_a_chain_lies_in_one_buffer():
    nodes = [softmax("x", "a"), oh.make_node("Exp", ["a"], ["b"]), softmax("b", "c", 2),
             softmax("c", "d", 3), mean("d", "y")]  # fmt: skip
    session, model = opened(nodes)
    found = places(session)
    assert len({found[name] for name in "abcd"}) == 1
    check(session, model)


def test_what_is_read_again_is_kept():
    nodes = [softmax("x", "a"), oh.make_node("Exp", ["a"], ["b"]), softmax("b", "c", 2),
             oh.make_node("Mul", ["a", "c"], ["d"]), mean("d", "y")]  # fmt: skip
    session, model = opened(nodes)
    found = places(session)
    assert found["a"] != found["b"] == found["c"]
    assert found["d"] in (found["a"], found["c"])
    check(session, model)


def test_inputs_outputs_and_values_under_views_are_kept():
    nodes = [
        softmax("x", "o"),
        oh.make_node("Transpose", ["o"], ["t"], perm=[1, 0, 2, 3]),
        oh.make_node("Exp", ["o"], ["b"]),
        softmax("b", "y", 2),
        oh.make_node("ReduceMean", ["t"], ["z"]),
    ]
    session, model = opened(nodes, ("y", "z", "o"))
    found = places(session)
    assert len({found[name] for name in "xoy"}) == 3
    assert found["o"] != found["b"] != found["y"]
    check(session, model)


def test_an_operand_read_in_another_order_too_gives_the_right_result():
    nodes = [
        softmax("x", "a"),
        oh.make_node("Transpose", ["a"], ["t"], perm=[0, 1, 3, 2]),
        oh.make_node("Add", ["a", "t"], ["s"]),
        mean("s", "y"),
    ]
    check(*opened(nodes))


def test_memory_that_is_read_in_another_order_in_the_same_step_is_kept():
    operand, result = Buffer(ARENA, 64, 0, 0, 1, 2), Buffer(ARENA, 64, 1, 0, 2, 3)
    x, y = (Tensor(buffer, 0, "float32", (4, 4), (4, 1)) for buffer in (operand, result))
    for other, merged in ((x.view((4, 4), (1, 4)), False), (x, True)):
        inplace = Inplace()
        inplace.allow(2, y, [x], [y, x, other])
        inplace.settle()
        assert (inplace.merged(result) is operand) is merged
    assert (operand.first, operand.last) == (1, 3)
    assert result.first > result.last


@pytest.mark.parametrize("kind", [onnx.TensorProto.INT32, onnx.TensorProto.DOUBLE])
def test_elements_of_another_size_need_their_own_memory(kind):
    nodes = [
        softmax("x", "a"),
        oh.make_node("Mul", ["a", "a"], ["m"]),
        oh.make_node("Cast", ["m"], ["c"], to=kind),
        softmax("x", "e", 2),
        oh.make_node("ReduceSum", ["c"], ["r"]),
        oh.make_node("Cast", ["r"], ["q"], to=1),
        oh.make_node("Add", ["q", "e"], ["y"]),
    ]
    session, model = opened(nodes)
    found = places(session)
    assert (found["c"] == found["a"]) == (kind == onnx.TensorProto.INT32)
    check(session, model)
