"""Functions of onnxruntime's interface about the process: version, device, logging, seeds."""

from __future__ import annotations

import logging
import platform
from typing import Any

from .. import __version__ as own_version
from .errors import RuntimeException
from .providers import CUDA, get_available_providers

__version__ = "1.32.0"
"""Of the interface that is offered."""

LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
"""Levels of Python's messages by onnxruntime's numbers."""


def get_version_string() -> str:
    """Return the version of the interface."""
    return __version__


def get_build_info() -> str:
    """Return what answers the interface."""
    return f"ORT Build Info: sardonyx {own_version}, Python {platform.python_version()}"


def get_device() -> str:
    """Return ``"GPU"`` where there is one that sessions can run on, else ``"CPU"``."""
    return "GPU" if CUDA in get_available_providers() else "CPU"


def has_collective_ops() -> bool:
    """Tell whether several processes can compute one model: no."""
    return False


def get_ep_devices() -> list[Any]:
    """Return the devices of providers in libraries, of which there are none."""
    return []


def set_default_logger_severity(severity: int) -> None:
    """Set the least level of messages: 0 (verbose) to 4 (fatal).

    Raises
    ------
    RuntimeException
        There is no such level.
    """
    if severity not in range(len(LEVELS)):
        raise RuntimeException(
            f"Invalid logging severity {severity}. 0:Verbose, 1:Info, 2:Warning, 3:Error, 4:Fatal"
        )
    logging.getLogger("sardonyx.compat").setLevel(LEVELS[severity])


def set_default_logger_verbosity(verbosity: int) -> None:
    """Accept a verbosity of messages below the levels, which has no effect."""


def set_seed(seed: int) -> None:
    """Accept a seed: operators on random numbers without one take numpy's."""
    import numpy as np

    np.random.seed(seed % 2**32)


def set_global_thread_pool_sizes(intra_op: int, inter_op: int) -> None:
    """Accept sizes of shared pools: sessions share the threads of the process in any case."""


def enable_telemetry_events() -> None:
    """Accept a wish: nothing is sent to anybody."""


def disable_telemetry_events() -> None:
    """Accept a wish: nothing is sent to anybody."""


def preload_dlls(
    cuda: bool = True, cudnn: bool = True, msvc: bool = True, directory: str | None = None
) -> None:
    """Accept a wish: libraries are loaded when a GPU is asked for."""


def print_debug_info() -> None:
    """Print versions and providers."""
    print(f"onnxruntime interface {__version__}, {get_build_info()}")
    print(f"providers: {', '.join(get_available_providers())}")
