"""``@kernel``: a Python function whose parameter list is its argument record.

The first four parameters say which share of the work to do: a step is cut into ``parts`` parts, a
number that depends on its sizes only; a call computes those from ``part`` to ``until`` (exclusive),
and uses ``thread`` only to find its own workspace, so that results do not depend on the number of
threads. Each further parameter is a 64-bit word of the record, in order, or a group of them
(``fields``). One annotated ``float`` arrives as a float64, every other as an int64 (``Pointer``: a
byte address). The function returns 0, a code of ``ERRORS``, or
``-1 - step`` for the step at which the run goes on (``cpu.control``).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any, get_type_hints

import numpy as np

from .abi import RAISED
from .compiler import kernel_address, native_function
from .fields import Pointer as Pointer
from .record import make_record
from .ref import SHARE as SHARE
from .ref import KernelRef

SHARES = 2
"""Shares that a kernel which may split along one of two axes should have equal.

The choice must not depend on the number of threads: parts would no longer be parts of one whole.
"""
MANY = 16
"""Rows that are enough to be split; of fewer, the elements of each are."""

INDEX_OUT_OF_RANGE, TOO_FEW_ELEMENTS, INTERRUPTED, DIVISION_BY_ZERO = range(1, 5)
INVALID_NUMBER, TOO_MANY_ITERATIONS, SIZES_DIFFER, OUT_OF_MEMORY = range(5, 9)
ERRORS = {
    RAISED: "the function of a custom operator raised an exception",
    INDEX_OUT_OF_RANGE: "index out of range",
    TOO_FEW_ELEMENTS: "more elements are wanted than there are",
    INTERRUPTED: "interrupted by a signal",
    INVALID_NUMBER: "an input holds a number that the operator does not allow",
    SIZES_DIFFER: "sizes do not fit one another, or are below zero",
    TOO_MANY_ITERATIONS: "more iterations than the session allows (max_iterations)",
    DIVISION_BY_ZERO: "integer division by zero",
    OUT_OF_MEMORY: "no memory for the results of so many iterations",
}
"""Error codes that kernels return, with their texts."""


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
    body : callable
        The function.
    arguments : dict of str to type
        Its parameters after the share, words and groups, with what they are annotated with.
    is_emitted : bool
        Whether it only calls an intrinsic that emits all of it (`emitted`).
    """

    def __init__(
        self,
        function: Callable[..., int],
        parameters: tuple[int | str, ...] = (),
        is_emitted: bool = False,
    ) -> None:
        module = function.__module__.partition(".")[2]
        name = function.__qualname__.partition(".")[0]
        self.ref = KernelRef(module, name, parameters)
        annotations = inspect.signature(function, eval_str=True).parameters
        if list(annotations)[:4] != list(SHARE):
            raise TypeError(f"kernel {name} must begin with {', '.join(SHARE)}")
        self.arguments = {
            key: annotations[key].annotation for key in list(annotations)[len(SHARE) :]
        }
        kinds = dict(_words_of(self.arguments.items()))
        self.fields = tuple(kinds)
        self.floats = frozenset(key for key, kind in kinds.items() if kind is float)
        self.body = function
        self.is_emitted = is_emitted
        self.__doc__ = function.__doc__

    def entry(self) -> Callable[..., int]:
        """Make ``entry(args, *SHARE)``, which reads the record and calls the body."""
        return _entry(self.body, self.arguments.values())

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
        words = {
            key: value.address if isinstance(value, Kernel) else value
            for key, value in values.items()
        }
        return make_record(self.fields, self.floats, **words)

    def __call__(
        self, *, thread: int = 0, part: int = 0, until: int = 1, parts: int = 1, **values: Any
    ) -> int:
        """Run some parts, for tests and measurements; returns the error code."""
        record = self.record(**values)
        return native_function(self.address)(record.ctypes.data, thread, part, until, parts)


def _is_group(annotation: Any) -> bool:
    return hasattr(annotation, "_fields")


def _words_of(arguments: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    """Yield name and type of each word of a record, those of groups in their place."""
    for name, annotation in arguments:
        if _is_group(annotation):
            yield from get_type_hints(annotation).items()
        else:
            yield name, annotation


def _entry(function: Callable[..., int], annotations: Iterable[Any]) -> Any:
    from numba import njit

    from .record_loads import loaded

    share = ", ".join(SHARE)
    source = f"def entry(args, {share}):\n    return body(*arguments(args, {share}))\n"
    scope = {
        "body": njit(inline="never")(function),
        "arguments": loaded(len(SHARE), tuple(annotations)),
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
    Defaults are part of a kernel's name, so that one whose defaults are given is the same kernel.
    """
    signature = inspect.signature(factory)

    @functools.cache
    def build(*parameters: int | str) -> Kernel:
        given = signature.bind(*parameters)
        given.apply_defaults()
        if len(given.args) > len(parameters):
            return build(*given.args)
        return Kernel(factory(*parameters), parameters, _is_emitted(factory, parameters))

    functools.update_wrapper(build, factory)
    return build


def _is_emitted(factory: Any, parameters: tuple[int | str, ...]) -> bool:
    condition = getattr(factory, "is_emitted", None)
    return condition is not None and condition(*parameters)


def emitted(factory: Callable[..., Any]) -> Callable[..., Any]:
    """Declare, below `kernel_factory`, that kernels have nothing that LLVM's loops passes improve.

    Their vectors, loops and what is computed before them are as an intrinsic emits them.
    """
    return emitted_if(lambda *parameters: True)(factory)


def emitted_if(condition: Callable[..., bool]) -> Callable[..., Any]:
    """Declare that (`emitted`) of the kernels with some parameters."""

    def declare(factory: Callable[..., Any]) -> Callable[..., Any]:
        factory.is_emitted = condition  # type: ignore[attr-defined]
        return factory

    return declare
