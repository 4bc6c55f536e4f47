"""Packed weights of convolutions and products: panels of channels that the tile streams."""

from __future__ import annotations

import numpy as np

from ...kernels.cpu import packing
from ...kernels.cpu.pack import pack
from ..emission import Emission
from ..symbolic import Dim
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
        return _packed_at_run_time(emit, weights, nv, conv.lanes)
    if weights.ndim > 4:
        panels = np.stack([packing.pack_conv(own, conv.groups, nv) for own in weights])
        return emit.constant(panels, name), panels.shape[1]
    packed = emit.constant(packing.pack_conv(weights, conv.groups, nv), name)
    gate = conv.group.gate
    if gate is None:
        return packed, 0
    return scaled_weights(emit, gate, packed, weights.shape[1], weights.shape[0], nv)


def _packed_at_run_time(emit: Emission, weights: Tensor, nv: int, lanes: int) -> tuple[Tensor, Dim]:
    """Emit the packing of weights (images, M, C, 1, 1), or of shared ones (M, C, 1, 1)."""
    is_shared = len(weights.shape) == 4
    columns, depth, *_ = weights.shape[-4:]
    column_stride, row_stride, *_ = weights.strides[-4:]
    images = 1 if is_shared else weights.shape[0]
    size = depth * _padded_columns(columns, nv, lanes)

    def make() -> Tensor:
        packed = emit.new((images * size,), weights.dtype, name=weights.name)
        emit.step(
            pack(weights.itemsize),
            outputs=[packed],
            op_type="Pack",
            x=weights, y=packed, images=images, depth=depth, columns=columns,
            x_image=0 if is_shared else weights.strides[0], x_row=row_stride,
            x_column=column_stride, nv=nv, y_image=size,
        )  # fmt: skip
        return packed

    return emit.once(weights, ("packed", nv), make), 0 if is_shared else size


def _padded_columns(columns: Dim, nv: int, lanes: int) -> Dim:
    """Columns of packed weights, the last panel padded to whole vectors."""
    full = columns // (nv * lanes) * (nv * lanes)
    return full + (columns - full + lanes - 1) // lanes * lanes
