"""Handlers of sums over segments, which may be empty, and of scattered values, which may meet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .builder import Builder

Handler = Callable[[Any, Any, str, Any], None]

_END = np.array([2**31], np.int64)
_FIRST = np.array([0], np.int64)
_REDUCTIONS = {
    "Sum": "add",
    "Mean": "add",
    "SqrtN": "add",
    "Prod": "mul",
    "Max": "max",
    "Min": "min",
}


def scatter_nd(graph: Any, node: Any, name: str, args: Any) -> None:
    """Add updates to zeros; those of equal indices add up."""
    build = Builder(graph, node)
    indices, updates, shape = build.inputs
    zeros = _filled(build, build.cast(shape, np.int64), 0, build.dtype(updates))
    indices = build.cast(indices, np.int64)
    build.replace(build("ScatterND", zeros, indices, updates, reduction="add"))


def unsorted(kind: str) -> Handler:
    """Return the handler of an UnsortedSegment operator; numbers below zero belong to none."""

    def handler(graph: Any, node: Any, name: str, args: Any) -> None:
        build = Builder(graph, node)
        x, ids, count = build.inputs
        if (rank := build.rank(1)) != 1:
            whole = np.array([-1], np.int64)
            inner = build("Slice", build("Shape", x), np.array([rank], np.int64), _END)
            x = build("Reshape", x, build("Concat", whole, inner, axis=0))
            ids = build("Reshape", ids, whole)
        neutral = _neutral(kind, build.dtype(x))
        ids = build.cast(ids, np.int64)
        build.replace(_reduced(build, kind, x, ids, _scalar(build, count), neutral))

    return handler


def sorted_segments(kind: str) -> Handler:
    """Return the handler of a Segment operator: as many segments as the last number says."""

    def handler(graph: Any, node: Any, name: str, args: Any) -> None:
        build = Builder(graph, node)
        x, ids = build.inputs
        build.replace(_of_rows(build, kind, x, build.cast(ids, np.int64), None))

    return handler


def sparse(kind: str) -> Handler:
    """Return the handler of a SparseSegment operator, which takes some rows only."""

    def handler(graph: Any, node: Any, name: str, args: Any) -> None:
        build = Builder(graph, node)
        x, rows, ids, *count = build.inputs
        x = build("Gather", x, rows)
        total = _scalar(build, count[0]) if count else None
        build.replace(_of_rows(build, kind, x, build.cast(ids, np.int64), total))

    return handler


def _of_rows(build: Builder, kind: str, x: str, ids: str, count: str | None) -> str:
    """Reduce rows by their segments; those without a row give 0, or 1 for products."""
    if count is None:
        known = build("Concat", np.array([-1], np.int64), ids, axis=0)
        last = build("ReduceMax", known, _FIRST, keepdims=0)
        count = build("Add", last, np.array(1, np.int64))
    dtype = build.dtype(x)
    result = _reduced(build, kind, x, ids, count, _neutral(kind, dtype))
    if kind in ("Sum", "Prod"):
        return result
    ones = _filled(build, build("Shape", ids), 1, dtype)
    rows = build("Reshape", _reduced(build, "Sum", ones, ids, count, 0), _column(build, x))
    if kind in ("Max", "Min"):
        zero = np.array(0, dtype)
        return build("Where", build("Equal", rows, zero), zero, result)
    divisor = build("Max", rows, np.array(1, dtype))
    return build("Div", result, build("Sqrt", divisor) if kind == "SqrtN" else divisor)


def _column(build: Builder, x: str) -> str:
    """Return the shape of one number for each row of x: as many axes, all others of size 1."""
    inner = build("Slice", build("Shape", x), np.array([1], np.int64), _END)
    ones = _filled(build, build("Shape", inner), 1, np.dtype(np.int64))
    return build("Concat", np.array([-1], np.int64), ones, axis=0)


def _reduced(build: Builder, kind: str, x: str, ids: str, count: str, neutral: Any) -> str:
    """Reduce rows of x by the segments ids, of which there are count; others are left out."""
    zero = np.array(0, np.int64)
    inside = build("And", build("GreaterOrEqual", ids, zero), build("Less", ids, count))
    ids = build("Where", inside, ids, count)  # the row behind the last takes the others
    rows = build.unsqueeze(build("Add", count, np.array(1, np.int64)), 0)
    inner = build("Slice", build("Shape", x), np.array([1], np.int64), _END)
    start = _filled(build, build("Concat", rows, inner, axis=0), neutral, build.dtype(x))
    index = build.unsqueeze(ids, 1)
    result = build("ScatterND", start, index, x, reduction=_REDUCTIONS[kind])
    return build("Slice", result, _FIRST, build.unsqueeze(count, 0), _FIRST)


def _scalar(build: Builder, name: str) -> str:
    return build.cast(build("Reshape", name, np.array([], np.int64)), np.int64)


def _neutral(kind: str, dtype: np.dtype) -> Any:
    if kind not in ("Max", "Min"):
        return int(kind == "Prod")
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return limits.min if kind == "Max" else limits.max


def _filled(build: Builder, shape: str, value: Any, dtype: np.dtype) -> str:
    from onnx import numpy_helper

    return build("ConstantOfShape", shape, value=numpy_helper.from_array(np.array([value], dtype)))


_KINDS = ("Sum", "Prod", "Max", "Min", "Mean")
SEGMENTS: dict[str, Handler] = {
    "ScatterNd": scatter_nd,
    **{f"Segment{kind}": sorted_segments(kind) for kind in _KINDS},
    **{f"UnsortedSegment{kind}": unsorted(kind) for kind in _KINDS[:-1]},
    **{
        f"SparseSegment{kind}{number}": sparse(kind)
        for kind in ("Sum", "Mean", "SqrtN")
        for number in ("", "WithNumSegments")
    },
}
"""Handlers by the operators of TensorFlow."""
