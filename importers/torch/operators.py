"""ONNX operators on PyTorch tensors, which ``torch.export`` exports as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def operator(
    op_type: str,
    inputs: Sequence[Any],
    attributes: dict[str, Any],
    outputs: Sequence[tuple[Sequence[Any], str]],
) -> Sequence[Any]:
    """Apply an operator to tensors; see `Operator`."""
    import torch

    results: Sequence[Any] = torch.onnx.ops.symbolic_multi_out(
        op_type,
        inputs,
        attributes,
        dtypes=[getattr(torch, dtype) for _, dtype in outputs],
        shapes=[shape for shape, _ in outputs],
    )
    return results
