"""Labels, categories and missing features, of ai.onnx.ml."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from .operator import ML, Operator

_MISSING = object()


def _key(value: Any) -> Any:
    """Hashable form, in which NaN equals NaN."""
    value = value.item() if isinstance(value, np.generic) else value
    return _MISSING if isinstance(value, float) and math.isnan(value) else value


_FEW = 64  # numbers that are looked up one by one faster than they are sorted


def _mapped(x: np.ndarray, table: dict[Any, Any], default: Any, kind: Any) -> np.ndarray:
    values, places = x.reshape(-1), None
    is_number = x.dtype.kind in "iuf"
    if is_number and values.size > _FEW:
        values, places = np.unique(values, return_inverse=True)
    keys = values.tolist()
    if x.dtype.kind not in "iuOU":
        keys = [_key(value) for value in keys]
    y = np.empty(values.size, kind)
    y[:] = [table.get(key, default) for key in keys]
    return (y if places is None else y[places]).reshape(x.shape)


@dataclass(frozen=True)
class _Table:
    """Values by key, and what other values get."""

    values: dict[Any, Any]
    default: Any
    kind: Any

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return _mapped(x, self.values, self.default, self.kind)


class LabelEncoder(Operator):
    """LabelEncoder of all versions; values that are not found get the default of their type."""

    op_domain = ML

    def _run(self, x: np.ndarray, **attributes: Any) -> tuple[Any, ...]:
        is_text = x.dtype.kind in "OUS"
        if attributes.get("classes_strings") is None:
            return (self.once("table", lambda: _table(**attributes))(x),)
        return (self.once(is_text, lambda: _table_of_places(is_text, **attributes))(x),)


def _table(
    *, keys_tensor: Any = None, values_tensor: Any = None, default_tensor: Any = None, **lists: Any
) -> _Table:
    keys = _given(lists, "keys", keys_tensor)[0]
    values, suffix = _given(lists, "values", values_tensor)
    if len(keys) != len(values):
        raise ValueError(f"{len(keys)} keys for {len(values)} values")
    kinds = {"strings": (object, "default_string"), "int64s": (np.int64, "default_int64"),
             "floats": (np.float32, "default_float")}  # fmt: skip
    if suffix == "tensor":
        kind: Any = values_tensor.dtype
        default = _default_of(kind) if default_tensor is None else default_tensor.reshape(-1)[0]
    else:
        kind, name = kinds[suffix]
        default = lists[name]
    kind = object if np.dtype(kind).kind in "OUS" else kind
    return _Table({_key(k): v for k, v in zip(keys, values, strict=True)}, default, kind)


def _table_of_places(
    is_text: bool, *, classes_strings: list[str], default_int64: int, default_string: str
) -> _Table:
    """Places of names (version 1), or names of places."""
    if is_text:
        places = {name: place for place, name in enumerate(classes_strings)}
        return _Table(places, default_int64, np.int64)
    return _Table(dict(enumerate(classes_strings)), default_string, object)


def _given(lists: dict[str, Any], prefix: str, tensor: Any) -> tuple[list[Any], str]:
    if tensor is not None:
        return tensor.reshape(-1).tolist(), "tensor"
    for suffix in ("strings", "int64s", "floats"):
        if lists.get(f"{prefix}_{suffix}"):
            return lists[f"{prefix}_{suffix}"], suffix
    raise ValueError(f"no {prefix}")


def _default_of(kind: np.dtype[Any]) -> Any:
    if kind.kind in "OUS":
        return "_Unused"
    return -1 if kind.kind in "iu" else -0.0


class OneHotEncoder(Operator):
    """OneHotEncoder; without ``zeros`` every value has to be a category."""

    op_domain = ML

    def _run(
        self, x: np.ndarray, *, cats_int64s: Any, cats_strings: Any, zeros: int
    ) -> tuple[Any, ...]:
        categories = cats_strings or cats_int64s
        x = x.astype(np.int64) if x.dtype.kind == "f" else x  # the standard casts
        table = self.once("table", lambda: {c: i for i, c in enumerate(categories)})
        places = _mapped(x, table, -1, np.int64)
        if not zeros and (places < 0).any():
            raise ValueError(f"{x[places < 0][0]!r} is no category")
        return ((places[..., None] == np.arange(len(categories))).astype(np.float32),)


class Imputer(Operator):
    """Imputer: values for those that are missing, of all features or of each."""

    op_domain = ML

    def _run(
        self, x: np.ndarray, *, imputed_value_floats: Any, imputed_value_int64s: Any,
        replaced_value_float: Any, replaced_value_int64: Any,
    ) -> tuple[Any, ...]:  # fmt: skip
        real = x.dtype.kind == "f"
        values = np.array(imputed_value_floats if real else imputed_value_int64s).astype(x.dtype)
        missing = replaced_value_float if real else replaced_value_int64
        found = np.isnan(x) if real and np.isnan(missing) else x == missing
        return (np.where(found, values if values.size == x.shape[-1] else values[0], x),)
