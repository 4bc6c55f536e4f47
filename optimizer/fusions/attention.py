"""Attention written out: product of queries and keys, softmax, product with the values.

A row whose mask is -inf throughout gives zeros in ONNX's Attention, and NaN in a softmax alone:
a guard against those NaN is dropped, and where there was none, they are put back. (The guard that
PyTorch exports also hides NaN among queries and keys; Attention returns them, as PyTorch does.)

onnxruntime has limits besides:

- A row of the mask that is nowhere above the lowest number makes zeros as well, where the softmax
  makes equal shares. Such masks are raised by one step, which changes nothing else: either number
  swallows every score that it is added to.
- A mask has all its queries and keys; only batch and heads are broadcast.
- The scale is positive; queries, keys and values are of one batch; nothing is empty.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir

from ..intervals import LOWEST
from ..ranges import value_range
from ..rewrite import Match, apply_rules, either, find, fixed, op, rewrite
from ..values import Size, attribute, constant, dims, rank, scalar

_RAISED = np.nextafter(LOWEST, np.float32(0))
# Scores replaced by this or less are masked: true ones are taken to be above it.
_FAR_BELOW = -1e9


def _written_out(
    q: Any, keys: Any, v: Any, factor: Any, divisor: Any, cap: Any, inner: Any, mask: Any,
    kept: Any, dropped: Any, fill: Any,
) -> Any:  # fmt: skip
    product = op.MatMul(q, keys)
    scaled = either(product * fixed(factor), product / fixed(divisor), product)
    scores = either(op.Tanh(either(scaled / fixed(inner), scaled)) * fixed(cap), scaled)
    masked = either(
        scores + mask,
        op.Where(kept, scores, fixed(fill)),
        op.Where(dropped, fixed(fill), scores),
        scores,
    )
    softmax = op.Softmax(masked).named("softmax")
    guarded = op.Where(op.IsNaN(softmax), 0.0, softmax).named("guarded")
    return op.MatMul(either(guarded, softmax), v)


@rewrite(_written_out)
def _attention(m: Match) -> ir.Value:
    m.require(m.opset >= 23, "Attention needs opset 23")
    m.require(m.v.dtype == ir.DataType.FLOAT, "it is not float32")
    m.require(_along_keys(m.softmax), "the softmax is not along the keys")
    q, factor = _operand(m, m.q, False)
    k, other = _operand(m, m.keys, True)
    scale = factor * other * _number(m, "factor") / _number(m, "divisor")
    cap = {"softcap": _number(m, "cap")} if "cap" in m else {}
    scale *= cap.get("softcap", 1.0) / _number(m, "inner")  # of what is divided by the cap
    positive = all(0 < number < math.inf for number in (scale, *cap.values()))
    m.require(positive, "the scale or the cap is not positive")
    sizes = _batches(m, q, k, m.v)
    mask = _mask(m, sizes)
    fitted = [] if mask is None else [_fitted(m, mask, sizes, q, k)]
    axes = np.arange(4 - len(sizes))
    operands = [m.op.Unsqueeze(x, axes) if axes.size else x for x in (q, k, m.v)]
    result: ir.Value = m.op.Attention(*operands, *fitted, scale=scale, **cap)
    if axes.size:
        result = m.op.Squeeze(result, axes)
    if mask is None or "guarded" in m or not _may_mask_all(mask):
        return result
    return _with_nan(m, mask, result)


# --- operands ---------------------------------------------------------------------------------


def _along_keys(softmax: ir.Value) -> bool:
    node = softmax.producer()
    assert node is not None
    axes = rank(softmax)
    axis = attribute(node, "axis", -1)
    return axis == -1 or (axes is not None and axis == axes - 1)


def _number(m: Match, name: str) -> float:
    """Constant of a pattern; 1 where the form that matched has none."""
    if name not in m:
        return 1.0
    number = scalar(getattr(m, name))
    own, axes = rank(getattr(m, name)), rank(m.v)
    fits = own is not None and axes is not None and own <= axes
    m.require(fits and number is not None, "the scale is not one number")
    return number or math.nan


def _unscaled(x: ir.Value) -> tuple[ir.Value, float]:
    """Operand before it was multiplied by a number, and the number; Paddle adds 0 to that."""
    for bound in find(lambda x: x + 0.0, x):
        x = bound["x"]
    for pattern, sign in ((lambda x, c: x * fixed(c), 1), (lambda x, c: x / fixed(c), -1)):
        for bound in find(pattern, x):
            number = scalar(bound["c"])
            if number and rank(bound["x"]) == rank(x):
                return bound["x"], number**sign
    return x, 1.0


def _swapped_as_matrices(m: Match, x: ir.Value) -> ir.Value | None:
    """Keys before their last axes were swapped as one batch of matrices, with all their axes."""
    for bound in find(lambda y, kept: op.Reshape(op.Transpose(y).named("turned"), kept), x):
        source, kept = bound["y"], bound["kept"]
        before, after, target = dims(source), dims(x), constant(kept)
        if before is None or after is None or len(before) != 3 or len(after) < 3:
            continue
        transpose = bound["turned"].producer()
        assert transpose is not None
        perm = transpose.attributes.get("perm")
        if perm is None or list(perm.as_ints()) != [0, 2, 1] or None in before:
            continue
        if before[1:] != after[:-3:-1] or (target is not None and 0 in target):
            continue
        swapped = [*range(len(after) - 2), len(after) - 1, len(after) - 2]
        shape = m.op.Gather(kept, np.array(swapped)) if target is None else target[swapped]
        result: ir.Value = m.op.Reshape(source, shape)
        result.shape = ir.Shape([after[axis] for axis in swapped])
        return result
    return None


def _operand(m: Match, x: ir.Value, swapped: bool) -> tuple[ir.Value, float]:
    """Queries or keys, which come with their last axes swapped, before they were scaled."""
    x, factor = _unscaled(x)
    whole = _swapped_as_matrices(m, x) if swapped else None
    if whole is not None:
        return whole, factor
    node = x.producer()
    if node is None or node.op_type != "Transpose" or "perm" not in node.attributes:
        m.require(not swapped, "the keys are not transposed")
        return x, factor
    before = node.inputs[0]
    assert before is not None
    source, other = _unscaled(before)
    if not swapped and source is before:
        return x, factor
    perm = list(node.attributes["perm"].as_ints())
    if swapped:
        perm[-2:] = perm[:-3:-1]
    if perm == sorted(perm):
        return source, factor * other
    transposed = m.op.Transpose(source, perm=perm)
    sizes = dims(source)
    transposed.shape = None if sizes is None else ir.Shape([sizes[axis] for axis in perm])
    return transposed, factor * other


def _batches(m: Match, *operands: ir.Value) -> list[Size]:
    """Sizes of the scores; all operands must have the same batch and heads, of any number each."""
    q, k, v = (m.sizes(x) for x in operands)
    m.require(2 <= len(q) <= 4, "the operands do not have two to four axes")
    one_head = k[:-3] == q[:-3] and k[-3:-2] == [1]
    same = None not in q[:-2] and k[:-2] == v[:-2] and (k[:-2] == q[:-2] or one_head)
    m.require(same, "the operands are not known to have the same batch and heads")
    m.require(0 not in (*q, *k, *v), "an operand is empty")
    return [*q[:-1], k[-2]]


# --- masks ------------------------------------------------------------------------------------


def _mask(m: Match, sizes: list[Size]) -> ir.Value | None:
    """Mask that is added to the scores; no row of it is the lowest number throughout."""
    mask = m.mask if "mask" in m else _added(m) if "fill" in m else None
    if mask is None:
        return None
    own = m.sizes(mask)
    m.require(len(own) <= len(sizes), "the mask has more axes than the scores")
    padded = [1] * (len(sizes) - len(own)) + own
    fits = (s is not None and s in (1, t) for s, t in zip(padded[:-1], sizes[:-1], strict=True))
    m.require(all(fits), "the mask is not known to fit the scores")
    interval = value_range(mask)
    m.require(interval is not None, "the range of the mask is not known: it may hold rows of -inf")
    if interval is not None and interval.least <= LOWEST:
        m.require(not interval.infinite, "the mask may hold both -inf and the lowest number")
        raised: ir.Value = m.op.Max(mask, _RAISED)
        raised.shape = mask.shape
        return raised
    return mask


def _added(m: Match) -> ir.Value:
    """Mask to be added to the scores, of a condition under which they are replaced."""
    fill = scalar(m.fill)
    m.require(fill is not None and fill <= _FAR_BELOW, "masked scores are not far below others")
    masked, zero = np.float32(-np.inf if fill == -math.inf else _RAISED), np.float32(0)
    if "kept" in m:
        condition, mask = m.kept, m.op.Where(m.kept, zero, masked)
    else:
        condition, mask = m.dropped, m.op.Where(m.dropped, masked, zero)
    mask.shape = condition.shape
    result: ir.Value = mask
    return result


def _may_mask_all(mask: ir.Value) -> bool:
    """Tell whether some row of a mask may be -inf throughout."""
    array, interval = constant(mask), value_range(mask)
    if array is not None:
        return bool(np.isneginf(np.atleast_1d(array)).all(-1).any())
    return interval is None or interval.infinite


def _fitted(m: Match, mask: ir.Value, sizes: list[Size], q: ir.Value, k: ir.Value) -> ir.Value:
    """Mask expanded to all queries and keys."""
    if None not in sizes[-2:] and m.sizes(mask)[-2:] == sizes[-2:]:
        return mask
    expanded: ir.Value = m.op.Expand(mask, _target(m, sizes, q, k))
    return expanded


def _target(m: Match, sizes: list[Size], q: ir.Value, k: ir.Value) -> Any:
    """Numbers of queries and keys."""
    if all(isinstance(size, int) for size in sizes[-2:]):
        return np.array(sizes[-2:], np.int64)
    counts = [m.op.Shape(x, start=-2, end=-1) for x in (q, k)]
    target = m.op.Concat(*counts, axis=0)
    for value in (*counts, target):
        value.type = ir.TensorType(ir.DataType.INT64)
    return target


def _with_nan(m: Match, mask: ir.Value, attention: ir.Value) -> ir.Value:
    """Put NaN in rows of the result that are masked throughout."""
    most = m.op.ReduceMax(mask, np.array([-1]), keepdims=1)
    masked = m.op.Equal(most, np.float32(-np.inf))
    masked.type = ir.TensorType(ir.DataType.BOOL)
    result: ir.Value = m.op.Where(masked, np.float32(np.nan), attention)
    return result


# --- heads that share keys and values ---------------------------------------------------------


def _repeated(x: Any, name: str) -> Any:
    apart = op.Unsqueeze(x, ...).named(f"{name}_apart")
    return op.Reshape(op.Expand(apart, ...), ...).named(f"{name}_heads")


@rewrite(lambda q, k, v: op.Attention(q, _repeated(k, "k"), _repeated(v, "v"), ...))
def _shared_heads(m: Match) -> ir.Value:
    for x, apart, repeated in ((m.k, m.k_apart, m.k_heads), (m.v, m.v_apart, m.v_heads)):
        own, single, every = (m.sizes(value) for value in (x, apart, repeated))
        m.require(len(own) == len(every) == 4 and None not in own, "a size is not known")
        m.require(single == [*own[:2], 1, *own[2:]], "heads are not repeated one by one")
        m.require(every == [own[0], every[1], *own[2:]], "more than heads are repeated")
    attributes = dict(m.root.attributes)
    result: ir.Value = m.op.Attention(m.q, m.k, m.v, *m.root.inputs[3:], **attributes)
    return result


fuse_attention = apply_rules([_attention, _shared_heads])
