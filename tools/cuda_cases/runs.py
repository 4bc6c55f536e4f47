"""Runs of one model on the GPU, or its simulator, and on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from ...runtime.session import Session

Feeds = Mapping[str, np.ndarray]
OPSET = 23


def model_of(
    nodes: Sequence[onnx.NodeProto],
    feeds: Feeds,
    weights: Feeds | None = None,
    dims: Mapping[str, Sequence[int | str]] | None = None,
    opset: int = OPSET,
) -> onnx.ModelProto:
    """Make a model of nodes whose last one gives the outputs."""
    inputs = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(value.dtype), (dims or {}).get(name, value.shape)
        )
        for name, value in feeds.items()
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in nodes[-1].output if name]
    constants = [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, constants)
    domains = {"": opset, "com.microsoft": 1, "ai.onnx.ml": 3}
    opsets = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def on_gpu(model: onnx.ModelProto, **options: Any) -> Session:
    """Open a session on the GPU, or its simulator."""
    return Session(model.SerializeToString(), device="cuda", **options)


def kernels_elsewhere(session: Session) -> list[str]:
    """Name the steps that the CPU runs."""
    program = session.engine.program
    native = [str(program.kernels[step.kernel]) for step in program.steps
              if not program.kernels[step.kernel].module.startswith("kernels.cuda.")]  # fmt: skip
    return native + [host.op_type for host in program.host_steps]


def check(
    nodes: Sequence[onnx.NodeProto],
    feeds: Feeds | Sequence[Feeds],
    weights: Feeds | None = None,
    dims: Mapping[str, Sequence[int | str]] | None = None,
    tolerance: float = 1e-5,
    elsewhere: Sequence[str] = (),
    opset: int = OPSET,
) -> Session:
    """Compare a model with onnx.reference, for each of some feeds; the GPU runs all its steps."""
    several = [feeds] if isinstance(feeds, Mapping) else feeds
    model = model_of(nodes, several[0], weights, dims, opset)
    session, reference = on_gpu(model), ReferenceEvaluator(model)
    np.testing.assert_equal(kernels_elsewhere(session), list(elsewhere))
    for each in several:
        with np.errstate(all="ignore"):
            expected = reference.run(None, dict(each))
        for got, wanted in zip(session.run(None, each), expected, strict=True):
            np.testing.assert_equal(got.dtype, wanted.dtype)
            np.testing.assert_equal(got.shape, wanted.shape)
            np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)
    return session


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    """Draw normal numbers of float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
