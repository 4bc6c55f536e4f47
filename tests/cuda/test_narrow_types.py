"""Floats and integers of 8 bits and fewer: casts, scaled ones and blocks."""

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper
from sardonyx.tools.cuda_cases import runs
from sardonyx.tools.cuda_cases.runs import check, floats

node = helper.make_node
FLOATS = ["FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ", "FLOAT4E2M1"]
INTEGERS = ["INT4", "UINT4"]
SPECIAL = np.array([0, -0.0, np.inf, -np.inf, np.nan, 1e-8, 448, 464, 465, -1e9, 6.5], np.float32)


def numbers(scale=20):
    return np.concatenate([SPECIAL, floats(40) * np.float32(scale)])


@pytest.mark.parametrize("to", FLOATS)
@pytest.mark.parametrize("saturate", [0, 1])
def test_casts_to_floats_and_back(to, saturate):
    x = numbers()
    x = x[np.isfinite(x)] if to == "FLOAT4E2M1" else x
    options = {} if to == "FLOAT4E2M1" else {"saturate": saturate}
    cast = node("Cast", ["x"], ["c"], to=getattr(TensorProto, to), **options)
    back = node("Cast", ["c"], ["y"], to=TensorProto.FLOAT)
    check([cast, back], {"x": x})
    check([cast, back], {"x": x[np.isfinite(x)].astype(ml_dtypes.bfloat16)})


@pytest.mark.parametrize("to", ["FLOAT16", "BFLOAT16"])
@pytest.mark.parametrize("dtype", ["float64", "int64", "int32"])
def test_numbers_are_rounded_once(to, dtype, rng):
    x = rng.integers(-70_000, 70_000, 60).astype(dtype)
    x[:4] = [2049, 2051, 65519, 65520]
    cast = node("Cast", ["x"], ["c"], to=getattr(TensorProto, to))
    check([cast, node("Cast", ["c"], ["y"], to=TensorProto.FLOAT)], {"x": x})


@pytest.mark.parametrize("to", INTEGERS)
def test_casts_to_few_bits_and_back(to):
    x = np.array([0, 1, -1, 7, 3, 2.7, -2.2, 5], np.float32)
    x = np.abs(x) if to[0] == "U" else x
    cast = node("Cast", ["x"], ["c"], to=getattr(TensorProto, to))
    for back in (TensorProto.FLOAT, TensorProto.UINT8 if to[0] == "U" else TensorProto.INT8):
        check([cast, node("Cast", ["c"], ["y"], to=back)], {"x": x})


@pytest.mark.parametrize("to", ["FLOAT8E4M3FN", "FLOAT8E5M2", *INTEGERS])
def test_scaled_numbers(to, monkeypatch):
    monkeypatch.setattr(runs, "OPSET", 25)
    kind = getattr(TensorProto, to)
    quantize = node("QuantizeLinear", ["x", "s"], ["q"], output_dtype=kind, axis=1)
    dequantize = node("DequantizeLinear", ["q", "s"], ["y"], axis=1)
    check([quantize, dequantize], {"x": floats(3, 5) * 4}, {"s": np.float32([0.5, 1, 2, 0.1, 3])})


def test_numbers_scaled_by_blocks(monkeypatch):
    monkeypatch.setattr(runs, "OPSET", 25)
    scales = {"s": np.abs(floats(3, 2, seed=1)) + np.float32(0.1), "z": np.zeros((3, 2), np.int8)}
    nodes = [node("QuantizeLinear", ["x", "s", "z"], ["q"], axis=1, block_size=4),
             node("DequantizeLinear", ["q", "s", "z"], ["y"], axis=1, block_size=4)]  # fmt: skip
    check(nodes, {"x": floats(3, 8) * 9}, scales)
