"""Rates of arithmetic units on this machine: measured once, then read without numba."""

from __future__ import annotations

import functools
import json

from .amx_permission import EMULATED
from .compiler import environment_key
from .folders import warn_once
from .storage import recalled, replaced
from .target import HAS_MASKS

BFLOATS_WORTH = 1.2
"""Speed of bfloat16's products, by that of float32's, from which they pay for the rounding."""
_SPREAD, _ATTEMPTS = 0.15, 3
"""What the speed of a unit, by float32's, may differ by between two moments, and how often they
are compared. A share of 1.2 of float32 decides most (`BFLOATS_WORTH`); units differ by 2 and 4."""
EMULATED_SPEED = 10.0
"""What an emulated unit is taken for: it is emulated to be used."""


@functools.cache
def rates(*, fresh: bool = False) -> dict[str, float]:
    """Return the operations of each unit that this machine has (``cpu.units``), in 1e9/s a core.

    Measured on the first use on a machine, then kept in the cache folder.

    Parameters
    ----------
    fresh : bool
        Measure again.
    """
    question = f"units\n{environment_key()}"
    line = None if fresh else recalled(question)
    if line is not None:
        kept: dict[str, float] = json.loads(line)
        return kept
    found, spread = _measure()
    if spread <= _SPREAD:
        replaced(question, json.dumps(found))
    else:
        warn_once(
            f"speeds of arithmetic units differ by {spread:.0%} from one moment to the next: other "
            "work disturbs their measurement, which is not kept"
        )
    return found


def _measure() -> tuple[dict[str, float], float]:
    from .cpu.units import measure

    for _ in range(_ATTEMPTS):
        found, spread = measure()
        if spread <= _SPREAD:
            break
    return found, spread


def bfloat16_speed() -> float:
    """Return how many times as fast as those of float32 products of bfloat16 are."""
    if EMULATED:
        return EMULATED_SPEED
    return max(vector_bfloat16_speed(), tile_bfloat16_speed())


def tile_bfloat16_speed() -> float:
    """Return `bfloat16_speed` of AMX alone."""
    if EMULATED:
        return EMULATED_SPEED
    return rates().get("AMX bfloat16", 0.0) / rates()["float32"]


def vector_bfloat16_speed() -> float:
    """Return `bfloat16_speed` of vectors alone."""
    return rates().get("bfloat16", 0.0) / rates()["float32"]


def integer_speed() -> float:
    """Return how many times as fast as those of float32 products of bytes are, as tiles do them."""
    if EMULATED:
        return EMULATED_SPEED
    return _integers() / rates()["float32"]


def words_pay() -> bool:
    """Tell whether products of words of four bytes are faster than those of pairs of int16."""
    return EMULATED or _integers() > _pairs()


def vector_integer_speed() -> float:
    """Return `integer_speed` of vectors alone."""
    return _vector_integers() / rates()["float32"]


def pair_speed() -> float:
    """Return how many times as fast as those of float32 products of int16 are, by vectors."""
    return _pairs() / rates()["float32"]


def _pairs() -> float:
    """Rate of products of int16."""
    return max(rates().get(name, 0.0) for name in ("int16 in two steps", "int16"))


def tile_integer_speed() -> float:
    """Return how many times as fast as vectors AMX multiplies bytes."""
    return EMULATED_SPEED if EMULATED else rates().get("AMX int8", 0.0) / _vector_integers()


def _integers() -> float:
    """Rate of products of bytes by the fastest unit."""
    return max(rates().get("AMX int8", 0.0), _vector_integers())


def _vector_integers() -> float:
    """Rate of products of bytes by vectors, in two steps where there is no instruction for it."""
    from .arithmetic import HAS_QUADS

    name = "int8" if HAS_MASKS else "int8 of AVX-VNNI"
    return rates()[name if HAS_QUADS else "int16 in two steps"]
