"""Shape inference by onnx, which also finds types and shapes that contradict each other.

What a model declares of its results is no proof: exporters write the sizes of an example, or name
sizes alike that differ. So shapes of all values but the inputs are inferred anew.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TypeProto, ValueInfoProto

from ...custom_inference import infer_protobuf, known_to_onnx
from ...errors import InvalidModel
from .check import describe
from .loop_states import GENERATED, with_loop_states
from .scopes import graphs_inside, inner_graphs

_MOST_NAMED = 8
"""Nodes that an error names of those that may have it."""


def infer(model: ModelProto, trusted: bool = False) -> ModelProto:
    """Replace declared types and shapes by inferred ones.

    Shapes are those that follow from the inputs' alone. Of declared shapes only names that claim
    nothing stay: those of single sizes of the model's outputs. Where they are ``trusted``, because
    the framework that wrote them guards them, they stay unless they contradict the inferred ones.

    Raises
    ------
    InvalidModel
        Types, shapes or attributes contradict each other; names the nodes.
    """
    for nodes in (model.graph.node, *(function.node for function in model.functions)):
        _check_safe(nodes)
        for graph in graphs_inside(nodes):
            _check_safe(graph.node)
    # Before IR version 4 all initializers were inputs, and onnx infers nothing from others.
    model.ir_version = max(model.ir_version, 4)
    labels = _labels(model.graph)
    if trusted and (consistent := _consistent(model)) is not None:
        return consistent
    _forget_declared_shapes(model)
    result = _strictly_inferred(model)
    if isinstance(result, ModelProto):
        result = with_loop_states(model, result, _consistent)
    else:
        if conflicts := [_readable(line, model) for line in result if _is_conflict(line)]:
            raise InvalidModel("types or shapes conflict: " + "; ".join(conflicts))
        try:
            with known_to_onnx():
                result = infer_protobuf(model)
        except Exception:
            result = model
    _name_sizes(result.graph, labels)
    return result


def _check_safe(nodes: Iterable[NodeProto]) -> None:
    """Refuse attributes with which onnx's inference would read outside its arrays."""
    for node in nodes:
        numbers = {attribute.name: attribute.i for attribute in node.attribute}
        if node.op_type == "GatherND" and numbers.get("batch_dims", 0) < 0:
            raise InvalidModel(
                f"{describe(node)}: attribute 'batch_dims' is {numbers['batch_dims']}, "
                "expected 0 or more"
            )
        parts = len(node.output)
        if node.op_type == "Split" and numbers.get("num_outputs", parts) != parts:
            raise InvalidModel(
                f"{describe(node)}: attribute 'num_outputs' is {numbers['num_outputs']}, "
                f"expected {parts}"
            )


_DECIDED = {"Loop": 2, "SequenceMap": 1 << 30}
"""How many inputs of a body keep the shapes that they declare."""


def _forget_declared_shapes(model: ModelProto) -> None:
    """Keep shapes of nothing but the model's inputs, and of no elements of sequences."""
    for value in model.graph.input:
        if not value.type.HasField("tensor_type"):
            _forget_shape(value.type)
    for value in (*model.graph.value_info, *model.graph.output):
        _forget_shape(value.type)
    _forget_inside(model.graph.node)
    for function in model.functions:
        del function.value_info[:]
        _forget_inside(function.node)


def _forget_inside(nodes: Iterable[NodeProto]) -> None:
    for node in nodes:
        # The number of the step and the condition of a Loop may be scalars or vectors, elements of
        # the sequences of a SequenceMap of any rank: the declaration decides.
        decided = _DECIDED.get(node.op_type, 0)
        for graph in inner_graphs(node):
            for value in (*graph.input[decided:], *graph.output, *graph.value_info):
                _forget_shape(value.type)
            _forget_inside(graph.node)


def _forget_shape(kind: TypeProto) -> None:
    if kind.HasField("tensor_type"):
        kind.tensor_type.ClearField("shape")
    elif kind.HasField("sparse_tensor_type"):
        kind.sparse_tensor_type.ClearField("shape")
    elif kind.HasField("sequence_type"):
        _forget_shape(kind.sequence_type.elem_type)
    elif kind.HasField("optional_type"):
        _forget_shape(kind.optional_type.elem_type)
    elif kind.HasField("map_type"):
        _forget_shape(kind.map_type.value_type)


def _labels(graph: GraphProto) -> dict[str, list[str]]:
    """Names that outputs declare for their sizes; "" for those that two sizes share."""
    inputs = {name for value in graph.input for name in _size_names(value)}
    declared = {value.name: _size_names(value) for value in graph.output}
    count = Counter(name for names in declared.values() for name in names)
    return {
        output: [name if count[name] == 1 and name not in inputs else "" for name in names]
        for output, names in declared.items()
    }


def _size_names(value: ValueInfoProto) -> list[str]:
    return [dim.dim_param for dim in value.type.tensor_type.shape.dim]


def _name_sizes(graph: GraphProto, labels: dict[str, list[str]]) -> None:
    """Call sizes that could not be computed as the outputs call them, wherever they are."""
    fixed = {name for value in graph.input for name in _size_names(value)}
    new: dict[str, str] = {}
    for output in graph.output:
        names, dims = labels.get(output.name, []), output.type.tensor_type.shape.dim
        if len(names) != len(dims):
            continue
        for label, dim in zip(names, dims, strict=True):
            name = dim.dim_param
            if label and name.startswith(GENERATED) and name not in fixed:
                new.setdefault(name, label)
            elif label and dim.WhichOneof("value") is None:
                dim.dim_param = label
    for inner in (graph, *graphs_inside(graph.node)) if new else ():
        for value in (*inner.input, *inner.output, *inner.value_info):
            for dim in value.type.tensor_type.shape.dim:
                if dim.dim_param in new:
                    dim.dim_param = new[dim.dim_param]


@known_to_onnx()
def _strictly_inferred(model: ModelProto) -> ModelProto | list[str]:
    """Return the model with types and shapes, or the error lines of onnx, which name nodes."""
    try:
        return infer_protobuf(model, check_type=True, strict_mode=True)
    except Exception:
        named = ModelProto()
        named.CopyFrom(model)
    for graph in (named.graph, *graphs_inside(named.graph.node)):
        for node in graph.node:
            node.name = node.name or f"producing {', '.join(map(repr, node.output))}"
    try:
        return infer_protobuf(named, check_type=True, strict_mode=True)
    except Exception as error:
        return [line for line in str(error).splitlines() if line]


def _consistent(model: ModelProto) -> ModelProto | None:
    result = _strictly_inferred(model)
    return result if isinstance(result, ModelProto) else None


def _is_conflict(line: str) -> bool:
    """Whether a line is about an error of the model, not about a limit or error of inference."""
    # Said of the bodies of operators that onnx defines as functions, some of which are wrong; and
    # where an input's type could not be inferred, as of initializers before IR version 4.
    inside = line.count("(op_type:") > 1 or "One and only one of the attributes" in line
    if inside or "but instead is null" in line:
        return False
    return "[ShapeInferenceError]" in line or "[TypeInferenceError]" in line


def _readable(line: str, model: ModelProto) -> str:
    """Turn ``(op_type:Add, node name: n): [ShapeInferenceError] why`` into a sentence.

    Only nodes in the body of an operator have no names: then the nodes are named that have a body.
    """
    if inner := re.match(r"\(op_type:(\w+)\): ", line):
        graphs = [model.graph, *graphs_inside(model.graph.node)]
        outer = [describe(node) for graph in graphs for node in graph.node if _has_body(node)]
        more = f" or {len(outer) - _MOST_NAMED} others" if len(outer) > _MOST_NAMED else ""
        named = " or ".join(outer[:_MOST_NAMED]) + more
        line = f"{named}: in its body, {inner[1]}: {line[inner.end() :]}"
    line = re.sub(r"\[\w+InferenceError\] |Inference error\(s\): ", "", line)
    line = re.sub(r"\(op_type:(\w+), node name: (.*?)\): ", r"\1 node \2: ", line)
    return line + _operands(line, model)


def _operands(line: str, model: ModelProto) -> str:
    """Name the inputs of the node that a line is about, of which it names the formal ones."""
    made = re.search(r"producing '(.*?)'", line)
    named = re.match(r"(\w+) node (.+?): ", line)
    for graph in [model.graph, *graphs_inside(model.graph.node)] if made or named else []:
        for node in graph.node:
            is_it = named and named.groups() == (node.op_type, node.name)
            if made[1] in node.output if made else is_it:
                return f" (its inputs are {', '.join(map(repr, node.input))})"
    return ""


def _has_body(node: NodeProto) -> bool:
    """Tell whether the standard defines an operator by others."""
    if node.domain or not onnx.defs.has(node.op_type):
        return False
    schema: Any = onnx.defs.get_schema(node.op_type)
    return bool(schema.has_function or schema.has_context_dependent_function)
