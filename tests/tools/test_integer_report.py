"""A profile says which nodes of a quantized model compute with integers, and why others do not."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console
from sardonyx.tools.integer_report import integer_rows, print_integers
from sardonyx.tools.profile import profile

F32 = np.float32


class Graph:
    """Builds a quantized graph on x, of shape (1, 4, 6, 6)."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.rng = np.random.default_rng(0)

    def constant(self, array: Any) -> str:
        name = f"c{len(self.arrays)}"
        self.arrays[name] = np.asarray(array)
        return name

    def op(self, op_type: str, *inputs: Any, name: str = "", **attributes: Any) -> str:
        names = [x if isinstance(x, str) else self.constant(x) for x in inputs]
        result = f"{name or op_type}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, names, [result], name or result, **attributes))
        return result

    def rounded(self, x: str, dtype: Any = np.uint8) -> str:
        grid = [F32(0.05), dtype(0 if np.dtype(dtype).kind == "i" else 128)]
        return self.op("DequantizeLinear", self.op("QuantizeLinear", x, *grid), *grid)

    def weights(self, *shape: int, dtype: Any = np.int8, **attributes: Any) -> str:
        integers = self.rng.integers(-100, 100, shape).astype(dtype)
        return self.op("DequantizeLinear", integers, F32(0.01), dtype(0), **attributes)

    def session(self, y: str) -> Any:
        graph = helper.make_graph(
            self.nodes,
            "graph",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 4, 6, 6))],
            [onnx.ValueInfoProto(name=y)],
            [numpy_helper.from_array(array, name) for name, array in self.arrays.items()],
        )
        opsets = [helper.make_opsetid("", 21)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def rows(graph: Graph, y: str) -> dict[str, Any]:
    model = sardonyx.load(graph.session(y))
    with sardonyx.Session(model, threads=1) as session:
        return {row.name: row for row in integer_rows(model, session.optimized_model())}


def test_integers_are_reported_here_and_in_onnxruntime():
    graph = Graph()
    x = graph.rounded("x")
    y = graph.rounded(graph.op("Conv", x, graph.weights(4, 4, 3, 3), name="conv"))
    y = graph.op("MatMul", y, graph.weights(4, 5), name="product")
    found = rows(graph, y)
    assert (found["conv"].here, found["conv"].reference, found["conv"].reason) == (True, True, "")
    assert (found["product"].here, found["product"].reference) == (True, True)


@pytest.mark.parametrize("op_type", ["QLinearMatMul", "QLinearConv", "MatMulInteger"])
@pytest.mark.parametrize(("dtype", "is_slow"), [(np.int8, True), (np.uint8, False)])
def test_signed_products_are_slow_in_onnxruntime(op_type, dtype, is_slow):
    graph = Graph()
    scale, zero, none = F32(0.05), dtype(3), np.int8(0)
    x = graph.op("QuantizeLinear", "x", scale, zero)
    integers = graph.rng.integers(-9, 9, (4, 4, 3, 3) if "Conv" in op_type else (6, 5))
    weights = integers.astype(np.int8)
    if op_type == "MatMulInteger":
        y = graph.op(op_type, x, weights, zero, none, name="it")
    else:
        y = graph.op(op_type, x, scale, zero, weights, scale, none, scale, zero, name="it")
    row = rows(graph, y)["it"]
    assert (row.reference, row.is_slow) == (True, is_slow)
    console = Console(width=200, record=True, file=io.StringIO())
    print_integers([row], console)
    assert ("integers, slow" in console.export_text()) is is_slow


@pytest.mark.parametrize(("dtype", "is_slow"), [(np.int8, True), (np.uint8, False)])
@pytest.mark.parametrize("activations", [np.int8, np.uint8])
def test_weights_are_what_conv_integer_has_on_the_left(activations, dtype, is_slow):
    graph = Graph()
    x = graph.op("QuantizeLinear", "x", F32(0.05), activations(3))
    weights = graph.rng.integers(0, 9, (4, 4, 3, 3)).astype(dtype)
    y = graph.op("ConvInteger", x, weights, activations(3), dtype(0), name="it")
    row = rows(graph, y)["it"]
    assert (row.reference, row.is_slow) == (True, is_slow)


def convolution(graph: Graph, x: str, weights: Any) -> str:
    return graph.rounded(graph.op("Conv", x, weights, name="it"))


def variable_weights(graph: Graph) -> str:
    part = graph.op("Slice", "x", np.array([0]), np.array([4]), np.array([3]))
    return graph.rounded(graph.op("Reshape", part, np.array([4, 4, 6, 1])))


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (
            lambda g: g.op("Conv", g.rounded("x"), g.weights(4, 1, 1, 1), name="it", group=4),
            "by the caller",
        ),
        (lambda g: convolution(g, g.rounded("x"), np.ones((4, 4, 1, 1), F32)), "weights 'c"),
        (lambda g: convolution(g, "x", g.weights(4, 4, 1, 1)), "activations 'x' are not quantized"),
        (
            lambda g: convolution(g, g.rounded("x", np.int16), g.weights(4, 4, 1, 1)),
            "are int16, not int8 or uint8",
        ),
        (lambda g: convolution(g, g.rounded("x"), variable_weights(g)), "weights are not constant"),
        (lambda g: g.op("Erf", g.rounded("x"), name="it"), "Erf, which has no integer form"),
    ],
)
def test_reasons_of_floats(build, reason):
    graph = Graph()
    found = rows(graph, build(graph))
    assert found["it"].here is False and reason in found["it"].reason


def test_float_models_have_no_rows(call):
    graph = Graph()
    assert rows(graph, graph.op("Relu", "x")) == {}


def test_the_command(call, tmp_path):
    graph = Graph()
    y = graph.rounded(graph.op("Conv", graph.rounded("x"), graph.weights(4, 4, 3, 3), name="conv"))
    onnx.save(graph.session(y), tmp_path / "q.onnx")
    found = call("profile", tmp_path / "q.onnx", "--no-reference", "--runs", 1)
    assert found.exit_code == 0, found.stderr
    assert "1 of 1 nodes on quantized tensors compute with integers" in found.stdout


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_onnxruntime_times_bytes_that_are_looked_up(dtype):
    graph = Graph()
    x = graph.rounded("x", dtype)
    tanh = graph.op("Tanh", graph.op("Mul", x, F32(0.8)))
    y = graph.rounded(graph.op("Mul", x, graph.op("Add", tanh, F32(1)), name="gelu"), dtype)
    feeds = {"x": graph.rng.standard_normal((1, 4, 6, 6)).astype(F32)}
    with sardonyx.Session(sardonyx.load(graph.session(y)), threads=1) as session:
        result = profile(session, feeds, runs=2)
    assert result.notes == []
    assert any(row.reference_ns for row in result.steps)
