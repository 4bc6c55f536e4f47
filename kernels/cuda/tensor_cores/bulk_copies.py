"""Bulk copies and the barriers in shared memory that tell of them.

PTX ISA 9.0, sections 9.7.9.27 and 9.7.13.15; compute capability 9.0. One thread has the copy unit
bring a box of a matrix (`tensor_map`); a barrier counts arrivals and bytes, and has phases, whose
parity waiters name.
"""

from __future__ import annotations

from ..ptx import Instruction, Operand

_AT = Operand("at", "b32")

begin_barrier = Instruction(
    "begin_barrier",
    ("mbarrier.init.shared::cta.b64 [%at], %count;",),
    (_AT, Operand("count", "b32")),
    section="9.7.13.15.9",
)
"""Make a barrier, a phase of which ends when ``count`` threads have arrived."""

show_barriers = Instruction(
    "show_barriers",
    ("fence.mbarrier_init.release.cluster;", "fence.proxy.async.shared::cta;"),
    section="9.7.13.4",
)
"""Let the copy unit see barriers that were made."""

arrive = Instruction(
    "arrive", ("mbarrier.arrive.shared::cta.b64 _, [%at];",), (_AT,), section="9.7.13.15.13"
)
arrive_and_expect = Instruction(
    "arrive_and_expect",
    ("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%at], %bytes;",),
    (_AT, Operand("bytes", "b32")),
    section="9.7.13.15.13",
)
"""Arrive, and let the phase wait for so many bytes, too."""

is_over = Instruction(
    "is_over",
    (
        ".reg .pred %over;",
        "mbarrier.try_wait.parity.shared::cta.b64 %over, [%at], %parity;",
        "selp.b32 %result, 1, 0, %over;",
    ),
    (_AT, Operand("parity", "b32")),
    Operand("result", "b32"),
    section="9.7.13.15.16",
)
"""Tell whether the phase of a parity is over, after waiting for a while."""

copy_box = Instruction(
    "copy_box",
    (
        "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
        "[%to], [%map, {%x, %y, %z}], [%at];",
    ),
    (
        Operand("to", "b32"),
        Operand("map", "b64"),
        Operand("x", "s32"),
        Operand("y", "s32"),
        Operand("z", "s32"),
        _AT,
    ),
    section="9.7.9.27.1.2",
)
"""Copy the box of a tensor map whose first column, row and matrix are given, and tell a barrier."""
