"""ConvTranspose: a convolution for each phase of the stride."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence

import numpy as np

from ..emission import Emission
from ..graph import Info, Node, OnHost
from ..groups import Group
from ..symbolic import Dim
from ..tensors import Tensor
from . import checks
from . import epilogue as endings
from .conv import bias_of, emit_convolution
from .pointwise import emit_pointwise
from .registry import Operator, register
from .windows import Window

MAX_STRIDE = 32  # one convolution is emitted for each phase of the stride


def _transpose_sizes(node: Node) -> tuple[Window, list[int], list[Dim]]:
    """Window, begin pads and output sizes of a ConvTranspose, as two spatial axes."""
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
            raise OnHost("padding depends on the input's shape")
        half = total // 2
        pads[axis] = total - half if mode in ("SAME_LOWER", "NOTSET") else half
        pads[axis + rank] = total - pads[axis]
        sizes.append(size)
    if rank == 1:
        kernel, strides, dilations = [1, *kernel], [1, *strides], [1, *dilations]
        pads = [0, pads[0], 0, pads[1]]
        sizes = [1, *sizes]
    window = Window.__new__(Window)
    window.kernel, window.strides, window.dilations = kernel, strides, dilations
    window.pads = list(pads)
    return window, pads, sizes


def _infer_transpose(node: Node) -> list[Info]:
    x, w = node.required(0), node.required(1)
    if x.dtype != "float32" or not w.is_constant or x.rank not in (3, 4):
        raise OnHost("only float32 with constant weights and one or two spatial axes")
    window, pads, sizes = _transpose_sizes(node)
    if any(pad < 0 for pad in pads):
        raise OnHost("negative padding")
    if max(window.strides) > MAX_STRIDE:
        raise OnHost(f"a stride over {MAX_STRIDE}")
    channels = w.dims[1] * node.attribute("group", 1)
    return [node.result((x.dims[0], channels, *sizes[-(x.rank - 2) :]))]


def _lower_transpose(emit: Emission, node: Node, group: Group) -> None:
    """One convolution for each phase of the stride: it writes every stride-th output pixel.

    Output pixel o = i * stride - pad + k * dilation; for a fixed phase only the taps with
    k * dilation congruent to (phase + pad) modulo the stride take part.
    """
    weights = node.required(1).array()
    groups = node.attribute("group", 1)
    if weights.ndim == 3:
        weights = weights[:, :, None, :]
    window, pads, _ = _transpose_sizes(node)
    ending = endings.plan(emit, node, group.body, 1)
    x = emit.channels_last(emit.tensor(node.values[0]))
    message = f"node {node.name!r} (ConvTranspose): channels of {x.name!r} and of the weights"
    emit.check(x.shape[1], weights.shape[0], message)
    order = (0, *range(2, len(x.shape)), 1)
    if ending.rest or ending.residual is not None:
        # What the tile cannot do in registers becomes a step of its own.
        _lower_transpose(emit, node, Group([node], node))
        emit_pointwise(emit, Group(group.body))
        return
    y = emit.output(group.last, order=order)
    x4, y4 = _four(x), _four(y)
    own = node.input(2)
    joins = groups == 1 and _columns_apart(window, pads, x4, y4)
    joins = joins and (own is None or own.is_constant)
    bias = bias_of(emit, node, 2, ending, window.strides[1] if joins else 1)
    if joins:
        weights, y4, window = _join_columns(weights, y4, window)
    channels, per_group = weights.shape[0] // groups, weights.shape[1]
    for phase in itertools.product(range(window.strides[0]), range(window.strides[1])):
        taps = [
            [k for k in range(window.kernel[a])
             if (k * window.dilations[a] - phase[a] - pads[a]) % window.strides[a] == 0]
            for a in (0, 1)
        ]  # fmt: skip
        part, sizes, begins = _phase_view(y4, window, phase, taps, pads)
        shape = (channels, len(taps[0]), len(taps[1]))
        sub = weights[:, :, taps[0]][:, :, :, taps[1]][:, :, ::-1, ::-1] if all(taps) else None
        small = Window.__new__(Window)
        small.strides = [1, 1]
        steps = [_spacing(t, window, a) for a, t in enumerate(taps)]
        small.dilations = steps
        if sub is None:
            small.kernel, small.pads, small.dilations = [1, 1], [0, 0, 0, 0], [1, 1]
            sub = np.zeros((weights.shape[0], per_group, 1, 1), np.float32)
            begins = [0, 0]
        else:
            small.kernel = list(shape[1:])
        small.pads = [*begins, 1, 1]
        oihw = np.ascontiguousarray(
            sub.reshape(groups, channels, per_group, *sub.shape[2:]).transpose(0, 2, 1, 3, 4)
        ).reshape(groups * per_group, channels, *sub.shape[2:])
        exact = small.kernel == [1, 1] and begins == [0, 0] and _covers(x4, sizes)
        if exact:
            small.pads = [0, 0, 0, 0]
        source = _skip(x4, small)
        emit_convolution(emit, group, ending, small, source, part, None, bias, groups, oihw)


def _columns_apart(window: Window, pads: Sequence[int], x: Tensor, y: Tensor) -> bool:
    """Tell whether each input pixel makes columns of its own, which lie one after the other."""
    apart = window.kernel[1] == window.strides[1] > 1 and window.dilations[1] == 1
    fits = pads[1] == 0 and y.shape[3] == x.shape[3] * window.strides[1]
    return apart and fits and y.strides[3] == y.shape[1]


def _join_columns(
    weights: np.ndarray, y: Tensor, window: Window
) -> tuple[np.ndarray, Tensor, Window]:
    """See the columns that an input pixel makes as more channels of one pixel."""
    columns = window.strides[1]
    channels, per_column, rows, _ = weights.shape
    joined = weights.transpose(0, 3, 1, 2).reshape(channels, columns * per_column, rows, 1)
    n, c, h, w = y.shape
    s = y.strides
    wide = y.view((n, c * columns, h, w // columns), (s[0], 1, s[2], s[3] * columns))
    narrow = copy.copy(window)
    narrow.kernel, narrow.strides = [window.kernel[0], 1], [window.strides[0], 1]
    return joined, wide, narrow


def _skip(x: Tensor, window: Window) -> Tensor:
    """Leave out leading input pixels where the padding is negative."""
    shape = list(x.shape)
    offset: Dim = 0
    for axis in (0, 1):
        pad = int(window.pads[axis])  # type: ignore[arg-type]
        skipped = max(0, -pad)
        shape[2 + axis] = shape[2 + axis] - skipped
        offset = offset + skipped * x.strides[2 + axis]
        window.pads[axis] = max(0, pad)
    return x.view(shape, x.strides, offset)


def _covers(x: Tensor, sizes: Sequence[Dim]) -> bool:
    return tuple(x.shape[2:]) == tuple(sizes)


def _spacing(taps: Sequence[int], window: Window, axis: int) -> int:
    """Input pixels between neighbouring taps of a phase."""
    if len(taps) < 2:
        return 1
    return (taps[1] - taps[0]) * window.dilations[axis] // window.strides[axis]


def _phase_view(
    y: Tensor, window: Window, phase: Sequence[int], taps: Sequence[Sequence[int]],
    pads: Sequence[int],
) -> tuple[Tensor, list[Dim], list[int]]:  # fmt: skip
    """The output pixels of a phase, their counts, and the padding of the phase's convolution."""
    shape, strides = list(y.shape), list(y.strides)
    offset: Dim = 0
    begins = []
    for axis in (0, 1):
        stride = window.strides[axis]
        shape[2 + axis] = (y.shape[2 + axis] - phase[axis] + stride - 1) // stride
        offset = offset + phase[axis] * strides[2 + axis]
        strides[2 + axis] = strides[2 + axis] * stride
        last = max(taps[axis], default=0)
        # The first output of the phase meets tap ``last`` at this input pixel.
        begins.append(-((phase[axis] + pads[axis] - last * window.dilations[axis]) // stride))
    return y.view(shape, strides, offset), shape[2:], begins


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
