"""Products of float32 by AMX, as products of bfloat16 terms: where they may be taken, and pay."""

from __future__ import annotations

import numpy as np

from ...kernels.amx_permission import has_amx
from ...kernels.bfloat_terms import PRODUCTS
from ...kernels.cpu.term_conv import term_convolve, workspace_bytes
from ...kernels.cpu.term_packing import fits_terms, pack_terms
from ...kernels.unit_rates import bfloat16_speed
from ..emission import Emission
from .convolution import Convolution
from .windows import size_fields, stride_fields, window_fields

_FEW_ROWS = 4


def may_take_terms(emit: Emission, terms: int) -> bool:
    """Tell whether products of so many terms are allowed, and faster than those of float32."""
    is_allowed = has_amx() and emit.options.get("precision") == "fp32"
    return is_allowed and bfloat16_speed() > PRODUCTS[terms]


def terms_for(emit: Emission, conv: Convolution) -> int | None:
    """Return the terms of float32 that a convolution is computed by, or None: by vectors."""
    if not has_amx() or emit.options.get("precision") != "fp32" or conv.kind != "f32":
        return None
    weights = conv.weights
    if not isinstance(weights, np.ndarray) or conv.group.gate is not None or conv.pad is not None:
        return None
    if conv.is_volume or weights.shape[-3] != 1 or not fits_terms(weights):
        return None
    if weights.shape[-4] < 16 or weights.shape[-5] // conv.groups < 16:
        return None
    pixels = conv.row_pixels
    if isinstance(pixels, int) and pixels <= _FEW_ROWS:
        return None
    return 2


def emit_terms(emit: Emission, conv: Convolution, terms: int) -> None:
    """Emit a convolution by products of terms."""
    weights = conv.filters
    if weights.ndim > 5:
        panels = np.stack([pack_terms(own[:, :, 0], conv.groups, terms) for own in weights])
    else:
        panels = pack_terms(weights[:, :, 0], conv.groups, terms)
    window = conv.window
    one_pixel = window.rows.taps * window.columns.taps == 1 and not window.is_padded
    width = conv.row_pixels if one_pixel else conv.padded_width
    space = workspace_bytes(
        terms, width, int(conv.channels), window.rows.reach, window.columns.stride
    )
    emit.step(
        term_convolve(terms),
        outputs=conv.outputs,
        flops=conv.flops,
        x=conv.x, y=conv.y, residual=conv.residual, bias=conv.bias,
        w=emit.constant(panels, f"{conv.name}.weights"),
        w_image=panels[0].nbytes if weights.ndim > 5 else 0,
        channels=conv.channels, out_channels=conv.out_channels, groups=conv.groups,
        may_flatten=int(conv.epilogue.may_flatten), workspace=emit.workspace(space),
        workspace_bytes=space,
        **size_fields(conv.x, conv.y), **stride_fields("x", conv.x), **stride_fields("y", conv.y),
        **stride_fields("r", conv.residual), **window_fields(window), **conv.epilogue.fields(),
    )  # fmt: skip
