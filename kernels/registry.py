"""``@kernel``: a Python function whose parameter list is its argument record.

The first two parameters are ``thread`` and ``threads``; each further one is a 64-bit word of
the record, in order. A parameter annotated ``float`` arrives as a float64, every other as an
int64 (``Pointer`` is a byte address). The function returns 0 or a code of ``ERRORS``.
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
        if names[:1] != ["thread"]:
            raise TypeError(f"kernel {name} must begin with thread and the number of threads")
        self.fields = tuple(names[2:])
        kinds = {key: p.annotation for key, p in signature.parameters.items()}
        self.floats = frozenset(key for key in self.fields if kinds[key] in (float, "float"))
        self._function = function
        self.__doc__ = function.__doc__

    @functools.cached_property
    def entry(self) -> Callable[[int, int, int], int]:
        """Return ``entry(args, thread, threads)``, which reads the record and calls the body."""
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

    def __call__(self, *, thread: int = 0, threads: int = 1, **values: Any) -> int:
        """Run one thread's share, for tests and measurements; returns the error code."""
        record = self.record(**values)
        return native_function(self.address)(record.ctypes.data, thread, threads)


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
    source = f"def entry(args, thread, threads):\n    return body(thread, threads, {loads})\n"
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
