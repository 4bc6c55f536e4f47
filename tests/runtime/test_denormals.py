"""Denormal numbers are zeros while compiled code runs, unless precision is strict; not after."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import helper as oh

TINY = np.float32(1e-38)
HALF = np.float32(0.5)
SIZE = 100_000  # enough for all threads of a team


def scale(gather: bool = False) -> bytes:
    """Model of y = x / 2, with an index that a run is given before it."""
    nodes = [oh.make_node("Mul", ["x", "half"], ["y"])]
    inputs = [oh.make_tensor_value_info("x", 1, [SIZE])]
    outputs = [onnx.ValueInfoProto(name="y")]
    if gather:
        nodes.append(oh.make_node("Gather", ["y", "i"], ["z"]))
        inputs.append(oh.make_tensor_value_info("i", 7, [1]))
        outputs = [onnx.ValueInfoProto(name="z")]
    weights = [onnx.numpy_helper.from_array(HALF, "half")]
    graph = oh.make_graph(nodes, "scale", inputs, outputs, weights)
    model = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 22)], ir_version=10)
    return model.SerializeToString()


def keeps_denormals() -> bool:
    """Tell whether this thread computes with denormal numbers."""
    return float(np.full(64, TINY) @ np.full(64, HALF)) > 0 and float(TINY * HALF) > 0


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_denormals_are_zeros_in_every_thread(threads):
    session = sardonyx.Session(scale(), threads=threads)
    for _ in range(5):
        (y,) = session.run(None, {"x": np.full(SIZE, TINY)})
        assert not y.any()
        (y,) = session.run(None, {"x": np.full(SIZE, TINY / 2)})  # already as an operand
        assert not y.any()
        assert keeps_denormals()


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_strict_precision_keeps_denormals(threads):
    flushing = sardonyx.Session(scale(), threads=threads)
    strict = sardonyx.Session(scale(), threads=threads, precision="strict")
    x = np.full(SIZE, TINY)
    for _ in range(5):  # they share a team, whose threads change with every run
        assert not flushing.run(None, {"x": x})[0].any()
        np.testing.assert_array_equal(strict.run(None, {"x": x})[0], x * HALF)


@pytest.mark.parametrize("threads", [1, 2])
def test_denormals_are_back_after_a_run_that_fails(threads):
    session = sardonyx.Session(scale(gather=True), threads=threads)
    with pytest.raises(sardonyx.KernelError, match="out of range"):
        session.run(None, {"x": np.full(SIZE, TINY), "i": np.array([SIZE])})
    assert keeps_denormals()
