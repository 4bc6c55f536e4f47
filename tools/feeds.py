"""Inputs of a run: arrays of the caller, files, and random arrays for the rest."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidArgument
from ..random_arrays import random_array

if TYPE_CHECKING:
    import onnx_ir as ir


def make_feeds(
    model: ir.Model,
    arrays: Mapping[str, Any],
    dims: Iterable[str] = (),
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Collect the inputs of a model.

    Parameters
    ----------
    model : onnx_ir.Model
    arrays : mapping of str to array or list of str
        Inputs by name; the others are random. Strings are numbers of the input's type.
    dims : iterable of str
        Sizes for random inputs: ``input=1,3,224,224`` or ``dimension=4``.
    seed : int
        Of the random numbers.

    Returns
    -------
    dict of str to ndarray
        Dimensions that nothing states are 1.

    Raises
    ------
    InvalidArgument
        An input or a size is given that the model has not, or a number does not fit its input.
    """
    values = _typed_inputs(model, arrays)
    sizes = parse_dims(dims)
    known = _sizes(model)
    for name in sizes:
        if name not in known:
            raise InvalidArgument(f"no input or dimension {name!r}; there are {', '.join(known)}")
    rng = np.random.default_rng(seed)
    return random_inputs(model, sizes, rng, values)


def random_inputs(
    model: ir.Model,
    dims: Mapping[str, Any],
    rng: np.random.Generator,
    values: Mapping[str, Any] | None = None,
) -> dict[str, np.ndarray]:
    """Make inputs that a model can run on.

    Parameters
    ----------
    model
        Any model; inputs that have an initializer are left out.
    dims
        By the name of an input its shape, or by the name of a dimension its size. Other unknown
        dimensions are 1.
    rng
        Source of the values; see `random_arrays.random_array`.
    values
        Inputs given as they are, by name.
    """
    feeds: dict[str, np.ndarray] = {}
    for value in model.graph.inputs:
        name = value.name or ""
        if name in model.graph.initializers:
            continue
        if values and name in values:
            feeds[name] = np.asarray(values[name])
            continue
        dtype = np.dtype(np.float32) if value.dtype is None else value.dtype.numpy()
        feeds[name] = random_array(input_shape(value, dims), dtype, rng)
    return feeds


def input_shape(value: ir.Value, dims: Mapping[str, Any]) -> tuple[int, ...]:
    """Shape of an input by its name, or by its dimensions, of which unknown ones are 1."""
    if (shape := dims.get(value.name or "")) is not None:
        return tuple(shape)
    if value.shape is None:
        raise InvalidArgument(f"input {value.name!r} states no rank: give its shape in dims")
    return tuple(d if isinstance(d, int) else dims.get(str(d.value), 1) for d in value.shape)


def given_arrays(model: ir.Model, texts: Iterable[str]) -> dict[str, np.ndarray]:
    """Read inputs from files as `read_feeds` does, and give numbers the type of their input."""
    return _typed_inputs(model, read_feeds(texts, input_names(model)))


def _typed_inputs(model: ir.Model, arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    names = input_names(model)
    for name in arrays:
        if name not in names:
            raise InvalidArgument(f"no input {name!r}; the model has {', '.join(names)}")
    return {name: _typed(model, name, value) for name, value in arrays.items()}


def _typed(model: ir.Model, name: str, value: Any) -> np.ndarray:
    """Give numbers from the command line the type of their input; arrays have one."""
    if not isinstance(value, list):
        return np.asarray(value)
    dtype = next(each.dtype for each in model.graph.inputs if each.name == name)
    kind = None if dtype is None else dtype.numpy()
    try:
        if dtype is not None and dtype.name == "STRING":
            array = np.array(value, object)
        else:
            array = np.array([float(item) for item in value]).astype(kind)
            exact = np.array([int(item) for item in value]) if array.dtype.kind in "iu" else array
            array = exact.astype(kind)
    except ValueError as error:
        raise InvalidArgument(
            f"input {name!r}: {','.join(value)} is neither a file nor numbers of {kind}"
        ) from error
    shape = next(each.shape for each in model.graph.inputs if each.name == name)
    return array.reshape(()) if shape is not None and not len(shape) and len(value) == 1 else array


def _sizes(model: ir.Model) -> list[str]:
    """Names that sizes can be given for: inputs, and their dimensions."""
    names = dict.fromkeys(input_names(model))
    for value in model.graph.inputs:
        if value.name in names:
            names.update({str(d.value): None for d in value.shape or () if not isinstance(d, int)})
    return [name for name in names if name != "None"]


def input_names(model: ir.Model) -> list[str]:
    """Names of the inputs that have to be given: those without a default value."""
    graph = model.graph
    return [str(value.name) for value in graph.inputs if value.name not in graph.initializers]


def read_feeds(texts: Iterable[str], names: list[str]) -> dict[str, Any]:
    """Read inputs from files.

    Parameters
    ----------
    texts : iterable of str
        ``name=array.npy``, ``array.npy`` (the first input), ``arrays.npz`` (by name), or a number
        or several, ``name=16000``, which stay strings until their type is known.
    names : list of str
        Inputs of the model.

    Raises
    ------
    InvalidArgument
        A file cannot be read.
    """
    feeds: dict[str, Any] = {}
    for text in texts:
        feeds.update(_read(text, names))
    return feeds


def parse_dims(texts: Iterable[str]) -> dict[str, Any]:
    """Read ``input=1,3,224,224`` and ``dimension=4``: a tuple or an int for each name."""
    dims: dict[str, Any] = {}
    for text in texts:
        name, _, value = text.rpartition("=")
        try:
            sizes = tuple(int(part) for part in value.replace("x", ",").split(","))
        except ValueError:
            sizes = ()
        if not name or not sizes or min(sizes) < 0:
            raise InvalidArgument(f"{text!r} is not of the form input=1,3,224,224 or dimension=4")
        dims[name] = sizes if len(sizes) > 1 else sizes[0]
    return dims


def _read(text: str, names: list[str]) -> dict[str, Any]:
    name, _, file = text.rpartition("=")
    path = Path(file)
    if name and path.suffix not in (".npy", ".npz") and not path.exists():
        return {name: file.split(",")}
    data = read_arrays(path)
    if isinstance(data, np.ndarray):
        return {name or names[0]: data}
    if name:
        if len(data) != 1:
            raise InvalidArgument(f"{path} holds {list(data)}: give it without {name}=")
        return {name: next(iter(data.values()))}
    return data


def read_arrays(path: Path) -> np.ndarray | dict[str, np.ndarray]:
    """Read the array of an ``.npy`` file, or those of an ``.npz`` file by name.

    Raises
    ------
    InvalidArgument
        The file cannot be read, or holds Python's objects.
    """
    try:
        data: Any = np.load(path, allow_pickle=False)
        if isinstance(data, np.ndarray):
            return data
        with data:
            return {key: data[key] for key in data.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InvalidArgument(f"{path}: not a readable .npy or .npz file ({error})") from error
