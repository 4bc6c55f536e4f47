"""What operators on integers of 8 bits share: types, sizes of pairs, and results in their scale."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from ..emission import Emission
from ..graph import Info, Node, OnHost, refuse
from ..groups import Group
from ..strides import contiguous_strides, same_strides
from ..symbolic import Dim
from ..tensors import Tensor
from .epilogue import Epilogue
from .float_results import float_results
from .pointwise import emit_expression, emit_pointwise, write_expression
from .quantization import quantized
from .residuals import tile_bytes
from .scaled_bytes import emit_scaled_bytes
from .terms import Term, call

_BYTES = ("int8", "uint8")


def only_bytes(*indices: int) -> Callable[[Node], None]:
    """Rule of inputs that the standard has of 8 bits only."""

    def rule(node: Node) -> None:
        for info in map(node.input, indices):
            if info is not None and info.dtype not in _BYTES:
                refuse(node, f"element type of {info.name!r}", info.dtype, "int8 or uint8")

    return rule


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


def combined_scale(
    emit: Emission, node: Node, indices: tuple[int, int, int], count: Dim | None = None
) -> Tensor:
    """Return left * right / result of scales, given by their inputs: of the shape of the right one.

    The others are single numbers. What is known is given ``count`` times, if that is a number.
    """
    infos = [node.required(index) for index in indices]
    if all(info.is_constant for info in infos):
        first, second, divisor = (info.array() for info in infos)
        with np.errstate(all="ignore"):  # of scales that a warning has named
            scale = first.reshape(()) * second / divisor.reshape(())
        if isinstance(count, int) and scale.size == 1:
            scale = np.full(count, scale.reshape(()))
        return emit.constant(scale)
    left, right, result = (emit.tensor(node.values[index]) for index in indices)
    combined = emit.new(right.shape, "float32", name=right.name)
    operands = [left.view((), ()), right, result.view((), ())]
    emit_expression(emit, "div(mul(x0,x1),x2)", combined, operands)
    return combined


def emit_quantized(
    emit: Emission, sums: Tensor, y: Tensor, scales: Sequence[Tensor], zero: Tensor,
    bias: Tensor | None = None, order: Sequence[int] | None = None,
) -> None:  # fmt: skip
    """Emit the result of whole sums: times scales, of which a third divides, and a zero point."""
    operands = [*scales, zero] if bias is None else [*scales, zero, bias]
    x, *terms = (Term(f"x{i}") for i in range(1 + len(operands)))
    factor, point = terms[0], terms[len(scales)]
    if len(scales) == 3:
        factor = terms[0] * terms[1] / terms[2]
    whole = x if bias is None else call("to_i32", x) + terms[-1]
    text = quantized(call("to_f32", whole) * factor, point, y.dtype).text
    emit_expression(emit, text, y, [sums, *operands], order, operations=5)


def requantizing(
    emit: Emission, group: Group, scale: Tensor, zero: Tensor, order: Sequence[int]
) -> tuple[Tensor, Epilogue, Group] | None:
    """Return sums of images, what lets the tile make bytes of them, and what of a group is left.

    There has to be a scale for each channel, and sums lie as the bytes do, without much room
    between them; None for others.
    """
    epilogue, rest = tile_bytes(emit, group, scale, zero, order)
    y = epilogue.result
    assert y is not None
    channels, room = y.shape[1], y.strides[-1]
    wide = (y.shape[0], room, *y.shape[2:])
    is_near = room == channels or (
        isinstance(room, int) and isinstance(channels, int) and room <= 2 * channels
    )
    is_even = same_strides(y.shape, y.strides, contiguous_strides(wide, order))
    if scale.size != channels or not is_near or not is_even:
        return None
    sums = emit.new(wide, "int32", order, y.name)
    return sums.view(y.shape, sums.strides), epilogue, rest


def by_channel(values: Tensor, rank: int) -> Tensor:
    """Return one number, or one for each channel, as a tensor that broadcasts to images."""
    if values.size == 1:
        return values
    after = rank - 2
    return values.view((*values.shape, *[1] * after), (*values.strides, *[0] * after))


def following(
    emit: Emission, group: Group, axis: int, order: Sequence[int] | None = None, *,
    is_complete: bool = True, has_rows: bool = True,
) -> tuple[Tensor, Epilogue | None] | None:  # fmt: skip
    """Return where whole sums go, and what follows them in their step, while rows are new.

    ``axis`` is that of the channels. Sums that are not complete have something added to them first.
    None where there are no rows that a kernel might run over, and the tile does not do all.
    """
    head = group.head
    assert head is not None
    if not group.body:
        return emit.output(head, order=order), None
    floats = float_results(emit, group, axis) if is_complete else None
    if floats is not None and (has_rows or not floats.nodes):
        return emit.output(group.last, order=order), floats
    if not has_rows:
        return None
    written = write_expression(group.body, head.outputs[0])
    y, others = emit.output(group.last, order=order), written.tensors(emit, 1)
    return _sums(emit, y, order), Epilogue(result=y, expression=written.text, others=others)


def quantizing(
    emit: Emission, group: Group, scale: Tensor, zero: Tensor, order: Sequence[int] | None = None
) -> tuple[Tensor, Epilogue]:
    """Return the same for sums that a scale and a zero point make results of."""
    head = group.head
    assert head is not None
    y = emit.output(group.last, order=order)
    x, factor, point = (Term(f"x{i}") for i in range(3))
    text = quantized(call("to_f32", x) * factor, point, head.infos[0].dtype).text
    others = [scale, zero]
    if group.body:
        written = write_expression(group.body, head.outputs[0])
        names = {"x0": "whole"} | {f"x{i}": f"x{i + 2}" for i in range(1, len(written.operands))}
        renamed = re.sub(r"\bx\d+\b", lambda match: names[match[0]], written.text)
        text, others = f"whole={text};{renamed}", [*others, *written.tensors(emit, 1)]
    return _sums(emit, y, order), Epilogue(result=y, expression=text, others=others)


def _sums(emit: Emission, y: Tensor, order: Sequence[int] | None) -> Tensor:
    return emit.new(y.shape, "int32", order, y.name)


def emit_rest(emit: Emission, group: Group) -> None:
    """Emit what follows an operator that has given its own result, as a step of its own."""
    rest = Group(group.body)
    if group.body and not emit_scaled_bytes(emit, rest):
        emit_pointwise(emit, rest)
