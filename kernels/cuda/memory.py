"""Loads and stores of numbers in the memory of a GPU, by byte address and index.

They are intrinsics: numba.cuda compiles no function of a kernel's own without a GPU. Under numba's
simulator they are Python functions (``simulated``). Floats of 16 bits are loaded as float32, truth
values as 0 or 1 of uint8.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from .deferred import Deferred

KINDS = ("f32", "f64", "f16", "bf16", "b8", "i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64")
"""Types of elements, by the names that kernels have for them."""
SIZES = {"f32": 4, "f64": 8, "f16": 2, "bf16": 2, "b8": 1} | {
    f"{sign}{bits}": bits // 8 for sign in "iu" for bits in (8, 16, 32, 64)
}
"""Bytes of an element."""


def _is_simulated() -> bool:
    """Ask numba if it is there, which has read the environment, and else what it would read."""
    numba = sys.modules.get("numba")
    if numba is not None:
        return bool(getattr(numba.config, "ENABLE_CUDASIM", 0))
    return os.environ.get("NUMBA_ENABLE_CUDASIM", "0").strip() not in ("", "0")


IS_SIMULATED = _is_simulated()
"""Whether kernels run in numba's simulator, as the environment said when numba was imported."""


def _table(name: str, kinds: tuple[str, ...]) -> dict[str, Any]:
    """Return a table of functions that kernels call, by the types of elements."""
    if IS_SIMULATED:
        from . import simulated

        table: dict[str, Any] = getattr(simulated, name)
        return table
    return {kind: _intrinsic(name, kind) for kind in kinds}


def _intrinsic(name: str, kind: str = "") -> Deferred:
    def find() -> Any:
        from . import intrinsics

        found = getattr(intrinsics, name)
        return found[kind] if kind else found

    return Deferred(find)


LOAD, STORE = _table("LOAD", KINDS), _table("STORE", KINDS)
ROUND = _table("ROUND", ("f16", "bf16"))

BITS_OF: Any
FLOAT_OF: Any
if IS_SIMULATED:
    from .simulated import bits_of as BITS_OF
    from .simulated import float_of as FLOAT_OF
else:
    BITS_OF, FLOAT_OF = _intrinsic("bits_of"), _intrinsic("float_of")
"""Bits of a float32 as uint32, and the other way round."""

SCOPE: dict[str, Any] = {f"load_{kind}": LOAD[kind] for kind in KINDS} | {
    f"store_{kind}": STORE[kind] for kind in KINDS
}
SCOPE |= {f"rounded_{kind}": function for kind, function in ROUND.items()}
"""Names for the source of generated kernels."""

load_i64, store_i64 = LOAD["i64"], STORE["i64"]
load_f32, store_f32 = LOAD["f32"], STORE["f32"]
