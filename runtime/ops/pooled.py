"""Max pooling done by the Winograd convolution before it: the whole map is never written.

A tile of an even number of pixels holds whole windows of 2 x 2, so that their maxima are taken of
what the output transform has in registers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ...kernels.emitter import CLIP, NONE
from ..emission import Emission
from ..graph import Node
from ..strides import channels_last_order
from ..tensors import Tensor
from .convolution import Convolution
from .windows import Along, Window


class AbsorbedPool(NamedTuple):
    """A pooling that a convolution's step does, too: its result, and the sides of its windows."""

    node: Node
    y: Tensor
    pixels: int = 2


def absorb_pool(emit: Emission, conv: Convolution, tile: Sequence[int]) -> AbsorbedPool | None:
    """Take over the only consumer of a Winograd step, a pooling; None where they cannot be joined.

    The pooling is not lowered any more then.
    """
    pool = find_pool(emit, conv, tile)
    if pool is None:
        return None
    emit.absorbed.add(pool.index)
    return AbsorbedPool(pool, emit.output(pool, order=channels_last_order(len(conv.y.shape))))


def find_pool(emit: Emission, conv: Convolution, tile: Sequence[int]) -> Node | None:
    """Return the pooling that a Winograd step would take over."""
    pool, epilogue = _following(emit, conv.group.last), conv.epilogue
    if pool is None or conv.y.shape != conv.group.last.infos[0].dims:
        return None  # slices seen as rows; steps of a ConvTranspose, which have no whole windows
    # The activation comes after the maximum, so it must not fall.
    plain = conv.kind == "f32" and not epilogue.nodes and conv.residual is None
    plain = plain and epilogue.activation in (NONE, CLIP)
    return None if not plain or emit.is_catching or any(size % 2 for size in tile) else pool


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
    window = Window.of(pool, pool.attribute("kernel_shape"))
    side_by_side = window == Window(rows=Along(2, 2), columns=Along(2, 2))
    whole = not pool.attribute("ceil_mode", 0)
    return pool if side_by_side and whole else None
