"""Inference requests: the body of a request, read and checked against a model's ports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from .ports import Port
from .refusals import BAD_REQUEST, Refusal
from .tensors import checked_shape, from_bytes, from_json

_NOT_OFFERED = {
    "shared_memory_region": "shared memory",
    "classification": "classification of outputs",
    "sequence_id": "sequences",
}


@dataclass(frozen=True)
class InferenceRequest:
    """What a client asks for.

    Attributes
    ----------
    id : str, optional
        Given back with the response.
    feeds : dict of str to ndarray
    outputs : list of (str, bool)
        Outputs wanted, and whether as bytes.
    timeout : float, optional
        Seconds that the client waits at most.
    """

    id: str | None
    feeds: dict[str, np.ndarray]
    outputs: list[tuple[str, bool]]
    timeout: float | None


def header_size(value: str | None, size: int) -> int:
    """Return the length of the JSON at the beginning of a body of some size.

    Parameters
    ----------
    value : str, optional
        Of the header ``Inference-Header-Content-Length``.
    size : int
        Bytes of the body.

    Raises
    ------
    Refusal
        It is no number, or beyond the body.
    """
    if value is None:
        return size
    name = "Inference-Header-Content-Length"
    if not (value.isascii() and value.isdigit() and len(value) < 20):
        raise Refusal(BAD_REQUEST, f"{name} must be a number of bytes, not {value[:50]!r}")
    if int(value) > size:
        raise Refusal(BAD_REQUEST, f"{name} is {int(value)}, the body has {size} bytes")
    return int(value)


def read_json(text: bytes | memoryview) -> dict[str, Any]:
    """Read an object of JSON.

    Raises
    ------
    Refusal
        It is no JSON (which has neither NaN nor infinities), or no object.
    """
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Refusal(BAD_REQUEST, f"no valid JSON: {error}") from None
    if not isinstance(found, dict):
        raise Refusal(BAD_REQUEST, "the JSON must be an object")
    return found


def read_request(
    body: bytes,
    header: int,
    inputs: Sequence[Port],
    outputs: Sequence[str],
    optional: Sequence[Port],
) -> InferenceRequest:
    """Read a request.

    Parameters
    ----------
    body : bytes
    header : int
        Bytes of JSON at its beginning; binary tensors follow.
    inputs : sequence of Port
        All must be given.
    outputs : sequence of str
        Names of the outputs.
    optional : sequence of Port
        Inputs that may be given.

    Raises
    ------
    Refusal
        What is wrong with it.
    """
    view = memoryview(body)
    found = read_json(view[:header])
    parameters = _parameters(found, "the request")
    feeds = _feeds(found.get("inputs"), view[header:], {p.name: p for p in (*inputs, *optional)})
    if missing := [port.name for port in inputs if port.name not in feeds]:
        raise Refusal(BAD_REQUEST, f"inputs missing: {missing}")
    identity = found.get("id")
    if identity is not None and not isinstance(identity, str):
        raise Refusal(BAD_REQUEST, "'id' must be a string")
    as_bytes = _flag(parameters, "binary_data_output", False)
    wanted = _wanted(found.get("outputs"), outputs, as_bytes)
    return InferenceRequest(identity, feeds, wanted, _timeout(parameters))


def _feeds(tensors: Any, data: memoryview, known: Mapping[str, Port]) -> dict[str, np.ndarray]:
    feeds: dict[str, np.ndarray] = {}
    place = 0
    for tensor in _objects(tensors, "inputs"):
        name = tensor.get("name")
        port = known.get(name) if isinstance(name, str) else None
        if port is None:
            raise Refusal(BAD_REQUEST, f"no input {str(name)[:100]!r}; there are {list(known)}")
        if port.name in feeds:
            raise Refusal(BAD_REQUEST, f"input {name!r} is given twice")
        if tensor.get("datatype") != port.datatype:
            given = str(tensor.get("datatype"))[:50]
            raise Refusal(
                BAD_REQUEST, f"input {name!r}: expected datatype {port.datatype}, got {given}"
            )
        shape = checked_shape(port.name, tensor.get("shape"))
        port.check(shape)
        size = _parameters(tensor, f"input {name!r}").get("binary_data_size")
        if size is None:
            feeds[port.name] = from_json(port.name, port.datatype, shape, tensor.get("data"))
            continue
        if "data" in tensor:
            raise Refusal(BAD_REQUEST, f"input {name!r} has 'data' and 'binary_data_size'")
        if type(size) is not int or not 0 <= size <= len(data) - place:
            left = len(data) - place
            raise Refusal(
                BAD_REQUEST,
                f"input {name!r}: 'binary_data_size' is {str(size)[:50]}, {left} bytes are left",
            )
        feeds[port.name] = from_bytes(port.name, port.datatype, shape, data[place : place + size])
        place += size
    if place != len(data):
        raise Refusal(BAD_REQUEST, f"{len(data) - place} bytes are left behind the inputs")
    return feeds


def _wanted(tensors: Any, names: Sequence[str], as_bytes: bool) -> list[tuple[str, bool]]:
    if tensors is None:
        return [(name, as_bytes) for name in names]
    wanted: dict[str, bool] = {}
    for tensor in _objects(tensors, "outputs"):
        name = tensor.get("name")
        if not isinstance(name, str) or name not in names:
            raise Refusal(
                BAD_REQUEST, f"no output {str(name)[:100]!r}; the outputs are {list(names)}"
            )
        if name in wanted:
            raise Refusal(BAD_REQUEST, f"output {name!r} is asked for twice")
        wanted[name] = _flag(_parameters(tensor, f"output {name!r}"), "binary_data", as_bytes)
    return list(wanted.items()) or [(name, as_bytes) for name in names]


def _objects(tensors: Any, key: str) -> list[dict[str, Any]]:
    if not isinstance(tensors, list) or not all(isinstance(each, dict) for each in tensors):
        raise Refusal(BAD_REQUEST, f"{key!r} must be a list of objects")
    return tensors


def _parameters(holder: Mapping[str, Any], where: str) -> dict[str, Any]:
    parameters = holder.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise Refusal(BAD_REQUEST, f"'parameters' of {where} must be an object")
    for name, meaning in _NOT_OFFERED.items():
        if name in parameters:
            raise Refusal(BAD_REQUEST, f"{where} asks for {meaning}, which is not offered")
    return parameters


def _flag(parameters: Mapping[str, Any], name: str, default: bool) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise Refusal(BAD_REQUEST, f"{name!r} must be true or false")
    return value


def _timeout(parameters: Mapping[str, Any]) -> float | None:
    """Return Triton's ``timeout``, which is in microseconds, in seconds; 0 is none."""
    value = parameters.get("timeout")
    if value is None or value == 0:
        return None
    if type(value) is not int or value < 0:
        raise Refusal(BAD_REQUEST, "'timeout' must be a number of microseconds")
    return value / 1e6
