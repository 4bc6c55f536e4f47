"""Products with constant weights that stay small in memory: integers with scales, or halves.

Weights of few bits are those of a DequantizeLinear. Halves are float32 that float16 or bfloat16
hold exactly, as those that a model stores so, and others with a ``precision`` of ``"bf16"``
or ``"bf16_weights"``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir

from ...kernels.bfloat_terms import PRODUCTS
from ...kernels.cpu.byte_product import byte_product
from ...kernels.cpu.fetch_forms import lines_of_request
from ...kernels.cpu.operands import max_rows
from ...kernels.cpu.packed_product import MOST_ROWS as MOST_AT_ONCE
from ...kernels.cpu.packed_product import packed_product
from ...kernels.cpu.packed_weights import (
    BITS,
    VECTORS,
    in_quads,
    is_whole,
    pack_halves,
    pack_numbers,
    pack_short_floats,
    round_to_bfloat16,
)
from ...kernels.cpu.term_rates import term_costs
from ...kernels.cpu.weight_streams import pack_stream
from ...kernels.cpu.widened_product import widened_product, workspace_bytes
from ...kernels.machine_costs import machine_costs
from ..emission import Emission
from ..graph import Info, Node
from ..symbolic import Dim, product, reaches
from ..tensors import Tensor
from .byte_rows import bytes_of_rows, rows_as_bytes
from .forms import emit_either
from .term_products import WIDENED_TERMS, may_widen
from .tiles import tile_table

MOST_ROWS = 64
"""With more rows the product takes longer than reading its weights, and float32 is faster."""
_LEAST_WEIGHTS = 1 << 14
"""Fewer lie in a cache whatever their type."""
WIDENED_ROWS = 16
"""Rows from which on a panel is widened in memory before they are multiplied."""
_BLOCK_STEP = 16
"""Blocks have a multiple of so many rows: words of all kinds end with them."""
_ONE_BLOCK = 256
"""Rows that are summed at a time where all have one scale."""

_FORMS = {"f32": np.float32, "f16": np.float16}
"""Element types of scales."""


@dataclass(frozen=True)
class PackedWeights:
    """Constant weights (depth, columns) that stay small.

    Attributes
    ----------
    kind : str
        One of ``kernels.cpu.packed_weights``.
    numbers : ndarray
        uint8, uint16 with the bits of halves, or float32 that are packed as short floats.
    scales, zeros : ndarray, optional
        (blocks, columns) of float32 and uint8, for whole numbers.
    block : int
        Rows of a block.
    terms : int
        Bytes that stand for a number of what whole numbers multiply; 0 where it stays float32.
    """

    kind: str
    numbers: np.ndarray
    scales: np.ndarray | None = None
    zeros: np.ndarray | None = None
    block: int = _ONE_BLOCK
    terms: int = 0

    @property
    def form(self) -> str:
        """Element type that scales have in memory: float16 where that holds those of blocks."""
        if self.scales is None or len(self.scales) == 1:
            return "f32"
        return "f16" if _are_float16(self.scales) else "f32"

    def scaled(self, factor: float) -> PackedWeights | None:
        """Weights times a factor; None for halves, which would be rounded."""
        if factor == 1.0:
            return self
        if self.scales is None:
            return None
        return replace(self, scales=self.scales * np.float32(factor))


def packed_weights(emit: Emission, node: Node, rows: Dim, turned: bool) -> PackedWeights | None:
    """Return the weights of a product, its input 1, as they stay small; None if not worth it.

    Parameters
    ----------
    emit : Emission
    node : Node
    rows : Dim
        Of the other operand.
    turned : bool
        Whether the input is (columns, depth).
    """
    info = constant_matrix(node)
    if info is None:
        return None
    if emit.options.get("precision") in ("bf16", "bf16_weights"):
        return _halves(info, turned, is_exact=False) if _are_few(emit, rows) else None
    size = product(info.dims)
    assert isinstance(size, int)
    if size < _LEAST_WEIGHTS:
        return None
    maker = _maker(emit, node)
    if maker is not None and _keeps_whole(emit, node, maker, rows):
        whole = _whole(emit, node, maker, turned)
        if whole is not None:
            return whole
    return _halves(info, turned, is_exact=True) if _are_few(emit, rows) else None


def constant_matrix(node: Node) -> Info | None:
    """Return the weights of a product, its input 1, if they are a constant matrix of float32."""
    info = node.required(1)
    is_matrix = info.dtype == "float32" and info.rank == 2 and info.is_constant
    return info if is_matrix else None


def _keeps_whole(emit: Emission, node: Node, maker: ir.Node, rows: Dim) -> bool:
    """Tell whether weights of whole numbers are worth keeping for so many rows."""
    is_few = not isinstance(rows, int) or rows <= _most_rows(emit)
    return is_few or bytes_of_rows(emit, node, maker, _block(maker)) > 0


def _most_rows(emit: Emission) -> int:
    """Return the rows up to which whole numbers are worth keeping, for a number that is certain.

    By vectors both forms are as fast from some rows on. By terms of AMX, float32 that was packed
    before takes two bytes a term from memory, which rows multiply faster than numbers by vectors.
    """
    if not may_widen(emit):
        return MOST_ROWS
    costs = term_costs(WIDENED_TERMS)
    fetched = 2 * WIDENED_TERMS * costs.fetch - costs.split
    gained = 2.0 - PRODUCTS[WIDENED_TERMS] * costs.product  # of each row, over vectors
    return MOST_ROWS if gained <= 0 else min(max(int(fetched / gained), few_rows()), MOST_ROWS)


def few_rows() -> int:
    """Return the rows up to which a product waits for float32 weights longer than for smaller ones.

    These are widened once for so many rows (`packed_product.MOST_ROWS`), float32 takes as long as
    its weights do from memory. On Zen 4 (6 by its costs) products with weights of float16,
    1024 x 1024, take 0.90 of float32's time for 6 rows, 1.15 for 7 and 0.99 for 8.
    """
    costs = machine_costs()
    fetched, widened = costs.streams.uses_of_vector(), costs.vectors.widened
    rows = 1
    while rows + 1 + -(-(rows + 1) // MOST_AT_ONCE) * widened < fetched:
        rows += 1
    return rows


def _are_few(emit: Emission, rows: Dim) -> bool:
    """Tell whether reading float32 weights would take most of the time; in decoding it does."""
    return rows <= few_rows() if isinstance(rows, int) else bool(emit.options.get("states"))


def _halves(info: Info, turned: bool, is_exact: bool) -> PackedWeights | None:
    weights = info.array()
    weights = weights.T if turned else weights
    if not is_exact or _are_bfloat16(weights):
        return PackedWeights("bf16", round_to_bfloat16(weights))
    if not _are_float16(weights[: 1 + 4096 // len(weights[0])]) or not _are_float16(weights):
        return None
    return PackedWeights("f16", weights.astype(np.float16).view(np.uint16))


def _are_bfloat16(weights: np.ndarray) -> bool:
    bits = np.ascontiguousarray(weights).view(np.uint32)
    return not (bits & np.uint32(0xFFFF)).any()


def _are_float16(weights: np.ndarray) -> bool:
    with np.errstate(over="ignore"):
        return bool(np.array_equal(weights.astype(np.float16).astype(np.float32), weights))


# --- whole numbers ----------------------------------------------------------------------------


def _maker(emit: Emission, node: Node) -> ir.Node | None:
    """Return the DequantizeLinear of constants that gives the weights of a product, if any."""
    value = node.values[1]
    maker = None if value is None else value.producer()
    if maker is None or maker.domain or maker.op_type != "DequantizeLinear":
        return None
    infos = [None if each is None else emit.infos[each] for each in maker.inputs]
    return maker if all(info is None or info.is_constant for info in infos) else None


def _block(maker: ir.Node) -> int:
    """Rows that have a scale of their own; 0 where all have one."""
    return maker.attributes["block_size"].as_int() if "block_size" in maker.attributes else 0


def stays_whole(emit: Emission, node: Node) -> bool:
    """Tell whether a MatMul's weights of whole numbers surely stay small, for any rows.

    Their products have no epilogue, unless AMX may multiply them.
    """
    if node.op_type != "MatMul" or node.ir.domain:
        return False
    if bytes_block(emit, node):
        return True
    maker, rows = _maker(emit, node), product(node.required(0).dims[:-1])
    return (
        maker is not None
        and not may_widen(emit)
        and _is_large_matrix(emit, node)
        and _keeps_whole(emit, node, maker, rows)
        and _grids(emit, maker, False) is not None
    )


def _is_large_matrix(emit: Emission, node: Node) -> bool:
    """Tell whether a product's weights are constants, and whole numbers would be worth keeping."""
    info = constant_matrix(node)
    if info is None or emit.options.get("precision") in ("bf16", "bf16_weights"):
        return False
    size = product(info.dims)
    return isinstance(size, int) and size >= _LEAST_WEIGHTS


def has_nibbles(emit: Emission, node: Node) -> bool:
    """Tell whether a MatMul's weights are constants of 4 bits, with scales that kernels take."""
    maker = _maker(emit, node) if node.op_type == "MatMul" and not node.ir.domain else None
    if maker is None or constant_matrix(node) is None:
        return False
    numbers = maker.inputs[0]
    return (
        numbers is not None
        and emit.infos[numbers].dtype in ("int4", "uint4")
        and (_grids(emit, maker, False) is not None)
    )


def nibbles_of(emit: Emission, node: Node) -> PackedWeights | None:
    """Return the weights of a MatMul that are constants of 4 bits, for any rows."""
    maker = _maker(emit, node)
    return _whole(emit, node, maker, False) if maker and has_nibbles(emit, node) else None


def bytes_block(emit: Emission, node: Node) -> int:
    """Return the block of a MatMul's weights that surely meet bytes (`packed_weights`), else 0."""
    maker = _maker(emit, node)
    if maker is None or not _is_large_matrix(emit, node):
        return 0
    block = _block(maker)
    if not bytes_of_rows(emit, node, maker, block):
        return 0
    return block if _grids(emit, maker, False) is not None else 0


def _grids(
    emit: Emission, maker: ir.Node, turned: bool
) -> tuple[str, int, np.ndarray, np.ndarray] | None:
    """Kind of weights, what is added to their numbers, and (blocks, columns) scales and zeros."""
    infos = [None if each is None else emit.infos[each] for each in maker.inputs]
    numbers, scale, zero = (*infos, None)[:3]
    assert numbers is not None and scale is not None
    unsigned = _unsigned(numbers.dtype)
    if unsigned is None or scale.dtype != "float32":
        return None
    scales, zeros = scale.array(), np.zeros((), np.int64) if zero is None else zero.array()
    axis = maker.attributes["axis"].as_int() % 2 if "axis" in maker.attributes else 1
    rows, columns = (size if isinstance(size, int) else 0 for size in numbers.dims)
    if turned:
        rows, columns, axis = columns, rows, 1 - axis
        scales, zeros = (a.T if a.ndim == 2 else a for a in (scales, zeros))
    grids = [
        _by_block(each, (rows, columns), axis, _block(maker))
        for each in (scales, zeros.astype(np.int64))
    ]
    if grids[0] is None or grids[1] is None:
        return None
    return (*unsigned, grids[0].astype(np.float32), (grids[1] + unsigned[1]).astype(np.uint8))


def _whole(emit: Emission, node: Node, maker: ir.Node, turned: bool) -> PackedWeights | None:
    """Weights that a DequantizeLinear of constants gives."""
    found = _grids(emit, maker, turned)
    if found is None:
        return None
    kind, shift, scales, zeros = found
    value, block = maker.inputs[0], _block(maker)
    assert value is not None
    wide = (emit.infos[value].array().astype(np.int16) + shift).astype(np.uint8)
    wide = wide.T if turned else wide
    terms = bytes_of_rows(emit, node, maker, block)
    return PackedWeights(kind, wide, scales, zeros, block or _ONE_BLOCK, terms)


def _unsigned(dtype: str) -> tuple[str, int] | None:
    """Kind of weights, and what is added to numbers so that none is below zero."""
    kinds = {"uint8": ("u8", 0), "int8": ("u8", 128), "uint4": ("u4", 0), "int4": ("u4", 8),
             "uint2": ("u2", 0), "int2": ("u2", 2)}  # fmt: skip
    return kinds.get(dtype)


def _by_block(
    values: np.ndarray, shape: tuple[int, ...], axis: int, block: int
) -> np.ndarray | None:
    """Scales or zeros as (blocks, columns); None where they lie in another way."""
    columns = shape[1]
    if values.size == 1:
        count = -(-shape[0] // block) if block else 1
        return np.broadcast_to(values.reshape(1, 1), (count, columns))
    if values.ndim == 1 and axis == 1 and not block:
        return values.reshape(1, -1)
    fits = values.ndim == 2 and axis == 0 and block and block % _BLOCK_STEP == 0
    return values if fits and values.shape == (-(-shape[0] // block), columns) else None


# --- the step ---------------------------------------------------------------------------------


def emit_packed(
    emit: Emission, name: str, a: Tensor, row_stride: Any, b: PackedWeights,
    bias: np.ndarray | None, y: Tensor, has_sums: bool = False,
) -> None:  # fmt: skip
    """Emit ``a @ b + bias`` to the dense ``y``; rows of ``a`` are ``row_stride`` apart.

    With ``has_sums`` weights for the sums of the rows' blocks follow, which rows as bytes get.
    """
    depth, columns = b.numbers.shape
    rows = product(a.shape[:-1])
    fields = operand_fields(emit, name, b) | {
        "bias": None if bias is None else emit.constant(bias, f"{name}.bias"), "y": y,
        "rows": rows, "depth": depth, "columns": columns, "block": b.block,
    }  # fmt: skip
    flops = 2 * product(y.shape) * depth
    distance = machine_costs().streams.bytes_ahead()

    def small() -> None:
        kernel = packed_product(b.kind, b.form, lines_of_request())
        emit.step(kernel, outputs=[y], flops=flops, x=a, x_row=row_stride,
                  distance=distance, **fields)  # fmt: skip

    def widened() -> None:
        size = workspace_bytes(depth)
        emit.step(
            widened_product(b.kind, b.form), outputs=[y], flops=flops, x=a, x_row=row_stride,
            mr=max_rows(VECTORS), tiles=tile_table(VECTORS, set(range(1, max_rows(VECTORS) + 1))),
            workspace=emit.workspace(size), workspace_bytes=size, **fields,
        )  # fmt: skip

    if b.terms:
        words = rows_as_bytes(emit, a, row_stride, b.block, b.terms, has_sums)
        kernel = byte_product(b.kind, b.form, lines_of_request(), b.terms)
        emit.step(kernel, outputs=[y], flops=flops, x=words, distance=distance, **fields)
    elif not is_whole(b.kind) or (isinstance(rows, int) and rows < WIDENED_ROWS):
        small()
    elif isinstance(rows, int):
        widened()
    elif emit.is_catching:
        small()
    else:  # a run may have few rows
        emit_either(emit, reaches(rows, WIDENED_ROWS), widened, small)


def operand_fields(emit: Emission, name: str, b: PackedWeights) -> dict[str, Any]:
    """Return fields of a kernel's record that say what weights are."""
    if not is_whole(b.kind):
        pack = pack_short_floats if b.kind == "f24" else pack_halves
        words = emit.constant(pack(b.numbers), f"{name}.weights")
        return {"w": words, "zeros": 0, "heads": 0, "zero": 0.0}
    assert b.scales is not None and b.zeros is not None
    first = int(b.zeros[0, 0])
    zeros = None if bool((b.zeros == first).all()) else b.zeros
    fill = min(first, (1 << BITS[b.kind]) - 1)
    numbers = in_quads(b.numbers, b.kind, fill) if b.terms else b.numbers
    whole, scales = pack_numbers(numbers, b.kind, fill), b.scales.astype(_FORMS[b.form])
    stream = pack_stream(whole, scales, zeros, b.block, b.kind)
    return {
        "w": emit.constant(stream, f"{name}.weights"),
        "zeros": int(zeros is not None),
        "heads": int(len(scales) > 1),
        "zero": first if b.terms else float(first),
    }
