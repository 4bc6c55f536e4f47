"""Products of fragments and their loads: PTX ISA 9.0, sections 9.7.14.5.14 and 9.7.14.5.15.

Sums are computed in float64 (integers: exactly) and rounded to float32 once an instruction.
"""

from __future__ import annotations

import functools

import numpy as np

from .fragments import SHAPES
from .loads import shared_bytes
from .program import U32, Address, Line, PtxError, State, operation


def floats(bits: np.ndarray, kind: str) -> np.ndarray:
    """Return what elements are, as float64 or int64.

    Parameters
    ----------
    bits : ndarray of unsigned integers
        As wide as the elements.
    kind : str
        ``bf16``, ``f16``, ``tf32`` (of whose bits the last 13 do not count), ``s8`` or ``u8``.
    """
    if kind == "bf16":
        return (bits.astype(U32) << U32(16)).view(np.float32).astype(np.float64)
    if kind == "f16":
        return bits.astype(np.uint16).view(np.float16).astype(np.float64)
    if kind == "tf32":
        return (bits & U32(0xFFFFE000)).view(np.float32).astype(np.float64)
    if kind in ("s8", "u8"):
        return bits.astype(np.uint8).view(np.int8 if kind == "s8" else np.uint8).astype(np.int64)
    raise PtxError(f"elements of {kind}")


_UNSIGNED = {8: np.uint8, 16: np.uint16, 32: U32}


@functools.cache
def _places(shape: str) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    return tuple(SHAPES[shape].indices(which) for which in "abc")


@operation("mma.sync.aligned")
def _mma(state: State, line: Line) -> None:
    _, _, _, name, a_order, b_order, d_kind, a_kind, b_kind, _ = line.opcode
    if state.count != 32 or (a_order, b_order) != ("row", "col"):
        raise PtxError("mma takes a warp, and .row.col")
    shape = SHAPES[name]
    places = dict(zip("abc", _places(name), strict=True))
    matrices = {}
    for which, registers, kind in zip("ab", line.operands[1:3], (a_kind, b_kind), strict=True):
        bits = np.stack([state.get(each) for each in registers], 1)
        elements = np.ascontiguousarray(bits).view(_UNSIGNED[shape.bits])
        rows, columns = places[which]
        if elements.shape != rows.shape:
            raise PtxError(f"{len(registers)} registers of {which} in {line.text}")
        sizes = (shape.m, shape.k) if which == "a" else (shape.k, shape.n)
        matrix = np.full(sizes, 0, np.int64 if kind in ("s8", "u8") else np.float64)
        matrix[rows, columns] = floats(elements, kind)
        matrices[which] = matrix
    d_type = {"f32": np.float32, "s32": np.int32}[d_kind]
    with np.errstate(invalid="ignore", over="ignore"):
        product = (matrices["a"] @ matrices["b"])[places["c"]]
        to, source = line.operands[0], line.operands[3]
        for i, register in enumerate(to):
            total = state.get(source[i], d_type) + product[:, i]
            state.set(register, total.astype(d_type))


@operation("ldmatrix.sync.aligned.m8n8")
def _ldmatrix(state: State, line: Line) -> None:
    """Load 8 x 8 matrices of 16 bits; lanes 8 i to 8 i + 7 have the rows' addresses of matrix i."""
    to, place = line.operands
    count = {"x1": 1, "x2": 2, "x4": 4}[line.opcode[4]]
    if state.count != 32 or len(to) != count or not isinstance(place, Address):
        raise PtxError(f"ldmatrix of {count} matrices: {line.text}")
    addresses = state.addresses(place)
    for matrix, register in enumerate(to):
        rows = addresses[8 * matrix : 8 * matrix + 8].tolist()
        for row, thread in zip(rows, state.threads[8 * matrix :], strict=False):
            thread.trace["ldmatrix 16"].append(row)
            if state.block.accesses is not None:
                state.block.accesses.read(thread.index, row, 16)
        elements = np.stack([shared_bytes(state, row, 16).view(np.uint16) for row in rows])
        if "trans" in line.opcode:
            elements = elements.T
        # Lane l has the elements 2 (l % 4) and the next of row l / 4.
        pairs = np.ascontiguousarray(elements).view(U32)
        state.set(register, pairs.reshape(32).copy())
