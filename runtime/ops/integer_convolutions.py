"""ConvInteger and QLinearConv: convolutions of integers of 8 bits, exact in int32.

Channels become words of four bytes, or pairs of int16, as in ``integer_products``. Taps of
depthwise convolutions become such words, too, or else float32, which holds their sums exactly;
convolutions of weights that steps compute are those of float64.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ...kernels.amx_permission import has_amx
from ...kernels.arithmetic import HAS_QUADS
from ...kernels.cpu.pairs import paired
from ...kernels.unit_rates import tile_integer_speed
from ..emission import Emission
from ..graph import Info, Node, OnHost, refuse
from ..groups import Group
from ..strides import channels_last_order
from ..symbolic import Dim, product
from ..tensors import Tensor
from . import checks, quads
from .byte_limits import Limited
from .convolution import Convolution
from .depthwise_bytes import emit_depthwise_bytes, emit_depthwise_widened, takes_bytes
from .epilogue import Epilogue
from .excess import excess, with_excess, without
from .forms import emit_convolution
from .integer_images import as_floats, filters_of, fits_floats, image_of, is_known, pixel_pairs
from .integers import (
    by_channel,
    combined_scale,
    demand_bytes,
    demand_scales,
    emit_quantized,
    emit_rest,
    following,
    only_bytes,
    quantizing,
    requantizing,
)
from .pad import emit_padded
from .pointwise import emit_expression
from .registry import Operator, register
from .wide_pixels import PAIR, QUAD, WidePixels
from .windows import Window
from .winograd import form_of


def _infer_conv(node: Node) -> list[Info]:
    return [node.result(_conv_dims(node, 1, node.input(2)), "int32")]


def _conv_dims(node: Node, w_index: int, x_zero: Info | None) -> tuple[Dim, ...]:
    x, w = node.required(0), node.required(w_index)
    demand_bytes(x, w)
    if x_zero is not None and product(x_zero.dims) != 1:
        raise OnHost("several zero points of the input")
    window = Window.of(node, w.dims[2:])
    spatial = window.sizes(x.dims[2:])
    if 0 in spatial or 0 in w.dims:
        raise OnHost("an empty result")
    return (x.dims[0], w.dims[0], *spatial)


def _lower_conv(emit: Emission, node: Node, group: Group) -> None:
    order = channels_last_order(node.infos[0].rank)
    conv = as_floats(emit, node, (0, 2), (1, 3))
    if conv is None:
        is_complete = _excess(node, 1, 3) is None
        found = following(emit, group, 1, order, is_complete=is_complete, has_rows=_has_rows(node))
        if found is not None:
            _emit_conv_sums(emit, node, (0, 2), (1, 3), found[0], None, found[1])
            return
    y = emit.output(node, order=order)
    if conv is None:
        _emit_conv_sums(emit, node, (0, 2), (1, 3), y)
    else:
        emit_convolution(emit, conv)
        emit_expression(emit, "to_i32(x0)", y, [conv.output], order)
    emit_rest(emit, group)


def _has_rows(node: Node) -> bool:
    """Tell whether kernels run over rows of the result: they know of no slices."""
    return node.infos[0].rank < 5


def _emit_conv_sums(
    emit: Emission,
    node: Node,
    image: tuple[int, int],
    filters: tuple[int, int],
    y: Tensor,
    bias: int | None = None,
    epilogue: Epilogue | None = None,
) -> None:
    """Emit the int32 convolution of operands given by their inputs and those of zero points.

    ``bias`` is an input, too.
    """
    groups, channels = node.attribute("group", 1), node.required(filters[0]).dims[1]
    x, zero = image_of(emit, node, image, channels * groups)
    weights, beyond = filters_of(node, *filters), _excess(node, *filters)
    weights = without(weights, beyond)
    own, total, pad = node.required(image[0]), None, None
    window, wide = Window.of(node, node.required(filters[0]).dims[2:]), None
    found = quads.weight_words(weights, 1, own.dtype)
    by_tile = None
    if found is None and beyond is None:
        by_tile = _tile_words(emit, node, x, y, weights, window)
    if beyond is None and by_tile is None and groups == 1:
        word = PAIR if found is None else QUAD
        gain = tile_integer_speed() if word == QUAD and has_amx() else 1.0
        wide = WidePixels.of(weights, window, y, epilogue or Epilogue(), word, gain)
    sums = weights.sum(axis=(1, 2, 3, 4), dtype=np.int32)
    if wide is not None:
        weights = wide.filters(weights)
        found = found and quads.weight_words(weights, 1, own.dtype)
    found = found or by_tile
    words, kind = found or (paired(weights, 1), "i16")
    if wide is not None:
        x, channels = wide.image(emit, x, zero), wide.read * channels
    if found is None:
        if bias is not None and node.input(bias) is not None:
            total = emit.ordered(emit.tensor(node.values[bias]))
        x = pixel_pairs(emit, x, zero, groups, channels)
    else:
        total, pad = quads.zero_terms(emit, node, own, image[1], sums, kind, bias)
        x = quads.pixel_quads(emit, x, groups, channels, kind)
    if pad is not None:
        x, window = _with_slices_around(emit, x, window, pad)
    conv = Convolution(
        group=Group([node], node),
        kind=kind,
        x=x,
        y=y,
        output=y,
        weights=words,
        window=window,
        groups=groups,
        bias=total,
        pad=pad,
        epilogue=epilogue or Epilogue(),
    )
    if wide is not None:
        wide.emit(emit, conv)
    elif beyond is None:
        emit_convolution(emit, conv)
    else:
        _emit_with_excess(emit, node, image[1], conv, weights, beyond)


def _tile_words(
    emit: Emission, node: Node, x: Tensor, y: Tensor, weights: np.ndarray, window: Window
) -> tuple[np.ndarray, str] | None:
    """Return words of weights, and their kind, where Winograd's form of bytes beats pairs."""
    words = quads.quads(weights, 1)
    if words is None:
        return None
    conv = Convolution(
        group=Group([node], node), kind="u8", x=x, y=y, output=y, weights=words, window=window,
        groups=node.attribute("group", 1),
    )  # fmt: skip
    return None if form_of(emit, conv) is None else (words, "u8")


def _excess(node: Node, *filters: int) -> np.ndarray | None:
    """Return the excess of weights that are words of bytes only without it."""
    if not quads.words_pay() or node.attribute("group", 1) != 1:
        return None
    weights = filters_of(node, *filters)
    if quads.weight_words(weights, 1, node.required(0).dtype) is not None:
        return None
    return excess(weights)


def _emit_with_excess(
    emit: Emission, node: Node, zero: int, conv: Convolution, weights: np.ndarray,
    beyond: np.ndarray,
) -> None:  # fmt: skip
    """Emit a convolution, and what is added to it: to that of volumes by a step of its own."""
    ones = np.ones_like(weights[:1])
    words, kind = quads.weight_words(ones, 1, node.required(0).dtype)  # type: ignore[misc]
    count = np.array([ones.size], np.int32)
    bias, _ = quads.zero_terms(emit, node, node.required(0), zero, count, kind)
    rank = len(conv.y.shape)
    sums = emit.new((conv.y.shape[0], 1, *conv.y.shape[2:]), "int32", channels_last_order(rank))
    alone = dataclasses.replace(
        conv, y=sums, output=sums, weights=words, bias=bias, epilogue=Epilogue()
    )
    emit_convolution(emit, alone)
    numbers, order = by_channel(emit.constant(beyond), rank), channels_last_order(rank)
    if _has_rows(node):
        y, after = with_excess(emit, conv.epilogue, conv.y, numbers, sums)
    else:
        y, after = emit.new(conv.y.shape, "int32", order, conv.y.name), conv.epilogue
    emit_convolution(emit, dataclasses.replace(conv, y=y, output=y, epilogue=after))
    if not _has_rows(node):
        emit_expression(emit, "add(x0,mul(x1,x2))", conv.y, [y, numbers, sums], order)


def _with_slices_around(
    emit: Emission, x: Tensor, window: Window, pad: Tensor
) -> tuple[Tensor, Window]:
    """Return volumes with their padding in front and behind, which kernels take for zeros."""
    own = window.depth
    if not own.is_padded:
        return x, window
    before, after = ([0, 0, n, 0, 0] for n in (own.before, own.after))
    shape = (*x.shape[:2], x.shape[2] + own.before + own.after, *x.shape[3:])
    whole = emit.new(shape, x.dtype, channels_last_order(5), x.name)
    emit_padded(emit, x, whole, before, after, pad.view((1,), (1,)))
    return whole, window._replace(depth=own._replace(before=0, after=0))


def _infer_linear_conv(node: Node) -> list[Info]:
    y_zero = node.required(7)
    demand_bytes(y_zero)
    demand_scales(node, (1, 4, 6))
    for info in (node.required(1), node.required(6)):
        count = product(info.dims)
        if isinstance(count, int) and count != 1:
            refuse(node, f"number of scales in {info.name!r}", count, "1")
        if count != 1:
            raise OnHost("several scales of the input or the result")
    return [node.result(_conv_dims(node, 3, node.input(2)), y_zero.dtype)]


def _lower_linear_conv(emit: Emission, node: Node, group: Group) -> None:
    order, dims = channels_last_order(node.infos[0].rank), node.infos[0].dims
    bias = node.input(8)
    if bias is not None:
        emit.check(product(bias.dims), dims[1], f"elements of {bias.name!r} and channels")
    by_filter = node.required(4)
    message = f"scales of {by_filter.name!r} and filters"
    emit.check(product(by_filter.dims), dims[1], message, broadcast=True)
    scale = combined_scale(emit, node, (1, 4, 6), dims[1])
    zero = emit.tensor(node.values[7])
    if _is_depthwise(node):
        limited = Limited.of(group)
        y = emit.output(limited.node, order=order)
        epilogue = Epilogue(result=y, scales=scale, zero=zero, limits=limited.limits)
        _emit_depthwise(emit, node, epilogue)
        emit_rest(emit, limited.rest)
        return
    conv = as_floats(emit, node, (0, 2), (3, 5))
    if conv is None and _excess(node, 3, 5) is None:
        # Bytes that tiles write are read by what follows sooner than rows of sums are.
        by_tile = requantizing(emit, group, scale, zero, order)
        if by_tile is not None:
            sums, epilogue, rest = by_tile
            _emit_conv_sums(emit, node, (0, 2), (3, 5), sums, 8, epilogue)
            emit_rest(emit, rest)
            return
    scale = by_channel(scale, len(dims))
    if conv is None and _has_rows(node):
        sums, epilogue = quantizing(emit, group, scale, zero, order)
        _emit_conv_sums(emit, node, (0, 2), (3, 5), sums, 8, epilogue)
        return
    y, own = emit.output(node, order=order), None
    if conv is None:
        sums = emit.new(y.shape, "int32", order, y.name)
        _emit_conv_sums(emit, node, (0, 2), (3, 5), sums, 8)
    else:
        if bias is not None:
            own = by_channel(emit.ordered(emit.tensor(node.values[8])), len(dims))
        emit_convolution(emit, conv)
        sums = conv.output
    emit_quantized(emit, sums, y, [scale], zero, own, order)
    emit_rest(emit, group)


def _is_depthwise(node: Node) -> bool:
    """Tell whether a depthwise convolution goes from bytes to bytes in one step."""
    if not is_known(node, (3, 5)):
        return False
    weights, window = filters_of(node, 3, 5), Window.of(node, node.required(3).dims[2:])
    groups = node.attribute("group", 1)
    is_taken = takes_bytes(weights, window) if HAS_QUADS else fits_floats(weights)
    return groups != 1 and groups == weights.shape[0] and is_taken


def _emit_depthwise(emit: Emission, node: Node, epilogue: Epilogue) -> None:
    y = epilogue.result
    assert y is not None
    weights, groups = filters_of(node, 3, 5), node.attribute("group", 1)
    x, _ = image_of(emit, node, (0, 2), groups)
    conv = Convolution(
        group=Group([node], node),
        kind="u8",
        x=emit.channels_last(x),
        y=y,
        output=y,
        weights=weights,
        window=Window.of(node, node.required(3).dims[2:]),
        groups=groups,
        epilogue=epilogue,
    )
    if HAS_QUADS:
        sums = weights.sum(axis=(1, 2, 3, 4), dtype=np.int32)
        bias, pad = quads.zero_terms(emit, node, node.required(0), 2, sums, "u8", 8)
        emit_depthwise_bytes(emit, dataclasses.replace(conv, bias=bias, pad=pad))
        return
    conv = dataclasses.replace(conv, weights=weights.astype(np.float32))
    emit_depthwise_widened(emit, node, conv, 2, 8)


def _check_conv(node: Node) -> None:
    checks.convolution(node, bias_at=len(node.inputs))


def _check_linear_conv(node: Node) -> None:
    checks.convolution(node, 3, 8)


register(
    "ConvInteger",
    Operator(
        rules=(_check_conv, only_bytes(0, 1, 2, 3)),
        infer=_infer_conv,
        fused=_lower_conv,
        layout="channels_last",
    ),
)
register(
    "QLinearConv",
    Operator(
        rules=(_check_linear_conv, only_bytes(0, 2, 3, 5, 7)),
        infer=_infer_linear_conv,
        fused=_lower_linear_conv,
        layout="channels_last",
    ),
)
