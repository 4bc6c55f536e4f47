"""Kernels: raw pointers in, raw pointers out; nothing here knows of models."""

import os

if os.environ.get("NUMBA_CPU_NAME", "host") not in ("", "host"):
    # A processor that is named has its own features; numba would give it this machine's.
    os.environ.setdefault("NUMBA_CPU_FEATURES", "")
