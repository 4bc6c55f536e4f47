"""Trials of vectors' accesses to memory: masked stores, conversions and gathers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types

from ..kernels import simd
from ..kernels.compiler import native_function
from ..kernels.emitter import BYTE, Emitter
from ..kernels.registry import Kernel, Pointer, kernel, kernel_factory
from ..kernels.target import LANES
from ..kernels.vector_memory import VECTOR_MEMORY
from ..kernels.vectors import F32, I1, I32, I64, intrinsic

VECTORS = 64
"""Of numbers that a trial moves, which the first-level cache holds."""
ROUNDS = 1000
_CONVERTED = ("f16", "bf16", "i8", "u8")


@intrinsic
def _gather(typingctx, x, indices, y):  # type: ignore[no-untyped-def]
    """Store x[indices] at y, a vector of each."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        emit = Emitter(builder)
        offsets, target = (builder.inttoptr(address, BYTE) for address in args[1:])
        numbers = builder.load(
            builder.bitcast(offsets, ir.VectorType(I32, LANES).as_pointer()), align=4
        )
        wide = builder.sext(numbers, ir.VectorType(I64, LANES))
        bytes_on = builder.mul(wide, simd.emit_splat(builder, I64(4)))
        addresses = builder.add(bytes_on, simd.emit_splat(builder, args[0]))
        pointers = builder.inttoptr(addresses, ir.VectorType(F32.as_pointer(), LANES))
        vector, flags = ir.VectorType(F32, LANES), ir.VectorType(I1, LANES)
        name = f"llvm.masked.gather.v{LANES}f32.v{LANES}p0"
        every = ir.Constant(flags, [1] * LANES)
        zeros = ir.Constant(vector, [0.0] * LANES)
        values = simd.call_by_name(builder, name, vector, [pointers, I32(4), every, zeros])
        emit.vector_store(values, target)
        return context.get_dummy_value()

    return types.void(x, indices, y), codegen


@kernel
def gather(
    thread: int, part: int, until: int, parts: int, x: Pointer, i: Pointer, y: Pointer, n: int,
    rounds: int,
) -> int:  # fmt: skip
    """Gather ``n`` vectors of x by indices, ``rounds`` times, into y."""
    for _ in range(rounds):
        for at in range(0, 4 * LANES * n, 4 * LANES):
            _gather(x, i + at, y + at)
    return 0


@kernel_factory
def moves(source: str, target: str, is_partial: bool) -> Callable[..., int]:
    """Copy ``n`` vectors of x to y, converted, or the first ``lanes`` of each, ``rounds`` times."""
    load = VECTOR_MEMORY[source][0]
    _, store, _, store_first = VECTOR_MEMORY[target]

    def body(
        thread: int, part: int, until: int, parts: int, x: Pointer, y: Pointer, n: int,
        lanes: int, rounds: int,
    ) -> int:  # fmt: skip
        for _ in range(rounds):
            for at in range(0, LANES * n, LANES):
                if is_partial:
                    store_first(y, at, load(x, at), lanes)
                else:
                    store(y, at, load(x, at))
        return 0

    return body


def vector_runs() -> dict[str, Callable[[], Any]]:
    """Return what copies `VECTORS` vectors some times, by how."""
    own = {"copy": moves("f32", "f32", False), "store by a mask": moves("f32", "f32", True)}
    for kind in _CONVERTED:
        own[f"load as float32 from {kind}"] = moves(kind, "f32", False)
        own[f"store of float32 as {kind}"] = moves("f32", kind, False)
    sizes = {"n": VECTORS, "rounds": ROUNDS}
    runs = {name: _run(each, lanes=LANES - 1, **sizes) for name, each in own.items()}
    order = np.random.default_rng(0).permutation(VECTORS * LANES).astype(np.int32)
    return runs | {"gather": _run(gather, i=order, **sizes)}


def _run(own: Kernel, **values: Any) -> Callable[[], Any]:
    arrays = {name: np.zeros(VECTORS * LANES, np.float32) for name in "xy"}
    record, call = own.record(**arrays, **values), native_function(own.address)

    def run(kept: Any = (arrays, values)) -> None:
        call(record.ctypes.data)

    return run
