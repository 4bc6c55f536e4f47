"""ConvTranspose: a convolution for each offset of output pixels within the stride."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np

from ..emission import Emission
from ..graph import Info, NeedsNumbers, Node, OnHost
from ..groups import Group
from ..strides import channels_last_order
from ..symbolic import Dim
from ..tensors import Tensor
from . import checks
from .convolution import KINDS, Convolution
from .epilogue import Epilogue
from .forms import emit_convolution
from .pointwise import emit_pointwise
from .registry import Operator, register
from .weights import kernel_sizes, transpose_weights, with_taps
from .windows import Along, Window

MAX_OFFSETS = 1024  # one convolution is emitted for each


def _transpose_sizes(node: Node) -> tuple[Window, list[Dim]]:
    """Window of a ConvTranspose, and the sizes of its result along the spatial axes."""
    x, kernel = node.required(0), kernel_sizes(node)
    rank = len(kernel)
    strides = [int(s) for s in node.attribute("strides", [1] * rank)]
    dilations = [int(d) for d in node.attribute("dilations", [1] * rank)]
    extra = list(node.attribute("output_padding", [0] * rank))
    mode = node.attribute("auto_pad", "NOTSET")
    wanted = node.attribute("output_shape")
    pads = list(node.attribute("pads", [0] * 2 * rank))
    sizes: list[Dim] = []
    for axis in range(rank):
        full = (x.dims[2 + axis] - 1) * strides[axis] + extra[axis]
        full = full + (kernel[axis] - 1) * dilations[axis] + 1
        if wanted is None and mode in ("NOTSET", "", "VALID"):
            sizes.append(full - pads[axis] - pads[axis + rank])
            continue
        size = wanted[axis - rank] if wanted else x.dims[2 + axis] * strides[axis]
        total = full - size
        if not isinstance(total, int):
            raise NeedsNumbers("padding depends on the input's shape", [total])
        total = max(0, total)  # what the input does not reach comes after it
        half = total // 2
        pads[axis] = total - half if mode in ("SAME_LOWER", "NOTSET") else half
        pads[axis + rank] = total - pads[axis]
        sizes.append(size)
    return Window.over(kernel, strides, dilations, pads), sizes


def _infer_transpose(node: Node) -> list[Info]:
    x, w = node.required(0), node.required(1)
    if x.dtype not in ("float32", "float64"):
        raise OnHost(f"ConvTranspose of {x.dtype}")
    window, sizes = _transpose_sizes(node)
    if math.prod(own.stride for own in window) > MAX_OFFSETS:
        raise OnHost(f"strides whose product is over {MAX_OFFSETS}")
    channels = w.dims[1] * node.attribute("group", 1)
    return [node.result((x.dims[0], channels, *sizes))]


def _lower_transpose(emit: Emission, node: Node, group: Group) -> None:
    epilogue = Epilogue.match(emit, node, group.body, 1)
    if epilogue.nodes or epilogue.residual is not None:
        # What the tile cannot do in registers becomes a step of its own.
        _lower_transpose(emit, node, Group([node], node))
        emit_pointwise(emit, Group(group.body))
        return
    groups = node.attribute("group", 1)
    x = emit.channels_last(emit.tensor(node.values[0]))
    emit.check(x.shape[1], node.required(1).dims[0], f"channels of {x.name!r} and of the weights")
    y = _four(emit.output(group.last, order=channels_last_order(len(x.shape))))
    window, _ = _transpose_sizes(node)
    whole = Convolution(
        group=group,
        kind=KINDS[x.dtype],
        x=_four(x),
        y=y,
        output=y,
        weights=transpose_weights(emit, node, groups),
        window=window,
        groups=groups,
        epilogue=epilogue,
    )
    own = node.input(2)
    repeats = 1
    if _columns_apart(whole) and (own is None or own.is_constant):
        repeats, whole = window.columns.stride, _columns_joined(whole)
    whole = dataclasses.replace(whole, bias=epilogue.bias_tensor(emit, node, repeats))
    for offset in itertools.product(*(range(own.stride) for own in whole.window)):
        emit_convolution(emit, _at_offset(whole, offset))


# --- columns ----------------------------------------------------------------------------------


def _columns_apart(whole: Convolution) -> bool:
    """Tell whether each input pixel makes columns of its own, which lie one after the other."""
    x, y, own = whole.x, whole.y, whole.window.columns
    apart = own.taps == own.stride > 1 and own.dilation == 1
    fits = own.before == 0 and y.shape[-1] == x.shape[-1] * own.stride
    is_plain = whole.groups == 1 and isinstance(whole.weights, np.ndarray)
    return is_plain and apart and fits and y.strides[-1] == y.shape[1]


def _columns_joined(whole: Convolution) -> Convolution:
    """See the columns that an input pixel makes as more channels of one pixel."""
    window, columns = whole.window, whole.window.columns.stride
    (n, c, *others, w), s = whole.y.shape, whole.y.strides
    wide = whole.y.view((n, c * columns, *others, w // columns), (*s[:-1], s[-1] * columns))
    filters = np.moveaxis(whole.filters, -1, 0)
    return dataclasses.replace(
        whole,
        y=wide,
        weights=filters.reshape(-1, *filters.shape[2:], 1),
        window=window._replace(columns=Along()),
    )


# --- offsets within the stride ----------------------------------------------------------------


def _at_offset(whole: Convolution, offset: Sequence[int]) -> Convolution:
    """Return the convolution that writes every stride-th output pixel, from ``offset`` on.

    Output pixel o = i * stride - pad + k * dilation; for a fixed offset only the taps with
    k * dilation congruent to (offset + pad) modulo the stride take part.
    """
    places = list(zip(whole.window, offset, strict=True))
    taps = [_taps(own, start) for own, start in places]
    x, y = whole.x, _pixels_from(whole.y, whole.window, offset)
    if not all(taps):
        return _without_input(dataclasses.replace(whole, y=y, output=y))
    pads = [_padding(own, start, one[-1]) for (own, start), one in zip(places, taps, strict=True)]
    window = Window(*(
        Along(len(one), 1, _spacing(one, own), max(0, pad))
        for (own, _), one, pad in zip(places, taps, pads, strict=True)
    ))  # fmt: skip
    x = _without_first(x, pads)
    return dataclasses.replace(
        whole,
        x=x,
        y=y,
        output=y,
        weights=with_taps(whole.weights, taps),
        window=_inexact(window, x, y),
    )


def _without_input(conv: Convolution) -> Convolution:
    """Return the convolution that writes pixels of which no tap meets one of the input's.

    It is one of volumes without slices; that rows are padded keeps slices apart from rows.
    """
    one = [0]
    return dataclasses.replace(
        conv,
        x=_volume(conv.x, is_empty=True),
        y=_volume(conv.y),
        weights=with_taps(conv.weights, (one, one, one)),
        window=Window(rows=Along(after=1)),
    )


def _volume(tensor: Tensor, is_empty: bool = False) -> Tensor:
    """Images as volumes of one slice; of none, if they shall be empty."""
    (n, c, *slices, h, w), s = tensor.shape, tensor.strides
    count = 0 if is_empty else slices[0] if slices else 1
    return tensor.view((n, c, count, h, w), (*s[:2], s[2] if slices else 0, *s[-2:]))


def _inexact(window: Window, x: Tensor, y: Tensor) -> Window:
    """Add padding after the input where the window reaches beyond it.

    How much does not matter, only whether there may be any.
    """
    rank = len(x.shape) - 2
    axes = list(window)
    for axis in range(-rank, 0):
        own = axes[axis]
        if own.taps > 1 or own.before != 0 or x.shape[axis] != y.shape[axis]:
            axes[axis] = own._replace(after=1)
    return Window(*axes)


def _taps(own: Along, offset: int) -> list[int]:
    """Taps along an axis that take part in the output pixels of an offset."""
    first = offset + int(own.before)  # type: ignore[arg-type]
    return [k for k in range(own.taps) if (k * own.dilation - first) % own.stride == 0]


def _spacing(taps: Sequence[int], own: Along) -> int:
    """Input pixels between neighbouring taps."""
    return (taps[1] - taps[0]) * own.dilation // own.stride if len(taps) > 1 else 1


def _padding(own: Along, offset: int, last: int) -> int:
    """Padding before the input; below zero where leading pixels are left out.

    The output pixel at the offset meets the tap ``last`` at this input pixel.
    """
    first = offset + int(own.before)  # type: ignore[arg-type]
    return -((first - last * own.dilation) // own.stride)


def _without_first(x: Tensor, pads: Sequence[int]) -> Tensor:
    """Leave out leading input pixels where the padding is negative."""
    shape = list(x.shape)
    first: Dim = 0
    for axis in range(2 - len(shape), 0):
        skipped = max(0, -pads[axis])
        shape[axis] = shape[axis] - skipped
        first = first + skipped * x.strides[axis]
    return x.view(shape, x.strides, first)


def _pixels_from(y: Tensor, window: Window, offset: Sequence[int]) -> Tensor:
    """Every stride-th output pixel, from an offset on."""
    shape, strides = list(y.shape), list(y.strides)
    first: Dim = 0
    for axis in range(2 - len(shape), 0):
        start, stride = offset[axis], window[axis].stride
        shape[axis] = (y.shape[axis] - start + stride - 1) // stride
        first = first + start * strides[axis]
        strides[axis] = strides[axis] * stride
    return y.view(shape, strides, first)


def _four(tensor: Tensor) -> Tensor:
    """A (N, C, W) tensor as (N, C, 1, W)."""
    if len(tensor.shape) > 3:
        return tensor
    n, c, w = tensor.shape
    s = tensor.strides
    return tensor.view((n, c, 1, w), (s[0], s[1], s[2] * w, s[2]))


register(
    "ConvTranspose",
    Operator(
        rules=(checks.convolution,),
        infer=_infer_transpose,
        fused=_lower_transpose,
        layout="channels_last",
    ),
)
