"""Functions of NVIDIA's driver, whose failures become errors of ours.

After some failures, such as an access that no memory has, the driver refuses everything for as long
as the process lives. The first such failure is kept, and every later call says it.
"""

from __future__ import annotations

from typing import Any

from ....errors import KernelError

_FATAL = frozenset({
    "ILLEGAL_ADDRESS", "MISALIGNED_ADDRESS", "INVALID_ADDRESS_SPACE", "INVALID_PC",
    "ILLEGAL_INSTRUCTION", "HARDWARE_STACK_ERROR", "LAUNCH_FAILED", "LAUNCH_TIMEOUT", "ASSERT",
    "CONTEXT_IS_DESTROYED", "ECC_UNCORRECTABLE", "NVLINK_UNCORRECTABLE", "CONTAINED",
    "DEVICE_UNAVAILABLE", "EXTERNAL_DEVICE", "TENSOR_MEMORY_LEAK", "MPS_CLIENT_TERMINATED",
})  # fmt: skip
"""Failures after which the driver's context is of no use, without ``CUDA_ERROR_``."""


class NoMemory(Exception):
    """The GPU, or the host's pinned memory, has no room for what is asked for."""


class Api:
    """The driver's functions by name.

    Parameters
    ----------
    driver : module
        ``cuda.bindings.driver``, or what stands for it.

    Attributes
    ----------
    driver : module
    lost : str
        The failure after which nothing works any more; empty as long as there was none.
    """

    def __init__(self, driver: Any) -> None:
        self.driver = driver
        self.lost = ""

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a function of the driver.

        Raises
        ------
        KernelError
            It fails; says how.
        NoMemory
        """
        self.check()
        code, *results = getattr(self.driver, name)(*arguments)
        if code:
            self.fail(name, code)
        return results[0] if len(results) == 1 else results

    def check(self) -> None:
        """Raise the error of a GPU that has failed before."""
        if self.lost:
            raise KernelError(
                f"{self.lost}; no session of this process can use the GPU any more: start the "
                "process again"
            )

    def fail(self, name: str, code: Any) -> None:
        """Raise the error of a call that has failed."""
        kind = code.name.removeprefix("CUDA_ERROR_")
        if kind == "OUT_OF_MEMORY":
            raise NoMemory(name)
        if kind in _FATAL:
            self.lost = f"the GPU has failed: {code.name} in {name}"
            self.check()
        raise KernelError(f"the GPU's driver fails in {name}: {code.name}")

    def attribute(self, name: str, device: Any) -> int:
        """Return a number that the driver says of a device."""
        kind = getattr(self.driver.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
        return int(self.call("cuDeviceGetAttribute", kind, device))
