"""GPUs as kernels are planned for: registers, shared memory, and rates in clocks.

Figures are NVIDIA's (whitepapers of the A100, Ada and H100 architectures, data sheets of the L4 and
H200; limits of shared memory: CUDA programming guide, table of compute capabilities). The second
cache gives 5,120 bytes a clock (A100, H100); Ada's rate is an assumption.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    """A processor.

    Attributes
    ----------
    name, target : str
        Of the product, and what `offline` compiles for it.
    multiprocessors : int
        Their number.
    clock : float
        GHz under load, as peak rates are stated for.
    multiply_adds : dict of str to int
        In a clock and multiprocessor, by element; of ``f32`` those of the vector units.
    by_warps : float
        Part of the tensor cores' rate that `mma.sync` reaches.
    shared_bytes, block_bytes : int
        Shared memory of a multiprocessor, and what a block may have of it.
    l2_bytes : float
        From the second cache in a clock and multiprocessor.
    memory : float
        GB/s.
    """

    name: str
    target: str
    multiprocessors: int
    clock: float
    multiply_adds: Mapping[str, int]
    by_warps: float
    shared_bytes: int
    block_bytes: int
    l2_bytes: float
    memory: float

    REGISTERS = 65536
    SHARED_RATE = 128
    """Bytes of shared memory in a clock."""
    ISSUED = 4
    """Instructions of warps that begin in a clock."""
    RESERVED = 1024
    """Shared memory of each block that the system has."""


def _rates(bf16: int, f32: int) -> dict[str, int]:
    return {
        "bf16": bf16,
        "f16": bf16,
        "tf32": bf16 // 2,
        "s8": bf16 * 2,
        "u8": bf16 * 2,
        "f32": f32,
    }


GPUS = {
    gpu.name: gpu
    for gpu in (
        Gpu("A100", "sm_80", 108, 1.41, _rates(1024, 64), 1.0, 167936, 166912, 47, 2039),
        Gpu("L4", "sm_89", 58, 2.04, _rates(512, 128), 1.0, 102400, 101376, 40, 300),
        Gpu("RTX 4090", "sm_89", 128, 2.52, _rates(256, 128), 1.0, 102400, 101376, 40, 1008),
        Gpu("H100", "sm_90a", 132, 1.83, _rates(2048, 128), 0.62, 233472, 232448, 39, 3350),
        Gpu("H200", "sm_90a", 132, 1.83, _rates(2048, 128), 0.62, 233472, 232448, 39, 4800),
    )
}
