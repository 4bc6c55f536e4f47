"""Kernels of GPUs: a Python function whose parameters are its record, and how it is launched.

The parameters are words of 64 bits as on the CPU (``registry``): integers, addresses in the memory
of the GPU, and float64. So the words of a step are the arguments of its launch as they lie. One
more parameter, the last, is the address of the step's status word: 0, or a code of
``registry.ERRORS`` that a thread stores.

A kernel computes all of a step, whatever the number of blocks and threads it is launched with, as
far as ``launch`` says how many that may be: larger steps are loops.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..ref import KernelRef

STATUS = "status"
"""Last parameter of every kernel, which is no word of its record."""

Fields = Mapping[str, int]
"""Words of a record by name; of float64 their bits."""


class Limits(NamedTuple):
    """What launches are cut to: threads of a block, and blocks along each axis of the grid.

    Numba's simulator runs a thread of the system for each thread, so it has few of them.
    """

    threads: int = 256
    blocks: int = 65535


class Launch(NamedTuple):
    """Blocks of a grid and threads of a block, along x, y and z.

    Blocks of a ``cluster`` run together.
    """

    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    cluster: tuple[int, int, int] = (1, 1, 1)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return 0 in self.grid


class Bounds(NamedTuple):
    """What a kernel made of instructions (`ptx`) is compiled for, and launched with.

    ``threads`` of each of its blocks, ``blocks`` that a multiprocessor has to hold at a time, and
    dynamic shared memory of a block in bytes. Kernels with bounds run in our own simulator.
    """

    threads: int
    blocks: int
    shared_bytes: int


class Body(NamedTuple):
    """A kernel's function, how it is launched, and how its record is simplified before.

    ``launch`` takes the fields and limits; ``prepare`` returns the fields that a step of these
    sizes is launched with, of the same names. ``maps`` returns tensor maps (``encoded`` makes 128
    bytes of one) by the fields whose words their addresses replace.
    """

    function: Callable[..., None]
    launch: Callable[[Fields, Limits], Launch]
    prepare: Callable[[Fields], Fields] | None = None
    bounds: Bounds | None = None
    maps: Callable[[Fields], dict[str, Any]] | None = None


class CudaKernel:
    """A kernel of a GPU, compiled when a device is opened on a program that has it.

    Attributes
    ----------
    ref : KernelRef
        Its name in a program.
    fields : tuple of str
        Names of the record's words, in order.
    floats : frozenset of str
        Those of them that hold a float64.
    function : callable
        What numba.cuda compiles.
    launch, prepare, bounds, maps
        See `Body`.
    """

    def __init__(self, ref: KernelRef, body: Body) -> None:
        self.ref = ref
        self.function, self.launch, self.prepare, self.bounds, self.maps = body
        parameters = inspect.signature(self.function).parameters
        *names, last = parameters
        if last != STATUS:
            raise TypeError(f"kernel {ref} must end with the parameter {STATUS}")
        self.fields = tuple(names)
        self.floats = frozenset(
            name for name in names if parameters[name].annotation in (float, "float")
        )

    def fields_of(self, words: list[int]) -> Fields:
        """Return the words of a step by name, as it is launched."""
        fields = dict(zip(self.fields, words, strict=True))
        return fields if self.prepare is None else self.prepare(fields)


def cuda_factory(factory: Callable[..., Body | None]) -> Callable[..., Any]:
    """Declare a family of kernels, one for each set of integer or string parameters.

    The factory returns None for parameters that there is no kernel for.
    """
    signature = inspect.signature(factory)
    module = factory.__module__.partition(".")[2]

    @functools.cache
    def build(*parameters: int | str) -> CudaKernel | None:
        given = signature.bind(*parameters)
        given.apply_defaults()
        if len(given.args) > len(parameters):
            return build(*given.args)
        body = factory(*parameters)
        if body is None:
            return None
        return CudaKernel(KernelRef(module, factory.__name__, parameters), body)

    functools.update_wrapper(build, factory)
    return build


def cuda_kernel(
    launch: Callable[[Fields, Limits], Launch],
) -> Callable[[Callable[..., None]], CudaKernel]:
    """Declare a kernel without parameters."""

    def declare(function: Callable[..., None]) -> CudaKernel:
        module = function.__module__.partition(".")[2]
        return CudaKernel(KernelRef(module, function.__name__), Body(function, launch))

    return declare


def argument_types(kernel: CudaKernel) -> tuple[str, ...]:
    """Return numba's names of the types of a kernel's arguments, the status included."""
    return (*("float64" if name in kernel.floats else "int64" for name in kernel.fields), "int64")


def find(ref: KernelRef) -> Any:
    """Return the kernel of a name, or None where there is no such kernel of a GPU.

    Raises
    ------
    ModuleNotFoundError
        There is no such module.
    """
    import importlib

    root = __package__.rpartition(".kernels")[0]
    module = importlib.import_module(f"{root}.{ref.module}")
    found = getattr(module, ref.function, None)
    if found is None or isinstance(found, CudaKernel):
        return found
    return found(*ref.parameters)
