"""Registration of custom operators: ``sardonyx.operator``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from .custom_operators import CustomOperator, enter, signature
from .errors import InvalidArgument
from .given_numbers import whole

_Function = TypeVar("_Function", bound=Callable[..., Any])

_STANDARD = ("", "ai.onnx", "ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training")
_CONTRIB = "com.microsoft"


def operator(
    domain: str,
    name: str,
    version: int = 1,
    *,
    shape: Callable[..., Any] | None = None,
    dtype: Any = None,
) -> Callable[[_Function], _Function]:
    """Let a function compute an operator of a domain that is not the standard's.

    Positional parameters of the function are the inputs, in order; those with a default may be
    missing, ``*`` takes any number. Its other parameters are attributes, by their names.

    Without ``shape`` the function computes one element of the result from one of each input: it
    becomes compiled code, in which inputs are broadcast, as parts that threads share.
    numba must be able to compile it: ``math`` and functions of numpy on numbers.

    With ``shape`` it is any function of arrays, which it may not write into, that returns an array,
    or a tuple of several.

    Parameters
    ----------
    domain, name : str
        Of the operator, as nodes state them.
    version : int
        Version of the domain from which on nodes mean this function. A model gets the newest one
        that is not above the version it imports.
    shape : callable, optional
        Shape rule: takes a `TensorType` for each input (None for a missing one), and those
        attributes that it has parameters for; returns the `TensorType` of the result, or a sequence
        of those of several. What it raises refuses the model.
    dtype : dtype, optional
        Of the result of an elementwise function; that of the first input by default.

    Returns
    -------
    callable
        Decorator that returns the function as it is.

    Raises
    ------
    InvalidArgument
        The operator is one of the standard, or one that is built in.

    Examples
    --------
    >>> @sardonyx.operator("my.domain", "Softcap")
    ... def softcap(x, *, cap=30.0):
    ...     return cap * math.tanh(x / cap)
    """
    version = whole(version, "version must be a positive integer", 1)
    if domain in _STANDARD:
        raise InvalidArgument(
            f"the domain {domain!r} belongs to the ONNX standard: register {name!r} in another"
        )
    if domain == _CONTRIB and _is_built_in(name):
        raise InvalidArgument(
            f"operator {domain}.{name} is built in: register it in another domain"
        )

    def register(function: _Function) -> _Function:
        _check(f"operator {domain}.{name}", function, shape, dtype)
        enter(CustomOperator(domain, name, version, function, shape, dtype))
        return function

    return register


def _is_built_in(name: str) -> bool:
    from .importers.onnx.contrib import has_adapter
    from .runtime.ops import OPERATORS

    return has_adapter(name) or (_CONTRIB, name) in OPERATORS


def _check(what: str, function: Any, shape: Any, dtype: Any) -> None:
    if not callable(function) or (shape is not None and not callable(shape)):
        raise InvalidArgument(f"{what} takes functions, not {function!r} and {shape!r}")
    if shape is not None and dtype is not None:
        raise InvalidArgument(f"{what}: where there is a shape rule, it says the types")
    try:
        signature(function)
    except ValueError:
        raise InvalidArgument(f"{what}: the parameters of {function!r} are not known") from None
    kinds = inspect.Parameter
    inputs = [p for p in signature(function).parameters.values() if p.kind != kinds.KEYWORD_ONLY]
    if not inputs and shape is None:
        raise InvalidArgument(f"{what}: a function of elements takes one or more")
