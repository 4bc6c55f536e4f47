"""Constant folding: nodes whose inputs are all constant are computed once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from .hygiene import constant

if TYPE_CHECKING:
    from .pipeline import Report

SIZE_LIMIT = 1 << 20
"""Bytes a folded result may have, unless it is no larger than what it was made of."""

_NEVER = frozenset(
    [
        "RandomNormal",
        "RandomUniform",
        "RandomNormalLike",
        "RandomUniformLike",
        "Multinomial",
        "Bernoulli",
        "If",
        "Loop",
        "Scan",
        "SequenceMap",
        "QuantizeLinear",
        "DequantizeLinear",
    ]
)


def fold_constants(model: ir.Model, report: Report) -> int:
    """Replace constant nodes by initializers; returns their number."""
    count = 0
    for node in list(model.graph):
        if node.domain or node.op_type in _NEVER or not node.outputs:
            continue
        arrays = [constant(value) for value in node.inputs]
        missing = any(
            value is not None and array is None
            for value, array in zip(node.inputs, arrays, strict=True)
        )
        if missing or any(value.is_graph_output() for value in node.outputs):
            continue
        results = _evaluate(node, arrays, model)
        if results is None or not all(isinstance(r, np.ndarray) for r in results):
            continue
        limit = max(SIZE_LIMIT, sum(a.nbytes for a in arrays if a is not None))
        if sum(r.nbytes for r in results) > limit:
            report.explain(f"{node.name}: not folded, the result is over {limit} bytes")
            continue
        _store(model, node, results)
        count += 1
    return count


def _evaluate(node: ir.Node, arrays: list[Any], model: ir.Model) -> list[Any] | None:
    if any(array is not None and array.dtype.kind not in "fiub" for array in arrays):
        return None
    proto = ir.to_proto(node)
    names = dict.fromkeys(filter(None, proto.input))
    graph = onnx.helper.make_graph(
        [proto],
        "fold",
        [onnx.ValueInfoProto(name=name) for name in names],
        [onnx.ValueInfoProto(name=name) for name in proto.output if name],
    )
    imports = [onnx.helper.make_opsetid(d, v) for d, v in model.opset_imports.items()]
    feeds = {name: a for name, a in zip(proto.input, arrays, strict=True) if name}
    try:
        made = onnx.helper.make_model(graph, opset_imports=imports)
        results: Any = ReferenceEvaluator(made).run(None, feeds)
    except Exception:  # the reference refuses: the node stays, and fails, if ever, when it runs
        return None
    arrays = [np.asarray(r) if isinstance(r, np.generic) else r for r in results]
    # Types that numpy lacks, such as bfloat16, are left to the runtime.
    plain = all(isinstance(a, np.ndarray) and a.dtype.kind in "fiub" for a in arrays)
    return arrays if plain else None


def _store(model: ir.Model, node: ir.Node, results: list[np.ndarray]) -> None:
    outputs = [value for value in node.outputs if value.name]
    for old, array in zip(outputs, results, strict=True):
        value = new_constant(model, array, f"{old.name}.folded")
        ir.convenience.replace_all_uses_with(old, value)
    model.graph.remove(node, safe=True)


def new_constant(model: ir.Model, array: np.ndarray, name: str) -> ir.Value:
    """Add an initializer under a name that is not taken yet."""
    taken = model.graph.initializers
    unique, number = name, 1
    while unique in taken:
        unique, number = f"{name}.{number}", number + 1
    tensor = ir.tensor(np.ascontiguousarray(array).reshape(array.shape), name=unique)
    shape = ir.Shape(array.shape)
    value = ir.Value(name=unique, shape=shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
    model.graph.register_initializer(value)
    return value
