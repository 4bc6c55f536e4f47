"""If: its branches are steps of the program, of which a run passes one by.

A node with bodies is compiled where they have kernels and their results keep one shape however
often a body runs, and one rank whatever branch is taken; others run on the host.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...kernels.cpu import control
from ..emission import Emission
from ..graph import BodyInputs, Graph, Info, Node, OnHost, refuse
from ..strides import contiguous_strides
from ..symbolic import Dim
from ..tensors import Label, Tensor
from .bodies import check_flag, contained, count_runs, results_of
from .registry import Operator, register

_BRANCHES = ("then_branch", "else_branch")


def _if_bodies(node: Node) -> dict[str, BodyInputs]:
    return {name: BodyInputs([]) for name in _BRANCHES}


def _infer_if(node: Node) -> list[Info]:
    check_flag(node, node.required(0))
    then, other = (results_of(node, name, len(node.outputs)) for name in _BRANCHES)
    pairs = list(zip(then, other, strict=True))
    for a, b in pairs:
        if a.dtype != b.dtype:
            refuse(node, f"type of {b.name!r}, of its else_branch", b.dtype, a.dtype)
        if a.rank != b.rank:
            raise OnHost(f"{a.name!r} of shape {a.dims} is {b.name!r} of shape {b.dims} otherwise")
    if all(a.shape == b.shape for a, b in pairs):
        return [node.result(a.dims, a.dtype, i) for i, (a, _) in enumerate(pairs)]
    taken = node.count()  # 1 or 0: how often a run takes the then_branch
    return [
        node.result(_either(taken, a.dims, b.dims), a.dtype, i) for i, (a, b) in enumerate(pairs)
    ]


def _either(first: Dim, a: Sequence[Dim], b: Sequence[Dim]) -> list[Dim]:
    """Return the sizes ``a`` where ``first`` is 1, and ``b`` where it is 0."""
    return [x if x == y else first * x + (1 - first) * y for x, y in zip(a, b, strict=True)]


def _lower_if(emit: Emission, node: Node) -> None:
    condition = emit.tensor(node.values[0])
    if node.counted:
        one = emit.constant(np.array(1, np.int64))
        count_runs(emit, node, one, condition)
    results = [emit.output(node, index) for index in range(len(node.outputs))]
    other, end = Label(), Label()
    with contained(emit, node):
        emit.step(control.branch, outputs=[], condition=condition, other=other)
        _emit_branch(emit, node.bodies["then_branch"], results)
        emit.step(control.jump, outputs=[], target=end)
        emit.program.mark(other)
        _emit_branch(emit, node.bodies["else_branch"], results)
        emit.program.mark(end)


def _emit_branch(emit: Emission, graph: Graph, results: Sequence[Tensor]) -> None:
    own = [emit.infos[value].dims for value in graph.outputs]
    wanted = [
        result if result.shape == dims else result.view(dims, contiguous_strides(dims))
        for dims, result in zip(own, results, strict=True)
    ]
    for tensor, target in zip(emit.body(graph, [], wanted), wanted, strict=True):
        if tensor is not target:
            emit.copy(tensor, target, "Copy")


register("If", Operator(bodies=_if_bodies, infer=_infer_if, lower=_lower_if, moves=True))
