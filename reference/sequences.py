"""Sequences and optional values."""

from __future__ import annotations

from typing import Any

import numpy as np

from .operator import Operator


def _position(index: np.ndarray, count: int) -> int:
    at = int(index.reshape(-1)[0])
    if not -count <= at < count:
        raise IndexError(f"position {at} in a sequence of {count}")
    return at % count


class SequenceAt(Operator):
    """SequenceAt."""

    def _run(self, sequence: list[Any], index: np.ndarray) -> tuple[Any, ...]:
        return (sequence[_position(index, len(sequence))],)


class SequenceErase(Operator):
    """SequenceErase, by default of the last."""

    def _run(self, sequence: list[Any], index: np.ndarray | None = None) -> tuple[Any, ...]:
        at = len(sequence) - 1 if index is None else _position(index, len(sequence))
        return ([*sequence[:at], *sequence[at + 1 :]],)


class SequenceInsert(Operator):
    """SequenceInsert, by default at the end, which is a position, too."""

    def _run(
        self, sequence: list[Any], new: np.ndarray, index: np.ndarray | None = None
    ) -> tuple[Any, ...]:
        count = len(sequence)
        at = count if index is None else int(index.reshape(-1)[0])
        if not -count <= at <= count:
            raise IndexError(f"position {at} in a sequence of {count}")
        at = at + count if at < 0 else at
        return ([*sequence[:at], new, *sequence[at:]],)


class SplitToSequence(Operator):
    """SplitToSequence; parts of one size, the last one smaller, or of the sizes given."""

    def _run(
        self, x: np.ndarray, split: np.ndarray | None = None, *, axis: int, keepdims: int
    ) -> tuple[Any, ...]:
        size = x.shape[axis]
        if split is None:
            parts = np.split(x, size, axis) if size else []
            return (parts if keepdims else [part.squeeze(axis) for part in parts],)
        if split.ndim == 0 and int(split) > 0:
            bounds = list(range(int(split), size, int(split)))
        elif split.ndim and split.sum() == size and (split >= 0).all():
            bounds = np.cumsum(split)[:-1].tolist()
        else:
            raise ValueError(f"parts of {split.tolist()} of an axis of {size}")
        return (np.split(x, bounds, axis),)


class Optional(Operator):
    """Optional: the value itself, or None."""

    def _run(self, x: Any = None, *, type: Any = None) -> tuple[Any, ...]:
        return (x,)


class OptionalHasElement(Operator):
    """OptionalHasElement."""

    def _run(self, x: Any = None) -> tuple[Any, ...]:
        return (np.array(x is not None),)


class OptionalGetElement(Operator):
    """OptionalGetElement."""

    def _run(self, x: Any) -> tuple[Any, ...]:
        if x is None:
            raise ValueError("the optional value is empty")
        return (x,)
