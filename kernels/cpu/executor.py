"""The compiled part of the executor: bind sizes, plan memory, walk the steps, run the team.

Tables are int64 arrays; ``runtime.program`` says how they come about.

===========  ==================================================================================
code         rows (operation, a, b) of ``runtime.symbolic.Code``; row i computes values[i]
buffers      rows (kind, size slot, first step, last step, phase); kind 0 lies in the arena
patches      rows (word, kind, a, b): what to write into a word of the argument records
costs        rows (slot of operations, slot of bytes): what a step has to do
steps        rows (kernel address, record address, end): what the threads walk; steps before
             ``end``, if there are any, are for the first thread alone
team         words, a cache line apart: generation, arrived, job, sleepers, stop; then a sem_t
status       error code, step of the error, step to stop before, cancel request
===========  ==================================================================================
"""

from __future__ import annotations

from typing import Any

from numba import njit

from ..registry import Pointer, kernel
from ..simd import (
    atomic_add,
    atomic_exchange,
    atomic_load,
    atomic_store,
    call_kernel,
    cycles,
    load_i64,
    pause,
    sched_yield,
    sem_post,
    sem_wait,
    store_i64,
)

GENERATION, ARRIVED, JOB, SLEEPERS, STOP, SEMAPHORE = 0, 8, 16, 24, 32, 40
ALIGNMENT = 64
SPINS_BEFORE_YIELD = 4000
CYCLES_BEFORE_SLEEP = 150_000
VALUE, ADDRESS, RECORD = 0, 1, 2
OPERATIONS_PER_NS, BYTES_PER_NS = 32, 32
"""What one thread does in the small steps of real models, whose data is in cache."""
ALONE_NS = 1000
"""A step that takes no longer is not shared: half of it is not worth a barrier."""


@njit
def _operate(operation: int, a: int, b: int) -> Any:
    if operation == 2:
        return a + b
    if operation == 3:
        return a * b
    if operation == 4:
        return a // b if b != 0 else 0
    if operation == 5:
        return a % b if b != 0 else 0
    if operation == 6:
        return min(a, b)
    if operation == 7:
        return max(a, b)
    return 1 if a != 1 else 0


@kernel
def evaluate(
    thread: int, threads: int, code: Pointer, count: int, symbols: Pointer, values: Pointer
) -> int:
    """Compute the value of every expression: values[i] from code[i] and the symbols."""
    for i in range(count):
        operation, a, b = (
            load_i64(code, 3 * i),
            load_i64(code, 3 * i + 1),
            load_i64(code, 3 * i + 2),
        )
        if operation == 0:
            store_i64(values, i, a)
        elif operation == 1:
            store_i64(values, i, load_i64(symbols, a))
        else:
            store_i64(values, i, _operate(operation, load_i64(values, a), load_i64(values, b)))
    return 0


@njit
def _size(buffers: Pointer, values: Pointer, i: int) -> Any:
    bytes_ = load_i64(values, load_i64(buffers, 5 * i + 1))
    return (max(bytes_, 1) + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


@njit
def _overlap(buffers: Pointer, i: int, j: int) -> Any:
    return load_i64(buffers, 5 * i + 2) <= load_i64(buffers, 5 * j + 3) and load_i64(
        buffers, 5 * j + 2
    ) <= load_i64(buffers, 5 * i + 3)


@kernel
def plan(
    thread: int,
    threads: int,
    buffers: Pointer,
    count: int,
    values: Pointer,
    phase: int,
    offsets: Pointer,
    order: Pointer,
    total: Pointer,
) -> int:
    """Place the arena buffers of one phase: greedy by size, first fit.

    ``offsets[i]`` becomes the byte offset of buffer i, ``total[0]`` the size of the arena;
    ``order`` is scratch for 2 * count words. Greedy-by-size placement after Pisarchyk & Lee,
    "Efficient Memory Management for Deep Neural Net Inference" (2020).
    """
    members = 0
    for i in range(count):
        if load_i64(buffers, 5 * i) != 0 or load_i64(buffers, 5 * i + 4) != phase:
            continue
        size = _size(buffers, values, i)
        at = members
        while at > 0 and _size(buffers, values, load_i64(order, at - 1)) < size:
            store_i64(order, at, load_i64(order, at - 1))
            at -= 1
        store_i64(order, at, i)
        members += 1
    placed = order + 8 * count  # indices of placed buffers, by offset
    end = 0
    for m in range(members):
        i = load_i64(order, m)
        size = _size(buffers, values, i)
        offset = 0
        for p in range(m):
            j = load_i64(placed, p)
            if not _overlap(buffers, i, j):
                continue
            if offset + size <= load_i64(offsets, j):
                break
            offset = max(offset, load_i64(offsets, j) + _size(buffers, values, j))
        at = m
        while at > 0 and load_i64(offsets, load_i64(placed, at - 1)) > offset:
            store_i64(placed, at, load_i64(placed, at - 1))
            at -= 1
        store_i64(placed, at, i)
        store_i64(offsets, i, offset)
        end = max(end, offset + size)
    store_i64(total, 0, end)
    return 0


@kernel
def fill(
    thread: int,
    threads: int,
    patches: Pointer,
    count: int,
    values: Pointer,
    bases: Pointer,
    words: Pointer,
) -> int:
    """Write sizes, addresses of tensors and addresses of records into the argument records."""
    for i in range(count):
        word, kind = load_i64(patches, 4 * i), load_i64(patches, 4 * i + 1)
        a, b = load_i64(patches, 4 * i + 2), load_i64(patches, 4 * i + 3)
        if kind == VALUE:
            store_i64(words, word, load_i64(values, a))
        elif kind == ADDRESS:
            store_i64(words, word, load_i64(bases, a) + load_i64(values, b))
        else:
            store_i64(words, word, words + 8 * a)
    return 0


@kernel
def schedule(
    thread: int, threads: int, costs: Pointer, count: int, values: Pointer, steps: Pointer
) -> int:
    """Leave small steps to the first thread: fill in where the run of them ends at each step."""
    end = 0
    for i in range(count - 1, -1, -1):
        operations = load_i64(values, load_i64(costs, 2 * i))
        bytes_ = load_i64(values, load_i64(costs, 2 * i + 1))
        if operations // OPERATIONS_PER_NS + bytes_ // BYTES_PER_NS > ALONE_NS:
            end = i
        elif end <= i:
            end = i + 1
        store_i64(steps, 3 * i + 2, end)
    return 0


@njit
def _barrier(team: Pointer, goal: int) -> None:
    spins = 0
    atomic_add(team, ARRIVED, 1)
    while atomic_load(team, ARRIVED) < goal:
        pause()
        spins += 1
        if spins > SPINS_BEFORE_YIELD:
            sched_yield()


@njit
def _walk(
    thread: int,
    threads: int,
    steps: Pointer,
    first: int,
    last: int,
    team: Pointer,
    status: Pointer,
    budget: int,
    times: Pointer,
) -> Any:
    deadline = cycles() + budget
    step = first
    goal = 0
    while step < last:
        end = min(load_i64(steps, 3 * step + 2), last)
        if end <= step:
            error = _call(steps, step, thread, threads)
            failed = step
            end = step + 1
        elif thread == 0:
            error, failed = _alone(steps, step, end, times)
        else:
            error, failed = 0, step
        step = end
        if error != 0:
            atomic_store(status, 0, error)
            atomic_store(status, 1, failed)
            atomic_store(status, 2, step)
        if thread == 0 and (cycles() > deadline or atomic_load(status, 3) != 0):
            # A thread that lags behind compares with its own step, so that all stop together.
            atomic_store(status, 2, step)
        if threads > 1:
            goal += threads
            _barrier(team, goal)
        if times != 0 and thread == 0:
            store_i64(times, step, cycles())
        if step >= atomic_load(status, 2):
            break
    return step


@njit
def _call(steps: Pointer, step: int, thread: int, threads: int) -> Any:
    address, record = load_i64(steps, 3 * step), load_i64(steps, 3 * step + 1)
    return call_kernel(address, record, thread, threads)


@njit
def _alone(steps: Pointer, first: int, end: int, times: Pointer) -> Any:
    """Do steps as the only thread; gives the error and the step that had it."""
    for step in range(first, end):
        error = _call(steps, step, 0, 1)
        if error != 0:
            return error, step
        if times != 0:
            store_i64(times, step + 1, cycles())
    return 0, first


@njit
def _walk_job(job: Pointer, thread: int, threads: int) -> Any:
    return _walk(
        thread,
        threads,
        load_i64(job, 0),
        load_i64(job, 1),
        load_i64(job, 2),
        load_i64(job, 3),
        load_i64(job, 4),
        load_i64(job, 5),
        load_i64(job, 6),
    )


@kernel
def run(
    thread: int,
    one: int,
    steps: Pointer,
    first: int,
    last: int,
    team: Pointer,
    status: Pointer,
    budget: int,
    times: Pointer,
    job: Pointer,
    patches: Pointer,
    count: int,
    values: Pointer,
    bases: Pointer,
    words: Pointer,
    threads: int,
    arrays: Pointer,
    array_buffers: Pointer,
    array_count: int,
    data_pointer: int,
) -> int:
    """Lead one run from step ``first``; returns the step reached, or -1 when the run failed.

    First the addresses of this run's inputs and outputs are read off the array objects
    (``arrays``; their data pointers lie ``data_pointer`` bytes on) and written into the records
    (``count`` patches), then the team of ``threads`` is woken and all walk the steps. ``budget``
    bounds the time in cycles, so that Python can look for signals; ``job`` is the address of this
    record (its first seven words are what the workers read).
    """
    for i in range(array_count):
        array = load_i64(arrays, i)
        store_i64(bases, load_i64(array_buffers, i), load_i64(array + data_pointer, 0))
    for i in range(count):
        word, b = load_i64(patches, 4 * i), load_i64(patches, 4 * i + 3)
        base = load_i64(bases, load_i64(patches, 4 * i + 2))
        store_i64(words, word, base + load_i64(values, b))
    store_i64(status, 0, 0)
    store_i64(status, 2, last + 1)
    if times != 0:
        store_i64(times, first, cycles())
    if first >= last or load_i64(steps, 3 * first + 2) >= last:
        threads = 1  # there is nothing to share
    if threads > 1:
        atomic_store(team, ARRIVED, 0)
        store_i64(team, JOB, job)
        atomic_add(team, GENERATION, 1)
        for _ in range(atomic_exchange(team, SLEEPERS, 0)):
            sem_post(team + 8 * SEMAPHORE)
    step = _walk(thread, threads, steps, first, last, team, status, budget, times)
    if threads > 1:
        # Every worker has left the walk before the next run may reset the team's words.
        _barrier(team, atomic_load(team, ARRIVED) // threads * threads + threads)
    return step if atomic_load(status, 0) == 0 and atomic_load(status, 3) == 0 else -1


@kernel
def work(thread: int, threads: int, team: Pointer) -> int:
    """Serve a team as one of its workers until it is stopped."""
    seen = 0
    while True:
        start = cycles()
        while atomic_load(team, GENERATION) == seen:
            pause()
            if cycles() - start > CYCLES_BEFORE_SLEEP:
                # The leader posts for every sleeper it sees; a post too many only wakes early.
                atomic_add(team, SLEEPERS, 1)
                if atomic_load(team, GENERATION) == seen:
                    sem_wait(team + 8 * SEMAPHORE)
                start = cycles()
        seen += 1
        if atomic_load(team, STOP) != 0:
            return 0
        _walk_job(load_i64(team, JOB), thread, threads)
        atomic_add(team, ARRIVED, 1)


@kernel
def read_cycles(thread: int, threads: int) -> int:
    """Return the time stamp counter."""
    return cycles()
