"""Models of float16 and bfloat16 compute what the float32 one does, within the type."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
import sardonyx
from onnx import helper, numpy_helper

F32 = np.float32
TOLERANCE = {"fp16": 4e-3, "bf16": 4e-2}


def build(nodes: list[onnx.NodeProto], arrays: dict[str, Any], shape: Any) -> onnx.ModelProto:
    constants = [numpy_helper.from_array(np.asarray(a), name) for name, a in arrays.items()]
    inputs = [helper.make_tensor_value_info("x", 1, shape)]
    outputs = [onnx.ValueInfoProto(name="y")]
    graph = helper.make_graph(nodes, "net", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def network(rng: np.random.Generator) -> onnx.ModelProto:
    """Convolution, resizing, attention-like product with Softmax, and a mask of -3e38."""
    weights = (rng.standard_normal((4, 3, 3, 3)) / 5).astype(F32)
    mask = np.where(np.tril(np.ones((16, 16))) > 0, 0, np.finfo(F32).min).astype(F32)
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "weights"], ["a"], pads=[1] * 4),
        node("Relu", ["a"], ["b"]),
        node("Resize", ["b", "", "scales"], ["c"], mode="linear"),
        node("Reshape", ["c", "rows"], ["d"]),
        node("Transpose", ["d"], ["e"], perm=[0, 2, 1]),
        node("MatMul", ["d", "e"], ["f"]),
        node("Add", ["f", "mask"], ["g"]),
        node("Softmax", ["g"], ["h"]),
        node("MatMul", ["h", "d"], ["i"]),
        node("ReduceMean", ["i", "axes"], ["m"]),
        node("Sub", ["i", "m"], ["y"]),
    ]
    arrays = {
        "weights": weights, "scales": np.array([1, 1, 2, 2], F32), "rows": np.array([0, 16, -1]),
        "mask": mask, "axes": np.array([-1]),
    }  # fmt: skip
    return build(nodes, arrays, ("n", 3, 8, 8))


def kinds(model: Any) -> dict[str, Any]:
    return {node.op_type: node.outputs[0].dtype.name for node in model.graph}


@pytest.mark.parametrize("kind", ["fp16", "bf16"])
@pytest.mark.parametrize("ports", [False, True])
def test_results_are_those_of_float32(kind, ports, tmp_path):
    rng = np.random.default_rng(0)
    model, path = network(rng), tmp_path / "half.onnx"
    x = rng.standard_normal((2, 3, 8, 8)).astype(F32)
    (expected,) = sardonyx.Session(model).run(None, {"x": x})
    with pytest.warns(UserWarning, match="constants have numbers beyond"):
        done = sardonyx.quantize(model, None, path, mode=kind, ports=ports)
    onnx.checker.check_model(str(path), full_check=True)
    half = {"fp16": np.dtype(np.float16), "bf16": np.dtype(ml_dtypes.bfloat16)}[kind]
    wanted = half if ports else np.dtype(F32)
    (own,) = sardonyx.Session(path).run(None, {"x": x.astype(wanted)})
    assert own.dtype == wanted
    np.testing.assert_allclose(own.astype(F32), expected, atol=TOLERANCE[kind])
    found = kinds(done.model)
    short = {"fp16": "FLOAT16", "bf16": "BFLOAT16"}[kind]
    assert found["Conv"] == found["MatMul"] == short
    assert found["Softmax"] == found["Resize"] == found["ReduceMean"] == "FLOAT"
    if kind == "fp16":
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        (theirs,) = session.run(None, {"x": x.astype(wanted)})
        np.testing.assert_allclose(theirs.astype(F32), expected, atol=TOLERANCE[kind])


def test_small_constants_do_not_become_zero(tmp_path):
    nodes = [
        helper.make_node("Add", ["x", "tiny"], ["a"]),
        helper.make_node("Div", ["x", "a"], ["y"]),
    ]
    model = build(nodes, {"tiny": F32(1e-12)}, ("n",))
    done = sardonyx.quantize(model, mode="fp16")
    (found,) = sardonyx.Session(done.model).run(None, {"x": np.zeros(3, F32)})
    assert (found == 0).all()


def test_what_is_named_stays(tmp_path):
    rng = np.random.default_rng(0)
    done = sardonyx.quantize(network(rng), mode="bf16", keep=["MatMul"])
    assert kinds(done.model)["MatMul"] == "FLOAT" and kinds(done.model)["Conv"] == "BFLOAT16"


def test_bodies_stay_float32():
    """A branch that reads what became float16 outside still computes with float32."""
    node = helper.make_node
    result = [onnx.ValueInfoProto(name="r")]
    branches = [
        helper.make_graph([node(op, ["a", "a"], ["r"])], op, [], result) for op in ("Add", "Mul")
    ]
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("ReduceSum", ["x"], ["s"], keepdims=0),
        node("Greater", ["s", "zero"], ["flag"]),
        node("If", ["flag"], ["b"], then_branch=branches[0], else_branch=branches[1]),
        node("MatMul", ["b", "w"], ["y"]),
    ]
    w = np.random.default_rng(0).standard_normal((4, 4)).astype(F32)
    model = build(nodes, {"w": w, "zero": F32(0)}, ("n", 4))
    done = sardonyx.quantize(model, mode="fp16")
    for sign in (1, -1):
        x = sign * np.random.default_rng(1).random((3, 4)).astype(F32)
        (expected,) = sardonyx.Session(model).run(None, {"x": x})
        (found,) = sardonyx.Session(done.model).run(None, {"x": x})
        np.testing.assert_allclose(found, expected, rtol=2e-2, atol=2e-2)


def test_sums_of_squares_do_not_overflow():
    """Normalization by parts, whose sum of squares is beyond the range of float16."""
    node = helper.make_node
    nodes = [
        node("MatMul", ["x", "w"], ["a"]),
        node("Mul", ["a", "a"], ["q"]),
        node("ReduceSum", ["q", "axes"], ["s"]),
        node("Mul", ["s", "share"], ["m"]),
        node("Sqrt", ["m"], ["r"]),
        node("Div", ["a", "r"], ["n"]),
        node("MatMul", ["n", "w"], ["y"]),
    ]
    rng = np.random.default_rng(0)
    w = rng.standard_normal((64, 64)).astype(F32)
    model = build(nodes, {"w": w, "axes": np.array([-1]), "share": F32(1 / 64)}, ("n", 64))
    x = 40 * rng.standard_normal((3, 64)).astype(F32)
    (expected,) = sardonyx.Session(model).run(None, {"x": x})
    done = sardonyx.quantize(model, mode="fp16")
    (found,) = sardonyx.Session(done.model).run(None, {"x": x})
    np.testing.assert_allclose(found, expected, atol=0.05)
    assert kinds(done.model)["MatMul"] == "FLOAT16"
