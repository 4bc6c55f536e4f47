"""Attention of groups of queries with their caches, and rotary embedding, of com.microsoft.

A cache may have more room than it holds: new keys are written behind what it holds, and the
standard operator is told how many count.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .contrib_heads import (
    become_joined,
    biases,
    heads_apart,
    numbers_below,
    rank_of,
    refuse_inputs,
    size_of,
    split,
    take_heads,
    take_scale,
    with_scores,
)
from .contrib_rewrite import adapts, become, give, like, need_unread, needed, optional
from .node_rewrite import NodeRewrite, NotExpressible

_UNSUPPORTED = {
    "kv_cache_bit_width": 0, "sliding_window_cache": 0, "k_quant_type": "NONE",
    "v_quant_type": "NONE",
}  # fmt: skip
_SCORES = {1: 2, 2: 3}
"""Modes of the standard Attention for scores before and after softmax."""


@adapts("GroupQueryAttention")
def _group_query_attention(r: NodeRewrite) -> None:
    """The cache has room for more than it holds: new keys are written behind what it holds.

    A prompt that is shorter than others of its batch is padded at its end; its rows there see keys
    that do not count, and their results do not count either.
    """
    scored = _SCORES.get(r.take("qk_output", 0), 0)
    if not scored:
        need_unread(r, 3)
    for name, value in _UNSUPPORTED.items():
        if r.take(name, value) not in (value, value.encode() if isinstance(value, str) else value):
            raise NotExpressible(f"its attribute {name!r} is set")
    refuse_inputs(r, *range(12, 17))
    for name in ("qk_norm_epsilon", "q_norm_epsilon", "k_norm_epsilon"):
        r.take(name)
    heads, shared = take_heads(r), take_heads(r, "kv_num_heads")
    q, k, v = _separate(r, heads, shared)
    queries = size_of(r, q, 1)
    lengths = r.emit(
        "Add", r.emit("Cast", r.emit("Reshape", needed(r, 5), r.constant([-1])),
                      to=int(ir.DataType.INT64)), r.constant([1]),
    )  # fmt: skip
    held = r.emit("Max", r.emit("Sub", lengths, queries), r.constant([0]))
    if r.take("do_rotary", 0):
        places = _places(r, held, queries)
        turning = {"interleaved": r.take("rotary_interleaved", 0)}
        q = _turned(r, q, heads, places, turning)
        k = _turned(r, k, shared, places, turning)
    r.take("rotary_interleaved")
    keys, values = own = _caches(r, k, v, shared, held)
    causal = r.take("causal", 1)
    seen = r.emit("Add", held, queries) if causal else lengths
    mask = _group_mask(r, q, keys, held, queries)
    attributes = {"softcap": r.take("softcap", 0.0), "is_causal": causal, **take_scale(r)}
    sink = optional(r, 11)
    has_sink = r.take("smooth_softmax", 0) == 1 or sink is not None
    if has_sink:
        keys, values, mask, seen = _with_sink(r, keys, values, mask, seen, sink)
    if scored:
        attributes["qk_matmul_output_mode"] = scored
    y = r.emit(
        "Attention", heads_apart(r, q, heads), keys, values, mask, None, None, seen, **attributes
    )
    if scored:
        y, scores = with_scores(y)
        give(r, 3, _shown(r, scores, int(has_sink)))
    for index, cache in enumerate(own, 1):
        give(r, index, cache)
    become_joined(r, y)


def _shown(r: NodeRewrite, scores: ir.Value, first: int) -> ir.Value:
    """Scores of the keys there are, from the first on, with 0 for those that are not seen."""
    begin = r.constant([first])
    end = r.emit("Add", _most(r), begin)
    own = r.emit("Slice", scores, begin, end, r.constant([3]))
    unseen = r.emit("IsInf", own, detect_positive=0)
    return r.emit("Where", unseen, like(r, 0.0, own), own)


def _separate(r: NodeRewrite, heads: int, shared: int) -> list[ir.Value]:
    """Queries, keys and values, which may come side by side."""
    q, k, v = needed(r, 0), optional(r, 1), optional(r, 2)
    if k is not None and v is not None:
        return [q, k, v]
    size = r.emit("Div", size_of(r, q, 2), r.constant([heads + 2 * shared]))
    sizes = r.emit("Mul", size, r.constant([heads, shared, shared]))
    return split(r, q, 2, sizes, 3)


def _places(r: NodeRewrite, held: ir.Value, queries: ir.Value) -> ir.Value:
    """Number of each query in its sequence: (batch, queries)."""
    if optional(r, 9) is not None:
        return needed(r, 9)
    return r.emit("Add", r.emit("Unsqueeze", held, r.constant([1])), numbers_below(r, queries))


def _turned(
    r: NodeRewrite, x: ir.Value, heads: int, places: ir.Value, attributes: dict[str, int]
) -> ir.Value:
    cos, sin = needed(r, 7), needed(r, 8)
    size = None if cos.shape is None else cos.shape[1]
    if not isinstance(size, int):
        raise NotExpressible("the number of its angles is not known")
    return r.emit(
        "RotaryEmbedding", x, cos, sin, places, num_heads=heads, rotary_embedding_dim=2 * size,
        **attributes,
    )  # fmt: skip


def _most(r: NodeRewrite) -> ir.Value:
    """Number of keys of the longest sequence, as a vector."""
    wide = r.emit("Cast", needed(r, 6), to=int(ir.DataType.INT64))
    return r.emit("Reshape", wide, r.constant([1]))


def _caches(
    r: NodeRewrite, k: ir.Value, v: ir.Value, heads: int, held: ir.Value
) -> tuple[ir.Value, ir.Value]:
    """Caches with new keys and values, with room for all sequences as far as they go."""
    new = [heads_apart(r, x, heads) for x in (k, v)]
    past = [optional(r, 3), optional(r, 4)]
    if past[0] is None or past[1] is None:
        return new[0], new[1]
    most = _most(r)
    caches = []
    for old, rows in zip(past, new, strict=True):
        assert old is not None
        lacking = r.emit("Max", r.emit("Sub", most, size_of(r, old, 2)), r.constant([0]))
        zeros = r.constant([0] * 6)
        pads = r.emit("Concat", zeros, lacking, r.constant([0]), axis=0)
        grown = r.emit("Pad", old, pads)
        caches.append(r.emit("TensorScatter", grown, rows, held))
    return caches[0], caches[1]


def _group_mask(
    r: NodeRewrite, q: ir.Value, keys: ir.Value, held: ir.Value, queries: ir.Value
) -> ir.Value | None:
    """Bias that is given, and -inf for keys too far before a query."""
    given, window = optional(r, 10), r.take("local_window_size", -1)
    if window < 0:
        return given
    place = r.emit("Add", r.emit("Unsqueeze", held, r.constant([1])), numbers_below(r, queries))
    first = r.emit("Unsqueeze", r.emit("Sub", place, r.constant(window - 1)), r.constant([1, 3]))
    width = size_of(r, keys, 2) if given is None else size_of(r, given, 3)
    kept = r.emit("GreaterOrEqual", numbers_below(r, width), first)
    zero, masked = (
        r.emit("CastLike", r.constant(number, np.float32), q) for number in (0.0, -np.inf)
    )
    return biases(r, r.emit("Where", kept, zero, masked), given)


def _with_sink(
    r: NodeRewrite, keys: ir.Value, values: ir.Value, mask: ir.Value | None, seen: ir.Value,
    sink: ir.Value | None,
) -> tuple[ir.Value, ir.Value, ir.Value | None, ir.Value]:  # fmt: skip
    """Put a key of zeros before all others, whose score is that of the sink, with values of 0."""
    pads = r.constant([0, 0, 1, 0, 0, 0, 0, 0])
    keys, values = r.emit("Pad", keys, pads), r.emit("Pad", values, pads)
    if mask is not None:
        mask = r.emit("Pad", mask, r.constant([0, 0, 0, 1, 0, 0, 0, 0]))
    if sink is not None:
        first = r.emit("Reshape", sink, r.constant([1, -1, 1, 1]))
        width = size_of(r, keys, 2) if mask is None else size_of(r, mask, 3)
        others = r.emit("Sub", width, r.constant([1]))
        ends = r.emit("Concat", r.constant([0] * 7), others, axis=0)
        mask = biases(r, r.emit("Pad", first, ends), mask)
    return keys, values, mask, r.emit("Add", seen, r.constant([1]))


# --- rotary embedding -------------------------------------------------------------------------


@adapts("RotaryEmbedding")
def _rotary_embedding(r: NodeRewrite) -> None:
    """Of the attributes onnxruntime ignores "scale"; packed batches differ in what it checks."""
    r.take("is_packed_batching")
    r.take("scale")
    x, places = needed(r, 0), needed(r, 1)
    cos, sin = needed(r, 2), needed(r, 3)
    rank, angles = rank_of(x), None if cos.shape is None else cos.shape[1]
    if rank not in (3, 4):
        raise NotExpressible("the rank of its input is not known")
    heads = r.take("num_heads", 0)
    if rank == 3 and not heads:
        width = x.shape[2] if x.shape is not None else None
        if not isinstance(width, int) or not isinstance(angles, int):
            raise NotExpressible("the number of its heads is not known")
        heads = width // (2 * angles)
    if rank == 3:
        r.put(num_heads=heads)
    if rank_of(places) == 1:
        batch, rows = size_of(r, x, 0), size_of(r, x, rank - 2)
        shape = r.emit("Concat", batch, rows, axis=0)
        places = r.emit("Expand", r.emit("Add", places, numbers_below(r, rows)), shape)
    elif rank_of(places) != 2:
        raise NotExpressible("the rank of its positions is not known")
    become(r, "RotaryEmbedding", x, cos, sin, places)
