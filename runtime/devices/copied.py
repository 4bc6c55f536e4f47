"""Copies between the memory of the host and that of another device."""

from __future__ import annotations

from typing import NamedTuple


class Copied(NamedTuple):
    """A copy that a run has made: ``"ToDevice"`` or ``"ToHost"``, a buffer, bytes and time."""

    what: str
    buffer: int
    size: int
    nanoseconds: int
