"""Options of importers, from the arguments of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..importers import importer_of
from ..random_arrays import random_array
from .feeds import parse_dims, read_feeds

FIRST = ""
"""Stands for the name of the first input, before the model is there."""


def file_options(
    source: str,
    texts: Sequence[str],
    dims: Sequence[str],
    seed: int,
    run_code: bool,
    **values: Any,
) -> dict[str, Any]:
    """Collect the options of `convert.convert` for a file.

    Parameters
    ----------
    source : str
        The file.
    texts, dims : sequence of str
        As `feeds.read_feeds` and `feeds.parse_dims` read them. A file whose importer takes example
        inputs is traced with them: a tensor for each, random where only its size is given.
    seed : int
        Of random tensors.
    run_code : bool
        Whether pickles and Lambda layers may run.
    **values
        Options of importers; those that are None or empty are left out.

    Raises
    ------
    InvalidArgument
        A file of inputs cannot be read, or a size is not of the right form.
    """
    importer = importer_of(source)
    options = {name: value for name, value in values.items() if value not in (None, [])}
    if run_code:
        options |= importer.unsafe
    feeds = read_feeds(texts, [FIRST])
    if "example_inputs" not in importer.options:
        return options | {"feeds": feeds, "dims": dims}
    examples = _examples(feeds, parse_dims(dims), seed)
    return options | ({"example_inputs": examples} if examples else {})


def _examples(feeds: dict[str, Any], sizes: dict[str, Any], seed: int) -> Any:
    from ..importers.frameworks import require

    torch = require("torch", "torch")
    rng = np.random.default_rng(seed)
    arrays = {name: _array(value) for name, value in feeds.items()}
    for name, shape in sizes.items():
        if name not in arrays:
            arrays[name] = random_array(shape, np.float32, rng)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return tuple(tensors.values()) if FIRST in tensors else tensors


def _array(value: Any) -> np.ndarray:
    """Make an array of numbers from the command line: of integers where all are."""
    if not isinstance(value, list):
        return np.asarray(value)
    try:
        return np.array([int(item) for item in value])
    except ValueError:
        return np.array([float(item) for item in value], np.float32)
