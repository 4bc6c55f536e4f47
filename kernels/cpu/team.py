"""Teams: threads that walk a program's steps together and share the parts of each.

The parts of a step are dealt out as shares, one for each thread and in every step the same, so that
what a thread wrote is in its cache. A thread takes its own share at once, then half of what another
has left. Nobody waits for a thread that has taken nothing: the one that finishes a step's last part
goes on to the next step, whoever it is. (Work stealing after Blumofe & Leiserson 1999.)

A share is one word with a number that never comes again: who takes parts by a compare-exchange has
parts of the step under way, however long it slept before, and until they are finished the step, the
run and its record stay as they are. Without parts a thread reads the team's own words only. Each
thread waits at a line of its own, which tells all it needs of the step.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from ..abi import (
    ASLEEP,
    AWAKE,
    JOB_FIRST,
    JOB_FLUSH,
    JOB_LAST,
    JOB_STATUS,
    JOB_STEPS,
    LINE_ASLEEP,
    LINE_FLUSH,
    LINE_HOLDS,
    LINE_JOB,
    LINE_MOST,
    LINE_PROCESSOR,
    LINE_REACHED,
    LINE_SEMAPHORE,
    LINE_SHARE,
    LINE_STEP,
    LINE_THREAD,
    LINE_WORDS,
    MANY_PARTS,
    SHARE_SHIFT,
    SLICE_PARTS,
    SLICED_PARTS,
    STEP_COLUMNS,
    STEP_END,
    STEP_PARTS,
    TEAM_DEADLINE,
    TEAM_ENDED,
    TEAM_FOLLOWS,
    TEAM_LEFT,
    TEAM_LINES,
    TEAM_SEQUENCE,
    TEAM_STOP,
    TEAM_WOKEN,
    WOKEN,
)
from ..atomics import (
    atomic_add,
    atomic_compare_exchange,
    atomic_load,
    atomic_publish,
    atomic_store,
    bring_to_processor,
    cycles,
    flush_denormals,
    is_running,
    leave_processor,
    pause,
    processor,
    sem_post,
    sem_wait,
    thread_number,
)
from ..registry import Pointer, kernel
from ..simd import load_i64, store_i64
from .walk import (
    SLICE_CYCLES,
    call_parts,
    do_steps,
    has_stopped,
    look_for_signals,
    must_stop,
    note_time,
    report_error,
)

SPIN_CYCLES = 150_000
"""Time for which a thread without parts looks for some before it sleeps."""
MOMENT_CYCLES = 3000
"""Time for which it looks before it takes the shares of others."""
NEAR_CYCLES = 3_000_000
"""Time between two attempts to wake a thread that slept on the processor of the one that wakes."""
_MASK = (1 << SHARE_SHIFT) - 1


# --- shares -----------------------------------------------------------------------------------


@njit
def _line(team: Pointer, thread: int) -> Any:
    """Address of a thread's line."""
    return team + 8 * (TEAM_LINES + LINE_WORDS * thread)


@njit
def _deal(
    team: Pointer, job: Pointer, thread: int, step: int, begin: int, end: int, most: int
) -> None:
    """Give a thread its share of a step."""
    line = _line(team, thread)
    store_i64(line, LINE_MOST, most)
    store_i64(line, LINE_JOB, job)
    store_i64(line, LINE_STEP, step)
    share = (load_i64(team, TEAM_SEQUENCE) << SHARE_SHIFT | begin) << SHARE_SHIFT | end
    atomic_publish(line, LINE_SHARE, share)


@njit
def _publish(team: Pointer, job: Pointer, threads: int, step: int, parts: int) -> None:
    """Deal out the parts of a step."""
    store_i64(team, TEAM_SEQUENCE, load_i64(team, TEAM_SEQUENCE) + 1)
    store_i64(team, TEAM_LEFT, parts)
    most = SLICE_PARTS if parts == SLICED_PARTS else parts
    # The last share is never empty: the step cannot be over before all have been dealt out.
    for thread in range(threads):
        begin, end = parts * thread // threads, parts * (thread + 1) // threads
        _deal(team, job, thread, step, begin, end, most)
    # Who goes to sleep at this moment may be missed: others do its share.
    _call(team, threads, parts)


@njit
def _call(team: Pointer, threads: int, parts: int) -> None:
    """Wake threads that sleep and have enough to do in a step of so many parts."""
    for thread in range(threads):
        line = _line(team, thread)
        if _is_worth_waking(team, line, parts):
            store_i64(team, TEAM_WOKEN, cycles())
            _wake(line)


@njit
def _is_worth_waking(team: Pointer, line: Pointer, parts: int) -> Any:
    """Tell whether a thread sleeps and has enough to do, in a long step or in runs in a row."""
    if atomic_load(line, LINE_ASLEEP) != ASLEEP:
        return False
    if _is_here(line):
        # It may have moved meanwhile; but perhaps there is no other processor for it.
        return cycles() - load_i64(team, TEAM_WOKEN) > NEAR_CYCLES
    return parts >= MANY_PARTS or load_i64(team, TEAM_FOLLOWS) != 0


@njit
def _can_be_shared(team: Pointer, thread: int, threads: int, parts: int) -> Any:
    """Tell whether another thread may do parts of a step: it runs, or is worth waking.

    A long step is always shared: who is away, or has been woken, may come before it ends.
    """
    if parts >= MANY_PARTS:
        return True
    for other in range(threads):
        line = _line(team, other)
        if other == thread:
            continue
        if not _is_away(line) or _is_worth_waking(team, line, parts):
            return True
    return False


@njit
def _is_away(line: Pointer) -> Any:
    """Tell whether another thread cannot be running: it sleeps, or has the caller's processor."""
    return atomic_load(line, LINE_ASLEEP) != AWAKE or _is_here(line)


@njit
def _is_here(line: Pointer) -> Any:
    """Tell whether another thread was last seen on the caller's processor."""
    here = processor()
    return here >= 0 and load_i64(line, LINE_PROCESSOR) == here


@njit
def _wake(line: Pointer) -> None:
    if atomic_compare_exchange(line, LINE_ASLEEP, ASLEEP, WOKEN):
        sem_post(line + 8 * LINE_SEMAPHORE)


@njit
def _end(team: Pointer, step: int) -> None:
    """Tell the first thread that the run is over; its record may be another run's from then on."""
    store_i64(team, TEAM_SEQUENCE, load_i64(team, TEAM_SEQUENCE) + 1)
    share = load_i64(team, TEAM_SEQUENCE) << 2 * SHARE_SHIFT
    line = _line(team, 0)
    atomic_publish(line, LINE_REACHED, step)
    atomic_publish(line, LINE_SHARE, share)
    _wake(line)


@njit
def _parts_left(share: int) -> int:
    """Parts of a share that nobody has taken."""
    return (share & _MASK) - (share >> SHARE_SHIFT & _MASK)


@njit
def _take(line: Pointer, is_own: bool, most: int) -> Any:
    """Take parts of a share, ``most`` or fewer: (first, end), equal when none is left."""
    while True:
        share = atomic_load(line, LINE_SHARE)
        begin, left = share >> SHARE_SHIFT & _MASK, _parts_left(share)
        if left <= 0:
            return 0, 0
        # Of who is running half is left, which may be begun in the next moment.
        some = min(left if is_own or _is_away(line) else (left + 1) // 2, most)
        if atomic_compare_exchange(line, LINE_SHARE, share, share + (some << SHARE_SHIFT)):
            return begin, begin + some


@njit
def _note_processor(line: Pointer) -> int:
    """Note the processor that the owner of a line, the caller, runs on; returns its number."""
    here = processor()
    if load_i64(line, LINE_PROCESSOR) != here:  # others have this in their caches
        store_i64(line, LINE_PROCESSOR, here)
    return here


@njit
def _prepare(line: Pointer, job: Pointer, thread: int) -> None:
    """Note where the thread runs, and let it treat denormal numbers as the run wants it."""
    _note_processor(line)
    flush = load_i64(job, JOB_FLUSH)
    if thread != 0 and load_i64(line, LINE_FLUSH) != flush:
        flush_denormals(flush)
        store_i64(line, LINE_FLUSH, flush)


@njit
def _do_share(team: Pointer, owner: int, thread: int, threads: int) -> Any:
    """Do parts of a thread's share while there are any; (how many, record of the run, step)."""
    line = _line(team, owner)
    done, job, step, most, seen = 0, 0, 0, load_i64(line, LINE_MOST), cycles()
    while True:
        begin, end = _take(line, owner == thread, most)
        if begin == end:
            if done != 0:
                store_i64(_line(team, thread), LINE_HOLDS, 0)
            return done, job, step
        if done == 0:
            store_i64(_line(team, thread), LINE_HOLDS, 1)
            job, step = load_i64(line, LINE_JOB), load_i64(line, LINE_STEP)
            _prepare(_line(team, thread), job, thread)
        start = cycles()
        if not has_stopped(job):
            error = call_parts(load_i64(job, JOB_STEPS), step, thread, begin, end)
            if error != 0:
                report_error(load_i64(job, JOB_STATUS), error, step)
        done += end - begin
        if cycles() - start < SLICE_CYCLES:
            most *= 2
        if _parts_left(atomic_load(line, LINE_SHARE)) > 0:  # who slept when it began may help now
            row = STEP_COLUMNS * step
            _call(team, threads, load_i64(load_i64(job, JOB_STEPS), row + STEP_PARTS))
        if thread == 0:
            seen = look_for_signals(job, step, seen)


@njit
def _advance(team: Pointer, job: Pointer, thread: int, threads: int, step: int) -> None:
    """Go on at a step: do those that are not shared, then publish one, or end the run."""
    steps, first, last = load_i64(job, JOB_STEPS), load_i64(job, JOB_FIRST), load_i64(job, JOB_LAST)
    while first <= step < last and not must_stop(job, load_i64(team, TEAM_DEADLINE)):
        end = min(last, load_i64(steps, STEP_COLUMNS * step + STEP_END))
        if end <= step:
            parts = load_i64(steps, STEP_COLUMNS * step + STEP_PARTS)
            _note_processor(_line(team, thread))
            if _can_be_shared(team, thread, threads, parts):
                _publish(team, job, threads, step, parts)
                return
            end = step + 1
        step = do_steps(job, step, end, thread)
    _end(team, step)


@njit
def _number(line: Pointer) -> Any:
    """Number of a thread's share: another one means that there may be something to do."""
    return atomic_load(line, LINE_SHARE) >> 2 * SHARE_SHIFT


@njit
def _comes_soon(line: Pointer, number: int) -> Any:
    """Look for another share for a moment: reading those of others takes their cache lines away."""
    start = cycles()
    while cycles() - start < MOMENT_CYCLES:
        if _number(line) != number:
            return True
        pause()
    return False


@njit
def _help(team: Pointer, thread: int, threads: int) -> Any:
    """Do parts of the step under way; go on if they were its last. False: there were none."""
    helped = False
    line = _line(team, thread)
    number = _number(line)
    for distance in range(threads):
        if distance == 1 and _comes_soon(line, number):
            return True
        done, job, step = _do_share(team, (thread + distance) % threads, thread, threads)
        if done == 0:
            continue
        helped = True
        if atomic_add(team, TEAM_LEFT, -done) == done:
            note_time(job, step)
            _advance(team, job, thread, threads, step + 1)
            break
    return helped


# --- waiting ----------------------------------------------------------------------------------


@njit
def _shares_processor(team: Pointer, thread: int, threads: int) -> Any:
    """Tell whether another thread, awake, was last seen on this one's processor: it has to wait."""
    for other in range(threads):
        line = _line(team, other)
        if other != thread and atomic_load(line, LINE_ASLEEP) == AWAKE and _is_here(line):
            return True
    return False


@njit
def _bring_holders(team: Pointer, threads: int) -> None:
    """Let threads that have parts, but no processor, take this one, on which nothing is to be done.

    Systems leave a thread for milliseconds where another has been running in its place.
    """
    here = processor()
    for other in range(1, threads):
        line = _line(team, other)
        holder = load_i64(line, LINE_THREAD)
        elsewhere = load_i64(line, LINE_PROCESSOR) != here
        if load_i64(line, LINE_HOLDS) != 0 and elsewhere and not is_running(holder):
            bring_to_processor(holder, here)


@njit
def _wait(team: Pointer, thread: int, threads: int, number: int) -> None:
    """Wait for another share: look for it, for a while or not at all, then sleep."""
    line, start = _line(team, thread), cycles()
    patience = 0 if _shares_processor(team, thread, threads) else SPIN_CYCLES
    while _number(line) == number:
        if cycles() - start < patience:
            pause()
            continue
        if thread == 0:
            _bring_holders(team, threads)
        # Who deals out shares wakes only those that say that they sleep.
        atomic_store(line, LINE_ASLEEP, ASLEEP)
        if _number(line) == number:
            sem_wait(line + 8 * LINE_SEMAPHORE)
        atomic_store(line, LINE_ASLEEP, AWAKE)
        start = cycles()


@njit
def lead(team: Pointer, job: Pointer, first: int, threads: int, deadline: int) -> Any:
    """Walk steps as the first thread of a team; returns the step reached."""
    line = _line(team, 0)
    follows = cycles() - load_i64(team, TEAM_ENDED) < SPIN_CYCLES
    store_i64(team, TEAM_FOLLOWS, follows)
    store_i64(team, TEAM_DEADLINE, deadline)
    store_i64(line, LINE_REACHED, -1)
    _advance(team, job, 0, threads, first)
    while True:
        number, reached = _number(line), atomic_load(line, LINE_REACHED)
        if reached >= 0:
            store_i64(team, TEAM_ENDED, cycles())
            return reached
        if not _help(team, 0, threads):
            _wait(team, 0, threads, number)


@kernel
def work(thread: int, part: int, until: int, parts: int, team: Pointer) -> int:
    """Serve a team of ``parts`` threads as number ``part`` until it is stopped."""
    line = _line(team, part)
    store_i64(line, LINE_THREAD, thread_number())
    flush_denormals(0)  # threads begin with the control register of the one that started them
    while True:
        number = _number(line)
        if atomic_load(team, TEAM_STOP) != 0:
            return 0
        # Systems wake a thread beside the one that woke it, also where it can do nothing there.
        here = _note_processor(line)
        if here == load_i64(_line(team, 0), LINE_PROCESSOR):
            leave_processor(here)
        if not _help(team, part, parts):
            _wait(team, part, parts, number)
