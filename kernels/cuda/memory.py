"""Loads and stores of numbers in the memory of a GPU, by byte address and index.

They are intrinsics: numba.cuda compiles no function of a kernel's own without a GPU. Under numba's
simulator they are Python functions (``simulated``). Floats of 16 bits are loaded as float32, truth
values as 0 or 1 of uint8.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any

from ..narrow_tables import FLOATS, INTEGERS, MODES, POWER_MODES
from .deferred import Deferred

KINDS = (
    "f32", "f64", "f16", "bf16", "b8", "i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64",
    *FLOATS, *INTEGERS,
)  # fmt: skip
"""Types of elements, by the names that kernels have for them."""
SIZES = {"f32": 4, "f64": 8, "f16": 2, "bf16": 2, "b8": 1} | {
    f"{sign}{bits}": bits // 8 for sign in "iu" for bits in (8, 16, 32, 64)
}
SIZES |= dict.fromkeys((*FLOATS, *INTEGERS), 1)
"""Bytes of an element."""


def _is_simulated() -> bool:
    """Ask numba if it is there, which has read the environment, and else what it would read."""
    numba = sys.modules.get("numba")
    if numba is not None:
        return bool(getattr(numba.config, "ENABLE_CUDASIM", 0))
    return os.environ.get("NUMBA_ENABLE_CUDASIM", "0").strip() not in ("", "0")


IS_SIMULATED = _is_simulated()
"""Whether kernels run in numba's simulator, as the environment said when numba was imported."""


def _table(name: str, kinds: Iterable[str]) -> dict[str, Any]:
    """Return a table of functions that kernels call, by the types of elements."""
    if IS_SIMULATED:
        from . import simulated

        table: dict[str, Any] = getattr(simulated, name)
        return table
    return {kind: _intrinsic(name, kind) for kind in kinds}


def _intrinsic(name: str, kind: str = "") -> Any:
    if IS_SIMULATED:
        from . import simulated

        return getattr(simulated, name)

    def find() -> Any:
        from . import intrinsics

        found = getattr(intrinsics, name)
        return found[kind] if kind else found

    return Deferred(find)


_ROUNDED = [
    "f16",
    "bf16",
    *(f"{kind}_{mode}" for kind in FLOATS for mode in (POWER_MODES if kind == "e8m0" else MODES)),
]
LOAD, STORE = _table("LOAD", KINDS), _table("STORE", KINDS)
ROUND = _table("ROUND", _ROUNDED)
BITS_OF, FLOAT_OF, LONG_BITS_OF = map(_intrinsic, ("bits_of", "float_of", "long_bits_of"))
"""Bits of a float32 as uint32, and the other way round; those of a float64 as int64."""
nanoseconds = _intrinsic("nanoseconds")


def several(kind: str, count: int) -> tuple[Any, Any]:
    """Return load and store of ``count`` neighbouring elements, at a multiple of their bytes.

    Sixteen are enough for it where they have more.
    """
    if IS_SIMULATED:
        from . import simulated

        pair: tuple[Any, Any] = simulated.several(kind, count)
        return pair

    def found(place: int) -> Deferred:
        def find() -> Any:
            from . import intrinsics

            return intrinsics.several(kind, count)[place]

        return Deferred(find)

    return found(0), found(1)


SCOPE: dict[str, Any] = {f"load_{kind}": LOAD[kind] for kind in KINDS} | {
    f"store_{kind}": STORE[kind] for kind in KINDS
}
SCOPE |= {f"rounded_{kind}": function for kind, function in ROUND.items()}
"""Names for the source of generated kernels."""

load_i64, store_i64 = LOAD["i64"], STORE["i64"]
load_f32, store_f32 = LOAD["f32"], STORE["f32"]
