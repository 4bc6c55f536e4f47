"""Sequences and optional values."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from .operator import Mover


def _position(index: np.ndarray, count: int) -> int:
    at = int(index.reshape(-1)[0])
    if not -count <= at < count:
        raise IndexError(f"position {at} in a sequence of {count}")
    return at % count


class SequenceEmpty(Mover):
    """SequenceEmpty."""

    def _run(self, *, dtype: int | None = None) -> tuple[Any, ...]:
        return ([],)


class SequenceConstruct(Mover):
    """SequenceConstruct."""

    def _run(self, *values: Any) -> tuple[Any, ...]:
        return (list(values),)


class SequenceLength(Mover):
    """SequenceLength."""

    def _run(self, sequence: list[Any]) -> tuple[Any, ...]:
        return (np.array(len(sequence), np.int64),)


class SequenceAt(Mover):
    """SequenceAt."""

    def _run(self, sequence: list[Any], index: np.ndarray) -> tuple[Any, ...]:
        return (sequence[_position(index, len(sequence))],)


class SequenceErase(Mover):
    """SequenceErase, by default of the last."""

    def _run(self, sequence: list[Any], index: np.ndarray | None = None) -> tuple[Any, ...]:
        at = len(sequence) - 1 if index is None else _position(index, len(sequence))
        return ([*sequence[:at], *sequence[at + 1 :]],)


class SequenceInsert(Mover):
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


class SplitToSequence(Mover):
    """SplitToSequence; parts of one size, the last one smaller, or of the sizes given."""

    def _run(
        self, x: np.ndarray, split: np.ndarray | None = None, *, axis: int, keepdims: int
    ) -> tuple[Any, ...]:
        size = x.shape[axis]
        before: Any = (slice(None),) * (axis % x.ndim)
        if split is None and not keepdims:
            return ([x[(*before, at, ...)] for at in range(size)],)
        if split is None:
            split = np.array(1)
        if split.ndim == 0 and int(split) > 0:
            bounds = [*range(0, size, int(split)), size] if size else [0]
        elif split.ndim and split.sum() == size and (split >= 0).all():
            bounds = [0, *np.cumsum(split).tolist()]
        else:
            raise ValueError(f"parts of {split.tolist()} of an axis of {size}")
        return ([x[(*before, slice(*pair))] for pair in itertools.pairwise(bounds)],)


class ConcatFromSequence(Mover):
    """ConcatFromSequence, along an axis that there is, or a new one."""

    def _run(self, sequence: list[Any], *, axis: int, new_axis: int) -> tuple[Any, ...]:
        return ((np.stack if new_axis else np.concatenate)(sequence, axis),)


class Optional(Mover):
    """Optional: the value itself, or None."""

    def _run(self, x: Any = None, *, type: Any = None) -> tuple[Any, ...]:
        return (x,)


class OptionalHasElement(Mover):
    """OptionalHasElement."""

    def _run(self, x: Any = None) -> tuple[Any, ...]:
        return (np.array(x is not None),)


class OptionalGetElement(Mover):
    """OptionalGetElement."""

    def _run(self, x: Any) -> tuple[Any, ...]:
        if x is None:
            raise ValueError("the optional value is empty")
        return (x,)
