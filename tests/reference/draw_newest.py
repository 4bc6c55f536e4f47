"""Cases of operators of the standard's newest opsets, and of random ones."""

from __future__ import annotations

import numpy as np
from onnx import helper

from .drawing import Case, Draw, draws

F32 = np.float32


@draws("BitCast")
def bit_cast(draw: Draw) -> Case:
    kind = draw.kind(leave="OUScbV")
    same = [k for k in draw.kinds("T2", leave="OUScbV") if k.itemsize == kind.itemsize]
    code = helper.np_dtype_to_tensor_dtype(draw.pick(same))
    return Case([draw.array(draw.shape(), kind, wide=True)], {"to": int(code)}, exact=True)


@draws("SwiGLU")
def gated(draw: Draw) -> Case:
    shape, kind = draw.shape(), draw.kind()
    parts = [draw.array(shape, kind, special=0.2) for _ in range(2)]
    return Case(parts, draw.some(alpha=draw.pick([0.5, 1.7])))


@draws("LinearAttention")
def linear_attention(draw: Draw) -> Case:
    kind = draw.kind()
    batch, steps, key, value, shared = (draw.int(1, 3) for _ in range(5))
    heads = shared * draw.int(1, 2)
    rule = draw.pick(["linear", "gated", "delta", "gated_delta"])

    def part(*shape: int, scale: float = 0.5) -> np.ndarray:
        return draw.array(shape, kind, scale=scale)

    given = [part(batch, steps, heads * key), part(batch, steps, shared * key)]
    given.append(part(batch, steps, shared * value))
    given.append(part(batch, shared, key, value) if draw.chance(0.5) else None)
    decay = shared * draw.pick([1, key])
    given.append(-np.abs(part(batch, steps, decay)) if rule[0] == "g" else None)
    beta = np.abs(part(batch, steps, draw.pick([1, shared])))
    given.append(np.minimum(beta, beta.dtype.type(1)) if "delta" in rule else None)
    attributes = {"q_num_heads": heads, "kv_num_heads": shared, "update_rule": rule}
    return Case(given, attributes | draw.some(scale=0.3), 2, tolerance=1e-5)


@draws("CausalConvWithState")
def causal_convolution(draw: Draw) -> Case:
    kind = draw.kind()
    batch, channels, length, width = (draw.int(1, 4) for _ in range(4))
    given = [draw.array((batch, channels, length), kind), draw.array((channels, 1, width), kind)]
    given.append(draw.array((channels,), kind) if draw.chance(0.5) else None)
    past = draw.chance(0.5) and width > 1
    given.append(draw.array((batch, channels, width - 1), kind) if past else None)
    return Case(given, draw.some(activation=draw.pick(["silu", "swish", "none"])), 2)


@draws("RandomNormal RandomUniform RandomNormalLike RandomUniformLike")
def random(draw: Draw) -> Case:
    numbers = {"mean": 2.0, "low": -1.5, "high": 3.0, "scale": 0.5, "dtype": draw.pick([1, 11])}
    attributes = draw.some(**numbers, seed=float(draw.int(0, 3)))
    if draw.name.endswith("Like"):
        return Case([draw.array(draw.shape(), draw.kind("T2"))], attributes)
    return Case([], attributes | {"shape": list(draw.shape(1))})


@draws("Bernoulli")
def bernoulli(draw: Draw) -> Case:
    x = np.asarray(draw.rng.random(draw.shape())).astype(draw.kind())
    return Case([x], draw.some(dtype=draw.pick([1, 7, 9]), seed=1.0))


@draws("Multinomial")
def multinomial(draw: Draw) -> Case:
    x = draw.array((draw.int(1, 3), draw.int(1, 4)), draw.kind())
    attributes = draw.some(sample_size=draw.int(1, 5), dtype=draw.pick([6, 7]), seed=1.0)
    return Case([x], attributes)
