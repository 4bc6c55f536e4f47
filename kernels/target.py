"""What this machine's processor can do: name, features, vector width, registers, caches.

``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES`` override the detection, as they do in numba:
``NUMBA_CPU_NAME=haswell`` runs the AVX2 code on an AVX-512 machine.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass

import llvmlite.binding as llvm


@dataclass(frozen=True)
class Target:
    """The processor code is generated for.

    Attributes
    ----------
    cpu, features
        Name and feature string, as LLVM spells them.
    lanes
        float32 values in one vector register: 16 (AVX-512), 8 (AVX2) or 4.
    registers
        Number of vector registers.
    """

    cpu: str
    features: str
    lanes: int
    registers: int


def _has(features: str, name: str) -> bool:
    return f"+{name}" in features.split(",")


@functools.cache
def target() -> Target:
    """Detect the processor once.

    Returns
    -------
    Target
        Of the running machine, or of the one named in the environment.
    """
    name = os.environ.get("NUMBA_CPU_NAME", "")
    features = os.environ.get("NUMBA_CPU_FEATURES")
    if not name or name == "host":
        name = llvm.get_host_cpu_name()
        if features is None:
            features = llvm.get_host_cpu_features().flatten()
    avx512_models = ("skylake-avx512", "cascadelake", "icelake", "sapphirerapids", "znver4")
    wide = _has(features, "avx512f") if features else name.startswith(avx512_models)
    if wide:
        return Target(name, features or "", 16, 32)
    narrow = features and not _has(features, "avx2")
    return Target(name, features or "", 4 if narrow else 8, 16)


LANES = target().lanes
REGISTERS = target().registers
