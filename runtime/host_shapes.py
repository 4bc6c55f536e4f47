"""Shapes and types of what host steps give, as far as onnx's own inference can tell."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from ..custom_operators import how_to_register
from ..errors import UnsupportedModel
from ..logs import silenced
from ..notes import KEPT_NOTE
from .graph import Info, Node, dtype_name

_OF_OTHER_SIZES = frozenset([("", "Attention")])
"""Operators for which onnx infers sizes that results do not have: it leaves out the keys of a
cache, and heads of open sizes, and calls scores scalars where it knows no rank."""


def serialized(node: ir.Node) -> onnx.NodeProto:
    """Return a node in protobuf; values inside whose type is not known go without their shapes."""
    with silenced("onnx_ir.serde"):
        return ir.serde.serialize_node(node)


def host_infos(node: Node, opsets: Mapping[str, int]) -> list[Info]:
    """Describe the outputs of a host step by onnx's own inference for one node.

    Dimensions that it cannot tell are None; so is the shape where the rank is unknown. What
    subgraphs declare of sizes proves nothing, and is not looked at.
    """
    proto = serialized(node.ir)
    _forget_sizes(proto)
    types: dict[str, Any] = {}
    for value, info in zip(node.values, node.inputs, strict=True):
        if value is not None and info is not None:
            types[str(value.name)] = _type_proto(value, info)
    results: dict[str, Any] = {}
    try:
        schema = onnx.defs.get_schema(node.op_type, node.version, node.ir.domain)
        imports = [onnx.helper.make_opsetid(d, v) for d, v in opsets.items()]
        results = onnx.shape_inference.infer_node_outputs(
            schema, proto, types, opset_imports=imports
        )
    except onnx.defs.SchemaError as error:
        raise UnsupportedModel(
            f"node {node.name!r}: operator {node.ir.domain or 'ai.onnx'}.{node.op_type} "
            f"(opset {node.version}) is not known" + (f"; {_hint(node)}" if node.ir.domain else "")
        ) from error
    except Exception:  # what cannot be inferred is read off the results
        results = {}
    for proto in results.values() if node.key in _OF_OTHER_SIZES else ():
        for dim in proto.tensor_type.shape.dim:
            dim.Clear()
        if not proto.tensor_type.shape.dim:
            proto.tensor_type.ClearField("shape")
    infos = [_info_of(value, results.get(value.name or "")) for value in node.outputs]
    if any(attribute.type == ir.AttributeType.GRAPH for attribute in node.ir.attributes.values()):
        for info in infos:
            info.held = None  # what bodies declare of sequences proves nothing
    return infos


def _hint(node: Node) -> str:
    if KEPT_NOTE in node.ir.metadata_props:
        return f"operators of the standard cannot express that {node.ir.metadata_props[KEPT_NOTE]}"
    return how_to_register(node.ir.domain, node.op_type, node.version)


def _forget_sizes(node: onnx.NodeProto) -> None:
    """Let the values of a node's subgraphs declare types and numbers of axes only."""
    for attribute in node.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            for value in (*graph.input, *graph.output, *graph.value_info):
                for dim in value.type.tensor_type.shape.dim:
                    dim.Clear()
            for inner in graph.node:
                _forget_sizes(inner)


def _held(proto: onnx.TypeProto) -> onnx.TypeProto | None:
    """Return the type of a sequence or an optional value with open sizes of what it holds."""
    kind, inner = proto.WhichOneof("value"), proto
    while kind in ("sequence_type", "optional_type"):
        inner = getattr(inner, kind).elem_type
        kind = inner.WhichOneof("value")
    if kind != "tensor_type" or inner is proto:
        return None
    for dim in inner.tensor_type.shape.dim:
        dim.Clear()
    return proto


def _type_proto(value: ir.Value, info: Info) -> onnx.TypeProto:
    if info.held is not None:
        return info.held
    if value.type is not None and not isinstance(value.type, ir.TensorType):
        proto = onnx.TypeProto()
        ir.serde.serialize_type_into(proto, value.type)
        return proto
    element = value.dtype
    if info.dtype != "object":
        element = ir.DataType.from_numpy(np.dtype(info.dtype))
    dims = None if info.shape is None else [d if isinstance(d, int) else None for d in info.shape]
    return onnx.helper.make_tensor_type_proto(int(element or 0), dims)


def _info_of(value: ir.Value, proto: onnx.TypeProto | None) -> Info:
    name = value.name or ""
    if proto is None or not proto.HasField("tensor_type"):
        if proto is not None:
            with suppress(ir.serde.SerdeError):  # onnx_ir knows no maps
                value.type = ir.serde.deserialize_type_proto_for_type(proto)
        return Info(name, "object", None, held=None if proto is None else _held(proto))
    kind = ir.DataType(proto.tensor_type.elem_type)
    value.dtype = kind
    if not proto.tensor_type.HasField("shape"):
        return Info(name, dtype_name(kind), None)
    dims = [d.dim_value if d.HasField("dim_value") else None for d in proto.tensor_type.shape.dim]
    return Info(name, dtype_name(kind), tuple(dims))  # type: ignore[arg-type]
