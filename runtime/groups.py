"""Groups of nodes that become one step, as fusion leaves them."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from .graph import Node


@dataclass(slots=True)
class Gate:
    """``product`` computes ``x * factors``, with factors (N or 1, C, 1, 1)."""

    product: Node
    x: ir.Value
    factors: ir.Value


@dataclass(eq=False, slots=True)
class Group:
    """Nodes that become one step; ``head`` is the convolution or product that leads it.

    With a ``gate``, the head takes the map before it was multiplied, and scales its weights.
    """

    nodes: list[Node]
    head: Node | None = None
    gate: Gate | None = None

    @property
    def last(self) -> Node:
        """The node whose output is the group's result."""
        return self.nodes[-1]

    @property
    def body(self) -> list[Node]:
        """The elementwise nodes."""
        return [node for node in self.nodes if node is not self.head]
