"""Weights of few bits in blocks, of com.microsoft, as DequantizeLinear of the standard domain.

The numbers stay as small as they are: what reads the weights decides in which form it does.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir

from ...notes import ACCURACY_NOTE
from .contrib_rewrite import adapts, become, needed, optional
from .node_rewrite import NodeRewrite, NotExpressible

_NARROW = {2: ir.DataType.UINT4, 4: ir.DataType.UINT4, 8: ir.DataType.UINT8}
"""Type of the standard domain that holds numbers of so many bits."""


@adapts("MatMulNBits")
def _matmul_nbits(r: NodeRewrite) -> None:
    """Weights are constant, and put in the order of MatMul.

    Rows may have their groups (g_idx) in any order: then they are sorted, and what they meet, too.
    """
    bits, block = r.take("bits", 4), r.take("block_size", 0)
    rows, columns = r.take("K", 0), r.take("N", 0)
    if r.take("weight_prepacked", 0) or bits not in _NARROW:
        raise NotExpressible("its weights are in another order")
    level = r.take("accuracy_level", 0)
    blocks = -(-rows // block)
    packed = _sized(r, 1, columns, blocks, block * bits // 8)
    scales = _sized(r, 2, columns, blocks).reshape(columns, blocks)
    numbers = unpacked(packed.reshape(columns, -1), bits)
    zeros = np.full((columns, blocks), 1 << (bits - 1), np.uint8)
    if optional(r, 3) is not None:
        kind = r.dtype(3)
        if kind == np.uint8:
            given = _sized(r, 3, columns, -(-blocks * bits // 8))
            zeros = unpacked(given.reshape(columns, -1), bits)[:, :blocks]
        elif kind == r.dtype(2):
            zeros = _sized(r, 3, columns, blocks).reshape(columns, blocks)
        else:
            name = needed(r, 3).name
            raise ValueError(f"{name!r} is {kind}, expected uint8 or {r.dtype(2)}, as the scales")
    a, numbers = needed(r, 0), numbers[:, :rows]
    if optional(r, 4) is not None:
        groups = r.constant_input(4).reshape(-1)[:rows]
        order = np.argsort(groups, kind="stable")
        if (groups[order] != np.arange(rows) // block).any():
            raise NotExpressible("groups of its weights differ in size")
        a, numbers = r.emit("Gather", a, r.constant(order), axis=-1), numbers[:, order]
    moved = None
    if zeros.dtype != np.uint8 and rows == blocks * block and needed(r, 0).shape:
        whole = np.clip(np.rint(zeros), 0, (1 << bits) - 1)
        moved = _block_sums(r, a, blocks, block, (whole - zeros) * scales.astype(np.float32))
        zeros = whole.astype(np.uint8)
    weights = _weights(r, numbers.T, scales.T, zeros.T, bits, 0, block)
    maker = weights.producer()
    if level and maker is not None:
        maker.metadata_props[ACCURACY_NOTE] = str(level)
    product, bias = r.emit("MatMul", a, weights), optional(r, 5)
    if moved is not None:
        product = r.emit("Add", product, moved)
    if bias is None:
        become(r, "Identity", product)
    else:
        become(r, "Add", product, bias)


def _sized(r: NodeRewrite, index: int, *shape: int) -> np.ndarray:
    """Return the values of a constant input that has as many numbers as a shape."""
    values = r.constant_input(index)
    if values.size != math.prod(shape):
        name, given = needed(r, index).name, list(values.shape)
        raise ValueError(f"the shape of {name!r} is {given}, expected {list(shape)}")
    return values


def _block_sums(
    r: NodeRewrite, a: ir.Value, blocks: int, block: int, offsets: np.ndarray
) -> ir.Value:
    """Emit the product of sums of blocks of rows and offsets (columns, blocks).

    That is what is left where zero points lie between whole numbers, so that weights need not be
    widened: a 32nd of the numbers of the product, with blocks of 32.
    """
    shape = [0] * (r.rank(0) - 1) + [blocks, block]
    cut = r.emit("Reshape", a, r.constant(shape))
    sums = r.emit("ReduceSum", cut, r.constant([-1]), keepdims=0)
    return r.emit("MatMul", sums, r.constant(offsets.T, r.dtype(2)))


@adapts("GatherBlockQuantized")
def _gather_block_quantized(r: NodeRewrite) -> None:
    """A table that is constant."""
    bits, block = r.take("bits", 4), r.take("block_size", 128)
    axis, gathered = r.take("quantize_axis", 1), r.take("gather_axis", 0)
    data, scales = r.constant_input(0), r.constant_input(2)
    rank = data.ndim
    if not -rank <= axis < rank:
        raise ValueError(f"quantize_axis is {axis}, expected a number from {-rank} to {rank - 1}")
    is_packed = data.dtype == np.uint8
    if bits not in _NARROW or block < 1:
        raise NotExpressible(f"its numbers have {bits} bits, {block} to a block")
    numbers, shift = _table(data, bits)
    zeros = np.full(scales.shape, 1 << (bits - 1) if is_packed else shift, np.uint8)
    if optional(r, 3) is not None:
        zeros = _table(r.constant_input(3), bits)[0][..., : scales.shape[-1]]
    table = _weights(r, numbers, scales, zeros, bits, axis % rank, block)
    become(r, "Gather", table, needed(r, 1))
    r.put(axis=gathered)


def _table(data: np.ndarray, bits: int) -> tuple[np.ndarray, int]:
    """Numbers of a table as uint8, and what was added to them."""
    if data.dtype == np.uint8:
        numbers = unpacked(data.reshape(-1, data.shape[-1]), bits)
        return numbers.reshape(*data.shape[:-1], -1), 0
    if data.dtype.name not in ("int4", "uint4"):
        raise NotExpressible(f"its numbers are {data.dtype}")
    shift = 8 if data.dtype.name == "int4" else 0
    return (data.astype(np.int8) + shift).astype(np.uint8), shift


def _weights(
    r: NodeRewrite, numbers: np.ndarray, scales: np.ndarray, zeros: np.ndarray, bits: int,
    axis: int, block: int,
) -> ir.Value:  # fmt: skip
    """Emit ``(numbers - zeros) * scales``, with scales and zeros for blocks along an axis."""
    if zeros.dtype != np.uint8:  # zero points between whole numbers
        spread = [np.repeat(a, block, axis).take(range(numbers.shape[axis]), axis)
                  for a in (scales, zeros)]  # fmt: skip
        wide = (numbers - spread[1].astype(np.float32)) * spread[0].astype(np.float32)
        return r.constant(wide, scales.dtype)
    narrow: Any = _NARROW[bits].numpy()
    operands = [
        r.constant(numbers, narrow), r.constant(scales, scales.dtype), r.constant(zeros, narrow)
    ]  # fmt: skip
    return r.emit("DequantizeLinear", *operands, axis=axis, block_size=block)


def unpacked(packed: np.ndarray, bits: int) -> np.ndarray:
    """Numbers of so many bits in rows of bytes, the lowest bits first."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    numbers = packed.view(np.uint8)[..., None] >> shifts & np.uint8((1 << bits) - 1)
    return numbers.reshape(len(packed), -1)
