"""Expected part of copy bandwidth that a kernel reaches, from its own PTX and registers.

The text is cut to its innermost loops with accesses to global memory. An iteration of a warp takes
as long as what is busiest: the instructions it issues, the waiting for its loads, as far as other
warps do not fill that, or the bytes it moves. What is loaded before is read again from the second
cache: loops after the first that loads, as norms have them. Neighbouring threads are taken to
access neighbouring elements; collisions and caches that miss are not known. Of several loops that
store, for layouts that differ, the best one counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .machines import Gpu

_LATENCY = 700
"""Clocks from a load to its value under load."""
_DEPENDENT = 4
"""Clocks from an instruction to one that needs its result."""
_WARP = 32
_COSTS = (
    # Behind a comparison that numbers below 2 ** 32 pass by: they are divided with 32 bits.
    (r"(div|rem)\.[su]64", 0),
    (r"(div|rem)\.[su]32", 20),
    (r"div\.rn\.f32|sqrt\.rn", 12),
    (r"(ex2|lg2|sin|cos|rcp|rsqrt|sqrt|tanh)\.approx", 8),
    (r"cvt\.[a-z.]*f(16|32|64)|cvt\.[a-z.]*[su]\d+\.f", 4),
    (r"\w+\.(rn\.)?f64", 2),
    (r"(mul|mad)\.(lo|wide)?\.?[su]64", 4),
    (r"(add|sub|shl|shr|and|or|xor|setp|selp|min|max|neg)\.\w*\.?[sub]64", 2),
)
"""Instructions of the processor for one of PTX, by what it begins with; others are one."""
_ACCESS = re.compile(r"(ld|st)\.global(?:\.[a-z]\w*)*?(?:\.v([24]))?\.[a-z]+(\d+)\s")
_MOST_THREADS = {"sm_80": 2048, "sm_89": 1536, "sm_90": 2048, "sm_90a": 2048}


@dataclass(frozen=True)
class Loop:
    """What an iteration of a thread does.

    Attributes
    ----------
    loaded, stored : int
        Bytes.
    issued : int
        Instructions.
    rounds : int
        Times that it waits for loads: those before a store are under way together.
    """

    loaded: int
    stored: int
    issued: int
    rounds: int


def loops_of(ptx: str) -> list[Loop]:
    """Return the innermost loops of a kernel that access global memory, in order."""
    lines = [line.strip() for line in ptx.splitlines()]
    labels = {line[:-1]: i for i, line in enumerate(lines) if line.endswith(":")}
    spans = []
    for i, line in enumerate(lines):
        target = re.search(r"\bbra(?:\.uni)?\s+(\$\w+)", line)
        begin = labels.get(target[1], i) if target else i
        ends = begin < i and next(filter(None, lines[begin + 1 :])) == "ret;"
        if begin < i and not ends and any(_ACCESS.search(f"{each} ") for each in lines[begin:i]):
            spans.append((begin, i))
    inner = [
        span for span in spans
        if not any(other != span and span[0] <= other[0] and other[1] <= span[1] for other in spans)
    ]  # fmt: skip
    return [_loop(lines[begin:end]) for begin, end in dict.fromkeys(inner)]


def _loop(lines: list[str]) -> Loop:
    loaded = stored = issued = rounds = 0
    waits = False
    for line in lines:
        if not line or line.endswith(":") or line.startswith((".", "//", "{", "}", "mov")):
            continue
        issued += _cost(line)
        if access := _ACCESS.search(f"{line} "):
            size = int(access[2] or 1) * int(access[3]) // 8
            if access[1] == "ld":
                loaded += size
                waits = True
            else:
                stored += size
                rounds += waits
                waits = False
    return Loop(loaded, stored, issued, rounds + waits)


def _cost(line: str) -> int:
    text = re.sub(r"^@!?%p\d+\s+", "", line)
    return next((cost for pattern, cost in _COSTS if re.match(pattern, text)), 1)


def resident_warps(gpu: Gpu, threads: int, registers: int, shared: int) -> int:
    """Return the warps of a kernel that a multiprocessor holds at a time."""
    blocks = min(
        gpu.REGISTERS // (-(-max(registers, 1) // 8) * 8 * threads),
        _MOST_THREADS[gpu.target] // threads,
        gpu.shared_bytes // (shared + gpu.RESERVED),
    )
    return max(blocks, 1) * threads // _WARP


def bandwidth_fraction(
    ptx: str, gpu: Gpu, registers: int, shared: int = 0, threads: int = 256
) -> float:
    """Return the expected part of the bandwidth of a copy; 0 where no loop moves anything.

    Parameters
    ----------
    ptx : str
        The kernel's text.
    gpu : Gpu
    registers, shared : int
        Registers of a thread, and bytes of shared memory of a block.
    threads : int
        Of a block.
    """
    loops = list(dict.fromkeys(loops_of(ptx)))
    warps = resident_warps(gpu, threads, registers, shared)
    readers = [loop for loop in loops if not loop.stored]
    writers: list[Loop | None] = [loop for loop in loops if loop.stored]
    fractions = [
        _fraction([*readers, *([writer] if writer else [])], gpu, warps)
        for writer in writers or [None]
    ]
    return max(fractions)


def _fraction(loops: list[Loop], gpu: Gpu, warps: int) -> float:
    """Return the part of copy bandwidth of loops that run one after the other."""
    from_memory = gpu.memory / gpu.clock / gpu.multiprocessors
    ideal = clocks = 0.0
    has_loaded = False
    for loop in loops:
        again = loop.loaded if has_loaded else 0
        moved = _WARP * (loop.loaded + loop.stored - again)
        has_loaded |= bool(loop.loaded)
        move = moved / from_memory + _WARP * again / gpu.l2_bytes
        alone = loop.rounds * _LATENCY + _DEPENDENT * loop.issued
        clocks += max(loop.issued / gpu.ISSUED, alone / warps, move)
        ideal += moved / from_memory
    return ideal / clocks if clocks else 0.0
