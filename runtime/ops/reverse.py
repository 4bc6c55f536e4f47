"""ReverseSequence."""

from __future__ import annotations

from ...kernels.cpu.reverse import reverse_sequence
from ..emission import Emission
from ..graph import Info, Node, OnHost, refuse
from ..symbolic import product
from . import checks
from .registry import Operator, register


def _axes(node: Node) -> tuple[int, int]:
    return node.attribute("time_axis", 0), node.attribute("batch_axis", 1)


def _infer(node: Node) -> list[Info]:
    x, lengths = node.required(0), node.required(1)
    if lengths.dtype != "int64":
        raise OnHost(f"lengths of {lengths.dtype}")
    return [node.result(x.dims)]


def _lower(emit: Emission, node: Node) -> None:
    x, lengths = (emit.ordered(emit.tensor(value)) for value in node.values[:2])
    time, batch = _axes(node)
    emit.check(lengths.shape[0], x.shape[batch], f"numbers of sequences and of {lengths.name!r}")
    y = emit.output(node)
    emit.step(
        reverse_sequence(x.itemsize), outputs=[y], x=x, lengths=lengths, y=y, steps=x.shape[time],
        sequences=x.shape[batch], inner=product(x.shape[2:]), steps_apart=x.strides[time],
        sequences_apart=x.strides[batch],
    )  # fmt: skip


def _check(node: Node) -> None:
    checks.least_rank(2)(node)
    if sorted(_axes(node)) != [0, 1]:
        refuse(node, "attributes 'time_axis' and 'batch_axis'", _axes(node), "0 and 1, or 1 and 0")
    lengths = node.input(1)
    if lengths is not None and lengths.shape is not None and lengths.rank != 1:
        refuse(node, f"rank of {lengths.name!r}", lengths.rank, "1")


register("ReverseSequence", Operator(rules=(_check,), infer=_infer, lower=_lower, moves=True))
