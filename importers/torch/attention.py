"""Translation of PyTorch's scaled dot product attention.

A query that is masked throughout attends to nothing in PyTorch: its result is zero. In the
translation of PyTorch's exporter it attends to all keys alike where the mask is of bools, and gives
NaN where the mask is added. Without a mask that translation is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any


def translations() -> dict[Any, Callable[..., Any]]:
    """Translations of operators for ``torch.onnx.export``."""
    import torch

    aten = torch.ops.aten
    return {
        aten.scaled_dot_product_attention.default: _attention,
        aten._scaled_dot_product_flash_attention_for_cpu.default: _attention_on_cpu,
    }


def _attention(
    query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Any:  # fmt: skip
    from onnxscript.function_libs.torch_lib.ops import nn

    if attn_mask is None:
        return nn.aten_scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa
        )
    if enable_gqa and query.shape[-3] != key.shape[-3]:
        groups = query.shape[-3] // key.shape[-3]
        key, value = _repeated(key, groups), _repeated(value, groups)
    return _masked(query, key, value, attn_mask, scale)


def _attention_on_cpu(
    query: Any, key: Any, value: Any, dropout_p: float = 0.0, is_causal: bool = False,
    attn_mask: Any = None, scale: float | None = None,
) -> tuple[Any, Any]:  # fmt: skip
    """Translate what programs have in place of attention after core decompositions."""
    from onnxscript.function_libs.torch_lib.ops import nn

    whole = nn.aten__scaled_dot_product_flash_attention_for_cpu(
        query, key, value, dropout_p, is_causal, attn_mask, scale
    )
    return _attention(query, key, value, attn_mask, dropout_p, is_causal, scale), whole[1]


def _masked(query: Any, key: Any, value: Any, mask: Any, scale: float | None) -> Any:
    """Write attention out, with zeros for queries that are masked throughout."""
    import onnx_ir as ir
    from onnxscript import opset18

    op: Any = opset18  # which takes numbers for tensors
    zero, nothing = (
        op.Constant(value=ir.tensor(number, dtype=query.dtype)) for number in (0.0, -math.inf)
    )
    if mask.dtype == ir.DataType.BOOL:
        mask = op.Where(mask, zero, nothing)
    axes = list(range(len(query.shape)))
    size = query.shape[-1]
    if scale is None and not isinstance(size, int):
        size = op.Cast(op.Shape(query, start=-1), to=query.dtype)
        factor = root = op.Sqrt(op.Reciprocal(op.Sqrt(size)))
    else:
        scale = 1 / math.sqrt(size) if scale is None else scale
        root = math.sqrt(abs(scale))  # on either side, so that half floats do not overflow
        factor = math.copysign(root, scale)
    keys = op.Mul(op.Transpose(key, perm=[*axes[:-2], axes[-1], axes[-2]]), root)
    scores = op.Add(op.MatMul(op.Mul(query, factor), keys), mask)
    shares = op.Softmax(scores, axis=-1)
    return op.MatMul(op.Where(op.IsNaN(shares), zero, shares), value)


def _repeated(x: Any, times: int) -> Any:
    """Repeat each head of (batch, heads, rows, size)."""
    from onnxscript import opset18

    op: Any = opset18
    _, heads, _, size = x.shape
    apart = op.Unsqueeze(x, [2])
    return op.Reshape(op.Expand(apart, [1, 1, times, 1, 1]), [0, heads * times, -1, size])
