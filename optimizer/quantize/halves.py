"""Conversion of a float32 model to float16 or bfloat16: weights and what is computed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir

from ..edits import insert, new_constant, set_dtype, set_inputs
from ..values import constant, subgraphs

HALVES = {"fp16": ir.DataType.FLOAT16, "bf16": ir.DataType.BFLOAT16}
_KEPT = frozenset(
    {
        "Acos", "Acosh", "Asin", "Asinh", "Atanh", "Cosh", "CumProd", "CumSum", "Exp", "Log", "Pow",
        "Reciprocal", "Sinh", "Softplus", "Sqrt", "Tan",
        "LogSoftmax", "NegativeLogLikelihoodLoss", "Softmax", "SoftmaxCrossEntropyLoss",
        "BatchNormalization", "GroupNormalization", "InstanceNormalization", "LayerNormalization",
        "LpNormalization", "LRN", "MeanVarianceNormalization", "RMSNormalization",
        "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMean", "ReduceProd",
        "ReduceSum", "ReduceSumSquare", "Resize", "Upsample", "Range",
    }
)  # fmt: skip
"""Operators that compute in float32: those of PyTorch's automatic mixed precision (what sums many
numbers, or magnifies errors), and what computes positions."""
_HEAVY = frozenset(
    {
        "Attention", "Conv", "ConvTranspose", "DeformConv", "Einsum", "Gemm", "GRU", "LSTM",
        "MatMul", "RNN",
    }
)  # fmt: skip
"""Operators that take halves even of what was computed in float32."""


@dataclass
class Conversion:
    """What a conversion did.

    Attributes
    ----------
    count : int
        Nodes that compute in few bits.
    kept : int
        Nodes that could, and stay.
    clipped : list of str
        Constants with numbers beyond the range of the type, which became its largest.
    """

    count: int = 0
    kept: int = 0
    clipped: list[str] = field(default_factory=list)


def write_halves(
    model: ir.Model, kind: str, *, keep: Collection[str] = (), ports: bool = False
) -> Conversion:
    """Let a model compute in float16 or bfloat16 what it computes in float32, in place.

    Parameters
    ----------
    model : ir.Model
    kind : {"fp16", "bf16"}
    keep : collection of str
        Operators, or names of nodes, that stay float32, beside those that always do.
    ports : bool
        Whether inputs and outputs of the model change, too.

    Notes
    -----
    A node changes if the standard allows the type for a tensor that it takes; what has another type
    parameter, such as the scales of Resize, does not. As in automatic mixed precision, what reads a
    result of float32 computes in it, up to the next convolution or product: a mean of squares is
    no half before its root. Nodes with bodies stay, and so do these.
    """
    return _Writer(model, HALVES[kind], {*_KEPT, *keep}).write(ports)


class _Writer:
    def __init__(self, model: ir.Model, kind: ir.DataType, keep: Collection[str]) -> None:
        self._graph, self._kind, self._keep = model.graph, kind, keep
        self._opset = model.opset_imports.get("", 1)
        self._done = Conversion()
        self._wide: set[ir.Value] = set()
        self._others: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}

    def write(self, ports: bool) -> Conversion:
        if ports:
            for value in self._graph.inputs:
                if value.dtype == ir.DataType.FLOAT:
                    set_dtype(value, self._kind)
        results = {value: value.dtype for value in self._graph.outputs}
        for node in list(self._graph):
            self._convert(node)
        for value, before in results.items():
            if before == ir.DataType.FLOAT and not value.is_graph_input():
                self._give(value, self._kind if ports else before)
        return self._done

    def _convert(self, node: ir.Node) -> None:
        taken, made = _places(node, self._opset, self._kind)
        if taken and self._stays(node):
            self._done.kept += 1
            taken, made = set(), set()
        if not taken:
            self._wide.update(value for value in node.outputs if value.dtype == ir.DataType.FLOAT)
        self._done.count += bool(taken)
        for index, value in enumerate(node.inputs):
            if value is not None and value.dtype in (ir.DataType.FLOAT, self._kind):
                wanted = self._kind if index in taken else ir.DataType.FLOAT
                set_inputs(node, {index: self._as(value, wanted)})
        for index in made:
            if node.outputs[index].dtype == ir.DataType.FLOAT:
                set_dtype(node.outputs[index], self._kind)
        for body in subgraphs(node):
            self._widen_captures(body)

    def _stays(self, node: ir.Node) -> bool:
        """Whether a node computes in float32: by its operator, name, or what it reads is of those.

        A square stays, too: it overflows where numbers are beyond 255.
        """
        if node.op_type in self._keep or node.name in self._keep:
            return True
        is_square = node.op_type == "Mul" and node.inputs[0] is node.inputs[1]
        reads_wide = any(value in self._wide for value in node.inputs)
        return is_square or (reads_wide and node.op_type not in _HEAVY)

    def _as(self, value: ir.Value, kind: ir.DataType) -> ir.Value:
        """A value in a type: itself, a constant, or what a Cast makes for all that read it so."""
        if value.dtype == kind:
            return value
        if (value, kind) not in self._others:
            array = constant(value)
            name = f"{value.name}.{kind.name.lower()}"
            if array is not None:
                new = new_constant(self._graph, self._narrow(value, array), name)
            else:
                new = self._cast(value, kind, name)
            self._others[value, kind] = new
        return self._others[value, kind]

    def _cast(self, value: ir.Value, kind: ir.DataType, name: str) -> ir.Value:
        """Insert a Cast behind what makes a value."""
        node = ir.node("Cast", [value], {"to": int(kind)}, name=name)
        result, source = node.outputs[0], value.producer()
        result.name, result.type, result.shape = name, ir.TensorType(kind), value.shape
        if source is None:
            insert(self._graph[0], [node])
        else:
            self._graph.insert_after(source, [node])
        return result

    def _narrow(self, value: ir.Value, array: np.ndarray) -> np.ndarray:
        """Round a constant: what is finite stays so, and what is not zero."""
        info = ml_dtypes.finfo(self._kind.numpy())
        most, least = float(info.max), float(info.smallest_subnormal)
        is_large = np.isfinite(array) & (np.abs(array) > most)
        if is_large.any():
            self._done.clipped.append(str(value.name))
        limited = np.where(is_large, np.copysign(most, array), array)
        is_tiny = (array != 0) & (np.abs(array) < least)
        limited = np.where(is_tiny, np.copysign(least, array), limited)
        narrow: np.ndarray = limited.astype(self._kind.numpy())
        return narrow

    def _widen_captures(self, body: ir.Graph) -> None:
        """Let a body read what lies outside in float32."""
        for node in body.all_nodes():
            for index, value in enumerate(node.inputs):
                if value is not None and value.graph is self._graph and value.dtype == self._kind:
                    set_inputs(node, {index: self._as(value, ir.DataType.FLOAT)})
        for index, value in enumerate(body.outputs):
            if value.graph is self._graph and value.dtype == self._kind:
                body.outputs[index] = self._as(value, ir.DataType.FLOAT)

    def _give(self, value: ir.Value, kind: ir.DataType) -> None:
        """Let a result of the model have a type, and keep its name."""
        if value.dtype == kind:
            return
        name, value.name = str(value.name), f"{value.name}.inner"
        given = self._cast(value, kind, name)
        outputs = self._graph.outputs
        while value.is_graph_output():
            outputs[outputs.index(value)] = given


def _places(node: ir.Node, opset: int, kind: ir.DataType) -> tuple[set[int], set[int]]:
    """Return operands and results of a node that can be of a type; none of some operators."""
    floats = (ir.DataType.FLOAT, kind)
    states_type = any(name in node.attributes for name in ("to", "dtype", "output_dtype"))
    if node.domain or states_type or next(subgraphs(node), None) is not None:
        return set(), set()
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError:
        return set(), set()
    wanted = f"tensor({kind.name.lower()})"
    allowed = {
        each.type_param_str
        for each in schema.type_constraints
        if wanted in each.allowed_type_strs and not any("(seq" in t for t in each.allowed_type_strs)
    }
    taken = {
        index
        for index, value in enumerate(node.inputs)
        if value is not None
        and value.dtype in floats
        and isinstance(value.type, ir.TensorType)
        and _parameter(schema.inputs, index) in allowed
    }
    types = {_parameter(schema.inputs, index) for index in taken}
    made = {i for i in range(len(node.outputs)) if _parameter(schema.outputs, i) in types}
    return taken, made


def _parameter(formals: Collection[onnx.defs.OpSchema.FormalParameter], index: int) -> str:
    """Type parameter of an operand or result; the last one of a schema may be variadic."""
    parameters = list(formals)
    return str(parameters[min(index, len(parameters) - 1)].type_str) if parameters else ""
