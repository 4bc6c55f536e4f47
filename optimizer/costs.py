"""Costs of computing nodes whose inputs are constant, known before anything is computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnx_ir as ir

from .operators import lookup

Array: TypeAlias = np.ndarray | None
Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True)
class Cost:
    """Size of the results of a node in bytes, and operations on single numbers."""

    size: int
    work: int


def cost(
    node: onnx.NodeProto, operator: ir.Node, version: int, arrays: Sequence[Array]
) -> Cost | None:
    """Return what a node costs; None where its results may be of any size.

    Parameters
    ----------
    node : NodeProto
    operator : onnx_ir.Node
        The same node.
    version : int
        Opset.
    arrays : sequence of array or None
        Its inputs.
    """
    inputs = [array.size for array in arrays if array is not None]
    rule = _SELECTIONS.get(node.op_type)
    if rule is not None and inputs:
        elements = rule(arrays) * len(node.output)
        return Cost(8 * elements, elements + sum(inputs))
    shapes = _shapes(node, version, arrays)
    if shapes is None:
        return None
    elements = sum(math.prod(shape) for shape, _ in shapes)
    size = sum(math.prod(shape) * width for shape, width in shapes)
    count = elements + sum(inputs)
    if node.op_type in _PRODUCTS:
        return Cost(size, count + _PRODUCTS[node.op_type](node, arrays, elements))
    return Cost(size, count * _work_of_element(operator))


def _shapes(
    node: onnx.NodeProto, version: int, arrays: Sequence[Array]
) -> list[tuple[Shape, int]] | None:
    """Shapes of the results that are asked for, and bytes of an element; None if not known."""
    given = {
        name: array for name, array in zip(node.input, arrays, strict=True) if array is not None
    }
    types: dict[str, Any] = {}
    contents: dict[str, Any] = {}
    try:
        for name, array in given.items():
            kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
            types[name] = onnx.helper.make_tensor_type_proto(kind, array.shape)
            if array.size <= _SIZES:
                contents[name] = onnx.numpy_helper.from_array(array, name)
        schema = onnx.defs.get_schema(node.op_type, version, node.domain)
        imports = [onnx.helper.make_opsetid("", version)]
        results: Any = onnx.shape_inference.infer_node_outputs(
            schema, node, types, contents, opset_imports=imports
        )
    except Exception:  # errors of the node show when it runs
        return None
    shapes = []
    for name in filter(None, node.output):
        kind = results[name].tensor_type if name in results else onnx.TypeProto.Tensor()
        dims = kind.shape.dim
        if not kind.HasField("shape") or not all(dim.HasField("dim_value") for dim in dims):
            return None
        width = math.ceil(ir.DataType(kind.elem_type).bitwidth / 8)
        shapes.append((tuple(dim.dim_value for dim in dims), width))
    return shapes


_SIZES = 1024
"""Elements of an input whose contents may be sizes of the results."""


# --- results whose size depends on data, but is bounded --------------------------------------


def _as_many(arrays: Sequence[Array]) -> int:
    return 0 if arrays[0] is None else arrays[0].size


def _as_many_indices(arrays: Sequence[Array]) -> int:
    return 0 if arrays[0] is None else arrays[0].size * max(1, arrays[0].ndim)


_SELECTIONS: dict[str, Callable[[Sequence[Array]], int]] = {
    "Compress": _as_many,
    "NonZero": _as_many_indices,
    "Unique": _as_many,
}


# --- products ---------------------------------------------------------------------------------


def _columns(node: onnx.NodeProto, arrays: Sequence[Array], elements: int) -> int:
    """Multiplications of a matrix product, by the second matrix."""
    index = 3 if node.op_type == "QLinearMatMul" else 1
    b = arrays[index] if index < len(arrays) else None
    if b is None:
        return elements
    transposed = any(a.name == "transB" and a.i for a in node.attribute)
    return elements * b.shape[-1 if transposed or b.ndim == 1 else -2]


def _labels(node: onnx.NodeProto, arrays: Sequence[Array], elements: int) -> int:
    """Multiplications of an Einsum: all combinations of indices."""
    equation = next((a.s.decode() for a in node.attribute if a.name == "equation"), "")
    terms = equation.replace(" ", "").partition("->")[0].split(",")
    sizes: dict[str, int] = {}
    whole = 1
    for term, array in zip(terms, arrays, strict=False):
        if array is None:
            continue
        if "." in term or len(term) != array.ndim:
            whole *= array.size
        else:
            sizes.update(zip(term, array.shape, strict=True))
    return whole * math.prod(sizes.values())


_PRODUCTS: dict[str, Callable[[onnx.NodeProto, Sequence[Array], int], int]] = {
    "Einsum": _labels,
    "Gemm": _columns,
    "MatMul": _columns,
    "MatMulInteger": _columns,
    "QLinearMatMul": _columns,
}


# --- everything else --------------------------------------------------------------------------

_LINEAR = frozenset(
    [
        "ArgMax", "ArgMin", "BlackmanWindow", "Concat", "Constant", "ConstantOfShape", "CumSum",
        "DequantizeLinear", "DepthToSpace", "Expand", "EyeLike", "Flatten", "Gather",
        "GatherElements", "HammingWindow", "HannWindow", "LayerNormalization", "LogSoftmax",
        "OneHot", "Pad", "QuantizeLinear", "Range", "ReduceL1", "ReduceL2", "ReduceLogSum",
        "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
        "ReduceSumSquare", "Reshape", "Shape", "Size", "Slice", "Softmax", "SpaceToDepth", "Split",
        "Squeeze", "Tile", "Transpose", "Trilu", "Unsqueeze",
    ]
)  # fmt: skip
"""Operators, beside elementwise ones, that take numpy a few operations for each element."""

_INTERPRETED = 10_000
"""Operations that an element may take where the reference implementation is a loop in Python."""


def _work_of_element(operator: ir.Node) -> int:
    linear = lookup(operator).elementwise or operator.op_type in _LINEAR
    return 1 if linear else _INTERPRETED
