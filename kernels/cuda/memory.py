"""Loads and stores of numbers in the memory of a GPU, by byte address and index.

They are intrinsics: numba.cuda compiles no function of a kernel's own without a GPU. Under numba's
simulator they are Python functions (``simulated``). Floats of 16 bits are loaded as float32, truth
values as 0 or 1 of uint8.
"""

from __future__ import annotations

from typing import Any

from numba import config

from ..narrow_tables import FLOATS, INTEGERS

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

IS_SIMULATED = bool(getattr(config, "ENABLE_CUDASIM", 0))
"""Whether kernels run in numba's simulator, as the environment said when numba was imported."""

if IS_SIMULATED:
    from . import simulated as _code
else:
    from . import intrinsics as _code  # type: ignore[no-redef]

LOAD, STORE, ROUND = _code.LOAD, _code.STORE, _code.ROUND
several, nanoseconds = _code.several, _code.nanoseconds
BITS_OF, FLOAT_OF, LONG_BITS_OF = _code.bits_of, _code.float_of, _code.long_bits_of
"""Bits of a float32 as uint32, and the other way round; those of a float64 as int64."""

SCOPE: dict[str, Any] = {f"load_{kind}": LOAD[kind] for kind in KINDS} | {
    f"store_{kind}": STORE[kind] for kind in KINDS
}
SCOPE |= {f"rounded_{kind}": function for kind, function in ROUND.items()}
"""Names for the source of generated kernels."""

load_i64, store_i64 = LOAD["i64"], STORE["i64"]
load_f32, store_f32 = LOAD["f32"], STORE["f32"]
