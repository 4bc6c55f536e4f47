"""Products of float32 by AMX, as products of bfloat16 terms: where they pay, and their step."""

from __future__ import annotations

import dataclasses

import numpy as np

from ...kernels.amx_permission import has_amx
from ...kernels.bfloat_terms import BLOCK, PRODUCTS
from ...kernels.cpu.term_conv import term_convolve, workspace_bytes
from ...kernels.cpu.term_packing import are_bfloat16, fits_terms, pack_terms
from ...kernels.unit_rates import tile_bfloat16_speed
from ..emission import Emission
from ..strides import channels_last_order
from ..symbolic import Dim, maximum, minimum
from ..tensors import short_name
from .convolution import Convolution
from .pad import emit_fill
from .windows import Along, height_width, size_fields, stride_fields, window_fields
from .winograd import form_of

_FEW_ROWS = 4
"""Rows for which vectors read weights as fast as memory has them."""
_MANY_ROWS = 32
"""Rows from which terms pay whatever the weights are, where a run tells how many there are."""
_ROWS = 64
"""Stands for a size that is known only when the model runs."""
# Measured on Intel Emerald Rapids: the part of its rate that the unit reaches, and, in float32
# operations of vectors, splitting a number into a term, and a byte of weights from L3 or memory.
_REACHED, _SPLIT, _FETCH = 0.6, 20.0, 10.0
_OF_GAIN = 0.75
"""Part of what Winograd's form gains by its own costs that it gains there."""
_COLUMNS = 16


def may_take_terms(emit: Emission, terms: int) -> bool:
    """Tell whether products of so many terms are allowed, and faster than those of float32."""
    is_allowed = has_amx() and emit.options.get("precision") == "fp32"
    return is_allowed and tile_bfloat16_speed() > PRODUCTS[terms]


def may_split(emit: Emission, conv: Convolution) -> bool:
    """Tell whether a convolution of float32 may be computed by terms."""
    if emit.options.get("precision") == "strict" or conv.kind != "f32":
        return False
    if not has_amx() or tile_bfloat16_speed() == 0.0:
        return False
    weights = conv.weights
    if not isinstance(weights, np.ndarray) or conv.group.gate is not None or conv.pad is not None:
        return False
    if conv.is_volume or weights.shape[-3] != 1 or not fits_terms(weights):
        return False
    return not isinstance(conv.row_pixels, int) or conv.row_pixels > _FEW_ROWS


def terms_of(emit: Emission, conv: Convolution) -> int:
    """Return the terms that numbers of float32 are split into.

    One, which rounds them, for ``precision="bf16"``. Two, whose errors are those of Winograd's
    form, where that would be taken else, and wherever ``precision="bf16x3"`` allows them. Three,
    as exact as float32, for all others. These are weights that bfloat16 holds, too: whole numbers
    and masks may be there to add and to choose exactly.
    """
    precision = emit.options.get("precision")
    if precision == "bf16":
        return 1
    is_allowed = precision == "bf16x3" or form_of(emit, conv) is not None
    return 2 if is_allowed and not are_bfloat16(conv.filters) else 3


def pays(conv: Convolution, terms: int, gain: float = 1.0) -> bool:
    """Tell whether ``terms`` cost less than float32 by vectors.

    Parameters
    ----------
    conv : Convolution
    terms : int
    gain : float
        How many times as fast as the direct convolution the form by vectors is.
    """
    rows, columns = (_known(size) for size in height_width(conv.y.shape))
    pixels = _known(conv.y.shape[0]) * rows * columns
    out_channels, channels = conv.filters.shape[-5] // conv.groups, conv.filters.shape[-4]
    taps, groups, (stride, across) = conv.window.taps, conv.groups, conv.window.strides
    if folds_columns(conv):
        taps, channels, across = conv.window.rows.taps, channels * conv.window.columns.taps, 1
    products = 2.0 * pixels * taps * channels * out_channels * groups
    waste = _padded(channels, BLOCK) * _padded(out_channels, _COLUMNS) * _padded(columns, 4)
    inputs = pixels * channels * groups
    if taps > 1:
        inputs *= stride * across
    numbers = taps * channels * out_channels * groups
    own = products * waste * PRODUCTS[terms] / (tile_bfloat16_speed() * _REACHED)
    own = max(own, numbers * 2 * terms * _FETCH) + inputs * terms * _SPLIT
    by_vectors = products / max(gain * _OF_GAIN, 1.0)
    return own < max(by_vectors, numbers * 4 * _FETCH)


def has_many_rows(conv: Convolution) -> Dim:
    """Return 1 where the rows of a run are so many that terms pay, else 0."""
    return minimum(maximum(conv.row_pixels - (_MANY_ROWS - 1), 0), 1)


def _known(size: Dim) -> int:
    return size if isinstance(size, int) else _ROWS


def _padded(size: int, unit: int) -> float:
    """Padded size over size."""
    return -(-size // unit) * unit / size


def folds_columns(conv: Convolution) -> bool:
    """Tell whether the columns of a window become channels: where these are few.

    A row of the tile then has the channels of all columns, where it would be nearly empty.
    """
    window, weights = conv.window, conv.filters
    if conv.groups != 1 or len(conv.x.shape) != 4 or weights.ndim != 5 or window.rows.taps == 1:
        return False
    together, columns = weights.shape[-4] * window.columns.taps, window.columns
    return columns.dilation == 1 and 2 * -(-together // BLOCK) <= columns.taps


def _with_columns_folded(emit: Emission, conv: Convolution) -> Convolution:
    """Return the convolution with the columns of its window as channels.

    They lie side by side in rows that are padded in memory, where windows overlap.
    """
    columns, weights = conv.window.columns, conv.filters
    images, channels, height, width = conv.x.shape
    whole, order = conv.padded_width, channels_last_order(4)
    padded = emit.new((images, channels, height, whole), conv.x.dtype, order, conv.x.name)
    image, _, row, pixel = padded.strides
    used = minimum(width, whole - columns.before)
    end = columns.before + used
    for first, count in ((0, columns.before), (end, whole - end)):
        edge = padded.view((images, channels, height, count), padded.strides, first * pixel)
        if count != 0:
            emit_fill(emit, edge, emit.constant(np.zeros(1, conv.x.dtype)))
    inside = (images, channels, height, used)
    source = conv.x.view(inside, conv.x.strides)
    emit.copy(source, padded.view(inside, padded.strides, columns.before * pixel), "Pad")
    shape = (images, channels * columns.taps, height, conv.y.shape[3])
    by_tap = weights.transpose(0, 4, 1, 2, 3)
    return dataclasses.replace(
        conv,
        x=padded.view(shape, (image, 1, row, columns.stride * pixel)),
        weights=by_tap.reshape(len(weights), -1, *by_tap.shape[3:], 1),
        window=conv.window._replace(columns=Along()),
    )


def emit_terms(emit: Emission, conv: Convolution, terms: int) -> None:
    """Emit a convolution by products of terms."""
    if folds_columns(conv):
        conv = _with_columns_folded(emit, conv)
    weights = conv.filters
    if weights.ndim > 5:
        panels = np.stack([pack_terms(own[:, :, 0], conv.groups, terms) for own in weights])
    else:
        panels = pack_terms(weights[:, :, 0], conv.groups, terms)
    window, channels = conv.window, conv.channels
    assert isinstance(channels, int)
    is_pixel = window.is_one_pixel or (window.taps == 1 and not window.is_padded)
    width = conv.row_pixels if is_pixel else conv.padded_width
    space = workspace_bytes(terms, width, channels, window.rows.reach, window.columns.stride)
    images = (conv.x, conv.y, conv.residual)
    kinds = ["f32" if image is None else short_name(image.dtype) for image in images]
    emit.step(
        term_convolve(terms, *(kinds if conv.has_halves else ())),
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
