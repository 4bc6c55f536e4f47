"""Convolutions that run joined, strip by strip, so that what lies between stays in cache.

A chain is a depthwise convolution with the convolution before it, the 1 x 1 convolution after
it, or both, where nothing else reads what is between. Its groups are lowered as usual, but their
steps are caught; when they turn out to be joinable and the tensors between so large that writing
and reading them costs more than the strips do, they become one step (``kernels.cpu.strips``).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Collection
from typing import Any

import onnx_ir as ir

from ..kernels.abi import ARENA
from ..kernels.cpu.strips import MAX_STAGES, RECORD_WORDS, STRIP_BYTES, StageFields, strips
from ..kernels.machine_costs import machine_costs
from ..kernels.target import L2_BYTES
from .emission import Emission
from .graph import Graph, Node
from .groups import Group
from .symbolic import Dim, sum_dims
from .tensors import Pending, Record, Tensor, words_of

_STAGES = ("convolve", "depthwise")


def find_chains(
    graph: Graph, groups: dict[int, Group], placed: Collection[ir.Value]
) -> dict[int, list[Group]]:
    """Find the chains; each is given for the last node of each of its groups, by index.

    Values that are ``placed`` lie in a concatenated buffer, which is read by others too.
    """
    chains: dict[int, list[Group]] = {}
    for node in graph.nodes:
        group = groups.get(node.index)
        if group is None or group.head is not node or not _is_depthwise(node):
            continue
        before = _producer(graph, groups, placed, node.values[0])  # type: ignore[arg-type]
        after = _consumer(graph, groups, placed, group.last.outputs[0])
        chain = [part for part in (before, group, after) if part is not None]
        free = not any(part.last.index in chains for part in chain)
        if len(chain) > 1 and free:
            chains.update({part.last.index: chain for part in chain})
    return chains


def _is_image_convolution(node: Node | None) -> bool:
    return node is not None and node.op_type == "Conv" and len(node.infos[0].dims) == 4


def _is_depthwise(node: Node) -> bool:
    if not _is_image_convolution(node) or node.infos[0].dtype != "float32":
        return False
    weights = node.required(1).dims
    return weights[1] == 1 and weights[0] == node.attribute("group", 1) != 1


def _is_read_once(value: ir.Value, placed: Collection[ir.Value]) -> bool:
    return len(value.uses()) == 1 and not value.is_graph_output() and value not in placed


def _producer(
    graph: Graph, groups: dict[int, Group], placed: Collection[ir.Value], value: ir.Value
) -> Group | None:
    """Group of the convolution that makes a value, if it does so for one reader only."""
    producer = value.producer()
    group = groups.get(graph.index_of.get(producer, -1)) if producer is not None else None
    if group is None or group.last.outputs[0] is not value or not _is_read_once(value, placed):
        return None
    return group if _is_image_convolution(group.head) and not _is_depthwise(group.head) else None  # type: ignore[arg-type]


def _consumer(
    graph: Graph, groups: dict[int, Group], placed: Collection[ir.Value], value: ir.Value
) -> Group | None:
    """Group of the 1 x 1 convolution that is a value's only reader."""
    if not _is_read_once(value, placed):
        return None
    (use,) = value.uses()
    group = groups.get(graph.index_of.get(use.node, -1))
    head = None if group is None else group.head
    if not _is_image_convolution(head) or head.ir is not use.node or use.idx != 0:  # type: ignore[union-attr]
        return None
    return group if head.required(1).dims[2:] == (1, 1) else None  # type: ignore[union-attr]


def join(emit: Emission, steps: list[Pending]) -> list[Pending]:
    """Make one step of a chain's stages where that can be done and pays; keep other steps."""
    stages = [step for step in steps if step.kernel.ref.function in _STAGES]
    first = steps.index(stages[0]) if stages else 0
    last = first + len(stages)
    if steps[first:last] != stages or not _are_joinable(stages) or not _pays(stages):
        return steps
    return [*steps[:first], _joined(emit, stages), *steps[last:]]


def _joined(emit: Emission, steps: list[Pending]) -> Pending:
    """Make one step of stages."""
    between = [step.fields["y"].buffer for step in steps[:-1]]
    for buffer in between:
        buffer.size = 0
    stages = [word for step in steps for word in _stage(step, between)]
    space = (STRIP_BYTES + _bytes_for_one_row(steps) + 63) // 64 * 64
    last = steps[-1]
    fields = {
        "images": last.fields["images"], "out_height": last.fields["out_height"],
        "count": len(steps), "stages": Record(stages),
        "workspace": emit.workspace(space), "workspace_bytes": space,
    }  # fmt: skip
    return dataclasses.replace(
        last,
        kernel=strips,
        fields=fields,
        flops=sum_dims(step.flops for step in steps),
        over=(),
        op_type="+".join(step.op_type for step in steps),
        nodes=[name for step in steps for name in step.nodes],
        operators=[name for step in steps for name in step.operators],
    )


def _are_joinable(steps: list[Pending]) -> bool:
    are_float32 = all(step.fields[name].dtype == "float32" for step in steps for name in "xy")
    return (
        2 <= len(steps) <= MAX_STAGES
        and are_float32
        and all(
            step.fields["y"].buffer is following.fields["x"].buffer
            and step.fields["y"].buffer.kind == ARENA
            and step.fields["y"].offset == following.fields["x"].offset == 0
            and step.fields["out_height"] == following.fields["height"]
            for step, following in itertools.pairwise(steps)
        )
    )


def _pays(steps: list[Pending]) -> bool:
    """Tell whether strips may cost less than what lies between in caches further away.

    Not where weights, which are read for each strip, leave no room for it in the near cache. What
    lies between may be large where a run tells how large.
    """
    # Weights that a gate scales are as many as there are images, which may be unknown.
    weights = sum_dims(step.fields["w"].nbytes for step in steps)
    if not isinstance(weights, int) or weights > L2_BYTES // 2:
        return False
    sizes = [step.fields["y"].nbytes for step in steps[:-1]]
    known = [size for size in sizes if isinstance(size, int)]
    return len(known) < len(sizes) or _saved(known) > _spent(steps, sum(known), weights)


def _saved(sizes: list[int]) -> float:
    """Return what it costs more to write and read bytes where they lie without strips."""
    streams = machine_costs().streams
    return sum(2 * size * (streams.of(size) - streams.near) for size in sizes)


def _spent(steps: list[Pending], between: int, weights: int) -> float:
    """Return what strips cost: calls, weights that are read anew, and rows that are copied."""
    costs, strips = machine_costs(), -(-between // STRIP_BYTES)
    kept = sum(
        max((step.fields["kernel_h"] - 1) * step.fields["dilation_h"], 0)
        * step.fields["x_row"] * 4
        for step in steps[1:]
    )  # fmt: skip
    moved = (2 * kept + weights) * costs.streams.near
    return strips * (len(steps) * costs.step + moved)


def _bytes_for_one_row(steps: list[Pending]) -> Dim:
    """Bytes between the stages for one row of the last one."""
    total: Dim = 0
    rows = 1
    for step, before in zip(reversed(steps), reversed(steps[:-1]), strict=False):
        fields = step.fields
        reach = (fields["kernel_h"] - 1) * fields["dilation_h"] + 1
        rows = (rows - 1) * fields["stride_h"] + reach
        total = total + rows * before.fields["y_row"] * 4
    return total


def _stage(step: Pending, between: list[Any]) -> list[Any]:
    """Words of a stage: kernel, record, its length, and positions of the words that change."""
    kernel = step.kernel
    assert len(kernel.fields) <= RECORD_WORDS
    fields = {**step.fields}
    for name in ("x", "y"):
        if fields[name].buffer in between:
            fields[name] = None
    if fields["epilogue"]:
        fields["epilogue_record"] = _without(fields["epilogue_record"], between)
    names = StageFields._fields
    positions = [kernel.fields.index(name) if name in kernel.fields else -1 for name in names]
    return [kernel, Record(words_of(kernel, fields)), len(kernel.fields), *positions]


def _without(record: Record, between: list[Any]) -> Record:
    """Return an epilogue's record without addresses in buffers that are not allocated."""
    return Record(
        [None if isinstance(f, Tensor) and f.buffer in between else f for f in record.fields]
    )
