"""Local response normalization: of floats, and of bytes as bytes.

``QLinearLRN``, of a domain of ours, is what `optimizer.byte_operators` makes of LRN between a
DequantizeLinear and a QuantizeLinear, as com.microsoft's QLinearAveragePool is of an average. The
numbers of a grid have a largest square, which bounds what the power is taken of: where the
polynomial of a low degree has it as exactly as float32, that is computed instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.polynomial import Polynomial

from ...kernels.cpu.lrn import MARGIN, lrn
from ..emission import Emission
from ..graph import Info, Node, OnHost
from ..symbolic import Dim, product
from ..tensors import Tensor, short_name
from . import checks
from .pointwise import emit_expression
from .pool import emit_average
from .pool_bytes import X_SCALE, X_ZERO, Y_SCALE, Y_ZERO, demand_grids, number
from .registry import Operator, register
from .terms import float32
from .windows import Along, Window, image_strides

BYTES_DOMAIN = "sardonyx"
_DEGREES = 2, 4, 8
_NEAR = 1e-7
"""Relative error up to which a polynomial stands for a power."""


def _infer(node: Node) -> list[Info]:
    x = node.required(0)
    if x.dtype not in ("float32", "float64") or x.rank < 3:
        raise OnHost("only images of float32 or float64")
    return [node.result(x.dims)]


def _lower(emit: Emission, node: Node) -> None:
    if node.required(0).dtype != "float32" or node.attribute("size") > MARGIN:
        _compose(emit, node)
        return
    alpha, beta, bias = _numbers(node)
    fields = {
        "scale": alpha / node.attribute("size"), "bias": bias, "beta": beta, "coefficients": 0,
        "x_zero": 0, "ratio": 1.0, "y_zero": 0,
    }  # fmt: skip
    _emit(emit, node, fields, 0)


def _numbers(node: Node) -> tuple[float, float, float]:
    """Return ``alpha``, ``beta`` and ``bias``."""
    defaults = (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))
    alpha, beta, bias = (node.attribute(name, default) for name, default in defaults)
    return alpha, beta, bias


def _emit(emit: Emission, node: Node, fields: dict[str, Any], degree: int) -> None:
    """Emit the step, whose kernel has a polynomial of a degree, or none."""
    x = emit.channels_last(emit.tensor(node.values[0]))
    y = emit.output(node, order=(0, *range(2, len(x.shape)), 1))
    spatial, size = product(x.shape[2:]), node.attribute("size")
    x_pixel, y_pixel = _pixel_stride(x), _pixel_stride(y)
    images = x_pixel * spatial, y_pixel * spatial
    if x.shape[0] != 1 and images != (x.strides[0], y.strides[0]):
        x = emit.ordered(x, (0, *range(2, len(x.shape)), 1))
        x_pixel = x.shape[1]
    emit.step(
        lrn(short_name(x.dtype), short_name(y.dtype), degree),
        outputs=[y],
        flops=product(y.shape) * (2 * size + 6),
        x=x, y=y, pixels=x.shape[0] * spatial, channels=x.shape[1], x_pixel=x_pixel,
        y_pixel=y_pixel, size=size, **fields,
    )  # fmt: skip


def _pixel_stride(tensor: Tensor) -> Dim:
    """Return how far apart pixels are: of images of one pixel, these."""
    image, _, pixel = image_strides(tensor)
    return image if product(tensor.shape[2:]) == 1 else pixel


def _compose(emit: Emission, node: Node) -> None:
    """Emit means of squares over channels, which are the rows of images, and what divides by them.

    For element types and windows that the kernel does not take.
    """
    x, y = emit.ordered(emit.tensor(node.values[0])), emit.output(node)
    size = node.attribute("size")
    squares, means = emit.new(x.shape, x.dtype), emit.new(x.shape, x.dtype)
    emit_expression(emit, "mul(x0,x0)", squares, [x])
    (images, channels), pixels = x.shape[:2], product(x.shape[2:])
    shape, strides = (images, pixels, channels, 1), (channels * pixels, 1, pixels, pixels)
    before = (size - 1) // 2
    window = Window(rows=Along(size, before=before, after=size - 1 - before))
    emit_average(emit, window, squares.view(shape, strides), means.view(shape, strides), "padding")
    alpha, beta, bias = _numbers(node)
    numbers = [emit.constant(np.array(float32(each), x.dtype)) for each in (alpha, bias, beta)]
    emit_expression(emit, "div(x0,pow(add(mul(x1,x2),x3),x4))", y, [x, means, *numbers])


# --- between bytes ----------------------------------------------------------------------------


def _infer_bytes(node: Node) -> list[Info]:
    demand_grids(node)
    return [node.result(node.required(0).dims, node.required(Y_ZERO).dtype)]


def _lower_bytes(emit: Emission, node: Node) -> None:
    alpha, beta, bias = _numbers(node)
    scale, zero, size = number(node, X_SCALE), int(number(node, X_ZERO)), node.attribute("size")
    limits = np.iinfo(node.required(0).dtype)
    by = alpha / size * scale**2
    largest = size * max(limits.max - zero, zero - limits.min) ** 2
    found = power_polynomial(bias, bias + by * largest, beta)
    fields: dict[str, Any] = {
        "scale": by, "bias": bias, "beta": beta, "coefficients": 0, "x_zero": zero,
        "ratio": float(np.float32(scale) / np.float32(number(node, Y_SCALE))),
        "y_zero": int(number(node, Y_ZERO)),
    }  # fmt: skip
    degree = 0
    if found is not None:
        degree = found.degree()
        (offset, slope) = found.mapparms()
        fields |= {
            "coefficients": emit.constant(found.coef[::-1].astype(np.float32)),
            "scale": by * slope, "bias": offset + slope * bias,
        }  # fmt: skip
    _emit(emit, node, fields, degree)


def power_polynomial(low: float, high: float, beta: float) -> Polynomial | None:
    """Return the polynomial, of terms from -1 to 1, that is t ** -beta between two numbers.

    None if none of the degrees is near enough.
    """
    if not 0.0 < low < high < np.inf:
        return None
    points = np.linspace(low, high, 1001)
    wanted = points**-beta
    for degree in _DEGREES:
        chebyshev = np.polynomial.Chebyshev.interpolate(lambda t: t**-beta, degree, (low, high))
        found = chebyshev.convert(kind=Polynomial, domain=(low, high), window=(-1, 1))
        if found.degree() == degree and (np.abs(found(points) - wanted) <= _NEAR * wanted).all():
            return found
    return None


_RULES = checks.at_least_one("size"), checks.least_rank(2)
register("LRN", Operator(rules=_RULES, infer=_infer, lower=_lower, layout="channels_last"))
register(
    "QLinearLRN",
    Operator(rules=_RULES, infer=_infer_bytes, lower=_lower_bytes, layout="channels_last"),
    BYTES_DOMAIN,
)
