"""Steps of a program as lowerings emit them, and what they demand of sizes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from ..errors import InvalidModel
from ..kernels.abi import SIZE_LIMIT
from ..kernels.cpu.control import compare_sizes
from . import symbolic
from .assembler import Assembler
from .copies import convert_call, copy_call
from .devices.kernel_set import AnyKernel, KernelSet
from .graph import Node
from .symbolic import Dim, Symbol
from .tensors import Indexed, Pending, Record, Tensor


class Steps:
    """The program that grows by a step at a time, or steps that are caught beside it.

    Attributes
    ----------
    program : Assembler
    nodes : sequence of Node
        What the steps compute that are being emitted.
    bodies : int
        How many bodies they lie in: a run may do such steps never, or several times.
    is_certain : bool
        Every run does the steps, once: they do not belong to control flow.
    kernels : KernelSet
        Those of the device.
    """

    def __init__(self, read_later: Collection[Symbol], kernels: KernelSet) -> None:
        self.kernels = kernels
        self.program = Assembler(read_later)
        self.nodes: Sequence[Node] = ()
        self.bodies = 0
        self.is_certain = True
        self._caught: list[Pending] | None = None

    def step(
        self,
        kernel: AnyKernel,
        *,
        outputs: Sequence[Tensor],
        op_type: str = "",
        nodes: Sequence[Node] = (),
        flops: Dim = 0,
        over: Sequence[Tensor] = (),
        traffic: Dim | None = None,
        indexed: Indexed | None = None,
        **fields: Any,
    ) -> None:
        """Emit a kernel call.

        Parameters
        ----------
        kernel : AnyKernel
        outputs : sequence of Tensor
            What it writes.
        op_type : str
            Name for the profile; the operators of the nodes when not given.
        nodes : sequence of Node
            What the step computes; the attribute ``nodes`` when not given.
        flops : Dim
            Floating-point operations.
        over : sequence of Tensor
            Operands that the kernel reads element by element before it writes the first output at
            the same position, so that it may lie over one of them.
        traffic : Dim, optional
            Bytes moved; those of all its tensors when not given.
        indexed : Indexed, optional
            What the kernel may refuse.
        **fields
            A value for each field of the kernel's record.
        """
        if set(fields) != set(kernel.fields):
            wrong = sorted(set(fields) ^ set(kernel.fields))
            raise TypeError(f"{kernel.ref}: fields differ: {wrong}")
        for name, value in fields.items():
            if name not in kernel.floats:
                self._check_number(value, f"{name!r} of the kernel {kernel.ref.function!r}")
        nodes = nodes or self.nodes
        names = [node.name for node in nodes]
        operators = [node.op_type for node in nodes]
        op_type = op_type or "+".join(operators)
        own = self.kernels.kernel(kernel)
        step = Pending(
            own, outputs, op_type, names, operators, flops, over, fields, traffic, indexed
        )
        if self._caught is None:
            self.add(step)
        else:
            self._caught.append(step)

    def add(self, step: Pending) -> None:
        """Append a step to the program."""
        self.program.add_step(step, self.is_certain)

    def table(self, words: Sequence[Any], name: str) -> Record:
        """Return numbers, sizes and tensors as a table that a kernel reads."""
        for word in words:
            self._check_number(word, name)
        return Record(list(words))

    def _check_number(self, value: Any, name: str) -> None:
        if isinstance(value, int) and abs(value) >= SIZE_LIMIT:
            self.refuse(f"{name} is {value}")

    def copy(self, source: Tensor, target: Tensor, op_type: str = "") -> None:
        """Emit a copy between tensors of one shape and any strides."""
        kernel, fields = copy_call(source, target)
        self.step(kernel, outputs=[target], op_type=op_type, **fields)

    def convert(self, source: Tensor, target: Tensor) -> None:
        """Emit a conversion of floats between tensors of one shape and order of axes."""
        kernel, fields = convert_call(source, target)
        self.step(kernel, outputs=[target], op_type="Convert", **fields)

    def read(self, tensor: Tensor, symbols: Sequence[Symbol], node: Node) -> None:
        """Read sizes off the elements of a tensor: steps from here on may need them."""
        self.program.add_reading(tensor, symbols, node.name)

    @property
    def is_catching(self) -> bool:
        """Tell whether steps are caught, perhaps to be run on a part of their rows at a time."""
        return self._caught is not None

    def check(self, left: Dim, right: Dim, message: str, broadcast: bool = False) -> None:
        """Demand at run time that two sizes are equal (or, broadcasting, that left is 1)."""
        if left == right or (broadcast and left == 1):
            return
        if self.nodes:
            message = f"{self.where}: {message}"
        if self.bodies:
            self._check_in_body(left, right, broadcast)
        elif isinstance(left, int) and isinstance(right, int):
            raise InvalidModel(f"{message}: {left} and {right}")
        else:
            self.program.check(left, right, broadcast, message)

    def _check_in_body(self, left: Dim, right: Dim, broadcast: bool) -> None:
        """Demand that sizes agree when a run comes here, which it may not for those that do not."""
        self.step(
            compare_sizes, outputs=[],
            left=left, right=right, broadcast=int(broadcast),
        )  # fmt: skip

    @property
    def where(self) -> str:
        """The nodes that are being emitted, for an error message."""
        return "node " + " and ".join(f"{node.name!r} ({node.op_type})" for node in self.nodes)

    def refuse(self, what: str) -> NoReturn:
        """Raise the error of a number that no memory or no 64-bit arithmetic holds.

        Those that are not known yet are checked when a program is bound (``limits``).
        """
        raise InvalidModel(f"{self.where}: {what}, which is more than can be addressed")

    def check_some(self, count: Dim, results: Dim, what: str) -> None:
        """Demand at run time that results, if there are any, come from one element or more.

        Of a count below zero the tensor that has it is refused, by its own node.
        """
        empty = symbolic.maximum(0, 1 - count) * symbolic.maximum(0, 1 + count)
        self.check(empty * results, 0, f"number of {what} over zero elements")

    @contextmanager
    def catching(self) -> Iterator[list[Pending]]:
        """Catch steps instead of adding them to the program."""
        self._caught = []
        try:
            yield self._caught
        finally:
            self._caught = None
