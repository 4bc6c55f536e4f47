"""Random numbers: reproducible by their seed, of any number of threads; others each run without."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from ...kernels.cpu.random import multinomial, random_key, random_uniform
from ..emission import Emission
from ..graph import Info, Node, OnHost, dtype_name
from ..tensors import Tensor, short_name
from . import checks
from .pointwise import emit_expression
from .registry import Operator, register

_FLOATS = ("float32", "float64")


def _kind(node: Node, otherwise: str) -> str:
    code = node.attribute("dtype")
    return dtype_name(ir.DataType(code)) if code else otherwise


def _key(emit: Emission, node: Node) -> Tensor:
    """Return the generator's key: the seed, or a number that a step makes anew."""
    seed = node.attribute("seed")
    if seed is not None:
        return emit.constant(np.array([int(np.float32(seed).view(np.uint32))], np.int64))
    key = emit.new((1,), "int64")
    emit.step(random_key, outputs=[key], key=key)
    return key


# --- numbers of a distribution ------------------------------------------------------------------


def _infer_numbers(node: Node) -> list[Info]:
    like = node.input(0)
    dims = node.attribute("shape") if like is None else like.dims
    dtype = _kind(node, "float32" if like is None else like.dtype)
    if dtype not in _FLOATS:
        raise OnHost(f"numbers of {dtype}")
    return [node.result(dims, dtype)]


def _lower_numbers(emit: Emission, node: Node) -> None:
    y, key = emit.output(node), _key(emit, node)
    if node.op_type.startswith("RandomNormal"):
        mean, scale = node.attribute("mean", 0.0), node.attribute("scale", 1.0)
        _emit_normal(emit, y, key, float(mean), float(scale))
    else:
        low, high = node.attribute("low", 0.0), node.attribute("high", 1.0)
        _emit_uniform(emit, y, key, float(low), float(high))


def _turn(first: int) -> str:
    """Write cos(2 pi t), or with 1 sin(2 pi t), of t = x1 - 0.5 as a Taylor series."""
    text, sign = "", -1.0
    for power in range(20 + first, first - 1, -2):
        # Half a turn back: the signs are those of -cos and -sin.
        term = sign * (-1.0) ** (power // 2) * (2 * math.pi) ** power / math.factorial(power)
        text = f"fma({text},s,{term})" if text else repr(term)
    return f"mul({text},t)" if first else text


def _emit_normal(emit: Emission, y: Tensor, key: Tensor, mean: float, scale: float) -> None:
    """Emit pairs of normally distributed numbers, of G. Box and M. Muller (1958)."""
    half = (y.size + 1) // 2
    drawn = emit.new((2, half), y.dtype)
    _emit_uniform(emit, drawn, key, 0.0, 1.0)
    radius, angle = (drawn.view((half,), (1,), row * half) for row in range(2))
    for row, count in enumerate((half, y.size - half)):
        part = y.view((count,), (1,), row * half)
        length = "sqrt(mul(-2.0,log(sub(1.0,x0))))"
        text = f"t=sub(x1,0.5);s=mul(t,t);fma(mul({length},{_turn(row)}),x2,x3)"
        operands = [each.view((count,), (1,)) for each in (radius, angle)]
        emit_expression(emit, text, part, [*operands, scale, mean])


def _emit_uniform(emit: Emission, y: Tensor, key: Tensor, low: float, high: float) -> None:
    emit.step(
        random_uniform(short_name(y.dtype)), outputs=[y], flops=16 * y.size, y=y, key=key,
        count=y.size, low=low, high=high,
    )  # fmt: skip


# --- what numbers decide about ------------------------------------------------------------------


def _infer_bernoulli(node: Node) -> list[Info]:
    x = node.required(0)
    dtype = _kind(node, x.dtype)
    if x.dtype not in _FLOATS or dtype == "object":
        raise OnHost(f"probabilities of {x.dtype}, results of {dtype}")
    return [node.result(x.dims, dtype)]


def _lower_bernoulli(emit: Emission, node: Node) -> None:
    """Ones where uniform numbers are below the probabilities."""
    x, y = emit.ordered(emit.tensor(node.values[0])), emit.output(node)
    drawn = emit.new(x.shape, x.dtype)
    _emit_uniform(emit, drawn, _key(emit, node), 0.0, 1.0)
    is_one = "less(x0,x1)"
    text = is_one if y.dtype == "bool" else f"to_{short_name(y.dtype)}({is_one})"
    emit_expression(emit, text, y, [drawn, x])


def _infer_multinomial(node: Node) -> list[Info]:
    x, dtype = node.required(0), _kind(node, "int32")
    if x.dtype not in ("float32", "float64") or dtype not in ("int32", "int64"):
        raise OnHost(f"probabilities of {x.dtype}, results of {dtype}")
    return [node.result((x.dims[0], node.attribute("sample_size", 1)), dtype)]


def _lower_multinomial(emit: Emission, node: Node) -> None:
    x = emit.ordered(emit.tensor(node.values[0]))
    y, (rows, classes) = emit.output(node), x.shape
    emit.check_some(classes, y.size, "classes")
    space = (8 * classes + 63) // 64 * 64
    emit.step(
        multinomial(short_name(x.dtype), short_name(y.dtype)), outputs=[y], flops=16 * x.size,
        x=x, y=y, key=_key(emit, node), rows=rows, classes=classes, samples=y.shape[1],
        scratch=emit.workspace(space), scratch_bytes=space,
    )  # fmt: skip


_TYPED = (checks.element_type("dtype"),)
register(
    "RandomNormal RandomUniform RandomNormalLike RandomUniformLike",
    Operator(rules=_TYPED, infer=_infer_numbers, lower=_lower_numbers),
)
register("Bernoulli", Operator(rules=_TYPED, infer=_infer_bernoulli, lower=_lower_bernoulli))
register(
    "Multinomial",
    Operator(
        rules=(*_TYPED, checks.least_rank(2, exact=True), checks.at_least_one("sample_size")),
        infer=_infer_multinomial,
        lower=_lower_multinomial,
    ),
)
