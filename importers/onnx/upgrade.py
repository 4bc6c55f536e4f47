"""Upgrade of a model to a newer opset, by adapters of single nodes (``adapters``).

The opsets are walked one by one, so that what an adapter emits is adapted by the steps that follow.
A step is applied to the whole model or not at all: if one node cannot be expressed in the next
opset, the model stays where it is, and stays correct. Nothing is copied: weights are never looked
at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import onnx_ir as ir

from .adapters import ADAPTERS
from .node_rewrite import NodeRewrite, NotExpressible, names_taken


def upgrade(graphs: Sequence[ir.Graph], start: int, stop: int) -> tuple[int, str | None]:
    """Rewrite graphs (with all graphs inside them) from opset `start` to opset `stop`.

    Returns
    -------
    tuple of int and (str or None)
        The opset reached, and why the next one cannot be, if it is not `stop`.
    """
    changed = {version for version, _ in ADAPTERS}
    taken = names_taken(graphs)
    for version in range(start + 1, stop + 1):
        rewrites: list[NodeRewrite] = []
        if version not in changed:
            continue
        try:
            for node in _standard_nodes(graphs):
                change = ADAPTERS.get((version, node.op_type))
                if change is not None:
                    rewrites.append(NodeRewrite(node, version, taken))
                    change(rewrites[-1])
        except NotExpressible as reason:
            for rewrite in rewrites:
                rewrite.discard()
            return version - 1, f"{node.op_type} node {node.name!r}: {reason}"
        for rewrite in rewrites:
            rewrite.finish()
    return stop, None


def _standard_nodes(graphs: Sequence[ir.Graph]) -> Iterator[ir.Node]:
    for graph in graphs:
        for node in graph.all_nodes():
            if node.domain == "":
                yield node
