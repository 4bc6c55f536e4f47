"""Names of values and nodes: each has one, and no two the same."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from ..unique_names import UniqueNames
from .report import Report
from .values import graphs


def make_names_unique(model: ir.Model, report: Report) -> int:
    """Rename values and nodes whose name is taken, in the subgraphs, too; changes no node.

    ONNX looks names up from the inside out: a new constant in a loop's body that happens to be
    called like a value outside would be read in its stead. Names of the inputs and outputs stay.
    So do outputs that are left out, which have none.
    """
    named = {value: str(value.name) for value in (*model.graph.inputs, *model.graph.outputs)}
    names = UniqueNames(named.values())
    for value in _values(model):
        if value in named or not (value.name or value.uses() or value.is_graph_output()):
            continue
        named[value] = name = names.unique(value.name or "value")
        if value.name != name:
            value.name = name
    node_names = UniqueNames()
    for graph in graphs(model):
        for node in graph:
            name = node_names.unique(node.name or node.op_type)
            if node.name != name:
                node.name = name
    return 0


def _values(model: ir.Model) -> Iterator[ir.Value]:
    for graph in graphs(model):
        yield from graph.inputs
        yield from list(graph.initializers.values())
        for node in graph:
            yield from node.outputs
