"""``@kernel``: a Python function whose parameter list is its argument record.

The first four parameters say which share of the work to do: a step is cut into ``parts`` parts, a
number that depends on its sizes only; a call computes those from ``part`` to ``until`` (exclusive),
and uses ``thread`` only to find its own workspace, so that results do not depend on the number of
threads. Each further parameter is a 64-bit word of the record, in order. A parameter annotated
``float`` arrives as a float64, every other as an int64 (``Pointer``: a byte address). The function
returns 0 or a code of ``ERRORS``.
"""

from __future__ import annotations

import functools
import inspect
import struct
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from .compiler import kernel_address, native_function
from .ref import KernelRef

Pointer: TypeAlias = int

SHARE = ("thread", "part", "until", "parts")
"""Parameters that every kernel begins with."""
SHARES = 2
"""Shares that a kernel which may split along one of two axes should have equal.

The choice must not depend on the number of threads: parts would no longer be parts of one whole.
"""
MANY = 16
"""Rows that are enough to be split; of fewer, the elements of each are."""

ERRORS = {
    1: "index out of range",
    2: "division of an integer by zero",
    3: "a size is negative",
    4: "more elements are wanted than there are",
}


class Kernel:
    """A compiled-on-demand function over an argument record.

    Attributes
    ----------
    ref : KernelRef
        Its name in a saved program.
    fields : tuple of str
        Names of the record's words, in order.
    floats : frozenset of str
        Those of them that hold a float64.
    """

    def __init__(
        self, function: Callable[..., int], parameters: tuple[int | str, ...] = ()
    ) -> None:
        module = function.__module__.partition(".")[2]
        name = function.__qualname__.partition(".")[0]
        self.ref = KernelRef(module, name, parameters)
        signature = inspect.signature(function)
        names = list(signature.parameters)
        if names[:4] != list(SHARE):
            raise TypeError(f"kernel {name} must begin with {', '.join(SHARE)}")
        self.fields = tuple(names[4:])
        kinds = {key: p.annotation for key, p in signature.parameters.items()}
        self.floats = frozenset(key for key in self.fields if kinds[key] in (float, "float"))
        self._function = function
        self.__doc__ = function.__doc__

    @functools.cached_property
    def entry(self) -> Callable[..., int]:
        """Return ``entry(args, *SHARE)``, which reads the record and calls the body."""
        return _entry(self._function, self.fields, self.floats)

    @property
    def address(self) -> int:
        """Address of the machine code; compiles it when needed."""
        return kernel_address(self.ref)

    def record(self, **values: Any) -> np.ndarray:
        """Build an argument record: arrays become their address, kernels theirs.

        Parameters
        ----------
        **values
            One value for each field.

        Returns
        -------
        ndarray of int64
            The caller keeps the arrays alive.
        """
        if set(values) != set(self.fields):
            raise TypeError(f"{self.ref}: fields differ: {sorted(set(values) ^ set(self.fields))}")
        return np.array([_word(values[key], key in self.floats) for key in self.fields], np.int64)

    def __call__(
        self, *, thread: int = 0, part: int = 0, until: int = 1, parts: int = 1, **values: Any
    ) -> int:
        """Run some parts, for tests and measurements; returns the error code."""
        record = self.record(**values)
        return native_function(self.address)(record.ctypes.data, thread, part, until, parts)


def float_bits(value: float) -> int:
    """Word that holds a floating-point field."""
    return struct.unpack("<q", struct.pack("<d", float(value)))[0]


def _word(value: Any, is_float: bool) -> int:
    if is_float:
        return float_bits(value)
    if isinstance(value, np.ndarray):
        return value.ctypes.data
    if isinstance(value, Kernel):
        return value.address
    return int(value)


def _entry(function: Callable[..., int], fields: tuple[str, ...], floats: frozenset[str]) -> Any:
    from numba import njit

    from . import simd

    loads = ", ".join(
        f"load_{'f64' if name in floats else 'i64'}(args, {index})"
        for index, name in enumerate(fields)
    )
    share = ", ".join(SHARE)
    source = f"def entry(args, {share}):\n    return body({share}, {loads})\n"
    scope = {
        "body": njit(inline="never")(function),
        "load_f64": simd.load_f64,
        "load_i64": simd.load_i64,
    }
    exec(source, scope)
    return scope["entry"]


def kernel(function: Callable[..., int]) -> Kernel:
    """Declare a kernel; see the module's text for its parameters."""
    return Kernel(function)


def kernel_factory(
    factory: Callable[..., Callable[..., int]],
) -> Callable[..., Kernel]:
    """Declare a family of kernels, one for each set of integer or string parameters.

    The factory returns an inner function written like a kernel, closed over its parameters.
    """

    @functools.cache
    def build(*parameters: int | str) -> Kernel:
        return Kernel(factory(*parameters), parameters)

    functools.update_wrapper(build, factory)
    return build
