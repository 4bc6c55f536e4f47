"""Calibration data: feeds of a model from arrays, files or folders, checked before they are run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidArgument
from .feeds import input_names, read_feeds

if TYPE_CHECKING:
    import onnx_ir as ir

_ARRAYS = (".npy", ".npz")
_AT_ONCE = 8
"""Samples of a run where the model takes any number."""


def calibration_feeds(
    model: ir.Model, data: Any, what: str = "calibration data"
) -> Iterator[dict[str, np.ndarray]]:
    """Yield the feeds of calibration data, one after the other.

    Parameters
    ----------
    model : onnx_ir.Model
    data
        A mapping of arrays by input, or one array for the only input: samples along the first axis
        if all inputs have as many, which are run a few at a time; else one feed. A path of an
        ``.npy`` or ``.npz`` file, or of a folder of them, holds such data. Any other iterable
        yields feeds, or arrays of the only input.
    what : str
        What errors call it.

    Raises
    ------
    InvalidArgument
        There is none, an input is missing, unknown, NaN or of another type or shape than the
        model's; names it.
    """
    count = 0
    for count, feed in enumerate(_feeds(model, data, what), 1):
        yield _checked(model, feed, f"run {count} of the {what}")
    if not count:
        raise InvalidArgument(f"the {what} is empty: give some inputs{_where(data)}")


def _where(data: Any) -> str:
    """Say what of a folder is read."""
    if not isinstance(data, str | os.PathLike) or not Path(data).is_dir():
        return ""
    return f"; {data} holds no file of {', '.join(_ARRAYS)}, nor images"


def _feeds(model: ir.Model, data: Any, what: str) -> Iterator[Mapping[str, Any]]:
    names = input_names(model)
    if isinstance(data, str | os.PathLike):
        for path in _files(Path(data)):
            yield from _batches(model, read_feeds([str(path)], names))
    elif isinstance(data, Mapping):
        yield from _batches(model, data)
    elif isinstance(data, np.ndarray):
        yield from _batches(model, {_only_input(names): data})
    elif isinstance(data, Iterable):
        for each in data:
            yield each if isinstance(each, Mapping) else {_only_input(names): each}
    else:
        kind = type(data).__name__
        raise InvalidArgument(
            f"{what} is a mapping of arrays by input, an iterable of such feeds, or a path, not a "
            f"{kind}"
        )


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.suffix in _ARRAYS)


def _only_input(names: list[str]) -> str:
    if len(names) != 1:
        raise InvalidArgument(f"the model has inputs {', '.join(names)}: give arrays by name")
    return names[0]


def _batches(model: ir.Model, arrays: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Cut arrays along the first axis, where all inputs have one and it has as many samples."""
    shapes = {str(value.name): value.shape for value in model.graph.inputs}
    lengths = {np.shape(array)[:1] for array in arrays.values()}
    length = next(iter(lengths), ())
    if len(lengths) != 1 or not length:
        yield arrays
        return
    firsts = {shape[0] if len(shape) else None for shape in shapes.values() if shape is not None}
    fixed = {first for first in firsts if isinstance(first, int)}
    if len(firsts) != 1 or (fixed and length[0] % min(fixed)):
        yield arrays
        return
    step = min(fixed, default=_AT_ONCE)
    for start in range(0, length[0], max(step, 1)):
        yield {name: array[start : start + step] for name, array in arrays.items()}


def _checked(model: ir.Model, feed: Mapping[str, Any], where: str) -> dict[str, np.ndarray]:
    names = input_names(model)
    values = {str(value.name): value for value in model.graph.inputs}
    for name in feed:
        if name not in values:
            raise InvalidArgument(f"{where}: no input {name!r}; the model has {', '.join(names)}")
    for name in names:
        if name not in feed:
            raise InvalidArgument(f"{where}: input {name!r} is missing; there are {list(feed)}")
    return {name: _fitting(values[name], array, where) for name, array in feed.items()}


def _fitting(value: ir.Value, given: Any, where: str) -> np.ndarray:
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise InvalidArgument(f"{where}: input {value.name!r} is no array: {error}") from error
    wanted = None if value.dtype is None else value.dtype.numpy()
    if wanted is not None and array.dtype != wanted:
        raise InvalidArgument(f"{where}: input {value.name!r} is {array.dtype}, expected {wanted}")
    shape = value.shape
    if shape is not None:
        sizes = [size if isinstance(size, int) else None for size in shape]
        fits = len(sizes) == array.ndim and all(
            size is None or size == own for size, own in zip(sizes, array.shape, strict=True)
        )
        if not fits:
            raise InvalidArgument(
                f"{where}: input {value.name!r} has the shape {array.shape}, expected {shape}"
            )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InvalidArgument(f"{where}: input {value.name!r} is NaN or infinite")
    return array
