"""Operators on maps and categories of the domain ai.onnx.ml; maps are dicts.

onnx has no implementation of ZipMap, CategoryMapper and CastMap; its DictVectorizer gives one axis
for one map instead of a row, and fails for keys that are not in the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .operator import ML, Operator


class ZipMap(Operator):
    """Rows of scores as maps from labels to scores."""

    op_domain = ML

    def _run(
        self,
        x: np.ndarray,
        classlabels_int64s: Sequence[int] | None = None,
        classlabels_strings: Sequence[str] | None = None,
    ) -> tuple[list[dict[Any, float]]]:
        labels = classlabels_strings or classlabels_int64s or ()
        rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
        if rows.shape[1] != len(labels):
            raise ValueError(f"{len(labels)} labels for {rows.shape[1]} scores")
        return ([dict(zip(labels, row, strict=True)) for row in rows.tolist()],)


class CategoryMapper(Operator):
    """Strings as integers, or integers as strings; other values have a default."""

    op_domain = ML

    def _run(
        self,
        x: np.ndarray,
        cats_int64s: Sequence[int] | None = None,
        cats_strings: Sequence[str] | None = None,
        default_int64: int = -1,
        default_string: str = "_Unused",
    ) -> tuple[np.ndarray]:
        pairs = [cats_int64s or (), cats_strings or ()]
        default: Any = default_string
        kind: Any = object
        is_text = x.dtype.kind not in "iu"
        if is_text:
            pairs, default, kind = pairs[::-1], default_int64, np.int64
        table = self.once(is_text, lambda: dict(zip(*pairs, strict=True)))
        found = np.empty(x.size, kind)
        found[:] = [table.get(item, default) for item in x.reshape(-1).tolist()]
        return (found.reshape(x.shape),)


class DictVectorizer(Operator):
    """The values of a map as a row, in the order of a vocabulary, zero for keys it lacks."""

    op_domain = ML

    def _run(
        self,
        x: Mapping[Any, Any],
        int64_vocabulary: Sequence[int] | None = None,
        string_vocabulary: Sequence[str] | None = None,
    ) -> tuple[np.ndarray]:
        kind = _kind_of(x)
        absent = "" if kind is object else 0
        words = string_vocabulary or int64_vocabulary or ()
        return (np.array([[x.get(word, absent) for word in words]], kind),)


def _kind_of(values: Mapping[Any, Any]) -> type:
    """Type of the values of a map: Python's floats stand for float32, its integers for int64."""
    first = next(iter(values.values()), 0.0)
    if isinstance(first, np.generic):
        return first.dtype.type
    return {int: np.int64, str: object}.get(type(first), np.float32)


class CastMap(Operator):
    """The values of a map as a row: in the order of keys, or at the places that keys name."""

    op_domain = ML

    def _run(
        self,
        x: Mapping[int, Any],
        cast_to: str = "TO_FLOAT",
        map_form: str = "DENSE",
        max_map: int = 1,
    ) -> tuple[np.ndarray]:
        kind = {"TO_FLOAT": np.float32, "TO_INT64": np.int64, "TO_STRING": object}[cast_to]
        convert: Any = {"TO_FLOAT": float, "TO_INT64": int, "TO_STRING": _text}[cast_to]
        values = [convert(x[key]) for key in sorted(x)]
        if map_form == "DENSE":
            return (np.array([values], kind).reshape(1, -1),)
        row = np.full((1, max_map), "0.f" if kind is object else 0, kind)
        for key, value in zip(sorted(x), values, strict=True):
            if 0 <= key < max_map:
                row[0, key] = value
        return (row,)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:f}"
