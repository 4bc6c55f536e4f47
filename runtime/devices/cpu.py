"""The processor that this process runs on, as a device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import InvalidArgument, KernelError
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
    kept_bindings = 1  # a binding takes as long as a few steps, and memory in caches is dear

    def load(self, program: Program) -> None:
        """Compile kernels that are not cached, which shows its progress on a terminal."""
        load_kernels(program.all_kernels)

    def address(self, ref: KernelRef) -> int:
        """Address of a kernel's machine code."""
        return kernel_address(ref)

    def inputs(self, feeds: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[int, Any]]:
        """Return the inputs as they are."""
        return feeds, {}

    def bound_input(self, name: str, value: Any) -> tuple[np.ndarray, None]:
        """Return an array, which runs read as it lies."""
        return np.asarray(value), None

    def bound_output(self, name: str, value: Any) -> np.ndarray:
        """Return an array, into which outputs are copied."""
        if not isinstance(value, np.ndarray) or not value.flags.writeable:
            raise InvalidArgument(f"output {name!r} is bound to what is no array to be written")
        return value

    def lies_here(self, value: Any) -> bool:
        """Answer no: the host reads all."""
        return False

    def run(
        self,
        context: Context,
        arrays: Sequence[Any],
        places: Mapping[int, Any],
        targets: Mapping[int, Any],
        waits: bool,
    ) -> list[Any]:
        """Run, and copy outputs to where they are wanted."""
        outputs = context.run(arrays)
        for index, target in targets.items():
            if target is not None:
                value = outputs[index]
                if (value.shape, value.dtype) != (target.shape, target.dtype):
                    name = context.program.outputs[index].name
                    raise InvalidArgument(
                        f"output {name!r} is {value.dtype.name} of shape {value.shape}, the array "
                        f"that is bound to it is {target.dtype.name} of shape {target.shape}"
                    )
                target[...] = value
                outputs[index] = target
        return outputs

    def wait_for(self, stream: int) -> None:
        """Refuse: the processor has no streams."""
        raise InvalidArgument("runs on the CPU wait for no stream of CUDA")

    let_wait = wait_for

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
