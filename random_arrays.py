"""Random arrays that a model can run on; the same for the same seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def random_array(
    shape: Sequence[int], dtype: Any, rng: np.random.Generator, signed: bool = False
) -> np.ndarray:
    """Make an array of random values.

    Parameters
    ----------
    shape : sequence of int
    dtype : dtype
        Integers are 0 or 1, which are valid as indices, lengths and numbers of tokens; objects are
        short strings.
    rng : Generator
    signed : bool
        Whether floats are normally distributed around 0; otherwise they are noise on top of
        patches, from 0 to 1.
    """
    dtype = np.dtype(dtype)
    if dtype.hasobject:
        return rng.choice(np.array(["a", "bc", ""], object), shape)
    if dtype == np.bool_:
        return rng.random(shape) < 0.5
    if "int" in dtype.name:  # the kind of int4 is that of bfloat16
        return rng.integers(0, 2, shape).astype(dtype)
    floats = rng.standard_normal(shape, np.float32) if signed else _patches(shape, rng)
    return np.asarray(floats).astype(dtype)


def _patches(shape: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """Noise in [0, 1) on top of coarse patches.

    Of plain noise a network's averages leave nothing: every input would give the same output, and
    a comparison of outputs would not notice a wrong operator.
    """
    coarse = rng.random([-(-size // 32) for size in shape], np.float32)
    for axis, size in enumerate(shape):
        coarse = np.repeat(coarse, 32, axis).take(range(size), axis)
    return (3 * coarse + rng.random(shape, np.float32)) / 4
