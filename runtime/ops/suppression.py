"""NonMaxSuppression: boxes are chosen, counted, then written where they belong."""

from __future__ import annotations

import numpy as np

from ...kernels.cpu.nonzero import begins_of
from ...kernels.cpu.suppression import CORNERS, box_corners, chosen_boxes, suppress
from ...kernels.target import LANES
from ..emission import Emission
from ..graph import Info, Node, OnHost, refuse
from ..symbolic import Dim, minimum
from ..tensors import Tensor
from . import checks
from .registry import Operator, register


def _infer(node: Node) -> list[Info]:
    if any(node.required(i).dtype != "float32" for i in range(2)):
        raise OnHost("boxes or scores that are not float32")
    return [node.result((node.count(), 3), "int64")]


def _number(emit: Emission, node: Node, index: int, otherwise: np.ndarray) -> Tensor:
    """Return a number that may be missing, or of no elements."""
    info = node.input(index)
    if info is None or 0 in info.dims:
        return emit.constant(otherwise)
    return emit.tensor(node.values[index])


def _most(node: Node, boxes: Dim) -> Dim:
    """Boxes that may be kept of an image and a class."""
    limit = node.input(2)
    if limit is None or 0 in limit.dims:
        return 0
    if not limit.is_constant:
        return boxes
    return minimum(max(int(limit.array().reshape(-1)[0]), 0), boxes)


def _lower(emit: Emission, node: Node) -> None:
    boxes, scores = (emit.ordered(emit.tensor(value)) for value in node.values[:2])
    images, classes, count = scores.shape
    for axis, size in enumerate((images, count, 4)):
        emit.check(boxes.shape[axis], size, f"size of axis {axis} of {boxes.name!r}")
    corners = emit.new((images, CORNERS, count), "float32")
    emit.step(
        box_corners, outputs=[corners], boxes=boxes, corners=corners, images=images, count=count,
        is_centred=node.attribute("center_point_box", 0),
    )  # fmt: skip
    most = _most(node, count)
    chosen, counts = (
        emit.new((images, classes, most), "int32"),
        emit.new((images * classes,), "int64"),
    )
    row = (most + LANES - 1) // LANES * LANES
    space = (8 * count + 4 * CORNERS * row + 63) // 64 * 64
    emit.step(
        suppress, outputs=[counts, chosen], flops=scores.size * 32, corners=corners, scores=scores,
        images=images, classes=classes, boxes=count,
        limit=_number(emit, node, 2, np.zeros(1, np.int64)),
        overlap=_number(emit, node, 3, np.zeros(1, np.float32)),
        threshold=_number(emit, node, 4, np.zeros(1, np.float32)),
        everything=int(node.input(4) is None or 0 in node.required(4).dims), most=most,
        chosen=chosen, counts=counts, workspace=emit.workspace(space), workspace_bytes=space,
    )  # fmt: skip
    pairs = images * classes
    begins = emit.new((pairs + 1,), "int64")
    emit.step(begins_of, outputs=[begins], counts=counts, begins=begins, count=pairs)
    emit.read(begins.view((1,), (1,), pairs), node.counted, node)
    y = emit.output(node)
    emit.step(
        chosen_boxes, outputs=[y], chosen=chosen, begins=begins, y=y, images=images,
        classes=classes, most=most,
    )  # fmt: skip


def _check(node: Node) -> None:
    for index in (0, 1):
        info = node.input(index)
        if info is not None and info.shape is not None and info.rank != 3:
            refuse(node, f"rank of {info.name!r}", info.rank, "3")
    for index in (2, 3, 4):
        info = node.input(index)
        if info is not None and info.shape is not None and 0 not in info.dims:
            checks.one_number(node, index)
    if node.attribute("center_point_box", 0) not in (0, 1):
        refuse(node, "attribute 'center_point_box'", node.attribute("center_point_box"), "0 or 1")


register("NonMaxSuppression", Operator(rules=(_check,), infer=_infer, lower=_lower))
