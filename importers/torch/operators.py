"""Operators of ONNX among those of PyTorch, which torch.export takes as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .frameworks import require


def operator(
    op_type: str,
    inputs: Sequence[Any],
    attributes: dict[str, Any],
    outputs: Sequence[tuple[Sequence[Any], str]],
) -> Sequence[Any]:
    """Make an operator of tensors; see `keras_recurrent.Operator`.

    It has shapes and types, and is exported; it is not computed.
    """
    torch = require("torch", "torch")
    found: Sequence[Any] = torch.onnx.ops.symbolic_multi_out(
        op_type,
        inputs,
        attributes,
        dtypes=[getattr(torch, dtype) for _, dtype in outputs],
        shapes=[shape for shape, _ in outputs],
    )
    return found
