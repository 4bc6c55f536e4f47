"""Loads, stores and barriers: PTX ISA 9.0, sections 9.7.9.8, 9.7.9.11 and 9.7.13.1.

Accesses have to be aligned to their size, a vector's to the whole of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .program import U32, U64, Address, Line, PtxError, State, operation


def _sizes(line: Line) -> tuple[int, int]:
    """Return the registers of an access and the bytes of each."""
    count = next((int(part[1]) for part in line.opcode if part in ("v2", "v4")), 1)
    return count, int(line.opcode[-1][1:]) // 8


def shared_bytes(state: State, address: int, size: int) -> np.ndarray:
    """Return bytes of shared memory.

    Raises
    ------
    IndexError
        They are not there, or not aligned to their number.
    """
    if not 0 <= address <= state.block.shared.size - size:
        raise IndexError(f"{size} bytes at {address} of {state.block.shared.size} shared ones")
    if address % size:
        raise IndexError(f"{size} bytes at {address} of shared memory: not aligned")
    view: np.ndarray = state.block.shared[address : address + size]
    return view


def _views(state: State, line: Line, place: Any, size: int) -> list[np.ndarray | None]:
    assert isinstance(place, Address)
    is_shared = any(part.startswith("shared") for part in line.opcode)
    addresses = state.addresses(place, U32 if is_shared else U64)
    views: list[np.ndarray | None] = []
    for thread, address, active in zip(
        state.threads, addresses.tolist(), state.active, strict=True
    ):
        if not active:
            views.append(None)
        elif is_shared:
            thread.trace[f"{state.name} {size}"].append(address)
            views.append(shared_bytes(state, address, size))
            accesses = state.block.accesses
            if accesses is not None:
                note = accesses.write if line.opcode[0] == "st" else accesses.read
                note(thread.index, address, size)
        else:
            views.append(state.block.memory.view(address, size))
    return views


_UNSIGNED = {1: np.uint8, 2: np.uint16, 4: U32, 8: U64}
_SIGNED = {1: np.int8, 2: np.int16, 4: np.int32, 8: np.int64}


@operation("ld.global", "ld.shared")
def _load(state: State, line: Line) -> None:
    count, size = _sizes(line)
    to, place = line.operands
    dtype = _SIGNED[size] if line.opcode[-1][0] == "s" else _UNSIGNED[size]
    wide = U64 if size == 8 else U32
    values = np.zeros((state.count, count), wide)
    for i, view in enumerate(_views(state, line, place, count * size)):
        if view is not None:
            values[i] = view.view(dtype).astype(np.int64 if size < 8 else dtype).astype(wide)
    for i, register in enumerate(to if count > 1 else (to,)):
        state.set(register, values[:, i].copy())


@operation("st.global", "st.shared")
def _store(state: State, line: Line) -> None:
    count, size = _sizes(line)
    place, source = line.operands
    sources = source if count > 1 else (source,)
    values = np.stack([state.get(each, U64 if size == 8 else U32) for each in sources], 1)
    values = values.astype(_UNSIGNED[size])
    for i, view in enumerate(_views(state, line, place, count * size)):
        if view is not None:
            view[:] = values[i].view(np.uint8)


@operation("bar.sync")
def _barrier(state: State, line: Line) -> None:
    name, count = (*line.operands, 0)[:2]
    if state.count != 1:
        raise PtxError("barriers are executed by single threads")
    number = name if isinstance(name, int) else int(state.get(name)[0])
    state.block.barrier(state.threads[0], number, count)
