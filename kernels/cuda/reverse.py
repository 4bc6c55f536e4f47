"""ReverseSequence: the beginnings of sequences, of lengths that a tensor holds, backwards."""

from __future__ import annotations

from ..fields import Pointer
from ..registry import INVALID_NUMBER
from .elements import accesses
from .kernel import Body, Fields, cuda_factory
from .memory import load_i64, store_i64
from .runs import copy_run, run_launch
from .threads import cuda


def _rows(f: Fields) -> int:
    return f["steps"] * f["sequences"]


@cuda_factory
def reverse_sequence(itemsize: int) -> Body | None:
    """Copy runs of ``inner`` dense elements; the fields are those of the CPU's kernel."""
    if itemsize not in accesses:
        return None
    load, store = accesses[itemsize]

    def body(
        x: Pointer, lengths: Pointer, y: Pointer, steps: int, sequences: int, inner: int,
        steps_apart: int, sequences_apart: int, status: Pointer,
    ) -> None:  # fmt: skip
        first = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
        column = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        width = cuda.gridDim.x * cuda.blockDim.x
        for run in range(first, steps * sequences, cuda.gridDim.y * cuda.blockDim.y):
            sequence, step = run // steps, run % steps
            length = load_i64(lengths, sequence)
            if length < 0 or length > steps:
                store_i64(status, 0, INVALID_NUMBER)
            else:
                source = length - 1 - step if step < length else step
                begin = sequence * sequences_apart
                place = begin + source * steps_apart
                if inner == 1:
                    store(y, begin + step * steps_apart, load(x, place))
                else:
                    target = y + (begin + step * steps_apart) * itemsize
                    copy_run(target, x + place * itemsize, inner * itemsize, column, width)

    return Body(body, run_launch(itemsize, _rows, "inner"))
