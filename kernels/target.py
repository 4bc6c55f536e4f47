"""Processor of this machine: name, features, vector width, registers, caches.

``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES`` override the detection, as they do in numba:
``NUMBA_CPU_NAME=haswell`` runs the AVX2 code on an AVX-512 machine. ``SARDONYX_VECTOR_BITS`` is 256
or 512, of AVX-512; without it vectors have the width that was measured to be faster, else 512 bits.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import os
import platform
from dataclasses import dataclass
from pathlib import Path

from .folders import warn_once
from .storage import recalled, remembered


@dataclass(frozen=True)
class Target:
    """The processor code is generated for.

    Attributes
    ----------
    cpu, features
        Name and feature string, as LLVM spells them.
    lanes
        float32 values in a vector: 16 (AVX-512), 8 (AVX2, or AVX-512 of 256 bits) or 4 (others, as
        ARM's NEON).
    registers
        Number of vector registers, 32 also of AVX-512's vectors of 256 bits.
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


MACHINE = platform.machine()
"""Architecture, as Linux calls it: ``x86_64`` or ``aarch64``."""
VECTOR_BITS = "SARDONYX_VECTOR_BITS"
"""Environment variable: bits of vectors of processors with AVX-512."""
WIDTHS = ("256", "512")
HALVED = ("avx512vl", "avx512bw", "avx512dq")
"""What vectors of 256 bits have to have, beside AVX-512's foundation, to be masked."""
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_TYPICAL = {1: 32 << 10, 2: 512 << 10, 3: 16 << 20}
_PLAUSIBLE = {1: (8 << 10, 256 << 10), 2: (64 << 10, 16 << 20), 3: (1 << 20, 2 << 30)}
"""Bytes of caches at each level, at least and at most."""


def cache_sizes() -> dict[int, int]:
    """Return the bytes of the data caches by level, as far as what Linux reports can be.

    Some virtual machines report none, or sizes that no processor has.
    """
    found = {
        level: size
        for level, size in _cache_sizes().items()
        if level in _PLAUSIBLE and _PLAUSIBLE[level][0] <= size <= _PLAUSIBLE[level][1]
    }
    grow = sorted(found.items())
    return found if all(a[1] < b[1] for a, b in itertools.pairwise(grow)) else {}


@functools.cache
def _cache_sizes() -> dict[int, int]:
    """Bytes of the first processor's data caches by their level, as far as Linux reports them."""
    sizes = {}
    try:
        for folder in _CACHES.glob("index*"):
            level, kind, size = (
                (folder / n).read_text().strip() for n in ("level", "type", "size")
            )
            if kind != "Instruction" and size[:-1].isdigit() and size[-1] in _UNITS:
                sizes[int(level)] = int(size[:-1]) * _UNITS[size[-1]]
    except (OSError, ValueError):
        return {}
    return sizes


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
    return "\n".join(["processor", MACHINE, version_text("llvmlite"), *lines])


def _detect() -> str:
    import llvmlite.binding as llvm

    return f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"


def _vector_bits(processor: str) -> int:
    """Return the bits of vectors of a processor that may have them of 256 and of 512."""
    given = os.environ.get(VECTOR_BITS, "")
    if given in WIDTHS:
        return int(given)
    if given:
        warn_once(f"{VECTOR_BITS} is 256 or 512, not {given!r}, which is left out")
    kept = (recalled(width_question(processor)) or "").partition(" ")[0]
    return int(kept) if kept in WIDTHS else 512


def width_question(processor: str) -> str:
    """Return the question that is answered by the bits of a processor's vectors, and more.

    Parameters
    ----------
    processor : str
        Its name and features.
    """
    return f"vector bits\n{processor}"


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
    if wide and all(_has(features or "", each) for each in HALVED):
        lanes = _vector_bits(f"{name} {features}") // 32
    if MACHINE == "aarch64":
        lanes, registers = 4, 32
    known = cache_sizes()
    caches = (known.get(level, size) for level, size in _TYPICAL.items())
    return Target(name, features or "", lanes, registers, *caches)


LANES = target().lanes
REGISTERS = target().registers
HAS_MASKS = MACHINE == "x86_64" and REGISTERS == 32
"""Whether vectors are those of AVX-512, of 512 or 256 bits: masked, in one of 32 registers."""
EMBEDDED_BROADCAST = HAS_MASKS
"""Whether multiply-adds take an operand that they spread from memory themselves."""
L1_BYTES, L2_BYTES, L3_BYTES = (
    min(pair)
    for pair in zip(
        (target().l1, target().l2, target().l3), (32 << 10, 512 << 10, 16 << 20), strict=True
    )
)
"""Sizes of caches that blocks of data are made for. Larger ones are not filled: other data is in
them, too. With the sizes of AMD's Zen 5 (48 KiB, 1 MiB, 32 MiB) instead, products of 16 rows with
large weights take 4 to 20 % more time, and convolutions as much as before; on Zen 4 sizes for 1 and
for 2 MiB of the second level make no network faster or slower by 2 %."""
