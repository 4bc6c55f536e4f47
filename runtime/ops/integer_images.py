"""Operands of convolutions of integers of 8 bits: images, filters, and both as floats."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import InvalidModel
from ...kernels.cpu.pair_planes import pair_planes
from ...kernels.cpu.pairs import pair_rows
from ..emission import Emission
from ..graph import Node
from ..groups import Group
from ..strides import channels_last_order, contiguous_strides
from ..symbolic import Dim, not_one, product
from ..tensors import Tensor, short_name
from .convolution import KINDS, Convolution
from .integers import halved
from .pointwise import emit_expression
from .quads import has_few_planes
from .terms import Term, call
from .weights import three_axes
from .windows import Window

_EXACT_TAPS = (1 << 24) // 255**2
"""Products of numbers of 9 bits with whose sums float32 is exact."""


def image_of(
    emit: Emission, node: Node, image: tuple[int, int], channels: Dim
) -> tuple[Tensor, Tensor | None]:
    """Return an image and its zero point."""
    x = emit.tensor(node.values[image[0]])
    emit.check(x.shape[1], channels, f"channels of {x.name!r} and of the weights")
    zero = None if node.input(image[1]) is None else emit.tensor(node.values[image[1]])
    return x, zero


def is_known(node: Node, filters: tuple[int, int]) -> bool:
    """Tell whether weights and their zero points are constants."""
    zero = node.input(filters[1])
    return node.required(filters[0]).is_constant and (zero is None or zero.is_constant)


def filters_of(node: Node, index: int, zero_index: int) -> np.ndarray:
    """Weights (M, C / groups, kd, kh, kw) without zero points, as int16."""
    weights, zero = node.required(index).array().astype(np.int16), node.input(zero_index)
    if zero is not None:
        points = zero.array().astype(np.int16).reshape(-1)
        if points.size not in (1, weights.shape[0]):
            raise InvalidModel(
                f"node {node.name!r} ({node.op_type}): {zero.name!r} has {points.size} zero "
                f"points, expected 1 or {weights.shape[0]}"
            )
        weights = weights - points.reshape(-1, *[1] * (weights.ndim - 1))
    return three_axes(weights)


def pixel_pairs(
    emit: Emission, x: Tensor, zero: Tensor | None, groups: int, channels: Dim
) -> Tensor:
    """Emit pairs of the channels of each pixel of an image."""
    if groups == 1 and has_few_planes(x):
        return _planar_pairs(emit, x, zero)
    x = emit.channels_last(x)
    images, *spatial = x.shape[0], *x.shape[2:]
    rows, pixel = product(spatial), x.strides[-1]
    steps = [pixel * step for step in contiguous_strides(spatial)]
    if [x.strides[0], *x.strides[2:]] != [rows * pixel, *steps]:
        x = emit.ordered(x, channels_last_order(len(x.shape)))
        pixel = x.shape[1]
    shape = (images, groups * halved(channels), *spatial)
    words = emit.new(shape, "int32", channels_last_order(len(x.shape)), x.name)
    emit.step(
        pair_rows(short_name(x.dtype)), outputs=[words], op_type="Pairs", x=x, zero=zero, y=words,
        images=images, rows=rows, groups=groups, channels=channels, x_image=rows * pixel,
        x_row=pixel, zero_step=0,
    )  # fmt: skip
    return words


def _planar_pairs(emit: Emission, x: Tensor, zero: Tensor | None) -> Tensor:
    """Emit pairs of an image whose few channels lie one after the other."""
    channels, spatial = x.shape[1], x.shape[2:]
    assert isinstance(channels, int)
    order = channels_last_order(len(x.shape))
    words = emit.new((x.shape[0], halved(channels), *spatial), "int32", order, x.name)
    emit.step(
        pair_planes(short_name(x.dtype), channels), outputs=[words], op_type="Pairs", x=x,
        zero=zero, y=words, images=x.shape[0], pixels=product(spatial), x_image=x.strides[0],
        x_plane=x.strides[1],
    )  # fmt: skip
    return words


def fits_floats(weights: np.ndarray) -> bool:
    """Tell whether float32 is exact with the sums of a depthwise convolution of bytes."""
    return weights.shape[1] == 1 and 0 < weights[0].size <= _EXACT_TAPS


def as_floats(
    emit: Emission, node: Node, image: tuple[int, int], filters: tuple[int, int]
) -> Convolution | None:
    """Emit the operands of a convolution as floats, which hold its sums exactly.

    Those of a depthwise one fit float32, and those of computed weights float64. None for other
    convolutions, and for windows whose sums may need more digits.
    """
    groups = node.attribute("group", 1)
    weights: np.ndarray | Tensor
    if is_known(node, filters):
        weights, dtype = filters_of(node, *filters).astype(np.float32), "float32"
        if groups == 1 or weights.shape[:2] != (groups, 1) or weights[0].size > _EXACT_TAPS:
            return None
    else:
        weights, dtype = _computed_filters(emit, node, filters, groups), "float64"
    x, point = image_of(emit, node, image, node.required(filters[0]).dims[1] * groups)
    order = channels_last_order(len(x.shape))
    y = emit.new(node.infos[0].dims, dtype, order, node.infos[0].name)
    return Convolution(
        group=Group([node], node),
        kind=KINDS[dtype],
        x=_centred(emit, emit.channels_last(x), point, dtype, order),
        y=y,
        output=y,
        weights=weights,
        window=Window.of(node, node.required(filters[0]).dims[2:]),
        groups=groups,
    )


def _centred(
    emit: Emission, x: Tensor, zero: Tensor | None, dtype: str, order: Sequence[int] | None = None
) -> Tensor:
    """Emit integers without their zero points as floats."""
    floats, cast = emit.new(x.shape, dtype, order, x.name), f"to_{short_name(dtype)}"
    text = call(cast, Term("x0"))
    text = text if zero is None else text - call(cast, Term("x1"))
    emit_expression(emit, text.text, floats, [x] if zero is None else [x, zero], order)
    return floats


def _computed_filters(emit: Emission, node: Node, filters: tuple[int, int], groups: int) -> Tensor:
    """Emit weights that are known only when the model runs, as a set of filters for each group."""
    w, zero = emit.tensor(node.values[filters[0]]), None
    if node.input(filters[1]) is not None:
        zero = emit.ordered(emit.tensor(node.values[filters[1]]))
        emit.check(zero.size, w.shape[0], f"zero points of {w.name!r} and filters", broadcast=True)
        steps = (not_one(zero.size), *[0] * (len(w.shape) - 1))
        zero = zero.view(w.shape, steps)
    emit.check(w.shape[0] % groups, 0, f"filters beyond whole groups in {w.name!r}")
    wide = _centred(emit, w, zero, "float64")
    missing = 5 - len(w.shape)
    shape = (groups, w.shape[0] // groups, w.shape[1], *[1] * missing, *w.shape[2:])
    return wide.view(shape, contiguous_strides(shape))
