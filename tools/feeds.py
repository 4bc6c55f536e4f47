"""Inputs for a run: given or read from files, the rest random."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import InvalidArgument

if TYPE_CHECKING:
    import onnx_ir as ir


def make_feeds(
    model: ir.Model,
    given: Mapping[str, Any],
    dims: Iterable[str] = (),
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Collect the inputs of a model.

    Parameters
    ----------
    model : onnx_ir.Model
    given : mapping of str to array
        Inputs by name; the others are random.
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
        An input is given that the model has not.
    """
    from .zoo import random_inputs

    names = input_names(model)
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise InvalidArgument(f"no input {unknown[0]!r}; the model has {', '.join(names)}")
    rng = np.random.default_rng(seed)
    return random_inputs(model, parse_dims(dims), rng, given)


def input_names(model: ir.Model) -> list[str]:
    """Names of the inputs that have to be given: those without a default value."""
    graph = model.graph
    return [str(value.name) for value in graph.inputs if value.name not in graph.initializers]


def read_feeds(texts: Iterable[str], names: list[str]) -> dict[str, np.ndarray]:
    """Read inputs from files.

    Parameters
    ----------
    texts : iterable of str
        ``name=array.npy``, ``array.npy`` (the first input) or ``arrays.npz`` (by name).
    names : list of str
        Inputs of the model.

    Raises
    ------
    InvalidArgument
        A file cannot be read.
    """
    feeds: dict[str, np.ndarray] = {}
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


def _read(text: str, names: list[str]) -> dict[str, np.ndarray]:
    name, _, file = text.rpartition("=")
    path = Path(file)
    try:
        data = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InvalidArgument(f"{path}: not a readable .npy or .npz file ({error})") from error
    if isinstance(data, np.ndarray):
        return {name or names[0]: data}
    with data:
        if name:
            if len(data.files) != 1:
                raise InvalidArgument(f"{path} holds {data.files}: give it without {name}=")
            return {name: data[data.files[0]]}
        return {key: data[key] for key in data.files}
