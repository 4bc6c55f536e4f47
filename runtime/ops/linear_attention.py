"""LinearAttention."""

from __future__ import annotations

import math
from typing import Any

from ...kernels.cpu.linear_attention import linear_attention
from ..emission import Emission
from ..graph import Info, NeedsNumbers, Node, OnHost, refuse
from ..symbolic import Dim
from ..tensors import Tensor
from . import checks
from .pointwise import emit_expression
from .registry import Operator, register

_RULES = ("gated_delta", "linear", "gated", "delta")


def _heads(node: Node) -> tuple[int, int]:
    """Heads of the state, and of the query for each of them."""
    heads = node.attribute("kv_num_heads")
    return heads, node.attribute("q_num_heads") // heads


def _sizes(node: Node) -> tuple[Dim, Dim]:
    """Numbers of a key and of a value."""
    heads, group = _heads(node)
    return node.required(0).dims[2] // (heads * group), node.required(2).dims[2] // heads


def _infer(node: Node) -> list[Info]:
    if any(info is not None and info.dtype != "float32" for info in node.inputs):
        raise OnHost("only float32")
    x, (heads, group), (keys, values) = node.required(0), _heads(node), _sizes(node)
    for index in (4, 5):
        gate = node.input(index)
        if gate is not None and not isinstance(gate.dims[2], int):
            raise NeedsNumbers("gates of each head or of less", [gate.dims[2]])
    infos = [node.result((*x.dims[:2], heads * group * values))]
    if len(node.outputs) > 1:
        infos.append(node.result((x.dims[0], heads, keys, values), index=1))
    return infos


def _operand(emit: Emission, node: Node, index: int, shape: tuple[Dim, ...]) -> Tensor | None:
    """Return a dense input of this shape, None where there is none."""
    if node.input(index) is None:
        return None
    tensor = emit.ordered(emit.tensor(node.values[index]))
    for axis, size in enumerate(shape):
        emit.check(tensor.shape[axis], size, f"size of axis {axis} of {tensor.name!r}")
    return tensor


def _gates(emit: Emission, node: Node, batch: Dim, tokens: Dim, keys: Dim) -> dict[str, Any]:
    """Fields of the gates: factors of the state, and rates."""
    heads, _ = _heads(node)
    decay, beta = node.input(4), node.input(5)
    factors, wide = None, 0 if decay is None else decay.dims[2]
    if decay is not None:
        logarithms = _operand(emit, node, 4, (batch, tokens))
        assert logarithms is not None
        if wide != heads:
            emit.check(wide, heads * keys, f"size of axis 2 of {decay.name!r}")
        factors = emit.new(logarithms.shape, "float32")
        emit_expression(emit, "exp(x0)", factors, [logarithms])
    rates = 0 if beta is None else beta.dims[2]
    if rates not in (0, 1, heads):
        refuse(node, "last size of the rates", rates, f"1 or {heads}")
    is_each = wide != heads
    return {
        "decay": factors, "beta": _operand(emit, node, 5, (batch, tokens)), "decay_token": wide,
        "decay_head": keys if is_each else 1, "decay_key": int(is_each), "beta_token": rates,
        "beta_head": int(rates != 1),
    }  # fmt: skip


def _lower(emit: Emission, node: Node) -> None:
    (heads, group), (keys, values) = _heads(node), _sizes(node)
    batch, tokens, _ = node.required(0).dims
    shapes = (heads * group * keys, heads * keys, heads * values)
    query, key, value = (
        _operand(emit, node, i, (batch, tokens, size)) for i, size in enumerate(shapes)
    )
    state = (batch, heads, keys, values)
    y = emit.output(node)
    is_wanted = len(node.outputs) > 1 and node.outputs[1].name
    present = emit.output(node, 1) if is_wanted else emit.new(state, "float32")
    scale = node.attribute("scale", 0.0)
    if not scale:
        if not isinstance(keys, int):
            raise NeedsNumbers("the scale follows from the size of a key", [keys])
        scale = 1 / math.sqrt(max(keys, 1))
    emit.step(
        linear_attention, outputs=[y, present],
        flops=batch * tokens * heads * keys * values * (6 + 2 * group), query=query, key=key,
        value=value, past=_operand(emit, node, 3, state), y=y, present=present, batch=batch,
        tokens=tokens, heads=heads, group=group, keys=keys, values=values, scale=scale,
        **_gates(emit, node, batch, tokens, keys),
    )  # fmt: skip


def _check(node: Node) -> None:
    heads, all_heads = node.attribute("kv_num_heads", 0), node.attribute("q_num_heads", 0)
    if heads < 1 or all_heads < 1 or all_heads % heads:
        what = "attributes 'q_num_heads' and 'kv_num_heads'"
        refuse(node, what, (all_heads, heads), "a number from 1 on, and a multiple of it")
    rule = node.attribute("update_rule", _RULES[0])
    for index, name, word in ((4, "decay", "gated"), (5, "beta", "delta")):
        if (node.input(index) is not None) != (word in rule):
            refuse(node, f"input {name!r}", node.input(index), f"what {rule!r} needs")
    for index, rank in enumerate((3, 3, 3, 4, 3, 3)):
        info = node.input(index)
        if info is not None and info.shape is not None and info.rank != rank:
            refuse(node, f"rank of {info.name!r}", info.rank, str(rank))


register(
    "LinearAttention",
    Operator(rules=(checks.one_of("update_rule", *_RULES), _check), infer=_infer, lower=_lower),
)
