"""Casts between numbers and strings."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx.reference.ops import load_op

from .operator import Operator, Original

_TRUE = {"true", "1"}


class _Cast(Operator):
    """Numbers by onnx's own cast; strings here."""

    widens = False

    def cast(self, x: np.ndarray, to: int, saturate: int, round_mode: str) -> np.ndarray:
        """Cast to an element type."""
        if to == onnx.TensorProto.STRING:
            return _to_text(x)
        kind = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(to))
        if x.dtype.kind in "OUS":
            x = _from_text(x, kind)
        elif x.dtype.name.startswith(("int", "uint")) and x.dtype.kind not in "iu":
            x = x.astype(np.int32)  # those of few bits cannot be cast to each other
        cast = load_op("", "Cast", 24)
        node = onnx.helper.make_node("Cast", ["x"], ["y"], to=to, saturate=saturate)
        if round_mode:
            node.attribute.append(onnx.helper.make_attribute("round_mode", round_mode))
        return np.asarray(cast(node, self.run_params).run(x)[0])


class BitCast(Original):
    """BitCast, of the very bits."""

    widens = False


class Cast(_Cast):
    """Cast."""

    def _run(
        self, x: np.ndarray, *, to: int, saturate: int = 1, round_mode: str = "up"
    ) -> tuple[Any, ...]:
        return (self.cast(x, to, saturate, round_mode),)


class CastLike(_Cast):
    """CastLike."""

    def _run(
        self, x: np.ndarray, like: np.ndarray, *, saturate: int = 1, round_mode: str = "up"
    ) -> tuple[Any, ...]:
        to = onnx.TensorProto.STRING
        if like.dtype.kind not in "OUS":
            to = onnx.helper.np_dtype_to_tensor_dtype(like.dtype)
        return (self.cast(x, to, saturate, round_mode),)


def _to_text(x: np.ndarray) -> np.ndarray:
    if x.dtype.kind not in "OUSfiubc":  # types of few bits
        whole = x.dtype.name.startswith(("int", "uint"))
        x = x.astype(np.int32 if whole else np.float32)
    y = np.empty(x.shape, object)
    texts = map(str, x.reshape(-1).tolist()) if x.dtype.kind in "iu" else map(_text, x.reshape(-1))
    y.reshape(-1)[:] = list(texts)
    return y


def _text(value: Any) -> str:
    """Fewest digits that give the value back, and an exponent where C's %g has one."""
    if isinstance(value, np.bool_):
        return "1" if value else "0"
    if not isinstance(value, np.floating) or not np.isfinite(value):
        return str(value)
    digits = 17 if value.dtype == np.float64 else 8
    size = abs(float(value))
    if size == 0 or 1e-4 <= size < 10.0**digits:
        return np.format_float_positional(value, trim="-")
    return np.format_float_scientific(value, trim="-", exp_digits=2)


def _from_text(x: np.ndarray, kind: np.dtype[Any]) -> np.ndarray:
    texts = [str(text).strip() for text in x.reshape(-1)]
    if kind.kind == "b":
        return np.array([text.lower() in _TRUE for text in texts], bool).reshape(x.shape)
    if kind.kind in "iu":
        return np.array([int(text) for text in texts], kind).reshape(x.shape)
    return np.array([float(text) for text in texts], np.float64).reshape(x.shape)
