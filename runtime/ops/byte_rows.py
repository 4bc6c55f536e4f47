"""Rows that may be rounded to bytes where they meet weights of at most 8 bits.

A model allows it for a product (MatMulNBits with ``accuracy_level`` 4), or a session for all with
``precision="int8_activations"``. Each block of a row, as long as those of the weights, has a scale
of its own, so an error is at most 1/254 of the block's largest number.

Else two bytes stand for each number where they meet weights of few bits: two products of bytes take
half of the time of one of float32, and what they leave, 2 ** -16 of a block's largest number, is
far less than what rounding weights to so few bits took.
"""

from __future__ import annotations

import onnx_ir as ir

from ...kernels.cpu.byte_blocks import TAIL_BYTES, byte_blocks
from ...kernels.unit_rates import integer_speed
from ...notes import ACCURACY_NOTE
from ..emission import Emission
from ..graph import Node
from ..symbolic import Dim, product
from ..tensors import Tensor
from .term_products import follows_product, may_widen

_LARGEST_BLOCK = 1 << 16
"""Numbers of which no sum of products overflows an int32."""
_LARGEST_BLOCK_OF_TWO = 1 << 12
"""The same where two bytes stand for each, and weights have at most 4 bits."""
_TWO_BYTES_GAIN = 3.0
"""Speed of products of bytes, over float32, from which on two of them are faster."""


def bytes_of_rows(emit: Emission, node: Node, maker: ir.Node, block: int) -> int:
    """Return how many bytes stand for a number of the rows of a product; 0 where they stay float32.

    Its weights are those that ``maker``, a DequantizeLinear, gives. This machine has to multiply
    bytes faster than float32, twice as fast for each byte of several.
    """
    precision = emit.options.get("precision")
    if precision == "strict" or block > _LARGEST_BLOCK:
        return 0
    if precision == "int8_activations" or maker.metadata_props.get(ACCURACY_NOTE) == "4":
        return int(integer_speed() > 1)
    takes_two = precision == "fp32" and block <= _LARGEST_BLOCK_OF_TWO
    takes_two = takes_two and _are_few_bits(emit, maker) and not may_widen(emit)
    # Rows that a model is given may be whole numbers, whose products are exact as float32.
    return 2 if takes_two and integer_speed() >= _TWO_BYTES_GAIN and follows_product(node) else 0


def _are_few_bits(emit: Emission, maker: ir.Node) -> bool:
    value = maker.inputs[0]
    return value is not None and emit.infos[value].dtype in ("int4", "uint4", "int2", "uint2")


def rows_as_bytes(
    emit: Emission, a: Tensor, row_stride: Dim, block: int, terms: int, has_sums: bool = False
) -> Tensor:
    """Return the blocks of rows that are ``row_stride`` apart, once for all products with them.

    There are so many ``terms``, rows of bytes, for each row. With ``has_sums`` blocks of the sums
    of a row's blocks follow (`summed_rows`).
    """

    def make() -> Tensor:
        *sizes, depth = a.shape
        rows, blocks = product(sizes), -(-depth // block)
        blocks += -(-blocks // block) if has_sums else 0
        y = emit.new((terms * rows, blocks, block + TAIL_BYTES), "uint8", name=a.name)
        emit.step(
            byte_blocks, outputs=[y], op_type="QuantizeBlocks", x=a, y=y, rows=rows, depth=depth,
            x_row=row_stride, block=block, sums=int(has_sums), terms=terms,
        )  # fmt: skip
        return y

    return emit.once(a, ("bytes", block, terms, has_sums), make)
