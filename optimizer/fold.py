"""Constant folding: nodes whose inputs are all constant are computed once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from .edits import new_constant, remove, replace_uses
from .operators import lookup
from .report import Report
from .values import constant, static_shape, subgraphs

SIZE_LIMIT = 1 << 20
"""Bytes a folded result may have, unless it is no larger than the inputs."""


def fold_constants(model: ir.Model, report: Report) -> int:
    """Replace constant nodes by initializers; returns their number."""
    return sum(_fold_graph(model, graph, report) for graph in model.graphs())


def _fold_graph(model: ir.Model, graph: ir.Graph, report: Report) -> int:
    count = 0
    for node in list(graph):
        if not _is_foldable(node):
            continue
        arrays = [constant(value) for value in node.inputs]
        missing = any(
            value is not None and array is None
            for value, array in zip(node.inputs, arrays, strict=True)
        )
        if missing or any(value.is_graph_output() for value in node.outputs):
            continue
        limit = max(SIZE_LIMIT, sum(a.nbytes for a in arrays if a is not None))
        if _known_bytes(node) <= limit:  # else it is not even computed
            results = _evaluate(node, arrays, model)
            if results is None or not all(_is_plain(result) for result in results):
                continue
            if sum(r.nbytes for r in results) <= limit:
                _store(graph, node, results)
                count += 1
                continue
        report.explain(f"{node.op_type} {node.name!r} not folded: the result is over {limit} bytes")
    return count


def _is_foldable(node: ir.Node) -> bool:
    if node.domain or not node.outputs or any(subgraphs(node)):
        return False
    operator = lookup(node)
    return operator.deterministic and operator.foldable


def _known_bytes(node: ir.Node) -> int:
    """Bytes of the results, as far as their shapes are known."""
    total = 0
    for value in node.outputs:
        shape = static_shape(value)
        if shape is not None and value.dtype is not None and value.dtype != ir.DataType.STRING:
            total += math.prod(shape) * value.dtype.numpy().itemsize
    return total


def _is_plain(result: Any) -> bool:
    """Tell arrays of numpy's own numbers from sequences, strings, bfloat16 and the like."""
    return isinstance(result, np.ndarray) and result.dtype.kind in "fiub"


def _evaluate(node: ir.Node, arrays: list[Any], model: ir.Model) -> list[Any] | None:
    if any(array is not None and array.dtype.kind not in "fiub" for array in arrays):
        return None
    proto = ir.serde.serialize_node(node)
    # Names of its own: those of the model may be there twice until they are made unique.
    feeds = {f"in{i}": array for i, array in enumerate(arrays) if array is not None}
    del proto.input[:]
    proto.input.extend("" if array is None else f"in{i}" for i, array in enumerate(arrays))
    names = [f"out{i}" if value.name else "" for i, value in enumerate(node.outputs)]
    del proto.output[:]
    proto.output.extend(names)
    graph = onnx.helper.make_graph(
        [proto],
        "fold",
        [onnx.ValueInfoProto(name=name) for name in feeds],
        [onnx.ValueInfoProto(name=name) for name in names if name],
    )
    imports = [onnx.helper.make_opsetid(d, v) for d, v in model.opset_imports.items()]
    try:
        model_of_node = onnx.helper.make_model(graph, opset_imports=imports)
        results: Any = ReferenceEvaluator(model_of_node).run(None, feeds)
    except Exception:  # the reference refuses: the node stays, and fails, if ever, when it runs
        return None
    return [np.asarray(r) if isinstance(r, np.generic) else r for r in results]


def _store(graph: ir.Graph, node: ir.Node, results: list[np.ndarray]) -> None:
    outputs = [value for value in node.outputs if value.name]
    for old, array in zip(outputs, results, strict=True):
        value = new_constant(graph, array, f"{old.name}.folded")
        replace_uses(old, value)
    remove(node)
