"""Conv: shape rule and lowering."""

from __future__ import annotations

import numpy as np

from ..emission import Emission
from ..graph import Info, Node, OnHost
from ..groups import Group
from ..strides import channels_last_order
from . import checks
from .convolution import KINDS, Convolution
from .epilogue import Epilogue
from .forms import emit_convolution
from .half_images import filters_of_pixels, pixels_of_planes, takes_planes
from .pointwise import emit_pointwise
from .registry import Operator, register
from .weights import conv_weights, kernel_sizes
from .wide_pixels import SINGLE, WidePixels
from .windows import Window, height_width
from .winograd_costs import gain

_SIZE = 64
"""Stands for a size that is known only when the model runs."""


def _infer_conv(node: Node) -> list[Info]:
    x, w = node.required(0), node.required(1)
    if x.dtype not in ("float32", "float64"):
        raise OnHost(f"Conv of {x.dtype}")
    window = Window.of(node, kernel_sizes(node))
    return [node.result((x.dims[0], w.dims[0], *window.sizes(x.dims[2:])))]


def _lower_conv(emit: Emission, node: Node, group: Group) -> None:
    groups = node.attribute("group", 1)
    window = Window.of(node, kernel_sizes(node))
    bias = node.input(2)
    epilogue = Epilogue.match(emit, node, group.body, 1)
    wide = None if group.gate else _wide_pixels(emit, node, window, epilogue)
    if _is_beyond(node, groups, epilogue, wide):
        _lower_conv(emit, node, Group([node], node))
        emit_pointwise(emit, Group(group.body))
        return
    if bias is not None and not bias.is_constant and epilogue.bias is not None:
        epilogue = Epilogue(nodes=group.body, value=node.outputs[0])
    x = emit.tensor(group.gate.x if group.gate else node.values[0])
    message = f"channels of {x.name!r} and of the weights"
    emit.check(x.shape[1], node.required(1).dims[1] * groups, message)
    weights = conv_weights(emit, node, groups)
    if wide is not None and isinstance(weights, np.ndarray):
        x, weights = emit.channels_last(x), wide.filters(weights)
    elif isinstance(weights, np.ndarray) and takes_planes(emit, node, group, x):
        x, weights = pixels_of_planes(emit, x), filters_of_pixels(weights)
    else:
        x = emit.channels_last(x)
    residual = None
    if epilogue.residual is not None:
        residual = emit.channels_last(emit.tensor(epilogue.residual))
    y = emit.output(group.last, order=channels_last_order(len(x.shape)))
    conv = Convolution(
        group=group,
        kind=KINDS[node.infos[0].dtype],
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
    if wide is None:
        emit_convolution(emit, conv)
    else:
        wide.emit(emit, conv)


def _wide_pixels(
    emit: Emission, node: Node, window: Window, epilogue: Epilogue
) -> WidePixels | None:
    """Return the wide pixels of a convolution whose results fill a part of a vector.

    Numbers beside a window meet weights of zero, so what is not finite reaches further than it
    should, as in Winograd's form.
    """
    weights, result = node.required(1), node.infos[0]
    is_plain = result.rank < 5 and result.dtype == "float32" and node.attribute("group", 1) == 1
    if not is_plain or not weights.is_constant or emit.options["precision"] == "strict":
        return None
    if emit.choices.is_asked(node.name, "winograd"):
        return None
    filters, channels = weights.array().shape[:2]
    height, width = (size if isinstance(size, int) else _SIZE for size in height_width(result.dims))
    faster = 1.0
    if window.dilations == (1, 1):
        size = 1, height, width
        faster = gain(window.kernel, size, channels, filters, 1, window.strides)
    passes = int(bool(epilogue.nodes) or epilogue.residual is not None)  # see `_is_beyond`
    return WidePixels.best(filters, channels, window, result.dims[-1], SINGLE, faster, passes)


def _is_beyond(node: Node, groups: int, epilogue: Epilogue, wide: WidePixels | None) -> bool:
    """Tell whether what follows a convolution has to be a step of its own.

    Kernels over rows know of no slices and no wide pixels, and those of depthwise convolutions of
    no residuals.
    """
    if node.required(0).rank == 5:
        return bool(epilogue.nodes)
    if wide is not None:
        return bool(epilogue.nodes) or epilogue.residual is not None
    filters = node.required(1).dims
    is_depthwise = filters[1] == 1 and filters[0] == groups != 1
    return is_depthwise and epilogue.residual is not None


register(
    "Conv",
    Operator(
        rules=(checks.convolution,), infer=_infer_conv, fused=_lower_conv, layout="channels_last"
    ),
)
