"""Nodes on which onnx's shape inference would end the process: they are hidden from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from onnx import FunctionProto, ModelProto, NodeProto

from ...inference_faults import needs_input_type

_HIDDEN = "sardonyx.hidden."


def hide_unsafe_nodes(model: ModelProto) -> None:
    """Give such nodes a domain that onnx does not know, in place."""
    for owner, nodes in _owners(model):
        versions = {entry.domain: entry.version for entry in owner.opset_import}
        found = set()
        for node in _all_nodes(nodes):
            if needs_input_type(node.domain, node.op_type, versions.get(node.domain, 1)):
                node.domain = _HIDDEN + node.domain
                found.add(node.domain)
        for domain in sorted(found):
            owner.opset_import.add(domain=domain, version=1)


def reveal_unsafe_nodes(model: ModelProto) -> None:
    """Give them their domains back, in place."""
    for owner, nodes in _owners(model):
        for node in _all_nodes(nodes):
            node.domain = node.domain.removeprefix(_HIDDEN)
        for entry in list(owner.opset_import):
            if entry.domain.startswith(_HIDDEN):
                owner.opset_import.remove(entry)


def _owners(
    model: ModelProto,
) -> Iterator[tuple[ModelProto | FunctionProto, Iterable[NodeProto]]]:
    """Yield what imports opsets, and its nodes: the model and its functions."""
    yield model, model.graph.node
    for function in model.functions:
        yield function, function.node


def _all_nodes(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _all_nodes(graph.node)
