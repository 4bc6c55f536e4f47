"""Operators of com.microsoft, which exporters and onnxruntime write, in standard ones.

An adapter edits a node and puts others before it. What it cannot express stays as it is, and is
refused by name when a model is lowered. The definitions are those of onnxruntime's documentation
(docs/ContribOperators.md).
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir

from ...custom_inference import infer
from ...errors import InvalidModel
from ...notes import KEPT_NOTE
from . import contrib_attention as contrib_attention
from . import contrib_blocks as contrib_blocks
from . import contrib_embeddings as contrib_embeddings
from . import contrib_groups as contrib_groups
from . import contrib_images as contrib_images
from . import contrib_quantized as contrib_quantized
from .adapters import divide_in_float32
from .contrib_rewrite import (
    ADAPTERS,
    adapts,
    become,
    give,
    like,
    need_unread,
    needed,
    optional,
    summed,
)
from .node_rewrite import NodeRewrite, NotExpressible, names_taken

DOMAIN = "com.microsoft"
_LEAST_OPSET = 23
"""RMSNormalization is since then in the standard domain."""

_MISPLACED = {"SimplifiedLayerNormalization": 1 << 31, "LayerNormalization": 17}
"""What onnxruntime writes in the standard domain, and the opset in which it is there."""


def mark_contrib_nodes(proto: onnx.ModelProto) -> None:
    """Name the domain of nodes that onnxruntime's optimizer leaves in the standard one."""
    opset = next((entry.version for entry in proto.opset_import if entry.domain == ""), 0)
    graphs, marked = [proto.graph], False
    while graphs:
        for node in graphs.pop().node:
            if node.domain == "" and opset < _MISPLACED.get(node.op_type, 0):
                node.domain, marked = DOMAIN, True
            graphs += [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    if marked and all(entry.domain != DOMAIN for entry in proto.opset_import):
        proto.opset_import.add(domain=DOMAIN, version=1)


def has_adapter(op_type: str) -> bool:
    """Tell whether an operator of com.microsoft is replaced by standard ones."""
    return op_type in ADAPTERS


def standardize(model: ir.Model) -> None:
    """Replace operators of com.microsoft by standard ones where that can be, in place.

    What an adapter needs to know may follow only when nodes before it are standard ones: types are
    inferred again as long as that tells more.
    """
    opset = model.graph.opset_imports.get("", 0)
    if DOMAIN not in model.graph.opset_imports or opset < _LEAST_OPSET:
        return
    taken = names_taken([model.graph])
    while any([_is_replaced(node, opset, taken) for node in list(model.graph.all_nodes())]):
        infer(model)


def _is_replaced(node: ir.Node, opset: int, taken: set[str]) -> bool:
    """Let a node be a standard one; False for others, and where that cannot be."""
    adapt = ADAPTERS.get(node.op_type)
    if node.domain != DOMAIN or adapt is None:
        return False
    rewrite = NodeRewrite(node, opset, taken)
    try:
        adapt(rewrite)
    except NotExpressible as reason:
        rewrite.discard()
        node.metadata_props[KEPT_NOTE] = str(reason)
        return False
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise InvalidModel(
            f"node {node.name!r} ({DOMAIN}.{node.op_type}): its attributes and constants do "
            f"not fit one another: {error}"
        ) from error
    rewrite.finish()
    node.domain = ""
    node.metadata_props.pop(KEPT_NOTE, None)
    return True


# --- activations and sums ---------------------------------------------------------------------


@adapts("Gelu", "Trilu", "DequantizeLinear", "GatherND")
def _as_standard(r: NodeRewrite) -> None:
    become(r, r.node.op_type, *r.inputs)


@adapts("QuantizeLinear")
def _quantize(r: NodeRewrite) -> None:
    divide_in_float32(r)
    become(r, "QuantizeLinear", *r.inputs)


@adapts("Range")
def _range(r: NodeRewrite) -> None:
    start, limit = needed(r, 0), needed(r, 1)
    become(r, "Range", start, limit, optional(r, 2) or like(r, 1, start))


@adapts("GridSample")
def _grid_sample(r: NodeRewrite) -> None:
    mode = r.take("mode", "bilinear")
    r.put(mode={"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode))
    become(r, "GridSample", *r.inputs)


@adapts("BiasGelu")
def _bias_gelu(r: NodeRewrite) -> None:
    become(r, "Gelu", summed(r, needed(r, 0), needed(r, 1)))


@adapts("FastGelu")
def _fast_gelu(r: NodeRewrite) -> None:
    become(r, "Gelu", summed(r, needed(r, 0), optional(r, 1)))
    r.put(approximate="tanh")


@adapts("BiasAdd")
def _bias_add(r: NodeRewrite) -> None:
    become(r, "Add", summed(r, needed(r, 0), needed(r, 1)), needed(r, 2))


# --- normalization ----------------------------------------------------------------------------


@adapts("SkipLayerNormalization")
def _skip_layer_normalization(r: NodeRewrite) -> None:
    gamma, total = needed(r, 2), summed(r, needed(r, 0), needed(r, 1), optional(r, 4))
    give(r, 3, total)
    r.outputs = min(r.outputs, 3)
    become(r, "LayerNormalization", total, gamma, optional(r, 3))
    r.put(axis=-1, epsilon=r.take("epsilon", 1e-12))


@adapts("SkipSimplifiedLayerNormalization")
def _skip_rms_normalization(r: NodeRewrite) -> None:
    need_unread(r, 1, 2)
    gamma, total = needed(r, 2), summed(r, needed(r, 0), needed(r, 1), optional(r, 3))
    give(r, 3, total)
    r.drop_extra_outputs("RMSNormalization has one")
    become(r, "RMSNormalization", total, gamma)
    r.put(axis=-1, epsilon=r.take("epsilon", 1e-12))


@adapts("LayerNormalization", "SimplifiedLayerNormalization")
def _normalization(r: NodeRewrite) -> None:
    if r.node.op_type == "LayerNormalization":
        become(r, "LayerNormalization", *r.inputs)
        return
    r.drop_extra_outputs("RMSNormalization has one")
    become(r, "RMSNormalization", needed(r, 0), needed(r, 1))


# --- products ---------------------------------------------------------------------------------


@adapts("FusedMatMul", "TransposeMatMul")
def _fused_matmul(r: NodeRewrite) -> None:
    turned = [r.take(name, 0) for name in ("transA", "transB")]
    alpha = r.constant(r.take("alpha", 1.0), np.float32)
    a, b = (_batch_inside(r, i, r.take(f"transBatch{'AB'[i]}", 0)) for i in range(2))
    if any(turned):  # ranks may follow only from what other adapters made
        equation = f"...{'ki' if turned[0] else 'ik'},...{'jk' if turned[1] else 'kj'}->...ij"
        product = r.emit("Einsum", a, b, equation=equation)
    else:
        product = r.emit("MatMul", a, b)
    become(r, "Mul", product, r.emit("CastLike", alpha, product))


def _batch_inside(r: NodeRewrite, index: int, is_inside: int) -> ir.Value:
    """Operand of a product, whose rows may lie before the batch."""
    x = needed(r, index)
    if not is_inside:
        return x
    rank = r.rank(index)
    return r.emit("Transpose", x, perm=[*range(1, rank - 1), 0, rank - 1])


@adapts("GemmFastGelu")
def _gemm_fast_gelu(r: NodeRewrite) -> None:
    product = r.emit("MatMul", needed(r, 0), needed(r, 1))
    become(r, "Gelu", summed(r, product, optional(r, 2)))
    r.put(approximate="tanh")


@adapts("CDist")
def _distances(r: NodeRewrite) -> None:
    """Distances of rows: sums of squares less twice the product, as onnxruntime has it."""
    metric = r.take("metric", "sqeuclidean")
    if metric not in ("sqeuclidean", "euclidean"):
        raise ValueError(f"metric is {metric!r}, expected 'sqeuclidean' or 'euclidean'")
    a, b = needed(r, 0), needed(r, 1)
    last = r.constant([1])
    squares = [r.emit("ReduceSumSquare", x, last, keepdims=1) for x in (a, b)]
    two, zero = like(r, -2.0, a), like(r, 0.0, a)
    products = r.emit("Mul", r.emit("MatMul", a, r.emit("Transpose", b, perm=[1, 0])), two)
    total = summed(r, products, squares[0], r.emit("Transpose", squares[1], perm=[1, 0]))
    square = r.emit("Max", total, zero)
    become(r, "Sqrt" if metric == "euclidean" else "Identity", square)
