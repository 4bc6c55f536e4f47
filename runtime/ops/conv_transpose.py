"""ConvTranspose: a convolution for each offset of output pixels within the stride."""

from __future__ import annotations

import dataclasses
import itertools
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
from .windows import Window

MAX_STRIDE = 32  # one convolution is emitted for each offset within it


def _transpose_sizes(node: Node) -> tuple[Window, list[Dim]]:
    """Window of a ConvTranspose, and the sizes of its result along the spatial axes."""
    x, w = node.required(0), node.required(1)
    rank = x.rank - 2
    kernel = [int(k) for k in w.dims[2:]]  # type: ignore[arg-type]
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
        half = total // 2
        pads[axis] = total - half if mode in ("SAME_LOWER", "NOTSET") else half
        pads[axis + rank] = total - pads[axis]
        sizes.append(size)
    return Window.over(kernel, strides, dilations, pads), sizes


def _infer_transpose(node: Node) -> list[Info]:
    x, w = node.required(0), node.required(1)
    if x.dtype not in ("float32", "float64") or not w.is_constant or x.rank not in (3, 4):
        raise OnHost("only floats with constant weights and one or two spatial axes")
    window, sizes = _transpose_sizes(node)
    if any(pad < 0 for pad in window.pads):  # type: ignore[operator]
        raise OnHost("negative padding")
    if max(window.strides) > MAX_STRIDE:
        raise OnHost(f"a stride over {MAX_STRIDE}")
    channels = w.dims[1] * node.attribute("group", 1)
    return [node.result((x.dims[0], channels, *sizes))]


def _lower_transpose(emit: Emission, node: Node, group: Group) -> None:
    epilogue = Epilogue.match(emit, node, group.body, 1)
    if epilogue.nodes or epilogue.residual is not None:
        # What the tile cannot do in registers becomes a step of its own.
        _lower_transpose(emit, node, Group([node], node))
        emit_pointwise(emit, Group(group.body))
        return
    weights, groups = node.required(1).array(), node.attribute("group", 1)
    x = emit.channels_last(emit.tensor(node.values[0]))
    message = f"node {node.name!r} (ConvTranspose): channels of {x.name!r} and of the weights"
    emit.check(x.shape[1], weights.shape[0], message)
    y = _four(emit.output(group.last, order=channels_last_order(len(x.shape))))
    window, _ = _transpose_sizes(node)
    whole = Convolution(
        group=group,
        kind=KINDS[x.dtype],
        x=_four(x),
        y=y,
        output=y,
        weights=_filters(weights, groups),
        window=window,
        groups=groups,
        epilogue=epilogue,
    )
    own = node.input(2)
    repeats = 1
    if _columns_apart(whole) and (own is None or own.is_constant):
        repeats, whole = window.strides[1], _columns_joined(whole)
    whole = dataclasses.replace(whole, bias=epilogue.bias_tensor(emit, node, repeats))
    for offset in itertools.product(*map(range, whole.window.strides)):
        emit_convolution(emit, _at_offset(whole, offset))


def _filters(weights: np.ndarray, groups: int) -> np.ndarray:
    """Weights (C, M / groups, kh, kw) of a ConvTranspose as (M, C / groups, kh, kw)."""
    if weights.ndim == 3:
        weights = weights[:, :, None, :]
    parts = weights.reshape(groups, -1, *weights.shape[1:]).swapaxes(1, 2)
    return parts.reshape(-1, *parts.shape[2:])


# --- columns ----------------------------------------------------------------------------------


def _columns_apart(whole: Convolution) -> bool:
    """Tell whether each input pixel makes columns of its own, which lie one after the other."""
    x, y, window = whole.x, whole.y, whole.window
    apart = window.kernel[1] == window.strides[1] > 1 and window.dilations[1] == 1
    fits = window.pads[1] == 0 and y.shape[3] == x.shape[3] * window.strides[1]
    return whole.groups == 1 and apart and fits and y.strides[3] == y.shape[1]


def _columns_joined(whole: Convolution) -> Convolution:
    """See the columns that an input pixel makes as more channels of one pixel."""
    window, columns = whole.window, whole.window.strides[1]
    n, c, h, w = whole.y.shape
    s = whole.y.strides
    wide = whole.y.view((n, c * columns, h, w // columns), (s[0], 1, s[2], s[3] * columns))
    filters = whole.filters.transpose(3, 0, 1, 2)
    return dataclasses.replace(
        whole,
        y=wide,
        weights=filters.reshape(-1, *filters.shape[2:], 1),
        window=dataclasses.replace(
            window, kernel=(window.kernel[0], 1), strides=(window.strides[0], 1)
        ),
    )


# --- offsets within the stride ----------------------------------------------------------------


def _at_offset(whole: Convolution, offset: Sequence[int]) -> Convolution:
    """Return the convolution that writes every stride-th output pixel, from ``offset`` on.

    Output pixel o = i * stride - pad + k * dilation; for a fixed offset only the taps with
    k * dilation congruent to (offset + pad) modulo the stride take part.
    """
    window = whole.window
    taps = [_taps(window, axis, offset[axis]) for axis in (0, 1)]
    y = _pixels_from(whole.y, window, offset)
    if all(taps):
        weights = whole.filters[:, :, taps[0]][:, :, :, taps[1]][:, :, ::-1, ::-1]
        dilations = _spacing(taps[0], window, 0), _spacing(taps[1], window, 1)
        pads = [_padding(window, axis, offset[axis], taps[axis][-1]) for axis in (0, 1)]
    else:
        weights = np.zeros((*whole.filters.shape[:2], 1, 1), whole.filters.dtype)
        dilations, pads = (1, 1), [0, 0]
    kernel = weights.shape[2], weights.shape[3]
    # How much padding comes after the input does not matter, only whether any may.
    is_exact = kernel == (1, 1) and pads == [0, 0] and whole.x.shape[2:] == y.shape[2:]
    after = 0 if is_exact else 1
    return dataclasses.replace(
        whole,
        x=_without_first(whole.x, pads),
        y=y,
        output=y,
        weights=weights,
        window=Window(
            kernel, dilations=dilations, pads=(max(0, pads[0]), max(0, pads[1]), after, after)
        ),
    )


def _taps(window: Window, axis: int, offset: int) -> list[int]:
    """Taps that take part in the output pixels of an offset."""
    stride, dilation = window.strides[axis], window.dilations[axis]
    first = offset + window.pads[axis]
    return [k for k in range(window.kernel[axis]) if (k * dilation - first) % stride == 0]


def _spacing(taps: Sequence[int], window: Window, axis: int) -> int:
    """Input pixels between neighbouring taps."""
    if len(taps) < 2:
        return 1
    return (taps[1] - taps[0]) * window.dilations[axis] // window.strides[axis]


def _padding(window: Window, axis: int, offset: int, last: int) -> int:
    """Padding before the input; below zero where leading pixels are left out.

    The output pixel at the offset meets the tap ``last`` at this input pixel.
    """
    pad = int(window.pads[axis])  # type: ignore[arg-type]
    return -((offset + pad - last * window.dilations[axis]) // window.strides[axis])


def _without_first(x: Tensor, pads: Sequence[int]) -> Tensor:
    """Leave out leading input pixels where the padding is negative."""
    shape = list(x.shape)
    first: Dim = 0
    for axis, pad in zip((2, 3), pads, strict=True):
        skipped = max(0, -pad)
        shape[axis] = shape[axis] - skipped
        first = first + skipped * x.strides[axis]
    return x.view(shape, x.strides, first)


def _pixels_from(y: Tensor, window: Window, offset: Sequence[int]) -> Tensor:
    """Every stride-th output pixel, from an offset on."""
    shape, strides = list(y.shape), list(y.strides)
    first: Dim = 0
    for axis, (start, stride) in enumerate(zip(offset, window.strides, strict=True), 2):
        shape[axis] = (y.shape[axis] - start + stride - 1) // stride
        first = first + start * strides[axis]
        strides[axis] = strides[axis] * stride
    return y.view(shape, strides, first)


def _four(tensor: Tensor) -> Tensor:
    """A (N, C, W) tensor as (N, C, 1, W)."""
    if len(tensor.shape) == 4:
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
