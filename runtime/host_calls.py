"""Host steps of a context: where their inputs come from, and what becomes of their results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import KernelError
from ..kernels.abi import ARENA, BUFFER_KIND
from .bound_tensors import BoundTensors
from .objects import detached
from .program import HostStep, Program

if TYPE_CHECKING:
    from .host import HostOp  # loads onnx's reference implementation, which few models need

Source = Callable[[], Any]


class HostCall:
    """A host step of a context, with all that its runs need looked up.

    Parameters
    ----------
    host : HostStep
    operator : HostOp
    binding : BoundTensors

    Attributes
    ----------
    defines : list of (int, int, int)
        Output, axis and symbol of sizes that results tell.
    has_shapes : bool
        Whether `check_shapes` has anything to compare.
    """

    def __init__(self, host: HostStep, operator: HostOp, binding: BoundTensors) -> None:
        self._host, self._operator, self._binding = host, operator, binding
        self.defines = host.defines
        tensors, self._objects = binding.program.tensors, binding.objects
        self._inputs = [self._source(tensor) for tensor in host.inputs]
        self._captured = {name: self._source(tensor) for name, tensor in host.captured.items()}
        read = [tensor for tensor in (*host.inputs, *host.captured.values()) if tensor >= 0]
        self._may_lend = not operator.moves and any(map(self._is_working, read))
        specs = [(at, tensor, tensors[tensor]) for at, tensor in enumerate(host.outputs)]
        self._plain = [(a, s.buffer) for a, t, s in specs if t >= 0 and s.dtype == "object"]
        self._typed = [
            (at, tensor, spec.buffer, np.dtype(spec.dtype), len(spec.shape))
            for at, tensor, spec in specs
            if tensor >= 0 and spec.dtype != "object"
        ]
        self.has_shapes = bool(self._typed)

    def _is_working(self, tensor: int) -> bool:
        """Tell whether a tensor lies in working memory."""
        program = self._binding.program
        return bool(program.buffers[program.tensors[tensor].buffer, BUFFER_KIND] == ARENA)

    def _source(self, tensor: int) -> Source:
        """Return what gives an input of the step.

        An operator that only hands on what it is given takes values as they are, and a copy of
        working memory, since its results are kept.
        """
        binding = self._binding
        if tensor < 0:
            return _nothing
        if not self._operator.moves:
            return partial(binding.view, tensor)
        if binding.lies_with_host(tensor):
            return partial(self._objects.get, binding.program.tensors[tensor].buffer)
        return partial(binding.copy if self._is_working(tensor) else binding.as_given, tensor)

    def run(self) -> Sequence[Any]:
        """Run the step, and keep its results.

        Raises
        ------
        KernelError
            The operator failed, or a result is not of the type it is declared with.
        """
        inputs = [source() for source in self._inputs]
        captured = {name: source() for name, source in self._captured.items()}
        results = self._operator.run(inputs, captured)
        if self._may_lend:
            results = [detached(each, self._binding.is_working_memory) for each in results]
        for at, buffer in self._plain:
            self._objects[buffer] = results[at]
        for at, tensor, buffer, dtype, rank in self._typed:
            value = results[at]
            if (
                type(value) is not np.ndarray
                or value.dtype != dtype
                or value.ndim != rank
                or not value.flags.c_contiguous
            ):
                value = self._converted(tensor, value)
            self._binding.attach(buffer, value)
        return results

    def sizes(self, results: Sequence[Any]) -> Iterator[tuple[int, int]]:
        """Yield symbols, and the sizes that results tell of them."""
        for at, axis, symbol in self.defines:
            yield symbol, results[at].shape[axis]

    def _converted(self, tensor: int, value: Any) -> np.ndarray:
        """Return a result of the type and order that it is declared with."""
        host, spec = self._host, self._binding.program.tensors[tensor]
        if not isinstance(value, np.ndarray) or value.ndim != len(spec.shape):
            raise KernelError(
                f"{host.label} gave {spec.name!r} as a {type(value).__name__} of shape "
                f"{np.shape(value)}, expected {len(spec.shape)} axes of {spec.dtype}"
            )
        return np.asarray(value, np.dtype(spec.dtype), order="C")

    def check_shapes(self) -> None:
        """Refuse results of other shapes than were inferred: the kernels that follow rely on them.

        They are compared once the sizes are known that the results themselves define.
        """
        for _, tensor, buffer, *_ in self._typed:
            expected, shape = self._binding.shape(tensor), self._objects[buffer].shape
            if shape != expected:
                host, name = self._host, self._binding.program.tensors[tensor].name
                raise KernelError(
                    f"{host.label} gave {name!r} the shape {shape}, expected {expected}"
                )


def _nothing() -> None:
    """Input that the node leaves out."""


def host_ports(
    program: Program,
) -> tuple[list[tuple[int, int, bool]], list[tuple[int, int, bool]]]:
    """Return what a run with host steps looks up of its ports.

    For each input the tensor that host steps may read its array as, or -1, the buffer, and whether
    anything reads that; for each output its number, its tensor, and whether no later one lies in
    the same buffer.
    """
    caches = {cache.input for cache in program.caches}
    uses = Counter(tensor.buffer for tensor in program.tensors)
    inputs = []
    for port in program.inputs:
        spec = program.tensors[port.tensor]
        buffer = spec.buffer
        is_value = spec.dtype == "object" or port.name in caches
        is_read = is_value or bool(program.steps) or uses[buffer] > 1
        inputs.append((-1 if is_value else port.tensor, buffer, is_read))
    buffers = [program.tensors[port.tensor].buffer for port in program.outputs]
    outputs = [
        (index, port.tensor, buffers[index] not in buffers[index + 1 :])
        for index, port in enumerate(program.outputs)
    ]
    return inputs, outputs
