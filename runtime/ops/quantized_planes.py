"""QuantizeLinear of images of few planes that convolutions read: the bytes of a pixel are a word.

The words are what tiles multiply, so that nothing is left to do between the model's input and the
first convolution. As a tensor they are images channels last, whose pixels are four bytes apart.
"""

from __future__ import annotations

from ...kernels.cpu.quantized_planes import quantize_planes
from ..emission import Emission
from ..graph import Node
from ..groups import Group
from ..strides import channels_last_order
from ..symbolic import product
from . import quads
from .quantization import quotient_type

_READERS = {"QLinearConv": 3, "ConvInteger": 1}
"""Convolutions, and which input are their weights."""
_WORD = 4
"""Bytes of a word."""


def emit_quantized_planes(emit: Emission, group: Group) -> bool:
    """Emit a QuantizeLinear so; False for other groups, of which nothing is emitted."""
    node = group.last
    if len(group.nodes) > 1 or not _is_read_as_words(emit, node):
        return False
    x = emit.tensor(node.values[0])
    if not quads.has_few_planes(x):
        return False
    scale, zero = emit.tensor(node.values[1]), None
    if node.input(2) is not None:
        zero = emit.tensor(node.values[2])
    info, order = node.infos[0], channels_last_order(len(x.shape))
    images, channels, *spatial = info.dims
    y = emit.new((images, _WORD, *spatial), info.dtype, order, info.name)
    emit.step(
        quantize_planes, outputs=[y], flops=4 * x.size, x=x, y=y, scale=scale, zero=zero,
        images=images, channels=channels, pixels=product(spatial), x_image=x.strides[0],
        x_plane=x.strides[1], is_signed=int(info.dtype == "int8"),
    )  # fmt: skip
    emit.set(node.outputs[0], y.view(info.dims, y.strides))
    return True


def _is_read_as_words(emit: Emission, node: Node) -> bool:
    """Tell whether only dense convolutions read what is quantized to bytes by one scale."""
    if node.key != ("", "QuantizeLinear") or not quads.words_pay():
        return False
    value, x, scale, zero = node.outputs[0], node.required(0), node.required(1), node.input(2)
    if x.dtype != "float32" or scale.dtype != "float32" or quotient_type(node) != "float32":
        return False
    if node.infos[0].dtype not in ("int8", "uint8") or value.is_graph_output():
        return False
    if any(info is not None and product(info.dims) != 1 for info in (scale, zero)):
        return False
    readers = [emit.graph.index_of.get(use.node) for use in value.uses()]
    return bool(readers) and all(
        index is not None and _takes_words(emit.graph.nodes[index]) for index in readers
    )


def _takes_words(node: Node) -> bool:
    """Tell whether a word should have one pixel: of few channels it has several (`wide_pixels`)."""
    if node.op_type not in _READERS or node.attribute("group", 1) != 1:
        return False
    _, channels, *kernel = node.required(_READERS[node.op_type]).dims
    return kernel[-1] == 1 or channels not in (1, 2)
