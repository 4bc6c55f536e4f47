"""Processor of this machine: name, features, vector width, registers, caches.

``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES`` override the detection, as they do in numba:
``NUMBA_CPU_NAME=haswell`` runs the AVX2 code on an AVX-512 machine.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import platform
from dataclasses import dataclass
from pathlib import Path

from .storage import remembered


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
    l1, l2
        Bytes of the data caches of a core.
    l3
        Bytes of the cache that cores share.
    """

    cpu: str
    features: str
    lanes: int
    registers: int
    l1: int
    l2: int
    l3: int


def _cache_bytes(level: str, default: int) -> int:
    """Size that the system reports; some virtual machines report none."""
    try:
        return os.sysconf(f"SC_{level}_SIZE") or default
    except (ValueError, OSError):
        return default


def _has(features: str, name: str) -> bool:
    return f"+{name}" in features.split(",")


def has_feature(name: str) -> bool:
    """Tell whether code may use what LLVM calls a feature of a processor."""
    return _has(target().features, name)


@functools.cache
def version_text(package: str) -> str:
    """Return the text that states an installed package's version, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{package} is needed, and not installed", name=package)
    root = Path(spec.origin)
    for path in (root.with_name("_version.py"), root.with_name("version.py"), root):
        if path.exists():
            return path.read_text()
    return ""


def _processor() -> str | None:
    """Describe the processor by what Linux says of the first one; None on other systems."""
    try:
        with open("/proc/cpuinfo", "rb") as file:
            text = file.read(8192).decode(errors="replace").partition("\n\n")[0]
    except OSError:
        return None
    changing = ("cpu MHz", "bogomips", "BogoMIPS")
    lines = [line for line in text.splitlines() if not line.startswith(changing)]
    return "\n".join(["processor", platform.machine(), version_text("llvmlite"), *lines])


def _detect() -> str:
    import llvmlite.binding as llvm

    return f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"


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
        name, _, detected = remembered(_processor(), _detect).partition(" ")
        features = detected if features is None else features
    avx512_models = ("skylake-avx512", "cascadelake", "icelake", "sapphirerapids", "znver4")
    wide = _has(features, "avx512f") if features else name.startswith(avx512_models)
    narrow = features and not _has(features, "avx2")
    lanes, registers = (16, 32) if wide else (4 if narrow else 8, 16)
    l1 = _cache_bytes("LEVEL1_DCACHE", 32 * 1024)
    l2 = _cache_bytes("LEVEL2_CACHE", 512 * 1024)
    l3 = _cache_bytes("LEVEL3_CACHE", 16 * 1024 * 1024)
    return Target(name, features or "", lanes, registers, l1, l2, l3)


LANES = target().lanes
REGISTERS = target().registers
EMBEDDED_BROADCAST = LANES == 16
"""Whether multiply-adds take an operand that they spread from memory themselves."""
L1_BYTES = target().l1
L2_BYTES = target().l2
L3_BYTES = target().l3
