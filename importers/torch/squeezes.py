"""Translation of PyTorch's squeeze, which leaves axes of other sizes than 1 as they are.

PyTorch's exporter writes Squeeze for each, which no model may hold for an axis of another size.
"""

from __future__ import annotations

from typing import Any

from ...errors import UnsupportedModel


def squeeze(x: Any, dim: int) -> Any:
    """Translate ``aten.squeeze.dim`` of a real tensor."""
    from onnxscript import opset18

    op: Any = opset18
    size = x.shape[dim] if len(x.shape) else 0
    if not isinstance(size, int):
        raise UnsupportedModel(
            f"axis {dim} of {x.name}, whose size is open, is squeezed: where it is 1, the result "
            "has another rank"
        )
    return op.Squeeze(x, [dim]) if size == 1 else op.Identity(x)
