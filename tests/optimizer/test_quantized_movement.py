"""What moves elements of quantized tensors moves integers, for sessions only."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import sardonyx
from onnx import helper
from onnx.helper import make_node
from sardonyx.optimizer.quantized_movement import move_integers

F32 = np.float32
I64 = np.int64
SHAPE = [2, 4, 6, 5]
ARRAYS = {
    "s": F32(0.05), "t": F32(0.07), "u8": np.uint8(100), "i8": np.int8(-3),
    "shape": np.array([2, 24, 5], I64), "axes": np.array([1], I64), "two": np.array([2, 2], I64),
    "pads": np.array([0, 1, 2, 0, 0, 0, 1, 3], I64), "five": F32(5.0), "odd": F32(0.07),
    "starts": np.array([1, 0], I64), "ends": np.array([4, 3], I64), "places": np.array([2, 3], I64),
    "indices": np.array([[2, 0, 1]], I64), "larger": np.array([3, 2, 4, 6, 5], I64),
    "scales": np.array([1, 1, 2, 1.5], F32), "repeats": np.array([1, 2, 1, 2], I64),
    "flags": np.arange(5) % 2 == 0, "points": np.array([[1, 2], [0, 3]], I64),
}  # fmt: skip
MOVES = {
    "Reshape": make_node("Reshape", ["a", "shape"], ["y"]),
    "Flatten": make_node("Flatten", ["a"], ["y"], axis=2),
    "Transpose": make_node("Transpose", ["a"], ["y"], perm=[0, 2, 3, 1]),
    "Unsqueeze": make_node("Unsqueeze", ["a", "axes"], ["y"]),
    "Slice": make_node("Slice", ["a", "starts", "ends", "places"], ["y"]),
    "Gather": make_node("Gather", ["a", "indices"], ["y"], axis=1),
    "GatherND": make_node("GatherND", ["a", "points"], ["y"]),
    "Concat": make_node("Concat", ["a", "b", "five"], ["y"], axis=0),
    "Expand": make_node("Expand", ["a", "larger"], ["y"]),
    "Tile": make_node("Tile", ["a", "repeats"], ["y"]),
    "Pad": make_node("Pad", ["a", "pads"], ["y"]),
    "Pad number": make_node("Pad", ["a", "pads", "five"], ["y"]),
    "Pad edge": make_node("Pad", ["a", "pads"], ["y"], mode="edge"),
    "Resize": make_node("Resize", ["a", "", "scales"], ["y"], mode="nearest"),
    "DepthToSpace": make_node("DepthToSpace", ["a"], ["y"], blocksize=2),
    "MaxPool": make_node("MaxPool", ["a"], ["y"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    "ReduceMax": make_node("ReduceMax", ["a", "axes"], ["y"], keepdims=0),
    "ReduceMin": make_node("ReduceMin", ["a", "axes"], ["y"]),
    "Max": make_node("Max", ["a", "b", "five"], ["y"]),
    "Where": make_node("Where", ["flags", "a", "b"], ["y"]),
}


def model(nodes: Any, output: str) -> onnx.ModelProto:
    """Nodes behind two inputs, x and z, of one shape."""
    used = {name for node in nodes for name in node.input}
    arrays = dict(ARRAYS)
    if any(node.op_type == "Concat" for node in nodes):
        arrays["five"] = np.full([1, *SHAPE[1:]], 5, F32)
    graph = helper.make_graph(
        nodes,
        "moved",
        [helper.make_tensor_value_info(name, 1, SHAPE) for name in "xz"],
        [onnx.ValueInfoProto(name=output)],
        [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in arrays.items() if k in used],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def pair(x: str, y: str, zero: str, scale: str = "s") -> list[onnx.NodeProto]:
    """Quantize and dequantize."""
    return [
        make_node("QuantizeLinear", [x, scale, zero], [f"{y}.q"]),
        make_node("DequantizeLinear", [f"{y}.q", scale, zero], [y]),
    ]


def changed(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Apply the pass to a model, which stays one of the standard."""
    moved = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    move_integers(moved)
    result = ir.to_proto(moved)
    onnx.checker.check_model(result, full_check=True)
    return result


def run(proto: onnx.ModelProto) -> list[np.ndarray]:
    """Results of onnxruntime on numbers of which some lie beyond the grid."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(proto.SerializeToString(), options).run(None, feeds())


def feeds() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {name: (rng.standard_normal(SHAPE) * 4).astype(F32) for name in "xz"}


def kinds(proto: onnx.ModelProto) -> list[str]:
    return sorted(node.op_type for node in proto.graph.node)


@pytest.mark.parametrize("zero", ["u8", "i8"])
@pytest.mark.parametrize("name", MOVES)
def test_integers_are_moved_where_one_grid_lies_on_both_sides(name, zero):
    """Behind a DequantizeLinear and in front of a QuantizeLinear, to the last bit."""
    node = MOVES[name]
    before = [*pair("x", "a", zero), *(pair("z", "b", zero) if "b" in node.input else [])]
    proto = model([*before, node, *pair("y", "out", zero)], "out")
    moved = changed(proto)
    quantizers = ["QuantizeLinear"] * (1 + ("b" in node.input))
    assert kinds(moved) == sorted(["DequantizeLinear", node.op_type, *quantizers])
    (expected,) = run(proto)
    np.testing.assert_array_equal(run(moved)[0], expected)
    (found,) = sardonyx.Session(proto, threads=1).run(None, feeds())
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["Reshape", "Transpose", "Concat", "Expand"])
def test_floats_are_quantized_before_they_are_moved(name):
    node = MOVES[name]
    inputs = [{"a": "x", "b": "z"}.get(each, each) for each in node.input]
    moving = make_node(
        node.op_type, inputs, ["y"], **{a.name: a.ints or a.i for a in node.attribute}
    )
    proto = model([moving, *pair("y", "out", "u8")], "out")
    moved = changed(proto)
    kept = {node.output[0]: node for node in moved.graph.node}
    assert all(kept[x].op_type == "QuantizeLinear" for x in kept["y.integers"].input if x in kept)
    np.testing.assert_array_equal(run(moved)[0], run(proto)[0])


def test_each_result_of_a_split_is_dequantized():
    sizes = make_node("Split", ["a"], ["c", "d"], axis=1, num_outputs=2)
    proto = model([*pair("x", "a", "u8"), sizes, make_node("Add", ["c", "d"], ["y"])], "y")
    moved = changed(proto)
    split = next(node for node in moved.graph.node if node.op_type == "Split")
    assert split.input[0] == "a.q"
    np.testing.assert_array_equal(run(moved)[0], run(proto)[0])


@pytest.mark.parametrize(
    "nodes",
    [
        # Two grids meet; a number off the grid; interpolation; places, too; a selection of floats.
        [*pair("x", "a", "u8"), *pair("z", "b", "u8", "t"), MOVES["Where"]],
        [*pair("x", "a", "u8"), make_node("Max", ["a", "odd"], ["y"])],
        [*pair("x", "a", "u8"), make_node("Resize", ["a", "", "scales"], ["y"], mode="linear")],
        [*pair("x", "a", "u8"), make_node("MaxPool", ["a"], ["y", "i"], kernel_shape=[2, 2])],
        [make_node("ReduceMax", ["x", "axes"], ["y"])],
    ],
)  # fmt: skip
def test_others_move_floats(nodes):
    proto = model([*nodes, *pair("y", "out", "u8", "t")], "out")
    moved = changed(proto)
    before = {node.output[0]: node.op_type for node in moved.graph.node}
    mover = next(node for node in moved.graph.node if node.output[0] == "y")
    assert before.get(mover.input[-1]) != "QuantizeLinear"
    np.testing.assert_array_equal(run(moved)[0], run(proto)[0])


def test_a_tensor_that_something_else_reads_is_not_quantized_before():
    nodes = [make_node("Transpose", ["x"], ["y"]), *pair("y", "out", "u8")]
    proto = model([*nodes, make_node("Add", ["y", "out"], ["sum"])], "sum")
    assert kinds(changed(proto)) == kinds(proto)


def test_another_grid_behind_is_kept():
    proto = model([*pair("x", "a", "u8"), *pair("a", "out", "u8", "t")], "out")
    assert kinds(changed(proto)) == kinds(proto)
