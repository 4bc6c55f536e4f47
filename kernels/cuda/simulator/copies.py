"""Asynchronous copies of single threads: PTX ISA 9.0, section 9.7.9.25.3 (cp.async).

A copy is done when its thread waits for it, as late as the hardware may do it: a missing wait
shows in results.
"""

from __future__ import annotations

from .loads import shared_bytes
from .program import U64, Line, PtxError, State, operation


@operation("cp.async")
def _copy(state: State, line: Line) -> None:
    to, source, size = line.operands[:3]
    if size not in (4, 8, 16) or ("cg" in line.opcode and size != 16):
        raise PtxError("cp.async copies 4, 8 or 16 bytes, .cg 16")
    counts = state.get(line.operands[3]) if len(line.operands) > 3 else [size] * state.count
    starts, ends = state.addresses(source, U64), state.addresses(to)
    for i, thread in enumerate(state.threads):
        if state.active[i]:
            thread.trace[f"{state.name} {size}"].append(int(ends[i]))
            there = shared_bytes(state, int(ends[i]), size)
            count, start = int(counts[i]), int(starts[i])
            if count > size or start % size:
                raise PtxError(f"cp.async of {count} of {size} bytes at {start:#x}")
            state.block.memory.part(start, count)
            thread.pending.append((there, int(ends[i]), start, count))
            if state.block.accesses is not None:
                state.block.accesses.refuse_write(thread.index, int(ends[i]), size)


@operation("cp.async.commit_group")
def _commit(state: State, line: Line) -> None:
    for thread in state.threads:
        thread.groups.append(thread.pending)
        thread.pending = []


@operation("cp.async.wait_group")
def _wait(state: State, line: Line) -> None:
    (left,) = line.operands
    for thread in state.threads:
        while len(thread.groups) > left:
            for there, end, start, count in thread.groups.pop(0):
                if state.block.accesses is not None:
                    state.block.accesses.write(thread.index, end, len(there))
                there[:] = 0
                if count:
                    there[:count] = state.block.memory.part(start, count)
