"""Images that lie as bfloat16, of convolutions and products by vectors.

Two channels of a pixel are a word that products of bfloat16 take as it lies. Sums are float32 and
become bfloat16 where they are stored.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from ...kernels.amx_permission import has_amx
from ...kernels.cpu.bfloats import bfloat_planes
from ...kernels.machine_costs import machine_costs
from ...kernels.target import LANES, target
from ...kernels.unit_rates import vector_bfloat16_speed
from ..emission import Emission
from ..graph import Node
from ..groups import Group
from ..strides import channels_last_order
from ..symbolic import product
from ..tensors import Tensor
from .bfloats import is_asked
from .convolution import Convolution
from .quads import has_few_planes

_PIXEL = 4
"""Channels of pixels that are made of planes."""
_PANEL_BYTES = target().l2 * 3 // 4
"""Most bytes of a panel of weights that are multiplied at a time, for sums that have no memory: the
near cache holds them beside the image."""
_VECTORS = 4
"""Vectors of a panel."""


def vectors_take(conv: Convolution) -> bool:
    """Tell whether vectors multiply images that lie as bfloat16, or write such."""
    weights = conv.weights
    if has_amx() or conv.kind != "f32" or not isinstance(weights, np.ndarray) or conv.is_volume:
        return False
    if conv.group.gate is not None or conv.pad is not None or conv.is_depthwise:
        return False
    words = weights.shape[-4] * conv.window.taps
    return bool(words * LANES * _VECTORS * 4 // 2 <= _PANEL_BYTES)


def in_halves(emit: Emission, conv: Convolution) -> Convolution:
    """Return the convolution with a residual of the type of its result."""
    y, residual, epilogue = conv.y, conv.residual, conv.epilogue
    if residual is not None:
        residual = emit.as_type(residual, y.dtype)
    epilogue = dataclasses.replace(epilogue, halves=y.dtype == "bfloat16")
    return dataclasses.replace(conv, residual=residual, epilogue=epilogue)


def takes_planes(emit: Emission, node: Node, group: Group, x: Tensor) -> bool:
    """Tell whether a Conv reads pixels of bfloat16 that are made of two to four planes.

    A pixel of four has half as many words as of float32, one of three two thirds.
    """
    if has_amx() or group.gate is not None or not is_asked(emit, node):
        return False
    weights, is_image = node.required(1), len(x.shape) == 4 and x.dtype == "float32"
    if not is_image or not weights.is_constant or node.attribute("group", 1) != 1:
        return False
    if not has_few_planes(x) or x.shape[1] == 1:
        return False
    return _pay(weights.array(), math.prod(node.attribute("strides", [1, 1])))


def _pay(weights: np.ndarray, images: int) -> bool:
    """Tell whether products of pixels gain more than it costs to make the pixels.

    There are ``images`` of these for each of the result.
    """
    channels, speed = weights.shape[1], vector_bfloat16_speed()
    by_floats = weights.size / LANES
    made = images * (4 * channels + 2 * _PIXEL)  # bytes that are read and written
    by_halves = by_floats * _PIXEL / channels + made * machine_costs().streams.near * speed
    return by_halves < by_floats * speed


def pixels_of_planes(emit: Emission, x: Tensor) -> Tensor:
    """Return images of a few planes as pixels of bfloat16, of which some channels may be zeros."""

    def make() -> Tensor:
        order, pixels = channels_last_order(4), product(x.shape[2:])
        y = emit.new((x.shape[0], _PIXEL, *x.shape[2:]), "bfloat16", order, x.name)
        emit.step(
            bfloat_planes, outputs=[y], op_type="Bfloats", x=x, y=y, images=x.shape[0],
            channels=x.shape[1], pixels=pixels, x_image=x.strides[0], x_plane=x.strides[1],
        )  # fmt: skip
        return y

    return emit.once(x, "bfloat16 pixels", make)


def filters_of_pixels(weights: np.ndarray) -> np.ndarray:
    """Return weights (M, C, ...) with zeros for the channels that pixels have besides."""
    more = [(0, 0)] * weights.ndim
    more[1] = 0, _PIXEL - weights.shape[1]
    return np.pad(weights, more)
