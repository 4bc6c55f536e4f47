"""Squeeze-and-excite: channels' gates scale the weights of a 1 x 1 convolution, not its input.

``conv(x * gate, w)`` is ``conv(x, gate * w)`` when there is one gate for a channel of an image.
Where a pass over the weights costs less than one over the map, that one goes away.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...kernels.cpu.scale_panels import scale_panels
from ...kernels.machine_costs import machine_costs
from ..emission import Emission
from ..graph import Graph, Info, Node
from ..groups import Gate, Group
from ..symbolic import Dim, product
from ..tensors import Tensor
from .windows import Window

_PIXELS = 512
"""Stands for pixels whose number is known only when the model runs."""


def absorb_gates(graph: Graph, groups: dict[int, Group]) -> None:
    """Let 1 x 1 convolutions of gated maps scale their weights, where nothing else needs the maps.

    A multiplication that has joined the step that makes its map costs nothing, and stays there.
    """
    for node in graph.nodes:
        group = groups.get(node.index)
        if group is None or group.nodes != [node] or node.outputs[0].is_graph_output():
            continue
        gate = _gate_of(node)
        consumers = [graph.index_of.get(use.node) for use in node.outputs[0].uses()]
        if gate is None or not all(_can_scale(graph, consumer, gate) for consumer in consumers):
            continue
        for consumer in consumers:
            assert consumer is not None
            groups[consumer].gate = gate
            groups[node.index] = groups[consumer]


def _gate_of(node: Node) -> Gate | None:
    if node.op_type != "Mul" or node.infos[0].dtype != "float32":
        return None
    result = node.infos[0].dims
    pairs = list(zip(node.values, node.inputs, strict=True))
    for (x, info), (factors, small) in (pairs, pairs[::-1]):
        assert x is not None and factors is not None and info is not None and small is not None
        if len(result) == 4 and info.shape == result and _is_per_channel(small, result):
            return Gate(node, x, factors)
    return None


def _is_per_channel(info: Info, result: Sequence[Dim]) -> bool:
    shape = info.dims
    one_each = len(shape) == 4 and shape[1:] == (result[1], 1, 1)
    return one_each and shape[0] in (1, result[0]) and not info.is_constant


def _can_scale(graph: Graph, index: int | None, gate: Gate) -> bool:
    """Tell whether a convolution's weights can be scaled instead of its input, and cost less."""
    if index is None or graph.nodes[index].op_type != "Conv" or index in graph.why_host:
        return False
    conv, value = graph.nodes[index], gate.product.outputs[0]
    weights = conv.required(1)
    if conv.values[0] is not value or value in conv.values[1:]:
        return False
    if not weights.is_constant or weights.dims[2:] != (1, 1) or conv.attribute("group", 1) != 1:
        return False
    if Window.of(conv, [1, 1]).is_padded:
        return False
    out_channels, channels = weights.array().shape[:2]
    return _pays(out_channels, channels, product(gate.product.infos[0].dims[2:]))


def _pays(out_channels: int, channels: int, pixels: Dim) -> bool:
    """Tell whether weights of an image are scaled in less time than its map.

    Both are read and written. The map was just made; the weights were read a run ago.
    """
    pixels = pixels if isinstance(pixels, int) else _PIXELS
    streams = machine_costs().streams
    of_map = pixels * 2 * streams.of(4 * pixels * channels)
    return out_channels * (streams.memory + streams.near) <= of_map


def scaled_weights(
    emit: Emission, gate: Gate, packed: Tensor, channels: Dim, out_channels: int, nv: int
) -> tuple[Tensor, Dim]:
    """Emit the scaling of packed weights; returns them and the distance between images'.

    Parameters
    ----------
    emit : Emission
    gate : Gate
    packed : Tensor
        Weights (channels, out_channels) as ``packing.pack_matrix`` gives them.
    channels, out_channels : int
    nv : int
        Vectors of a panel.
    """
    factors = emit.tensor(gate.factors)
    images, size = factors.shape[0], packed.size
    scaled = emit.new((images * size,), "float32", name=packed.name)
    emit.step(
        scale_panels,
        outputs=[scaled],
        nodes=[gate.product],
        flops=scaled.size,
        w=packed, factors=factors, y=scaled, images=images, depth=channels, columns=out_channels,
        nv=nv, factors_image=factors.strides[0], factors_step=factors.strides[1], y_image=size,
    )  # fmt: skip
    return scaled, 0 if images == 1 else size
