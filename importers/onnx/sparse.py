"""Sparse tensors of a model, which become dense: `onnx_ir` reads no others."""

from __future__ import annotations

import math

import numpy as np
import onnx
import onnx_ir as ir
from onnx import AttributeProto, GraphProto, SparseTensorProto, TensorProto

from ...errors import InvalidModel, UnsupportedModel
from .scopes import graphs_inside

SPARSE_LIMIT = 1 << 28
"""Bytes that the sparse tensors of a model may take once they are dense."""


def densify(graph: GraphProto, limit: int) -> None:
    """Replace sparse initializers and sparse values of Constants by dense ones, in place.

    Raises
    ------
    UnsupportedModel
        They would take more than ``limit`` bytes.
    InvalidModel
        One contradicts itself.
    """
    left = limit
    for inner in (graph, *graphs_inside(graph.node)):
        for sparse in inner.sparse_initializer:
            left = _less(left, sparse, f"sparse initializer {sparse.values.name!r}", limit)
            inner.initializer.append(_dense(sparse, sparse.values.name))
        del inner.sparse_initializer[:]
        for node in inner.node:
            for attribute in node.attribute:
                if node.op_type == "Constant" and attribute.HasField("sparse_tensor"):
                    sparse = attribute.sparse_tensor
                    left = _less(left, sparse, f"sparse value of {node.output[0]!r}", limit)
                    dense = _dense(sparse, node.output[0])
                    attribute.CopyFrom(
                        AttributeProto(name="value", type=AttributeProto.TENSOR, t=dense)
                    )


def _less(left: int, sparse: SparseTensorProto, what: str, limit: int) -> int:
    """Bytes that are left when a tensor has become dense."""
    bits = math.prod(sparse.dims) * ir.DataType(sparse.values.data_type).bitwidth
    left -= math.ceil(bits / 8)
    if left < 0:
        raise UnsupportedModel(
            f"{what} of shape {list(sparse.dims)}: dense, the model's sparse tensors take more "
            f"than {limit} bytes (sparse_limit= allows more)"
        )
    return left


def _dense(sparse: SparseTensorProto, name: str) -> TensorProto:
    if TensorProto.EXTERNAL in (sparse.values.data_location, sparse.indices.data_location):
        raise InvalidModel(f"sparse tensor {name!r} has external data")
    try:
        values = onnx.numpy_helper.to_array(sparse.values)
        indices = onnx.numpy_helper.to_array(sparse.indices)
        dense = np.zeros(tuple(sparse.dims), values.dtype)
        if indices.ndim == 2:
            dense[tuple(indices.T)] = values
        else:
            dense.reshape(-1)[indices] = values
    except Exception as error:
        raise InvalidModel(f"sparse tensor {name!r} is damaged: {error}") from error
    return onnx.numpy_helper.from_array(dense, name)
