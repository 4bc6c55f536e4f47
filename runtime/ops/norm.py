"""Normalizations: over a batch, the last axes, pixels, or one axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from ...kernels.cpu.layer_norm import layer_norm
from ...kernels.cpu.norm import channel_norm, group_norm, lp_norm
from ..element_types import HALVES
from ..emission import Emission
from ..graph import Info, Node, OnHost, dtype_name, refuse
from ..strides import contiguous_strides
from ..symbolic import Dim, product
from ..tensors import Tensor, short_name
from . import checks, composed
from .pointwise import emit_expression, preferred_order
from .product_images import row_stride
from .registry import Operator, register
from .terms import float32


def _floats(node: Node, rank: int) -> Info:
    x = node.required(0)
    if x.dtype not in ("float32", "float64") or x.rank < rank:
        raise OnHost(f"only floats of {rank} or more axes")
    return x


def _by_channel(emit: Emission, node: Node, index: int) -> Tensor | None:
    """Return an optional input of one element for each channel, as it broadcasts to images."""
    x = node.required(0)
    vector = _vector(emit, node, index, x.dims[1])
    after = x.rank - 2
    return vector and vector.view((x.dims[1], *[1] * after), (1, *[0] * after))


def _vector(emit: Emission, node: Node, index: int, count: Dim) -> Tensor | None:
    """Return an optional input of one element for each of ``count``, dense."""
    if node.input(index) is None:
        return None
    vector = emit.tensor(node.values[index])
    emit.check(vector.size, count, f"elements of {vector.name!r} and of its axes")
    return emit.ordered(vector)


# --- BatchNormalization -----------------------------------------------------------------------


def _infer_batch(node: Node) -> list[Info]:
    x = _floats(node, 2)
    if any(node.required(i).dtype != x.dtype for i in range(1, 5)):
        raise OnHost("statistics of another type")
    if not node.attribute("training_mode", 0) and any(v.name for v in node.outputs[1:]):
        raise OnHost("statistics of a version that does not say whether it trains")
    shapes = [x.dims, x.dims[1:2], x.dims[1:2]]
    return [node.result(shape, index=i) for i, shape in enumerate(shapes[: len(node.outputs)])]


def _lower_batch(emit: Emission, node: Node) -> None:
    if node.attribute("training_mode", 0):
        _lower_training(emit, node)
    else:
        _lower_inference(emit, node)


def _lower_training(emit: Emission, node: Node) -> None:
    """Normalize by statistics of the batch, which also become a part of those that are given."""
    x, y = emit.tensor(node.values[0]), emit.output(node)
    scale, bias, *given = (_by_channel(emit, node, i) for i in range(1, 5))
    axes = [axis for axis in range(len(x.shape)) if axis != 1]
    own = composed.emit_normalized(emit, x, y, axes, node.attribute("epsilon", 1e-5), [scale, bias])
    for index, (before, found) in enumerate(zip(given, own, strict=True), start=1):
        if before and found and index < len(node.outputs) and node.outputs[index].name:
            running = emit.output(node, index)
            old, new = (each.view(running.shape, (1,)) for each in (before, found))
            momentum = emit.constant(np.array(float32(node.attribute("momentum", 0.9)), x.dtype))
            text = "add(mul(x0,x2),mul(x1,sub(1,x2)))"
            emit_expression(emit, text, running, [old, new, momentum])


def _lower_inference(emit: Emission, node: Node) -> None:
    """Scale and shift; by constants worked out in float64 where the statistics are constant."""
    shape = (-1, *[1] * (node.required(0).rank - 2))
    epsilon = node.attribute("epsilon", 1e-5)
    constants = _factor_and_shift(node, epsilon)
    if constants is not None:
        text = "fma(x0,x1,x2)"
        operands = [
            emit.constant(values.reshape(shape), f"{node.name}.{name}")
            for values, name in zip(constants, ("scale", "shift"), strict=True)
        ]
    else:
        text = "add(mul(div(sub(x0,x3),sqrt(add(x4,x5))),x1),x2)"
        operands = [each for i in range(1, 5) if (each := _by_channel(emit, node, i))]
        operands.append(emit.number(epsilon))
    x = emit.tensor(node.values[0])
    order = preferred_order(x.shape, [x])
    x = emit.ordered(x) if order is None else emit.channels_last(x)
    y = emit.output(node, order=order)
    emit_expression(emit, text, y, [x, *operands], order)


def _factor_and_shift(node: Node, epsilon: float) -> list[np.ndarray] | None:
    """Multiply constant statistics out; not where infinities in them would meet."""
    infos = [node.required(i) for i in range(1, 5)]
    if not all(info.is_constant for info in infos):
        return None
    scale, shift, mean, variance = (info.array().astype(np.float64) for info in infos)
    with np.errstate(all="ignore"):
        factor = scale / np.sqrt(variance + epsilon)
        constants = [factor, shift - mean * factor]
        narrow = [each.astype(infos[0].dtype) for each in constants]
    return narrow if all(np.isfinite(each).all() for each in narrow) else None


# --- over the last axes -----------------------------------------------------------------------


def _infer_layer(node: Node) -> list[Info]:
    x = _floats(node, 1)
    axis = node.attribute("axis", -1) % x.rank
    scale = node.required(1)
    if any(i is not None and i.dtype != x.dtype for i in (scale, node.input(2))):
        raise OnHost("scale or bias of another type")
    stash = dtype_name(ir.DataType(node.attribute("stash_type", 1)))
    if stash not in ("float32", *([] if x.dtype == "float32" else ["float64", *HALVES])):
        raise OnHost(f"statistics of {stash}")
    statistics = (*x.dims[:axis], *[1] * (x.rank - axis))
    more = [node.result(statistics, stash, i) for i in range(1, len(node.outputs))]
    return [node.result(x.dims), *more]


def is_composed(node: Node) -> bool:
    """Tell whether a layer is normalized in several steps."""
    x = node.required(0)
    axis = node.attribute("axis", -1) % x.rank
    given = (info for info in (node.required(1), node.input(2)) if info is not None)
    return x.dtype != "float32" or any(_differ(info.dims, x.dims[axis:]) for info in given)


def _differ(given: Sequence[Dim], axes: Sequence[Dim]) -> bool:
    """Tell whether a scale is broadcast to axes, or may be: where a size is 1, or open.

    Sizes from 2 on can only be those of open axes, which is checked.
    """
    return len(given) != len(axes) or any(
        a != b and (isinstance(b, int) or not isinstance(a, int) or a == 1)
        for a, b in zip(given, axes, strict=True)
    )


def _lower_layer(emit: Emission, node: Node) -> None:
    if emit.takes_halves and is_composed(node):
        with emit.taking_halves(False):
            _lower_layer(emit, node)
        return
    x = emit.tensor(node.values[0])
    axis, epsilon = node.attribute("axis", -1) % len(x.shape), node.attribute("epsilon", 1e-5)
    is_rms = node.op_type == "RMSNormalization"
    if is_composed(node):
        given = [None if node.input(i) is None else emit.tensor(node.values[i]) for i in (1, 2)]
        axes = range(axis, len(x.shape))
        y = emit.output(node)
        mean, variance = composed.emit_normalized(
            emit, x, y, axes, epsilon, given, is_centred=not is_rms
        )
        for i, text, of in ((1, "x0", mean), (2, "div(1,sqrt(add(x0,x1)))", variance)):
            if of is not None and len(node.outputs) > i and node.outputs[i].name:
                kind = short_name(node.infos[i].dtype)
                emit_expression(emit, f"to_{kind}({text})", emit.output(node, i), [of, epsilon][:i])
        return
    n = product(x.shape[axis:])
    stride = row_stride(x) if axis == len(x.shape) - 1 else None
    if stride is None:
        x, stride = emit.ordered(x), n
    rows = NormalizedRows(emit, node)
    emit.step(
        layer_norm(*rows.parameters),
        outputs=rows.outputs,
        flops=7 * product(x.shape),
        x=x, x_row=stride, **rows.fields,
    )  # fmt: skip


class NormalizedRows:
    """What a layer's kernel takes but the rows themselves, which `is_composed` is false for.

    Attributes
    ----------
    y : Tensor
    outputs : list of Tensor
        The result, and statistics that are asked for.
    parameters : list
        Of the kernel's factory.
    fields : dict
        Of its record, but ``x`` and ``x_row``.
    """

    def __init__(self, emit: Emission, node: Node) -> None:
        shape = node.required(0).dims
        axis = node.attribute("axis", -1) % len(shape)
        n = product(shape[axis:])
        self.y = emit.output(node)
        extra = [
            emit.output(node, i) if len(node.outputs) > i and node.outputs[i].name else None
            for i in (1, 2)
        ]
        self.outputs = [self.y, *(tensor for tensor in extra if tensor is not None)]
        of_halves = ["bf16"] if self.y.dtype == "bfloat16" else []
        self.parameters = [int(node.op_type == "RMSNormalization"), *of_halves]
        self.fields = {
            "y": self.y, "scale": _vector(emit, node, 1, n), "bias": _vector(emit, node, 2, n),
            "means": extra[0], "inverses": extra[1], "rows": product(shape[:axis]), "n": n,
            "y_row": n, "epsilon": node.attribute("epsilon", 1e-5),
        }  # fmt: skip


# --- over pixels ------------------------------------------------------------------------------


def _infer_pixels(node: Node) -> list[Info]:
    x = _floats(node, 2 if node.op_type == "MeanVarianceNormalization" else 3)
    if node.op_type == "GroupNormalization" and node.version < 21:
        scale, bias = node.required(1), node.required(2)
        if not scale.is_constant or not bias.is_constant:
            raise OnHost("scale and bias for each group are not constant")
    return [node.result(x.dims)]


def _lower_pixels(emit: Emission, node: Node) -> None:
    """Instance, group and mean-variance normalization, channels last."""
    if node.required(0).dtype != "float32" or not _over_pixels(node):
        _lower_composed(emit, node)
        return
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
        if 0 in _variance_axes(node):
            x = emit.ordered(x, (0, *range(2, len(x.shape)), 1))
            y_target = emit.new(y.shape, y.dtype, (0, *range(2, len(x.shape)), 1))
            images, pixels = 1, images * pixels
    elif node.op_type == "InstanceNormalization":
        fields["scale"] = _vector(emit, node, 1, channels)
        fields["bias"] = _vector(emit, node, 2, channels)
    else:
        kernel = group_norm
        groups = node.attribute("num_groups")
        emit.check(channels % groups, 0, "channels over groups")
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


_VARIANCE_AXES = (0, 2, 3)
"""Of a MeanVarianceNormalization that names none."""


def _variance_axes(node: Node) -> list[int]:
    """Axes of a MeanVarianceNormalization."""
    rank = node.required(0).rank
    return sorted({axis % rank for axis in node.attribute("axes", _VARIANCE_AXES)})


def _over_pixels(node: Node) -> bool:
    """Tell whether channels stay apart, and images do or are all taken together."""
    pixels = list(range(2, node.required(0).rank))
    if node.op_type != "MeanVarianceNormalization":
        return True
    return bool(pixels) and _variance_axes(node) in ([0, *pixels], pixels)


def _lower_composed(emit: Emission, node: Node) -> None:
    """Instance, group and mean-variance normalization of what the kernels do not take."""
    x, y = emit.ordered(emit.tensor(node.values[0])), emit.output(node)
    epsilon, pixels = node.attribute("epsilon", 1e-5), range(2, len(x.shape))
    if node.op_type == "MeanVarianceNormalization":
        composed.emit_normalized(emit, x, y, _variance_axes(node), 1e-9, outside=True)
    elif node.op_type == "InstanceNormalization":
        given = [_by_channel(emit, node, i) for i in (1, 2)]
        composed.emit_normalized(emit, x, y, pixels, epsilon, given)
    else:
        groups, channels = node.attribute("num_groups"), x.shape[1]
        each, rest = channels // groups, product(x.shape[2:])
        emit.check(channels % groups, 0, "channels over groups")
        shape = (x.shape[0], groups, each, rest)
        x, y = (t.view(shape, contiguous_strides(shape)) for t in (x, y))
        vectors = [_group_vector(emit, node, i, channels, groups) for i in (1, 2)]
        given = [v and v.view((groups, each, 1), (each, 1, 0)) for v in vectors]
        composed.emit_normalized(emit, x, y, (2, 3), epsilon, given)


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
    return [node.result(_floats(node, 1).dims)]


def _lower_lp(emit: Emission, node: Node) -> None:
    x = emit.ordered(emit.tensor(node.values[0]))
    axis = node.attribute("axis", -1) % len(x.shape)
    y = emit.output(node)
    if x.dtype != "float32":
        composed.emit_by_norm(emit, x, y, axis, node.attribute("p", 2))
    else:
        emit_lp_norm(emit, x, y, node.attribute("p", 2), axis)


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
    Operator(
        rules=(checks.axes(9, default=_VARIANCE_AXES),), infer=_infer_pixels, lower=_lower_pixels
    ),
)
register(
    "LpNormalization",
    Operator(rules=(checks.axis(-1), _check_power), infer=_infer_lp, lower=_lower_lp),
)
