"""What decides about branches and kernels: sizes and single numbers that a model is given.

Where conditions of If follow from the inputs' sizes, or from an integer that is an input, a program
for certain ones has no If, and nothing that an If hides (ranks, sizes) is unknown in it. Operators
that have a kernel only if a size is a number (a Squeeze without axes), and inputs that declare no
rank, are of one kind with these. A session makes such programs when runs show the sizes
(``variants``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import onnx_ir as ir

from .graph import Graph, Info
from .symbolic import Dim, Symbol, symbol_of, symbols_in

Deciders: TypeAlias = dict[str, list[Any]]
"""``sizes``: (input, axis), ``values``: inputs of one integer, ``ranks``: inputs without a rank."""

_COMPUTED = frozenset(
    """Abs Add And Cast Concat Div Equal Gather Greater GreaterOrEqual Identity Less LessOrEqual
    Max Min Mod Mul Neg Not Or ReduceMax ReduceMin ReduceProd ReduceSum Reshape Shape Size Slice
    Squeeze Sub Unsqueeze Where Xor""".split()  # noqa: SIM905
)
"""Operators that conditions are computed by."""
_MOST_NODES = 200


def find_deciders(graph: Graph) -> Deciders:
    """Return what decides about nodes on the host, as far as that is inputs alone."""
    places = {
        symbol: (value.name or "", axis)
        for value in graph.inputs
        for axis, dim in enumerate(graph.infos[value].shape or ())
        if (symbol := symbol_of(dim)) is not None
    }
    sizes: set[tuple[str, int]] = set()
    values: set[str] = set()
    for needed in graph.needed_numbers.values():
        found = [symbol for size in needed for symbol in symbols_in(size)]
        if all(symbol in places for symbol in found):
            sizes |= {places[symbol] for symbol in found}
    for index in graph.why_host:
        node = graph.nodes[index]
        if node.key != ("", "If") or node.values[0] is None:
            continue
        causes = list(_causes(graph, node.values[0]))
        if all(isinstance(cause, ir.Value) or cause in places for cause in causes):
            sizes |= {places[cause] for cause in causes if isinstance(cause, str)}
            values |= {cause.name or "" for cause in causes if isinstance(cause, ir.Value)}
    deciders: Deciders = {
        "sizes": [list(place) for place in sorted(sizes)],
        "values": sorted(values),
        "ranks": _without_rank(graph),
    }
    return {kind: names for kind, names in deciders.items() if names}


def _without_rank(graph: Graph) -> list[str]:
    """List tensors among the inputs whose rank something on the host suffers from."""
    if not graph.why_host:
        return []
    infos = [graph.infos[value] for value in graph.inputs]
    return [info.name for info in infos if info.shape is None and info.dtype != "object"]


def _causes(graph: Graph, condition: ir.Value) -> Iterator[Symbol | ir.Value | None]:
    """Yield what a condition follows from: symbols and inputs; None for anything else."""
    inputs, pending, seen = set(graph.inputs), [condition], {condition}
    while pending:
        value = pending.pop()
        info = graph.infos.get(value)
        if info is None or len(seen) > _MOST_NODES:
            yield None
        elif info.is_constant:
            continue
        elif info.known is not None:
            yield from _symbols(info.known)
        elif value in inputs:
            yield value if _is_one_integer(info) else None
        elif (node := value.producer()) is None or node.op_type not in _COMPUTED or node.domain:
            yield None
        else:
            operands = [operand for operand in node.inputs if operand is not None]
            pending += [operand for operand in operands if operand not in seen]
            seen.update(operands)


def _symbols(known: np.ndarray) -> Iterator[Symbol]:
    dims: list[Dim] = known.reshape(-1).tolist()
    for dim in dims:
        yield from symbols_in(dim)


def _is_one_integer(info: Info) -> bool:
    return info.shape in ((), (1,)) and (
        info.dtype == "bool" or info.dtype.lstrip("u")[:3] == "int"
    )


# --- given ------------------------------------------------------------------------------------


def assume(model: ir.Model, assumed: Deciders) -> None:
    """Give a model the sizes, numbers and ranks that are assumed, in place.

    Parameters
    ----------
    model : onnx_ir.Model
    assumed : dict
        ``sizes``: (input, axis, size), ``values``: (input, number), ``ranks``: (input, rank).
    """
    inputs = {value.name: value for value in model.graph.inputs}
    for name, rank in assumed.get("ranks", ()):
        inputs[name].shape = ir.Shape([None] * rank)
    for name, axis, size in assumed.get("sizes", ()):
        _set_size(list(inputs.values()), inputs[name], axis, size)
    for name, number in assumed.get("values", ()):
        _set_number(model.graph, inputs[name], number)
    for node in model.graph.all_nodes():  # shapes are inferred anew
        for value in node.outputs:
            value.shape = None


def _set_size(inputs: list[ir.Value], value: ir.Value, axis: int, size: int) -> None:
    """Set a dimension, and all that have its name."""
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
        dims = list(other.shape or ())
        dims[i] = size
        other.shape = ir.Shape(dims)


def _set_number(graph: ir.Graph, value: ir.Value, number: int) -> None:
    """Let a constant take the place of an input, which remains, unread."""
    assert value.dtype is not None
    shape = () if value.shape is None else tuple(int(dim) for dim in value.shape)  # type: ignore[arg-type]
    array = np.full(shape, number, value.dtype.numpy())
    constant = ir.Value(name=f"{value.name}.assumed", const_value=ir.tensor(array))
    constant.dtype, constant.shape = value.dtype, ir.Shape(shape)
    graph.register_initializer(constant)
    ir.convenience.replace_all_uses_with(value, constant)
