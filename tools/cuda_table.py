"""``python -m sardonyx.tools.cuda_table``: compile the kernels of GPUs, write tables of them.

Needs numba-cuda and the wheel nvidia-cuda-nvcc, but no GPU. ``docs/cuda_kernels.md`` is what it
prints.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator

from ..kernels.cuda.bandwidth import bandwidth_fraction, resident_warps
from ..kernels.cuda.catalogue import Entry, entries
from ..kernels.cuda.kernel import Limits, find
from ..kernels.cuda.machines import GPUS
from ..kernels.cuda.offline import assemble_plain
from ..kernels.cuda.plain_kernels import REFS
from ..kernels.cuda.tensor_cores.attention_expectation import attention_fraction
from ..kernels.cuda.tensor_cores.expectation import fraction
from ..kernels.cuda.tensor_cores.warp_attention import AttentionTile
from ..kernels.ref import KernelRef

_PACKAGES = ("numba-cuda", "nvidia-nvvm", "nvidia-cuda-nvcc")
_HEAD = """# CUDA kernels, as compiled without a GPU

Written by `python -m sardonyx.tools.cuda_table`. Registers are those of a thread as `ptxas` reports
them, none spills and none has a warning; "blocks" have to fit a multiprocessor at a time.
"""
_CATALOGUE = """
## Kernels on tensor cores, and products of float32

| kernel | target | threads | registers | shared memory, KiB | blocks |
|---|---|---|---|---|---|"""
_PLAIN = f"""
## Kernels that the runtime compiles

Blocks have at most {Limits().threads} threads. Registers and warps (of which a multiprocessor holds
so many at a time) are for 8.0, 8.9 and 9.0. The part of copy bandwidth is what a model of the
kernel's own loops expects (`kernels/cuda/bandwidth.py`) where these move what they load; it says
nothing of products, which are not bound by memory.

| kernel | registers | shared memory, KiB | warps | of copy bandwidth: A100 | L4 | H200 |
|---|---|---|---|---|---|---|"""
_EXPECTED = """
## Expected part of the peak

A model of what is busiest in a stage of a tile (`kernels/cuda/tensor_cores/expectation.py`,
`attention_expectation.py`): of square products of 4096 and 8192; of convolutions of 3 x 3 on 64
images, with 64 channels at 56 x 56 and 256 at 14 x 14; of attention with 2,048 keys and 128 heads,
and 16,384 and 16. No GPU has run these kernels yet: nothing here is measured. Tiles whose elements
are loaded one by one are left out.

| kernel | GPU | smaller | larger |
|---|---|---|---|"""
_TARGETS = ("sm_80", "sm_89", "sm_90")
_OF_COPY = ("A100", "L4", "H200")
CONVOLUTIONS = ((64 * 56 * 56, 64, 9 * 64), (64 * 14 * 14, 256, 9 * 256))
"""Pixels, filters and depth."""
ATTENTIONS = ((2048, 2048, 128), (16384, 16384, 16))
"""Queries, keys and heads of all batches."""


def versions() -> str:
    """Return a line with the versions of the compilers, which the tables depend on."""
    found = (f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    return f"Compilers: {', '.join(found)}."


def compiled(entry: Entry) -> Iterator[str]:
    """Yield a line for each target of a kernel of the catalogue."""
    for target in entry.targets:
        done = entry.compiled(target)
        assert not done.spill_stores and not done.warnings, (entry.name, target)
        shared = f"{entry.shared_bytes / 1024:.0f}"
        yield _row(entry.name, target, entry.tile.threads, done.registers, shared, entry.blocks)


def plain(ref: KernelRef) -> str:
    """Return the line of a kernel that the runtime compiles."""
    done = {target: assemble_plain(find(ref), target) for target in _TARGETS}
    shared, threads = done["sm_80"].shared, Limits().threads
    gpus = {"sm_80": GPUS["A100"], "sm_89": GPUS["L4"], "sm_90": GPUS["H200"]}
    warps = [
        resident_warps(gpus[target], threads, each.registers, shared)
        for target, each in done.items()
    ]
    text = done["sm_80"].ptx
    registers = [each.registers for each in done.values()]
    parts = [
        bandwidth_fraction(text, gpu, each, shared)
        for gpu, each in zip(gpus.values(), registers, strict=True)
    ]
    is_bound = ref.function not in ("product", "convolution", "attention", "recurrent_layer")
    shown = [f"{part:.2f}" if is_bound and part else "" for part in parts]
    of_all = (" / ".join(map(str, numbers)) for numbers in (registers, warps))
    first, second = of_all
    return _row(f"`{ref}`", first, f"{shared / 1024:.1f}", second, *shown)


def expected(entry: Entry) -> Iterator[str]:
    """Yield a line for each GPU that a kernel of the catalogue is compiled for."""
    if entry.name.startswith("4-bit"):
        return
    for target in entry.targets:
        for gpu in entry.gpus(target):
            if isinstance(entry.tile, AttentionTile):
                sizes = ATTENTIONS
                parts = [attention_fraction(entry.tile, gpu, entry.blocks, *s) for s in sizes]
            elif not entry.tile.is_aligned:
                return
            elif entry.name.startswith("convolution"):
                parts = [fraction(entry.tile, gpu, entry.blocks, *s, 9) for s in CONVOLUTIONS]
            else:
                parts = [fraction(entry.tile, gpu, entry.blocks, n, n, n) for n in (4096, 8192)]
            yield _row(entry.name, gpu.name, *(f"{part:.2f}" for part in parts))


def _row(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    """Print the tables."""
    print(_HEAD, versions(), _CATALOGUE, sep="\n")
    for entry in entries():
        print(*compiled(entry), sep="\n")
    print(_PLAIN)
    for ref in REFS:
        print(plain(ref))
    print(_EXPECTED)
    for entry in entries():
        for line in expected(entry):
            print(line)


if __name__ == "__main__":
    main()
