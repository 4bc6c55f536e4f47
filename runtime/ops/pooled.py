"""Max pooling done by the Winograd convolution before it: the whole map is never written.

A tile of an even number of pixels holds whole windows of 2 x 2, so that their maxima are taken of
what the output transform has in registers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...kernels.emitter import CLIP, NONE
from ..emission import Emission
from ..graph import Node
from ..groups import Group
from . import epilogue as endings
from .windows import Window, image_strides


def absorb_pool(
    emit: Emission, group: Group, ending: endings.Plan, tile: Sequence[int]
) -> dict[str, Any]:
    """Fields of a Winograd step that does its only consumer, a pooling, too; none where it cannot.

    The pooling is not lowered any more then.
    """
    pool = _following(emit, group.last)
    # The activation comes after the maximum, so it must not fall.
    plain = not ending.rest and ending.residual is None and ending.activation in (NONE, CLIP)
    if pool is None or not plain or emit.is_catching or any(size % 2 for size in tile):
        return {}
    emit.absorbed.add(pool.index)
    y = emit.output(pool, order=(0, 2, 3, 1))
    y_image, y_row, y_pixel = image_strides(y)
    return {
        "pool": 2, "nodes": [*group.nodes, pool], "outputs": [y],
        "y": y, "y_image": y_image, "y_row": y_row, "y_pixel": y_pixel,
    }  # fmt: skip


def _following(emit: Emission, node: Node) -> Node | None:
    """Return the MaxPool of 2 x 2 windows side by side that is all that a value is made for."""
    value = node.outputs[0]
    uses = list(value.uses())
    index = emit.graph.index_of.get(uses[0].node) if len(uses) == 1 else None
    if index is None or value.is_graph_output() or index in emit.graph.why_host:
        return None
    pool = emit.graph.nodes[index]
    if pool.op_type != "MaxPool" or any(output.name for output in pool.outputs[1:]):
        return None
    window = Window(pool, pool.attribute("kernel_shape"))
    side_by_side = window.kernel == window.strides == [2, 2] and window.dilations == [1, 1]
    whole = not window.is_padded and not pool.attribute("ceil_mode", 0)
    return pool if side_by_side and whole else None
