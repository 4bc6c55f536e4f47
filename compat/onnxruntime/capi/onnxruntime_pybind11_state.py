"""Names of onnxruntime's compiled module: exceptions, options, values."""

from __future__ import annotations

from typing import Any

from ....runtime.session import ModelMetadata, NodeArg
from ... import real_package
from ...enumerations import ExecutionMode, ExecutionOrder, GraphOptimizationLevel
from ...errors import (
    DeviceReset,
    EngineError,
    EPFail,
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    ModelLoadCanceled,
    ModelLoaded,
    ModelRequiresCompilation,
    NoModel,
    NoSuchFile,
    NotFound,
    NotImplemented,
    RuntimeException,
)
from ...inference_session import InferenceSession
from ...io_binding import SessionIOBinding
from ...memory import (
    OrtArenaCfg,
    OrtMemoryInfo,
    create_and_register_allocator,
    create_and_register_allocator_v2,
)
from ...options import RunOptions, SessionOptions
from ...process import (
    get_build_info,
    get_device,
    get_version_string,
    set_default_logger_severity,
    set_default_logger_verbosity,
    set_seed,
)
from ...providers import get_all_providers, get_available_providers
from ...values import OrtDevice, OrtValue, OrtValueVector

__all__ = [
    "DeviceReset",
    "EPFail",
    "EngineError",
    "ExecutionMode",
    "ExecutionOrder",
    "Fail",
    "GraphOptimizationLevel",
    "InferenceSession",
    "InvalidArgument",
    "InvalidGraph",
    "InvalidProtobuf",
    "ModelLoadCanceled",
    "ModelLoaded",
    "ModelMetadata",
    "ModelRequiresCompilation",
    "NoModel",
    "NoSuchFile",
    "NodeArg",
    "NotFound",
    "NotImplemented",
    "OrtArenaCfg",
    "OrtDevice",
    "OrtMemoryInfo",
    "OrtValue",
    "OrtValueVector",
    "RunOptions",
    "RuntimeException",
    "SessionIOBinding",
    "SessionOptions",
    "create_and_register_allocator",
    "create_and_register_allocator_v2",
    "get_all_providers",
    "get_available_providers",
    "get_build_info",
    "get_device",
    "get_version_string",
    "set_default_logger_severity",
    "set_default_logger_verbosity",
    "set_seed",
]


def __getattr__(name: str) -> Any:
    """Return a name of the real module that is not offered here."""
    return real_package.attribute(name, "capi.onnxruntime_pybind11_state")
