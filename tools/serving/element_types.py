"""Element types: names of the Open Inference Protocol, of numpy, and of models."""

from __future__ import annotations

import numpy as np

from ...runtime.element_types import make_known

BYTES = "BYTES"
_NUMPY = {
    "BOOL": "bool",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    "BF16": "bfloat16",
    BYTES: "object",
}
_OF_MODELS = {
    "float": "FP32",
    "double": "FP64",
    "float16": "FP16",
    "bfloat16": "BF16",
    "string": BYTES,
    **{name: kind for kind, name in _NUMPY.items() if "int" in name or name == "bool"},
}


def datatype(model_type: str) -> str | None:
    """Return the protocol's name of a type such as ``"tensor(float)"``; None where it has none."""
    return _OF_MODELS.get(model_type.removeprefix("tensor(").removesuffix(")"))


def dtype(name: str) -> np.dtype:
    """Return numpy's type for one of the protocol's names."""
    if name == "BF16":
        make_known(["bfloat16"])
    return np.dtype(_NUMPY[name])
