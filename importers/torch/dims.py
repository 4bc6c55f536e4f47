"""Which dimensions of the inputs of a PyTorch module are open, and what they are called.

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

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from functools import partial
from typing import Any

import onnx_ir as ir

from .frameworks import batches

Call = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and keyword arguments."""

Axes = Set[tuple[int, int]]
"""Axes of the tensors of a call, by (number of the tensor, axis)."""


def tensors(torch: Any, call: Any) -> list[Any]:
    """All tensors of a call's arguments, in order."""
    leaves = torch.utils._pytree.tree_leaves(call)
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]


def unshared(torch: Any, call: Call) -> Call:
    """Copy a tensor that is there more than once: ``torch.export`` takes these for one input."""
    seen: set[int] = set()

    def visit(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor):
            return leaf
        again = id(leaf) in seen
        seen.add(id(leaf))
        return leaf.clone() if again else leaf

    changed: Call = torch.utils._pytree.tree_map(visit, call)
    return changed


def map_tensors(torch: Any, change: Any, call: Any) -> Any:
    """Put ``change(number, tensor)`` in the place of each tensor, None in that of all else."""
    numbers = iter(range(len(tensors(torch, call))))

    def visit(leaf: Any) -> Any:
        return change(next(numbers), leaf) if isinstance(leaf, torch.Tensor) else None

    return torch.utils._pytree.tree_map(visit, call)


def resized(torch: Any, call: Call, axes: Mapping[tuple[int, int], int]) -> Call:
    """Repeat or cut tensors: sizes by (number of the tensor, axis)."""
    numbers = iter(range(len(tensors(torch, call))))

    def visit(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor):
            return leaf
        number = next(numbers)
        for axis, old in enumerate(leaf.shape):
            size = axes.get((number, axis), old)
            if size != old:
                leaf = leaf.index_select(axis, torch.arange(size) % old)
        return leaf

    changed: Call = torch.utils._pytree.tree_map(visit, call)
    return changed


def plans(torch: Any, call: Call) -> Iterator[tuple[Callable[[Axes], Any], Call]]:
    """Yield what to export with, the most open first.

    That is a function from axes that are to be fixed to shapes for ``torch.export``, and the
    arguments to trace with.
    """

    def shapes(first: Any, others: Any, fixed: Axes) -> Any:
        def visit(number: int, tensor: Any) -> dict[int, Any]:
            dims = [first, *[others] * (tensor.dim() - 1)][: tensor.dim()]
            return {axis: dim for axis, dim in enumerate(dims) if (number, axis) not in fixed}

        by_position, by_name = map_tensors(torch, visit, call)
        return by_position or by_name

    examples = tensors(torch, call)
    auto = torch.export.Dim.AUTO
    size = batches(examples)
    if size:
        # An axis of size 1 would be taken for a constant.
        grown = resized(torch, call, {(i, 0): 2 for i in range(len(examples)) if size == 1})
        yield partial(shapes, torch.export.Dim("batch", min=1), auto), grown
    yield partial(shapes, auto, auto), call
    static = torch.export.Dim.STATIC
    yield partial(shapes, static, static), call


def closed(torch: Any, module: Any, program: Any, call: Call) -> Axes:
    """Axes that the program has open, but of which the module takes no other size.

    Raises
    ------
    Exception
        Whatever the module raises when it is called with the examples themselves.
    """
    where: dict[str, list[tuple[int, int]]] = {}
    examples = tensors(torch, call)
    for number, shape in enumerate(open_shapes(program)):
        for axis, size in enumerate(shape):
            if not isinstance(size, int):
                where.setdefault(str(size), []).append((number, axis))
    result: set[tuple[int, int]] = set()
    for axes in where.values():
        size = examples[axes[0][0]].shape[axes[0][1]]
        sizes = [other for other in (size // 2, size * 2) if other]
        if not any(
            _runs(torch, module, resized(torch, call, dict.fromkeys(axes, s))) for s in sizes
        ):
            result.update(axes)
    return result


def open_shapes(program: Any) -> list[Any]:
    """Shapes of the inputs of an exported program, with symbols for what is open."""
    inputs = set(program.graph_signature.user_inputs)
    values = [
        node.meta.get("val")
        for node in program.graph.nodes
        if node.op == "placeholder" and node.name in inputs
    ]
    return [value.shape for value in values if hasattr(value, "shape")]


def _runs(torch: Any, module: Any, call: Call) -> bool:
    # What the module writes into its buffers goes into copies.
    buffers = {name: value.clone() for name, value in module.named_buffers()}
    with torch.no_grad(), contextlib.suppress(Exception):
        torch.func.functional_call(module, buffers, *call)
        return True
    return False


def name_dimensions(model: ir.Model, given: Sequence[Mapping[int, str]] = ()) -> None:
    """Name the open dimensions of a model that PyTorch wrote, in place.

    Parameters
    ----------
    model
        What its exporter gave.
    given
        For each input the names that the caller gave, by axis; they come first.
    """
    names = dict(_names(model.graph.inputs, given))
    symbol = re.compile(r"\b(" + "|".join(map(re.escape, names)) + r")\b") if names else None

    def renamed(dim: Any) -> Any:
        text = dim.value if isinstance(dim, ir.SymbolicDim) else dim
        if not isinstance(text, str):
            return dim
        if text.isdigit():  # how PyTorch writes the fixed axes of an input that has open ones
            return int(text)
        return symbol.sub(lambda found: names[found[0]], text) if symbol else text

    made = [value for node in model.graph.all_nodes() for value in node.outputs]
    for value in [*model.graph.inputs, *made]:
        if value.shape is not None:
            value.shape = ir.Shape([renamed(dim) for dim in value.shape])


def _names(
    inputs: Sequence[ir.Value], given: Sequence[Mapping[int, str]]
) -> Iterator[tuple[str, str]]:
    """Yield symbols and their names; the last name of a symbol counts."""
    symbols = {
        (value.name, axis): str(dim.value)
        for value in inputs
        for axis, dim in enumerate(value.shape or ())
        if isinstance(dim, ir.SymbolicDim) and not str(dim.value).isdigit()
    }
    for (name, axis), symbol in reversed(symbols.items()):
        if symbol.isidentifier():  # else it is computed from others
            yield symbol, f"{name}_{axis}"
    second = {symbols.get((value.name, 1), "") for value in inputs if _is_tokens(value)}
    if len(second) == 1 and (shared := second.pop()):
        yield shared, "sequence"
    if inputs and (first := symbols.get((inputs[0].name, 0))):
        yield first, "batch"
    if len(given) == len(inputs):
        for value, axes in zip(inputs, given, strict=True):
            for axis, name in axes.items():
                if found := symbols.get((value.name, axis)):
                    yield found, name


def _is_tokens(value: ir.Value) -> bool:
    return value.dtype is not None and value.dtype.is_integer() and len(value.shape or ()) == 2


def given_names(torch: Any, shapes: Any, call: Call) -> list[dict[int, str]]:
    """Names of dimensions in a ``dynamic_shapes`` of the caller, for each tensor of a call."""
    args, kwargs = call
    values = args or kwargs
    if isinstance(shapes, Mapping) and args:
        shapes = list(shapes.values())
    return list(_walk(torch, shapes, values))


def _walk(torch: Any, shapes: Any, values: Any) -> Iterator[dict[int, str]]:
    if isinstance(values, torch.Tensor):
        axes = shapes if isinstance(shapes, Mapping) else dict(enumerate(shapes or ()))
        yield {axis: name for axis, dim in axes.items() if (name := _name_of(dim))}
    elif isinstance(values, Mapping):
        for key, value in values.items():
            yield from _walk(torch, shapes.get(key) if shapes else None, value)
    elif isinstance(values, list | tuple):
        for i, value in enumerate(values):
            yield from _walk(torch, shapes[i] if shapes and i < len(shapes) else None, value)


def _name_of(dim: Any) -> str | None:
    if isinstance(dim, str):
        return dim
    return getattr(dim, "__name__", None)


def plain_shapes(torch: Any, shapes: Any) -> Any:
    """Put ``Dim.AUTO`` for names in a ``dynamic_shapes``, which ``torch.export`` does not take."""

    def visit(leaf: Any) -> Any:
        return torch.export.Dim.AUTO if isinstance(leaf, str) else leaf

    return torch.utils._pytree.tree_map(visit, shapes)
