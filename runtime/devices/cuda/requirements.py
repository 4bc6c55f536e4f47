"""What a GPU needs: its driver, and Python packages. Errors say what to install."""

from __future__ import annotations

import importlib.util
import os

from ....errors import InvalidArgument, reason
from .driver import Driver

LEAST_CAPABILITY = (8, 0)
"""Compute capability of the oldest GPUs that kernels are written for: Ampere."""
_INSTALL = "install it with: pip install 'sardonyx[cuda]'"


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
    if importlib.util.find_spec("cuda") is None:
        raise InvalidArgument(f"device='cuda' needs the package cuda-bindings; {_INSTALL}")
    from .gpu import Gpu, capability

    try:
        found = capability()
    except Exception as error:
        shown = os.environ.get("CUDA_VISIBLE_DEVICES")
        hint = "" if shown is None else f" (CUDA_VISIBLE_DEVICES={shown!r})"
        raise InvalidArgument(
            f"device='cuda' finds no GPU{hint}: {reason(error)}; install NVIDIA's driver, 580 or "
            "newer, and check that nvidia-smi lists the GPU"
        ) from error
    if found < LEAST_CAPABILITY:
        least, own = (".".join(map(str, each)) for each in (LEAST_CAPABILITY, found))
        raise InvalidArgument(
            f"device='cuda' needs a GPU of compute capability {least} or newer, this one has {own}"
        )
    return Gpu(found)
