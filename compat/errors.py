"""Exceptions of onnxruntime's interface, each of which is also one of sardonyx.

Their names, numbers and the form of their texts are those of onnxruntime's status codes
(``onnxruntime/core/common/status.h``).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from .. import errors as own

Function = TypeVar("Function", bound=Callable[..., Any])


class Fail(own.KernelError):
    """A run or the opening of a model failed."""


class InvalidArgument(own.InvalidArgument):
    """An argument of a call does not fit."""


class NoSuchFile(own.InvalidArgument):
    """The model's file is not there."""


class NoModel(own.InvalidModel):
    """There is no model."""


class EngineError(own.KernelError):
    """The engine failed."""


class RuntimeException(own.KernelError):
    """A step of a run failed."""


class InvalidProtobuf(own.InvalidModel):
    """The model is no protobuf message of ONNX."""


class ModelLoaded(own.KernelError):
    """The session has a model already."""


class NotImplemented(own.UnsupportedModel):
    """An operator or a type has no implementation."""


class InvalidGraph(own.InvalidModel):
    """The graph breaks a rule of ONNX."""


class EPFail(own.KernelError):
    """An execution provider failed."""


class ModelLoadCanceled(own.KernelError):
    """The opening of the model was cancelled."""


class ModelRequiresCompilation(own.UnsupportedModel):
    """The model must be compiled before."""


class NotFound(own.InvalidArgument):
    """Something asked for by name is not there."""


class DeviceReset(own.KernelError):
    """The device was reset."""


_STATUS = {
    Fail: (1, "FAIL"),
    InvalidArgument: (2, "INVALID_ARGUMENT"),
    NoSuchFile: (3, "NO_SUCHFILE"),
    NoModel: (4, "NO_MODEL"),
    EngineError: (5, "ENGINE_ERROR"),
    RuntimeException: (6, "RUNTIME_EXCEPTION"),
    InvalidProtobuf: (7, "INVALID_PROTOBUF"),
    ModelLoaded: (8, "MODEL_LOADED"),
    NotImplemented: (9, "NOT_IMPLEMENTED"),
    InvalidGraph: (10, "INVALID_GRAPH"),
    EPFail: (11, "EP_FAIL"),
    ModelLoadCanceled: (12, "MODEL_LOAD_CANCELED"),
    ModelRequiresCompilation: (13, "MODEL_REQUIRES_COMPILATION"),
    NotFound: (14, "NOT_FOUND"),
    DeviceReset: (15, "DEVICE_RESET"),
}
BY_NAME: dict[str, type[own.SardonyxError]] = {kind.__name__: kind for kind in _STATUS}
"""All of them."""

_OF_OWN: tuple[tuple[type[own.SardonyxError], type[own.SardonyxError]], ...] = (
    (own.UnreadableModel, InvalidProtobuf),
    (own.InvalidModel, InvalidGraph),
    (own.UnsupportedModel, NotImplemented),
    (own.InvalidArgument, InvalidArgument),
    (own.ImportFailed, Fail),
    (own.KernelError, RuntimeException),
)
"""What errors of sardonyx become; the first that fits."""


def made(kind: type[own.SardonyxError], text: str) -> own.SardonyxError:
    """Return an exception with a text in onnxruntime's form."""
    code, name = _STATUS[kind]
    return kind(f"[ONNXRuntimeError] : {code} : {name} : {text}")


def translated(error: Exception) -> Exception:
    """Return the exception of this interface for one of sardonyx or of the real onnxruntime."""
    if type(error) in _STATUS:
        return error
    for ours, theirs in _OF_OWN:
        if isinstance(error, ours):
            return made(theirs, str(error))
    if type(error).__module__.startswith("onnxruntime."):
        kind = BY_NAME.get(type(error).__name__)
        if kind is not None:
            return kind(*error.args)
    return error


def translates(function: Function) -> Function:
    """Let a function raise exceptions of this interface."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            other = translated(error)
            if other is error:
                raise
            raise other from error

    return call  # type: ignore[return-value]
