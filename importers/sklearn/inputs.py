"""Inputs of an estimator: their names, types, and the way back from arrays to what it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from ...errors import InvalidArgument

NAME = "X"
"""Input of an estimator that takes one array, as skl2onnx names it."""


@dataclass(frozen=True)
class Inputs:
    """Inputs of an estimator.

    Attributes
    ----------
    types : list of (str, type of skl2onnx)
        Names and types, for the converter.
    examples : dict of str to ndarray
        What the caller gave, by name.
    columns : list of str, optional
        Columns of the frame that the estimator takes; None where it takes one array.
    has_rows : bool
        Whether the array has rows; texts that are vectorized have none.
    """

    types: list[tuple[str, Any]]
    examples: dict[str, np.ndarray]
    columns: list[str] | None = None
    has_rows: bool = True

    @classmethod
    def of(cls, source: Any, example: Any) -> Self:
        """Find the inputs of an estimator.

        Raises
        ------
        InvalidArgument
            Their types are unknown.
        """
        if example is None:
            count = _features(source)
            return cls([(NAME, _type(np.dtype(np.float32), count))], {})
        if isinstance(example, Mapping) or hasattr(example, "columns"):
            names = [str(name) for name in example]
            arrays = [np.asarray(example[name]).reshape(-1, 1) for name in example]
            return cls(
                [(n, _type(a.dtype, 1)) for n, a in zip(names, arrays, strict=True)],
                {n: _plain(a) for n, a in zip(names, arrays, strict=True)},
                names,
            )
        array = np.asarray(example)
        rows = array.reshape(-1, 1) if array.ndim == 1 else array
        return cls(
            [(NAME, _type(rows.dtype, rows.shape[1]))], {NAME: _plain(rows)}, None, array.ndim > 1
        )

    def restored(self, feeds: Mapping[str, Any]) -> Any:
        """Return what the estimator takes, from the arrays of its model's inputs."""
        if self.columns is None:
            array = np.asarray(feeds[NAME])
            return array if self.has_rows else array.reshape(-1)
        import pandas

        return pandas.DataFrame({name: np.reshape(feeds[name], -1) for name in self.columns})


def _features(source: Any) -> int:
    count = getattr(source, "n_features_in_", None)
    if count is None and hasattr(source, "num_feature"):  # a Booster of LightGBM
        count = source.num_feature()
    if count is None and hasattr(source, "num_features"):  # one of XGBoost
        count = source.num_features()
    if count is None:
        raise InvalidArgument(
            f"the number of features of {type(source).__name__} is unknown: fit it, or give "
            "example_inputs="
        )
    return int(count)


def _type(dtype: np.dtype, features: int) -> Any:
    from skl2onnx.common import data_types as types

    kinds = {
        "f": types.DoubleTensorType if dtype.itemsize == 8 else types.FloatTensorType,
        "i": types.Int64TensorType,
        "u": types.Int64TensorType,
        "b": types.BooleanTensorType,
        "U": types.StringTensorType,
        "O": types.StringTensorType,
    }
    if dtype.kind not in kinds:
        raise InvalidArgument(f"example_inputs holds {dtype}: estimators take numbers and strings")
    return kinds[dtype.kind]([None, features])


def _plain(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind in "iu":
        return array.astype(np.int64)
    return array.astype(object) if array.dtype.kind == "U" else array
