"""Names of the inputs and outputs of a model."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from ..unique_names import UniqueNames


def rename(model: ir.Model, values: Sequence[ir.Value], names: Sequence[str]) -> None:
    """Rename inputs or outputs of a model; a value inside that has such a name gets another one.

    A name stays as it is where a constant, another input or another output has the new one.
    """
    graph = model.graph
    first = {name: value for value, name in reversed(list(zip(values, names, strict=False)))}
    new = {value: name for name, value in first.items() if name and not value.is_initializer()}
    others = [value for value in [*graph.inputs, *graph.outputs] if value not in new]
    reserved = {value.name for value in others} | set(graph.initializers)
    new = {value: name for value, name in new.items() if name not in reserved}
    results = {value: None for node in graph for value in node.outputs}  # in their order
    inside = {value.name: value for value in results if value not in new}
    used = UniqueNames(filter(None, [*reserved, *inside, *new.values()]))
    for value, name in new.items():
        if name in inside:
            inside[name].name = used.unique(name)
        value.name = name
