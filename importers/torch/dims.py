"""Dimensions of the inputs of a PyTorch module: which are open, and their names.

What PyTorch's tracing leaves open is open, unless the module cannot be called with another size
of it. The names:

- ``batch``: the first axis of the first input. Where the examples agree on the size of their first
  axes, these are one dimension.
- ``sequence``: the second axis of the integer inputs of rank 2, as those of transformers, where
  it is one for all of them.
- ``{input}_{axis}``: every other one, after the first input that has it. Axes that the module
  wants equal have one name.

An axis of size 1 (or 0) in the examples is fixed, except the first one where all agree on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from typing import Any

import onnx_ir as ir

from ..frameworks import common_batch_size
from .call import Call, Dimensions, TensorAxis
from .comparison import runs
from .sizes import open_shapes

Axes = Set[TensorAxis]
Ranges = Mapping[TensorAxis, tuple[int, float]]
"""Smallest and largest size of axes."""


@dataclass(frozen=True)
class Plan:
    """Which dimensions an export leaves open.

    Attributes
    ----------
    limitation : str
        What is fixed, in words.
    shapes : callable
        Shapes for ``torch.export``, given axes that are to be fixed, and sets of axes each of which
        is one dimension.
    call : Call
        What to trace.
    """

    limitation: str
    shapes: Callable[..., Any]
    call: Call


def plans(call: Call) -> Iterator[Plan]:
    """Yield what to export with, the most open first."""
    import torch

    def shapes(first: Any, others: Any, fixed: Axes, alike: Sequence[Axes] = ()) -> Any:
        one = [torch.export.Dim(f"one_{i}") for i in range(len(alike))]
        dims = {axis: dim for axes, dim in zip(alike, one, strict=True) for axis in axes}

        def visit(number: int, tensor: Any) -> dict[int, Any]:
            sizes = [first, *[others] * (tensor.dim() - 1)][: tensor.dim()]
            return {
                axis: dims.get((number, axis), size)
                for axis, size in enumerate(sizes)
                if (number, axis) not in fixed
            }

        by_position, by_name = call.map_tensors(visit)
        return by_position or by_name

    auto, static = torch.export.Dim.AUTO, torch.export.Dim.STATIC
    size = common_batch_size(call.tensors)
    if size:
        count = len(call.tensors)
        # An axis of size 1 would be taken for a constant.
        grown = call.resized({(i, 0): 2 for i in range(count) if size == 1})
        batch = torch.export.Dim("batch", min=1)
        yield Plan("", partial(shapes, batch, auto), grown)
        yield Plan("fixed sizes but that of the batch", partial(shapes, batch, static), grown)
    yield Plan("a fixed batch size", partial(shapes, auto, auto), call)
    yield Plan("fixed sizes", partial(shapes, static, static), call)


def closed_axes(module: Any, program: Any, call: Call) -> tuple[Axes, list[Axes]]:
    """Find axes that the program has open, but of which the module takes no other size.

    Returns
    -------
    fixed : set
        The axes that have one size.
    alike : list of set
        Axes of the same number and size that take other sizes together, such as the lengths of
        keys and values in the layers of a cache.

    Raises
    ------
    Exception
        Whatever the module raises when it is called with the examples themselves.
    """
    axes_of: dict[str, list[TensorAxis]] = {}
    for number, shape in enumerate(open_shapes(program)):
        for axis, size in enumerate(shape):
            if not isinstance(size, int):
                axes_of.setdefault(str(size), []).append((number, axis))
    closed: dict[TensorAxis, list[list[TensorAxis]]] = {}
    for axes in axes_of.values():
        if not _takes_others(module, call, axes):
            closed.setdefault((call.size(axes[0]), axes[0][1]), []).append(axes)
    fixed: set[TensorAxis] = set()
    alike: list[Axes] = []
    for parts in closed.values():
        together = {axis for axes in parts for axis in axes}
        if len(parts) > 1 and _takes_others(module, call, together):
            alike.append(together)
        else:
            fixed |= together
    return fixed, alike


def refused_axes(module: Any, call: Call) -> Axes:
    """Find axes of the only tensor of a call that a module takes with their size only.

    To know them before the first export spares a second one. With several tensors, an axis may
    change together with those that an export shows to be the same dimension. The first axis is not
    sought: that an export with an open batch fails is told.
    """
    tensors = call.tensors
    shape = tensors[0].shape if len(tensors) == 1 else ()
    return {
        (0, axis)
        for axis, size in enumerate(shape)
        if axis
        and size > 1
        and not _takes_others(module, call, [(0, axis)])
        and not _takes_others(module, call, [(0, i) for i, n in enumerate(shape) if n == size])
    }


def _takes_others(module: Any, call: Call, axes: Collection[TensorAxis]) -> bool:
    """Whether a module takes another size of some axes."""
    size = call.size(next(iter(axes)))
    sizes = [other for other in (size // 2, size * 2) if other]
    return any(runs(module, call.resized(dict.fromkeys(axes, other))) for other in sizes)


def dimension(program: Any, axes: Sequence[TensorAxis]) -> str:
    """Name a dimension of an exported program in words."""
    number, axis = axes[0]
    return f"dimension {axis} of {list(program.graph_signature.user_inputs)[number]}"


def name_dimensions(model: ir.Model, requested: Dimensions, known: Mapping[str, int | str]) -> None:
    """Name the open dimensions of a model that PyTorch wrote, in place.

    Parameters
    ----------
    model
        The result of its exporter.
    requested
        For each input the names that the caller wants, by axis; they come first.
    known
        Symbols that get one size, so that what is computed from them is left open, or that are
        another symbol or a sum of others.
    """
    fixed = {symbol: size for symbol, size in known.items() if isinstance(size, int)}
    one_with = {symbol: first for symbol, first in known.items() if isinstance(first, str)}
    names = dict(_names(model.graph.inputs, requested, one_with))
    names |= {symbol: _renamed(first, names) for symbol, first in one_with.items()}

    def renamed(dim: Any) -> Any:
        text = dim.value if isinstance(dim, ir.SymbolicDim) else dim
        if not isinstance(text, str):
            return dim
        if text.isdigit():  # how PyTorch writes the fixed axes of an input that has open ones
            return int(text)
        if text in fixed:
            return fixed[text]
        if not fixed.keys().isdisjoint(re.findall(r"\w+", text)):
            return None
        return _renamed(text, names)

    results = [value for node in model.graph.all_nodes() for value in node.outputs]
    for value in [*model.graph.inputs, *results]:
        if value.shape is not None:
            value.shape = ir.Shape([renamed(dim) for dim in value.shape])


def _renamed(text: str, names: Mapping[str, str]) -> str:
    """Replace the symbols in an expression."""
    return re.sub(r"\w+", lambda match: names.get(match[0], match[0]), text)


def _names(
    inputs: Sequence[ir.Value], requested: Dimensions, one_with: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Yield symbols and their names; the last name of a symbol counts."""
    symbols = {
        (value.name, axis): one_with.get(str(dim.value), str(dim.value))
        for value in inputs
        for axis, dim in enumerate(value.shape or ())
        if isinstance(dim, ir.SymbolicDim) and not str(dim.value).isdigit()
    }
    for (name, axis), symbol in reversed(symbols.items()):
        if symbol.isidentifier():  # else it is computed from others
            yield symbol, f"{name}_{axis}"
    second = {symbols.get((value.name, 1), "") for value in inputs if _is_tokens(value)}
    second = {symbol for symbol in second if not symbol or symbol.isidentifier()}
    if len(second) == 1 and (shared := second.pop()):
        yield shared, "sequence"
    if inputs and (first := symbols.get((inputs[0].name, 0))):
        yield first, "batch"
    if len(requested) == len(inputs):
        for value, axes in zip(inputs, requested, strict=True):
            for axis, name in axes.items():
                if symbol := symbols.get((value.name, axis), ""):
                    yield symbol, name


def _is_tokens(value: ir.Value) -> bool:
    return value.dtype is not None and value.dtype.is_integer() and len(value.shape or ()) == 2


def requested_names(shapes: Any, call: Call) -> list[dict[int, str]]:
    """Names of dimensions in a ``dynamic_shapes`` of the caller, for each tensor of a call."""
    named = [
        {axis: dim if isinstance(dim, str) else getattr(dim, "__name__", "") for axis, dim in dims}
        for dims in _dimensions(shapes, call)
    ]
    return [{axis: name for axis, name in axes.items() if name} for axes in named]


def stated_ranges(shapes: Any, call: Call) -> dict[TensorAxis, tuple[int, float]]:
    """Ranges of dimensions in a ``dynamic_shapes`` of the caller."""
    return {
        (number, axis): (dim.min, dim.max)
        for number, dims in enumerate(_dimensions(shapes, call))
        for axis, dim in dims
        if hasattr(dim, "min") and hasattr(dim, "max")
    }


def _dimensions(shapes: Any, call: Call) -> list[list[tuple[int, Any]]]:
    """List what a ``dynamic_shapes`` has for the axes of each tensor of a call."""
    if isinstance(shapes, Mapping) and call.args:
        shapes = list(shapes.values())
    return list(_dimensions_in(shapes, call.args or call.kwargs))


def _dimensions_in(shapes: Any, values: Any) -> Iterator[list[tuple[int, Any]]]:
    import torch

    if isinstance(values, torch.Tensor):
        axes = shapes if isinstance(shapes, Mapping) else dict(enumerate(shapes or ()))
        yield list(axes.items())
    elif isinstance(values, Mapping):
        for key, value in values.items():
            yield from _dimensions_in(shapes.get(key) if shapes else None, value)
    elif isinstance(values, list | tuple):
        for i, value in enumerate(values):
            yield from _dimensions_in(shapes[i] if shapes and i < len(shapes) else None, value)


def without_names(shapes: Any) -> Any:
    """Put ``Dim.AUTO`` for names in a ``dynamic_shapes``, which ``torch.export`` does not take."""
    import torch

    def visit(leaf: Any) -> Any:
        return torch.export.Dim.AUTO if isinstance(leaf, str) else leaf

    return torch.utils._pytree.tree_map(visit, shapes)
