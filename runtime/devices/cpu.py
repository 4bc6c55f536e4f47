"""The processor that this process runs on, as a device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import KernelError
from ...kernels.compiler import kernel_address
from ...kernels.precompile import compile_all
from ...kernels.ref import KernelRef
from .. import team as teams
from ..executable import Executable
from ..executor import Context
from ..program import Program


class Cpu:
    """The processor, and its kernels in machine code."""

    is_host = True

    def load(self, program: Program) -> None:
        """Compile kernels that are not cached, which shows its progress on a terminal."""
        load_kernels(program.all_kernels)

    def address(self, ref: KernelRef) -> int:
        """Address of a kernel's machine code."""
        return kernel_address(ref)

    def inputs(self, feeds: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[int, int]]:
        """Return the inputs as they are."""
        return feeds, {}

    def context(self, executable: Executable, threads: int) -> Context:
        """Return a context for one run at a time."""
        return Context(executable, threads)


def load_kernels(refs: list[KernelRef]) -> None:
    """Make kernels of the CPU ready, and those that run and bind programs."""
    try:
        compile_all([*refs, *teams.EXECUTOR_KERNELS.values()])
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise KernelError(f"a kernel of the model does not compile: {reason}") from error
