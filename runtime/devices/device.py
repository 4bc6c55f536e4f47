"""What a device is: it loads a program's kernels, and gives contexts to run the program in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ...kernels.ref import KernelRef
from ..program import Program


class Device(Protocol):
    """A processor that programs run on, with the memory that it reads.

    Attributes
    ----------
    kept_bindings : int
        Shapes of a program's inputs that stay bound, each with working memory of its own.
    """

    kept_bindings: int

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

    def inputs(self, feeds: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[int, Any]]:
        """Return the inputs of a run with arrays of the host for those that lie on the device.

        Where these lie is told by the ``id`` of the arrays that stand for them.

        Raises
        ------
        InvalidArgument
            An array cannot be read where it lies.
        """

    def bound_input(self, name: str, value: Any) -> tuple[np.ndarray, Any]:
        """Return an array of the host that stands for a value, and where that lies on the device.

        A value of the host is copied to the device.

        Raises
        ------
        InvalidArgument
            It cannot be read where it lies.
        """

    def bound_output(self, name: str, value: Any) -> Any:
        """Return what runs are given to write an output into an array.

        Raises
        ------
        InvalidArgument
            It does not lie on the device, or no run can write it.
        """

    def lies_here(self, value: Any) -> bool:
        """Tell whether a value lies in memory of the device that the host does not read."""

    def run(
        self,
        context: Any,
        arrays: Sequence[Any],
        places: Mapping[int, Any],
        targets: Mapping[int, Any],
        waits: bool,
    ) -> list[Any]:
        """Run in a context that is bound; see ``Engine.run_bound``."""

    def wait_for(self, stream: int) -> None:
        """Let runs wait for what others have queued in a stream of CUDA."""

    def let_wait(self, stream: int) -> None:
        """Let what others queue there wait for runs."""

    def context(self, executable: Any, threads: int) -> Any:
        """Return a context for one run at a time of a program that is ready."""
