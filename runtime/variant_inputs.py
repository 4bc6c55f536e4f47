"""Inputs that variants of a program depend on: sizes and a few numbers that decide about branches.

Where conditions of If follow from the inputs' sizes, or from an integer that is an input, a program
for certain ones has no If, and nothing that an If hides (ranks, sizes) is unknown in it. Operators
that have a kernel only if a size is a number (a Squeeze without axes) or an element of a tensor is
(how many axes there are), and inputs that declare no rank, are of one kind with these. A session
makes such programs when runs show the sizes (``variants``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx_ir as ir

from .fixed_dimensions import forget_shapes, set_size
from .graph import Graph, Info
from .symbolic import Dim, Symbol, product, symbol_of, symbols_in

VariantInputs: TypeAlias = dict[str, list[Any]]
"""``sizes``: (input, axis), ``values``: inputs of few integers, ``ranks``: those without a rank."""

_COMPUTED = frozenset(
    """Abs Add And Cast Concat Div Equal Gather Greater GreaterOrEqual Identity Less LessOrEqual
    Max Min Mod Mul Neg Not Or ReduceMax ReduceMin ReduceProd ReduceSum Reshape Shape Size Slice
    Squeeze Sub Unsqueeze Where Xor""".split()  # noqa: SIM905
)
"""Operators that conditions are computed by."""
_MOST_NODES = 200
_MOST_ELEMENTS = 16
"""Elements of an input that decide about kernels; about branches a single one does."""


def find_variant_inputs(graph: Graph) -> VariantInputs:
    """Return what decides about kernels and shapes, as far as that is inputs alone."""
    places = {
        symbol: (value.name or "", axis)
        for value in graph.inputs
        for axis, dim in enumerate(graph.infos[value].shape or ())
        if (symbol := symbol_of(dim)) is not None
    }
    sizes: set[tuple[str, int]] = set()
    values: set[str] = set()
    for first, most in _undecided(graph):
        causes = list(_causes(graph, first, most))
        if all(isinstance(cause, ir.Value) or cause in places for cause in causes):
            sizes |= {places[cause] for cause in causes if isinstance(cause, str)}
            values |= {cause.name or "" for cause in causes if isinstance(cause, ir.Value)}
    inputs: VariantInputs = {
        "sizes": [list(place) for place in sorted(sizes)],
        "values": sorted(values),
        "ranks": _without_rank(graph),
    }
    return {kind: names for kind, names in inputs.items() if names}


def _undecided(graph: Graph) -> Iterator[tuple[list[Symbol | ir.Value], int]]:
    """Yield what would have to be numbers, and how many elements an input may have for that."""
    for needed in graph.needed_numbers.values():
        yield [symbol for size in needed for symbol in symbols_in(size)], _MOST_ELEMENTS
    for node in graph.nodes:
        depends = node.index in graph.why_host or node.counted
        if depends and node.key == ("", "If") and node.values[0] is not None:
            yield [node.values[0]], 1


def _without_rank(graph: Graph) -> list[str]:
    """List tensors among the inputs whose rank something on the host suffers from."""
    if not graph.why_host:
        return []
    infos = [graph.infos[value] for value in graph.inputs]
    return [info.name for info in infos if info.shape is None and info.dtype != "object"]


def _causes(
    graph: Graph, first: list[Symbol | ir.Value], most: int
) -> Iterator[Symbol | ir.Value | None]:
    """Yield what some sizes and values follow from: symbols and inputs; None for anything else."""
    inputs, pending, seen = set(graph.inputs), list(first), set(first)
    while pending:
        cause = pending.pop()
        if cause in inputs:
            yield cause if _are_integers(graph.infos[cause], most) else None
            continue
        before = _before(graph, cause)
        if before is None or len(seen) > _MOST_NODES:
            yield cause if isinstance(cause, str) else None
            continue
        pending += [each for each in dict.fromkeys(before) if each not in seen]
        seen.update(before)


def _before(graph: Graph, cause: Symbol | ir.Value) -> Sequence[Symbol | ir.Value] | None:
    """Return what a size or a value is made of; None where that is not known."""
    if isinstance(cause, str):
        return [graph.contents[cause]] if cause in graph.contents else None
    info, node = graph.infos.get(cause), cause.producer()
    if info is not None and info.is_constant:
        return ()
    if info is not None and info.known is not None:
        symbols = _symbols(info.known)
        if not any(graph.contents.get(symbol) is cause for symbol in symbols):
            return symbols
    if info is None or node is None or node.op_type not in _COMPUTED or node.domain:
        return None
    return [operand for operand in node.inputs if operand is not None]


def _symbols(known: np.ndarray) -> list[Symbol]:
    dims: list[Dim] = known.reshape(-1).tolist()
    return [symbol for dim in dims for symbol in symbols_in(dim)]


def _are_integers(info: Info, most: int) -> bool:
    """Tell whether a value is a few integers, and how many is known."""
    count = 0 if info.shape is None else product(info.shape)
    is_few = isinstance(count, int) and 0 < count <= most
    return is_few and (info.dtype == "bool" or info.dtype.lstrip("u")[:3] == "int")


# --- given ------------------------------------------------------------------------------------


def assume(model: ir.Model, assumed: VariantInputs) -> None:
    """Give a model the sizes, numbers and ranks that are assumed, in place.

    Parameters
    ----------
    model : onnx_ir.Model
    assumed : dict
        ``sizes``: (input, axis, size), ``values``: (input, numbers), ``ranks``: (input, rank).
    """
    inputs = {value.name: value for value in model.graph.inputs}
    for name, rank in assumed.get("ranks", ()):
        inputs[name].shape = ir.Shape([None] * rank)
    for name, axis, size in assumed.get("sizes", ()):
        set_size(model.graph.inputs, inputs[name], axis, size)
    for name, numbers in assumed.get("values", ()):
        _set_numbers(model.graph, inputs[name], numbers)
    forget_shapes(model)


def _set_numbers(graph: ir.Graph, value: ir.Value, numbers: list[int]) -> None:
    """Let a constant take the place of an input, which remains, unread."""
    assert value.dtype is not None
    shape = () if value.shape is None else tuple(int(dim) for dim in value.shape)  # type: ignore[arg-type]
    array = np.array(numbers, value.dtype.numpy()).reshape(shape)
    constant = ir.Value(name=f"{value.name}.assumed", const_value=ir.tensor(array))
    constant.dtype, constant.shape = value.dtype, ir.Shape(shape)
    graph.register_initializer(constant)
    ir.convenience.replace_all_uses_with(value, constant)
