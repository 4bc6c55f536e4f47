"""ReverseSequence: the beginnings of sequences, of lengths that a tensor holds, backwards."""

from __future__ import annotations

from collections.abc import Callable

from ..registry import INVALID_NUMBER, Pointer, kernel_factory
from ..simd import load_i64
from .elements import run_copier


@kernel_factory
def reverse_sequence(itemsize: int) -> Callable[..., int]:
    """Copy runs of ``inner`` dense elements at (step, sequence), each sequence's first ones back.

    ``steps_apart`` and ``sequences_apart`` are their distances in elements, in x and in y;
    ``lengths`` are int64, from 0 to ``steps`` (else error 4). Runs are split into parts.
    """
    copy_run = run_copier(itemsize)

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, lengths: Pointer, y: Pointer, steps: int, sequences: int, inner: int,
        steps_apart: int, sequences_apart: int,
    ) -> int:  # fmt: skip
        total = steps * sequences
        for run in range(total * part // parts, total * until // parts):
            sequence, step = run // steps, run % steps
            length = load_i64(lengths, sequence)
            if length < 0 or length > steps:
                return INVALID_NUMBER
            source = length - 1 - step if step < length else step
            first = sequence * sequences_apart
            at, out = first + source * steps_apart, first + step * steps_apart
            copy_run(y + out * itemsize, x + at * itemsize, inner)
        return 0

    return body
