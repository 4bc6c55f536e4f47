"""Operators that the standard defines by others: their bodies take their place.

For a runtime, not for models that others get: a body has more nodes than the operator has.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from ...custom_inference import infer
from .loader import normalize

_DOMAIN = "sardonyx.bodies"
_ADDITIVE = (23, 28)
"""Opsets between which no operator changed what it means."""
_MOST_ROUNDS = 4  # bodies hold such operators themselves


def expand_functions(model: ir.Model, computes: Callable[[ir.Node], bool]) -> None:
    """Replace nodes of the standard domain by what their operators are defined by, in place.

    Parameters
    ----------
    model : onnx_ir.Model
        Types and shapes of its values are inferred.
    computes : callable
        Tells whether a node has a kernel, and stays as it is.
    """
    opset = model.graph.opset_imports.get("", 0)
    for _ in range(_MOST_ROUNDS):
        nodes = [node for node in model.graph.all_nodes() if not node.domain]
        nodes = [node for node in nodes if not computes(node)]
        bodies = [(node, body) for node in nodes if (body := _body_of(node, opset)) is not None]
        for number, (node, body) in enumerate(bodies):
            own = f"{node.op_type}_{number}"
            body.domain, body.name = _DOMAIN, own
            del body.output[len(node.outputs) :]
            _make_unmade(body)
            _raise(body, opset)
            for position, inner in enumerate(body.node):  # errors name them
                inner.name = f"{node.name or own}.{inner.op_type}_{position}"
            function = ir.serde.deserialize_function(body)
            model.functions[function.identifier()] = function
            node.domain, node.op_type = _DOMAIN, own
        if not bodies:
            return
        model.graph.opset_imports[_DOMAIN] = 1
        normalize(model)
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
        infer(model)
        model.graph.opset_imports.pop(_DOMAIN, None)


def _make_unmade(body: onnx.FunctionProto) -> None:
    """Let a body make all its outputs: it may leave out what is not asked for."""
    made = {name for node in body.node for name in node.output} | set(body.input)
    for name in body.output:
        if name not in made:
            body.node.append(onnx.helper.make_node("Identity", body.input[:1], [name]))


def _raise(body: onnx.FunctionProto, opset: int) -> None:
    """Let a body be of the model's opset where operators only gained types and attributes."""
    first, last = _ADDITIVE
    for own in body.opset_import:
        if not own.domain and first <= own.version < opset <= last:
            own.version = opset


def _body_of(node: ir.Node, opset: int) -> onnx.FunctionProto | None:
    """Return the body of a node's operator; None where there is none for such inputs."""
    if any(each.type == ir.AttributeType.GRAPH for each in node.attributes.values()):
        return None
    schema: Any
    try:
        schema = onnx.defs.get_schema(node.op_type, opset)
    except onnx.defs.SchemaError:
        return None
    versions = [v for v in schema.context_dependent_function_opset_versions if v <= opset]
    if versions:
        types = [_type_of(value) for value in node.inputs]
        own = ir.serde.serialize_node(node).SerializeToString()
        data = schema.get_context_dependent_function_with_opset_version(versions[-1], own, types)
        return onnx.FunctionProto.FromString(data) if data else None
    versions = [v for v in schema.function_opset_versions if v <= opset]
    if versions:
        data = schema.get_function_with_opset_version(versions[-1])
        return onnx.FunctionProto.FromString(data) if data else None
    return None


def _type_of(value: ir.Value | None) -> bytes:
    proto = onnx.TypeProto()
    if value is not None and value.type is not None:
        ir.serde.serialize_type_into(proto, value.type)
        if value.shape is not None:
            ir.serde.serialize_shape_into(proto, value.shape)
    return bytes(proto.SerializeToString())
