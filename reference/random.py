"""Random numbers, of any shape, also of none, and reproducible by their seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from .operator import Operator


def _generator(seed: float | None) -> np.random.Generator:
    """A generator of its own for each run; without a seed, another one each time."""
    return np.random.default_rng(None if seed is None else np.float32(seed).view(np.uint32))


def _kind(code: int | None, like: np.ndarray | None) -> np.dtype[Any]:
    if code:
        return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(code))
    return np.dtype(np.float32) if like is None else like.dtype


class _Random(Operator):
    """Numbers of a shape, or of another tensor's shape and type."""

    widens = False  # the result's type is that of the tensor

    def draw(self, generator: np.random.Generator, shape: Any, **range_: float) -> np.ndarray:
        """Draw numbers as double."""
        raise NotImplementedError

    def _run(
        self, like: np.ndarray | None = None, *, dtype: int | None = None, seed: Any = None,
        shape: Any = (), **range_: float,
    ) -> tuple[Any, ...]:  # fmt: skip
        values = self.draw(_generator(seed), shape if like is None else like.shape, **range_)
        return (np.asarray(values).astype(_kind(dtype, like)),)


class RandomNormal(_Random):
    """RandomNormal."""

    def draw(self, generator: np.random.Generator, shape: Any, **range_: float) -> np.ndarray:
        """Of a normal distribution."""
        return np.asarray(generator.normal(range_["mean"], range_["scale"], shape))


class RandomUniform(_Random):
    """RandomUniform."""

    def draw(self, generator: np.random.Generator, shape: Any, **range_: float) -> np.ndarray:
        """Of an interval."""
        return np.asarray(generator.uniform(range_["low"], range_["high"], shape))


class RandomNormalLike(RandomNormal):
    """RandomNormalLike."""


class RandomUniformLike(RandomUniform):
    """RandomUniformLike."""


class Bernoulli(Operator):
    """Bernoulli: ones with the probabilities that the input holds."""

    widens = False

    def _run(self, x: np.ndarray, *, dtype: int | None, seed: Any) -> tuple[Any, ...]:
        drawn = _generator(seed).random(x.shape) < x.astype(np.float64)
        return (np.asarray(drawn).astype(_kind(dtype, x)),)


class Multinomial(Operator):
    """Multinomial: classes by unnormalized logarithms of their probabilities."""

    def _run(self, x: np.ndarray, *, dtype: int, sample_size: int, seed: Any) -> tuple[Any, ...]:
        # The largest of sums with Gumbel noise is distributed like the classes.
        noise = _generator(seed).gumbel(size=(x.shape[0], sample_size, x.shape[1]))
        return ((x[:, None] + noise).argmax(-1).astype(_kind(dtype, None)),)
