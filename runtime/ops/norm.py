"""Normalizations: over a batch, the last axes, pixels, or one axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...kernels.cpu.norm import channel_norm, group_norm, layer_norm, lp_norm
from ..emission import Emission
from ..graph import Info, Node, OnHost, refuse
from ..symbolic import Dim, product
from ..tensors import Tensor
from . import checks
from .matmul import row_stride
from .pointwise import emit_expression, preferred_order
from .registry import Operator, register


def _only_float32(node: Node, rank: int) -> Info:
    x = node.required(0)
    if x.dtype != "float32" or x.rank < rank:
        raise OnHost(f"only float32 of {rank} or more axes")
    return x


def _vector(emit: Emission, node: Node, index: int, count: Dim) -> Tensor | None:
    """Return an optional input of one element for each of ``count``, dense."""
    if node.input(index) is None:
        return None
    vector = emit.tensor(node.values[index])
    message = f"node {node.name!r} ({node.op_type}): elements of {vector.name!r} and of its axes"
    emit.check(vector.size, count, message)
    return emit.ordered(vector)


# --- BatchNormalization -----------------------------------------------------------------------


def _infer_batch(node: Node) -> list[Info]:
    x = _only_float32(node, 2)
    if node.attribute("training_mode", 0) or any(v.name for v in node.outputs[1:]):
        raise OnHost("training mode")
    if any(node.required(i).dtype != "float32" for i in range(1, 5)):
        raise OnHost("statistics of another type")
    return [node.result(x.dims, index=i) for i in range(len(node.outputs))]


def _lower_batch(emit: Emission, node: Node) -> None:
    """Scale and shift; by constants worked out in float64 where the statistics are constant."""
    shape = (-1, *[1] * (node.required(0).rank - 2))
    epsilon = node.attribute("epsilon", 1e-5)
    infos = [node.required(i) for i in range(1, 5)]
    if all(info.is_constant for info in infos):
        text = "fma(x0,x1,x2)"
        scale, shift, mean, variance = (info.array().astype(np.float64) for info in infos)
        factor = scale / np.sqrt(variance + epsilon)
        operands = [
            emit.constant(values.astype(np.float32).reshape(shape), f"{node.name}.{name}")
            for values, name in ((factor, "scale"), (shift - mean * factor, "shift"))
        ]
    else:
        text = "add(mul(div(sub(x0,x3),sqrt(add(x4,x5))),x1),x2)"
        channels = node.required(0).dims[1]
        vectors = [_vector(emit, node, i, channels) for i in range(1, 5)]
        operands = [
            v.view((channels, *shape[1:]), (1, *[0] * len(shape[1:]))) for v in vectors if v
        ]
        operands.append(emit.number(epsilon))
    x = emit.tensor(node.values[0])
    order = preferred_order(x.shape, [x])
    x = emit.ordered(x) if order is None else emit.channels_last(x)
    y = emit.output(node, order=order)
    emit_expression(emit, text, y, [x, *operands], order)


# --- over the last axes -----------------------------------------------------------------------


def _infer_layer(node: Node) -> list[Info]:
    x = _only_float32(node, 1)
    axis = node.attribute("axis", -1) % x.rank
    scale = node.required(1)
    for info in (scale, node.input(2)):
        if info is not None and (info.dtype != "float32" or info.dims != x.dims[axis:]):
            raise OnHost("scale or bias of another shape")
    if node.attribute("stash_type", 1) != 1:
        raise OnHost("statistics of another type than float32")
    statistics = (*x.dims[:axis], *[1] * (x.rank - axis))
    shapes = [x.dims, statistics, statistics]
    return [node.result(shapes[i], index=i) for i in range(len(node.outputs))]


def _lower_layer(emit: Emission, node: Node) -> None:
    x = emit.tensor(node.values[0])
    axis = node.attribute("axis", -1) % len(x.shape)
    n = product(x.shape[axis:])
    stride = row_stride(x) if axis == len(x.shape) - 1 else None
    if stride is None:
        x, stride = emit.ordered(x), n
    y = emit.output(node)
    extra = [
        emit.output(node, i) if len(node.outputs) > i and node.outputs[i].name else None
        for i in (1, 2)
    ]
    emit.step(
        layer_norm(int(node.op_type == "RMSNormalization")),
        outputs=[y, *(tensor for tensor in extra if tensor is not None)],
        flops=7 * product(x.shape),
        x=x, y=y, scale=_vector(emit, node, 1, n), bias=_vector(emit, node, 2, n),
        means=extra[0], inverses=extra[1], rows=product(x.shape[:axis]), n=n,
        x_row=stride, y_row=n, epsilon=node.attribute("epsilon", 1e-5),
    )  # fmt: skip


# --- over pixels ------------------------------------------------------------------------------


def _infer_pixels(node: Node) -> list[Info]:
    x = _only_float32(node, 3)
    if node.op_type == "MeanVarianceNormalization":
        axes = sorted(axis % x.rank for axis in node.attribute("axes", [0, 2, 3]))
        if axes not in ([0, *range(2, x.rank)], list(range(2, x.rank))):
            raise OnHost(f"normalization over the axes {axes}")
    if node.op_type == "GroupNormalization" and node.version < 21:
        scale, bias = node.required(1), node.required(2)
        if not scale.is_constant or not bias.is_constant:
            raise OnHost("scale and bias for each group are not constant")
    return [node.result(x.dims)]


def _lower_pixels(emit: Emission, node: Node) -> None:
    """Instance, group and mean-variance normalization, channels last."""
    x = emit.channels_last(emit.tensor(node.values[0]))
    y = emit.output(node, order=(0, *range(2, len(x.shape)), 1))
    y_target = y
    channels, pixels, images = x.shape[1], product(x.shape[2:]), x.shape[0]
    epsilon = node.attribute("epsilon", 1e-5)
    fields: dict[str, Any] = {"channels": channels, "scale": None, "bias": None}
    kernel = channel_norm
    if node.op_type == "MeanVarianceNormalization":
        # The standard adds 1e-9 to the deviation.
        epsilon = 1e-18
        if 0 in [axis % len(x.shape) for axis in node.attribute("axes", [0, 2, 3])]:
            x = emit.ordered(x, (0, *range(2, len(x.shape)), 1))
            y_target = emit.new(y.shape, y.dtype, (0, *range(2, len(x.shape)), 1))
            images, pixels = 1, images * pixels
    elif node.op_type == "InstanceNormalization":
        fields["scale"] = _vector(emit, node, 1, channels)
        fields["bias"] = _vector(emit, node, 2, channels)
    else:
        kernel = group_norm
        groups = node.attribute("num_groups")
        emit.check(
            channels % groups, 0, f"node {node.name!r} ({node.op_type}): channels over groups"
        )
        fields = {"groups": groups, "group": channels // groups}
        for index, name in ((1, "scale"), (2, "bias")):
            fields[name] = _group_vector(emit, node, index, channels, groups)
    emit.step(
        kernel, outputs=[y_target], flops=7 * product(x.shape), x=x, y=y_target, images=images,
        pixels=pixels,
        x_image=x.strides[0], x_pixel=x.strides[-1], y_image=y_target.strides[0],
        y_pixel=y_target.strides[-1], epsilon=epsilon, **fields,
    )  # fmt: skip
    if y_target is not y:
        emit.copy(y_target, y, "Copy")


def _group_vector(
    emit: Emission, node: Node, index: int, channels: Dim, groups: int
) -> Tensor | None:
    """Scale or bias by channel; until opset 21 there was one for each group."""
    if node.version >= 21:
        return _vector(emit, node, index, channels)
    if not isinstance(channels, int):
        raise OnHost("the number of channels depends on the input's shape")
    return emit.constant(np.repeat(node.required(index).array(), channels // groups))


# --- LpNormalization --------------------------------------------------------------------------


def _infer_lp(node: Node) -> list[Info]:
    return [node.result(_only_float32(node, 1).dims)]


def _lower_lp(emit: Emission, node: Node) -> None:
    x = emit.ordered(emit.tensor(node.values[0]))
    axis = node.attribute("axis", -1) % len(x.shape)
    emit_lp_norm(emit, x, emit.output(node), node.attribute("p", 2), axis)


def emit_lp_norm(emit: Emission, x: Tensor, y: Tensor, p: int, axis: int) -> None:
    """Emit the division of dense float32 by their norm along an axis, zeros where that is 0."""
    n, inner = x.shape[axis], product(x.shape[axis + 1 :])
    emit.step(
        lp_norm(p), outputs=[y], flops=3 * product(x.shape), x=x, y=y,
        o=product(x.shape[:axis]), xo=n * inner, yo=n * inner, n=n, xs=inner, ys=inner, m=inner,
        xm=1, ym=1,
    )  # fmt: skip


def _check_groups(node: Node) -> None:
    checks.at_least_one("num_groups")(node)
    x, groups = node.input(0), node.attribute("num_groups", 1)
    channels = None if x is None or x.shape is None or x.rank < 2 else x.dims[1]
    if isinstance(channels, int) and channels % groups:
        refuse(node, "attribute 'num_groups'", groups, f"a divisor of {channels} channels")


def _check_power(node: Node) -> None:
    if node.attribute("p", 2) not in (1, 2):
        refuse(node, "attribute 'p'", node.attribute("p"), "1 or 2")


register("BatchNormalization", Operator(infer=_infer_batch, lower=_lower_batch, layout="as_input"))
register(
    "LayerNormalization RMSNormalization",
    Operator(rules=(checks.axis(-1),), infer=_infer_layer, lower=_lower_layer),
)
register("InstanceNormalization", Operator(infer=_infer_pixels, lower=_lower_pixels))
register(
    "GroupNormalization",
    Operator(rules=(_check_groups,), infer=_infer_pixels, lower=_lower_pixels),
)
register(
    "MeanVarianceNormalization",
    Operator(rules=(checks.axes(9),), infer=_infer_pixels, lower=_lower_pixels),
)
register(
    "LpNormalization",
    Operator(rules=(checks.axis(-1), _check_power), infer=_infer_lp, lower=_lower_lp),
)
