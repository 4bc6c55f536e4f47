"""Checks what a session is given to run on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import InvalidArgument
from .program import Port


def check_shapes(ports: Sequence[Port], shapes: Sequence[tuple[int, ...]]) -> None:
    """Compare the shapes of inputs with what a program declares.

    Raises
    ------
    InvalidArgument
        A size is another one, or two inputs disagree on a dimension.
    """
    sizes: dict[str, tuple[int, str]] = {}
    for port, shape in zip(ports, shapes, strict=True):
        if port.dims is None or port.dtype == "object":
            continue
        if len(shape) != len(port.dims):
            raise InvalidArgument(
                f"input {port.name!r}: expected {len(port.dims)} dimensions {port.dims}, "
                f"got shape {shape}"
            )
        for axis, (size, dim) in enumerate(zip(shape, port.dims, strict=True)):
            if isinstance(dim, int) and size != dim:
                raise InvalidArgument(
                    f"input {port.name!r}: expected {dim} in dimension {axis} "
                    f"({port.dims}), got shape {shape}"
                )
            if isinstance(dim, str):
                first = sizes.setdefault(dim, (size, port.name))
                if first[0] != size:
                    raise InvalidArgument(
                        f"input {port.name!r}: dimension {axis} ({dim!r}) is {size}, "
                        f"but {first[0]} in input {first[1]!r}"
                    )


def typed(value: Any, name: str, dtype: np.dtype) -> np.ndarray:
    """Return an input as an array of the type it must have."""
    array = _as_array(value, name)
    if array.dtype.newbyteorder("=") != dtype:
        raise InvalidArgument(f"input {name!r}: expected {dtype.name}, got {array.dtype.name}")
    return array.astype(dtype, copy=False)


def _as_array(value: Any, name: str) -> np.ndarray:
    try:
        return np.asarray(value)
    except Exception as error:
        raise InvalidArgument(f"input {name!r} is no array: {error}") from error


def checked_object(port: Port, value: Any) -> Any:
    """Check strings; what else is no plain tensor goes to onnx's reference as it is."""
    if port.kind != "string":
        return value
    array = _as_array(value, port.name)
    if array.dtype.kind not in "OUST" or not all(
        isinstance(item, str | bytes) for item in array.reshape(-1)
    ):
        raise InvalidArgument(f"input {port.name!r}: expected strings, got {array.dtype.name}")
    return array.astype(object)


def sorted_choices(choices: Any) -> dict[str, str]:
    """Return choices in an order of their own: the program that is kept depends on it."""
    given = {} if choices is None else choices
    if not isinstance(given, Mapping):
        kind = type(given).__name__
        raise InvalidArgument(f"choices must be a mapping of names to forms, not a {kind}")
    return {name: str(given[name]) for name in sorted(given)}
