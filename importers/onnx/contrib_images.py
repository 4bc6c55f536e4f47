"""Convolutions and normalizations of images of com.microsoft, with what is fused into them."""

from __future__ import annotations

import onnx_ir as ir

from .contrib_rewrite import (
    adapts,
    become,
    channels_first,
    channels_last,
    give,
    like,
    moved,
    needed,
    optional,
    summed,
)
from .node_rewrite import NodeRewrite, NotExpressible

_ACTIVATIONS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(["Relu", "Tanh", "Sigmoid", "HardSwish", "Softplus", "Softsign"], ()),
    **dict.fromkeys(["LeakyRelu", "ThresholdedRelu", "Elu", "Celu"], ("alpha",)),
    **dict.fromkeys(["HardSigmoid", "ScaledTanh", "Clip"], ("alpha", "beta")),
    "Selu": ("alpha", "gamma"),
}
"""What a product or a convolution may end with, and the order of its numbers."""


def _activated(
    r: NodeRewrite, value: ir.Value, name: str, numbers: dict[str, float]
) -> ir.Value:  # fmt: skip
    """Return an activation of a value."""
    if name not in _ACTIVATIONS:
        raise NotExpressible(f"its activation is {name!r}")
    if lacking := [each for each in _ACTIVATIONS[name] if each not in numbers]:
        raise ValueError(f"{name} has no {' and no '.join(lacking)}")
    taken = {each: numbers[each] for each in _ACTIVATIONS[name]}
    if name == "Clip":
        return r.emit("Clip", value, *(like(r, number, value) for number in taken.values()))
    if name == "ScaledTanh":
        outer, inner = (like(r, number, value) for number in taken.values())
        return r.emit("Mul", r.emit("Tanh", r.emit("Mul", value, inner)), outer)
    return r.emit(name, value, **taken)


@adapts("FusedConv", "NhwcFusedConv", "NhwcConv")
def _fused_conv(r: NodeRewrite) -> None:
    name, numbers = r.take("activation", ""), r.take("activation_params", ())
    x, w, more = needed(r, 0), needed(r, 1), optional(r, 3)
    is_last = r.node.op_type.startswith("Nhwc")
    if is_last:
        rank = r.rank(1)
        x, w = channels_first(r, x, rank), channels_first(r, w, rank)
        more = more and channels_first(r, more, rank)
    y = summed(r, moved(r, "Conv", x, w, optional(r, 2)), more)
    if name:
        order = _ACTIVATIONS.get(name, ())
        if name in _ACTIVATIONS and order and len(order) != len(numbers):
            raise ValueError(f"{name} has {len(numbers)} activation_params, not {len(order)}")
        y = _activated(r, y, name, dict(zip(order, numbers, strict=False)))
    become(r, "Identity", channels_last(r, y, rank) if is_last else y)


@adapts("FusedGemm")
def _fused_gemm(r: NodeRewrite) -> None:
    name = r.take("activation", "")
    numbers = {kind: r.take(f"activation_{kind}") for kind in ("alpha", "beta", "gamma")}
    given = {kind: number for kind, number in numbers.items() if number is not None}
    y = moved(r, "Gemm", needed(r, 0), needed(r, 1), optional(r, 2))
    become(r, "Identity", _activated(r, y, name, given))


@adapts("GroupNorm", "SkipGroupNorm")
def _group_norm(r: NodeRewrite) -> None:
    """Images with their channels last, unless an attribute says otherwise; then perhaps Swish."""
    x, gamma, beta = (needed(r, i) for i in range(3))
    is_last, is_swish = r.take("channels_last", 1), r.take("activation", 0)
    groups, epsilon = r.take("groups", 0), r.take("epsilon", 1e-5)
    if groups <= 0:
        raise ValueError(f"groups is {groups}")
    if r.node.op_type == "SkipGroupNorm":
        x = summed(r, x, _spread(r, needed(r, 3)), optional(r, 4))
        give(r, 1, x)
        r.outputs = 1
    own = channels_first(r, x, 4) if is_last else x
    y = r.emit(
        "GroupNormalization", own, r.emit("CastLike", gamma, x), r.emit("CastLike", beta, x),
        num_groups=groups, epsilon=epsilon,
    )  # fmt: skip
    if is_swish:
        y = r.emit("Mul", y, r.emit("Sigmoid", y))
    become(r, "Identity", channels_last(r, y, 4) if is_last else y)


def _spread(r: NodeRewrite, skip: ir.Value) -> ir.Value:
    """Let an addend of (images, channels) be one of images."""
    if skip.shape is None:
        raise NotExpressible("the rank of its skip is not known")
    return skip if len(skip.shape) == 4 else r.emit("Unsqueeze", skip, r.constant([1, 2]))


@adapts("BiasSplitGelu")
def _bias_split_gelu(r: NodeRewrite) -> None:
    """The first half of the channels, which are last, times Gelu of the second."""
    total = summed(r, needed(r, 0), needed(r, 1))
    first = r.emit("Split", total, axis=-1, num_outputs=2)
    producer = first.producer()
    assert producer is not None
    producer.resize_outputs(2)
    second = producer.outputs[1]
    second.name = f"{first.name}_1"
    become(r, "Mul", first, r.emit("Gelu", second))
