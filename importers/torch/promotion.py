"""Type promotion of numbers beside tensors, which PyTorch's exporter leaves out.

A 0-dimensional tensor takes part in type promotion as a number does: it changes no float tensor
(https://docs.pytorch.org/docs/stable/tensor_attributes.html). Operators of ONNX want one type.
"""

from __future__ import annotations

import onnx_ir as ir

_ONE_TYPE = (
    "Add", "Sub", "Mul", "Div", "Mod", "Pow", "Max", "Min", "Where",
    "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual",
)  # fmt: skip
"""Operators whose last two inputs are of one type; Pow may have two, but its result the first."""


def promote_numbers(graph: ir.Graph) -> None:
    """Give integers beside floats the type of these."""
    for node in list(graph):
        if node.op_type not in _ONE_TYPE or node.domain or len(node.inputs) < 2:
            continue
        last = len(node.inputs) - 1
        for index, beside in ((last, last - 1), (last - 1, last)):
            value, other = node.inputs[index], node.inputs[beside]
            if value is None or other is None or not _is_integer(value):
                continue
            if other.dtype is not None and other.dtype.is_floating_point():
                name = f"{value.name}_{other.dtype.name.lower()}"
                if name not in graph.initializers:
                    graph.initializers[name] = _as(value, other.dtype, name)
                node.replace_input_with(index, graph.initializers[name])
                if node.op_type == "Pow":
                    node.outputs[0].dtype = other.dtype


def _is_integer(value: ir.Value) -> bool:
    constant = value.const_value
    return constant is not None and not constant.shape.rank() and constant.dtype.is_integer()


def _as(value: ir.Value, dtype: ir.DataType, name: str) -> ir.Value:
    assert value.const_value is not None
    array = value.const_value.numpy().astype(dtype.numpy())
    return ir.Value(
        name=name,
        const_value=ir.tensor(array, dtype, name),
        type=ir.TensorType(dtype),
        shape=ir.Shape(()),
    )
