"""Elements that are only moved, by their bytes."""

from __future__ import annotations

from typing import Any

from .memory import LOAD, STORE

accesses: dict[int, tuple[Any, Any]] = {
    size: (LOAD[f"u{8 * size}"], STORE[f"u{8 * size}"]) for size in (1, 2, 4, 8)
}
"""Load and store of elements of so many bytes."""
