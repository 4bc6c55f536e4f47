"""Names of values and nodes: every one is there, and is there once."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from .report import Report


def make_names_unique(model: ir.Model, report: Report) -> int:
    """Rename what has the name of something else, in the subgraphs, too; changes no node.

    ONNX looks names up from the inside out: a new constant in a loop's body that happens to be
    called like a value outside would take its place. Names of the inputs and outputs stay. So do
    outputs that are left out, which have none.
    """
    kept = {value: str(value.name) for value in (*model.graph.inputs, *model.graph.outputs)}
    taken = set(kept.values())
    for value in _values(model):
        if value in kept or not (value.name or value.uses() or value.is_graph_output()):
            continue
        kept[value] = name = _free(value.name or "value", taken)
        if value.name != name:
            value.name = name
    nodes: set[str] = set()
    for graph in model.graphs():
        for node in graph:
            name = _free(node.name or node.op_type, nodes)
            if node.name != name:
                node.name = name
    return 0


def _free(name: str, taken: set[str]) -> str:
    found, number = name, 1
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    taken.add(found)
    return found


def _values(model: ir.Model) -> Iterator[ir.Value]:
    for graph in model.graphs():
        yield from graph.inputs
        yield from list(graph.initializers.values())
        for node in graph:
            yield from node.outputs
