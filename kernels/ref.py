"""Names of kernels: all that a saved program keeps of them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class KernelRef:
    """The name of a kernel: all that a saved program keeps of it.

    Attributes
    ----------
    module
        Module below the root package, for example ``"kernels.cpu.pool"``.
    function
        Kernel, or kernel factory when there are parameters.
    parameters
        Integers and strings the factory was called with.
    """

    module: str
    function: str
    parameters: tuple[int | str, ...] = ()

    def __str__(self) -> str:
        short = f"{self.module.rpartition('.')[2]}.{self.function}"
        return f"{short}{list(self.parameters)}" if self.parameters else short
