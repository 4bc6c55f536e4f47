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

from ..errors import InvalidModel, SardonyxError
from . import symbolic
from .element_types import NARROW
from .graph import (
    KNOWN_LIMIT,
    BodyInputs,
    Graph,
    Info,
    NeedsContents,
    NeedsNumbers,
    Node,
    OnHost,
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
from .value_infos import constant_info, input_info

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
        graph.infos[value] = input_info(value)
    infer_nodes(graph, source)
    return graph


def infer_nodes(graph: Graph, source: ir.Graph) -> None:
    """Run the shape rules over the nodes of a graph, whose inputs are described."""
    for node in _nodes_of(graph, source):
        _infer_node(graph, node)


def _nodes_of(graph: Graph, source: ir.Graph) -> Iterator[Node]:
    """Add the constants and the nodes of a graph; yields each node, to be inferred."""
    for value in source.initializers.values():
        graph.infos[value] = constant_info(value, value.const_value)
    for item in source:
        if (array := _constant_of(item)) is not None:
            graph.infos[item.outputs[0]] = constant_info(item.outputs[0], array)
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
            _add_ranks(graph, node)
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


# --- bodies of nodes on the host ---------------------------------------------------------------


def _add_ranks(outer: Graph, node: Node) -> None:
    """Let what becomes of states, of which onnx tells nothing, have the rank that bodies give."""
    operator = OPERATORS.get(node.key)
    if operator is None or operator.bodies is None or all(info.shape for info in node.infos):
        return
    with suppress(OnHost, SardonyxError):
        given = operator.bodies(node)
        for name, graph in infer_bodies(outer, node).items():
            for position, (_, output) in enumerate(given[name].states):
                rank = graph.infos[graph.outputs[output]].shape
                if node.infos[position].shape is None and rank is not None:
                    node.infos[position].shape = (None,) * len(rank)  # type: ignore[assignment]


def infer_bodies(outer: Graph, node: Node) -> dict[str, Graph]:
    """Run the shape rules over the bodies of a node; returns their graphs by attribute.

    Raises
    ------
    OnHost
        What the bodies are given is not known.
    InvalidModel, UnsupportedModel
        Naming the node of the body.
    """
    operator = OPERATORS.get(node.key)
    if operator is None or operator.bodies is None:
        return {}
    return {name: _infer(outer, node, name, given) for name, given in operator.bodies(node).items()}


def _infer(outer: Graph, node: Node, name: str, given: BodyInputs) -> Graph:
    """Infer a body until its states keep the shapes that are assumed of them."""
    source = body_of(node, name, len(given.infos))
    inputs = dict(zip(source.inputs, given.infos, strict=True))
    while True:
        graph = _graph_of(outer, source, inputs)
        changed = False
        for i, o in given.states:
            state, result = source.inputs[i], graph.infos[source.outputs[o]]
            joined = _joined(graph.infos[state], result)
            changed |= joined != graph.infos[state].shape
            inputs[state] = Info("", result.dtype, joined)
        if not changed:
            return graph


def _graph_of(outer: Graph, source: ir.Graph, inputs: dict[ir.Value, Info]) -> Graph:
    graph = Graph(outer.opsets, list(source.inputs), list(source.outputs))
    graph.infos.update((value, _opened(value, info)) for value, info in inputs.items())
    for value in captured(source):
        info = outer.infos[value]
        if info.is_constant:
            graph.infos[value] = info
        else:
            graph.infos[value] = _opened(value, info)
            graph.inputs.append(value)
    infer_nodes(graph, source)
    return graph


def _opened(value: ir.Value, info: Info) -> Info:
    """Describe an input of a body: what no number says is a symbol of its own."""
    name = value.name or ""
    if info.shape is None:
        return Info(name, info.dtype, None)
    dims = [
        dim if isinstance(dim, int) else symbolic.symbol(f"{name}.{axis}", "input")
        for axis, dim in enumerate(info.shape)
    ]
    return Info(name, info.dtype, tuple(dims))


def _joined(state: Info, result: Info) -> tuple[symbolic.Dim, ...] | None:
    """Return the shape of a state and of what an iteration makes of it, open where they differ."""
    if state.shape is None or result.shape is None or state.rank != result.rank:
        return None
    return tuple(
        a if a == b or not isinstance(a, int) else symbolic.symbol(f"{state.name}.{axis}", "input")
        for axis, (a, b) in enumerate(zip(state.shape, result.shape, strict=True))
    )


def captured(graph: ir.Graph) -> list[ir.Value]:
    """List the values that a graph, or one inside it, uses from outside."""
    own: set[ir.Value] = set()
    used: dict[ir.Value, None] = {}
    for inner in _graphs(graph):
        own |= {*inner.inputs, *inner.initializers.values()}
        for node in inner:
            own |= set(node.outputs)
            used |= dict.fromkeys(value for value in node.inputs if value is not None)
    return [value for value in used if value not in own]


def _graphs(graph: ir.Graph) -> Iterator[ir.Graph]:
    """Yield a graph and all inside it."""
    pending = [graph]
    while pending:
        each = pending.pop()
        yield each
        for node in each:
            for attribute in node.attributes.values():
                if attribute.type == ir.AttributeType.GRAPH:
                    pending.append(attribute.as_graph())
                elif attribute.type == ir.AttributeType.GRAPHS:
                    pending += attribute.as_graphs()
