"""Packed weights of convolutions and products: panels of channels that the tile streams."""

from __future__ import annotations

import numpy as np

from ...kernels.cpu import packing
from ...kernels.cpu.pack import pack
from ..emission import Emission
from ..symbolic import Dim, product
from ..tensors import Tensor
from .convolution import Convolution
from .gates import scaled_weights


def packed_weights(emit: Emission, conv: Convolution, nv: int) -> tuple[Tensor, Dim]:
    """Pack weights in panels of ``nv`` vectors; a step does it where they are not constant.

    Returns
    -------
    (Tensor, Dim)
        The panels, and the elements from one image's to the next one's (0: shared).
    """
    weights, name = conv.weights, f"{conv.name}.weights"
    if isinstance(weights, Tensor):
        packed, size = _packed_at_run_time(emit, weights, nv, conv.lanes)
        is_shared = conv.groups > 1 or weights.shape[0] == 1
        return packed, 0 if is_shared else size
    if weights.ndim > 5:
        panels = np.stack([packing.pack_conv(own, conv.groups, nv) for own in weights])
        return emit.constant(panels, name), panels.shape[1]
    packed = emit.constant(packing.pack_conv(weights, conv.groups, nv), name)
    gate = conv.group.gate
    if gate is None:
        return packed, 0
    return scaled_weights(emit, gate, packed, weights.shape[1], weights.shape[0], nv)


def _packed_at_run_time(emit: Emission, weights: Tensor, nv: int, lanes: int) -> tuple[Tensor, Dim]:
    """Emit the packing of weights (sets, M, C, kd, kh, kw)."""
    sets, columns, channels, *taps = weights.shape
    s = weights.strides
    size = product([channels, *taps]) * _padded_columns(columns, nv, lanes)

    def make() -> Tensor:
        packed = emit.new((sets * size,), weights.dtype, name=weights.name)
        emit.step(
            pack(weights.itemsize),
            outputs=[packed],
            op_type="Pack",
            x=weights, y=packed, sets=sets, taps_d=taps[0], taps_h=taps[1], taps_w=taps[2],
            channels=channels, columns=columns, x_set=s[0], x_d=s[3], x_h=s[4], x_w=s[5],
            x_channel=s[2], x_column=s[1], nv=nv, y_set=size,
        )  # fmt: skip
        return packed

    return emit.once(weights, ("packed", nv), make), size


def _padded_columns(columns: Dim, nv: int, lanes: int) -> Dim:
    """Columns of packed weights, the last panel padded to whole vectors."""
    full = columns // (nv * lanes) * (nv * lanes)
    return full + (columns - full + lanes - 1) // lanes * lanes
