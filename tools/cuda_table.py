"""``python -m sardonyx.tools.cuda_table``: compile the catalogue of CUDA kernels, write a table.

Needs numba-cuda and the wheel nvidia-cuda-nvcc, but no GPU. ``docs/cuda_kernels.md`` is what it
prints.
"""

from __future__ import annotations

from collections.abc import Iterator

from sardonyx.kernels.cuda.catalogue import Entry, entries
from sardonyx.kernels.cuda.tensor_cores.expectation import fraction
from sardonyx.kernels.cuda.tensor_cores.warp_attention import AttentionTile

_HEAD = """# CUDA kernels, as compiled without a GPU

Written by `python -m sardonyx.tools.cuda_table`. Registers are those of a thread as `ptxas` reports
them, none spills and none has a warning; "blocks" have to fit a multiprocessor at a time.

| kernel | target | threads | registers | shared memory, KiB | blocks |
|---|---|---|---|---|---|"""
_EXPECTED = """
## Expected part of the peak

A model of what is busiest in a stage of a tile (`kernels/cuda/tensor_cores/expectation.py`), for
square products of 4096 and of 8192. No GPU has run these kernels yet: nothing here is measured.
Tiles whose elements are loaded one by one are left out.

| kernel | GPU | 4096 | 8192 |
|---|---|---|---|"""


def compiled(entry: Entry) -> Iterator[str]:
    """Yield a line for each target of a kernel."""
    for target in entry.targets:
        done = entry.compiled(target)
        assert not done.spill_stores and not done.warnings, (entry.name, target)
        cells = (
            entry.name,
            target,
            entry.tile.threads,
            done.registers,
            f"{entry.shared_bytes / 1024:.0f}",
            entry.blocks,
        )
        yield "| " + " | ".join(map(str, cells)) + " |"


def expected(entry: Entry) -> Iterator[str]:
    """Yield a line for each GPU that a kernel of a product is compiled for."""
    if isinstance(entry.tile, AttentionTile) or entry.name.startswith(("convolution", "4-bit")):
        return
    if not entry.tile.is_aligned:
        return
    for target in entry.targets:
        for gpu in entry.gpus(target):
            parts = [
                f"{fraction(entry.tile, gpu, entry.blocks, size, size, size):.2f}"
                for size in (4096, 8192)
            ]
            yield "| " + " | ".join((entry.name, gpu.name, *parts)) + " |"


def main() -> None:
    """Print both tables."""
    print(_HEAD)
    for entry in entries():
        print(*compiled(entry), sep="\n")
    print(_EXPECTED)
    for entry in entries():
        for line in expected(entry):
            print(line)


if __name__ == "__main__":
    main()
