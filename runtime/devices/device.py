"""What a device is: it loads a program's kernels, and gives contexts to run the program in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ...kernels.ref import KernelRef
from ..program import Program


class Device(Protocol):
    """A processor that programs run on, with the memory that it reads."""

    @property
    def is_host(self) -> bool:
        """Whether it is the processor that this process runs on."""

    def load(self, program: Program) -> None:
        """Make the kernels of a program ready, compiling those that are not cached.

        Raises
        ------
        KernelError
            The device cannot take them.
        """

    def address(self, ref: KernelRef) -> int:
        """Address of a kernel that the processor of this process calls; 0 of any other."""

    def inputs(self, feeds: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[int, int]]:
        """Return the inputs of a run with arrays of the host for those that lie on the device.

        Where these lie is told by the ``id`` of the arrays that stand for them.

        Raises
        ------
        InvalidArgument
            An array cannot be read where it lies.
        """

    def context(self, executable: Any, threads: int) -> Any:
        """Return a context for one run at a time of a program that is ready."""
