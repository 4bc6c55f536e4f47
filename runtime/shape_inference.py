"""Shape inference: the operators' shape rules describe all values of a model.

Each operator's own rule (``ops``) describes its outputs; for a node that has no kernel onnx does.
What it cannot tell, sizes that depend on data, gets a symbol, which is read off the result at run
time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from ..dimension_names import dimension_name
from ..errors import InvalidModel
from . import symbolic
from .element_types import NARROW
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
    numbers_of,
    refuse,
)
from .host_shapes import host_infos
from .ops import OPERATORS
from .ops.custom import enter_custom_operators
from .ops.registry import Infer, Operator
from .symbolic import Dim, Symbol, product
from .validity import check_infos, check_node, naming

_CONTRIB = "com.microsoft"


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
    enter_custom_operators()
    source = model.graph
    initializers = {value.name for value in source.initializers.values()}
    inputs = [value for value in source.inputs if value.name not in initializers]
    opsets = dict(source.opset_imports or model.opset_imports)
    graph = Graph(opsets, inputs, list(source.outputs))
    for value in inputs:
        graph.infos[value] = _input_info(value)
    infer_nodes(graph, source)
    return graph


def infer_nodes(graph: Graph, source: ir.Graph) -> None:
    """Run the shape rules over the nodes of a graph, whose inputs are described."""
    for node in _nodes_of(graph, source):
        _infer_node(graph, node)


def _nodes_of(graph: Graph, source: ir.Graph) -> Iterator[Node]:
    """Add the constants and the nodes of a graph; yields each node, to be inferred."""
    for value in source.initializers.values():
        graph.infos[value] = _constant_info(value, value.const_value)
    for item in source:
        if (array := _constant_of(item)) is not None:
            graph.infos[item.outputs[0]] = _constant_info(item.outputs[0], array)
            continue
        node = Node(item, graph.infos, graph.opsets.get(item.domain, 1), len(graph.nodes))
        yield node
        graph.index_of[item] = node.index
        graph.nodes.append(node)


def _constant_of(node: ir.Node) -> ir.TensorProtocol | None:
    """Return what a node Constant gives, where one is left."""
    if (node.domain, node.op_type) != ("", "Constant"):
        return None
    with suppress(ValueError):  # an attribute of another kind, or several
        return ir.convenience.get_const_tensor(node.outputs[0])
    return None


def _infer_body(outer: Graph, node: Node, name: str, inputs: Sequence[Info]) -> Graph:
    """Run the shape rules over the body of a node.

    Raises
    ------
    OnHost
        A node of the body has no kernel, or is not valid, which is no fault if it never runs.
    """
    source = body_of(node, name, len(inputs))
    graph = Graph(
        outer.opsets, list(source.inputs), list(source.outputs), outer.infos,
        contents=outer.contents, reads=False,
    )  # fmt: skip
    for value, info in zip(source.inputs, inputs, strict=True):
        graph.infos[value] = Info(value.name or "", info.dtype, info.shape)
    for inner in _nodes_of(graph, source):
        try:
            _infer_node(graph, inner)
        except InvalidModel as error:
            raise OnHost(f"its {name}: {error}") from error
        if inner.index in graph.why_host:
            reason = f"{inner.name!r} ({inner.op_type}) in its {name}: "
            reason += graph.why_host[inner.index]
            if sizes := graph.needed_numbers.get(inner.index):
                raise NeedsNumbers(reason, sizes)
            raise OnHost(reason)
        _demand_sizes(inner)
    return graph


def body_of(node: Node, name: str, inputs: int) -> ir.Graph:
    """Return the body of a node that an attribute holds, and refuse one of other inputs."""
    graph = node.ir.attributes[name].as_graph()
    if len(graph.inputs) != inputs:
        refuse(node, f"number of inputs of {name!r}", len(graph.inputs), str(inputs))
    return graph


def _demand_sizes(node: Node) -> None:
    """Note sizes that may be below zero where a body never runs, and count them as 0 there."""
    for info in node.infos:
        dims = info.shape or ()
        node.demands += [dim for dim in dims if not symbolic.is_natural(dim)]
        if info.shape is not None:
            info.shape = tuple(
                dim if symbolic.is_natural(dim) else symbolic.maximum(dim, 0) for dim in dims
            )


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


def _constant_info(value: ir.Value, array: ir.TensorProtocol | None) -> Info:
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
            is_custom = operator is not None and operator.describe is not None
            raise OnHost("a function of arrays" if is_custom else "no kernel for this operator yet")
        for info in node.inputs:
            if info is not None and not _is_taken(operator, info):
                raise OnHost("an input is not a plain numeric tensor")
        unknown = [info.name for info in node.inputs if info is not None and info.shape is None]
        if unknown:
            raise OnHost(f"the rank of {unknown[0]!r} is unknown")
        if operator.term is not None and not _is_finite(node):
            raise OnHost("an attribute is not finite")
        with naming(node):
            for name, given in (operator.bodies(node) if operator.bodies else {}).items():
                node.bodies[name] = _infer_body(graph, node, name, given.infos)
            node.infos = _described(graph, node, operator.infer)
    except OnHost as reason:
        if operator is not None and operator.describe is not None:
            with naming(node):
                node.infos = operator.describe(node)
        elif operator is not None and node.ir.domain == _CONTRIB:
            # onnx has no schema of these; results are of the first input's type.
            node.infos = [node.result(None, index=i) for i in range(len(node.outputs))]
        else:
            node.infos = host_infos(node, graph.opsets)
        graph.why_host[node.index] = str(reason)
        if isinstance(reason, NeedsNumbers):
            graph.needed_numbers[node.index] = reason.sizes
        fresh = graph.read_sizes[node.index] = _fresh_symbols(node)
        graph.known_after.update({symbol: node.index for *_, symbol in fresh})
    check_infos(node)
    for value, info in zip(node.outputs, node.infos, strict=False):
        graph.infos[value] = info


def _is_taken(operator: Operator, info: Info) -> bool:
    """Tell whether an operator has a kernel for the element type of an input."""
    if info.dtype in NARROW:
        return operator.moves or operator.term is not None
    return info.dtype != "object" or (operator.takes_constants and info.is_constant)


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
                read.append(_as_sizes(graph, node, need.info))
                check_node(node)
            except OnHost:
                node.inputs = before
                raise
        except OnHost:
            node.inputs = before
            raise
    if node.counted and not graph.reads:
        raise OnHost("the sizes of its results depend on data")
    if read:
        graph.readings[node.index] = [(value, symbols) for value, _, symbols in read]
    for value, info, symbols in read:
        graph.infos[value] = info  # for later nodes; the node that gives the value has its own
        graph.known_after.update(dict.fromkeys(symbols, node.index - 1))
    graph.known_after.update(dict.fromkeys(node.counted, node.index))
    return infos


def _as_sizes(graph: Graph, node: Node, info: Info) -> tuple[ir.Value, Info, list[Symbol]]:
    """Let the elements of an input be symbols; returns the value, what is known of it, and these.

    Raises
    ------
    NeedsNumbers
        It is not known how many there are, or the graph reads no sizes.
    OnHost
        They are no integers, or too many.
    """
    reason = f"{info.name!r} is known only at run time"
    position = next(i for i, other in enumerate(node.inputs) if other is info)
    value = node.values[position]
    assert value is not None
    shape = tuple(numbers_of(info.dims, f"the number of elements of {info.name!r} is not known"))
    count = product(shape)
    if info.dtype not in ("int64", "int32") or count > KNOWN_LIMIT:  # type: ignore[operator]
        raise OnHost(reason)
    dims = [symbolic.symbol(f"{value.name}.{i}", "content") for i in range(count)]  # type: ignore[arg-type]
    symbols = [symbol for dim in dims for symbol in symbolic.symbols_in(dim)]
    graph.contents.update(dict.fromkeys(symbols, value))
    if not graph.reads:
        raise NeedsNumbers(reason, dims)
    readable = replace(info, known=known_array(dims, shape))
    node.inputs = [readable if other is info else other for other in node.inputs]
    return value, readable, symbols


def _is_finite(node: Node) -> bool:
    """Tell whether all attributes can be written as literals of the pointwise language."""
    floats = [a.value for a in node.ir.attributes.values() if a.type == ir.AttributeType.FLOAT]
    return all(np.isfinite(value) for value in floats)


def _fresh_symbols(node: Node) -> list[tuple[int, int, Symbol]]:
    """Give unknown dimensions of a host result a symbol; lists (output, axis, symbol)."""
    fresh: list[tuple[int, int, Symbol]] = []
    for position, info in enumerate(node.infos):
        if not node.outputs[position].name:
            info.shape = None  # not wanted: the operator gives nothing to read sizes off
        if info.shape is None:
            continue
        dims: list[Dim | None] = list(info.shape)
        for axis, dim in enumerate(dims):
            if dim is not None:
                continue
            symbol = f"result:{node.index}.{position}.{axis}"
            dims[axis] = symbolic.of_symbol(symbol)
            fresh.append((position, axis, symbol))
        info.shape = tuple(dims)  # type: ignore[arg-type]  # all are known now
    return fresh
