"""Conv: shape rule and lowering."""

from __future__ import annotations

from ..emission import Emission
from ..graph import Info, Node, OnHost
from ..groups import Group
from ..strides import channels_last_order
from . import checks
from .convolution import KINDS, Convolution
from .depthwise import emit_depthwise
from .epilogue import Epilogue
from .forms import emit_convolution
from .registry import Operator, register
from .windows import Window, height_width


def _infer_conv(node: Node) -> list[Info]:
    x, w = node.required(0), node.required(1)
    if x.dtype not in ("float32", "float64"):
        raise OnHost(f"Conv of {x.dtype}")
    if not w.is_constant:
        raise OnHost("the weights are not constant")
    window = Window.of(node, w.dims[2:])
    height, width = height_width(x.dims)
    spatial = [window.size(0, height), window.size(1, width)][-(x.rank - 2) :]
    return [node.result((x.dims[0], w.dims[0], *spatial))]


def _lower_conv(emit: Emission, node: Node, group: Group) -> None:
    weights, groups = node.required(1).array(), node.attribute("group", 1)
    window = Window.of(node, weights.shape[2:])
    if weights.ndim == 3:
        weights = weights[:, :, None, :]
    bias = node.input(2)
    epilogue = Epilogue.match(emit, node, group.body, 1)
    if bias is not None and not bias.is_constant and epilogue.bias is not None:
        epilogue = Epilogue(nodes=group.body, value=node.outputs[0])
    x = emit.channels_last(emit.tensor(group.gate.x if group.gate else node.values[0]))
    message = f"node {node.name!r} (Conv): channels of {x.name!r} and of the weights"
    emit.check(x.shape[1], weights.shape[1] * groups, message)
    residual = None
    if epilogue.residual is not None:
        residual = emit.channels_last(emit.tensor(epilogue.residual))
    y = emit.output(group.last, order=channels_last_order(len(x.shape)))
    conv = Convolution(
        group=group,
        kind=KINDS[x.dtype],
        x=x,
        y=y,
        output=y,
        weights=weights,
        window=window,
        groups=groups,
        bias=epilogue.bias_tensor(emit, node),
        residual=residual,
        epilogue=epilogue,
    )
    if conv.is_depthwise and residual is None and conv.kind == "f32":
        emit_depthwise(emit, conv)
    else:
        emit_convolution(emit, conv)


register(
    "Conv",
    Operator(
        rules=(checks.convolution,), infer=_infer_conv, fused=_lower_conv, layout="channels_last"
    ),
)
