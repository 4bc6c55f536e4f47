"""Quantized tensors of a graph: what a DequantizeLinear reads, and a QuantizeLinear writes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from .values import attribute, constant, rank

BYTES = (ir.DataType.INT8, ir.DataType.UINT8)


def dequantized(value: ir.Value | None) -> ir.Node | None:
    """Return the node that makes float32 of a tensor of 8 bits, not by blocks, else None."""
    node = None if value is None else value.producer()
    if node is None or node.op_type != "DequantizeLinear" or attribute(node, "block_size", 0):
        return None
    x, scale = node.inputs[:2]
    floats = scale is not None and scale.dtype == ir.DataType.FLOAT
    return node if floats and x is not None and x.dtype in BYTES else None


def zero_point(node: ir.Node) -> ir.Value | None:
    """Return the zero point of a QuantizeLinear or DequantizeLinear that has one."""
    return node.inputs[2] if len(node.inputs) > 2 else None


def scales_along(node: ir.Node, axis: int) -> bool:
    """Tell whether a constant of `dequantized` has one scale, or one for each place on an axis."""
    x, scale = node.inputs[:2]
    if constant(x) is None or constant(scale) is None:
        return False
    own = rank(x)
    return rank(scale) == 0 or (
        rank(scale) == 1 and attribute(node, "axis", 1) % (own or 1) == axis
    )


@dataclass(frozen=True)
class Grid:
    """Numbers that a quantized tensor may hold: ``scale * (q - zero)``, q of 8 bits.

    Attributes
    ----------
    scale, zero
        Constants of one element.
    dtype
        Type of ``q``.
    """

    scale: np.ndarray
    zero: np.ndarray

    @staticmethod
    def of(node: ir.Node | None) -> Grid | None:
        """Return that of a QuantizeLinear or DequantizeLinear with one scale; else None."""
        if node is None or attribute(node, "block_size", 0):
            return None
        scale, point = constant(node.inputs[1]), zero_point(node)
        value = node.outputs[0] if node.op_type == "QuantizeLinear" else node.inputs[0]
        if value is None or value.dtype not in BYTES or scale is None or scale.size != 1:
            return None
        zero = np.zeros((), value.dtype.numpy()) if point is None else constant(point)
        if scale.dtype != np.float32 or zero is None or zero.size != 1:
            return None
        return Grid(scale.reshape(()), zero.reshape(()))

    def quantize(self, number: float) -> int:
        """Return ``q`` of a number: the nearest, ties to even, within the limits of its type."""
        return int(self.quantized(np.array(number, np.float32)))

    def quantized(self, numbers: np.ndarray) -> np.ndarray:
        """Return ``q`` of float32 numbers."""
        limits = np.iinfo(self.zero.dtype)
        q = np.rint(numbers / self.scale) + int(self.zero)
        return np.clip(q, limits.min, limits.max).astype(self.zero.dtype)

    def holds(self, numbers: np.ndarray) -> bool:
        """Tell whether float32 numbers are among those of the grid."""
        if np.isnan(numbers).any():
            return False
        return bool((self.numbers(self.quantized(numbers)) == numbers).all())

    def numbers(self, q: np.ndarray) -> np.ndarray:
        """Return float32 numbers of ``q``."""
        whole = q.astype(np.int32) - np.int32(self.zero)
        return whole.astype(np.float32) * self.scale

    def is_same(self, other: Grid | None) -> bool:
        """Tell whether another grid has the same numbers for each ``q``."""
        if other is None or self.zero.dtype != other.zero.dtype:
            return False
        return bool(self.zero == other.zero and self.scale == other.scale)

    @property
    def is_regular(self) -> bool:
        """Tell whether larger ``q`` are larger numbers, which `quantized` makes ``q`` again."""
        return bool(2.0**-100 < self.scale < 2.0**100)
