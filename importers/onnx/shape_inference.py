"""Shape inference by onnx, which also finds types and shapes that contradict each other."""

from __future__ import annotations

import re
from collections.abc import Iterator

import onnx
from onnx import GraphProto, ModelProto, NodeProto

from ...errors import InvalidModel
from .check import describe

_DECLARED = "Inferred shape and existing shape differ"


def infer(model: ModelProto) -> ModelProto:
    """Add inferred types and shapes.

    Shapes that the model declares for results of nodes are used only where they agree with the
    inferred ones, as in onnxruntime.

    Raises
    ------
    InvalidModel
        Types, shapes or attributes contradict each other; names the nodes.
    """
    for graph in (model.graph, *(GraphProto(node=f.node) for f in model.functions)):
        for inner in _graphs(graph):
            for node in inner.node:
                _check_safe(node)
    result = _strictly_inferred(model)
    if isinstance(result, ModelProto):
        return result
    if any(_DECLARED in line for line in result):
        _remove_declared_shapes(model.graph)
        result = _strictly_inferred(model)
        if isinstance(result, ModelProto):
            return result
    if conflicts := [_readable(line) for line in result if _is_conflict(line)]:
        raise InvalidModel("types or shapes conflict: " + "; ".join(conflicts))
    try:
        return onnx.shape_inference.infer_shapes(model)
    except Exception:
        return model


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _graphs(inner)


def _check_safe(node: NodeProto) -> None:
    """Refuse attributes with which onnx's inference would read outside its arrays."""
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


def _remove_declared_shapes(graph: GraphProto) -> None:
    for inner in _graphs(graph):
        del inner.value_info[:]
        for output in inner.output:
            if output.type.HasField("tensor_type"):
                output.type.tensor_type.ClearField("shape")


def _strictly_inferred(model: ModelProto) -> ModelProto | list[str]:
    """Return the model with types and shapes, or the error lines of onnx, which name nodes."""
    try:
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except Exception:
        named = ModelProto()
        named.CopyFrom(model)
    for graph in _graphs(named.graph):
        for node in graph.node:
            node.name = node.name or f"producing {', '.join(map(repr, node.output))}"
    try:
        return onnx.shape_inference.infer_shapes(named, check_type=True, strict_mode=True)
    except Exception as error:
        return [line for line in str(error).splitlines() if line]


def _is_conflict(line: str) -> bool:
    """Whether a line is about an error of the model, not about a limit or error of inference."""
    # Said of the bodies of operators that onnx defines as functions, some of which are wrong; and
    # where an input's type could not be inferred, as of initializers before IR version 4.
    inside = line.count("(op_type:") > 1 or "One and only one of the attributes" in line
    if inside or "but instead is null" in line:
        return False
    return "[ShapeInferenceError]" in line or "[TypeInferenceError]" in line


def _readable(line: str) -> str:
    """Turn ``(op_type:Add, node name: n): [ShapeInferenceError] why`` into a sentence."""
    line = re.sub(r"\[\w+InferenceError\] |Inference error\(s\): ", "", line)
    return re.sub(r"\(op_type:(\w+), node name: (.*?)\): ", r"\1 node \2: ", line)
