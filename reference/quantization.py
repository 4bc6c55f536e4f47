"""Quantization to integers, float8 and float4: by tensor, axis and block."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx

from .operator import Operator

_LIMITS = {  # largest finite values of types that saturate
    np.dtype(kind): float(ml_dtypes.finfo(kind).max)
    for kind in (
        ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e4m3fnuz, ml_dtypes.float8_e5m2,
        ml_dtypes.float8_e5m2fnuz, ml_dtypes.float6_e2m3fn, ml_dtypes.float6_e3m2fn,
        ml_dtypes.float4_e2m1fn,
    )
}  # fmt: skip


def _spread(values: np.ndarray, shape: tuple[int, ...], axis: int, block_size: int) -> np.ndarray:
    """Values by tensor, axis or block, so that they broadcast to a shape."""
    if values.size == 1 and values.ndim < 2:
        return values.reshape(())
    if values.ndim == 1 and not block_size:
        return values.reshape([-1 if i == axis % len(shape) else 1 for i in range(len(shape))])
    size = block_size or -(-shape[axis] // values.shape[axis])
    repeated = np.repeat(values, min(size, shape[axis]), axis)
    return repeated.take(range(shape[axis]), axis)


def saturated(x: np.ndarray, kind: np.dtype[Any]) -> np.ndarray:
    """Round to an integer or narrow float; what is beyond the limits goes to the nearer one.

    NaN becomes 0 as an integer.
    """
    if kind in _LIMITS:
        limit = _LIMITS[kind]
        return np.where(np.isnan(x), x, np.clip(x, -limit, limit)).astype(kind)
    info: Any = np.iinfo(kind) if kind.kind in "iu" else ml_dtypes.iinfo(kind)
    rounded = np.clip(np.rint(x), int(info.min), int(info.max))
    whole = np.where(np.isnan(x), 0, rounded).astype(np.int64)
    return whole.astype(kind)


class QuantizeLinear(Operator):
    """QuantizeLinear, which saturates however far away its input is."""

    widens = False  # the type of the scale says how the quotient is rounded, since opset 23

    def _run(
        self, x: np.ndarray, scale: np.ndarray, zero: np.ndarray | None = None, *, axis: int = 1,
        block_size: int = 0, output_dtype: int = 0, precision: int = 0, saturate: int = 1,
    ) -> tuple[Any, ...]:  # fmt: skip
        kind: np.dtype[Any] = np.dtype(np.uint8)
        if zero is not None:
            kind = zero.dtype
        elif output_dtype:
            kind = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(output_dtype))
        scales = _spread(scale, x.shape, axis, block_size)
        y = x.astype(np.float32) / scales.astype(np.float32)
        if self.version >= 23:
            quotient = (
                scale.dtype if not precision else onnx.helper.tensor_dtype_to_np_dtype(precision)
            )
            y = y.astype(quotient).astype(np.float32)
        if kind in _LIMITS:
            return (saturated(y, kind) if saturate else y.astype(kind),)
        offset = 0 if zero is None else _spread(zero, x.shape, axis, block_size).astype(np.float64)
        return (saturated(np.rint(y.astype(np.float64)) + offset, kind),)


class DequantizeLinear(Operator):
    """DequantizeLinear."""

    widens = False  # the type of the scale is that of the result

    def _run(
        self, x: np.ndarray, scale: np.ndarray, zero: np.ndarray | None = None, *, axis: int = 1,
        block_size: int = 0, output_dtype: int = 0,
    ) -> tuple[Any, ...]:  # fmt: skip
        wide = x.astype(np.float32 if x.dtype.itemsize < 4 else np.float64)
        if zero is not None:
            wide = wide - _spread(zero, x.shape, axis, block_size).astype(wide.dtype)
        y = wide.astype(np.float32) * _spread(scale.astype(np.float32), x.shape, axis, block_size)
        kind = onnx.helper.tensor_dtype_to_np_dtype(output_dtype) if output_dtype else scale.dtype
        return (y.astype(kind),)


class DynamicQuantizeLinear(Operator):
    """DynamicQuantizeLinear; the scale of zeros is one."""

    def _run(self, x: np.ndarray) -> tuple[Any, ...]:
        high = np.float32(x.max(initial=0))
        low = np.float32(x.min(initial=0))
        scale = np.float32(1) if high == low else (high - low) / np.float32(255)
        zero = np.clip(np.rint(-low / scale), 0, 255)
        return saturated(np.rint(x / scale) + zero, np.dtype(np.uint8)), scale, np.uint8(zero)


def _centred(x: np.ndarray, zero: np.ndarray | None, rows: bool) -> np.ndarray:
    """Integers without zero points, of the tensor, or of rows or columns; exact in double."""
    if zero is None:
        return x.astype(np.float64)
    if zero.ndim == 1 and zero.size > 1 and rows:
        zero = zero.reshape(-1, 1)
    elif zero.ndim < 2 and zero.size == 1:
        zero = zero.reshape(())
    return np.asarray(x.astype(np.float64) - zero.astype(np.float64))


class MatMulInteger(Operator):
    """MatMulInteger; sums are exact, and wrap as those of 32 bits do."""

    def _run(
        self, a: np.ndarray, b: np.ndarray, a_zero: np.ndarray | None = None,
        b_zero: np.ndarray | None = None,
    ) -> tuple[Any, ...]:  # fmt: skip
        y = np.matmul(_centred(a, a_zero, True), _centred(b, b_zero, False))
        return (y.astype(np.int64).astype(np.int32),)


class QLinearMatMul(Operator):
    """QLinearMatMul."""

    def _run(
        self, a: np.ndarray, a_scale: np.ndarray, a_zero: np.ndarray, b: np.ndarray,
        b_scale: np.ndarray, b_zero: np.ndarray, y_scale: np.ndarray, y_zero: np.ndarray,
    ) -> tuple[Any, ...]:  # fmt: skip
        y = np.matmul(_centred(a, a_zero, True), _centred(b, b_zero, False))
        left = a_scale.reshape(-1, 1) if a_scale.ndim == 1 and a_scale.size > 1 else a_scale
        factor = (left * b_scale / y_scale).astype(np.float32)
        scaled = y.astype(np.float32) * factor
        if y_zero.dtype in _LIMITS:
            return (saturated(scaled, y_zero.dtype),)
        return (saturated(np.rint(scaled) + y_zero.astype(np.float64), y_zero.dtype),)
