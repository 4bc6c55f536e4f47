"""Models of one node, made of a drawn case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from .drawing import Case, Draw

Port = Callable[[int, str, Any], onnx.ValueInfoProto | None]
"""How an input of the node is declared, by index, name and value; None: it is a constant."""


def untyped(index: int, name: str, value: Any) -> onnx.ValueInfoProto:
    """Declare an input of the model, without a type."""
    return onnx.ValueInfoProto(name=name)


def constant(index: int, name: str, value: Any) -> None:
    """Make an initializer of an input."""


def typed(name: str, value: np.ndarray, is_open: Callable[[], bool]) -> onnx.ValueInfoProto:
    """Declare an input with its type and its sizes, but for those that are open."""
    kind = helper.np_dtype_to_tensor_dtype(value.dtype)
    dims = [f"{name}.{i}" if is_open() else n for i, n in enumerate(value.shape)]
    return helper.make_tensor_value_info(name, kind, dims)


def tensor(array: np.ndarray, name: str) -> onnx.TensorProto:
    """Return an array as an initializer."""
    if array.dtype.kind == "O":
        texts = [str(text).encode() for text in array.reshape(-1)]
        return helper.make_tensor(name, onnx.TensorProto.STRING, array.shape, texts)
    return numpy_helper.from_array(array, name)


def node_model(draw: Draw, case: Case, port: Port, opset: int = 0) -> onnx.ModelProto:
    """Make a model of a case, whose inputs are named x0, x1 and so on, and whose node is 'node'."""
    names, ports, nodes, weights = [], [], [], []
    for index, value in enumerate(case.inputs):
        name = "" if value is None else f"x{index}"
        names.append(name)
        if value is None:
            continue
        declared = port(index, name, value)
        if declared is not None:
            ports.append(declared)
        elif isinstance(value, list):
            parts = [f"{name}.{i}" for i in range(len(value))]
            weights += [tensor(v, n) for v, n in zip(value, parts, strict=True)]
            nodes.append(helper.make_node("SequenceConstruct", parts, [name]))
        else:
            weights.append(tensor(value, name))
    while names and not names[-1]:
        names.pop()
    results = [f"y{i}" for i in range(case.outputs)]
    nodes.append(
        helper.make_node(draw.name, names, results, "node", domain=draw.domain, **case.attributes)
    )
    outputs = [onnx.ValueInfoProto(name=name) for name in results]
    graph = helper.make_graph(nodes, "drawn", ports, outputs, weights)
    own = opset or draw.opset
    opsets = {"": 21, draw.domain: own}
    imports = [helper.make_opsetid(*item) for item in opsets.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)
