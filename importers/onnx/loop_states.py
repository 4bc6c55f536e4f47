"""Shapes of loop states: those that a state has before the first step and after every step.

onnx's inference leaves the shapes of a Loop's states open, because a step may change them. Here
each is assumed to be that of the initial value; what a step then makes of it must be the same, else
the sizes that differ are taken for unknown, and the assumption is tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from onnx import GraphProto, ModelProto, NodeProto, TypeProto, ValueInfoProto

from .scopes import graphs_inside, inner_graphs

GENERATED = "unk__"
"""Beginning of the names that onnx's inference gives to sizes it cannot compute."""

_ROUNDS = 8

_Size = int | str | None
_Shape = tuple[_Size, ...]


def with_loop_states(
    model: ModelProto, inferred: ModelProto, infer: Callable[[ModelProto], ModelProto | None]
) -> ModelProto:
    """Add the shapes of loop states that hold in every step, and what follows from them.

    Parameters
    ----------
    model : ModelProto
        Without shapes of results; no two values share a name.
    inferred : ModelProto
        The same with inferred shapes.
    infer : callable
        Returns a model with inferred shapes, None where they contradict each other.

    Returns
    -------
    ModelProto
        ``inferred`` itself where nothing more is known.
    """
    known: dict[str, _Shape] = {}
    given_up: dict[str, _Shape] = {}
    result = inferred
    for _ in range(_ROUNDS):
        states = _states(result.graph, _shapes(result.graph))
        new = {
            state.inner: state.initial
            for state in states
            if state.initial is not None and state.inner not in known | given_up
        }
        assumed = known | new
        for state in () if new else states:  # of nested loops, all are assumed before one is tried
            if state.inner in known:
                shape = _agreed(known[state.inner], state.initial, state.after)
                if shape is None:
                    given_up[state.inner] = assumed.pop(state.inner)
                else:
                    assumed[state.inner] = shape
        if assumed == known:
            return result
        known = assumed
        attempt = ModelProto()
        attempt.CopyFrom(model)
        _declare(attempt.graph, known, {state.result: state.inner for state in states})
        again = infer(attempt)
        if again is None:
            return inferred
        result = again
    return inferred


@dataclass
class _State:
    """A state of a Loop: its names in the body and outside, and shapes around a step."""

    inner: str
    result: str
    initial: _Shape | None
    after: _Shape | None


def _states(graph: GraphProto, shapes: dict[str, _Shape]) -> list[_State]:
    found = []
    for loop, body in _loops(graph):
        for index, initial in enumerate(loop.input[2:]):
            if index + 2 >= len(body.input) or index + 1 >= len(body.output):
                break
            inner, after = body.input[index + 2], body.output[index + 1].name
            result = loop.output[index] if index < len(loop.output) else ""
            if inner.type.HasField("tensor_type") or inner.type.WhichOneof("value") is None:
                found.append(_State(inner.name, result, shapes.get(initial), shapes.get(after)))
    return found


def _agreed(*shapes: _Shape | None) -> _Shape | None:
    """Shape with the sizes that several have in common, None if their ranks differ."""
    known = [shape for shape in shapes if shape is not None]
    if len(known) < len(shapes) or len({len(shape) for shape in known}) > 1:
        return None
    return tuple(
        column[0] if len(set(column)) == 1 else None for column in zip(*known, strict=True)
    )


def _loops(graph: GraphProto) -> Iterator[tuple[NodeProto, GraphProto]]:
    for node in graph.node:
        for inner in inner_graphs(node):
            if node.op_type == "Loop" and node.domain in ("", "ai.onnx"):
                yield node, inner
            yield from _loops(inner)


def _shapes(graph: GraphProto) -> dict[str, _Shape]:
    """Shapes of all values by name, where their ranks are known."""
    fixed = {name for value in graph.input for name in _names(value.type)}
    shapes: dict[str, _Shape] = {}
    for inner in (graph, *graphs_inside(graph.node)):
        for tensor in inner.initializer:
            shapes[tensor.name] = tuple(tensor.dims)
        for value in (*inner.input, *inner.value_info, *inner.output):
            kind = value.type.tensor_type
            if not kind.HasField("shape"):
                continue
            sizes: list[_Size] = []
            for dim in kind.shape.dim:
                name = dim.dim_param
                named = name in fixed or (name and not name.startswith(GENERATED))
                sizes.append(
                    dim.dim_value if dim.HasField("dim_value") else name if named else None
                )
            shapes[value.name] = tuple(sizes)
    return shapes


def _names(kind: TypeProto) -> list[str]:
    return [dim.dim_param for dim in kind.tensor_type.shape.dim]


def _declare(graph: GraphProto, shapes: dict[str, _Shape], results: dict[str, str]) -> None:
    """Declare the shapes of states in the bodies of loops, and of their results outside."""
    for inner in (graph, *graphs_inside(graph.node)):
        declared = {value.name: value for value in (*inner.value_info, *inner.output)}
        for value in inner.input:
            if value.name in shapes:
                _set_shape(value, shapes[value.name])
        made = [name for node in inner.node for name in node.output if name in results]
        for name in made:
            if results[name] in shapes:
                value = declared.get(name) or inner.value_info.add(name=name)
                _set_shape(value, shapes[results[name]])


def _set_shape(value: ValueInfoProto, shape: _Shape) -> None:
    value.type.tensor_type.ClearField("shape")
    value.type.tensor_type.shape.SetInParent()
    for size in shape:
        dim = value.type.tensor_type.shape.dim.add()
        if isinstance(size, int):
            dim.dim_value = size
        elif size is not None:
            dim.dim_param = size
