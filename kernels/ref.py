"""Names of kernels: all that a saved program keeps of them."""

from __future__ import annotations

from dataclasses import dataclass

SHARE = ("thread", "part", "until", "parts")
"""Parameters that every kernel begins with."""
LOCAL = "local_"
"""What the names of functions begin with that only this process knows (``local_functions``)."""


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

    @property
    def is_local(self) -> bool:
        """Whether only this process can compile it, and it is kept nowhere."""
        return any(isinstance(each, str) and LOCAL in each for each in self.parameters)

    def __str__(self) -> str:
        short = f"{self.module.rpartition('.')[2]}.{self.function}"
        return f"{short}{list(self.parameters)}" if self.parameters else short
