"""Real models made small: channels divided, graphs as they are."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

_LEAST = 16
"""Sizes from here on are channels; smaller ones are windows, heads, groups, or few already."""


def _divided(size: int, by: int) -> int:
    return size // by if size >= _LEAST and size % by == 0 else size


def reduced(model: onnx.ModelProto, by: int) -> onnx.ModelProto:
    """Return the model with all sizes of weights, and what names them, divided.

    Weights are cut, so that variances remain positive and tables of words remain words; those of
    products are scaled, so that sums of fewer of them are as large.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    for tensor in graph.initializer:
        tensor.CopyFrom(_weight(tensor, by))
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name in ("group", "hidden_size", "axis_size"):
                attribute.i = _divided(attribute.i, by)
            elif attribute.name == "value" and attribute.HasField("t"):
                attribute.t.CopyFrom(_weight(attribute.t, by))
    for value in (*graph.output, *graph.value_info):
        value.type.tensor_type.ClearField("shape")
    del graph.value_info[:]
    # Weights of old models are inputs, too, with the sizes that they had.
    names = {tensor.name for tensor in graph.initializer}
    inputs = [port for port in graph.input if port.name not in names]
    del graph.input[:]
    graph.input.extend(inputs)
    made.ir_version = max(made.ir_version, 4)
    return made


def _weight(tensor: onnx.TensorProto, by: int) -> onnx.TensorProto:
    array = numpy_helper.to_array(tensor)
    if array.dtype == np.int64 and array.ndim <= 1 and array.size <= 8:
        small = np.array([_divided(int(size), by) for size in array.ravel()], np.int64)
        return numpy_helper.from_array(small.reshape(array.shape), tensor.name)
    sizes = [_divided(size, by) for size in array.shape]
    small = array[tuple(slice(0, size) for size in sizes)].copy()
    if array.dtype == np.float32 and array.ndim > 1 and small.size:
        depth = small.size // small.shape[0]
        small *= np.float32(np.sqrt(max(array.size // array.shape[0], 1) / max(depth, 1)))
    return numpy_helper.from_array(small, tensor.name)


def opened(data: bytes) -> onnxruntime.InferenceSession:
    """Open a model in onnxruntime, which is silent."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def smallest(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> bytes:
    """Return the model with channels divided as far as onnxruntime runs it, at least by 2."""
    for by in (16, 8, 4):
        data = reduced(model, by).SerializeToString()
        try:
            opened(data).run(None, feeds)
        except Exception:  # whatever it says of sizes that do not fit
            continue
        return data
    return reduced(model, 2).SerializeToString()
