"""Classes of sessions, values and bindings, where onnxruntime defines them."""

from __future__ import annotations

from typing import Any

from ... import real_package
from ...inference_session import InferenceSession, Session
from ...io_binding import IOBinding
from ...providers import check_and_normalize_provider_args
from ...values import OrtDevice, OrtValue

__all__ = [
    "IOBinding",
    "InferenceSession",
    "OrtDevice",
    "OrtValue",
    "Session",
    "check_and_normalize_provider_args",
]


def __getattr__(name: str) -> Any:
    """Return a name of the real module that is not offered here."""
    return real_package.attribute(name, "capi.onnxruntime_inference_collection")
