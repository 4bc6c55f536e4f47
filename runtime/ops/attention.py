"""Attention: one kernel for all masks, caches and shared heads.

Masks of bools become a *bias* that is added to the scores, -inf where there is nothing to attend
to. What follows from positions alone (causal order, windows, lengths) is two numbers for each
query: the first key that it sees, and the last.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir

from ...kernels.cpu.attention import attention
from ...kernels.cpu.attention_job import DENSE_KEYS, KEYS, MANY_QUERIES, room_floats
from ...kernels.cpu.operands import max_rows
from ...kernels.cpu.packing import tile_rows
from ...kernels.target import LANES
from ..emission import Emission
from ..graph import Info, NeedsNumbers, Node, OnHost, refuse
from ..symbolic import Dim, maximum, minimum
from ..tensors import Indexed, Tensor
from .pointwise import broadcast_strides, emit_expression
from .registry import Operator, register
from .term_attention import Job, emit_fastest, multiplies_halves
from .tiles import tile_table

Q, K, V, MASK, PAST_K, PAST_V, LENGTHS = range(7)
"""Inputs of a node."""
Y, PRESENT_K, PRESENT_V, SCORES = range(4)
"""Outputs of a node."""
_UNLIMITED = 1 << 40
"""Keys before or after a query that it may see where no window says how many."""
_NO_MORE_THAN_FLOAT = {int(kind) for kind in (
    ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16
)}  # fmt: skip
"""Precisions of a softmax that float32 has."""

# --- shapes -----------------------------------------------------------------------------------


def _infer(node: Node) -> list[Info]:
    operands = [node.required(i) for i in (Q, K, V)]
    pasts = [node.input(i) for i in (PAST_K, PAST_V)]
    if any(info.dtype != "float32" for info in (*operands, *pasts) if info is not None):
        raise OnHost("only float32")
    lengths = node.input(LENGTHS)
    if lengths is not None and lengths.dtype != "int64":
        raise OnHost(f"lengths of {lengths.dtype}")
    if {info.rank for info in operands} not in ({3}, {4}):
        raise OnHost("operands that do not all have three or all have four axes")
    if node.attribute("softmax_precision", int(ir.DataType.FLOAT)) not in _NO_MORE_THAN_FLOAT:
        raise OnHost("softmax_precision of more than float32")
    (batch, heads, queries, size), (_, shared, new, _), (_, _, _, width) = (
        _by_heads(node, i) for i in (Q, K, V)
    )
    known = isinstance(heads, int) and isinstance(shared, int)
    if known and heads != shared and (shared == 0 or heads % shared):
        raise OnHost(f"{heads} query heads, no multiple of {shared} key heads")
    if node.attribute("scale") is None and not isinstance(size, int):
        raise NeedsNumbers("a scale that depends on the input's shape", [size])
    keys = new + _past(node)
    _check_mask(node.input(MASK))
    if 0 in (batch, heads, queries, keys, size, width):
        raise OnHost("an empty operand")
    y = (batch, heads, queries, width)
    shapes: list[tuple[Dim, ...]] = [
        (batch, queries, heads * width) if operands[Q].rank == 3 else y,
        (batch, shared, keys, size),
        (batch, shared, keys, width),
        (batch, heads, queries, keys),
    ]
    return [node.result(shape, index=i) for i, shape in enumerate(shapes[: len(node.outputs)])]


def _past(node: Node) -> Dim:
    """Keys of the cache that is an input."""
    past, other = node.input(PAST_K), node.input(PAST_V)
    if (past is None) != (other is None):
        raise OnHost("a cache of keys without values, or of values without keys")
    if past is None or other is None:
        return 0
    if past.rank != 4 or other.rank != 4:
        raise OnHost("a cache that does not have four axes")
    return past.dims[2]


def _by_heads(node: Node, index: int) -> tuple[Dim, ...]:
    """Sizes of an operand: batch, heads, rows, and elements of a row of one head."""
    dims = node.required(index).dims
    if len(dims) == 4:
        return dims
    heads = node.attribute("q_num_heads" if index == Q else "kv_num_heads", 0)
    if heads <= 0 or (isinstance(dims[2], int) and dims[2] % heads):
        raise OnHost(f"an axis of size {dims[2]} for {heads} heads")
    return dims[0], heads, dims[1], dims[2] // heads


def _check_mask(mask: Info | None) -> None:
    if mask is None:
        return
    if mask.dtype not in ("float32", "bool"):
        raise OnHost(f"a mask of {mask.dtype}")
    if not 1 <= mask.rank <= 4:
        raise OnHost(f"a mask of rank {mask.rank}")


# --- the step ---------------------------------------------------------------------------------


def _lower(emit: Emission, node: Node) -> None:
    q, k, v = _of_one_type(emit, [_heads_apart(emit, node, i) for i in (Q, K, V)])
    _check_sizes(emit, q, k, v)
    k, v = _cached(emit, node, k, PAST_K, PRESENT_K), _cached(emit, node, v, PAST_V, PRESENT_V)
    emit.check(k.shape[2], v.shape[2], "keys and values with those of the caches")
    batch, heads, queries, size = q.shape
    _, shared, keys, width = v.shape
    y = _result(emit, node, (batch, heads, queries, width))
    scores = emit.output(node, SCORES) if _has_output(node, SCORES) else None
    scale = node.attribute("scale")
    if scale is None:
        scale = 1 / math.sqrt(size)  # type: ignore[arg-type]
    lengths = _lengths(emit, node, batch)
    past = 0 if node.input(PAST_K) is None else emit.tensor(node.values[PAST_K]).shape[2]
    left, right = _window(node)
    is_limited = min(left, right) < _UNLIMITED or lengths is not None
    mask = _mask_fields(emit, node, q.shape, keys)
    varies = is_limited or mask["mask_keys"] != keys
    flops = 2 * batch * heads * queries * keys * (size + width)
    fields: dict[str, Any] = dict(
        batch=batch, heads=shared, group=heads // shared, queries=queries, keys=keys, size=size,
        width=width, lengths=lengths, past=past, left=left, right=right,
        zeros=int(is_limited or node.input(MASK) is not None),
        scores=scores, mode=node.attribute("qk_matmul_output_mode", 0),
        scale=scale,
        cap=float(node.attribute("softcap", 0.0)),
        **_strided("q", q), **_strided("k", k), **_strided("v", v), **_strided("y", y),
        **mask,
    )  # fmt: skip
    outputs = [y] if scores is None else [y, scores]
    indexed = None if lengths is None else Indexed(node.required(LENGTHS).name, (keys + 1,))
    job = Job(outputs, flops, fields, _room_bytes(size, width), indexed)
    dense_keys, tiles = _dense_keys(q, k, v), _tiles(None if varies else keys, width)
    emit_fastest(emit, job, lambda: _emit_vectors(emit, job, dense_keys, tiles))


def _emit_vectors(emit: Emission, job: Job, dense_keys: Dim, tiles: dict[str, Any]) -> None:
    row_bytes = (job.fields["size"] + job.fields["width"]) * 4
    space = job.room + (dense_keys * row_bytes + 63) // 64 * 64
    emit.step(
        attention, outputs=job.outputs, flops=job.flops, indexed=job.indexed, **job.fields,
        **tiles,
        scratch=emit.workspace(space), scratch_bytes=space, dense_at=job.room,
        dense_keys=dense_keys,
    )  # fmt: skip


def _strided(name: str, x: Tensor) -> dict[str, Any]:
    """Fields of an operand and its strides."""
    names = (f"{name}_batch", f"{name}_head", f"{name}_row")
    return {name: x, **dict(zip(names, x.strides, strict=False))}


def _room_bytes(size: Dim, width: Dim) -> Dim:
    """Bytes of workspace of a thread."""
    first, second = ((count + LANES - 1) // LANES * LANES for count in (size, width))
    return room_floats(first, second, maximum(maximum(first, second), KEYS)) * 4


def _dense_keys(q: Tensor, k: Tensor, v: Tensor) -> Dim:
    """Keys of a head that a thread has room for: 0 where their rows are dense, or queries few."""
    rows = q.shape[1] * q.shape[2]
    if k.strides[2] == k.shape[3] and v.strides[2] == v.shape[3]:
        return 0
    return 0 if isinstance(rows, int) and rows < MANY_QUERIES else minimum(k.shape[2], DENSE_KEYS)


def _tiles(keys: Dim | None, width: Dim) -> dict[str, Any]:
    """Fields of the tiles, for rows of one vector of queries and for those of two.

    They are for blocks of keys, of any number where that is not known, and for rows of values.
    """
    fields: dict[str, Any] = {}
    for vectors, prefix in ((1, ""), (2, "wide_")):
        mr = max_rows(vectors)
        rows = set(range(1, mr + 1))
        if isinstance(keys, int) and isinstance(width, int):
            rows = tile_rows(width, mr) | tile_rows(keys % KEYS or KEYS, mr)
            rows |= tile_rows(KEYS, mr) if keys > KEYS else set()
        fields |= {f"{prefix}mr": mr, f"{prefix}tiles": tile_table(vectors, rows)}
    return fields


# --- operands ---------------------------------------------------------------------------------


def _heads_apart(emit: Emission, node: Node, index: int) -> Tensor:
    """Operand as heads of rows whose elements are dense."""
    x = emit.tensor(node.values[index])
    if len(x.shape) == 3:
        batch, heads, rows, size = _by_heads(node, index)
        step = x.strides[2]
        x = x.view((batch, heads, rows, size), (x.strides[0], size * step, x.strides[1], step))
    return x if x.strides[3] == 1 else emit.ordered(x)


def _of_one_type(emit: Emission, operands: list[Tensor]) -> list[Tensor]:
    """Return operands that lie as bfloat16, or all as float32."""
    if all(x.dtype == "bfloat16" for x in operands):
        return operands
    return [emit.as_type(x, "float32") for x in operands]


def takes_halves(node: Node) -> bool:
    """Tell whether attention may read and write bfloat16: without caches, and scores as results."""
    is_plain = node.input(PAST_K) is None and not any(value.name for value in node.outputs[1:])
    return is_plain and multiplies_halves()


def _has_output(node: Node, index: int) -> bool:
    return index < len(node.outputs) and bool(node.outputs[index].name)


def _cached(emit: Emission, node: Node, new: Tensor, past_index: int, index: int) -> Tensor:
    """Keys or values with those of the cache before them."""
    has_past, is_wanted = node.input(past_index) is not None, _has_output(node, index)
    if is_wanted and node.outputs[index] in emit.caches:
        return emit.continued(node.outputs[index], new)
    if not has_past and not is_wanted:
        return new
    old = emit.tensor(node.values[past_index]) if has_past else None
    count = old.shape[2] if old is not None else 0
    shape = (*new.shape[:2], count + new.shape[2], new.shape[3])
    whole = emit.output(node, index) if is_wanted else emit.new(shape, new.dtype)
    if old is not None:
        message = f"sizes of {old.name!r} and {new.name!r}"
        for axis in (0, 1, 3):
            emit.check(old.shape[axis], new.shape[axis], message)
        emit.copy(old, whole.view(old.shape, whole.strides), "Concat")
    emit.copy(new, whole.view(new.shape, whole.strides, count * whole.strides[2]), "Concat")
    return whole


def _result(emit: Emission, node: Node, shape: tuple[Dim, ...]) -> Tensor:
    """The node's output, as heads of rows."""
    y = emit.output(node)
    if len(y.shape) == 4:
        return y
    _, heads, rows, width = shape
    row = heads * width
    return y.view(shape, (rows * row, width, row, 1))


def _check_sizes(emit: Emission, q: Tensor, k: Tensor, v: Tensor) -> None:
    for other in (k, v):
        emit.check(q.shape[0], other.shape[0], f"batch of {q.name!r} and {other.name!r}")
    emit.check(q.shape[3], k.shape[3], f"sizes of heads of {q.name!r} and {k.name!r}")
    heads, shared = q.shape[1], k.shape[1]
    groups = f"heads of {q.name!r} in whole groups for those of {k.name!r}, and all of them"
    emit.check(heads // shared * shared, heads, groups)
    for axis, name in ((1, "heads"), (2, "rows")):
        emit.check(k.shape[axis], v.shape[axis], f"{name} of {k.name!r} and {v.name!r}")


# --- masks ------------------------------------------------------------------------------------


def _window(node: Node) -> tuple[int, int]:
    """Keys before and after its own that a query sees."""
    sides = [node.attribute(f"{side}_window_size", -1) for side in ("left", "right")]
    left, right = (_UNLIMITED if side < 0 else min(side, _UNLIMITED) for side in sides)
    return left, 0 if node.attribute("is_causal", 0) else right


def _lengths(emit: Emission, node: Node, batch: Dim) -> Tensor | None:
    """Keys that count, for each of a batch."""
    if node.input(LENGTHS) is None:
        return None
    lengths = emit.ordered(emit.tensor(node.values[LENGTHS]))
    emit.check(lengths.size, batch, "number of lengths")
    return lengths


def _mask_fields(emit: Emission, node: Node, queries: tuple[Dim, ...], keys: Dim) -> dict[str, Any]:
    """Fields of the bias."""
    info = node.input(MASK)
    if info is None:
        names = ("mask", "mask_batch", "mask_head", "mask_row")
        return {**dict.fromkeys(names, 0), "mask": None, "mask_keys": keys}
    bias = _bias(emit, node, info)
    own = bias.shape[-1]
    emit.check(maximum(own, keys), keys, f"keys of the mask {info.name!r}, and all keys")
    shape = (*queries[:3], own)
    target = Tensor(bias.buffer, 0, bias.dtype, shape, (0,) * 4, bias.name)
    strides = broadcast_strides(emit, bias, target)
    return {**_strided("mask", bias.view(shape, strides)), "mask_keys": own}


def _bias(emit: Emission, node: Node, info: Info) -> Tensor:
    """Addend of the scores, with dense keys."""
    if info.is_constant and info.dtype == "bool":
        array = np.where(info.array(), np.float32(0), np.float32(-np.inf))
        return emit.constant(array, info.name)
    mask = emit.tensor(node.values[MASK])
    if info.dtype == "bool":
        bias = emit.new(mask.shape, "float32")
        emit_expression(emit, "where(x0,0.0,x1)", bias, [mask, -math.inf])
        return bias
    return mask if mask.strides[-1] == 1 else emit.ordered(mask)


def _check_mode(node: Node) -> None:
    mode = node.attribute("qk_matmul_output_mode", 0)
    if mode not in range(4):
        refuse(node, "attribute 'qk_matmul_output_mode'", mode, "0, 1, 2 or 3")


register("Attention", Operator(rules=(_check_mode,), infer=_infer, lower=_lower, is_float32=True))
