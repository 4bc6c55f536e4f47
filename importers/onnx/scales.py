"""Scales of quantized tensors that stand for no grid: a warning names node and tensor.

ONNX computes with them what arithmetic gives, and so do we: NaN for infinite ones. They come from
calibration on infinities, such as the logarithm of a zero, and what reads the numbers as indices
then fails far from the cause.
"""

from __future__ import annotations

import warnings

import numpy as np
import onnx_ir as ir

_SCALES = {
    "QuantizeLinear": (1,), "DequantizeLinear": (1,), "QLinearConv": (1, 4, 6),
    "QLinearMatMul": (1, 4, 6),
    # of com.microsoft
    "QGemm": (1, 4, 7), "QLinearAdd": (1, 4, 6), "QLinearMul": (1, 4, 6),
    "QLinearAveragePool": (1, 3), "QLinearGlobalAveragePool": (1, 3), "QLinearLeakyRelu": (1, 3),
    "QLinearSigmoid": (1, 3), "QLinearSoftmax": (1, 3), "QLinearConcat": (0,),
    "MatMulIntegerToFloat": (2, 3), "DynamicQuantizeMatMul": (2,), "QAttention": (3, 4),
    "DynamicQuantizeLSTM": (8, 10), "MatMulNBits": (2,), "GatherBlockQuantized": (2,),
}  # fmt: skip
"""Which inputs are scales."""
_MOST_ELEMENTS = 1 << 16
"""Of a scale that is looked at: larger ones, of blocks, would be read from their file for it."""
_MOST_NAMED = 8


def warn_of_scales(model: ir.Model) -> None:
    """Warn of constant scales that are zero, negative, infinite or NaN."""
    found = {}
    for node in model.graph.all_nodes():
        for index in _SCALES.get(node.op_type, ()):
            value = node.inputs[index] if index < len(node.inputs) else None
            if value is not None and value not in found and (numbers := _wrong(value)) is not None:
                found[value] = f"{value.name!r} of node {node.name!r} ({node.op_type}): {numbers}"
    if found:
        more = f"; and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
        named = "; ".join(list(found.values())[:_MOST_NAMED])
        warnings.warn(f"scales should be positive and finite, but {named}{more}", stacklevel=2)


def _wrong(value: ir.Value) -> float | None:
    """Return the first element of a constant that is no scale; None: there is none."""
    tensor = value.const_value
    is_scale = tensor is not None and tensor.dtype in (ir.DataType.FLOAT, ir.DataType.FLOAT16)
    if tensor is None or not is_scale or tensor.size > _MOST_ELEMENTS:
        return None
    numbers = tensor.numpy().reshape(-1)
    wrong = numbers[~(np.isfinite(numbers) & (numbers > 0))]
    return float(wrong[0]) if wrong.size else None
