"""Names of values in the graphs of a model: no two values share one, whatever graph they are in.

ONNX looks names up from the inside out, so a body may call a value like one outside that is
computed later, or two bodies may use the same names. Checks, shape inference and host steps know
values by name alone, so names of inner graphs that are taken get a number here, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from onnx import FunctionProto, GraphProto, ModelProto, NodeProto

from ...unique_names import UniqueNames


def make_names_unique(model: ModelProto) -> None:
    """Rename values of inner graphs whose name is taken, where they are made and read, in place.

    Names of the outermost graph stay, and each function has names of its own. Names that a graph
    uses twice itself stay, too: they are an error that others report. Declarations of anything
    but results of the graph's own nodes are removed.
    """
    _Renaming(model.graph)
    for function in model.functions:
        _Renaming(function)


def inner_graphs(node: NodeProto) -> Iterator[GraphProto]:
    """Yield the graphs among the attributes of a node."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def graphs_inside(nodes: Iterable[NodeProto]) -> Iterator[GraphProto]:
    """Yield the graphs among the attributes of nodes, and those inside them."""
    for node in nodes:
        for graph in inner_graphs(node):
            yield graph
            yield from graphs_inside(graph.node)


def _defined_names(graph: GraphProto) -> list[str]:
    """Names of the inputs, initializers and results of a graph, without those of inner graphs."""
    names = [value.name for value in graph.input]
    names += [tensor.name for tensor in graph.initializer]
    names += [sparse.values.name for sparse in graph.sparse_initializer]
    names += [name for node in graph.node for name in node.output]
    return names


class _Renaming:
    """The names taken so far in a graph or function and the graphs inside it."""

    def __init__(self, outermost: GraphProto | FunctionProto) -> None:
        if isinstance(outermost, GraphProto):
            names = _defined_names(outermost)
            _keep_declarations(outermost)
        else:
            names = [*outermost.input, *(name for node in outermost.node for name in node.output)]
        self.names = UniqueNames(names)
        for node in outermost.node:
            for graph in inner_graphs(node):
                self.graph(graph, {})

    def graph(self, graph: GraphProto, outer: Mapping[str, str]) -> None:
        """Rename the values of an inner graph; ``outer`` has the new names of those around it."""
        defined = set(_defined_names(graph))
        _keep_declarations(graph)
        names = {old: new for old, new in outer.items() if old not in defined}
        for name in sorted(defined - {""}):
            unique = self.names.unique(name)
            if unique != name:
                names[name] = unique
        if names:
            for tensor in graph.initializer:
                tensor.name = names.get(tensor.name, tensor.name)
            for sparse in graph.sparse_initializer:
                sparse.values.name = names.get(sparse.values.name, sparse.values.name)
            for value in (*graph.input, *graph.output, *graph.value_info):
                value.name = names.get(value.name, value.name)
        for node in graph.node:
            if names:
                for field in (node.input, node.output):
                    for index, name in enumerate(field):
                        if name in names:
                            field[index] = names[name]
            for inner in inner_graphs(node):
                self.graph(inner, names)


def _keep_declarations(graph: GraphProto) -> None:
    """Keep the declarations of results of nodes, the first of each."""
    left = {name for node in graph.node for name in node.output}
    kept = []
    for value in graph.value_info:
        if value.name in left:
            left.remove(value.name)
            kept.append(value)
    if len(kept) < len(graph.value_info):
        del graph.value_info[:]
        graph.value_info.extend(kept)
