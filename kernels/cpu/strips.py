"""Runs convolutions that follow each other over strips of rows: what lies between stays in cache.

Each *stage* is a kernel with the record it has when it runs alone. For a strip of the last
stage's rows, the stages before compute the rows that it needs; rows that the strip before needed,
too, are kept. The rows between two stages lie in a workspace of the thread.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from ..registry import Pointer, kernel
from ..simd import call_kernel, load_i64, stack_words, store_i64
from ..target import L2_BYTES
from .rows import copy_floats

MAX_STAGES = 3
# Rows between stages that are held at a time, in bytes.
STRIP_BYTES = L2_BYTES

# What a strip changes in a stage's record, or reads there; by name of the field.
PLACES = (
    *("x", "y", "images", "height", "out_height", "pad_top", "x_image", "x_row", "y_image"),
    *("y_row", "kernel_h", "stride_h", "dilation_h", "residual", "r_image", "r_row"),
    *("workspace", "workspace_bytes", "epilogue", "epilogue_record", "epilogue_operands"),
)
(
    X, Y, IMAGES, HEIGHT, OUT_HEIGHT, PAD_TOP, X_IMAGE, X_ROW, Y_IMAGE, Y_ROW, KERNEL_H, STRIDE_H,
    DILATION_H, RESIDUAL, R_IMAGE, R_ROW, WORKSPACE, WORKSPACE_BYTES, EPILOGUE, EPILOGUE_RECORD,
    EPILOGUE_OPERANDS,
) = range(len(PLACES))  # fmt: skip
# Words of a stage: its kernel, its record, the number of its words, and the places.
KERNEL, RECORD, COUNT, FIRST_PLACE = range(4)
STAGE_WORDS = FIRST_PLACE + len(PLACES)
# Words of what is known of a stage's rows: where they lie, which are there, which to compute.
BUFFER, HAVE_FIRST, HAVE_LAST, FIRST, LAST = range(5)
ROW_WORDS = 5


@njit
def _get(stage: Pointer, place: int) -> Any:
    """Value of a field in a stage's record; 0 where its kernel has no such field."""
    at = load_i64(stage, FIRST_PLACE + place)
    return load_i64(load_i64(stage, RECORD), at) if at >= 0 else 0


@njit
def _set(stage: Pointer, words: Pointer, place: int, value: int) -> None:
    at = load_i64(stage, FIRST_PLACE + place)
    if at >= 0:
        store_i64(words, at, value)


@njit
def _input_rows(stage: Pointer, first: int, last: int) -> Any:
    """Rows of input, some perhaps outside, that output rows first..last need."""
    stride = _get(stage, STRIDE_H)
    top = first * stride - _get(stage, PAD_TOP)
    reach = (_get(stage, KERNEL_H) - 1) * _get(stage, DILATION_H) + 1
    return top, (last - 1) * stride - _get(stage, PAD_TOP) + reach


@njit
def _shifted_epilogue(
    stage: Pointer, words: Pointer, template: Pointer, image: int, row: int, y: Pointer
) -> None:
    """Copy the epilogue's record for rows that lie at ``y``; other operands are shifted."""
    record = _get(stage, EPILOGUE_RECORD)
    operands = _get(stage, EPILOGUE_OPERANDS)
    for i in range(4 + 5 * (operands + 1)):
        store_i64(template, i, load_i64(record, i))
    for operand in range(operands + 1):
        at = 4 + 5 * operand
        if operand < 2:  # the result, and the result as first operand
            store_i64(template, at, y)
        else:
            shift = image * load_i64(record, at + 1) + row * load_i64(record, at + 2)
            store_i64(template, at, load_i64(record, at) + shift * 4)
    _set(stage, words, EPILOGUE_RECORD, template)


@njit
def _run_stage(
    stage: Pointer, words: Pointer, template: Pointer, x: Pointer, height: int, pad_top: int,
    y: Pointer, image: int, first: int, last: int, thread: int,
) -> Any:  # fmt: skip
    """Compute output rows first..last of an image from ``height`` rows at ``x``, to ``y``."""
    record = load_i64(stage, RECORD)
    for i in range(load_i64(stage, COUNT)):
        store_i64(words, i, load_i64(record, i))
    _set(stage, words, X, x)
    _set(stage, words, Y, y)
    _set(stage, words, IMAGES, 1)
    _set(stage, words, HEIGHT, height)
    _set(stage, words, OUT_HEIGHT, last - first)
    _set(stage, words, PAD_TOP, pad_top)
    if _get(stage, RESIDUAL) != 0:
        shift = image * _get(stage, R_IMAGE) + first * _get(stage, R_ROW)
        _set(stage, words, RESIDUAL, _get(stage, RESIDUAL) + shift * 4)
    if _get(stage, WORKSPACE) != 0:
        own = _get(stage, WORKSPACE) + thread * _get(stage, WORKSPACE_BYTES)
        _set(stage, words, WORKSPACE, own)
    if _get(stage, EPILOGUE) != 0:
        _shifted_epilogue(stage, words, template, image, first, y)
    return call_kernel(load_i64(stage, KERNEL), words, 0, 0, 1, 1)


@njit
def _bytes_between(stages: Pointer, count: int, strip: int) -> Any:
    """Bytes of the rows between all stages, for a strip of rows of the last one."""
    total, rows = 0, strip
    for i in range(count - 1, 0, -1):
        first, last = _input_rows(stages + 8 * i * STAGE_WORDS, 0, rows)
        rows = last - first
        total += rows * _get(stages + 8 * (i - 1) * STAGE_WORDS, Y_ROW) * 4
    return total


@njit
def _place_buffers(stages: Pointer, rows: Pointer, count: int, strip: int, at: Pointer) -> None:
    """Say where the rows after each stage but the last lie."""
    needed = strip
    for i in range(count - 1, 0, -1):
        first, last = _input_rows(stages + 8 * i * STAGE_WORDS, 0, needed)
        needed = last - first
        store_i64(rows + 8 * (i - 1) * ROW_WORDS, BUFFER, at)
        at += needed * _get(stages + 8 * (i - 1) * STAGE_WORDS, Y_ROW) * 4


@njit
def _plan_strip(stages: Pointer, rows: Pointer, count: int, first: int, last: int) -> None:
    """Find the rows each stage has to compute, from the last stage up; keep those it has."""
    store_i64(rows + 8 * (count - 1) * ROW_WORDS, FIRST, first)
    store_i64(rows + 8 * (count - 1) * ROW_WORDS, LAST, last)
    for i in range(count - 1, 0, -1):
        state, before = rows + 8 * (i - 1) * ROW_WORDS, stages + 8 * (i - 1) * STAGE_WORDS
        top, bottom = _input_rows(stages + 8 * i * STAGE_WORDS, first, last)
        first, last = max(0, top), min(_get(before, OUT_HEIGHT), bottom)
        kept, end = load_i64(state, HAVE_FIRST), load_i64(state, HAVE_LAST)
        if kept <= first < end:
            row = _get(before, Y_ROW)
            buffer = load_i64(state, BUFFER)
            copy_floats(buffer + (first - kept) * row * 4, buffer, (end - first) * row)
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
        begin, end = max(0, top), min(_get(stage, HEIGHT), bottom)
        if i == 0:
            x = _get(stage, X) + (image * _get(stage, X_IMAGE) + begin * _get(stage, X_ROW)) * 4
        else:
            before = rows + 8 * (i - 1) * ROW_WORDS
            skip = begin - load_i64(before, HAVE_FIRST)
            x = load_i64(before, BUFFER) + skip * _get(stage, X_ROW) * 4
        if i == count - 1:
            y = _get(stage, Y) + (image * _get(stage, Y_IMAGE) + first * _get(stage, Y_ROW)) * 4
        else:
            skip = first - load_i64(state, HAVE_FIRST)
            y = load_i64(state, BUFFER) + skip * _get(stage, Y_ROW) * 4
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
    words, template, rows = stack_words(64), stack_words(64), stack_words(16)
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
    _place_buffers(stages, rows, count, strip, workspace + thread * workspace_bytes)
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
