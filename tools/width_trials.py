"""Trials of vectors of 512 and of 256 bits: which multiply more on this processor.

Some processors lower their clock where cores multiply vectors of 512 bits, and some that do have
one unit for these and two for vectors of 256 bits. So the inner loop of a tile runs in both
widths, in turns, each long enough for the clock to settle before it is timed, on one core and on
all at once. Only where 256 bits are faster do kernels take them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import types

from ..kernels import simd
from ..kernels.amx_permission import has_amx
from ..kernels.compiler import native_function
from ..kernels.emitter import BYTE, Emitter
from ..kernels.registry import Pointer, kernel_factory
from ..kernels.storage import recalled, replaced
from ..kernels.target import HALVED, has_feature, target, width_question
from ..kernels.vectors import F32, I64, intrinsic
from ..runtime.processors import available_processors

ROWS, VECTORS, DEPTH = 12, 2, 64
"""Of the tile: sums fill 24 registers of either width, and its operands the first-level cache."""
_SETTLE_S, _TIMED_S, _TURNS, _ATTEMPTS = 0.005, 0.01, 5, 3
_FASTER = 1.03
_SPREAD = 0.1
"""What the ratio of the widths may differ by between turns."""


class Widths(NamedTuple):
    """What was measured of vectors' widths.

    Attributes
    ----------
    bits
        Of the vectors that kernels take.
    one, every
        Speed of vectors of 256 bits over that of 512, on one core and on all at once.
    """

    bits: int
    one: float
    every: float


@intrinsic(prefer_literal=True)
def _multiply(typingctx, bits, x, y, rounds):  # type: ignore[no-untyped-def]
    """Add products of `ROWS` by `DEPTH` numbers and `DEPTH` by `VECTORS` vectors, some times."""
    lanes = bits.literal_value // 32

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        emit, vector = Emitter(builder), ir.VectorType(F32, lanes)
        source, target = (builder.inttoptr(address, BYTE) for address in args[1:3])
        weights = emit.address(source, I64(4 * ROWS * DEPTH))

        def loaded(pointer: Any, kind: ir.Type) -> Any:
            return builder.load(builder.bitcast(pointer, kind.as_pointer()), align=4)

        def step(_: Any, carried: list[Any]) -> list[Any]:
            a, b, *sums = carried
            panel = [loaded(emit.address(b, I64(4 * lanes * j)), vector) for j in range(VECTORS)]
            for row in range(ROWS):
                number = loaded(emit.address(a, I64(4 * DEPTH * row)), F32)
                spread = simd.emit_splat(builder, number, lanes)
                for j in range(VECTORS):
                    at = row * VECTORS + j
                    name, each = f"llvm.fma.v{lanes}f32", [spread, panel[j], sums[at]]
                    sums[at] = simd.call_by_name(builder, name, vector, each)
            moved = emit.address(a, I64(4)), emit.address(b, I64(4 * lanes * VECTORS))
            return [*moved, *sums]

        def again(_: Any, sums: list[Any]) -> list[Any]:
            start = [source, weights, *sums]
            return emit.counted_loop("k", I64(DEPTH), start, step)[2:]

        zeros = [ir.Constant(vector, None)] * (ROWS * VECTORS)
        for i, total in enumerate(emit.counted_loop("round", args[3], zeros, again)):
            at = emit.address(target, I64(4 * lanes * i))
            builder.store(total, builder.bitcast(at, vector.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(bits, x, y, rounds), codegen


@kernel_factory
def products(bits: int) -> Callable[..., int]:
    """Multiply and add in vectors of so many bits, ``rounds`` times."""

    def body(
        thread: int, part: int, until: int, parts: int, x: Pointer, y: Pointer, rounds: int
    ) -> int:
        _multiply(bits, x, y, rounds)
        return 0

    return body


def widths(fresh: bool = False) -> Widths | None:
    """Return what is kept of vectors' widths, or measure it.

    None where there is no choice: the processor has no vectors of 512 bits, or AMX, whose tiles
    have 512, or the environment says how wide vectors are; and where other work disturbs this.
    """
    if has_amx() or not all(map(has_feature, ("avx512f", *HALVED))):
        return None
    question = width_question(f"{target().cpu} {target().features}")
    line = None if fresh else recalled(question)
    if line is not None:
        bits, one, every = line.split()
        return Widths(int(bits), float(one), float(every))
    for _ in range(_ATTEMPTS):
        found = _measure()
        if found is not None:
            replaced(question, f"{found.bits} {found.one:.3f} {found.every:.3f}")
            return found
    return None


def _measure() -> Widths | None:
    """Compare the widths; None where the ratio differs too much from one turn to the next."""
    ratios = []
    for threads in dict.fromkeys((1, available_processors())):
        turns = [_rate(256, threads) / _rate(512, threads) for _ in range(_TURNS)]
        if np.subtract(*np.quantile(turns, (0.75, 0.25))) > _SPREAD * np.median(turns):
            return None
        ratios.append(float(np.median(turns)))
    one, every = ratios[0], ratios[-1]
    return Widths(256 if (one * every) ** 0.5 > _FASTER else 512, one, every)


def _rate(bits: int, threads: int) -> float:
    """Return the multiply-adds of some threads at once, in 1e9/s."""
    kernel, start = products(bits), threading.Barrier(threads)
    call, rates = native_function(kernel.address), []

    def run() -> None:
        x = np.zeros(DEPTH * (ROWS + VECTORS * 16), np.float32)
        y = np.zeros(ROWS * VECTORS * 16, np.float32)
        record = kernel.record(x=x, y=y, rounds=100)
        start.wait()
        end, rounds, used = time.perf_counter() + _SETTLE_S, 0, 0
        while time.perf_counter() < end:
            call(record.ctypes.data)
        end = time.perf_counter() + _TIMED_S
        while rounds == 0 or time.perf_counter() < end:
            before = time.thread_time_ns()
            call(record.ctypes.data)
            used += time.thread_time_ns() - before
            rounds += 100
        rates.append(rounds * ROWS * VECTORS * DEPTH * (bits // 32) / used)

    others = [threading.Thread(target=run) for _ in range(1, threads)]
    for other in others:
        other.start()
    run()
    for other in others:
        other.join()
    return sum(rates)
