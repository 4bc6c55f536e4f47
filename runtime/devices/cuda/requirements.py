"""What a GPU needs: its driver, and Python packages. Errors say what to install."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

from ....errors import InvalidArgument, SardonyxError, reason
from .driver import Driver

LEAST_CAPABILITY = (8, 0)
"""Compute capability of the oldest GPUs that kernels are written for: Ampere."""
LEAST_DRIVER = (13, 0)
"""Version of CUDA that the oldest driver that loads our code has."""
_INSTALL = "install it with: pip install 'sardonyx[cuda]'"
_NEWER_DRIVER = "install NVIDIA's driver, 580 or newer"


def open_driver() -> Driver:
    """Return the first GPU that the driver shows, or numba's simulator where it is asked for.

    Raises
    ------
    InvalidArgument
    """
    if importlib.util.find_spec("numba_cuda") is None:
        raise InvalidArgument(f"device='cuda' needs the package numba-cuda; {_INSTALL}")
    from ....kernels.cuda.memory import IS_SIMULATED

    if IS_SIMULATED:
        from .simulator import Simulator

        return Simulator()
    return open_gpu(_bindings())


def _bindings() -> Any:
    """Return NVIDIA's bindings of the driver."""
    try:
        from cuda.bindings import driver
    except ImportError as error:
        raise InvalidArgument(
            f"device='cuda' needs the package cuda-bindings: {reason(error)}; {_INSTALL}"
        ) from error
    return driver


def open_gpu(bindings: Any) -> Driver:
    """Return the first GPU that the driver shows.

    Raises
    ------
    InvalidArgument
        There is no driver or no GPU, or one of them is too old.
    """
    from .api import Api, NoMemory
    from .gpu import Gpu

    api = Api(bindings)
    try:
        api.call("cuInit", 0)
        version = int(api.call("cuDriverGetVersion"))
        device = api.call("cuDeviceGet", 0)
        parts = ("COMPUTE_CAPABILITY_MAJOR", "COMPUTE_CAPABILITY_MINOR")
        major, minor = (api.attribute(part, device) for part in parts)
    except Exception as error:
        shown = os.environ.get("CUDA_VISIBLE_DEVICES")
        hint = "" if shown is None else f" (CUDA_VISIBLE_DEVICES={shown!r})"
        raise InvalidArgument(
            f"device='cuda' finds no GPU{hint}: {reason(error)}; {_NEWER_DRIVER}, and check that "
            "nvidia-smi lists the GPU"
        ) from error
    own = version // 1000, version % 1000 // 10
    if own < LEAST_DRIVER:
        raise InvalidArgument(
            f"device='cuda' needs a driver of CUDA {_dotted(LEAST_DRIVER)} or newer, this one is "
            f"of CUDA {_dotted(own)}; {_NEWER_DRIVER}"
        )
    if (major, minor) < LEAST_CAPABILITY:
        raise InvalidArgument(
            f"device='cuda' needs a GPU of compute capability {_dotted(LEAST_CAPABILITY)} or newer "
            f"(Ampere), this one has {_dotted((major, minor))}: use device='cpu'"
        )
    try:
        return Gpu(api, (major, minor))
    except NoMemory as error:
        raise InvalidArgument(
            "device='cuda' cannot use the GPU: it has no memory left; other processes have it "
            "(nvidia-smi lists them)"
        ) from error
    except SardonyxError as error:
        raise InvalidArgument(f"device='cuda' cannot use the GPU: {reason(error)}") from error


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
