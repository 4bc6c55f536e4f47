"""Cases: functions that compare small models on the GPU with the standard, and their parameters.

A case raises when something is wrong. Their modules are imported by name, because most of what
uses them wants a few.
"""

from __future__ import annotations

import importlib
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

MODULES = ("kernels", "images", "indexing", "integers", "networks", "ranges", "recurrent")
"""Modules of this package with cases."""
_PREFIX = "case_"


class Case(NamedTuple):
    """What is compared: its name, and the function that does it."""

    name: str
    run: Callable[[], Any]


def parametrize(name: str, values: Sequence[Any]) -> Callable[[Callable[..., Any]], Any]:
    """Declare a case for each value of a parameter; those of several are combined."""

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        before = getattr(function, "parameters", ())
        function.parameters = (*before, (name, tuple(values)))  # type: ignore[attr-defined]
        return function

    return declare


def cases_of(module: str) -> list[Case]:
    """Return the cases of a module."""
    found = importlib.import_module(f"{__package__}.{module}")
    return [
        case
        for name, function in vars(found).items()
        if name.startswith(_PREFIX)
        for case in _expanded(module, name.removeprefix(_PREFIX), function)
    ]


def _expanded(module: str, name: str, function: Callable[..., Any]) -> Iterator[Case]:
    parameters = getattr(function, "parameters", ())
    names = [parameter for parameter, _ in parameters]
    for values in itertools.product(*(each for _, each in parameters)):
        label = ", ".join(str(value) for value in values)
        shown = f"{module}: {name.replace('_', ' ')}" + (f" ({label})" if label else "")
        given = dict(zip(names, values, strict=True))

        def run(given: dict[str, Any] = given) -> Any:
            return function(**given)

        yield Case(shown, run)


@contextmanager
def raises(kind: type[Exception], match: str) -> Iterator[None]:
    """Expect an error whose text has a pattern in it."""
    try:
        yield
    except kind as error:
        if re.search(match, str(error)) is None:
            raise AssertionError(f"expected an error with {match!r}, got: {error}") from error
    else:
        raise AssertionError(f"expected {kind.__name__} with {match!r}, got no error")


def rng() -> np.random.Generator:
    """Return a generator that begins anew for each case."""
    return np.random.default_rng(0)
