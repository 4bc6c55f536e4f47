"""What follows sums of integers is done while rows of them are new, in the same step."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import sardonyx
from onnx import helper
from onnx.helper import make_node
from sardonyx.kernels.amx_permission import has_amx
from sardonyx.kernels.unit_rates import words_pay

F32 = np.float32
BY_WORDS = words_pay() and not has_amx()
"""Whether vectors multiply words of bytes, which is one of several forms then."""


def model(nodes: Any, shapes: dict[str, Any], arrays: dict[str, Any]) -> onnx.ModelProto:
    """Inputs are of uint8 where their names say so."""
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "sums",
        [helper.make_tensor_value_info(n, 2 if n[0] == "q" else 1, s) for n, s in shapes.items()],
        [onnx.ValueInfoProto(name=nodes[-1].output[0])],
        [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in arrays.items() if k in used],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def agree(
    proto: onnx.ModelProto, feeds: dict[str, np.ndarray], step: float, **options: Any
) -> list[str]:
    """Compare with onnxruntime, within a step of a grid at few places; returns steps."""
    plain = onnxruntime.SessionOptions()
    plain.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    reference = onnxruntime.InferenceSession(proto.SerializeToString(), plain)
    session = sardonyx.Session(proto, threads=1, **options)
    (expected,), (found,) = reference.run(None, feeds), session.run(None, feeds)
    off = np.abs(found.astype(np.float64) - expected)
    assert found.dtype == expected.dtype and off.max() <= step * 1.01
    assert (off > step / 2).mean() < 0.01
    return [step.op_type for step in session.engine.program.steps]


def behind(y: str, result: str, rank: int) -> tuple[list[onnx.NodeProto], str]:
    """Nodes that a network has behind sums; ``result`` names the last of them."""
    nodes = [
        make_node("Cast", [y], ["f"], to=1),
        make_node("Mul", ["f", "factor"], ["scaled"]),
        make_node("Add", ["scaled", "bias"], ["biased"]),
        make_node("Sigmoid", ["biased"], ["activated"]),
        make_node("QuantizeLinear", ["activated", "s", "z"], ["whole"]),
        make_node("DequantizeLinear", ["whole", "s", "z"], ["floats"]),
        make_node("Add", ["floats", "r"], ["sum"]),
        make_node("QuantizeLinear", ["sum", "t", "z"], ["out"]),
    ]
    names = ["f", "scaled", "biased", "activated", "whole", "floats", "sum", "out"]
    return nodes[: names.index(result) + 1], names[names.index(result)]


RESULTS = ["scaled", "biased", "activated", "whole", "sum", "out"]


@pytest.mark.parametrize("kind", ["MatMulInteger", "QLinearMatMul"])
@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize("shape", [(5, 12), (2, 7, 33), (1, 64)])
def test_products(kind, result, shape):
    rng = np.random.default_rng(len(shape))
    columns = 40
    arrays = {
        "w": rng.integers(-128, 128, (shape[-1], columns)).astype(np.int8), "az": np.uint8(9),
        "wz": np.int8(0), "factor": rng.uniform(1e-4, 1e-3, columns).astype(F32), "z": np.uint8(8),
        "bias": rng.standard_normal(columns).astype(F32), "s": F32(0.01), "t": F32(0.03),
        "as": F32(0.1), "ws": F32(0.02), "cz": np.uint8(100), "cs": F32(2),
    }  # fmt: skip
    first = {
        "MatMulInteger": make_node(kind, ["q", "w", "az", "wz"], ["y"]),
        "QLinearMatMul": make_node(kind, ["q", "as", "az", "w", "ws", "wz", "cs", "cz"], ["y"]),
    }[kind]
    after, _ = behind("y", result, len(shape))
    open_shape = ["n", *shape[1:]]
    proto = model([first, *after], {"q": open_shape, "r": [*open_shape[:-1], columns]}, arrays)
    feeds = {
        "q": rng.integers(0, 256, shape).astype(np.uint8),
        "r": rng.standard_normal((*shape[:-1], columns)).astype(F32),
    }
    if kind == "QLinearMatMul":
        arrays["factor"][:] = 0.05
    step = {"whole": 1.0, "sum": 0.01, "out": 1.0}.get(result, 1e-3)
    feeds = {name: each for name, each in feeds.items() if name == "q" or result in ("sum", "out")}
    if "r" not in feeds:
        del proto.graph.input[1]
    steps = agree(proto, feeds, step)
    # The tile of QLinearMatMul makes bytes, and one step, or two parts of it, what follows.
    assert len({each for each in steps if "+" in each}) == 1
    assert steps[-1].startswith(kind)


@pytest.mark.parametrize("kind", ["ConvInteger", "QLinearConv"])
@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize(
    ("shape", "form"),
    [((2, 8, 9, 7), ""), ((1, 5, 20), ""), ((2, 32, 9, 7), "4x4"), ((1, 40, 6, 9), "2x4")],
)
def test_convolutions(kind, result, shape, form):
    rng = np.random.default_rng(len(shape))
    filters, after_channels = 24, [1] * (len(shape) - 2)
    column = (filters, *after_channels)
    arrays = {
        "w": rng.integers(-128, 128, (filters, shape[1], *[3] * len(after_channels))).astype("i1"),
        "az": np.uint8(9), "wz": np.int8(0), "factor": rng.uniform(1e-4, 1e-3, column).astype(F32),
        "bias": rng.standard_normal(column).astype(F32), "s": F32(0.01), "t": F32(0.03),
        "as": F32(0.1), "ws": F32(0.02), "cz": np.uint8(100), "cs": F32(2), "z": np.uint8(8),
    }  # fmt: skip
    if kind == "QLinearConv":
        arrays["factor"][:] = 0.05
    inputs = {
        "ConvInteger": ["q", "w", "az", "wz"],
        "QLinearConv": ["q", "as", "az", "w", "ws", "wz", "cs", "cz"],
    }[kind]
    first = make_node(kind, inputs, ["y"], pads=[1, 1] * (len(shape) - 2), name="first")
    after, _ = behind("y", result, len(shape))
    whole = [shape[0], filters, *shape[2:]]
    proto = model([first, *after], {"q": shape, "r": whole}, arrays)
    feeds = {"q": rng.integers(0, 256, shape).astype(np.uint8)}
    if result in ("sum", "out"):
        feeds["r"] = rng.standard_normal(whole).astype(F32)
    else:
        del proto.graph.input[1]
    step = {"whole": 1.0, "sum": 0.01, "out": 1.0}.get(result, 1e-3)
    options = {"choices": {"first": f"winograd {form}"}} if form and BY_WORDS else {}
    steps = agree(proto, feeds, step, **options)
    assert any(each.startswith(f"{kind}+") for each in steps)
    assert not any("+" in each for each in steps if not each.startswith(kind))


def test_vectors_and_volumes_have_steps_of_their_own():
    """Kernels over rows know neither; floats of volumes the tile makes itself."""
    rng = np.random.default_rng(0)
    arrays = {"w": rng.integers(-128, 128, (12, 4)).astype(np.int8), "factor": F32(1e-3)}
    arrays |= {"bias": rng.standard_normal(4).astype(F32)}
    after, _ = behind("y", "biased", 1)
    proto = model([make_node("MatMulInteger", ["q", "w"], ["y"]), *after], {"q": [12]}, arrays)
    steps = agree(proto, {"q": rng.integers(0, 256, 12).astype(np.uint8)}, 1e-3)
    assert "MatMulInteger" in steps
    arrays["w"] = rng.integers(-128, 128, (4, 3, 2, 2, 2)).astype(np.int8)
    arrays["bias"] = arrays["bias"].reshape(4, 1, 1, 1)
    shape = [1, 3, 4, 4, 4]
    proto = model([make_node("ConvInteger", ["q", "w"], ["y"]), *after], {"q": shape}, arrays)
    options = rng.integers(0, 256, shape).astype(np.uint8)
    session = sardonyx.Session(proto, threads=1)
    x, w = options.astype(np.int64), arrays["w"].astype(np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(x, (2, 2, 2), (2, 3, 4))
    sums = np.einsum("ncdhwijk,mcijk->nmdhw", windows, w)
    (found,) = session.run(None, {"q": options})
    np.testing.assert_allclose(found, sums * 1e-3 + arrays["bias"], atol=1e-4)
    kinds = [step.op_type for step in session.engine.program.steps]
    assert [kind for kind in kinds if "ConvInteger" in kind] == ["ConvInteger+Cast+Mul+Add"]
