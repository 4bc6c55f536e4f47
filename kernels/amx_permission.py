"""Permission to use AMX, the tile unit of Intel's processors; read without numba.

A process asks Linux for it once, before or after it starts threads; a fork keeps it.
``SARDONYX_EMULATE=amx`` emulates the unit, on any processor: for tests. ``SARDONYX_AMX=0`` keeps
kernels from the unit.
"""

from __future__ import annotations

import ctypes
import functools
import os
import platform

from .target import has_feature

EMULATED = os.environ.get("SARDONYX_EMULATE") == "amx"
FEATURES = ("amx-tile", "amx-int8", "amx-bf16")
_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA = 158, 0x1023, 18


@functools.cache
def has_amx() -> bool:
    """Tell whether tiles are multiplied: the processor has AMX, and Linux and the user allow it."""
    is_allowed = os.environ.get("SARDONYX_AMX") != "0"
    return EMULATED or (is_allowed and all(map(has_feature, FEATURES)) and _is_permitted())


def _is_permitted() -> bool:
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return False
    system_call = ctypes.CDLL(None, use_errno=True).syscall
    asked = (ctypes.c_long(word) for word in (_ARCH_PRCTL, _REQUEST_PERMISSION, _TILE_DATA))
    return int(system_call(*asked)) == 0
