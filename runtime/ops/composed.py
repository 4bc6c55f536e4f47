"""Softmax and normalizations as reductions and elementwise steps: for all that no kernel takes.

Those are element types other than float32, and axes or operands that are rare.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..emission import Emission
from ..symbolic import Dim
from ..tensors import Tensor
from .pointwise import emit_expression
from .reduce import reduce_to


def _reduced(emit: Emission, kind: str, x: Tensor, axes: Sequence[int]) -> Tensor:
    """Emit the reduction of a tensor, which keeps its axes."""
    shape: list[Dim] = [1 if i in axes else dim for i, dim in enumerate(x.shape)]
    result = emit.new(shape, x.dtype, name=x.name)
    reduce_to(emit, kind, x, result, list(axes))
    return result


def _computed(emit: Emission, text: str, *operands: Tensor | float) -> Tensor:
    """Emit an expression, whose result is as large as its first operand."""
    first = operands[0]
    assert isinstance(first, Tensor)
    result = emit.new(first.shape, first.dtype, name=first.name)
    emit_expression(emit, text, result, operands)
    return result


def emit_softmax(emit: Emission, x: Tensor, y: Tensor, axis: int, logarithm: int) -> None:
    """Emit Softmax, or its logarithm, along an axis."""
    x = emit.ordered(x)
    shifted = _computed(emit, "sub(x0,x1)", x, _reduced(emit, "max", x, [axis]))
    powers = _computed(emit, "exp(x0)", shifted)
    total = _reduced(emit, "sum", powers, [axis])
    if logarithm:
        emit_expression(emit, "sub(x0,log(x1))", y, [shifted, total])
    else:
        emit_expression(emit, "div(x0,x1)", y, [powers, total])


def emit_normalized(
    emit: Emission,
    x: Tensor,
    y: Tensor,
    axes: Sequence[int],
    epsilon: float,
    factors: Sequence[Tensor | None] = (),
    *,
    is_centred: bool = True,
    outside: bool = False,
) -> tuple[Tensor | None, Tensor]:
    """Emit ``(x - mean) / sqrt(variance + epsilon) * scale + bias`` over axes.

    Parameters
    ----------
    emit : Emission
    x, y : Tensor
    axes : sequence of int
    epsilon : float
    factors : sequence
        Scale and bias, which broadcast; None where there is none.
    is_centred : bool
        Whether the mean is taken off.
    outside : bool
        Whether epsilon is added to the root.

    Returns
    -------
    (Tensor or None, Tensor)
        Mean, if it is taken off, and variance; both keep the axes, with size 1.
    """
    x, mean = emit.ordered(x), None
    if is_centred:
        mean = _reduced(emit, "mean", x, axes)
        x = _computed(emit, "sub(x0,x1)", x, mean)
    variance = _reduced(emit, "mean", _computed(emit, "mul(x0,x0)", x), axes)
    text = "div(x0,add(sqrt(x1),x2))" if outside else "div(x0,sqrt(add(x1,x2)))"
    operands: list[Tensor | float] = [x, variance, epsilon]
    for function, factor in zip(("mul", "add"), factors, strict=False):
        if factor is not None:
            text = f"{function}({text},x{len(operands)})"
            operands.append(factor)
    emit_expression(emit, text, y, operands)
    return mean, variance


def emit_by_norm(emit: Emission, x: Tensor, y: Tensor, axis: int, p: int) -> None:
    """Emit the division by a norm along an axis; zeros stay zeros."""
    x = emit.ordered(x)
    norm = _reduced(emit, f"l{p}", x, [axis])
    emit_expression(emit, "div(x0,where(equal(x1,0),1,x1))", y, [x, norm])
