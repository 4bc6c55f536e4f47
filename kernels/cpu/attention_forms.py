"""Forms of attention, measured once: for how many queries AMX is faster than vectors.

Splitting the keys and values of a head has to be paid by its queries, so their number decides; the
number of keys multiplies the cost of both forms.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..amx_permission import EMULATED
from ..compiler import environment_key, native_function
from ..registry import Kernel
from ..storage import remembered
from ..target import LANES
from ..trials import fastest
from .attention import attention
from .attention_job import KEYS, WIDE, Attention, room_floats
from .attention_row import FEW
from .half_attention import half_attention, half_bytes
from .operands import max_rows, operand_form
from .packing import tile_rows
from .term_attention import term_attention, terms_bytes
from .tile import tile

_KEYS, _TURNS = 2 * KEYS, 20
_ROWS = (LANES, WIDE, 2 * WIDE, 4 * WIDE, 8 * WIDE)
NEVER = 1 << 40
"""Queries from which on AMX pays where it does not."""


@functools.cache
def least_queries(score_terms: int, value_terms: int, size: int, width: int) -> int:
    """Return from how many queries that share keys AMX is faster; `NEVER` where it is not.

    Measured on the first use on a machine.

    Parameters
    ----------
    score_terms, value_terms : int
    size, width : int
        Elements of a head's keys, and of its values.
    """
    if EMULATED:
        return FEW + 1
    sizes = (score_terms, value_terms, size, width)
    question = f"attention by AMX {sizes}\n{environment_key()}"
    return int(remembered(question, lambda: str(_try_queries(*sizes))))


def _try_queries(score_terms: int, value_terms: int, size: int, width: int) -> int:
    for rows in _ROWS:
        job = _job(rows, size, width)
        forms = [_by_vectors(job), _by_terms(job, score_terms, value_terms)]
        if fastest(forms, _TURNS) == 1:
            return rows
    return NEVER


def _job(rows: int, size: int, width: int) -> dict[str, Any]:
    """Fields of attention of one head, whose operands are dense."""
    rng = np.random.default_rng(0)
    fields: dict[str, Any] = dict.fromkeys(Attention._fields, 0)
    shapes = {"q": (rows, size), "k": (_KEYS, size), "v": (_KEYS, width), "y": (rows, width)}
    for name, shape in shapes.items():
        fields[name], fields[f"{name}_row"] = rng.standard_normal(shape, np.float32), shape[1]
    sizes = {"queries": rows, "keys": _KEYS, "mask_keys": _KEYS, "size": size, "width": width}
    ones = dict.fromkeys(("batch", "heads", "group"), 1)
    return fields | sizes | ones | {"left": NEVER, "right": NEVER, "scale": size**-0.5}


def _by_vectors(job: dict[str, Any]) -> Callable[[], Any]:
    tables: dict[str, Any] = {}
    for vectors, prefix in ((1, ""), (2, "wide_")):
        mr = max_rows(vectors)
        rows, form = tile_rows(job["width"], mr) | tile_rows(KEYS, mr), operand_form()
        addresses = [tile(r, vectors, "f32", form).address if r in rows else 0
                     for r in range(mr + 1)]  # fmt: skip
        tables |= {f"{prefix}tiles": np.array(addresses), f"{prefix}mr": mr}
    space = _room(job)
    no_copy = {"dense_at": 0, "dense_keys": 0}
    return _call(attention, job | tables | no_copy | {"scratch": space, "scratch_bytes": 0})


def _by_terms(job: dict[str, Any], score_terms: int, value_terms: int) -> Callable[[], Any]:
    if (score_terms, value_terms) == (1, 1):
        own = _room(job, half_bytes(job["size"], job["width"], _KEYS))
        space = {"workspace": own, "workspace_bytes": 0}
        return _call(half_attention("f32", "f32"), job | space)
    more = terms_bytes(score_terms, value_terms, job["size"], job["width"], _KEYS)
    at = _room(job).nbytes
    space = {"workspace": _room(job, more), "workspace_bytes": 0, "terms_at": at}
    return _call(term_attention(score_terms, value_terms), job | space)


def _room(job: dict[str, Any], more: int = 0) -> np.ndarray:
    """Memory of a thread, of whole cache lines."""
    size, width = (-(-job[name] // LANES) * LANES for name in ("size", "width"))
    floats = room_floats(size, width, max(size, width, KEYS)) + more // 4
    memory = np.empty(floats + LANES, np.float32)
    return memory[-memory.ctypes.data % 64 // 4 :][:floats]


def _call(kernel: Kernel, values: dict[str, Any]) -> Callable[[], Any]:
    record, call = kernel.record(**values), native_function(kernel.address)

    def run(kept: Any = values) -> None:
        call(record.ctypes.data)

    return run
