"""Fixtures: the command line, and a session with our interface that runs in onnxruntime.

The tools are tested on what they make of a session; with this one the right answers are known.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper
from sardonyx.tools import reference
from sardonyx.tools.cli import app
from typer.testing import CliRunner


@dataclass
class ReferenceSession:
    """Runs a model in onnxruntime; one step a node, each taking (index + 1) * 1000 ns.

    ``faults`` maps names of values to what is added to them in `trace` and `run`.
    """

    model: ir.Model
    threads: int = 1
    faults: dict[str, float] = field(default_factory=dict)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def optimized_model(self):
        return self.model

    def get_outputs(self):
        return [SimpleNamespace(name=value.name) for value in self.model.graph.outputs]

    def run(self, names, feeds):
        names = names or [value.name for value in self.model.graph.outputs]
        traced = self.trace(feeds)
        return [traced[name] for name in names]

    def trace(self, feeds):
        """Compute node by node, so that a fault reaches what depends on it."""
        values = dict(feeds)
        proto = ir.to_proto(self.model)
        for initializer in proto.graph.initializer:
            values[initializer.name] = onnx.numpy_helper.to_array(initializer)
        traced = {}
        for node in proto.graph.node:
            inputs = {name: values[name] for name in node.input if name}
            graph = helper.make_graph(
                [node],
                "one",
                [
                    helper.make_tensor_value_info(
                        name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
                    )
                    for name, array in inputs.items()
                ],
                [onnx.ValueInfoProto(name=name) for name in node.output],
            )
            one = helper.make_model(graph, opset_imports=proto.opset_import, ir_version=10)
            for name, value in reference.values(one, inputs, node.output).items():
                if name in self.faults:
                    value = value + np.float32(self.faults[name])
                traced[name] = values[name] = value
        return traced

    def profile(self, feeds, runs=20, warmup=3):
        steps = [
            SimpleNamespace(
                index=index,
                name=node.name,
                op_type=node.op_type,
                nodes=(node.name,),
                outputs=tuple(value.name for value in node.outputs),
                kernel=f"ref.{node.op_type.lower()}",
                layout="plain",
                precision="fp32",
                times_ns=np.full(runs, 1000 * (index + 1)),
                flops=0 if node.op_type == "Relu" else 4000,
                bytes=256,
            )
            for index, node in enumerate(self.model.graph)
        ]
        total = sum(1000 * (index + 1) for index in range(len(steps))) + 500
        return SimpleNamespace(
            steps=steps,
            total_ns=np.full(runs, total),
            memory={"arena_bytes": 2048, "weight_bytes": 256, "output_bytes": 64},
            threads=self.threads,
            device="cpu",
        )


@pytest.fixture
def chain():
    """``y = relu(relu(x @ w) @ w) + x``: nodes first, relu, second, last; x is (n, 4)."""
    weights = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
    proto = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("MatMul", ["x", "w"], ["a"], name="first"),
                helper.make_node("Relu", ["a"], ["b"], name="relu"),
                helper.make_node("MatMul", ["b", "w"], ["c"], name="second"),
                helper.make_node("Add", ["c", "x"], ["y"], name="last"),
            ],
            "chain",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
            [onnx.numpy_helper.from_array(weights, "w")],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    return ir.from_proto(proto)


@pytest.fixture
def chain_feeds():
    return {"x": np.random.default_rng(1).standard_normal((3, 4)).astype(np.float32)}


@pytest.fixture
def reference_session():
    return ReferenceSession


@pytest.fixture
def call():
    """Run a command of ``sardonyx`` in this process."""

    def run(*arguments):
        return CliRunner().invoke(app, [str(each) for each in arguments])

    return run


@pytest.fixture(autouse=True)
def as_fast_as_float(monkeypatch):
    """Tiny models are slower in 8 bits, which `quantize` would refuse: here, times are equal."""
    monkeypatch.setattr("sardonyx.tools.verification.run_times", lambda sessions, feed: [1e4, 1e4])
