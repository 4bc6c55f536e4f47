"""Names of values and nodes: each has one, and no two the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx_ir as ir

from .report import Report


def make_names_unique(model: ir.Model, report: Report) -> int:
    """Rename values and nodes whose name is taken, in the subgraphs, too; changes no node.

    ONNX looks names up from the inside out: a new constant in a loop's body that happens to be
    called like a value outside would be read in its stead. Names of the inputs and outputs stay.
    So do outputs that are left out, which have none.
    """
    named = {value: str(value.name) for value in (*model.graph.inputs, *model.graph.outputs)}
    names = _Names(named.values())
    for value in _values(model):
        if value in named or not (value.name or value.uses() or value.is_graph_output()):
            continue
        named[value] = name = names.unique(value.name or "value")
        if value.name != name:
            value.name = name
    node_names = _Names()
    for graph in model.graphs():
        for node in graph:
            name = node_names.unique(node.name or node.op_type)
            if node.name != name:
                node.name = name
    return 0


class _Names:
    """Names that are taken, and for each the last number that was tried behind it."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._numbers = dict.fromkeys(taken, 0)

    def unique(self, name: str) -> str:
        """Take a name that is free: the one given, or the first of ``name_1``, ``name_2``, ..."""
        unique, number = name, self._numbers.get(name, 0)
        while unique in self._numbers:
            number += 1
            unique = f"{name}_{number}"
        self._numbers[name] = number
        self._numbers.setdefault(unique, 0)
        return unique


def _values(model: ir.Model) -> Iterator[ir.Value]:
    for graph in model.graphs():
        yield from graph.inputs
        yield from list(graph.initializers.values())
        for node in graph:
            yield from node.outputs
