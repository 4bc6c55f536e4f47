"""Types that hold maps, such as ``seq(map(int64,tensor(float)))``.

`onnx_ir` does not know them. A loaded model carries them as text, beside the values, and they
become types again when it is written.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
import onnx_ir as ir
from onnx import GraphProto, ModelProto, TensorProto, TypeProto, ValueInfoProto

from ...notes import TYPE_NOTE


def note_map_types(model: ModelProto) -> None:
    """Write the types of values that hold maps as text, in place."""
    for value in _values(model.graph):
        if _holds_map(value.type):
            text = type_text(value.type)
            value.ClearField("type")
            value.metadata_props.add(key=TYPE_NOTE, value=text)


def restore_map_types(model: ModelProto) -> None:
    """Let types that were written as text be types again, in place."""
    for value in _values(model.graph):
        for entry in list(value.metadata_props):
            if entry.key == TYPE_NOTE:
                value.type.CopyFrom(parsed_type(entry.value))
                value.metadata_props.remove(entry)


def restore_in_file(model: ir.Model, path: str) -> None:
    """Do the same in a file that `onnx_ir` has written of a model, if the model has such types."""
    values = [*model.graph.inputs, *model.graph.outputs]
    values += [value for node in model.graph for value in node.outputs]
    if any(TYPE_NOTE in value.metadata_props for value in values):
        proto = onnx.load(path, load_external_data=False)
        restore_map_types(proto)
        onnx.save(proto, path)


def _values(graph: GraphProto) -> Iterator[ValueInfoProto]:
    yield from (*graph.input, *graph.output, *graph.value_info)
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _values(inner)


def _holds_map(kind: TypeProto) -> bool:
    which = kind.WhichOneof("value")
    if which in ("sequence_type", "optional_type"):
        return _holds_map(getattr(kind, which).elem_type)
    return which == "map_type"


def type_text(kind: TypeProto) -> str:
    """Write a type as onnxruntime does; shapes are left out."""
    which = kind.WhichOneof("value")
    if which == "map_type":
        return f"map({_element(kind.map_type.key_type)},{type_text(kind.map_type.value_type)})"
    if which == "sequence_type":
        return f"seq({type_text(kind.sequence_type.elem_type)})"
    if which == "optional_type":
        return f"optional({type_text(kind.optional_type.elem_type)})"
    return f"tensor({_element(kind.tensor_type.elem_type)})"


def parsed_type(text: str) -> TypeProto:
    """Read what `type_text` wrote."""
    word, _, rest = text.removesuffix(")").partition("(")
    if word == "map":
        key, _, value = rest.partition(",")
        key_type = TensorProto.DataType.Value(key.upper())
        return onnx.helper.make_map_type_proto(key_type, parsed_type(value))
    if word == "seq":
        return onnx.helper.make_sequence_type_proto(parsed_type(rest))
    if word == "optional":
        return onnx.helper.make_optional_type_proto(parsed_type(rest))
    return onnx.helper.make_tensor_type_proto(TensorProto.DataType.Value(rest.upper()), None)


def _element(kind: int) -> str:
    return TensorProto.DataType.Name(kind).lower()
