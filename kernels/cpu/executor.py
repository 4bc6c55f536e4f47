"""The compiled part of the executor: sizes, memory, records and the schedule of a binding.

``kernels.abi`` names the words of all tables and records; ``runtime.program`` says how they come
about. Runs: ``calls``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ..abi import (
    ADD,
    ADDRESS,
    ALIGNMENT,
    ARENA,
    BOUND,
    BROADCAST,
    BUFFER_COLUMNS,
    BUFFER_FIRST,
    BUFFER_KIND,
    BUFFER_LAST,
    BUFFER_PHASE,
    BUFFER_SIZE,
    CODE_COLUMNS,
    CODE_LEFT,
    CODE_OPERATION,
    CODE_RIGHT,
    CONSTANT,
    COST_BYTES,
    COST_COLUMNS,
    COST_OPERATIONS,
    FEW_PARTS,
    FLOOR_DIVIDE,
    MANY_PARTS,
    MAXIMUM,
    MINIMUM,
    MODULO,
    MULTIPLY,
    OVERFLOW,
    PATCH_COLUMNS,
    PATCH_KIND,
    PATCH_OFFSET,
    PATCH_SOURCE,
    PATCH_WORD,
    SCALE,
    SCALED,
    SIZE_LIMIT,
    SLICED_PARTS,
    STEP_COLUMNS,
    STEP_END,
    STEP_PARTS,
    SYMBOL,
    VALUE,
)
from ..atomics import cycles
from ..registry import Pointer, kernel
from ..simd import load_i64, store_i64

LONG_NS = 32_000
"""A step that takes longer has many parts."""
SLICED_NS = 50_000_000
"""One that takes longer is done in slices; it may take many times as long as its cost says."""


@njit
def _operate(operation: int, a: int, b: int) -> Any:
    """Value of an operation on sizes; `OVERFLOW` or `UNKNOWN` if an operand is, or for no size.

    Both operands lie within the limit, so that a sum stays within 64 bits; so does a product that
    is no larger than the limit as a float64, which is wrong by less than the room above it.
    """
    if a <= OVERFLOW or b <= OVERFLOW:
        return min(a, b)
    if operation == ADD:
        return a + b if abs(a + b) < SIZE_LIMIT else OVERFLOW
    if operation == MULTIPLY:
        fits = abs(float(a) * float(b)) <= float(SIZE_LIMIT) and abs(a * b) < SIZE_LIMIT
        return a * b if fits else OVERFLOW
    if operation == FLOOR_DIVIDE:
        return a // b if b != 0 else 0
    if operation == MODULO:
        return a % b if b != 0 else 0
    if operation == MINIMUM:
        return min(a, b)
    if operation == MAXIMUM:
        return max(a, b)
    if operation == BROADCAST:
        return b if a == 1 else a
    if operation == BOUND:
        return min(max(a + b if a < 0 else a, 0), b)
    if operation == SCALED:
        scaled = np.floor(np.float32(a) * np.float32(b / SCALE))
        return np.int64(scaled) if abs(scaled) < np.float32(SIZE_LIMIT) else OVERFLOW
    return 1 if a != 1 else 0


@kernel
def evaluate(
    thread: int, part: int, until: int, parts: int, code: Pointer, count: int, symbols: Pointer,
    values: Pointer,
) -> int:  # fmt: skip
    """Compute the value of every expression: values[i] from code[i] and the symbols.

    Returns 1 if one is beyond what a slot may hold, else 0.
    """
    beyond = 0
    for i in range(count):
        row = CODE_COLUMNS * i
        operation = load_i64(code, row + CODE_OPERATION)
        a, b = load_i64(code, row + CODE_LEFT), load_i64(code, row + CODE_RIGHT)
        if operation == CONSTANT:
            value = a
        elif operation == SYMBOL:
            value = load_i64(symbols, a)
            if value >= SIZE_LIMIT:
                value = OVERFLOW
        else:
            value = _operate(operation, load_i64(values, a), load_i64(values, b))
        if value == OVERFLOW:
            beyond = 1
        store_i64(values, i, value)
    return beyond


@njit
def _size(buffers: Pointer, values: Pointer, i: int) -> Any:
    bytes_ = load_i64(values, load_i64(buffers, BUFFER_COLUMNS * i + BUFFER_SIZE))
    return (max(bytes_, 1) + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


@njit
def _overlap(buffers: Pointer, i: int, j: int) -> Any:
    a, b = BUFFER_COLUMNS * i, BUFFER_COLUMNS * j
    starts_before = load_i64(buffers, a + BUFFER_FIRST) <= load_i64(buffers, b + BUFFER_LAST)
    return starts_before and load_i64(buffers, b + BUFFER_FIRST) <= load_i64(
        buffers, a + BUFFER_LAST
    )


@njit
def _is_arena(buffers: Pointer, i: int) -> Any:
    """Tell whether a buffer needs room in the arena; one that no step uses has none."""
    row = BUFFER_COLUMNS * i
    used = load_i64(buffers, row + BUFFER_FIRST) <= load_i64(buffers, row + BUFFER_LAST)
    return used and load_i64(buffers, row + BUFFER_KIND) == ARENA


@njit
def _insert(placed: Pointer, count: int, offsets: Pointer, i: int) -> None:
    """Enter a buffer into those that are placed, which are sorted by offset."""
    at, offset = count, load_i64(offsets, i)
    while at > 0 and load_i64(offsets, load_i64(placed, at - 1)) > offset:
        store_i64(placed, at, load_i64(placed, at - 1))
        at -= 1
    store_i64(placed, at, i)


@kernel
def plan(
    thread: int,
    part: int,
    until: int,
    parts: int,
    buffers: Pointer,
    count: int,
    values: Pointer,
    phase: int,
    begin: int,
    offsets: Pointer,
    order: Pointer,
    total: Pointer,
) -> int:
    """Place the arena buffers of one phase: greedy by size, first fit.

    Buffers of earlier phases that are used after ``begin``, the step that opened this one, stay
    where they are; the others leave their memory to this phase. ``offsets[i]`` becomes the byte
    offset of buffer i, ``total[0]`` the size of the arena; ``order`` is scratch for 2 * count
    words. Greedy-by-size placement after Pisarchyk & Lee, "Efficient Memory Management for Deep
    Neural Net Inference" (2020).
    """
    placed = order + 8 * count  # indices of placed buffers, by offset
    members, kept, end = 0, 0, 0
    for i in range(count):
        if not _is_arena(buffers, i):
            continue
        own = load_i64(buffers, BUFFER_COLUMNS * i + BUFFER_PHASE)
        size = _size(buffers, values, i)
        if own < phase and load_i64(buffers, BUFFER_COLUMNS * i + BUFFER_LAST) > begin:
            _insert(placed, kept, offsets, i)
            kept += 1
            end = max(end, load_i64(offsets, i) + size)
        if own != phase:
            continue
        at = members
        while at > 0 and _size(buffers, values, load_i64(order, at - 1)) < size:
            store_i64(order, at, load_i64(order, at - 1))
            at -= 1
        store_i64(order, at, i)
        members += 1
    for m in range(members):
        i = load_i64(order, m)
        size = _size(buffers, values, i)
        offset = 0
        for p in range(kept + m):
            j = load_i64(placed, p)
            if not _overlap(buffers, i, j):
                continue
            if offset + size <= load_i64(offsets, j):
                break
            offset = max(offset, load_i64(offsets, j) + _size(buffers, values, j))
        store_i64(offsets, i, offset)
        _insert(placed, kept + m, offsets, i)
        end = max(end, offset + size)
    store_i64(total, 0, end)
    return 0


@kernel
def fill(
    thread: int,
    part: int,
    until: int,
    parts: int,
    patches: Pointer,
    count: int,
    values: Pointer,
    bases: Pointer,
    words: Pointer,
) -> int:
    """Write sizes, addresses of tensors and addresses of records into the argument records."""
    for i in range(count):
        row = PATCH_COLUMNS * i
        word, kind = load_i64(patches, row + PATCH_WORD), load_i64(patches, row + PATCH_KIND)
        a, b = load_i64(patches, row + PATCH_SOURCE), load_i64(patches, row + PATCH_OFFSET)
        if kind == VALUE:
            store_i64(words, word, load_i64(values, a))
        elif kind == ADDRESS:
            store_i64(words, word, load_i64(bases, a) + load_i64(values, b))
        else:
            store_i64(words, word, words + 8 * a)
    return 0


@kernel
def schedule(
    thread: int, part: int, until: int, parts: int, costs: Pointer, count: int, values: Pointer,
    steps: Pointer, operations_per_ns: int, bytes_per_ns: int, alone_ns: int,
) -> int:  # fmt: skip
    """Cut steps into parts, by what they cost; fill in where runs of steps of one part end.

    The last three are those of ``kernels.costs.SharingCosts``.
    """
    end = 0
    for i in range(count - 1, -1, -1):
        cost, step = COST_COLUMNS * i, STEP_COLUMNS * i
        operations = load_i64(values, load_i64(costs, cost + COST_OPERATIONS))
        bytes_ = load_i64(values, load_i64(costs, cost + COST_BYTES))
        ns = operations // operations_per_ns + bytes_ // bytes_per_ns
        is_beyond = operations == OVERFLOW or bytes_ == OVERFLOW
        if ns > alone_ns or is_beyond:
            parts = SLICED_PARTS if ns > SLICED_NS or is_beyond else MANY_PARTS
            is_short = ns < LONG_NS and not is_beyond
            store_i64(steps, step + STEP_PARTS, FEW_PARTS if is_short else parts)
            end = i
        else:
            store_i64(steps, step + STEP_PARTS, 1)
            if end <= i:
                end = i + 1
        store_i64(steps, step + STEP_END, end)
    return 0


@kernel
def read_cycles(thread: int, part: int, until: int, parts: int) -> int:
    """Return the time stamp counter."""
    return cycles()
