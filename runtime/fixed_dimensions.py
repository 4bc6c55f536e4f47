"""Dimensions of inputs that a session is opened with: sizes in the place of names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir


def fix_dimensions(
    model: ir.Model, dimensions: Mapping[str, int | None], denotations: Mapping[str, int]
) -> None:
    """Give dimensions of a model's inputs sizes, in place.

    Parameters
    ----------
    model : onnx_ir.Model
    dimensions : mapping of str to int
        Sizes by the names of dimensions; names that no input has are ignored. With None for a
        size each dimension of the name may have a size of its own.
    denotations : mapping of str to int
        Sizes by the denotations of dimensions (``"DATA_BATCH"``; ONNX, "Dimension Denotation").
        A named dimension with one has its size wherever the name occurs.
    """
    inputs = model.graph.inputs
    for value in inputs:
        for axis, dim in enumerate(value.shape or ()):
            name = dim.value if isinstance(dim, ir.SymbolicDim) else None
            if name is not None and name in dimensions:
                set_size(inputs, value, axis, dimensions[name])
    for value, axis, size in _denoted(inputs, denotations):
        set_size(inputs, value, axis, size)
    forget_shapes(model)


def _denoted(
    inputs: Sequence[ir.Value], denotations: Mapping[str, int]
) -> list[tuple[ir.Value, int, int]]:
    """List inputs and axes whose denotation has a size, and that size."""
    return [
        (value, axis, denotations[denotation])
        for value in inputs
        if value.shape is not None
        for axis, dim in enumerate(value.shape)
        if isinstance(dim, ir.SymbolicDim)
        and (denotation := value.shape.get_denotation(axis) or "") in denotations
    ]


def set_size(inputs: Sequence[ir.Value], value: ir.Value, axis: int, size: int | None) -> None:
    """Set a dimension of an input, and all that have its name; None takes the name off them."""
    assert value.shape is not None
    dim = value.shape[axis]
    name = dim.value if isinstance(dim, ir.SymbolicDim) else None
    places = [(value, axis)]
    if name is not None:
        places += [
            (other, i)
            for other in inputs
            for i, each in enumerate(other.shape or ())
            if isinstance(each, ir.SymbolicDim) and each.value == name
        ]
    for other, i in places:
        dims: list[ir.SymbolicDim | int | None] = list(other.shape or ())
        dims[i] = size
        other.shape = ir.Shape(dims)


def forget_shapes(model: ir.Model) -> None:
    """Take the shapes off all results of nodes: they are inferred anew."""
    for node in model.graph.all_nodes():
        for value in node.outputs:
            value.shape = None
