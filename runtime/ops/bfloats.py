"""Products of bfloat16: operands rounded, sums and results float32.

``precision="bf16"`` asks for them, or a note of a node. Rows of float32 become pairs in a step of
their own, which all that read them share.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from ...kernels.cpu.bfloats import bfloat_pairs, bfloat_rows
from ...kernels.machine_costs import machine_costs
from ...kernels.target import LANES
from ...kernels.unit_rates import BFLOATS_WORTH, bfloat16_speed
from ...notes import PRECISION_NOTE
from ..emission import Emission
from ..graph import Node
from ..strides import channels_last_order, contiguous_strides
from ..symbolic import Dim, product
from ..tensors import Tensor
from .convolution import Convolution
from .integers import halved
from .quads import channel_words

MATRIX_PRODUCTS = ("Gemm", "MatMul")
PRODUCT_OPERATORS = ("Conv", "ConvTranspose", *MATRIX_PRODUCTS)
_LEAST_SPEED = 2.0
"""Speed that products are taken for where a session asks for them without a unit that is faster: a
word has two numbers."""


def may_round(emit: Emission, conv: Convolution) -> bool:
    """Tell whether a convolution or product may take bfloat16, and is large enough to gain."""
    head, weights = conv.group.head, conv.weights
    if head is None or head.op_type not in PRODUCT_OPERATORS or conv.group.gate is not None:
        return False
    if conv.kind != "f32" or not is_asked(emit, head):
        return False
    if not isinstance(weights, np.ndarray):
        return False
    if conv.x.dtype == "bfloat16" and weights.shape[-4] % 2 == 0:
        return True  # it is rounded already
    return _gains(conv, weights)


def _gains(conv: Convolution, weights: np.ndarray) -> bool:
    """Tell whether products of the channels of a pixel save more than it costs to round these.

    Beside its vectors a pixel takes as long as one more, for the loop over them, and another where
    the last one is not full.
    """
    filters, channels = weights.shape[-5] // conv.groups, weights.shape[-4]
    uses = -(-filters // LANES) * conv.window.taps / math.prod(conv.window.strides)
    costs, speed = machine_costs(), max(bfloat16_speed(), _LEAST_SPEED)
    saved = channels * uses * (1 - 1 / speed)
    numbers = math.prod(size for size in conv.x.shape if isinstance(size, int))
    moved = 6 * channels * costs.streams.of(6 * numbers)
    vectors = -(-channels // LANES) + 1 + (channels % LANES > 0)
    return saved > vectors * costs.vectors.rounded + moved


def is_asked(emit: Emission, head: Node) -> bool:
    """Tell whether the session asks for bfloat16, or its model at this node, where that pays."""
    precision = emit.options.get("precision")
    if precision != "fp32" or head.ir.metadata_props.get(PRECISION_NOTE) != "bf16":
        return precision == "bf16"
    return bfloat16_speed() >= BFLOATS_WORTH


def note_rounded(emit: Emission, conv: Convolution) -> None:
    """Say that products of bfloat16 compute a node: profiles do, and searches for mixes ask."""
    if conv.group.head is not None:
        emit.rounded.add(conv.group.head.name)


def rounded(emit: Emission, conv: Convolution) -> Convolution:
    """Return a convolution of pairs of bfloat16; `may_round` has told that it may be one."""
    note_rounded(emit, conv)
    x = _pixel_pairs(emit, conv.x, conv.groups, conv.channels)
    return dataclasses.replace(conv, kind="bf16", x=x, weights=bfloat_pairs(conv.filters, -4))


def _pixel_pairs(emit: Emission, x: Tensor, groups: int, channels: Dim) -> Tensor:
    """Return pairs of the channels of each pixel of a channels-last image, by group."""
    if x.dtype == "bfloat16":
        words = channel_words(x) if groups == 1 or channels % 2 == 0 else None
        if words is not None:
            return words
        x = emit.as_type(x, "float32")
    return emit.once(x, ("bfloats", groups), lambda: _make_pairs(emit, x, groups, channels))


def _make_pairs(emit: Emission, x: Tensor, groups: int, channels: Dim) -> Tensor:
    order, spatial = channels_last_order(len(x.shape)), x.shape[2:]
    if not _has_even_rows(x):
        x = emit.ordered(x, order)
    shape = (x.shape[0], groups * halved(channels), *spatial)
    words = emit.new(shape, "int32", order, x.name)
    emit.step(
        bfloat_rows, outputs=[words], op_type="Bfloats", x=x, y=words, images=x.shape[0],
        rows=product(spatial), groups=groups, channels=channels, x_image=x.strides[0],
        x_row=x.strides[-1],
    )  # fmt: skip
    return words


def _has_even_rows(x: Tensor) -> bool:
    """Tell whether the pixels of an image have one distance."""
    spatial, pixel = x.shape[2:], x.strides[-1]
    return list(x.strides[2:]) == [pixel * step for step in contiguous_strides(spatial)]
