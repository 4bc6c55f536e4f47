"""Opset at which imported models are: the canonical one, where onnxruntime runs their operators."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

CANONICAL_OPSET = 24
"""The newest opset of which onnxruntime 1.32 runs everything it runs of older ones.

(From 25 on it lacks Swish.) It has LayerNormalization, Gelu, RMSNormalization, RotaryEmbedding,
Attention and Swish as standard operators.
"""

OPSET_NOTE = "sardonyx.opset"
"""Key of `metadata_props` under which a model says why it is not at the canonical opset."""

_D = ir.DataType
_DOUBLE = frozenset([_D.DOUBLE])
_ALL: frozenset[ir.DataType] = frozenset()
_FIRST_LACKING: dict[str, tuple[int, frozenset[ir.DataType]]] = {
    **dict.fromkeys(
        [
            "Bernoulli", "GlobalLpPool", "MaxRoiPool", "Multinomial", "RandomNormalLike",
            "RandomUniformLike", "RoiAlign",
        ],
        (22, _ALL),
    ),
    **dict.fromkeys(
        [
            "Elu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "Selu", "Softplus", "Softsign",
            "ThresholdedRelu",
        ],
        (19, _DOUBLE),
    ),
    "PRelu": (19, frozenset([_D.DOUBLE, _D.INT32, _D.INT64, _D.UINT32, _D.UINT64])),
    "ReduceLogSumExp": (19, frozenset([_D.BFLOAT16, _D.UINT32, _D.UINT64])),
    "Relu": (19, frozenset([_D.INT8, _D.INT16, _D.INT32, _D.INT64])),
}  # fmt: skip
"""First opset of which onnxruntime 1.32 lacks an operator, for some types of its input or for all.

Of opset 18 and before it runs the definitions of many for types that it has no kernels for.
"""


def newest_opset(nodes: Iterable[ir.Node], own: int) -> tuple[int, str | None]:
    """Newest opset, up to the canonical one, of which onnxruntime has all operators of a model.

    Parameters
    ----------
    nodes : iterable of onnx_ir.Node
        With types of their inputs, as far as these are known.
    own : int
        Opset of the model, which it lacks none of for being older than what it runs.

    Returns
    -------
    tuple of int and (str or None)
        The opset, and why it is not the canonical one.
    """
    newest, reason = CANONICAL_OPSET, None
    for node in nodes:
        first, types = _FIRST_LACKING.get(node.op_type, (0, _ALL))
        if node.domain or not own < first <= newest:
            continue
        dtype = node.inputs[0].dtype if node.inputs and node.inputs[0] is not None else None
        if not types or dtype in types:
            newest = first - 1
            kind = f" of {dtype.name}" if types and dtype is not None else ""
            reason = f"onnxruntime lacks {node.op_type}{kind} of opset {first} (node {node.name!r})"
    return newest, reason
