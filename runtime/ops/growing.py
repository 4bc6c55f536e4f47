"""Results of loops of unknown length: slices that a block gathers, and what is taken of it."""

from __future__ import annotations

from ...kernels.abi import BLOCK, BLOCK_COLUMNS
from ...kernels.cpu import growing
from ..emission import Emission
from ..tensors import Tensor


def new_block(emit: Emission) -> Tensor:
    """Create a block, which has memory for what was gathered in an earlier run."""
    return emit.new((BLOCK_COLUMNS,), "int64", name="block", kind=BLOCK)


def append_slice(emit: Emission, iteration: Tensor, x: Tensor, block: Tensor) -> None:
    """Emit a copy of the slice that an iteration gives to the end of a block."""
    x = emit.ordered(x)
    op_type = f"{emit.nodes[0].op_type}Slice"
    emit.step(
        growing.reserve_slice, outputs=[], op_type=op_type,
        block=block, iteration=iteration, run=x.nbytes, traffic=0,
    )  # fmt: skip
    emit.step(
        growing.append_slice, outputs=[], op_type=op_type,
        x=x, block=block, iteration=iteration, run=x.nbytes, traffic=2 * x.nbytes,
    )  # fmt: skip


def take_slices(emit: Emission, block: Tensor, y: Tensor) -> None:
    """Emit a copy of what a block has gathered."""
    emit.step(
        growing.take_slices, outputs=[y], op_type=f"{emit.nodes[0].op_type}Slices",
        block=block, y=y, size=y.nbytes, traffic=2 * y.nbytes,
    )  # fmt: skip
