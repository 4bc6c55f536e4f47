"""Strips of rows, over which successive convolutions run: what lies between stays in cache.

Each *stage* is a kernel with the record it has when it runs alone. For a strip of the last
stage's rows, the stages before compute the rows that it needs; rows that the strip before needed,
too, are kept. The rows between two stages lie in a workspace of the thread.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from numba import njit

from ..fields import positions
from ..registry import Pointer, kernel
from ..simd import call_kernel, load_i64, stack_words, store_i64
from ..target import L2_BYTES
from .panel import EPILOGUE_WORDS
from .rows import copy_floats

MAX_STAGES = 3
RECORD_WORDS = 96
"""Room for the record of a stage."""
# Rows between stages that are held at a time, in bytes.
STRIP_BYTES = L2_BYTES

StageFields = namedtuple(
    "StageFields",
    "x y images height out_height pad_top x_image x_row y_image y_row kernel_h stride_h dilation_h "
    "residual r_image r_row workspace workspace_bytes epilogue epilogue_record epilogue_operands",
)
"""Fields of a stage's record that a strip changes or reads."""
FIELD = positions(StageFields)
# Words of a stage: its kernel, its record, the number of its words, and positions of the fields.
KERNEL, RECORD, COUNT, FIRST_FIELD = range(4)
STAGE_WORDS = FIRST_FIELD + len(FIELD)
# Words of the state of a stage's rows: where they lie, which are there, which to compute.
BUFFER, HAVE_FIRST, HAVE_LAST, FIRST, LAST = range(5)
ROW_WORDS = 5


@njit
def _get(stage: Pointer, field: int) -> Any:
    """Value of a field in a stage's record; 0 where its kernel has no such field."""
    at = load_i64(stage, FIRST_FIELD + field)
    return load_i64(load_i64(stage, RECORD), at) if at >= 0 else 0


@njit
def _set(stage: Pointer, words: Pointer, field: int, value: int) -> None:
    at = load_i64(stage, FIRST_FIELD + field)
    if at >= 0:
        store_i64(words, at, value)


@njit
def _input_rows(stage: Pointer, first: int, last: int) -> Any:
    """Rows of input, some perhaps outside, that output rows first..last need."""
    stride = _get(stage, FIELD.stride_h)
    top = first * stride - _get(stage, FIELD.pad_top)
    reach = (_get(stage, FIELD.kernel_h) - 1) * _get(stage, FIELD.dilation_h) + 1
    return top, (last - 1) * stride - _get(stage, FIELD.pad_top) + reach


@njit
def _shifted_epilogue(
    stage: Pointer, words: Pointer, template: Pointer, image: int, row: int, y: Pointer
) -> None:
    """Copy the epilogue's record for rows that lie at ``y``; other operands are shifted."""
    record = _get(stage, FIELD.epilogue_record)
    operands = _get(stage, FIELD.epilogue_operands)
    itemsizes = 4 + 5 * (operands + 1)
    for i in range(itemsizes + operands + 1):
        store_i64(template, i, load_i64(record, i))
    for operand in range(operands + 1):
        at = 4 + 5 * operand
        if operand < 2:  # the result, and the result as first operand
            store_i64(template, at, y)
        else:
            shift = image * load_i64(record, at + 1) + row * load_i64(record, at + 2)
            shift *= load_i64(record, itemsizes + operand)
            store_i64(template, at, load_i64(record, at) + shift)
    _set(stage, words, FIELD.epilogue_record, template)


@njit
def _run_stage(
    stage: Pointer, words: Pointer, template: Pointer, x: Pointer, height: int, pad_top: int,
    y: Pointer, image: int, first: int, last: int, thread: int,
) -> Any:  # fmt: skip
    """Compute output rows first..last of an image from ``height`` rows at ``x``, to ``y``."""
    record = load_i64(stage, RECORD)
    for i in range(load_i64(stage, COUNT)):
        store_i64(words, i, load_i64(record, i))
    _set(stage, words, FIELD.x, x)
    _set(stage, words, FIELD.y, y)
    _set(stage, words, FIELD.images, 1)
    _set(stage, words, FIELD.height, height)
    _set(stage, words, FIELD.out_height, last - first)
    _set(stage, words, FIELD.pad_top, pad_top)
    if _get(stage, FIELD.residual) != 0:
        shift = image * _get(stage, FIELD.r_image) + first * _get(stage, FIELD.r_row)
        _set(stage, words, FIELD.residual, _get(stage, FIELD.residual) + shift * 4)
    if _get(stage, FIELD.workspace) != 0:
        own = _get(stage, FIELD.workspace) + thread * _get(stage, FIELD.workspace_bytes)
        _set(stage, words, FIELD.workspace, own)
    if _get(stage, FIELD.epilogue) != 0:
        _shifted_epilogue(stage, words, template, image, first, y)
    return call_kernel(load_i64(stage, KERNEL), words, 0, 0, 1, 1)


@njit
def _bytes_between(stages: Pointer, count: int, strip: int) -> Any:
    """Bytes of the rows between all stages, for a strip of rows of the last one."""
    total, rows = 0, strip
    for i in range(count - 1, 0, -1):
        first, last = _input_rows(stages + 8 * i * STAGE_WORDS, 0, rows)
        rows = last - first
        total += rows * _get(stages + 8 * (i - 1) * STAGE_WORDS, FIELD.y_row) * 4
    return total


@njit
def _locate_buffers(stages: Pointer, rows: Pointer, count: int, strip: int, at: Pointer) -> None:
    """Store where the rows after each stage but the last lie."""
    needed = strip
    for i in range(count - 1, 0, -1):
        first, last = _input_rows(stages + 8 * i * STAGE_WORDS, 0, needed)
        needed = last - first
        store_i64(rows + 8 * (i - 1) * ROW_WORDS, BUFFER, at)
        at += needed * _get(stages + 8 * (i - 1) * STAGE_WORDS, FIELD.y_row) * 4


@njit
def _plan_strip(stages: Pointer, rows: Pointer, count: int, first: int, last: int) -> None:
    """Find the rows each stage has to compute, from the last stage up; keep those it has."""
    store_i64(rows + 8 * (count - 1) * ROW_WORDS, FIRST, first)
    store_i64(rows + 8 * (count - 1) * ROW_WORDS, LAST, last)
    for i in range(count - 1, 0, -1):
        state, before = rows + 8 * (i - 1) * ROW_WORDS, stages + 8 * (i - 1) * STAGE_WORDS
        top, bottom = _input_rows(stages + 8 * i * STAGE_WORDS, first, last)
        first, last = max(0, top), min(_get(before, FIELD.out_height), bottom)
        have_first, end = load_i64(state, HAVE_FIRST), load_i64(state, HAVE_LAST)
        if have_first <= first < end:
            row = _get(before, FIELD.y_row)
            buffer = load_i64(state, BUFFER)
            copy_floats(buffer + (first - have_first) * row * 4, buffer, (end - first) * row)
            store_i64(state, HAVE_FIRST, first)
            first = min(end, last)
        else:
            store_i64(state, HAVE_FIRST, first)
        store_i64(state, HAVE_LAST, max(last, first))
        store_i64(state, FIRST, first)
        store_i64(state, LAST, last)


@njit
def _run_strip(
    stages: Pointer, rows: Pointer, words: Pointer, template: Pointer, count: int, image: int,
    thread: int,
) -> Any:  # fmt: skip
    """Run all stages on a strip that has been planned; returns an error code."""
    for i in range(count):
        stage, state = stages + 8 * i * STAGE_WORDS, rows + 8 * i * ROW_WORDS
        first, last = load_i64(state, FIRST), load_i64(state, LAST)
        if first >= last:
            continue
        top, bottom = _input_rows(stage, first, last)
        begin, end = max(0, top), min(_get(stage, FIELD.height), bottom)
        if i == 0:
            skip = image * _get(stage, FIELD.x_image) + begin * _get(stage, FIELD.x_row)
            x = _get(stage, FIELD.x) + skip * 4
        else:
            before = rows + 8 * (i - 1) * ROW_WORDS
            skip = begin - load_i64(before, HAVE_FIRST)
            x = load_i64(before, BUFFER) + skip * _get(stage, FIELD.x_row) * 4
        if i == count - 1:
            skip = image * _get(stage, FIELD.y_image) + first * _get(stage, FIELD.y_row)
            y = _get(stage, FIELD.y) + skip * 4
        else:
            skip = first - load_i64(state, HAVE_FIRST)
            y = load_i64(state, BUFFER) + skip * _get(stage, FIELD.y_row) * 4
        error = _run_stage(
            stage, words, template, x, max(0, end - begin), begin - top, y, image, first, last,
            thread,
        )  # fmt: skip
        if error != 0:
            return error
    return 0


@kernel
def strips(
    thread: int,
    part: int,
    until: int,
    parts: int,
    images: int,
    out_height: int,
    count: int,
    stages: Pointer,
    workspace: Pointer,
    workspace_bytes: int,
) -> int:
    """Run ``count`` stages strip by strip; rows of all images are split into parts.

    ``stages`` are ``count`` times ``STAGE_WORDS`` words; ``out_height`` is that of the last one.
    ``workspace_bytes`` of each thread hold the rows between stages for at least one row.
    """
    words, template = stack_words(RECORD_WORDS), stack_words(EPILOGUE_WORDS)
    rows = stack_words(16)
    first, last = (
        images * out_height * part // parts,
        images * out_height * until // parts,
    )
    if first >= last:
        return 0
    strip = 1
    while strip < min(out_height, last - first) and (
        _bytes_between(stages, count, strip + 1) <= min(STRIP_BYTES, workspace_bytes)
    ):
        strip += 1
    pieces = (min(out_height, last - first) + strip - 1) // strip
    strip = (min(out_height, last - first) + pieces - 1) // pieces
    _locate_buffers(stages, rows, count, strip, workspace + thread * workspace_bytes)
    image = -1
    while first < last:
        if first // out_height != image:
            image = first // out_height
            for i in range(count):
                store_i64(rows + 8 * i * ROW_WORDS, HAVE_FIRST, 0)
                store_i64(rows + 8 * i * ROW_WORDS, HAVE_LAST, 0)
        h = first % out_height
        some = min(strip, min(out_height - h, last - first))
        _plan_strip(stages, rows, count, h, h + some)
        error = _run_strip(stages, rows, words, template, count, image, thread)
        if error != 0:
            return error
        first += some
    return 0
