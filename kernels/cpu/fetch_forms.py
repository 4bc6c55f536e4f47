"""Form of the requests for a stream of weights from memory, measured once on a machine.

A product of few rows waits for its weights, and asks for them ahead of time. Processors follow a
stream by themselves, more or less far, and each request takes the place of a load: on AMD's Zen 4
weights of bfloat16 come at 23 GB/s where each cache line is asked for, at 32 where every second one
is, those of 4 bits at 24 and 30; Zen 5 reads 29 GB/s with all lines, 24 with half of them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from ..compiler import environment_key, native_function
from ..cost_tables import family_of
from ..machine_costs import machine_costs
from ..registry import Pointer, kernel_factory
from ..storage import remembered
from ..target import target
from ..trials import fastest
from .packed_rows import packed_rows
from .packed_weights import PANEL, unit_bytes

_LINES = (1, 4)
"""Lines of which the first is asked for, by form."""
_STREAM_BYTES = 64 << 20
"""Bytes of a trial's weights, which most caches do not hold."""
_TURNS = 30


@kernel_factory
def stream(every: int) -> Callable[..., int]:
    """Multiply a row by a panel of bfloat16, asking for the first of each ``every`` lines.

    Lines are asked for ``distance`` bytes ahead.
    The sums are added to (PANEL) at ``c``.
    """
    step = unit_bytes("bf16")

    def body(
        thread: int,
        part: int,
        until: int,
        parts: int,
        x: Pointer,
        w: Pointer,
        c: Pointer,
        units: int,
        distance: int,
    ) -> int:
        packed_rows("bf16", "f32", 1, every, x, 0, w, 0, 0, 0.0, 0, 0, 1, units, c, w + distance,
                    step, 0)  # fmt: skip
        return 0

    return body


@functools.cache
def lines_of_request() -> int:
    """Return the lines of a stream of which it is fastest to ask for the first.

    They are measured where the processor's family does not say so.
    """
    question = f"lines of a request\n{environment_key()}"
    known = family_of(target()).lines
    return known or _LINES[int(remembered(question, lambda: str(_try_lines())))]


def _try_lines() -> int:
    units = _STREAM_BYTES // unit_bytes("bf16")
    # Written to, so that they are not one page of zeros.
    weights = np.ones((units, PANEL), np.uint16)
    x, c = np.ones(units, np.float32), np.zeros(PANEL, np.float32)
    forms, distance = [], machine_costs().streams.bytes_ahead()
    for every in _LINES:
        of_lines = stream(every)
        record = of_lines.record(x=x, w=weights, c=c, units=units, distance=distance)
        call = native_function(of_lines.address)
        forms.append(lambda call=call, record=record: call(record.ctypes.data))
    return fastest(forms, _TURNS)
