"""Steps done by one thread, and what a run of them looks at in between."""

from __future__ import annotations

from typing import Any

from numba import njit

from ..abi import (
    JOB_STATUS,
    JOB_STEPS,
    JOB_TIMES,
    STATUS_CANCEL,
    STATUS_ERROR,
    STATUS_STEP,
    STEP_COLUMNS,
    STEP_END,
    STEP_KERNEL,
    STEP_PARTS,
    STEP_RECORD,
)
from ..atomics import atomic_load, atomic_store, cycles
from ..registry import Pointer
from ..simd import call_kernel, load_i64, store_i64


@njit
def call_parts(steps: Pointer, step: int, thread: int, part: int, until: int) -> Any:
    """Compute some parts of a step; returns its kernel's error code."""
    row = STEP_COLUMNS * step
    return call_kernel(
        load_i64(steps, row + STEP_KERNEL), load_i64(steps, row + STEP_RECORD), thread, part, until,
        load_i64(steps, row + STEP_PARTS),
    )  # fmt: skip


@njit
def report_error(status: Pointer, error: int, step: int) -> None:
    """Note that a step failed; the run stops before another one."""
    store_i64(status, STATUS_STEP, step)
    atomic_store(status, STATUS_ERROR, error)


@njit
def do_steps(job: Pointer, step: int, end: int, thread: int) -> Any:
    """Do steps alone, until one fails; returns the step that comes next."""
    steps, status = load_i64(job, JOB_STEPS), load_i64(job, JOB_STATUS)
    times = load_i64(job, JOB_TIMES)
    while step < end:
        error = call_parts(
            steps, step, thread, 0, load_i64(steps, STEP_COLUMNS * step + STEP_PARTS)
        )
        if error != 0:
            report_error(status, error, step)
        step += 1
        if times != 0:
            store_i64(times, step, cycles())
        if error != 0:
            break
    return step


@njit
def must_stop(job: Pointer, deadline: int) -> Any:
    """Tell whether a run has failed, is cancelled, or has to let Python look for signals."""
    status = load_i64(job, JOB_STATUS)
    failed = atomic_load(status, STATUS_ERROR) != 0
    return failed or atomic_load(status, STATUS_CANCEL) != 0 or cycles() > deadline


@njit
def walk(job: Pointer, first: int, last: int, deadline: int) -> Any:
    """Do steps as the only thread; returns the step reached."""
    steps, step = load_i64(job, JOB_STEPS), first
    while step < last:
        end = min(last, max(step + 1, load_i64(steps, STEP_COLUMNS * step + STEP_END)))
        step = do_steps(job, step, end, 0)
        if must_stop(job, deadline):
            break
    return step
