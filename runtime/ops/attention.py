"""Attention: two products with a softmax in between, for all heads at once.

Queries of heads that share keys and values are more rows of one product. Masks of all kinds become
a *bias* that is added to the scores, -inf where there is nothing to attend to.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from ...kernels.cpu.fill import arange
from ..emission import Emission
from ..graph import Info, NeedsNumbers, Node, OnHost
from ..strides import contiguous_strides
from ..symbolic import Dim
from ..tensors import Tensor
from .elementwise import broadcast
from .matmul import emit_product
from .pointwise import emit_expression
from .registry import Operator, register
from .softmax import emit_softmax

# --- shapes -----------------------------------------------------------------------------------


def _infer(node: Node) -> list[Info]:
    operands = [node.required(i) for i in range(3)]
    if any(info.dtype != "float32" for info in operands):
        raise OnHost("only float32")
    if {info.rank for info in operands} not in ({3}, {4}):
        raise OnHost("operands that do not all have three or all have four axes")
    extra = any(info is not None for info in node.inputs[4:])
    if extra or any(output.name for output in node.outputs[1:]):
        raise OnHost("past_key, past_value, nonpad_kv_seqlen, or more outputs than the first")
    if node.attribute("softmax_precision", int(ir.DataType.FLOAT)) != int(ir.DataType.FLOAT):
        raise OnHost("softmax_precision other than float32")
    if any(node.attribute(f"{side}_window_size", -1) != -1 for side in ("left", "right")):
        raise OnHost("a limited window of keys")
    (batch, heads, queries, size), (_, shared, keys, _), (_, _, _, width) = (
        _by_heads(node, i) for i in range(3)
    )
    if heads != shared and not (_are_numbers(heads, shared) and heads % shared == 0):
        raise OnHost(f"{heads} query heads, no known multiple of {shared} key heads")
    if node.attribute("scale") is None and not isinstance(size, int):
        raise NeedsNumbers("a scale that depends on the input's shape", [size])
    _check_mask(node.input(3), keys)
    if 0 in (batch, heads, queries, keys, size, width):
        raise OnHost("an empty operand")
    if operands[0].rank == 3:
        return [node.result((batch, queries, heads * width))]
    return [node.result((batch, heads, queries, width))]


def _are_numbers(*dims: Dim) -> bool:
    return all(isinstance(dim, int) for dim in dims)


def _by_heads(node: Node, index: int) -> tuple[Dim, ...]:
    """Sizes of an operand: batch, heads, rows, and elements of a row of one head."""
    dims = node.required(index).dims
    if len(dims) == 4:
        return dims
    heads = node.attribute("q_num_heads" if index == 0 else "kv_num_heads", 0)
    if heads <= 0 or (isinstance(dims[2], int) and dims[2] % heads):
        raise OnHost(f"an axis of size {dims[2]} for {heads} heads")
    return dims[0], heads, dims[1], dims[2] // heads


def _check_mask(mask: Info | None, keys: Dim) -> None:
    if mask is None:
        return
    if mask.dtype not in ("float32", "bool"):
        raise OnHost(f"a mask of {mask.dtype}")
    if not 1 <= mask.rank <= 4:
        raise OnHost(f"a mask of rank {mask.rank}")
    if _are_numbers(mask.dims[-1], keys) and mask.dims[-1] != keys:
        raise OnHost("a mask that has to be padded")


# --- steps ------------------------------------------------------------------------------------


def _lower(emit: Emission, node: Node) -> None:
    q, k, v = (_heads_apart(emit, node, i) for i in range(3))
    batch, heads, queries, size = q.shape
    _, shared, keys, width = v.shape
    _check_sizes(emit, node, q, k, v)
    rows = heads // shared * queries
    q = _scaled(emit, node, q)
    scores = emit.new((batch, heads, queries, keys), q.dtype)
    k = emit.ordered(k)
    transposed = k.view((batch, shared, size, keys), (*k.strides[:2], k.strides[3], k.strides[2]))
    emit_product(emit, node, _shaped(q, shared, rows), transposed, _shaped(scores, shared, rows))
    bias = _bias(emit, node, queries, keys)
    scores = _biased(emit, node, scores, bias)
    shares = emit.new(scores.shape, scores.dtype)
    emit_softmax(
        emit, scores, shares, 3, zeros=int(bias is not None)
    )  # of queries with nothing left
    result = emit.new((batch, heads, queries, width), q.dtype)
    target = _result(emit, node, result.shape)
    if target.is_contiguous:
        result = target
    emit_product(
        emit, node, _shaped(shares, shared, rows), emit.ordered(v), _shaped(result, shared, rows)
    )
    if result is not target:
        emit.copy(result, target, "Reorder")


def _heads_apart(emit: Emission, node: Node, index: int) -> Tensor:
    x = emit.tensor(node.values[index])
    if len(x.shape) == 4:
        return x
    batch, heads, rows, size = _by_heads(node, index)
    step = x.strides[2]
    strides = (x.strides[0], size * step, x.strides[1], step)
    return x.view((batch, heads, rows, size), strides)


def _shaped(x: Tensor, heads: Dim, rows: Dim) -> Tensor:
    """A dense tensor with fewer heads of more rows each."""
    shape = (x.shape[0], heads, rows, x.shape[3])
    return x.view(shape, contiguous_strides(shape))


def _result(emit: Emission, node: Node, shape: tuple[Dim, ...]) -> Tensor:
    """The node's output, as heads of rows."""
    y = emit.output(node)
    if len(y.shape) == 4:
        return y
    _, heads, rows, width = shape
    row = heads * width
    return y.view(shape, (rows * row, width, row, 1))


def _check_sizes(emit: Emission, node: Node, q: Tensor, k: Tensor, v: Tensor) -> None:
    what = f"node {node.name!r} ({node.op_type})"
    for other in (k, v):
        emit.check(q.shape[0], other.shape[0], f"{what}: batch of {q.name!r} and {other.name!r}")
    emit.check(q.shape[3], k.shape[3], f"{what}: sizes of heads of {q.name!r} and {k.name!r}")
    for axis, name in ((1, "heads"), (2, "rows")):
        emit.check(k.shape[axis], v.shape[axis], f"{what}: {name} of {k.name!r} and {v.name!r}")


def _scaled(emit: Emission, node: Node, q: Tensor) -> Tensor:
    """Queries times the scale, dense."""
    scale = node.attribute("scale")
    factor = float(np.float32(1 / math.sqrt(q.shape[3]) if scale is None else scale))  # type: ignore[arg-type]
    if factor == 1:
        return emit.ordered(q)
    scaled = emit.new(q.shape, q.dtype)
    emit_expression(emit, "mul(x0,x1)", scaled, [q, factor])
    return scaled


def _biased(emit: Emission, node: Node, scores: Tensor, bias: Tensor | None) -> Tensor:
    """Scores after softcap and mask."""
    cap, text = float(node.attribute("softcap", 0.0)), "x0"
    operands: list[Tensor | float] = [scores]
    if cap > 0:
        text = "mul(tanh(div(x0,x1)),x1)"
        operands.append(cap)
    if bias is not None:
        text = f"add({text},x{len(operands)})"
        operands.append(bias)
    if text == "x0":
        return scores
    biased = emit.new(scores.shape, scores.dtype)
    emit_expression(emit, text, biased, operands)
    return biased


# --- masks ------------------------------------------------------------------------------------


def _bias(emit: Emission, node: Node, queries: Dim, keys: Dim) -> Tensor | None:
    """Addend of the scores."""
    info, causal = node.input(3), bool(node.attribute("is_causal", 0))
    if info is None:
        return _causal(emit, None, queries, keys) if causal else None
    if info.is_constant and not causal:
        array = info.array()
        if info.dtype == "bool":
            array = np.where(array, np.float32(0), np.float32(-np.inf))
        return emit.constant(array, info.name)
    mask = emit.tensor(node.values[3])
    emit.check(
        mask.shape[-1], keys, f"node {node.name!r} ({node.op_type}): keys of the mask {mask.name!r}"
    )
    if info.dtype == "bool":
        bias = emit.new(mask.shape, "float32")
        emit_expression(emit, "where(x0,0.0,x1)", bias, [mask, -math.inf])
        mask = bias
    return _causal(emit, mask, queries, keys) if causal else mask


def _causal(emit: Emission, mask: Tensor | None, queries: Dim, keys: Dim) -> Tensor:
    """A mask, with -inf where keys come after the query."""
    at = []
    start, delta = (emit.constant(np.full(1, number, np.float32)) for number in (0, 1))
    for count, shape in ((queries, (queries, 1)), (keys, (1, keys))):
        numbers = emit.new((count,), "float32")
        emit.step(
            arange("f32"), outputs=[numbers], y=numbers, start=start, delta=delta, count=count
        )
        at.append(numbers.view(shape, contiguous_strides(shape)))
    own = () if mask is None else mask.shape
    bias = emit.new(broadcast([(queries, keys), own]), "float32")
    addend = "0.0" if mask is None else "x3"
    operands: list[Tensor | float] = [*at, -math.inf, *([] if mask is None else [mask])]
    emit_expression(emit, f"where(less(x0,x1),x2,{addend})", bias, operands)
    return bias


register("Attention", Operator(infer=_infer, lower=_lower))
