"""Bodies of If, Loop and Scan: what they give, and steps that a run passes by or repeats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ...errors import InvalidModel
from ...kernels.cpu import control
from ..emission import Emission
from ..graph import Info, Node, OnHost, refuse
from ..symbolic import product
from ..tensors import Tensor


def check_flag(node: Node, info: Info) -> None:
    """Demand that a condition is one bool."""
    if info.dtype != "bool":
        refuse(node, f"type of {info.name!r}", info.dtype, "bool")
    check_one(info)


def check_one(info: Info | None) -> None:
    """Demand that a tensor, if there is one, has one element."""
    if info is not None and product(info.dims) != 1:
        raise OnHost(f"{info.name!r} has the shape {info.dims}")


def results_of(node: Node, name: str, count: int) -> list[Info]:
    """Describe the outputs of a body."""
    graph = node.bodies[name]
    if len(graph.outputs) != count:
        refuse(node, f"number of outputs of {name!r}", len(graph.outputs), str(count))
    infos = [graph.infos[value] for value in graph.outputs]
    if any(info.dtype == "object" for info in infos):
        raise OnHost(f"its {name} gives what is no plain numeric tensor")
    return infos


def states_of(node: Node, inputs: Sequence[Info | None]) -> list[Info]:
    """Describe the initial states, none of which may be left out."""
    states = [info for info in inputs if info is not None]
    if len(states) != len(inputs):
        refuse(node, "an initial state", None, "a tensor")
    return states


def check_states(node: Node, states: Sequence[Info], results: Sequence[Info]) -> None:
    """Demand that an iteration keeps the types and shapes of the states."""
    if len(results) < len(states):
        refuse(node, "number of states that its body gives", len(results), str(len(states)))
    for state, result in zip(states, results, strict=False):
        if state.dtype != result.dtype:
            refuse(node, f"type of the state {result.name!r}", result.dtype, state.dtype)
        if state.shape != result.shape:
            raise OnHost(f"the state {state.name!r} of shape {state.dims} becomes {result.dims}")


@contextmanager
def contained(emit: Emission, node: Node) -> Iterator[None]:
    """Emit what a run may pass by or repeat.

    A node whose bodies are not valid is left to the host, which sees whether they run at all.
    """
    before, emit.is_certain = emit.is_certain, False
    try:
        yield
    except InvalidModel as error:
        raise OnHost(f"a body of {node.name!r}: {error}") from error
    finally:
        emit.is_certain = before


def count_runs(emit: Emission, node: Node, trips: Tensor | None, condition: Tensor | None) -> None:
    """Emit how often a body runs, so many times if the condition holds, and read it."""
    counted = emit.new((1,), "int64")
    emit.step(
        control.count_iterations, outputs=[counted], op_type=f"{node.op_type}Count",
        counted=counted, trips=trips, condition=condition,
    )  # fmt: skip
    emit.read(counted, node.counted, node)
