"""Inference responses: results written as JSON, binary tensors behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from .inference_request import InferenceRequest
from .ports import Port
from .tensors import to_bytes, to_json


def write_response(
    request: InferenceRequest,
    results: Mapping[str, np.ndarray],
    ports: Mapping[str, Port],
    model: str,
    version: str,
) -> tuple[bytes, int | None]:
    """Write the body of a response.

    Parameters
    ----------
    request : InferenceRequest
    results : mapping of str to ndarray
        All that are wanted.
    ports : mapping of str to Port
        Outputs of the model by name.
    model, version : str

    Returns
    -------
    body : bytes
    header : int or None
        Bytes of JSON at its beginning, where binary tensors follow.

    Raises
    ------
    Refusal
        JSON cannot hold a result.
    """
    outputs: list[dict[str, Any]] = []
    binary: list[bytes | memoryview] = []
    for name, is_binary in request.outputs:
        array, datatype = results[name], ports[name].datatype
        output: dict[str, Any] = {"name": name, "datatype": datatype, "shape": list(array.shape)}
        if is_binary:
            data = to_bytes(array, datatype)
            output["parameters"] = {"binary_data_size": len(data)}
            binary.append(data)
        else:
            output["data"] = to_json(name, array, datatype)
        outputs.append(output)
    response: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": outputs}
    if request.id is not None:
        response["id"] = request.id
    head = orjson.dumps(response, option=orjson.OPT_SERIALIZE_NUMPY)
    return (b"".join((head, *binary)), len(head)) if binary else (head, None)
