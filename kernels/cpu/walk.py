"""Steps done by one thread, and what a run of them looks at in between."""

from __future__ import annotations

from typing import Any

from numba import njit

from ..abi import (
    JOB_BUDGET,
    JOB_POLL,
    JOB_STATUS,
    JOB_STEPS,
    JOB_TIMES,
    SLICE_PARTS,
    SLICED_PARTS,
    STATUS_CANCEL,
    STATUS_ERROR,
    STATUS_STEP,
    STEP_COLUMNS,
    STEP_END,
    STEP_KERNEL,
    STEP_PARTS,
    STEP_RECORD,
    TIMES_LAST,
    TIMES_STEPS,
)
from ..atomics import atomic_load, atomic_store, cycles
from ..registry import INTERRUPTED, Pointer
from ..simd import call_function, call_kernel, load_i64, store_i64

SLICE_CYCLES = 30_000_000
"""About 10 ms: how long parts of a long step are worth doing without looking for cancellation."""


@njit
def call_parts(steps: Pointer, step: int, thread: int, part: int, until: int) -> Any:
    """Compute some parts of a step; returns its kernel's error code."""
    row = STEP_COLUMNS * step
    return call_kernel(
        load_i64(steps, row + STEP_KERNEL), load_i64(steps, row + STEP_RECORD), thread, part, until,
        load_i64(steps, row + STEP_PARTS),
    )  # fmt: skip


@njit
def note_time(job: Pointer, step: int) -> None:
    """Add the time since the last step ended to that of a step, if the run is timed."""
    times = load_i64(job, JOB_TIMES)
    if times != 0:
        now = cycles()
        since = now - load_i64(times, TIMES_LAST)
        store_i64(times, TIMES_STEPS + step, load_i64(times, TIMES_STEPS + step) + since)
        store_i64(times, TIMES_LAST, now)


@njit
def report_error(status: Pointer, error: int, step: int) -> None:
    """Note that a step failed; the run stops before another one."""
    store_i64(status, STATUS_STEP, step)
    atomic_store(status, STATUS_ERROR, error)


@njit
def has_stopped(job: Pointer) -> Any:
    """Tell whether a run has failed or is cancelled."""
    status = load_i64(job, JOB_STATUS)
    return atomic_load(status, STATUS_ERROR) != 0 or atomic_load(status, STATUS_CANCEL) != 0


@njit
def look_for_signals(job: Pointer, step: int, since: int) -> Any:
    """Let Python handle signals if the last time was long ago; returns the time of the last time.

    For the thread that called the run only.
    """
    if cycles() - since < load_i64(job, JOB_BUDGET):
        return since
    if call_function(load_i64(job, JOB_POLL), ()) != 0:
        report_error(load_i64(job, JOB_STATUS), INTERRUPTED, step)
    return cycles()


@njit
def _do_slices(job: Pointer, step: int, thread: int) -> Any:
    """Do a long step alone, a few parts at a time; returns its kernel's error code."""
    steps, begin, most, seen = load_i64(job, JOB_STEPS), 0, SLICE_PARTS, cycles()
    while begin < SLICED_PARTS and not has_stopped(job):
        start, end = cycles(), min(begin + most, SLICED_PARTS)
        error = call_parts(steps, step, thread, begin, end)
        if error != 0:
            return error
        begin = end
        if cycles() - start < SLICE_CYCLES:
            most *= 2
        if thread == 0:
            seen = look_for_signals(job, step, seen)
    return 0


@njit
def do_steps(job: Pointer, step: int, end: int, thread: int) -> Any:
    """Do steps alone, until one fails or jumps; returns the step that comes next."""
    steps, status = load_i64(job, JOB_STEPS), load_i64(job, JOB_STATUS)
    while step < end:
        parts = load_i64(steps, STEP_COLUMNS * step + STEP_PARTS)
        if parts == SLICED_PARTS:
            error = _do_slices(job, step, thread)
        else:
            error = call_parts(steps, step, thread, 0, parts)
        note_time(job, step)
        if error < 0:
            return -1 - error
        if error != 0:
            report_error(status, error, step)
            return step + 1
        step += 1
    return step


@njit
def must_stop(job: Pointer, deadline: int) -> Any:
    """Tell whether a run has failed, is cancelled, or has to let Python look for signals."""
    return has_stopped(job) or cycles() > deadline


@njit
def walk(job: Pointer, first: int, last: int, deadline: int) -> Any:
    """Do steps as the only thread; returns the step reached, which may lie before ``first``."""
    steps, step = load_i64(job, JOB_STEPS), first
    while first <= step < last:
        end = min(last, max(step + 1, load_i64(steps, STEP_COLUMNS * step + STEP_END)))
        step = do_steps(job, step, end, 0)
        if must_stop(job, deadline):
            break
    return step
