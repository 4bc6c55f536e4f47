"""Constant folding: nodes whose inputs are all constant are computed once.

What a result takes, and what computing it costs, is known before it is computed: a model of a few
bytes must not fill memory, or keep a session from opening.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir

from ..given_numbers import whole
from .costs import Cost, cost
from .edits import new_constant, remove, replace_uses
from .operators import lookup
from .report import Report
from .small_weights import is_small
from .values import constant, graphs, subgraphs

FOLD_LIMIT = 1 << 20
"""Bytes a folded result may have, unless it is no larger than the inputs."""

_WORK_LIMIT = 1 << 28
"""Operations that computing a node may take, about a third of a second."""

_OF_NARROW_TYPES = ("DequantizeLinear", "QuantizeLinear", "Reshape", "Transpose")
"""Operators that are computed ahead for such types, too: weights behind QuantizeLinear."""

_NARROW = frozenset(
    np.dtype(kind)
    for kind in (
        ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e4m3fnuz, ml_dtypes.float8_e5m2,
        ml_dtypes.float8_e5m2fnuz, ml_dtypes.float4_e2m1fn, ml_dtypes.int4, ml_dtypes.uint4,
        ml_dtypes.int2, ml_dtypes.uint2,
    )
)  # fmt: skip

_NODES = 64
"""Nodes as expensive as the limits allow that are folded at most."""


def fold_constants(model: ir.Model, report: Report, limit: int = FOLD_LIMIT) -> int:
    """Replace constant nodes by initializers; returns their number.

    Parameters
    ----------
    model : onnx_ir.Model
    report : Report
    limit : int
        Bytes a folded result may have, unless it is no larger than the inputs.
    """
    budget = _Budget(model, limit)
    return sum(_fold_graph(model, graph, report, budget) for graph in graphs(model))


def checked_limit(limit: Any) -> int:
    """Return a limit; raise `InvalidArgument` unless it is a number of bytes."""
    return whole(limit, "fold_limit must be a number of bytes")


class _Budget:
    """What may still be computed ahead."""

    def __init__(self, model: ir.Model, limit: int) -> None:
        tensors = [v.const_value for graph in graphs(model) for v in graph.initializers.values()]
        self.limit = limit
        self.size = _NODES * limit + 4 * sum(tensor.nbytes for tensor in tensors if tensor)
        self.work = _NODES * _WORK_LIMIT

    def refusal(self, price: Cost | None, given: int) -> str:
        """Return why a node with so many bytes of inputs is too expensive, "" if it is not."""
        if price is None:
            return "the size of the result is not known before it is computed"
        if price.size > max(self.limit, given):
            return f"the result is over {max(self.limit, given)} bytes"
        if price.work > _WORK_LIMIT:
            return f"it takes {price.work:.1e} operations"
        if price.size > self.size or price.work > self.work:
            return "as much as is allowed has been computed"
        self.size -= price.size
        self.work -= price.work
        return ""


def _fold_graph(model: ir.Model, graph: ir.Graph, report: Report, budget: _Budget) -> int:
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
        is_usable = _is_number if node.op_type in _OF_NARROW_TYPES else _is_plain
        if any(array is not None and not is_usable(array) for array in arrays):
            continue
        if node.op_type in ("Div", "Mod") and _traps([a for a in arrays if a is not None]):
            continue
        proto = _standalone(node, arrays)
        version = model.opset_imports.get("", 1)
        given = sum(array.nbytes for array in arrays if array is not None)
        reason = budget.refusal(cost(proto, node, version, arrays), given)
        if reason:
            report.explain(f"{node.op_type} {node.name!r} not folded: {reason}")
            continue
        results = _evaluate(proto, arrays, version)
        if results is not None and all(is_usable(result) for result in results):
            _store(graph, node, results)
            count += 1
    return count


def _is_foldable(node: ir.Node) -> bool:
    if node.domain or not node.outputs or any(subgraphs(node)):
        return False
    operator = lookup(node)
    return operator.deterministic and operator.foldable and not is_small(node)


def _traps(operands: list[np.ndarray]) -> bool:
    """Tell whether a division of integers is by zero, or of the smallest number by -1."""
    dividend, divisor = operands
    if divisor.dtype.kind not in "iu":
        return False
    least = np.iinfo(dividend.dtype).min
    overflows = bool(least) and ((divisor == -1) & (dividend == least)).any()
    return bool((divisor == 0).any() or overflows)


def _is_plain(result: Any) -> bool:
    """Tell arrays of numpy's own numbers from sequences, strings, bfloat16 and the like."""
    return isinstance(result, np.ndarray) and result.dtype.kind in "fiub"


def _is_number(result: Any) -> bool:
    """Tell arrays of numbers, those of float8 and int4 too."""
    return _is_plain(result) or (isinstance(result, np.ndarray) and result.dtype in _NARROW)


def _standalone(node: ir.Node, arrays: list[Any]) -> onnx.NodeProto:
    """Return a node with names of its own: those of the model may be there twice."""
    proto = ir.serde.serialize_node(node)
    del proto.input[:]
    proto.input.extend("" if array is None else f"in{i}" for i, array in enumerate(arrays))
    names = [f"out{i}" if value.name else "" for i, value in enumerate(node.outputs)]
    del proto.output[:]
    proto.output.extend(names)
    return proto


def _evaluate(proto: onnx.NodeProto, arrays: list[Any], version: int) -> list[Any] | None:
    from ..reference import evaluator  # onnx's reference implementation takes 20 MB

    feeds = {f"in{i}": array for i, array in enumerate(arrays) if array is not None}
    graph = onnx.helper.make_graph(
        [proto],
        "fold",
        [onnx.ValueInfoProto(name=name) for name in feeds],
        [onnx.ValueInfoProto(name=name) for name in proto.output if name],
    )
    undefined: list[str] = []
    try:
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", version)])
        watched: Any = dict.fromkeys(("divide", "over", "invalid"), "call")
        with np.errstate(call=lambda kind, _: undefined.append(kind), **watched):
            results: Any = evaluator(model).run(None, feeds)
    except Exception:  # the reference refuses: the node stays, and fails, if ever, when it runs
        return None
    if undefined and any(np.asarray(result).dtype.kind in "iu" for result in results):
        return None  # a cast of infinity, say, which runtimes answer in different ways
    return [np.asarray(r) if isinstance(r, np.generic) else r for r in results]


def _store(graph: ir.Graph, node: ir.Node, results: list[np.ndarray]) -> None:
    outputs = [value for value in node.outputs if value.name]
    for old, array in zip(outputs, results, strict=True):
        value = new_constant(graph, array, f"{old.name}.folded")
        replace_uses(old, value)
    remove(node)
