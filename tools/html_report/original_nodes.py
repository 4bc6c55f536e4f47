"""Nodes of a model as it was given, and what became of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..profile import StepRow

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class OriginalNode:
    """A node, and its step.

    Attributes
    ----------
    name, op_type : str
        Of the model as it was given; the name says by ``/``, ``.`` or ``::`` what scope it is in.
    step : int
        Index of the step that computes it, in the profile's rows; -1 if none does.
    fate : str
        ``"runs"``, ``"fused"`` (into a node behind it), ``"folded"`` (computed when the model was
        opened) or ``"removed"``.
    """

    name: str
    op_type: str
    step: int
    fate: str


def original_nodes(
    model: ir.Model, optimized: ir.Model, steps: Sequence[StepRow]
) -> list[OriginalNode]:
    """Follow the nodes of a model into the steps that compute them.

    A node that is gone was fused into the first node behind it that still is there, if any: its
    result is an operand of that one's, which its inputs are now operands of.
    """
    step_of = {name: row for row, step in enumerate(steps) for name in step.nodes}
    kept = {node.name for node in optimized.graph.all_nodes()}
    written = {value.name for node in optimized.graph.all_nodes() for value in node.outputs}
    found: dict[ir.Node, OriginalNode] = {}
    for node in reversed(list(model.graph)):
        if node.op_type == "Constant" and not node.domain:
            continue
        name = node.name or _first_output(node)
        step = step_of.get(node.name or "", -1)
        if step < 0 and any(value.name in written for value in node.outputs):
            step = _step_by_output(node, steps, optimized, step_of)
        if step >= 0:
            found[node] = OriginalNode(name, node.op_type, step, "runs")
        elif node.name in kept:
            found[node] = OriginalNode(name, node.op_type, -1, "runs")
        else:
            found[node] = OriginalNode(name, node.op_type, *_successor(node, found))
    return list(reversed(found.values()))


def _first_output(node: ir.Node) -> str:
    return str(node.outputs[0].name) if node.outputs else node.op_type


def _step_by_output(
    node: ir.Node, steps: Sequence[StepRow], optimized: ir.Model, step_of: Mapping[str, int]
) -> int:
    """Return the step of the node that now gives one of a node's results."""
    results = {value.name for value in node.outputs}
    for other in optimized.graph:
        if results & {value.name for value in other.outputs}:
            return step_of.get(other.name or "", -1)
    return -1


def _successor(node: ir.Node, found: Mapping[ir.Node, OriginalNode]) -> tuple[int, str]:
    """Return the step that a node that is gone was fused into, and what became of it."""
    if all(value is None or _is_constant(value) for value in node.inputs):
        return -1, "folded"
    readers = [user for value in node.outputs for user, _ in value.uses() if user in found]
    for reader in readers:
        if found[reader].step >= 0:
            return found[reader].step, "fused"
    return -1, "removed"


def _is_constant(value: ir.Value) -> bool:
    producer = value.producer()
    return value.is_initializer() or (producer is not None and producer.op_type == "Constant")
