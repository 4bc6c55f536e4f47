"""Which tile a product or convolution on a GPU has: by the processor, the precision, and sizes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....kernels.cuda.machines import GPUS, Gpu
from ....kernels.cuda.tensor_cores.choice import Order, product_tile
from ....kernels.cuda.tensor_cores.tiles import Element, FloatTile, Result, Tile
from ...emission import Emission
from ...graph import Node
from ...symbolic import Dim, floor_divide, product
from ...tensors import Tensor
from .simulation import SIMULATED

_UNKNOWN = 1024
"""A size that only a run tells, as it is counted."""
_FEW = 16
"""Rows or columns, at most, of products by plain kernels: most of a tile would be empty."""
_LEAST = 1 << 15
"""Multiply-adds, at least, of a product that is worth a tile."""
_ELEMENTS: dict[str, Element] = {"fast": "tf32", "bf16": "tf32"}
"""What float32 is multiplied as, by precision; else exactly."""
_BYTES: dict[str, Element] = {"int8": "s8", "uint8": "u8"}
_MACHINES = {"80": "A100", "86": "RTX 4090", "89": "L4", "90": "H100"}
"""The processor that stands for those of a compute capability."""


def machine_of(emit: Emission) -> Gpu:
    """Return the processor that steps are emitted for, or one like it."""
    capability = str(emit.options["device"]).partition(":")[2]
    return GPUS[_MACHINES.get(capability, "L4")]


def element_of(emit: Emission) -> Element | None:
    """Return what float32 is multiplied as by tensor cores; None where it is by multiply-adds."""
    return _ELEMENTS.get(str(emit.options["precision"]))


def as_multiplied(emit: Emission, weights: np.ndarray) -> np.ndarray:
    """Round constants of float32 to what tensor cores read of them, which would cut them off."""
    if element_of(emit) != "tf32" or weights.dtype != np.float32:
        return weights
    bits = np.ascontiguousarray(weights).view(np.uint32)
    near = (bits + np.uint32(0x0FFF) + ((bits >> 13) & 1)) & np.uint32(0xFFFFE000)
    return np.where(np.isfinite(weights), near.view(np.float32), weights).reshape(weights.shape)


def element_for(emit: Emission, x: Tensor, w: Tensor, y: Tensor) -> Element | None:
    """Return what operands are multiplied as by tensor cores; None where there is nothing for them.

    Bytes have sums of 32 bits; their right operand has signs.
    """
    if y.dtype == x.dtype == w.dtype == "float32":
        return element_of(emit)
    is_whole = y.dtype == "int32" and w.dtype == "int8"
    return _BYTES.get(x.dtype) if is_whole else None


def is_worth(sizes: Sequence[Dim]) -> bool:
    """Tell whether a product of so many rows, columns and of a depth fills tiles."""
    rows, columns, depth = (_count(size) for size in sizes)
    return min(rows, columns) > _FEW and rows * columns * depth >= _LEAST


def takes_epilogue(emit: Emission, node: Node) -> bool:
    """Tell whether a node is a product or convolution that has a tile, and with it an epilogue."""
    info = node.infos[0]
    if info.dtype != "float32" or node.ir.domain:
        return False
    if node.op_type == "Conv":
        weights, groups = node.required(1).dims, node.attribute("group", 1)
        pixels = product((info.dims[0], *info.dims[2:]))
        depth = product(weights[1:])
        return len(weights) <= 4 and is_worth((pixels, floor_divide(weights[0], groups), depth))
    if node.op_type not in ("MatMul", "Gemm") or min(node.required(i).rank for i in (0, 1)) < 2:
        return False
    axis = 0 if node.op_type == "Gemm" and node.attribute("transA", 0) else -1
    return is_worth((product(info.dims[:-1]), info.dims[-1], node.required(0).dims[axis]))


def _count(size: Dim) -> int:
    return size if isinstance(size, int) else _UNKNOWN


def tile_for(
    emit: Emission, element: Element | None, sizes: Sequence[Dim], order: Order = "nk",
    is_aligned: bool = True, result: Result = "f32", has_groups: bool = True,
) -> Tile | FloatTile:  # fmt: skip
    """Return the tile that is expected to be done first; of a simulated GPU the smallest one.

    Parameters
    ----------
    element : str, optional
        What is multiplied; multiply-adds of float32 when not given.
    sizes : sequence of Dim
        Rows, columns and depth.
    has_groups : bool
        Whether tensor maps can be made of the operands.
    """
    like: Tile | FloatTile = FloatTile(32, 64, 4, order, is_aligned)
    if element is not None:
        like = Tile(element, result, 32, 64, 32, 32, 3, order, is_aligned)
    if emit.options["device"] == SIMULATED:
        return like
    rows, columns, depth = (_count(size) for size in sizes)
    counts = rows, columns, depth
    return product_tile(like, machine_of(emit), *counts, has_groups)[0]
