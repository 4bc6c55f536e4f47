"""Metadata of the server and its models, as the protocol and Triton's extensions have them."""

from __future__ import annotations

from typing import Any

from ... import __version__
from .ports import Port
from .repository import Entry
from .served_model import ServedModel

_PLATFORM = "sardonyx_onnx"
_TRITON = {"BYTES": "TYPE_STRING"}
"""Types whose name in a configuration is not ``TYPE_`` and the protocol's."""


def of_server() -> dict[str, Any]:
    """Describe the server."""
    extensions = ["binary_tensor_data", "model_repository", "model_configuration"]
    return {"name": "sardonyx", "version": __version__, "extensions": extensions}


def of_model(model: ServedModel, versions: list[str]) -> dict[str, Any]:
    """Describe a model."""
    return {
        "name": model.file.name,
        "versions": versions,
        "platform": _PLATFORM,
        "inputs": [_port(port) for port in model.inputs],
        "outputs": [_port(port) for port in model.outputs],
        "parameters": {"max_batch": model.max_batch, "not_joined_since": model.why_not_joined},
    }


def _port(port: Port) -> dict[str, Any]:
    return {"name": port.name, "datatype": port.datatype, "shape": port.shape}


def configuration(model: ServedModel) -> dict[str, Any]:
    """Describe a model in the words of Triton's configuration.

    ``max_batch_size`` is 0, which there says that shapes are whole: the first dimension is one of
    them, whether requests are joined along it or not.
    """

    def port(each: Port) -> dict[str, Any]:
        kind = _TRITON.get(each.datatype, f"TYPE_{each.datatype}")
        return {"name": each.name, "data_type": kind, "dims": each.shape}

    return {
        "name": model.file.name,
        "platform": _PLATFORM,
        "backend": "sardonyx",
        "max_batch_size": 0,
        "input": [port(each) for each in model.inputs],
        "output": [port(each) for each in model.outputs],
    }


def of_entry(entry: Entry) -> dict[str, str]:
    """Describe a version of a model for the index of the repository."""
    return {
        "name": entry.file.name,
        "version": entry.file.version,
        "state": entry.state,
        "reason": entry.reason,
    }
