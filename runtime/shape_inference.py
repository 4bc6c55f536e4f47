"""Shape inference: the operators' shape rules describe all values of a model.

Each operator's own rule (``ops``) describes its outputs; for a node that has no kernel onnx does.
What it cannot tell, sizes that depend on data, gets a symbol, which is read off the result at run
time.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from ..dimension_names import dimension_name
from ..errors import InvalidModel
from . import symbolic
from .graph import (
    KNOWN_LIMIT,
    Graph,
    Info,
    NeedsContents,
    NeedsNumbers,
    Node,
    OnHost,
    dtype_name,
    known_array,
)
from .host_shapes import host_infos
from .ops import OPERATORS
from .ops.registry import Infer
from .symbolic import Dim, Symbol, product
from .validity import check_infos, check_node, naming


def infer_shapes(model: ir.Model) -> Graph:
    """Run the shape rules over all nodes.

    Parameters
    ----------
    model : onnx_ir.Model
        Topologically sorted, functions inlined.

    Raises
    ------
    InvalidModel, UnsupportedModel
        Naming the node.
    """
    source = model.graph
    initializers = {value.name for value in source.initializers.values()}
    inputs = [value for value in source.inputs if value.name not in initializers]
    opsets = dict(source.opset_imports or model.opset_imports)
    graph = Graph(opsets, inputs, list(source.outputs))
    for value in inputs:
        graph.infos[value] = _input_info(value)
    for value in source.initializers.values():
        graph.infos[value] = _constant_info(value)
    for index, item in enumerate(source):
        node = Node(item, graph.infos, opsets.get(item.domain, 1), index)
        _infer_node(graph, node)
        graph.nodes.append(node)
        graph.index_of[item] = index
    return graph


def _input_info(value: ir.Value) -> Info:
    dtype = dtype_name(value.dtype)
    if isinstance(value.type, ir.SequenceType | ir.OptionalType):
        dtype = "object"
    name = value.name or ""
    if value.shape is None:
        return Info(name, dtype, None)
    dims: list[Dim] = []
    for axis, dim in enumerate(value.shape):
        if isinstance(dim, int) and dim >= 0:
            dims.append(dim)
            continue
        label = dimension_name(dim.value) if isinstance(dim, ir.SymbolicDim) else None
        own = symbolic.symbol(f"{name}.{axis}", "input")
        dims.append(own if label is None else symbolic.symbol(label))
    return Info(name, dtype, tuple(dims))


def _constant_info(value: ir.Value) -> Info:
    array = value.const_value
    if array is None:
        raise InvalidModel(f"initializer {value.name!r} has no data")
    dtype = dtype_name(array.dtype)
    shape = tuple(int(dim) for dim in array.shape.numpy())
    info = Info(value.name or "", dtype, shape, constant=array)
    if dtype in ("int64", "int32") and product(shape) <= KNOWN_LIMIT:  # type: ignore[operator]
        info.known = known_array([int(v) for v in info.array().reshape(-1)], shape)
    return info


def _infer_node(graph: Graph, node: Node) -> None:
    operator = OPERATORS.get(node.key)
    with naming(node):
        check_node(node)
    try:
        if operator is None or operator.infer is None:
            raise OnHost("no kernel for this operator yet")
        if any(info is not None and info.dtype == "object" for info in node.inputs):
            raise OnHost("an input is not a plain numeric tensor")
        unknown = [info.name for info in node.inputs if info is not None and info.shape is None]
        if unknown:
            raise OnHost(f"the rank of {unknown[0]!r} is unknown")
        if operator.term is not None and not _is_finite(node):
            raise OnHost("an attribute is not finite")
        with naming(node):
            node.infos = _described(graph, node, operator.infer)
    except OnHost as reason:
        node.infos = host_infos(node, graph.opsets)
        graph.why_host[node.index] = str(reason)
        if isinstance(reason, NeedsNumbers):
            graph.needed_numbers[node.index] = reason.sizes
        fresh = graph.read_sizes[node.index] = _fresh_symbols(node)
        graph.known_after.update({symbol: node.index for *_, symbol in fresh})
    check_infos(node)
    for value, info in zip(node.outputs, node.infos, strict=False):
        graph.infos[value] = info


def _described(graph: Graph, node: Node, infer: Infer) -> list[Info]:
    """Describe the outputs by a shape rule, for which elements of inputs become sizes."""
    before, read = list(node.inputs), []
    while True:
        node.counted.clear()
        try:
            infos = infer(node)
            break
        except NeedsContents as need:
            try:
                read.append(_as_sizes(node, need.info))
                check_node(node)
            except OnHost:
                node.inputs = before
                raise
        except OnHost:
            node.inputs = before
            raise
    if read:
        graph.readings[node.index] = [(value, symbols) for value, _, symbols in read]
    for value, info, symbols in read:
        graph.infos[value] = info  # for later nodes; the node that gives the value has its own
        graph.known_after.update(dict.fromkeys(symbols, node.index - 1))
    graph.known_after.update(dict.fromkeys(node.counted, node.index))
    return infos


def _as_sizes(node: Node, info: Info) -> tuple[ir.Value, Info, list[Symbol]]:
    """Let the elements of an input be symbols; returns the value, what is known of it, and these.

    Raises
    ------
    OnHost
        They are no integers, or it is not known how many.
    """
    position = next(i for i, other in enumerate(node.inputs) if other is info)
    value, count = node.values[position], product(info.dims)
    assert value is not None
    if info.dtype not in ("int64", "int32") or not isinstance(count, int) or count > KNOWN_LIMIT:
        raise OnHost(f"{info.name!r} is known only at run time")
    names = [f"{node.index}.{position}.{i}" for i in range(count)]
    dims = [symbolic.symbol(name, "content") for name in names]
    shape = tuple(int(dim) for dim in info.dims)  # type: ignore[arg-type]
    told = replace(info, known=known_array(dims, shape))
    node.inputs = [told if other is info else other for other in node.inputs]
    return value, told, [symbol for dim in dims for symbol in symbolic.symbols_in(dim)]


def _is_finite(node: Node) -> bool:
    """Tell whether all attributes can be written as literals of the pointwise language."""
    floats = [a.value for a in node.ir.attributes.values() if a.type == ir.AttributeType.FLOAT]
    return all(np.isfinite(value) for value in floats)


def _fresh_symbols(node: Node) -> list[tuple[int, int, Symbol]]:
    """Give unknown dimensions of a host result a symbol; lists (output, axis, symbol)."""
    fresh = []
    for position, info in enumerate(node.infos):
        if not node.outputs[position].name:
            info.shape = None  # not wanted: the operator gives nothing to read sizes off
        if info.shape is None:
            continue
        dims = list(info.shape)
        for axis, dim in enumerate(dims):
            if isinstance(dim, int):
                continue
            symbol = f"result:{node.index}.{position}.{axis}"
            dims[axis] = symbolic.of_symbol(symbol)
            fresh.append((position, axis, symbol))
        info.shape = tuple(dims)
    return fresh
