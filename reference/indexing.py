"""Operators that find elements by indices, which may count from the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .operator import Operator

_UPDATES: dict[str, Callable[[Any, Any], Any]] = {
    "add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum,
}  # fmt: skip


def _positive(indices: np.ndarray, size: int) -> np.ndarray:
    if indices.size and (indices.min() < -size or indices.max() >= size):
        raise IndexError(f"indices {indices.min()} to {indices.max()} into {size} elements")
    return np.where(indices < 0, indices + size, indices).astype(np.int64)


def _grid(indices: np.ndarray, axis: int, size: int) -> tuple[np.ndarray, ...]:
    """Places of elements: those of the indices along an axis, their own along the others."""
    places: list[np.ndarray] = list(np.indices(indices.shape, sparse=True))
    places[axis] = _positive(indices, size)
    return tuple(places)


class GatherElements(Operator):
    """GatherElements; indices may be fewer than the elements of other axes."""

    def _run(self, x: np.ndarray, indices: np.ndarray, *, axis: int) -> tuple[Any, ...]:
        return (x[_grid(indices, axis % x.ndim, x.shape[axis])],)


class ScatterElements(Operator):
    """ScatterElements; of several updates of one place all count, in order."""

    def _run(
        self, x: np.ndarray, indices: np.ndarray, updates: np.ndarray, *, axis: int,
        reduction: str = "none",
    ) -> tuple[Any, ...]:  # fmt: skip
        places = np.broadcast_arrays(*_grid(indices, axis % x.ndim, x.shape[axis]))
        return (_scattered(x, tuple(places), updates, reduction),)


class Scatter(ScatterElements):
    """The name of ScatterElements before opset 11."""


class ScatterND(Operator):
    """ScatterND."""

    def _run(
        self, x: np.ndarray, indices: np.ndarray, updates: np.ndarray, *, reduction: str = "none"
    ) -> tuple[Any, ...]:
        places = tuple(
            _positive(indices[..., i], x.shape[i]) for i in range(indices.shape[-1])
        )  # fmt: skip
        return (_scattered(x, places, updates, reduction),)


def _scattered(x: np.ndarray, places: Any, updates: np.ndarray, reduction: str) -> np.ndarray:
    y = x.copy()
    if reduction == "none":
        y[places] = updates
        return y
    update = _UPDATES[reduction]
    if isinstance(update, np.ufunc):
        update.at(y, places, updates)
    return y


class OneHot(Operator):
    """OneHot, with values of any type; indices outside give no one at all."""

    def _run(
        self, indices: np.ndarray, depth: np.ndarray, values: np.ndarray, *, axis: int
    ) -> tuple[Any, ...]:
        size = int(depth.reshape(-1)[0])
        whole = indices.astype(np.int64)
        if self.version >= 11:
            whole = np.where(whole < 0, whole + size, whole)
        hot = whole[..., None] == np.arange(size)
        y = np.where(hot, values[1], values[0]).astype(values.dtype)
        return (np.moveaxis(y, -1, axis),)


class Unique(Operator):
    """Unique, of any type, in order or as they come first."""

    def _run(self, x: np.ndarray, *, axis: int | None, sorted: int) -> tuple[Any, ...]:
        rows = x.reshape(-1, 1) if axis is None else np.moveaxis(x, axis, 0)
        flat = rows.reshape(len(rows), -1)
        order = np.lexsort(flat.T[::-1]) if x.dtype != object else _by_text(flat)
        ranked = flat[order]
        changed = np.ones(len(ranked), bool)
        changed[1:] = (ranked[1:] != ranked[:-1]).any(1)
        groups = np.cumsum(changed) - 1
        first = order[changed]  # the sort is stable
        if not sorted:
            by_first = np.argsort(first)
            first, groups = first[by_first], np.argsort(by_first)[groups]
        inverse = np.empty(len(flat), np.int64)
        inverse[order] = groups
        counts = np.bincount(inverse, minlength=len(first))
        y = rows[first]
        y = y.reshape(-1) if axis is None else np.moveaxis(y, 0, axis)
        return (y, first, inverse, counts)[: len(self.onnx_node.output)]


def _by_text(flat: np.ndarray) -> np.ndarray:
    return np.array(sorted(range(len(flat)), key=lambda i: tuple(flat[i].tolist())), np.int64)


class Compress(Operator):
    """Compress; a condition may be shorter than the axis."""

    def _run(self, x: np.ndarray, condition: np.ndarray, *, axis: int | None) -> tuple[Any, ...]:
        places = np.flatnonzero(condition)
        return (np.take(x.reshape(-1) if axis is None else x, places, 0 if axis is None else axis),)
