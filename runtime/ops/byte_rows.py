"""Rows that may be rounded to bytes where they meet weights of at most 8 bits.

A model allows it for a product (MatMulNBits with ``accuracy_level`` 4), or a session for all with
``precision="int8_activations"``. Each block of a row, as long as those of the weights, has a scale
of its own, so an error is at most 1/254 of the block's largest number.
"""

from __future__ import annotations

import onnx_ir as ir

from ...kernels.cpu.byte_blocks import TAIL_BYTES, byte_blocks
from ...kernels.unit_rates import integer_speed
from ...notes import ACCURACY_NOTE
from ..emission import Emission
from ..symbolic import Dim, product
from ..tensors import Tensor

_LARGEST_BLOCK = 1 << 16
"""Numbers of which no sum of products overflows an int32."""


def takes_bytes(emit: Emission, maker: ir.Node, block: int) -> bool:
    """Tell whether products with weights that a DequantizeLinear gives round their rows.

    They do where it is allowed, and this machine multiplies bytes faster than float32.
    """
    precision = emit.options.get("precision")
    is_allowed = precision == "int8_activations" or (
        precision != "strict" and maker.metadata_props.get(ACCURACY_NOTE) == "4"
    )
    return is_allowed and block <= _LARGEST_BLOCK and integer_speed() > 1


def rows_as_bytes(
    emit: Emission, a: Tensor, row_stride: Dim, block: int, has_sums: bool = False
) -> Tensor:
    """Return the blocks of rows that are ``row_stride`` apart, once for all products with them.

    With ``has_sums`` those of the sums of a row's blocks follow (`summed_rows`).
    """

    def make() -> Tensor:
        *sizes, depth = a.shape
        rows, blocks = product(sizes), -(-depth // block)
        blocks += -(-blocks // block) if has_sums else 0
        y = emit.new((rows, blocks, block + TAIL_BYTES), "uint8", name=a.name)
        emit.step(
            byte_blocks, outputs=[y], op_type="QuantizeBlocks", x=a, y=y, rows=rows, depth=depth,
            x_row=row_stride, block=block, sums=int(has_sums),
        )  # fmt: skip
        return y

    return emit.once(a, ("bytes", block, has_sums), make)
