"""Half precision computed as float32: for a runtime, not for models that others get.

By `widen`, values of float16 and bfloat16 become float32, but for the inputs and outputs of the
model, and where the model itself casts to such a type, or divides in one to quantize, which rounds.
Results are rounded once, at the end, as onnxruntime's are where it has no kernels for these types;
numbers beyond the range of float16 that occur on the way are kept.

By `widen_nodes` all values keep their types, and the nodes that a runtime has no kernels for are
computed in float32 each, and rounded, as the standard has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import ml_dtypes
import numpy as np
import onnx_ir as ir

from ..custom_operators import find
from .cleanup import infer
from .edits import insert, new_constant, replace_uses, set_dtype, set_inputs
from .values import graphs

_HALVES = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
_TYPE_ATTRIBUTES = ("dtype", "output_dtype", "softmax_precision", "stash_type")
"""Attributes that name the type of a result, or of what is computed on the way."""
_ROUNDS_QUOTIENTS = 23
"""Opset since which QuantizeLinear says the precision of its division."""
_BITS = frozenset(["BitCast"])
"""Operators that see the bits of a type."""


def widen(model: ir.Model) -> None:
    """Let a model compute in float32 what it computes in float16 and bfloat16, in place.

    A model stays as it is that looks at the bits, takes or gives sequences of such tensors, or has
    custom operators on arrays, which were written for the types that it states.
    """
    graph = model.graph
    ports = [*graph.inputs, *graph.outputs]
    if any(not isinstance(port.type, ir.TensorType) and port.dtype in _HALVES for port in ports):
        return
    if any(node.op_type in _BITS for node in graph.all_nodes()) or not _has_halves(model):
        return
    if any(_is_written_for_types(node, model.opset_imports) for node in graph.all_nodes()):
        return
    if model.opset_imports.get("", 1) >= 11:
        _limit_clips(model)
    outputs = [(i, value, value.dtype) for i, value in enumerate(graph.outputs)]
    inputs = {value: value.dtype for value in graph.inputs if value.dtype in _HALVES}
    values = [value for value in _values(model) if value not in inputs and value.dtype in _HALVES]
    for node in list(graph.all_nodes()):
        if node.op_type == "QuantizeLinear" and model.opset_imports.get("", 0) >= _ROUNDS_QUOTIENTS:
            _keep_precision(node)
        _widen_node(node)
    for value in values:
        set_dtype(value, ir.DataType.FLOAT)
    for each in graphs(model):
        for value in list(each.initializers.values()):
            _widen_constant(value)
    given: dict[ir.Value, ir.Value] = {}  # an output may be listed twice
    for index, value, dtype in outputs:
        if dtype in _HALVES and value not in inputs:
            given[value] = given.get(value) or _given_as(graph, value, dtype)
            graph.outputs[index] = given[value]
    for value in inputs:
        _read_as_float32(graph, value)


def _is_written_for_types(node: ir.Node, opsets: Mapping[str, int]) -> bool:
    custom = find(node.domain, node.op_type, opsets.get(node.domain, 1)) if node.domain else None
    return custom is not None and not custom.is_elementwise


def _has_halves(model: ir.Model) -> bool:
    constants = (value for graph in graphs(model) for value in graph.initializers.values())
    return any(value.dtype in _HALVES for value in (*_values(model), *constants))


def _values(model: ir.Model) -> Iterator[ir.Value]:
    for graph in graphs(model):
        yield from graph.inputs
        for node in graph:
            yield from node.outputs


def _limit_clips(model: ir.Model) -> None:
    """Write the limits of a Clip that has none: those of its type, which float32 goes beyond."""
    for graph in list(graphs(model)):
        for node in list(graph):
            x = node.inputs[0] if node.op_type == "Clip" and not node.domain else None
            if x is None or x.dtype not in _HALVES:
                continue
            limits = ml_dtypes.finfo(x.dtype.numpy())
            node.resize_inputs(3)
            for index, limit in ((1, limits.min), (2, limits.max)):
                if node.inputs[index] is None:
                    new = new_constant(graph, np.array(limit), f"{node.outputs[0].name}.limit")
                    set_inputs(node, {index: new})


def _keep_precision(node: ir.Node) -> None:
    """Let quotients be rounded to the type of a scale, which says what integer they are."""
    scale = node.inputs[1]
    if scale is not None and scale.dtype in _HALVES and not node.attributes.get_int("precision", 0):
        node.attributes["precision"] = ir.AttrInt64("precision", int(scale.dtype))


def _widen_node(node: ir.Node) -> None:
    """Let a node give float32: attributes that name a type, constants in them, and casts."""
    for name in _TYPE_ATTRIBUTES:
        attribute = node.attributes.get(name)
        if attribute is not None and attribute.value in _HALVES:
            node.attributes[name] = ir.AttrInt64(name, int(ir.DataType.FLOAT))
    value = node.attributes.get("value")
    if value is not None and value.type == ir.AttributeType.TENSOR:
        tensor = value.as_tensor()
        if tensor.dtype in _HALVES:
            node.attributes["value"] = ir.AttrTensor("value", _float32(tensor))
    if node.op_type in ("Cast", "CastLike") and node.outputs[0].dtype in _HALVES:
        _round_cast(node)


def _round_cast(node: ir.Node) -> None:
    """Let what a cast to half gives be read as float32, rounded."""
    output = node.outputs[0]
    dtype, x = output.dtype, node.inputs[0]
    assert dtype is not None
    exact = x is not None and x.dtype in (ir.DataType.BOOL, dtype)
    rounding = ir.node("Cast", [x], {"to": int(dtype)}, name=f"{node.name}.rounding")
    rounded = rounding.outputs[0]
    rounded.name, rounded.shape = f"{output.name}.rounded", output.shape
    rounded.type = ir.TensorType(ir.DataType.FLOAT if exact else dtype)
    if exact:
        rounding.attributes["to"] = ir.AttrInt64("to", int(ir.DataType.FLOAT))
    insert(node, [rounding])
    node.op_type = "Cast"
    node.resize_inputs(1)  # a CastLike has two
    set_inputs(node, {0: rounded})
    node.attributes["to"] = ir.AttrInt64("to", int(ir.DataType.FLOAT))


def _widen_constant(value: ir.Value) -> None:
    if value.dtype in _HALVES and value.const_value is not None:
        value.const_value = _float32(value.const_value)
        set_dtype(value, ir.DataType.FLOAT)


def _float32(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    return ir.tensor(np.asarray(tensor.numpy()).astype(np.float32), name=tensor.name)


def _given_as(graph: ir.Graph, value: ir.Value, dtype: ir.DataType) -> ir.Value:
    """Return an output cast to its own type, which takes its name."""
    cast = ir.node("Cast", [value], {"to": int(dtype)}, name=f"{value.name}.rounding")
    result = cast.outputs[0]
    result.name, value.name = value.name, f"{value.name}.wide"
    result.shape, result.type = value.shape, ir.TensorType(dtype)
    graph.append(cast)
    return result


def _read_as_float32(graph: ir.Graph, value: ir.Value) -> None:
    """Let an input be cast to float32 once, for all that read it."""
    cast = ir.node("Cast", [value], {"to": int(ir.DataType.FLOAT)}, name=f"{value.name}.widening")
    wide = cast.outputs[0]
    wide.name, wide.shape = f"{value.name}.wide", value.shape
    wide.type = ir.TensorType(ir.DataType.FLOAT)
    uses = [(node, i) for node, i in value.uses() if node is not cast]
    for node, i in uses:
        set_inputs(node, {i: wide})
    first = next(iter(graph), None)
    if first is None:
        graph.append(cast)
    else:
        insert(first, [cast])


# --- node by node -----------------------------------------------------------------------------


def widen_nodes(model: ir.Model, is_widened: Callable[[ir.Node], bool]) -> None:
    """Let nodes compute in float32 what they compute in halves, and round it, in place.

    Parameters
    ----------
    model : onnx_ir.Model
    is_widened : callable
        Says of a node with values of half precision whether it is such a node.
    """
    if not _has_halves(model):
        return
    if any(value.name and value.type is None for value in _values(model)):
        infer(model)  # adapters of other opsets leave values without types
    for graph in list(graphs(model)):
        wide: dict[ir.Value, ir.Value] = {}
        for node in list(graph):
            values = (*node.inputs, *node.outputs)
            halves = [v for v in values if v is not None and _is_half(v)]
            if halves and is_widened(node):
                _widen_alone(graph, node, wide)


def _is_half(value: ir.Value) -> bool:
    return isinstance(value.type, ir.TensorType) and value.dtype in _HALVES


def _widen_alone(graph: ir.Graph, node: ir.Node, wide: dict[ir.Value, ir.Value]) -> None:
    """Let a node read and give float32; ``wide`` are values that the graph has as float32."""
    _widen_node(node)
    changes: dict[int, ir.Value | None] = {}
    for index, value in enumerate(node.inputs):
        if value is not None and _is_half(value):
            if value not in wide:
                wide[value] = _wide(graph, node, value)
            changes[index] = wide[value]
    set_inputs(node, changes)
    after = node
    for value in node.outputs:
        if not value.name or not _is_half(value):
            continue
        cast = _cast(value, value.dtype, f"{node.name}.rounding")
        rounded = cast.outputs[0]
        rounded.name, value.name = value.name, f"{value.name}.wide"
        value.type = ir.TensorType(ir.DataType.FLOAT)
        graph.insert_after(after, [cast])
        replace_uses(value, rounded)
        set_inputs(cast, {0: value})
        after = cast


def _wide(graph: ir.Graph, node: ir.Node, value: ir.Value) -> ir.Value:
    """Return an input of a node as float32: a constant, or what a cast in front gives."""
    tensor = ir.convenience.get_const_tensor(value)
    if tensor is not None:
        return new_constant(graph, np.asarray(_float32(tensor).numpy()), f"{value.name}.wide")
    cast = _cast(value, ir.DataType.FLOAT, f"{value.name}.widening")
    cast.outputs[0].name = f"{value.name}.as_float"
    insert(node, [cast])
    return cast.outputs[0]


def _cast(value: ir.Value, dtype: ir.DataType | None, name: str) -> ir.Node:
    assert dtype is not None
    cast = ir.node("Cast", [value], {"to": int(dtype)}, name=name)
    cast.outputs[0].shape, cast.outputs[0].type = value.shape, ir.TensorType(dtype)
    return cast
