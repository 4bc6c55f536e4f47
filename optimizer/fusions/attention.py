"""Attention written out: product of queries and keys, softmax, product with the values.

What is added to the scores (relative positions, alibi, masks) or replaces them is the mask
(`attention_masks`). Scores may be matrices of batch times heads and get these axes later, or not
at all. Shares that are made zero where scores were replaced (Keras) say the same as a mask of -inf,
and those that dropout scales down (Paddle) scale the result.
A guard against NaN of rows that are masked throughout is dropped, because Attention gives zeros for
these. (The guard that PyTorch exports also hides NaN among queries and keys; Attention returns
them, as PyTorch does.)

onnxruntime has limits besides: the scale is positive; queries, keys and values are of one batch;
nothing is empty. So sizes have to be known to be equal. Where they are not when no other pass finds
anything more, operands are expanded to the sizes that they broadcast to, and keys of another order
are transposed.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir

from ..operators.broadcasting import broadcast_sizes
from ..rewrite import Match, Rule, apply_rules, either, find, fixed, op, rewrite
from ..sizes import contents
from ..values import Size, attribute, constant, dims, rank, scalar
from .attention_masks import addend, fitted, may_mask_all, with_nan
from .mask_arithmetic import selected_scores, shifted_scores
from .shared_heads import shared_heads
from .window_masks import window_masks


def _written_out(
    q: Any, keys: Any, v: Any, inside: Any, factor: Any, divisor: Any, cap: Any, inner: Any,
    bias: Any, heads: Any, mask: Any, lowered: Any, kept: Any, dropped: Any, fill: Any,
    further: Any, matrices: Any, share: Any,
) -> Any:  # fmt: skip
    product = op.MatMul(q, keys)
    summed = either(product, product + inside)
    scaled = either(summed * fixed(factor), summed / fixed(divisor), product)
    capped = either(op.Tanh(either(scaled / fixed(inner), scaled)) * fixed(cap), scaled)
    biased = either(capped, capped + bias)
    scores = either(biased, op.Reshape(biased, heads).named("by_heads"))
    replaced = either(op.Where(kept, scores, fixed(fill)), op.Where(dropped, fixed(fill), scores))
    masked = either(replaced + further, scores + mask, scores - lowered, replaced, scores)
    softmax = op.Softmax(masked).named("softmax")
    guarded = either(
        op.Where(op.IsNaN(softmax), 0.0, softmax).named("guarded"),
        op.Where(kept, softmax, 0.0).named("zeroed"),
        op.Where(dropped, 0.0, softmax).named("zeroed"),
        softmax,
    )
    scaled_down = either(guarded, guarded * fixed(share))
    return op.MatMul(either(scaled_down, op.Reshape(scaled_down, matrices).named("flat")), v)


def _attention(m: Match, is_last: bool) -> ir.Value:
    m.require(m.opset >= 23, "Attention needs opset 23")
    m.require(m.v.dtype == ir.DataType.FLOAT, "it is not float32")
    m.require(_along_keys(m.softmax), "the softmax is not along the keys")
    q, factor = _operand(m, m.q, False, is_last)
    k, other = _operand(m, m.keys, True, is_last)
    own = 1.0
    if "factor" in m and _is_by_head(m, m.factor):
        m.require("inside" not in m and "by_heads" not in m, "heads have scales of their own")
        q = _scaled_by_head(m, q)
    else:
        own = _number(m, "factor") / _number(m, "divisor")
    scale = factor * other * own
    cap = {"softcap": _number(m, "cap")} if "cap" in m else {}
    scale *= cap.get("softcap", 1.0) / _number(m, "inner")  # of what is divided by the cap
    positive = all(0 < number < math.inf for number in (scale, *cap.values()))
    m.require(positive, "the scale or the cap is not positive")
    m.require("inside" not in m or not cap, "something is added below the cap")
    operands = [q, k, m.v]
    terms = {name: getattr(m, name) for name in ("inside", "bias") if name in m}
    if "by_heads" in m:
        operands, terms = _by_heads(m, operands, terms)
    m.require("flat" not in m or "by_heads" in m, "the shares are reshaped")
    mask = addend(m, terms, own)
    q, k, v, sizes = _alike(m, operands, mask, is_last)
    given = [] if mask is None else [fitted(m, mask, sizes, q, k)]
    axes = np.arange(4 - len(sizes))
    operands = [m.op.Unsqueeze(x, axes) if axes.size else x for x in (q, k, v)]
    result: ir.Value = m.op.Attention(*operands, *given, scale=scale, **cap)
    if axes.size:
        result = m.op.Squeeze(result, axes)
    is_guarded = "guarded" in m or "zeroed" in m
    if mask is not None and not is_guarded and may_mask_all(mask):
        result = with_nan(m, mask, result)
    if "share" in m:
        result = m.op.Mul(result, np.float32(_number(m, "share")))
    if "flat" in m:
        counts = m.op.Shape(m.q, end=2), m.op.Shape(m.v, start=2)
        result = m.op.Reshape(result, _joined(m, *counts))
    return result


def _rule(name: str, is_last: bool) -> Rule:
    def action(m: Match) -> ir.Value:
        return _attention(m, is_last)

    action.__name__ = name
    return rewrite(_written_out)(action)


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


def _is_by_head(m: Match, factor: ir.Value) -> bool:
    """Tell whether scores are multiplied by a number for each head, or for each matrix."""
    sizes, axes = dims(factor), rank(m.v)
    if sizes is None or axes is None or len(sizes) > axes:
        return False
    return len(sizes) > 2 and sizes[-2:] == [1, 1] and sizes.count(1) < len(sizes)


def _scaled_by_head(m: Match, q: ir.Value) -> ir.Value:
    """Queries times the numbers that their scores are multiplied by."""
    sizes = broadcast_sizes([dims(q), dims(m.factor)])
    m.require(sizes == dims(q), "the scales are not known to be for the heads of the queries")
    result: ir.Value = m.op.Mul(q, m.factor)
    result.shape = q.shape
    return result


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


def _operand(m: Match, x: ir.Value, swapped: bool, is_last: bool) -> tuple[ir.Value, float]:
    """Queries or keys, which come with their last axes swapped, before they were scaled."""
    x, factor = _unscaled(x)
    whole = _swapped_as_matrices(m, x) if swapped else None
    if whole is not None:
        return whole, factor
    node = x.producer()
    if node is None or node.op_type != "Transpose" or "perm" not in node.attributes:
        m.require(not swapped or is_last, "the keys are not transposed")
        m.require(not swapped or constant(x) is None, "the keys are constant")
        return _transposed(m, x, _swap(len(m.sizes(x)))) if swapped else x, factor
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
    return _transposed(m, source, perm), factor * other


def _swap(axes: int) -> list[int]:
    """Order of axes that swaps the last two."""
    return [*range(axes - 2), axes - 1, axes - 2]


def _transposed(m: Match, x: ir.Value, perm: list[int]) -> ir.Value:
    result: ir.Value = m.op.Transpose(x, perm=perm)
    sizes = dims(x)
    result.shape = None if sizes is None else ir.Shape([sizes[axis] for axis in perm])
    return result


# --- matrices of batch times heads ------------------------------------------------------------


def _by_heads(
    m: Match, operands: list[ir.Value], terms: dict[str, ir.Value]
) -> tuple[list[ir.Value], dict[str, ir.Value]]:
    """Divide the first axis of operands, and of what is added to the scores, by heads."""
    before, after = m.sizes(m.by_heads.producer().inputs[0]), m.sizes(m.by_heads)  # type: ignore[union-attr,arg-type]
    m.require(len(before) == 3 and len(after) == 4, "the scores are reshaped")
    same = None not in before[1:] and before[1:] == after[2:]
    m.require(same, "the scores are reshaped to other sizes")
    target = contents(m.heads)
    known = target is not None and len(target) == 4 and 0 not in target[:2]
    m.require(known, "batch and heads are not known")
    first = m.op.Slice(m.heads, np.array([0]), np.array([2]))
    first.type, first.shape = m.heads.type, ir.Shape([2])

    def divided(x: ir.Value) -> ir.Value:
        sizes = m.sizes(x)
        if len(sizes) < 3:
            return x
        m.require(len(sizes) == 3 and sizes[0] == before[0] is not None, "matrices are not alike")
        result: ir.Value = m.op.Reshape(x, _joined(m, first, m.op.Shape(x, start=1)))
        result.shape = ir.Shape([*after[:2], *sizes[1:]])
        return result

    q, k, v = operands
    v = divided(v) if "flat" in m else v
    return [divided(q), divided(k), v], {name: divided(x) for name, x in terms.items()}


def _joined(m: Match, *parts: ir.Value | np.ndarray) -> ir.Value:
    """Sizes one behind the other."""
    result: ir.Value = m.op.Concat(*parts, axis=0)
    for value in (*parts, result):
        if isinstance(value, ir.Value):
            value.type = ir.TensorType(ir.DataType.INT64)
    return result


# --- sizes ------------------------------------------------------------------------------------


def _alike(
    m: Match, operands: list[ir.Value], mask: ir.Value | None, is_last: bool
) -> tuple[ir.Value, ir.Value, ir.Value, list[Size]]:
    """Operands of the same batch and heads, of any number each, and the sizes of the scores."""
    q, k, v = (m.sizes(x) for x in operands)
    m.require(2 <= len(q) <= 4, "the operands do not have two to four axes")
    m.require(0 not in (*q, *k, *v), "an operand is empty")
    one_head = k[:-3] == q[:-3] and k[-3:-2] == [1]
    same = None not in q[:-2] and k[:-2] == v[:-2] and (k[:-2] == q[:-2] or one_head)
    own = [] if mask is None else m.sizes(mask)
    m.require(len(own) <= len(q), "the mask has more axes than the scores")
    sizes = [*q[:-1], k[-2]]
    padded = [1] * (len(sizes) - len(own)) + own
    fits = all(s in (1, t) and s is not None for s, t in zip(padded[:-1], sizes[:-1], strict=True))
    if same and fits:
        return (*operands, sizes)  # type: ignore[return-value]
    m.require(is_last or same, "the operands are not known to have the same batch and heads")
    m.require(is_last, "the mask is not known to fit the scores")
    return _expanded(m, operands, mask)


def _expanded(
    m: Match, operands: list[ir.Value], mask: ir.Value | None
) -> tuple[ir.Value, ir.Value, ir.Value, list[Size]]:
    """Operands expanded to the batch, heads, queries and keys that they and the mask broadcast to.

    Sizes that broadcast are equal or 1: the larger is that of the scores.
    """
    q, k, v = operands
    axes = len(m.sizes(q))
    m.require({len(m.sizes(x)) for x in operands} == {axes}, "they have other numbers of axes")
    one = np.array([1])
    of_keys = [(m.op.Shape(x, end=-2), one, m.op.Shape(x, start=-2, end=-1)) for x in (k, v)]
    shapes = [_joined(m, *parts) for parts in [(m.op.Shape(q, end=-1), one), *of_keys]]
    if mask is not None:
        missing = np.ones(axes - len(m.sizes(mask)), np.int64)
        shapes.append(_joined(m, missing, m.op.Shape(mask)))
    scores = m.op.Max(*shapes)

    def part(start: int, end: int) -> ir.Value:
        result: ir.Value = m.op.Slice(scores, np.array([start]), np.array([end]))
        return result

    for_queries = _joined(m, part(0, -1), one)
    for_keys = _joined(m, part(0, -2), part(-1, axes), one)
    scores.type = ir.TensorType(ir.DataType.INT64)
    expanded = m.op.Expand(q, for_queries), m.op.Expand(k, for_keys), m.op.Expand(v, for_keys)
    return (*expanded, [None] * axes)


@rewrite(
    lambda a, b: op.Transpose(op.MatMul(a, b)),
    lambda a, b: op.Transpose(op.Softmax(op.MatMul(a, b)).named("softmax")),
)
def turned_product(m: Match) -> ir.Value:
    """Exchange the factors of a product whose result is turned, where they are turned already.

    As Einsum leaves scores of which the keys come first.
    """
    perm = m.root.attributes.get("perm")
    axes = len(m.sizes(m.a))
    swap = _swap(axes)
    swaps = perm is not None and axes > 2 and list(perm.as_ints()) == swap
    m.require(swaps and len(m.sizes(m.b)) == axes, "it does not swap the last axes")
    turned = [x.producer() for x in (m.a, m.b)]
    both = all(node is not None and node.op_type == "Transpose" for node in turned)
    m.require(both, "the factors are not transposed")
    result: ir.Value = m.op.MatMul(_transposed(m, m.b, swap), _transposed(m, m.a, swap))
    if "softmax" not in m:
        return result
    node = m.softmax.producer()
    m.require(attribute(node, "axis", -1) % axes == axes - 2, "the softmax is not along the keys")  # type: ignore[arg-type]
    result.shape = m.root.outputs[0].shape
    turned_softmax: ir.Value = m.op.Softmax(result, axis=-1)
    return turned_softmax


fuse_attention = apply_rules(
    [
        _rule("attention", False),
        shared_heads,
        window_masks,
        turned_product,
        shifted_scores,
        selected_scores,
    ]
)
fuse_expanded_attention = apply_rules([_rule("expanded_attention", True)])
