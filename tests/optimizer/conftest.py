from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import helper as oh
from sardonyx.importers import load
from sardonyx.optimizer import optimize_with_report, unroll


@pytest.fixture
def loops_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep short loops from being unrolled."""
    monkeypatch.setattr(unroll, "NODES", 0)


@pytest.fixture
def graph() -> Callable[..., ir.Model]:
    """Build a model: nodes as (operator, inputs, outputs, attributes).

    Its output is that of the last node, if no others are named.
    """

    def graph(
        nodes: list[Any], inputs: dict[str, Any], outputs: str = "", opset: int = 24, **weights: Any
    ) -> ir.Model:
        onnx_nodes = []
        for number, (op_type, names, output, *more) in enumerate(nodes):
            attributes = more[0] if more else {}
            names, results = names.split(), output.split()
            onnx_nodes.append(oh.make_node(op_type, names, results, f"n{number}", **attributes))
        arrays = {name: np.asarray(value) for name, value in weights.items()}
        proto = oh.make_graph(
            onnx_nodes,
            "test",
            [_input(name, spec) for name, spec in inputs.items()],
            [onnx.ValueInfoProto(name=name) for name in (outputs or nodes[-1][2]).split()],
            [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
        )
        model = oh.make_model(proto, opset_imports=[oh.make_opsetid("", opset)], ir_version=10)
        inferred = onnx.shape_inference.infer_shapes(model)
        return load(inferred) if opset == 24 else ir.from_proto(inferred)

    return graph


def _input(name: str, spec: Any) -> onnx.ValueInfoProto:
    shape, kind = spec if spec and isinstance(spec[-1], type) else (spec, np.float32)
    return oh.make_tensor_value_info(name, oh.np_dtype_to_tensor_dtype(np.dtype(kind)), shape)


@pytest.fixture
def optimized() -> Callable[..., tuple[list[str], Any]]:
    """Optimize, check in onnxruntime that results are the same, give the operators left."""

    def optimized(
        model: ir.Model, level: str = "all", feeds: dict[str, Any] | None = None, **sizes: int
    ) -> tuple[list[str], Any]:
        result, report = optimize_with_report(model, level, explain=True)
        onnx.checker.check_model(ir.to_proto(result))
        feeds = feeds or _feeds(model, sizes)
        for a, b in zip(_run(model, feeds), _run(result, feeds), strict=True):
            assert a.shape == b.shape and a.dtype == b.dtype
            np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)
        return [node.op_type for node in result.graph], report

    return optimized


def _feeds(model: ir.Model, sizes: dict[str, int]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    feeds = {}
    for value in model.graph.inputs:
        assert value.shape is not None and value.dtype is not None
        shape = [d if isinstance(d, int) else sizes.get(d.value or "", 3) for d in value.shape]
        array = 3 * rng.standard_normal(shape)
        feeds[str(value.name)] = array.astype(value.dtype.numpy())
    return feeds


def _run(model: ir.Model, feeds: dict[str, np.ndarray]) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    data = ir.to_proto(model).SerializeToString()
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"]).run(None, feeds)
