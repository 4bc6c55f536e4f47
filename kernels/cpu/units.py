"""Arithmetic units of this machine, and what each reaches in a second (``unit_rates`` keeps it).

A flag of the processor only permits an instruction. What it is worth differs: vdpbf16ps runs at
twice the rate of float32 on AMD's Zen 4, and at half of it on Intel's Emerald Rapids. Kernels are
chosen by this table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types

from .. import simd
from ..amx import ROWS, STATE_WORDS, release
from ..amx_permission import EMULATED, has_amx
from ..arithmetic import ARITHMETIC
from ..compiler import native_function
from ..emitter import BYTE, Emitter
from ..registry import Kernel, Pointer, kernel_factory
from ..scratch import scratch
from ..target import HAS_MASKS, LANES, MACHINE, has_feature
from ..trials import least_times
from ..vectors import F16, F32, I32, I64, BFloats, intrinsic
from .tile_block import configure_block, make_multiply

_CHAINS = 12
"""Independent sums: enough to hide the latency of two units, and few enough for 16 registers."""
_REGISTER = "w" if MACHINE == "aarch64" else "x"
"""What LLVM calls a register of a vector."""
_ROUNDS, _TURNS, _BURSTS = 100_000, 9, 3


@dataclass(frozen=True)
class Unit:
    """An instruction that multiplies and adds vectors.

    Attributes
    ----------
    features
        What LLVM calls the processor's features that permit it.
    name
        LLVM's name of it; none of pairs of int16, which are multiplied and then added.
    operations
        Multiplications and additions of one.
    sums, factors
        Vectors that it adds to, and of what it multiplies.
    """

    features: tuple[str, ...]
    name: str
    operations: int
    sums: ir.Type
    factors: ir.Type

    @property
    def is_permitted(self) -> bool:
        """Whether this processor has the instruction."""
        return all(has_feature(feature) for feature in self.features)

    def emit(self, builder: ir.IRBuilder, total: Any, a: Any, b: Any) -> Any:
        """Emit ``total + a * b``."""
        if not self.name:
            # The same product would be computed once, before all rounds, if LLVM saw that it is.
            kind = ir.FunctionType(self.factors, [self.factors])
            other = builder.call(ir.InlineAsm(kind, "", f"={_REGISTER},0", side_effect=True), [a])
            return ARITHMETIC["i16"].add_product(builder, other, b, total)
        args = [a, b, total] if self.name.startswith("llvm.fma") else [total, a, b]
        return simd.call_by_name(builder, self.name, self.sums, args)


def _words(count: int) -> ir.VectorType:
    return ir.VectorType(I32, count)


_WIDE = LANES if HAS_MASKS else 16
"""Words of a vector of AVX-512, whose units no other kernels use."""
_FLOATS, _HALVES = ir.VectorType(F32, LANES), ir.VectorType(F16, 32)
UNITS = {
    "float32": Unit((), f"llvm.fma.v{LANES}f32", 2 * LANES, _FLOATS, _FLOATS),
    "float16": Unit(("avx512fp16",), "llvm.fma.v32f16", 64, _HALVES, _HALVES),
    "bfloat16": Unit(("avx512bf16",), f"llvm.x86.avx512bf16.dpbf16ps.{32 * _WIDE}", 4 * _WIDE,
                     ir.VectorType(F32, _WIDE), BFloats(2 * _WIDE)),
    "int16 in two steps": Unit((), "", 4 * LANES, _words(LANES), _words(LANES)),
    "int16": Unit(("avx512vnni",), f"llvm.x86.avx512.vpdpwssd.{32 * _WIDE}", 4 * _WIDE,
                  _words(_WIDE), _words(_WIDE)),
    "int8": Unit(("avx512vnni",), f"llvm.x86.avx512.vpdpbusd.{32 * _WIDE}", 8 * _WIDE,
                 _words(_WIDE), _words(_WIDE)),
    "int8 of 256 bits": Unit(("avx512vnni", "avx512vl"), "llvm.x86.avx512.vpdpbusd.256", 64,
                             _words(8), _words(8)),
    "int8 of AVX-VNNI": Unit(("avxvnni",), "llvm.x86.avx512.vpdpbusd.256", 64,
                             _words(8), _words(8)),
}  # fmt: skip
"""Units by the type of what they multiply."""
_NAMES = list(UNITS)


@intrinsic(prefer_literal=True)
def _keep_busy(typingctx, unit, x, y, rounds):  # type: ignore[no-untyped-def]
    instruction = UNITS[_NAMES[unit.literal_value]]

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        emit = Emitter(builder)
        source, target = (builder.inttoptr(address, BYTE) for address in args[1:3])

        factors = instruction.factors
        plain = _words(_WIDE) if isinstance(factors, BFloats) else factors

        def operand(offset: int) -> Any:
            at = builder.bitcast(emit.address(source, I64(offset)), plain.as_pointer())
            value = builder.load(at, align=4)
            return value if plain is factors else builder.bitcast(value, factors)

        a, b = operand(0), operand(64)
        zero = ir.Constant(instruction.sums, None)

        def step(_: Any, sums: list[Any]) -> list[Any]:
            return [instruction.emit(builder, total, a, b) for total in sums]

        for i, total in enumerate(emit.counted_loop("round", args[3], [zero] * _CHAINS, step)):
            at = emit.address(target, I64(64 * i))
            builder.store(total, builder.bitcast(at, instruction.sums.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(unit, x, y, rounds), codegen


@kernel_factory
def busy(unit: str) -> Callable[..., int]:
    """Multiply and add in `_CHAINS` chains, ``rounds`` times; x has two vectors, y room for all."""
    number = _NAMES.index(unit)

    def body(
        thread: int, part: int, until: int, parts: int, x: Pointer, y: Pointer, rounds: int
    ) -> int:
        _keep_busy(number, x, y, rounds)
        return 0

    return body


TILE_UNITS = {"AMX bfloat16": "bf16", "AMX int8": "u8"}
"""Units of AMX, and their kinds of ``amx.PRODUCTS``: all of bytes take the same time."""
_TILE_SUMS = 4
_TILE_OPERATIONS = {"bf16": 2 * 16 * 16 * 32, "u8": 2 * 16 * 16 * 64}


@kernel_factory
def busy_tiles(kind: str) -> Callable[..., int]:
    """Multiply and add tiles of zeros to four of sums, ``rounds`` times."""
    multiply = make_multiply(kind)

    def body(
        thread: int, part: int, until: int, parts: int, x: Pointer, y: Pointer, rounds: int
    ) -> int:
        state = scratch(STATE_WORDS)
        configure_block(state, ROWS)
        for _ in range(rounds):
            multiply(state, True, True)
        release(state)
        return 0

    return body


@dataclass(frozen=True)
class _Trial:
    """A kernel that keeps a unit busy for ``rounds``, of some operations each."""

    kernel: Kernel
    rounds: int
    operations: int


def _trials() -> dict[str, _Trial]:
    trials = {
        name: _Trial(busy(name), _ROUNDS, unit.operations * _CHAINS)
        for name, unit in UNITS.items()
        if unit.is_permitted
    }
    if has_amx() and not EMULATED:
        for name, kind in TILE_UNITS.items():
            work = _TILE_SUMS * _TILE_OPERATIONS[kind]
            trials[name] = _Trial(busy_tiles(kind), _ROUNDS // 10, work)
    return trials


def measure() -> tuple[dict[str, float], float]:
    """Measure the operations of each unit that this machine has, in 1e9/s on one core.

    A multiply-add counts as two. Units take turns; what else the machine does only adds to a time.
    It takes some milliseconds, three seconds with pauses where tiles are measured, and a small
    kernel each to compile.

    Returns
    -------
    dict of str to float
    float
        What the speed of a unit, by that of float32, differs by at most between two moments.
    """
    x, y = np.zeros(32, np.float32), np.zeros(16 * _CHAINS, np.float32)
    trials = _trials()
    calls = {name: native_function(trial.kernel.address) for name, trial in trials.items()}
    records = {
        name: trial.kernel.record(x=x, y=y, rounds=trial.rounds) for name, trial in trials.items()
    }
    runs = [partial(call, records[name].ctypes.data) for name, call in calls.items()]
    bursts = 1 if trials.keys().isdisjoint(TILE_UNITS) else _BURSTS
    moments = np.array([least_times(runs, _TURNS, bursts) for _ in range(2)])
    shares = moments / moments[:, list(trials).index("float32"), None]
    spread = float((shares.max(axis=0) / shares.min(axis=0)).max()) - 1
    rates = {
        name: trial.operations * trial.rounds / own
        for (name, trial), own in zip(trials.items(), moments.min(axis=0), strict=True)
    }
    return rates, spread
