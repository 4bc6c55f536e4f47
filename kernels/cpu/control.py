"""Control flow of a program: steps after which a run goes on elsewhere, and slices by iteration.

A kernel that returns ``-1 - step`` lets the run go on at that step. Such a step has one part.
"""

from __future__ import annotations

from ..registry import SIZES_DIFFER, TOO_MANY_ITERATIONS, Pointer, kernel
from ..simd import load_i64, load_u8, store_i64
from .elements import copy_bytes


@kernel
def branch(thread: int, part: int, until: int, parts: int, condition: Pointer, other: int) -> int:
    """Go on with the next step if the bool at ``condition`` holds, else at the step ``other``."""
    return 0 if load_u8(condition, 0) != 0 else -1 - other


@kernel
def branch_by_size(thread: int, part: int, until: int, parts: int, size: int, other: int) -> int:
    """Go on with the next step if a size is not 0, else at the step ``other``."""
    return 0 if size != 0 else -1 - other


@kernel
def jump(thread: int, part: int, until: int, parts: int, target: int) -> int:
    """Go on at the step ``target``."""
    return -1 - target


@kernel
def compare_sizes(
    thread: int, part: int, until: int, parts: int, left: int, right: int, broadcast: int
) -> int:
    """Fail where sizes differ, unless the left one is 1 and broadcast."""
    return 0 if left == right or (broadcast != 0 and left == 1) else SIZES_DIFFER


@kernel
def start_loop(thread: int, part: int, until: int, parts: int, iteration: Pointer) -> int:
    """Set the number of the iteration to 0."""
    store_i64(iteration, 0, 0)
    return 0


@kernel
def count_iterations(
    thread: int,
    part: int,
    until: int,
    parts: int,
    counted: Pointer,
    trips: Pointer,
    condition: Pointer,
) -> int:
    """Store the number of iterations: the one at ``trips``; 0 if the bool at ``condition`` fails.

    The address of a bool is 0 if there is none.
    """
    goes_on = condition == 0 or load_u8(condition, 0) != 0
    store_i64(counted, 0, max(load_i64(trips, 0), 0) if goes_on else 0)
    return 0


@kernel
def begin_iteration(
    thread: int,
    part: int,
    until: int,
    parts: int,
    iteration: Pointer,
    trips: Pointer,
    condition: Pointer,
    most: int,
    exit: int,
) -> int:
    """Go on at the step ``exit`` where no further iteration is wanted.

    ``trips`` is the address of their number, ``condition`` that of a bool; 0 for one there is not.
    More than ``most`` iterations are an error.
    """
    number = load_i64(iteration, 0)
    if trips != 0 and number >= load_i64(trips, 0):
        return -1 - exit
    if condition != 0 and load_u8(condition, 0) == 0:
        return -1 - exit
    return TOO_MANY_ITERATIONS if number >= most else 0


@kernel
def end_iteration(
    thread: int, part: int, until: int, parts: int, iteration: Pointer, head: int
) -> int:
    """Count the iteration, and go on at the step ``head``."""
    store_i64(iteration, 0, load_i64(iteration, 0) + 1)
    return -1 - head


@kernel
def move_slice(
    thread: int,
    part: int,
    until: int,
    parts: int,
    x: Pointer,
    y: Pointer,
    iteration: Pointer,
    first: int,
    sign: int,
    x_unit: int,
    y_unit: int,
    rows: int,
    run: int,
    x_stride: int,
    y_stride: int,
) -> int:
    """Copy ``rows`` runs of ``run`` bytes, ``x_stride`` and ``y_stride`` bytes apart.

    Position ``first + sign * iteration`` along an axis, each ``x_unit`` and ``y_unit`` bytes,
    is the slice of an operand to read, or the one of a result to write.
    """
    position = first + sign * load_i64(iteration, 0)
    source, target = x + position * x_unit, y + position * y_unit
    if rows == 1:
        begin, end = run * part // parts, run * until // parts
        copy_bytes(target + begin, source + begin, end - begin)
        return 0
    for row in range(rows * part // parts, rows * until // parts):
        copy_bytes(target + row * y_stride, source + row * x_stride, run)
    return 0
