"""Direct form of a convolution: the tile reads the input as it lies, or padded rows of it."""

from __future__ import annotations

import dataclasses

from ...kernels.cpu.conv import convolve, workspace_bytes
from ..emission import Emission
from ..symbolic import Dim
from ..tensors import Tensor
from .convolution import Convolution
from .panels import packed_weights
from .tiles import tiles_for
from .windows import depth_fields, size_fields, stride_fields, window_fields


def emit_direct(emit: Emission, conv: Convolution, tile: tuple[int, int] | None = None) -> None:
    """Emit a convolution by a tile of so many rows and vectors; the cheapest when not given."""
    if conv.kind == "f32":
        conv = dataclasses.replace(conv, x=emit.as_type(conv.x, "float32"))
    # A part of its rows may be done at a time when it is joined with others.
    tiles = tiles_for(conv, tile, all_rows=conv.is_flat and emit.is_catching)
    weights, w_image = packed_weights(emit, conv, tiles["nv"])
    space = _workspace_bytes(conv, weights)
    emit.step(
        convolve,
        outputs=conv.outputs,
        flops=conv.flops,
        x=conv.x, y=conv.y, residual=conv.residual, bias=conv.bias, w=weights, w_image=w_image,
        channels=conv.channels, out_channels=conv.out_channels, groups=conv.groups,
        padded=int(conv.window.is_padded), pad=conv.pad, may_flatten=int(conv.epilogue.may_flatten),
        itemsize=conv.itemsize, workspace=emit.workspace(space) if space != 0 else None,
        workspace_bytes=space,
        **size_fields(conv.x, conv.y), **stride_fields("x", conv.x), **stride_fields("y", conv.y),
        **stride_fields("r", conv.residual), **window_fields(conv.window), **tiles,
        **depth_fields(conv.window, conv.x, conv.y, conv.residual), **conv.epilogue.fields(),
        **conv.epilogue.scaled_fields(),
    )  # fmt: skip


def _workspace_bytes(conv: Convolution, panels: Tensor) -> Dim:
    """Bytes of workspace for each thread; 0 where rows of the input need not be copied."""
    window = conv.window
    if not window.is_padded and (conv.groups == 1 or window.columns.taps == 1):
        return 0
    panel_bytes = panels.nbytes
    # Of weights whose number is unknown there may be many.
    known = panel_bytes // conv.groups if isinstance(panel_bytes, int) else 2**40
    return workspace_bytes(
        conv.padded_width,
        conv.channels,
        conv.itemsize,
        window.rows.reach,
        window.depth.taps,
        known,
    )
