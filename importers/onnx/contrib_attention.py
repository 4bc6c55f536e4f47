"""Attention of com.microsoft, in all its forms, as the standard Attention.

What differs are masks (numbers of keys, or zeros for what is masked, which gets a large negative
number and not -inf), products and biases that are a part of the node, and caches that are larger
than what they hold.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from .contrib_heads import (
    become_joined,
    biases,
    heads_apart,
    numbers_below,
    outputs_of,
    rank_of,
    refuse_inputs,
    size_of,
    split,
    take_heads,
    take_scale,
    with_scores,
)
from .contrib_rewrite import (
    adapts,
    become,
    give,
    is_read,
    need_unread,
    needed,
    optional,
    summed,
)
from .node_rewrite import NodeRewrite, NotExpressible

_LARGEST = int(np.iinfo(np.int64).max)
_WITH_BIAS = 2
"""Mode in which the standard Attention gives scores as softmax gets them."""


def _trimmed(*inputs: ir.Value | None) -> list[ir.Value | None]:
    """Inputs without those at the end that are omitted."""
    kept = list(inputs)
    while kept and kept[-1] is None:
        kept.pop()
    return kept


def _packed(r: NodeRewrite, x: ir.Value, index: int) -> ir.Value:
    """One of the tensors in (batch, rows, heads, tensors, size), as (batch, rows, all)."""
    own = r.emit("Gather", x, r.constant(index), axis=3)
    return r.emit("Reshape", own, r.constant([0, 0, -1]))


# --- masks ------------------------------------------------------------------------------------


def _padding(
    r: NodeRewrite, mask: ir.Value | None, like: ir.Value, total: ir.Value, fill: float
) -> ir.Value | None:  # fmt: skip
    """Addend of the scores for a mask of any form: 0 for keys that count, else ``fill``."""
    if mask is None:
        return None
    rank = rank_of(mask)
    if rank not in (1, 2, 3):
        raise NotExpressible(f"the rank of its mask is {rank}")
    if rank == 1:
        kept = _within(r, mask, size_of(r, like, 0), total)
    else:
        kept = r.emit("Greater", mask, r.emit("CastLike", r.constant(0), mask))
    kept = r.emit("Unsqueeze", kept, r.constant([1] if rank == 3 else [1, 2]))
    zero, masked = (
        r.emit("CastLike", r.constant(number, np.float32), like) for number in (0.0, fill)
    )
    return r.emit("Where", kept, zero, masked)


def _within(r: NodeRewrite, mask: ir.Value, batch: ir.Value, total: ir.Value) -> ir.Value:
    """Keys from a begin to an end: the mask holds the ends, and may hold the begins after them."""
    wide = r.emit("Cast", mask, to=int(ir.DataType.INT64))
    numbers, zero = numbers_below(r, total), r.constant([0])
    ends = r.emit("Slice", wide, zero, batch)
    kept = r.emit("Less", numbers, r.emit("Unsqueeze", ends, r.constant([1])))
    # Of a mask without begins zeros are taken.
    more = r.emit("Concat", wide, r.emit("Expand", zero, batch), axis=0)
    begins = r.emit("Slice", more, batch, r.emit("Add", batch, batch))
    after = r.emit("GreaterOrEqual", numbers, r.emit("Unsqueeze", begins, r.constant([1])))
    return r.emit("And", kept, after)


# --- attention of as many heads for keys as for queries ----------------------------------------


def _with_bias(
    r: NodeRewrite, bias: ir.Value | None, q: ir.Value, k: ir.Value, v: ir.Value
) -> list[ir.Value]:
    """Operands after their parts of one bias are added."""
    if bias is None:
        return [q, k, v]
    width = size_of(r, q, 2)
    both = r.emit("Add", width, width)
    ends = [r.constant([0]), width, both, r.constant([_LARGEST])]
    parts = [r.emit("Slice", bias, a, b) for a, b in itertools.pairwise(ends)]
    return [r.emit("Add", x, part) for x, part in zip((q, k, v), parts, strict=True)]


def _multi_head(
    r: NodeRewrite, q: ir.Value, k: ir.Value | None, v: ir.Value | None, bias: ir.Value | None,
    mask: ir.Value | None, attention_bias: ir.Value | None, past: tuple[ir.Value | None, ...],
    held: ir.Value | None,
) -> None:  # fmt: skip
    """Let the node be an Attention of these operands.

    ``held`` (a scalar) says how much of the caches is filled that have more room; None: they grow.
    """
    heads, fill = take_heads(r), r.take("mask_filter_value", -10000.0)
    attributes = {"is_causal": r.take("unidirectional", 0), **take_scale(r)}
    has_scores = is_read(r, 3)
    if has_scores:
        attributes["qk_matmul_output_mode"] = _WITH_BIAS
    if bias is not None and (k is None or v is None):
        raise NotExpressible("it adds a bias to packed operands")
    if k is None:
        q, k, v = (_packed(r, q, index) for index in range(3))
    elif v is None:
        k, v = (_packed(r, k, index) for index in range(2))
    assert k is not None and v is not None
    apart = rank_of(k) == 4
    if bias is not None and apart:
        # Keys and values of another sequence have theirs.
        q = r.emit("Add", q, r.emit("Slice", bias, r.constant([0]), size_of(r, q, 2)))
    elif bias is not None:
        q, k, v = _with_bias(r, bias, q, k, v)
    total, seen = size_of(r, k, 2 if apart else 1), None
    if held is not None:
        held = r.emit("Reshape", r.emit("Cast", held, to=int(ir.DataType.INT64)), r.constant([1]))
        total = r.emit("Add", held, total)
        k, v = _written(r, k, v, heads, past, held)
        past, apart = (None, None), True
        seen = r.emit("Expand", total, size_of(r, q, 0))
        for index, cache in enumerate((k, v), 1):
            give(r, index, cache)
    elif past[0] is not None:
        total = r.emit("Add", total, size_of(r, past[0], 2))
    addend = biases(r, _padding(r, mask, q, total, fill), attention_bias)
    if not apart:
        r.put(q_num_heads=heads, kv_num_heads=heads, **attributes)
        r.outputs = min(r.outputs, 4 if has_scores else 3)
        become(r, "Attention", *_trimmed(q, k, v, addend, *past))
        return
    operands = _trimmed(heads_apart(r, q, heads), k, v, addend, None, None, seen)
    y = r.emit("Attention", *operands, **attributes)
    if has_scores:
        y, scores = with_scores(y)
        give(r, 3, scores)
    become_joined(r, y)


def _written(
    r: NodeRewrite, k: ir.Value, v: ir.Value, heads: int, past: tuple[ir.Value | None, ...],
    held: ir.Value,
) -> list[ir.Value]:  # fmt: skip
    """Caches into which new keys and values are written."""
    first = r.emit("Expand", held, size_of(r, k, 0))
    pairs = [(cache, heads_apart(r, x, heads)) for cache, x in zip(past, (k, v), strict=True)]
    return [r.emit("TensorScatter", cache, rows, first) for cache, rows in pairs]


@adapts("MultiHeadAttention")
def _multi_head_attention(r: NodeRewrite) -> None:
    refuse_inputs(r, 9)
    q, (k, v, bias, mask, more) = needed(r, 0), (optional(r, i) for i in range(1, 6))
    if k is not None and rank_of(k) == 4:
        need_unread(r, 1, 2)
    past = (optional(r, 6), optional(r, 7))
    _multi_head(r, q, k, v, bias, mask, more, past, optional(r, 8))


@adapts("DecoderMaskedMultiHeadAttention")
def _decoder_masked_attention(r: NodeRewrite) -> None:
    beams, shares = optional(r, 8), r.take("past_present_share_buffer", 0)
    r.take("output_qk")
    if beams is not None and not (r.constant_input(8) == 1).all():
        raise NotExpressible("it follows several beams")
    q, (k, v, mask, more) = needed(r, 0), (optional(r, i) for i in range(1, 5))
    if k is None:
        raise NotExpressible("its operands are packed")
    past, held = (optional(r, 5), optional(r, 6)), optional(r, 7) if shares else None
    if rank_of(k) == 4:
        need_unread(r, 1, 2)
    elif shares and held is None:
        raise NotExpressible("it does not say how much its cache holds")
    _multi_head(r, q, k, v, optional(r, 10), mask, more, past, held)


@adapts("Attention")
def _attention(r: NodeRewrite) -> None:
    """Projections, bias and attention in one; the cache holds keys and values in one."""
    if r.take("past_present_share_buffer", 0) or r.take("do_rotary", 0):
        raise NotExpressible("it writes to its cache, or turns queries and keys")
    r.take("rotary_embedding_dim")
    refuse_inputs(r, 6)
    product = summed(r, r.emit("MatMul", needed(r, 0), needed(r, 1)), optional(r, 2))
    sizes = r.take("qkv_hidden_sizes", ())
    attend(r, product, sizes, optional(r, 3), optional(r, 4), optional(r, 5))


def attend(
    r: NodeRewrite, product: ir.Value, sizes: Sequence[int] | None, mask: ir.Value | None,
    past: ir.Value | None, attention_bias: ir.Value | None,
) -> None:  # fmt: skip
    """Let the node be the attention of projections that lie side by side, of some sizes."""
    q, k, v = split(r, product, 2, r.constant(list(sizes)) if sizes else None, 3)
    heads, fill = take_heads(r), r.take("mask_filter_value", -10000.0)
    total = size_of(r, product, 1)
    pasts: list[ir.Value | None] = [None, None]
    if past is not None:
        total = r.emit("Add", total, size_of(r, past, 3))
        pasts = [r.emit("Gather", past, r.constant(i), axis=0) for i in range(2)]
    addend = biases(r, _padding(r, mask, product, total, fill), attention_bias)
    y = r.emit(
        "Attention", *_trimmed(q, k, v, addend, *pasts), q_num_heads=heads, kv_num_heads=heads,
        is_causal=r.take("unidirectional", 0), **take_scale(r),
    )  # fmt: skip
    if r.outputs > 1:
        y, *presents = outputs_of(y, 3)
        single = [r.emit("Unsqueeze", each, r.constant([0])) for each in presents]
        give(r, 1, r.emit("Concat", *single, axis=0))
    r.outputs = 1
    become(r, "Identity", y)
