"""Products of float32 by AMX, as products of bfloat16 terms: where they pay, and their step.

The right operand of a matrix product may be computed: a step splits and packs it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...kernels.amx_permission import has_amx
from ...kernels.bfloat_terms import BLOCK, PRODUCTS
from ...kernels.cpu.term_conv import LONG_ROW, ROWS_BYTES, term_convolve, workspace_bytes
from ...kernels.cpu.term_pack import packed_bytes, term_pack
from ...kernels.cpu.term_packing import are_bfloat16, fits_terms, pack_terms
from ...kernels.cpu.term_rates import term_costs
from ...kernels.unit_rates import tile_bfloat16_speed
from ..emission import Emission
from ..graph import Node
from ..strides import channels_last_order
from ..symbolic import Dim, minimum, reaches
from ..tensors import Tensor, short_name
from .bfloats import MATRIX_PRODUCTS, PRODUCT_OPERATORS, is_asked, note_rounded
from .convolution import Convolution
from .epilogue import Epilogue
from .pad import emit_fill
from .small_tensors import SmallTensor
from .windows import Along, height_width, size_fields, stride_fields, window_fields
from .winograd import form_of

TILE_ROWS = 16
"""Rows of a tile, which takes as long for fewer."""
_TRIED_ROWS = tuple(8 << i for i in range(8))
"""Rows of which the first for which terms pay is looked for, where a run tells how many it has."""
MANY_ROWS = _TRIED_ROWS[-1]
_ROWS = 64
"""Stands for a size that is known only when the model runs."""
WIDENED_TERMS = 2
"""Terms of small weights that are widened, and of what they meet."""
_COLUMNS = 16
_RECURRENT = ("GRU", "LSTM", "RNN")
_KEYS_AND_VALUES = (1, 2)
_KEPT = ("Add", "Mul", "Reshape", "Transpose")
"""What may be between a product and the attention that its results are keys or values of."""
_ROWS_OF_PART = 256
"""Rows for which weights are read once: that takes as long as their products, or less."""


def may_take_terms(emit: Emission, terms: int) -> bool:
    """Tell whether products of so many terms are allowed, and faster than those of float32."""
    is_allowed = has_amx() and emit.options.get("precision") == "fp32"
    return is_allowed and tile_bfloat16_speed() > PRODUCTS[terms]


def may_widen(emit: Emission) -> bool:
    """Tell whether small weights may be multiplied as `WIDENED_TERMS`, faster than by vectors.

    For weights of few bits two terms are enough: what they leave of an operand, 2 ** -17, is far
    less than what rounding to so few bits took.
    """
    is_allowed = emit.options.get("precision") in ("fp32", "bf16x3")
    return is_allowed and has_amx() and tile_bfloat16_speed() > PRODUCTS[WIDENED_TERMS]


def may_split(emit: Emission, conv: Convolution) -> bool:
    """Tell whether a convolution of float32 may be computed by terms."""
    if emit.options.get("precision") == "strict" or conv.kind != "f32":
        return False
    if not has_amx() or tile_bfloat16_speed() == 0.0:
        return False
    weights = conv.weights
    if conv.group.gate is not None or conv.pad is not None or weights.shape[-3] != 1:
        return False
    if conv.is_volume or (isinstance(weights, np.ndarray) and not fits_terms(weights)):
        return False
    rows = conv.row_pixels
    return not isinstance(rows, int) or rows * tile_bfloat16_speed() > TILE_ROWS


def terms_of(emit: Emission, conv: Convolution) -> int:
    """Return the terms that numbers of float32 are split into.

    One, which rounds them, for ``precision="bf16"``, or where a note asks for it. Two, whose errors
    are those of Winograd's form, where that would be taken else, for matrix products of constant
    weights behind others (those with inputs of recurrent layers, too) or of keys and values, and
    wherever ``precision="bf16x3"`` allows them. Three, as exact as float32, for all others. Errors
    of convolutions add up from layer to layer (1.3e-4 of the largest value in yolo, if all had two
    terms, 5e-5 with three in those of one pixel), those of transformers are normalized away.
    First products read signals, coordinates and columns of tables, whose small differences may
    count. Weights that bfloat16 holds may be whole numbers and masks, there to add and to choose
    exactly.
    """
    precision = emit.options.get("precision")
    if precision == "bf16":
        return 1
    if isinstance(conv.weights, Tensor):
        return 2 if precision == "bf16x3" else 3
    head = conv.group.head
    if head is not None and head.op_type in PRODUCT_OPERATORS and is_asked(emit, head):
        return 1
    if are_bfloat16(conv.filters):
        return 3
    if precision == "bf16x3" or form_of(emit, conv) is not None:
        return 2
    if head is None or head.op_type not in (*MATRIX_PRODUCTS, *_RECURRENT):
        return 3
    return 2 if follows_product(head) or _is_attended(head) else 3


def _is_attended(node: Node) -> bool:
    """Tell whether a node gives keys or values of an attention, as of what an encoder has made.

    A softmax normalizes what they take part in.
    """
    seen, values = set(), list(node.ir.outputs)
    while values:
        for reader, index in values.pop().uses():
            if reader.op_type == "Attention" and index in _KEYS_AND_VALUES:
                return True
            if reader.op_type in _KEPT and reader not in seen:
                seen.add(reader)
                values += reader.outputs
    return False


def follows_product(node: Node) -> bool:
    """Tell whether a node reads what products made, not inputs of the model."""
    seen, makers = set(), [node.ir]
    while makers:
        for value in makers.pop().inputs:
            maker = None if value is None else value.producer()
            if maker is None or maker in seen:
                continue
            if maker.op_type in (*PRODUCT_OPERATORS, *_RECURRENT):
                return True
            seen.add(maker)
            makers.append(maker)
    return False


def pays(conv: Convolution, terms: int, gain: float = 1.0, rows: int = 0) -> bool:
    """Tell whether ``terms`` cost less than float32 by vectors.

    Parameters
    ----------
    conv : Convolution
    terms : int
    gain : float
        How many times as fast as the direct convolution the form by vectors is.
    rows : int
        Pixels of a product's only row, where a run tells how many.
    """
    costs = term_costs(terms)
    height, columns = (_known(size) for size in height_width(conv.y.shape))
    height, columns = (1, rows) if rows > 0 else (height, columns)
    pixels = _known(conv.y.shape[0]) * height * columns
    out_channels, channels = _known(conv.out_channels), _known(conv.channels)
    taps, groups, (stride, across) = conv.window.taps, conv.groups, conv.window.strides
    if folds_columns(conv):
        taps, channels, across = conv.window.rows.taps, channels * conv.window.columns.taps, 1
    products = 2.0 * pixels * taps * channels * out_channels * groups
    waste = _padded(channels, BLOCK) * _padded(out_channels, _COLUMNS) * _padded(columns, 4)
    inputs = pixels * channels * groups * _padded(channels, BLOCK)
    if taps > 1:
        inputs *= stride * across
    numbers = taps * channels * out_channels * groups
    if isinstance(conv.weights, Tensor):
        inputs += numbers * _known(conv.weights.shape[0])
    own = products / 2 * waste * PRODUCTS[terms] * costs.product
    own += inputs * terms * costs.split + pixels * out_channels * groups * costs.result
    # Each chunk of rows reads the weights.
    parts = _count_parts(conv, terms, rows)
    own += (parts - 1) * pixels * out_channels * costs.result
    pixel_bytes = 2 * terms * channels * groups // parts
    chunks = -(-pixels // max(ROWS_BYTES // pixel_bytes // LONG_ROW * LONG_ROW, LONG_ROW))
    by_vectors = products / max(gain, 1.0)
    if isinstance(conv.weights, SmallTensor):
        # Both are in cache when they are multiplied, and vectors widen them, too.
        return own < by_vectors + numbers * costs.split
    own += numbers * 2 * terms * costs.fetch * (chunks if numbers * 2 * terms > ROWS_BYTES else 1)
    return own < max(by_vectors, numbers * 4 * costs.fetch)


def has_many_rows(conv: Convolution, terms: int) -> Dim:
    """Return 1 where the rows of a run are so many that terms pay, else 0."""
    return reaches(conv.row_pixels, least_rows(conv, terms))


def least_rows(conv: Convolution, terms: int) -> int:
    """Return the rows of a product from which on terms pay."""
    return next((rows for rows in _TRIED_ROWS if pays(conv, terms, rows=rows)), _TRIED_ROWS[-1])


def _known(size: Dim) -> int:
    return size if isinstance(size, int) else _ROWS


def _padded(size: int, unit: int) -> float:
    """Padded size over size."""
    return -(-size // unit) * unit / size


def folds_columns(conv: Convolution) -> bool:
    """Tell whether the columns of a window become channels: where these are few.

    A row of the tile then has the channels of all columns, where it would be nearly empty.
    """
    window, weights = conv.window, conv.weights
    if (
        not isinstance(weights, np.ndarray)
        or conv.groups != 1
        or len(conv.x.shape) != 4
        or weights.ndim != 5
        or window.rows.taps == 1
    ):
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
    if terms == 1:
        note_rounded(emit, conv)
    if folds_columns(conv):
        conv = _with_columns_folded(emit, conv)
    for part in _parts(emit, conv, terms):
        _emit_part(emit, part, terms)


def _count_parts(conv: Convolution, terms: int, rows: int = 0) -> int:
    """Return the parts that sums are done in, so that the second-level cache holds split rows.

    Where it holds the weights, too, a few rows at a time are as good; ``rows`` as for `pays`.
    """
    is_pixel = conv.window.taps == 1 and not conv.window.is_padded
    if not is_pixel or conv.groups > 1 or conv.has_halves or conv.is_volume:
        return 1
    channels, out_channels = _known(conv.channels), _known(conv.out_channels)
    if channels * out_channels * 2 * terms <= ROWS_BYTES:
        return 1
    if rows == 0:
        rows = conv.row_pixels if isinstance(conv.row_pixels, int) else _ROWS_OF_PART
    return -(-min(rows, _ROWS_OF_PART) * channels * 2 * terms // ROWS_BYTES)


def _parts(emit: Emission, conv: Convolution, terms: int) -> Iterator[Convolution]:
    """Yield convolutions of some channels each, of which one adds to the sums of that before."""
    count, channels = _count_parts(conv, terms), conv.channels
    if count == 1 or not isinstance(channels, int):
        yield conv
        return
    size = -(-channels // (count * BLOCK)) * BLOCK
    residual, order = conv.residual, channels_last_order(len(conv.y.shape))
    for first in range(0, channels, size):
        width, is_last = min(size, channels - first), first + size >= channels
        sums = conv.y if is_last else emit.new(conv.y.shape, "float32", order, conv.y.name)
        yield dataclasses.replace(
            conv,
            x=part_of(conv.x, 1, first, width),
            y=sums,
            output=conv.output if is_last else sums,
            weights=part_of(conv.weights, len(conv.weights.shape) - 4, first, width),
            bias=conv.bias if is_last else None,
            residual=residual,
            epilogue=conv.epilogue if is_last else Epilogue(),
        )
        residual = sums


def part_of(values: Any, axis: int, first: int, width: int) -> Any:
    """Return a part of an axis of an array or a tensor."""
    if isinstance(values, np.ndarray):
        return values.take(range(first, first + width), axis)
    shape = (*values.shape[:axis], width, *values.shape[axis + 1 :])
    return values.view(shape, values.strides, first * values.strides[axis])


def _emit_part(emit: Emission, conv: Convolution, terms: int) -> None:
    weights, w_image = _packed(emit, conv, terms)
    window, channels = conv.window, conv.channels
    is_pixel = window.is_one_pixel or (window.taps == 1 and not window.is_padded)
    width = conv.row_pixels if is_pixel else conv.padded_width
    space = workspace_bytes(terms, width, channels, window.rows.reach, window.columns.stride)
    images = (conv.x, conv.y, conv.residual)
    kinds = ["f32" if image is None else short_name(image.dtype) for image in images]
    emit.step(
        term_convolve(terms, *(kinds if conv.has_halves else ())),
        outputs=conv.outputs,
        flops=conv.flops,
        over=_over(conv),
        x=conv.x, y=conv.y, residual=conv.residual, bias=conv.bias,
        w=weights, w_image=w_image, channels=channels, out_channels=conv.out_channels,
        groups=conv.groups, may_flatten=int(conv.epilogue.may_flatten),
        workspace=emit.workspace(space), workspace_bytes=space,
        **size_fields(conv.x, conv.y), **stride_fields("x", conv.x), **stride_fields("y", conv.y),
        **stride_fields("r", conv.residual), **window_fields(window), **conv.epilogue.fields(),
    )  # fmt: skip


def _over(conv: Convolution) -> list[Tensor]:
    """Return the residual, which results may overwrite: their sums are added to it once.

    Not where the step reads it for anything else, too.
    """
    if conv.residual is None:
        return []
    record = conv.epilogue.record
    others = [conv.x, *(() if record is None else record.fields)]
    buffers = [each.buffer for each in others if isinstance(each, Tensor)]
    return [] if conv.residual.buffer in buffers else [conv.residual]


def _packed(emit: Emission, conv: Convolution, terms: int) -> tuple[Tensor, Dim]:
    """Return weights as terms, and the bytes from those of an image to the next one's (0: shared).

    A step packs those that are computed.
    """
    weights, name = conv.weights, f"{conv.name}.weights"
    if isinstance(weights, np.ndarray):
        each = weights if weights.ndim > 5 else weights[None]
        panels = np.stack([pack_terms(own[:, :, 0], conv.groups, terms) for own in each])
        return emit.constant(panels, name), panels[0].nbytes if weights.ndim > 5 else 0
    sets, columns, rows = weights.shape[:3]
    size = packed_bytes(terms, rows, columns)

    if isinstance(weights, SmallTensor):
        return weights.packed(emit, terms), 0

    def make() -> Tensor:
        packed = emit.new((sets * size,), "uint8", name=name)
        x_set, x_column, x_row = weights.strides[:3]
        emit.step(
            term_pack(terms), outputs=[packed], op_type="Pack", x=weights, y=packed, sets=sets,
            rows=rows, columns=columns, x_set=x_set, x_row=x_row, x_column=x_column, y_set=size,
        )  # fmt: skip
        return packed

    return emit.once(weights, ("terms", terms), make), 0 if sets == 1 else size
