"""What operators on integers of 8 bits share: types, sizes of pairs, and results in their scale."""

from __future__ import annotations

from collections.abc import Sequence

from ..emission import Emission
from ..graph import Info, Node, OnHost
from ..symbolic import Dim
from ..tensors import Tensor
from .pointwise import emit_expression
from .quantization import quantized
from .terms import Term, call

_BYTES = ("int8", "uint8")


def demand_bytes(*infos: Info) -> None:
    """Leave other types, such as float8, to the host."""
    for info in infos:
        if info.dtype not in _BYTES:
            raise OnHost(f"products of {info.dtype}")


def halved(size: Dim) -> Dim:
    """Words that hold so many numbers."""
    return (size + 1) // 2


def demand_scales(node: Node, indices: tuple[int, ...]) -> None:
    """Leave scales of half precision to the host."""
    for index in indices:
        if node.required(index).dtype != "float32":
            raise OnHost(f"a scale of {node.required(index).dtype}")


def emit_quantized(
    emit: Emission, sums: Tensor, y: Tensor, operands: list[Tensor], order: Sequence[int] | None
) -> None:
    """Emit the result of whole sums.

    Operands are two scales, that of the result, its zero point, and perhaps a bias.
    """
    x, left, right, scale, zero, *bias = (Term(f"x{i}") for i in range(len(operands) + 1))
    whole = x if not bias else call("to_i32", x) + bias[0]
    value = call("to_f32", whole) * (left * right / scale)
    text = quantized(value, zero, y.dtype).text
    emit_expression(emit, text, y, [sums, *operands], order, operations=5)
