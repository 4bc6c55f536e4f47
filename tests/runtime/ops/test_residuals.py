"""Residual sums behind convolutions and products of bytes, added in the tile."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import helper
from onnx.helper import make_node
from onnx.reference import ReferenceEvaluator
from sardonyx.reference import OPERATORS
from sardonyx.runtime.ops import residuals

from .byte_cases import numbers
from .byte_cases import words as words

F32 = np.float32
KINDS = (np.uint8, np.int8)


def model(
    head: onnx.NodeProto, feeds: Any, arrays: Any, relu: bool, first: bool
) -> onnx.ModelProto:
    """A head that gives ``h``, dequantized, plus ``o``, dequantized, and quantized again."""
    operands = ["a", "b"] if first else ["b", "a"]
    nodes = [
        head,
        make_node("DequantizeLinear", ["h", "hs", "hz"], ["a"]),
        make_node("DequantizeLinear", ["o", "os", "oz"], ["b"]),
        make_node("Sum" if relu else "Add", operands, ["s"]),
        *([make_node("Relu", ["s"], ["r"])] if relu else []),
        make_node("QuantizeLinear", ["r" if relu else "s", "ys", "yz"], ["y"]),
    ]
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
        for name, x in feeds.items()
    ]
    tensors = [onnx.numpy_helper.from_array(np.asarray(x), name) for name, x in arrays.items()]
    graph = helper.make_graph(nodes, "sum", inputs, [onnx.ValueInfoProto(name="y")], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def grids(rng: np.random.Generator, h: Any, o: Any, y: Any) -> dict[str, Any]:
    return {
        "hs": F32(rng.uniform(0.02, 0.2)), "hz": numbers(rng, (), h),
        "os": F32(rng.uniform(0.01, 0.1)), "oz": numbers(rng, (), o),
        "ys": F32(rng.uniform(0.05, 0.2)), "yz": numbers(rng, (), y),
    }  # fmt: skip


def agree(proto: onnx.ModelProto, feeds: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare with what a step of its own adds, exactly, and with the operators of the standard.

    onnxruntime has no QLinearConv of some of these types.
    """
    (wanted,) = ReferenceEvaluator(proto, new_ops=OPERATORS).run(None, feeds)
    for threads in (1, 3):
        session = sardonyx.Session(proto, threads=threads)
        types = [step.op_type for step in session.engine.program.steps]
        assert [each.split("+")[0][:7] for each in types if "Add" in each or "Sum" in each] == [
            "QLinear"
        ], types
        found = session.run(None, feeds)[0]
        off = np.abs(found.astype(int) - wanted)
        assert off.max() <= 1
        assert (off != 0).mean() < 0.005
    with monkeypatch.context() as patch:
        patch.setattr(residuals.Residual, "of", classmethod(lambda cls, group: None))
        proto.doc_string = "apart"
        apart = sardonyx.Session(proto, threads=1)
        np.testing.assert_array_equal(found, apart.run(None, feeds)[0])


@pytest.mark.parametrize("kinds", [(a, b, c) for a in KINDS for b in KINDS for c in KINDS])
@pytest.mark.parametrize("seed", range(2))
def test_behind_convolutions(seed, kinds, monkeypatch):
    h, o, y = kinds
    rng = np.random.default_rng([seed, *(kind is np.int8 for kind in kinds)])
    channels, filters = int(rng.choice([3, 8, 32, 70])), int(rng.choice([5, 16, 40, 67]))
    taps, width = int(rng.choice([1, 3])), int(rng.choice([11, 16]))
    feeds = {
        "x": numbers(rng, (2, channels, 9, width), np.uint8),
        "o": numbers(rng, (2, filters, 9, width), o),
    }
    arrays = grids(rng, h, o, y) | {
        "xs": F32(0.02), "xz": np.uint8(113),
        "w": numbers(rng, (filters, channels, taps, taps), np.int8),
        "ws": rng.uniform(0.001, 0.01, filters).astype(F32), "wz": np.zeros(filters, np.int8),
        "bias": rng.integers(-999, 999, filters).astype(np.int32),
    }  # fmt: skip
    names = ["x", "xs", "xz", "w", "ws", "wz", "hs", "hz", "bias"]
    head = make_node("QLinearConv", names, ["h"], pads=[taps // 2] * 4)
    agree(model(head, feeds, arrays, bool(seed % 2), seed < 2), feeds, monkeypatch)


@pytest.mark.parametrize("kinds", [(a, b, c) for a in KINDS for b in KINDS for c in KINDS])
def test_behind_products(kinds, monkeypatch):
    h, o, y = kinds
    rng = np.random.default_rng([7, *(kind is np.int8 for kind in kinds)])
    for rows, depth, columns in ((1, 8, 5), (19, 64, 40), (33, 70, 67)):
        feeds = {
            "x": numbers(rng, (2, rows, depth), np.uint8),
            "o": numbers(rng, (2, rows, columns), o),
        }
        arrays = grids(rng, h, o, y) | {
            "xs": F32(0.02), "xz": np.uint8(113), "w": numbers(rng, (depth, columns), np.int8),
            "ws": rng.uniform(0.001, 0.01, columns).astype(F32), "wz": np.zeros(columns, np.int8),
        }  # fmt: skip
        head = make_node("QLinearMatMul", ["x", "xs", "xz", "w", "ws", "wz", "hs", "hz"], ["h"])
        agree(model(head, feeds, arrays, rows > 20, True), feeds, monkeypatch)
