"""Products of many rows with small weights by AMX: a part of the weights is widened at a time.

A step widens columns to bfloat16 terms, as many as the second-level cache holds, and the next one
multiplies all rows by them.
"""

from __future__ import annotations

import dataclasses

from ...kernels.cpu.finish import COLUMNS
from ...kernels.cpu.packed_weights import is_whole
from ...kernels.target import target
from ..emission import Emission
from .convolution import Convolution
from .packed_weights import PackedWeights, operand_fields
from .pointwise import emit_expression, write_expression
from .small_tensors import SmallTensor
from .term_products import WIDENED_TERMS, emit_terms, may_widen, part_of

ROOM_BYTES = target().l2
"""Widened weights that lie in memory at a time, so that a cache holds them."""


def small_tensor(emit: Emission, name: str, b: PackedWeights) -> SmallTensor | None:
    """Return weights as AMX may multiply them; None where it may not, or never pays.

    Rows that may be rounded to bytes meet them as such, which is as fast at 128 rows.
    """
    if not is_whole(b.kind) or b.terms or not may_widen(emit) or emit.is_catching:
        return None
    fields = operand_fields(emit, name, b)
    depth, columns = b.numbers.shape
    return SmallTensor(
        fields["w"].buffer, 0, "float32", (depth, columns), (columns, 1), f"{name}.weights",
        b.kind, b.form, (depth, columns), {"block": b.block, **fields},
    )  # fmt: skip


def emit_widened(emit: Emission, conv: Convolution) -> None:
    """Emit a product whose weights are a `SmallTensor`."""
    columns, depth = conv.out_channels, conv.channels
    assert isinstance(columns, int)
    assert isinstance(depth, int)
    size = max(ROOM_BYTES // (2 * WIDENED_TERMS * depth * COLUMNS), 1) * COLUMNS
    if size >= columns:
        emit_terms(emit, conv, WIDENED_TERMS)
        return
    after = conv.epilogue
    if after.kernel is not None:  # it runs over whole rows
        alone = dataclasses.replace(after, nodes=(), kernel=None, record=None, operands=0)
        conv = dataclasses.replace(conv, epilogue=alone)
    for first in range(0, columns, size):
        emit_terms(emit, _some_columns(conv, first, min(size, columns - first)), WIDENED_TERMS)
    if after.kernel is not None:
        expression = write_expression(after.nodes, after.value)
        operands = [conv.output, *expression.tensors(emit, 1)]
        emit_expression(
            emit, expression.text, conv.output, operands, operations=len(after.nodes)
        )  # fmt: skip


def _some_columns(conv: Convolution, first: int, width: int) -> Convolution:
    """Return the product with some columns of the weights."""
    output = conv.output
    return dataclasses.replace(
        conv,
        y=part_of(conv.y, 1, first, width),
        output=part_of(output, len(output.shape) - 1, first, width),
        weights=part_of(conv.weights, 1, first, width),
        bias=None if conv.bias is None else part_of(conv.bias, 0, first, width),
        residual=None if conv.residual is None else part_of(conv.residual, 1, first, width),
    )
