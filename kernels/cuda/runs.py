"""Runs of bytes that threads copy together, sixteen at a time where both ends allow it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .functions import device_function
from .kernel import Fields, Launch, Limits
from .launches import over_rows
from .memory import LOAD, STORE, several

PIECE = 16
"""Bytes of a thread at a time."""
_load_words, _store_words = several("u64", 2)
_load_word, _store_word = LOAD["u32"], STORE["u32"]
_load_byte, _store_byte = LOAD["u8"], STORE["u8"]


@device_function("void")
def copy_run(target: Any, source: Any, size: Any, first: Any, step: Any) -> None:
    """Copy the share of a thread of ``size`` bytes: it is the ``first`` of ``step`` ones."""
    done, both = 0, target | source
    if both % PIECE == 0:
        for i in range(first, size // PIECE, step):
            _store_words(target, 2 * i, _load_words(source, 2 * i))
        done = size // PIECE * PIECE
    elif both % 4 == 0:
        for i in range(first, size // 4, step):
            _store_word(target, i, _load_word(source, i))
        done = size // 4 * 4
    for i in range(done + first, size, step):
        _store_byte(target, i, _load_byte(source, i))


def run_launch(
    itemsize: int, rows: Callable[[Fields], int], inner: str
) -> Callable[[Fields, Limits], Launch]:
    """Return the launch of threads along runs of so many elements, and across rows."""

    def launch(fields: Fields, limits: Limits) -> Launch:
        return over_rows(rows(fields), -(-fields[inner] * itemsize // PIECE), limits)

    return launch
