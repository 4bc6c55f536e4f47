"""Descriptions of the values that a graph begins with: its inputs and constants."""

from __future__ import annotations

import onnx_ir as ir

from ..dimension_names import dimension_name
from ..errors import InvalidModel
from . import symbolic
from .graph import KNOWN_LIMIT, Info, dtype_name, known_array
from .symbolic import Dim, product


def input_info(value: ir.Value) -> Info:
    """Describe an input; sizes that are not declared are symbols of its own."""
    dtype = dtype_name(value.dtype)
    if isinstance(value.type, ir.SequenceType | ir.OptionalType):
        dtype = "object"
    name = value.name or ""
    if value.shape is None:
        return Info(name, dtype, None)
    dims: list[Dim] = []
    for axis, dim in enumerate(value.shape):
        if isinstance(dim, int) and dim >= 0:
            dims.append(dim)
            continue
        label = dimension_name(dim.value) if isinstance(dim, ir.SymbolicDim) else None
        own = symbolic.symbol(f"{name}.{axis}", "input")
        dims.append(own if label is None else symbolic.symbol(label))
    return Info(name, dtype, tuple(dims))


def constant_info(value: ir.Value, array: ir.TensorProtocol | None) -> Info:
    """Describe a constant; the elements of a few integers are known."""
    if array is None:
        raise InvalidModel(f"initializer {value.name!r} has no data")
    dtype = dtype_name(array.dtype)
    shape = tuple(int(dim) for dim in array.shape.numpy())
    info = Info(value.name or "", dtype, shape, constant=array)
    if dtype in ("int64", "int32") and product(shape) <= KNOWN_LIMIT:  # type: ignore[operator]
        info.known = known_array([int(v) for v in info.array().reshape(-1)], shape)
    return info
