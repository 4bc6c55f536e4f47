"""Element types: ONNX's numbers, onnxruntime's names, numpy's dtypes.

Numbers are those of ``TensorProto.DataType`` in onnx.proto.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..runtime.element_types import make_known

# onnxruntime's word and numpy's (or ml_dtypes') name, by ONNX's number.
_TYPES: dict[int, tuple[str, str]] = {
    1: ("float", "float32"),
    2: ("uint8", "uint8"),
    3: ("int8", "int8"),
    4: ("uint16", "uint16"),
    5: ("int16", "int16"),
    6: ("int32", "int32"),
    7: ("int64", "int64"),
    8: ("string", "object"),
    9: ("bool", "bool"),
    10: ("float16", "float16"),
    11: ("double", "float64"),
    12: ("uint32", "uint32"),
    13: ("uint64", "uint64"),
    14: ("complex64", "complex64"),
    15: ("complex128", "complex128"),
    16: ("bfloat16", "bfloat16"),
    17: ("float8e4m3fn", "float8_e4m3fn"),
    18: ("float8e4m3fnuz", "float8_e4m3fnuz"),
    19: ("float8e5m2", "float8_e5m2"),
    20: ("float8e5m2fnuz", "float8_e5m2fnuz"),
    21: ("uint4", "uint4"),
    22: ("int4", "int4"),
    23: ("float4e2m1", "float4_e2m1fn"),
    24: ("float8e8m0", "float8_e8m0fnu"),
    25: ("uint2", "uint2"),
    26: ("int2", "int2"),
}
_NUMBERS = {name: number for number, (_, name) in _TYPES.items()}
_DTYPES = {word: name for word, name in _TYPES.values()}


def number_of(dtype: np.dtype) -> int:
    """Return ONNX's number of a dtype; 0 of one that ONNX lacks."""
    return _NUMBERS["object"] if dtype.kind in "OUST" else _NUMBERS.get(dtype.name, 0)


def word_of(dtype: np.dtype) -> str:
    """Return onnxruntime's word for a dtype; numpy's name of one that ONNX lacks."""
    number = number_of(dtype)
    return _TYPES[number][0] if number else dtype.name


def dtype_of(element_type: Any) -> np.dtype:
    """Return the dtype that ONNX's number, or whatever numpy takes, means.

    Raises
    ------
    RuntimeError
        It means none.
    """
    name = _TYPES[element_type][1] if element_type in _TYPES else element_type
    if isinstance(name, str):
        make_known([name])
    try:
        return np.dtype(name)
    except TypeError as error:
        raise RuntimeError(f"{element_type!r} is no element type") from error


def dtype_of_type(kind: str) -> np.dtype | None:
    """Return the dtype of a type such as ``"tensor(float)"``; None of what is no tensor."""
    word = kind.removeprefix("tensor(").removesuffix(")")
    if not kind.startswith("tensor(") or word not in _DTYPES:
        return None
    make_known([_DTYPES[word]])
    return np.dtype(_DTYPES[word])
