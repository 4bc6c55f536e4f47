"""Batch dimension of models that were exported for one image, replaced by a free one."""

from __future__ import annotations

import onnx
from onnx import numpy_helper

from ..errors import InvalidArgument

_BATCH = "batch"


def is_fixed(model: onnx.ModelProto) -> bool:
    """Tell whether an input states a number for its first dimension."""
    return any(_first(value).dim_value > 0 for value in _inputs(model.graph))


def free(model: onnx.ModelProto) -> None:
    """Free the first dimension of all inputs and outputs, in place.

    Target shapes of Reshape that begin with 1 copy the dimension from their input instead.

    Raises
    ------
    InvalidArgument
        A value that is computed from the inputs does not keep the dimension.
    """
    graph = model.graph
    if model.ir_version < 4:  # for which shape inference wants initializers to be inputs
        _make_constants(model)
    for value in (*_inputs(graph), *graph.output):
        if _first(value).dim_value == 1:
            _first(value).dim_param = _BATCH
    del graph.value_info[:]
    parameters = {tensor.name: tensor for tensor in graph.initializer}
    freed: dict[str, str] = {}
    for node in graph.node:
        if node.op_type != "Reshape" or node.input[0] in parameters:
            continue
        target = parameters.get(node.input[1])
        shape = None if target is None else numpy_helper.to_array(target).copy()
        if shape is None or not shape.size or shape[0] != 1:
            continue
        if node.input[1] not in freed:  # the tensor may also be the shape of a parameter
            freed[node.input[1]] = name = f"{node.input[1]}_free"
            shape[0] = 0
            graph.initializer.append(numpy_helper.from_array(shape, name))
        node.input[1] = freed[node.input[1]]
    _check(model)


def _make_constants(model: onnx.ModelProto) -> None:
    """Take initializers out of the inputs: since version 4 those that are inputs are defaults."""
    kept = [value.SerializeToString() for value in _inputs(model.graph)]
    del model.graph.input[:]
    model.graph.input.extend(map(onnx.ValueInfoProto.FromString, kept))
    model.ir_version = 4


def _inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    stored = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in stored]


def _first(value: onnx.ValueInfoProto) -> onnx.TensorShapeProto.Dimension:
    return value.type.tensor_type.shape.dim[0]


def _check(model: onnx.ModelProto) -> None:
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    known = {value.name: value for value in (*inferred.value_info, *inferred.output)}
    computed = {value.name for value in _inputs(model.graph)}
    for node in model.graph.node:
        if not computed.intersection(node.input):
            continue
        computed.update(node.output)
        for name in node.output:
            if name in known and not _may_keep(known[name]):
                raise InvalidArgument(f"node {node.name!r} ({node.op_type}) changes the batch")


def _may_keep(value: onnx.ValueInfoProto) -> bool:
    """Tell whether a value begins with the batch, as far as its shape could be inferred."""
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return True
    return bool(kind.shape.dim) and kind.shape.dim[0].dim_param == _BATCH
