"""Joining of requests: rows of several are one run, whose results are parted again.

That is for models whose inputs and outputs all have the same open first dimension. It does not say
that rows are computed apart from each other: a model may normalize over them. So before a model's
first joined run, one of the requests and another made of it (elements reversed, values halved) are
run alone and joined; where results differ by more than rounding, the model is never joined.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from ...errors import SardonyxError, reason
from ...runtime.cancellation import Cancellation
from .ports import Port

Feeds: TypeAlias = Mapping[str, np.ndarray]
Outcome: TypeAlias = "list[np.ndarray] | BaseException"
Run: TypeAlias = Callable[[Feeds, Cancellation], list[np.ndarray]]

_TRIALS = 3
"""Attempts to prove that rows are apart; inputs may be unfit for that, such as constant ones."""

TOLERANCE = 1e-3
"""Difference that joined results may have, relative to the largest value of an output."""
TOLERANCES = {"bf16": 3e-2, "bf16_weights": 3e-2, "int8_activations": 5e-2}
"""The same by precision, where it is not that."""


def obstacle(inputs: Sequence[Port], outputs: Sequence[Port]) -> str:
    """Say why a model's requests cannot be joined; nothing where they can."""
    names = set()
    for port in (*inputs, *outputs):
        if not port.dims:
            return f"{port.name!r} has no first dimension"
        if isinstance(port.dims[0], int):
            return f"the first dimension of {port.name!r} is {port.dims[0]}"
        names.add(port.dims[0])
    if len(names) > 1:
        told = ", ".join(sorted(str(name) for name in names))
        return f"first dimensions differ: {told}"
    if names == {None} and len(inputs) > 1:
        return "first dimensions of inputs have no name"
    return ""


def kind(feeds: Feeds) -> tuple[Any, ...]:
    """Return what requests must share to be joined: names, types, and all sizes but the first."""
    return tuple((name, array.dtype, array.shape[1:]) for name, array in feeds.items())


class Joiner:
    """Runs requests together, or one after the other.

    Parameters
    ----------
    run : callable
        Runs the model.
    why_not : str
        Why requests are never joined; empty where they may be.
    tolerance : float
        Of results, relative to the largest value of an output.

    Attributes
    ----------
    why_not : str
    """

    def __init__(self, run: Run, why_not: str = "", tolerance: float = TOLERANCE) -> None:
        self.why_not = why_not
        self._run = run
        self._tolerance = tolerance
        self._is_proven = False
        self._trials = 0

    def __call__(self, requests: Sequence[Feeds], cancellation: Cancellation) -> list[Outcome]:
        """Run requests of one kind; each has its own results or error."""
        if len(requests) > 1 and not self.why_not:
            try:
                if self._is_proven or self._prove(requests[0], cancellation):
                    return list(self._joined(requests, cancellation))
            except Exception:
                # One of them may be at fault; then the others get their results all the same.
                if cancellation.is_cancelled:
                    raise
        return [self._alone(feeds, cancellation) for feeds in requests]

    def _alone(self, feeds: Feeds, cancellation: Cancellation) -> Outcome:
        try:
            return self._run(feeds, cancellation)
        except Exception as error:
            return error

    def _joined(
        self, requests: Sequence[Feeds], cancellation: Cancellation
    ) -> list[list[np.ndarray]]:
        names = list(requests[0])
        feeds = {name: np.concatenate([each[name] for each in requests]) for name in names}
        results = self._run(feeds, cancellation)
        ends = np.cumsum([len(each[names[0]]) for each in requests])
        if any(not array.ndim or len(array) != ends[-1] for array in results):
            self.why_not = "an output has not as many rows as the inputs"
            raise ValueError(self.why_not)
        bounds = list(zip([0, *ends[:-1]], ends, strict=True))
        return [[array[begin:end] for array in results] for begin, end in bounds]

    def _prove(self, feeds: Feeds, cancellation: Cancellation) -> bool:
        """Whether two requests give together what they give alone; where not, it is noted."""
        other = {name: _another(array) for name, array in feeds.items()}
        self._trials += 1
        if all(np.array_equal(feeds[name], other[name]) for name in feeds):
            self._give_up("inputs are constant")
            return False
        try:
            pair = (feeds, other)
            alone = [self._run(each, cancellation) for each in pair]
            joined = self._joined(pair, cancellation)
        except SardonyxError as error:
            self._give_up(reason(error))
            return False
        for expected, got in zip(alone, joined, strict=True):
            if not all(map(self._agree, expected, got)):
                self.why_not = "results of joined requests differ from those of single ones"
                return False
        self._is_proven = True
        return True

    def _give_up(self, why: str) -> None:
        if self._trials >= _TRIALS:
            self.why_not = f"it could not be tried whether rows are computed apart: {why}"

    def _agree(self, expected: np.ndarray, got: np.ndarray) -> bool:
        if expected.shape != got.shape:
            return False
        if expected.dtype.kind in "OSUbiu":
            return bool(np.array_equal(expected, got))
        expected, got = expected.astype(np.float64), got.astype(np.float64)
        finite = np.isfinite(expected)
        scale = float(np.abs(expected[finite]).max(initial=0.0))
        if not np.array_equal(expected[~finite], got[~finite], equal_nan=True):
            return False
        return bool((np.abs(expected - got)[finite] <= self._tolerance * scale).all())


def _another(array: np.ndarray) -> np.ndarray:
    """Return other values that the same input may have: reversed in each row, and halved."""
    if not array.size:
        return array
    other = array.reshape(len(array), -1)[:, ::-1].reshape(array.shape)
    if array.dtype.kind in "iu":
        return other // 2 if array.max() > 1 else other
    return other if array.dtype.kind in "bO" else other * array.dtype.type(0.5)
