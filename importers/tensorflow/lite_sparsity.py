"""Sparse weights of TensorFlow Lite files, as dense ones.

The format is that of TACO (Kjolstad et al., 2017): a tensor is a tree with a level for each axis,
and for each axis of the blocks that it may consist of; a level lists all of its coordinates
(dense) or those that exist (compressed).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...errors import InvalidModel
from ..limits import Budget

_DTYPES = {0: np.float32, 1: np.float16, 2: np.int32, 9: np.int8}
"""Types of sparse tensors by their numbers in the schema."""


def densified(data: bytes, budget: Budget) -> bytes:
    """Return a file whose tensors are all dense.

    Raises
    ------
    InvalidModel
        A sparse tensor contradicts itself; names it.
    UnsupportedModel
        The dense tensors are too large; names one.
    """
    from flatbuffers import Builder
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(data, 0))
    sparse = [
        tensor
        for graph in model.subgraphs
        for tensor in graph.tensors
        if tensor.sparsity is not None
    ]
    if not sparse:
        return data
    for tensor in sparse:
        name = (tensor.name or b"").decode(errors="replace")
        try:
            dense = _dense(tensor, name, model.buffers[tensor.buffer].data, budget)
        except (ArithmeticError, IndexError, KeyError, TypeError, ValueError) as error:
            raise InvalidModel(
                f"{budget.path}: the sparse tensor {name!r} is damaged: {error}"
            ) from error
        buffer = schema.BufferT()
        buffer.data = dense.reshape(-1).view(np.uint8)
        model.buffers.append(buffer)
        tensor.buffer, tensor.sparsity = len(model.buffers) - 1, None
    builder = Builder(len(data))
    builder.Finish(model.Pack(builder), file_identifier=data[4:8])
    return bytes(builder.Output())


def _dense(tensor: Any, name: str, data: Any, budget: Budget) -> np.ndarray:
    shape = [int(size) for size in tensor.shape]
    dtype = np.dtype(_DTYPES[tensor.type])
    if min(shape, default=1) < 0:
        raise ValueError(f"its shape is {shape}")
    budget.spend(math.prod(shape) * dtype.itemsize, f"sparse tensor {name!r}", shape)
    values = np.asarray(data, np.uint8).view(dtype)
    blocks = (
        [] if tensor.sparsity.blockMap is None else np.asarray(tensor.sparsity.blockMap).tolist()
    )
    order = np.asarray(tensor.sparsity.traversalOrder).tolist()
    levels = tensor.sparsity.dimMetadata
    if sorted(order) != list(range(len(shape) + len(blocks))) or len(levels) != len(order):
        raise ValueError(f"its levels are {order} for {len(shape)} axes")
    paths = _paths(levels, len(values))
    by_axis = {axis: path for axis, path in zip(order, paths, strict=True)}
    sizes = {axis: int(level.denseSize) for axis, level in zip(order, levels, strict=True)}
    index = [by_axis[axis] for axis in range(len(shape))]
    for number, axis in enumerate(blocks):
        inner = len(shape) + number
        index[axis] = index[axis] * sizes[inner] + by_axis[inner]
    dense = np.zeros(shape, dtype)
    dense[tuple(index)] = values
    return dense


def _paths(levels: list[Any], count: int) -> list[np.ndarray]:
    """Coordinates of all values at each level."""
    paths: list[np.ndarray] = []
    nodes = 1
    for level in levels:
        if level.format == 0:
            lengths = np.full(nodes, int(level.denseSize))
            total = nodes * int(level.denseSize)
            if not 0 <= total <= max(count, 1):
                raise ValueError(f"it has {count} values")
            coordinates = np.tile(np.arange(level.denseSize), nodes)
        else:
            segments = np.asarray(level.arraySegments.values, np.int64)
            coordinates = np.asarray(level.arrayIndices.values, np.int64)
            lengths = np.diff(segments)
            if len(lengths) != nodes or lengths.min(initial=0) < 0:
                raise ValueError("its segments are not in order")
        paths = [np.repeat(path, lengths) for path in paths] + [coordinates]
        nodes = len(coordinates)
    if nodes != count or any(len(path) != count or path.min(initial=0) < 0 for path in paths):
        raise ValueError(f"it has {count} values for {nodes} places")
    return paths
