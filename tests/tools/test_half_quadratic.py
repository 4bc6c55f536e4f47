"""Models whose weights half-quadratic quantization rounded, in this and in other runtimes."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import sardonyx
from onnx import helper, numpy_helper
from sardonyx import InvalidArgument

F32 = np.float32
DEPTH, WIDTH = 128, 64


def product(weights: np.ndarray, kind: str = "MatMul", sizes: Any = ("a", "n", DEPTH)) -> Any:
    """``relu(x) @ weights``, of a transposed operand with ``"Gemm"``."""
    options = {"transB": 1} if kind == "Gemm" else {}
    w = np.ascontiguousarray(weights.T) if kind == "Gemm" else weights
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node(kind, ["r", "w"], ["y"], "product", **options),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, sizes)],
        [onnx.ValueInfoProto(name="y")], [numpy_helper.from_array(w, "w")],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def few_bits(source: Any, **options: Any) -> Any:
    return sardonyx.quantize(source, mode="weights", bits=4, **options)


def noise(expected: np.ndarray, found: np.ndarray) -> float:
    """Mean square of the error, as a part of that of what is expected."""
    return float(np.square(found - expected).mean() / np.square(expected).mean())


@pytest.mark.parametrize("kind", ["MatMul", "Gemm"])
@pytest.mark.parametrize("block", [32, 64])
def test_outputs_are_nearer_in_every_runtime(kind: str, block: int, tmp_path: Any) -> None:
    rng = np.random.default_rng(0)
    sizes = ("n", DEPTH) if kind == "Gemm" else ("a", "n", DEPTH)
    source = product(rng.standard_normal((DEPTH, WIDTH)).astype(F32), kind, sizes)
    feed = {"x": rng.standard_normal([300 if s == "n" else 2 for s in sizes[:-1]] + [DEPTH])}
    feed["x"] = feed["x"].astype(F32)
    (exact,) = onnxruntime.InferenceSession(source.SerializeToString()).run(None, feed)
    lost = {}
    for name, options in (
        ("nearest", {}),
        ("whole", {"rounding": "hqq"}),
        ("offsets", {"rounding": "hqq", "offsets": True}),
    ):
        path = tmp_path / f"{name}.onnx"
        few_bits(source, path=path, block=block, **options)
        onnx.checker.check_model(onnx.load(path), full_check=True)
        (found,) = sardonyx.Session(str(path), threads=1).run(None, feed)
        (theirs,) = onnxruntime.InferenceSession(str(path)).run(None, feed)
        lost[name] = noise(exact, found)
        assert noise(theirs, found) < 1e-4  # these round rows to bytes
        if name == "whole" and importlib.util.find_spec("openvino"):
            import openvino

            settings = {"INFERENCE_PRECISION_HINT": "f32"}
            compiled = openvino.Core().compile_model(str(path), "CPU", settings)
            assert noise(compiled(feed)[0], found) < 1e-4
    assert lost["whole"] < 0.98 * lost["nearest"]
    assert lost["offsets"] < (0.9 if block == 32 else 0.97) * lost["whole"]


@pytest.mark.parametrize("why", ["no block", "no rank", "one sign"])
def test_zero_points_are_whole_where_offsets_cannot_be(why: str) -> None:
    rng = np.random.default_rng(0)
    depth = 50 if why == "no block" else DEPTH
    weights = rng.standard_normal((depth, WIDTH)).astype(F32)
    if why == "one sign":
        signs = np.repeat(np.array([1, -1] * (DEPTH // 64), F32), 32)
        weights = (weights * F32(0.01) + signs[:, None]).astype(F32)
    sizes = None if why == "no rank" else ("a", "n", depth)
    source = product(weights, sizes=sizes)
    if why == "no block":
        with pytest.warns(UserWarning, match="no block from 16 divides 50"):
            done = few_bits(source, rounding="hqq", offsets=True)
    else:
        done = few_bits(source, rounding="hqq", offsets=True)
    assert done.count == 1
    assert "ReduceSum" not in [node.op_type for node in done.model.graph]
    feed = {"x": rng.standard_normal((2, 3, depth)).astype(F32)}
    exact = np.maximum(feed["x"], 0) @ weights
    assert noise(exact, sardonyx.Session(done.model).run(None, feed)[0]) < 0.01


def test_offsets_that_other_runtimes_refuse_are_named() -> None:
    rng = np.random.default_rng(0)
    source = product(rng.standard_normal((DEPTH, WIDTH)).astype(F32))
    with pytest.warns(UserWarning, match=r"132 of 'w' \(product\)"):
        few_bits(source, rounding="hqq", offsets=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "static", "rounding": "hqq"}, "rounding 'hqq' is for mode 'weights' with 4 bits"),
        ({"bits": 8, "rounding": "hqq"}, "rounding 'hqq' is for mode 'weights' with 4 bits"),
        ({"bits": 4, "offsets": True}, "offsets=True is for rounding 'hqq'"),
        ({"bits": 4, "rounding": "hqq", "offsets": 1}, "offsets must be true or false"),
        ({"mode": "dynamic", "offsets": True}, "offsets=True changes nothing with mode 'dynamic'"),
        (
            {"bits": 4, "rounding": "hqq", "offsets": True, "correct": True},
            "offsets=True is for rounding 'hqq', without correct=True",
        ),
    ],
)
def test_what_has_no_meaning_is_refused(options: dict[str, Any], message: str) -> None:
    source = product(np.ones((DEPTH, WIDTH), F32))
    with pytest.raises(InvalidArgument, match=message):
        sardonyx.quantize(source, **{"mode": "weights", **options})


def test_biases_are_corrected_on_its_grids() -> None:
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((DEPTH, WIDTH)).astype(F32)
    source = product(weights, "Gemm", ("n", DEPTH))
    feed = {"x": rng.standard_normal((400, DEPTH)).astype(F32)}
    exact = np.maximum(feed["x"], 0) @ weights
    lost = [
        noise(exact, sardonyx.Session(few_bits(source, **options).model).run(None, feed)[0])
        for options in ({"rounding": "hqq"}, {"rounding": "hqq", "data": feed, "correct": True})
    ]
    assert lost[1] < lost[0]


def test_the_command(call: Any, tmp_path: Any) -> None:
    rng = np.random.default_rng(0)
    source = tmp_path / "a.onnx"
    onnx.save(product(rng.standard_normal((DEPTH, WIDTH)).astype(F32)), source)
    path = tmp_path / "q.onnx"
    options = ("--mode", "weights", "--bits", 4, "--rounding", "hqq")
    for more, sums in (((), 0), (("--offsets",), 1)):
        found = call("quantize", source, "-o", path, *options, *more)
        assert found.exit_code == 0, found.stderr
        kinds = [node.op_type for node in onnx.load(path).graph.node]
        assert kinds.count("ReduceSum") == sums
