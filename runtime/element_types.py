"""Element types that programs hold, by numpy's names, and those that numpy alone does not have.

bfloat16 is computed with as float32. Types of 8 bits and fewer that no kernel computes with take a
byte in memory each; they are moved, and cast by tables (``kernels.narrow``).
"""

from __future__ import annotations

from collections.abc import Iterable

HALVES = ("float16", "bfloat16")
NATIVE = frozenset(
    [
        *("float32", "float64", *HALVES, "bool"),
        *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    ]
)
"""Types that kernels compute with."""
NARROW = frozenset(
    [
        *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
        *("float4_e2m1fn", "int4", "uint4", "int2", "uint2"),
    ]
)
"""Types that kernels only move and cast."""


def make_known(names: Iterable[str]) -> None:
    """Let numpy know types by their names."""
    if not NARROW.isdisjoint(given := set(names)) or "bfloat16" in given:
        import ml_dtypes  # noqa: F401  enters them in numpy's table
