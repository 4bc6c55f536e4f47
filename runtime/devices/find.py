"""Devices by name, and lists of those that there are; what a GPU needs is imported when asked for.

A program keeps the full name of what it was lowered for: ``"cpu"``, or ``"cuda:"`` and the compute
capability of the GPU, such as ``"cuda:90"``.
"""

from __future__ import annotations

from ...errors import InvalidArgument
from .cpu import Cpu
from .device import Device
from .kernel_set import CPU_KERNELS, KernelSet

NAMES = ("cpu", "cuda")


def full_name(name: str) -> str:
    """Return the full name of a device that a caller asks for.

    Raises
    ------
    InvalidArgument
        There is no such device, or what it needs is missing.
    """
    kind = name.partition(":")[0] if isinstance(name, str) else name
    if kind not in NAMES:
        raise InvalidArgument(f"device must be one of {NAMES}, not {name!r}")
    if kind == "cpu":
        return kind
    from .cuda.device import cuda_device

    return cuda_device().name


def kernel_set(name: str) -> KernelSet:
    """Return the kernels that programs of a device are made of, by its full name."""
    if name == "cpu":
        return CPU_KERNELS
    from .cuda.kernel_set import CudaKernels

    return CudaKernels()


def device_of(name: str) -> Device:
    """Return the device that a program runs on, by its full name."""
    if name == "cpu":
        return Cpu()
    from .cuda.device import cuda_device

    return cuda_device()


def devices() -> list[str]:
    """Return the names that sessions of this process may be opened with: at least ``"cpu"``."""
    found = ["cpu"]
    try:
        full_name("cuda")
    except InvalidArgument:
        return found
    return [*found, "cuda"]
