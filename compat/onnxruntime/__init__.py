"""Interface of onnxruntime 1.32: sessions here are those of sardonyx.

``__sardonyx__`` says what has no effect (``ignored()``) and what became of each session
(``report()``). Names that are not offered are those of the real onnxruntime where it is installed.
"""

from __future__ import annotations

import types
from typing import Any

from ...runtime.session import ModelMetadata, NodeArg
from .. import real_package
from ..enumerations import (
    ExecutionMode,
    ExecutionOrder,
    GraphOptimizationLevel,
    OrtAllocatorType,
    OrtDeviceMemoryType,
    OrtExecutionProviderDevicePolicy,
    OrtHardwareDeviceType,
    OrtMemType,
    OrtSparseFormat,
)
from ..fields import without_effect
from ..inference_session import InferenceSession
from ..io_binding import IOBinding, SessionIOBinding
from ..memory import (
    OrtArenaCfg,
    OrtMemoryInfo,
    create_and_register_allocator,
    create_and_register_allocator_v2,
)
from ..options import RunOptions, SessionOptions
from ..process import (
    __version__,
    disable_telemetry_events,
    enable_telemetry_events,
    get_build_info,
    get_device,
    get_ep_devices,
    get_version_string,
    has_collective_ops,
    preload_dlls,
    print_debug_info,
    set_default_logger_severity,
    set_default_logger_verbosity,
    set_global_thread_pool_sizes,
    set_seed,
)
from ..providers import get_all_providers, get_available_providers
from ..records import report
from ..values import OrtDevice, OrtValue
from . import capi

__all__ = [
    "ExecutionMode",
    "ExecutionOrder",
    "GraphOptimizationLevel",
    "IOBinding",
    "InferenceSession",
    "ModelMetadata",
    "NodeArg",
    "OrtAllocatorType",
    "OrtArenaCfg",
    "OrtDevice",
    "OrtDeviceMemoryType",
    "OrtExecutionProviderDevicePolicy",
    "OrtHardwareDeviceType",
    "OrtMemType",
    "OrtMemoryInfo",
    "OrtSparseFormat",
    "OrtValue",
    "RunOptions",
    "SessionIOBinding",
    "SessionOptions",
    "__version__",
    "capi",
    "create_and_register_allocator",
    "create_and_register_allocator_v2",
    "disable_telemetry_events",
    "enable_telemetry_events",
    "get_all_providers",
    "get_available_providers",
    "get_build_info",
    "get_device",
    "get_ep_devices",
    "get_version_string",
    "has_collective_ops",
    "preload_dlls",
    "print_debug_info",
    "set_default_logger_severity",
    "set_default_logger_verbosity",
    "set_global_thread_pool_sizes",
    "set_seed",
]

__sardonyx__ = types.SimpleNamespace(
    ignored=lambda: without_effect(SessionOptions, RunOptions), report=report
)


def __getattr__(name: str) -> Any:
    """Return a name of the real onnxruntime that is not offered here."""
    return real_package.attribute(name)
