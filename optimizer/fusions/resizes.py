"""Repeated pixels: Tile and Reshape become a Resize, and several of these become one."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ..blocks import Block, blocks
from ..rewrite import Match, NearMiss, apply_rules, op, rewrite
from ..values import constant, integers

_REPEATS = {
    "mode": "nearest",
    "coordinate_transformation_mode": "asymmetric",
    "nearest_mode": "floor",
}
_RANK, _FIRST = 4, 2  # runtimes resize the last axes of images


@rewrite(lambda x, repeats, shape: op.Reshape(op.Tile(x, repeats).named("tiled"), shape))
def _repeated(m: Match) -> ir.Value:
    """Pixels that are repeated along an axis of their own, which joins the one before it."""
    before, after, counts = m.sizes(m.tiled), m.sizes(m.root.outputs[0]), integers(m.repeats)
    if counts is None:
        raise NearMiss("the repeats are not constant")
    m.require(m.x.dtype == ir.DataType.FLOAT and len(after) == _RANK, "it is no float32 image")
    more = [axis for axis, count in enumerate(counts) if count != 1]
    m.require(len(more) == 1 and len(before) == _RANK + 1, "it does not repeat exactly one axis")
    axis = more[0]
    own = m.sizes(m.x)[axis] == 1 and axis > _FIRST
    m.require(own, "the repeated axis is not of size 1 behind a spatial axis")
    others = [other for other in range(_RANK + 1) if other not in (axis - 1, axis)]
    joined: list[Block] = [((axis - 1, axis), (axis - 1,))]
    joined += [((other,), (other - (other > axis),)) for other in others]
    same = {block for block in joined if 1 not in (before[i] for i in block[0])}
    m.require(same == set(blocks(before, after)), "the repeated axis does not join the one before")
    image = m.op.Squeeze(m.x, np.array([axis]))
    scales = [float(counts[axis]) if other == axis - 1 else 1.0 for other in range(_RANK)]
    return m.op.Resize(image, None, np.array(scales, np.float32), **_REPEATS)


def repeats(node: ir.Node | None) -> np.ndarray | None:
    """Repeats along each axis of a Resize that does nothing else, else None."""
    assert node is not None
    others = {name: item.value for name, item in node.attributes.items()}
    options = {name: others.pop(name, None) for name in _REPEATS}
    scales = constant(node.inputs[2]) if len(node.inputs) == 3 else None
    if scales is None or not scales.size or options != _REPEATS or any(others.values()):
        return None
    return scales if (scales == np.trunc(scales)).all() else None


@rewrite(lambda x: op.Resize(op.Resize(x, ...).named("inner"), ...))
def _repeated_twice(m: Match) -> ir.Value:
    inner, outer = repeats(m.inner.producer()), repeats(m.root)
    m.require(inner is not None and outer is not None, "one of them does more than repeat")
    return m.op.Resize(m.x, None, inner * outer, **_REPEATS)  # type: ignore[operator]


fuse_resizes = apply_rules([_repeated, _repeated_twice])
