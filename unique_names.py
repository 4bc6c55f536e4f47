"""Unique names: a name that is taken gets the first number that makes it a free one."""

from __future__ import annotations

from collections.abc import Iterable


class UniqueNames:
    """Names that are taken, and for each the last number that was tried behind it."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._numbers = dict.fromkeys(taken, 0)

    def unique(self, name: str) -> str:
        """Take a name that is free: the one given, or the first of ``name_1``, ``name_2``, ..."""
        unique, number = name, self._numbers.get(name, 0)
        while unique in self._numbers:
            number += 1
            unique = f"{name}_{number}"
        self._numbers[name] = number
        self._numbers.setdefault(unique, 0)
        return unique
