"""Cases of layers: convolutions, poolings, normalizations, attention, resampling, losses."""

from __future__ import annotations

import math

import numpy as np

from .drawing import HALVES, Case, Draw, draws

F32 = np.float32


def window(draw: Draw, rank: int, *, ceil: bool = True) -> tuple[list[int], dict[str, object]]:
    """Kernel, and attributes of a sliding window."""
    kernel = [draw.int(1, 3) for _ in range(rank)]
    attributes = draw.some(
        strides=[draw.int(1, 3) for _ in kernel],
        dilations=[draw.int(1, 2) for _ in kernel],
        ceil_mode=draw.int(0, 1) if ceil else None,
    )
    if draw.chance(0.5):
        attributes["pads"] = [draw.int(0, k - 1) for _ in range(2) for k in kernel]
    elif draw.chance(0.4):
        attributes["auto_pad"] = draw.pick(["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"])
        if str(attributes["auto_pad"]).startswith("SAME"):
            kernel = [
                max(k, s) for k, s in zip(kernel, attributes.get("strides", kernel), strict=True)
            ]  # type: ignore[call-overload]
            attributes.pop("dilations", None)
            attributes.pop("ceil_mode", None)
    return kernel, attributes


def image(draw: Draw, rank: int, channels: int, low: int = 5) -> tuple[int, ...]:
    return (draw.int(1, 2), channels, *[draw.int(low, low + 4) for _ in range(rank)])


def rank_of(draw: Draw) -> int:
    return draw.pick([1, 2, 2, 2, 3])


@draws("Conv ConvInteger QLinearConv")
def convolution(draw: Draw) -> Case:
    rank, group = rank_of(draw), draw.pick([1, 1, 2, 3])
    kernel, attributes = window(draw, rank)
    inner, outer = draw.int(1, 3), draw.int(1, 3) * group
    attributes |= {"group": group} if group > 1 else {}
    attributes |= draw.some(kernel_shape=kernel)
    shape = image(draw, rank, inner * group)
    weights = (outer, inner, *kernel)
    if draw.name == "Conv":
        kind = draw.kind()
        bias = draw.array((outer,), kind) if draw.chance(0.5) else None
        return Case([draw.array(shape, kind), draw.array(weights, kind), bias], attributes)
    a, b = draw.kind("T1"), draw.kind("T2")
    x, w = draw.array(shape, a), draw.array(weights, b)
    per_channel = (outer,) if draw.chance(0.5) else ()
    zero_x, zero_w = draw.array((), a), draw.array(per_channel, b)
    if draw.name == "ConvInteger":
        given = [x, w, zero_x if draw.chance(0.7) else None, None]
        if given[2] is not None and draw.chance(0.5):
            given[3] = zero_w
        return Case(given, attributes)
    if b == np.int8:
        zero_w = zero_w * np.int8(0)
    scale_w = draw.array(per_channel, F32, positive=True)
    bias = draw.array((outer,), np.int32) if draw.chance(0.5) else None
    y = draw.kind("T3")
    scales = [draw.array((), F32, positive=True) for _ in range(2)]
    return Case(
        [x, scales[0], zero_x, w, scale_w, zero_w, scales[1], draw.array((), y), bias],
        attributes,
        exact=True,
    )


@draws("ConvTranspose")
def transposed(draw: Draw) -> Case:
    rank, group, kind = rank_of(draw), draw.pick([1, 1, 2]), draw.kind()
    kernel, attributes = window(draw, rank)
    inner, outer = draw.int(1, 2) * group, draw.int(1, 2)
    attributes |= {"group": group} if group > 1 else {}
    strides = attributes.get("strides", [1] * rank)
    shape = image(draw, rank, inner, 2)
    if draw.chance(0.3):
        attributes["output_padding"] = [draw.int(0, s - 1) for s in strides]
    if draw.chance(0.15):
        attributes.pop("pads", None)
        attributes.pop("output_padding", None)
        attributes["output_shape"] = [n * s for n, s in zip(shape[2:], strides, strict=True)]
    bias = draw.array((outer * group,), kind) if draw.chance(0.5) else None
    return Case(
        [draw.array(shape, kind), draw.array((inner, outer, *kernel), kind), bias], attributes
    )


@draws("DeformConv")
def deformable(draw: Draw) -> Case:
    kernel, attributes = window(draw, 2)
    attributes.pop("auto_pad", None)
    attributes.pop("ceil_mode", None)
    group, offsets = draw.pick([1, 2]), draw.pick([1, 2])
    channels, outer = 4, 2 * draw.int(1, 2)
    shape = image(draw, 2, channels)
    strides, dilations = (attributes.get(k, [1, 1]) for k in ("strides", "dilations"))
    pads = attributes.get("pads", [0] * 4)
    out = [
        (shape[2 + i] + pads[i] + pads[i + 2] - (kernel[i] - 1) * dilations[i] - 1) // strides[i]
        + 1
        for i in range(2)
    ]
    kind, area = draw.kind(), math.prod(kernel)
    offset = draw.array((shape[0], offsets * area * 2, *out), kind, scale=1)
    mask = draw.array((shape[0], offsets * area, *out), kind) if draw.chance(0.5) else None
    bias = draw.array((outer,), kind) if draw.chance(0.5) else None
    return Case(
        [
            draw.array(shape, kind),
            draw.array((outer, channels // group, *kernel), kind),
            offset,
            bias,
            mask,
        ],
        attributes | {"group": group, "offset_group": offsets},
        tolerance=1e-3 if kind.itemsize == 2 else 1e-5,
    )


def _power(draw: Draw) -> float:
    """Power of a norm, a real number in the first version."""
    return draw.pick([1.0, 1.5, 2.0, 2.5, 3.0]) if draw.version == 1 else draw.int(1, 3)


@draws("AveragePool MaxPool LpPool")
def pooling(draw: Draw) -> Case:
    rank = rank_of(draw)
    kernel, attributes = window(draw, rank)
    attributes |= draw.some(
        count_include_pad=draw.int(0, 1), p=_power(draw), storage_order=draw.int(0, 1)
    )
    x = draw.array(image(draw, rank, 2), draw.kind())
    outputs = draw.int(1, 2) if draw.name == "MaxPool" and draw.version >= 8 else 1
    return Case([x], attributes | {"kernel_shape": kernel}, outputs)


@draws("GlobalAveragePool GlobalMaxPool GlobalLpPool")
def global_pooling(draw: Draw) -> Case:
    rank = rank_of(draw)
    shape = (1, 2, 70, 70) if draw.chance(0.1) else image(draw, rank, 2)
    return Case([draw.array(shape, draw.kind())], draw.some(p=_power(draw)))


@draws("MaxUnpool")
def unpool(draw: Draw) -> Case:
    rank, kind = draw.pick([1, 2, 3]), draw.kind("T1")
    shape = (1, 2, *[draw.int(1, 3) for _ in range(rank)])
    full = (1, 2, *[2 * n for n in shape[2:]])
    where = draw.rng.permutation(math.prod(full))[: math.prod(shape)].reshape(shape)
    size = np.array(full, np.int64) if draw.chance(0.3) else None
    return Case(
        [draw.array(shape, kind), where.astype(np.int64), size],
        {"kernel_shape": [2] * rank, "strides": [2] * rank},
    )


@draws("BatchNormalization InstanceNormalization GroupNormalization LRN MeanVarianceNormalization")
def channel_norms(draw: Draw) -> Case:
    rank = draw.pick([0, 1, 2, 3]) if draw.name == "BatchNormalization" else draw.pick([1, 2, 3])
    groups = draw.int(1, 3) if draw.name == "GroupNormalization" else 1
    channels = groups * draw.int(1, 3)
    kind = draw.kind()
    if draw.name in ("LRN", "MeanVarianceNormalization"):
        rank = 2
    x = draw.array(
        (draw.int(1, 3), channels, *[draw.int(2, 4) for _ in range(rank)]),
        kind,
        scale=draw.pick([2, 300]),
    )
    epsilon = draw.some(epsilon=1e-3)
    if draw.name == "LRN":
        return Case([x], {"size": draw.pick([1, 3, 5])} | draw.some(alpha=0.01, beta=0.6, bias=1.5))
    if draw.name == "MeanVarianceNormalization":
        return Case(
            [x * 0.01 + draw.array(x.shape, kind)], draw.some(axes=[0, 2, 3]), tolerance=1e-4
        )
    per = groups if draw.name == "GroupNormalization" and draw.version < 21 else channels
    scale, bias, mean = (draw.array((per,), kind) for _ in range(3))
    if draw.name == "InstanceNormalization":
        return Case([x, scale, bias], epsilon)
    if draw.name == "GroupNormalization":
        return Case([x, scale, bias], {"num_groups": groups} | epsilon, tolerance=1e-6)
    variance = draw.array((per,), kind, positive=True)
    if draw.version >= 14 and draw.chance(0.2) and x.size > 2 * channels:
        return Case(
            [x, scale, bias, mean, variance],
            {"training_mode": 1} | epsilon | draw.some(momentum=0.7),
            3,
            tolerance=1e-4,
        )
    return Case([x, scale, bias, mean, variance], epsilon)


@draws("LayerNormalization RMSNormalization")
def layer_norms(draw: Draw) -> Case:
    shape, kind = draw.shape(1, 4, (1, 2, 3, 5)), draw.kind()
    axis = draw.axis(len(shape))
    x = draw.array(shape, kind, scale=draw.pick([2, 400]))
    own = shape[axis % len(shape) :]
    scale = draw.array(
        own, kind if draw.name[0] == "L" else kind if kind in HALVES else draw.kind("V")
    )
    attributes = draw.some(axis=axis, epsilon=1e-3)
    if "axis" not in attributes:
        own = shape[-1:]
    if draw.chance(0.3):
        own = draw.broadcast(own)
    scale = draw.array(own, scale.dtype)
    if draw.name == "RMSNormalization":
        return Case([x, scale], attributes, exact=scale.dtype != kind)
    bias = draw.array(draw.pick([own, shape[-1:]]), kind) if draw.chance(0.6) else None
    return Case([x, scale, bias], attributes, draw.pick([1, 3]))


@draws("Attention")
def attention(draw: Draw) -> Case:
    kind = draw.kind()
    batch, q, k, size, out = (draw.int(1, 4) for _ in range(5))
    size *= 2
    kv_heads = draw.int(1, 2)
    heads = kv_heads * draw.int(1, 2)
    past = draw.pick([0, 0, 2])
    causal = draw.int(0, 1)
    if causal and past:  # onnxruntime aligns the mask otherwise where lengths differ
        k = q
    flat = draw.chance(0.4)

    def tokens(count: int, n: int, width: int) -> np.ndarray:
        shape = (batch, n, count * width) if flat else (batch, count, n, width)
        return draw.array(shape, kind, scale=1)

    total = k + past
    mask = None
    if draw.chance(0.6):
        shape = draw.pick(
            [(q, total), (1, heads, q, total), (batch, 1, q, total), (batch, heads, q, total)]
        )
        mask = draw.array(shape, draw.pick([bool, kind]))
        if mask.dtype == bool:
            mask[..., 0] = True
    given = [tokens(heads, q, size), tokens(kv_heads, k, size), tokens(kv_heads, k, out), mask]
    if past:
        given += [draw.array((batch, kv_heads, past, n), kind, scale=1) for n in (size, out)]
    attributes = {"q_num_heads": heads, "kv_num_heads": kv_heads} if flat else {}
    attributes |= {"is_causal": 1} if causal else {}
    attributes |= draw.some(scale=0.3, softcap=2.0)
    outputs = draw.pick([1, 3, 4]) if past else 1
    if outputs == 4:
        # Where a mask hides, onnxruntime has the lowest number instead of minus infinity.
        hides = causal or (mask is not None and mask.dtype.kind == "b")
        attributes |= draw.some(
            qk_matmul_output_mode=draw.pick([0, 1, 3] if hides else [0, 1, 2, 3])
        )
    return Case(given, attributes, outputs, tolerance=1e-6)


@draws("RotaryEmbedding")
def rotary(draw: Draw) -> Case:
    kind = draw.kind()
    batch, heads, n, half = (draw.int(1, 3) for _ in range(4))
    flat = draw.chance(0.5)
    shape = (batch, n, heads * 2 * half) if flat else (batch, heads, n, 2 * half)
    attributes = {"num_heads": heads} if flat else {}
    attributes |= draw.some(interleaved=draw.int(0, 1))
    positions = draw.rng.integers(0, 7, (batch, n)) if draw.chance(0.5) else None
    cache = (7, half) if positions is not None else (batch, n, half)
    return Case(
        [draw.array(shape, kind), draw.array(cache, kind), draw.array(cache, kind), positions],
        attributes,
    )


@draws("RNN GRU LSTM")
def recurrent(draw: Draw) -> Case:
    kind = draw.kind()
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[draw.name]
    steps, batch, width, size = draw.int(1, 4), draw.int(1, 3), draw.int(1, 3), draw.int(1, 3)
    direction = draw.pick(["forward", "reverse", "bidirectional"])
    count = 2 if direction == "bidirectional" else 1

    def part(*shape: int) -> np.ndarray:
        return draw.array(shape, kind, scale=0.5)

    given = [
        part(steps, batch, width),
        part(count, gates * size, width),
        part(count, gates * size, size),
    ]
    given.append(part(count, 2 * gates * size) if draw.chance(0.6) else None)
    given.append(
        np.array([draw.int(1, steps) for _ in range(batch)], np.int32) if draw.chance(0.4) else None
    )
    given.append(part(count, batch, size) if draw.chance(0.5) else None)
    if draw.name == "LSTM":
        given.append(part(count, batch, size) if draw.chance(0.5) else None)
        given.append(part(count, 3 * size) if draw.chance(0.3) else None)
    attributes = {"direction": direction, "hidden_size": size} | draw.some(
        linear_before_reset=draw.int(0, 1)
    )
    return Case(given, attributes, 3 if draw.name == "LSTM" else 2)


@draws("NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss")
def losses(draw: Draw) -> Case:
    kind, classes = draw.kind(), draw.int(2, 5)
    outer = (draw.int(1, 3), *[draw.int(1, 3) for _ in range(draw.int(0, 2))])
    x = draw.array((outer[0], classes, *outer[1:]), kind)
    target = draw.rng.integers(0, classes, outer).astype(draw.pick([np.int32, np.int64]))
    attributes = draw.some(
        reduction=draw.pick(["none", "mean", "sum"]), ignore_index=draw.pick([0, 1])
    )
    weight = draw.array((classes,), kind, positive=True) if draw.chance(0.5) else None
    ignored = attributes.get("ignore_index")
    if ignored is not None and (target == ignored).all():
        attributes.pop("ignore_index")
    outputs = draw.int(1, 2) if draw.name[0] == "S" else 1
    return Case([x, target, weight], attributes, outputs, absolute=1e-6)
