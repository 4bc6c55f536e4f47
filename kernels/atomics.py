"""Threads in compiled code: atomic words, waiting, and how floating-point numbers are treated.

Addresses are int64 byte addresses of words, indices count words. Atomic operations are sequentially
consistent unless they say otherwise.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit
from numba.core import cgutils, types

from .simd import I32, I64, call_by_name, intrinsic, load_i64, stack_words, store_i64
from .target import MACHINE

AFFINITY_WORDS = 16
"""Words of a set of processors, a bit each."""


def _word(builder: ir.IRBuilder, address: Any, index: Any) -> Any:
    pointer = builder.inttoptr(address, I64.as_pointer())
    return builder.gep(pointer, [index])


# --- atomic words -----------------------------------------------------------------------------


def _make_atomic(name: str) -> Any:
    """Operation on an int64: ``load``, ``store``, ``publish``, ``add`` or ``xchg``."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        pointer = _word(builder, args[0], args[1])
        if name == "load":
            return builder.load_atomic(pointer, "seq_cst", 8)
        if name in ("store", "publish"):
            order = "seq_cst" if name == "store" else "release"
            builder.store_atomic(args[2], pointer, order, 8)
            return context.get_dummy_value()
        return builder.atomic_rmw(name, pointer, args[2], "seq_cst")

    if name == "load":

        @intrinsic
        def atomic(typingctx, address, index):  # type: ignore[no-untyped-def]
            return types.int64(types.int64, types.int64), codegen

        return atomic
    result = types.void if name in ("store", "publish") else types.int64

    @intrinsic
    def atomic_with_value(typingctx, address, index, value):  # type: ignore[no-untyped-def]
        return result(types.int64, types.int64, types.int64), codegen

    return atomic_with_value


atomic_load, atomic_store = _make_atomic("load"), _make_atomic("store")
atomic_publish = _make_atomic("publish")
"""Store with release order: who sees the value sees all that was stored before it."""
atomic_add, atomic_exchange = _make_atomic("add"), _make_atomic("xchg")


@intrinsic
def atomic_compare_exchange(typingctx, address, index, expected, value):  # type: ignore[no-untyped-def]
    """Store a value where the expected one is found; tells whether it was."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        pointer = _word(builder, args[0], args[1])
        found = builder.cmpxchg(pointer, args[2], args[3], "seq_cst", "seq_cst")
        return builder.extract_value(found, 1)

    return types.boolean(*[types.int64] * 4), codegen


# --- waiting ----------------------------------------------------------------------------------


_FULL_SYSTEM = 15
"""What a barrier of ARM's is for: all that can be seen."""
_USUAL_CLOCK = 2_500_000_000


@intrinsic
def pause(typingctx):  # type: ignore[no-untyped-def]
    """Tell the processor that this is a spin loop."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        if MACHINE == "x86_64":
            call_by_name(builder, "llvm.x86.sse2.pause", ir.VoidType(), [])
        elif MACHINE == "aarch64":  # waits about as long; a yield does nothing on most processors
            call_by_name(builder, "llvm.aarch64.isb", ir.VoidType(), [I32(_FULL_SYSTEM)])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def cycles(typingctx):  # type: ignore[no-untyped-def]
    """Read the processor's time stamp counter, which counts about as fast as a core's clock."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        if MACHINE == "aarch64":
            return _scaled_timer(builder)
        return call_by_name(builder, "llvm.readcyclecounter", I64, [])

    return types.int64(), codegen


def _scaled_timer(builder: ir.IRBuilder) -> Any:
    """Emit ARM's timer in cycles of a usual clock: it has 25 MHz to 1 GHz, and says how many.

    The counter of cycles itself is closed to programs.
    """
    ticks, frequency = (
        call_by_name(builder, f"llvm.read_{kind}.i64", I64, [builder.module.add_metadata([name])])
        for kind, name in (("volatile_register", "cntvct_el0"), ("register", "cntfrq_el0"))
    )
    return builder.mul(ticks, builder.udiv(I64(_USUAL_CLOCK), frequency))


sem_wait: Any = types.ExternalFunction("sem_wait", types.int32(types.int64))
sem_post: Any = types.ExternalFunction("sem_post", types.int32(types.int64))
clock_gettime: Any = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.int64))
thread_number: Any = types.ExternalFunction("gettid", types.int32())
sched_getaffinity: Any = types.ExternalFunction(
    "sched_getaffinity", types.int32(types.int32, types.int64, types.int64)
)
sched_setaffinity: Any = types.ExternalFunction(
    "sched_setaffinity", types.int32(types.int32, types.int64, types.int64)
)
processor: Any = types.ExternalFunction("sched_getcpu", types.int32())
"""Number of the processor that the caller runs on; it may be another one in the next moment."""


@njit
def is_running(thread: int) -> bool:
    """Tell whether a thread of this process is running, by the time it has used, read twice."""
    clock = ~thread << 3 | 6  # Linux's number of the clock of a thread's processor time
    before, after = stack_words(2), stack_words(2)
    if clock_gettime(clock, before) != 0:
        return True
    start = cycles()
    while cycles() - start < 4000:
        pause()
    if clock_gettime(clock, after) != 0:
        return True
    same = load_i64(before, 0) == load_i64(after, 0) and load_i64(before, 1) == load_i64(after, 1)
    return not same


@njit
def bring_to_processor(thread: int, number: int) -> None:
    """Have a thread of this process moved to a processor; it may leave it again."""
    size = 8 * AFFINITY_WORDS
    allowed, only = stack_words(AFFINITY_WORDS), stack_words(AFFINITY_WORDS)
    if not 0 <= number < 8 * size or sched_getaffinity(thread, size, allowed) != 0:
        return
    for word in range(AFFINITY_WORDS):
        store_i64(only, word, 0)
    store_i64(only, number // 64, 1 << number % 64)
    if sched_setaffinity(thread, size, only) == 0:
        sched_setaffinity(thread, size, allowed)


@njit
def leave_processor(number: int) -> None:
    """Have the calling thread moved to another processor than this one, if it may use another."""
    size = 8 * AFFINITY_WORDS
    mask = stack_words(AFFINITY_WORDS)
    if not 0 <= number < 8 * size or sched_getaffinity(0, size, mask) != 0:
        return
    word, bit = number // 64, 1 << number % 64
    allowed = load_i64(mask, word)
    store_i64(mask, word, allowed & ~bit)
    if sched_setaffinity(0, size, mask) == 0:  # refused where no other processor is left
        store_i64(mask, word, allowed)
        sched_setaffinity(0, size, mask)


# --- denormal numbers -------------------------------------------------------------------------

# Bits of the control register: flush results to zero, and take operands as zero.
_FLUSH = {"x86_64": 0x8000 | 0x0040, "aarch64": 1 << 24}.get(MACHINE, 0)


@intrinsic
def float_control(typingctx):  # type: ignore[no-untyped-def]
    """Read the thread's floating-point control register; 0 where it is not known how."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        if MACHINE == "x86_64":
            place = cgutils.alloca_once(builder, I32)
            pointer = builder.bitcast(place, ir.IntType(8).as_pointer())
            call_by_name(builder, "llvm.x86.sse.stmxcsr", ir.VoidType(), [pointer])
            return builder.zext(builder.load(place), I64)
        if MACHINE == "aarch64":
            return call_by_name(builder, "llvm.aarch64.get.fpcr", I64, [])
        return I64(0)

    return types.int64(), codegen


@intrinsic
def set_float_control(typingctx, value):  # type: ignore[no-untyped-def]
    """Write the thread's floating-point control register, as `float_control` gave it."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        if MACHINE == "x86_64":
            place = cgutils.alloca_once(builder, I32)
            builder.store(builder.trunc(args[0], I32), place)
            pointer = builder.bitcast(place, ir.IntType(8).as_pointer())
            call_by_name(builder, "llvm.x86.sse.ldmxcsr", ir.VoidType(), [pointer])
        elif MACHINE == "aarch64":
            call_by_name(builder, "llvm.aarch64.set.fpcr", ir.VoidType(), [args[0]])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@njit
def flush_denormals(flush: int) -> None:
    """Let denormal numbers be taken and stored as zeros in this thread, or (0) as they are."""
    control = float_control()
    set_float_control(control | _FLUSH if flush != 0 else control & ~_FLUSH)
