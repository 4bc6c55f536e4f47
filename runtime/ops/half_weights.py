"""Products with constant weights kept as bfloat16 (``precision="bf16_weights"``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from ...kernels.cpu.half_weights import half_product, pack_half
from ..symbolic import product
from ..tensors import Tensor

if TYPE_CHECKING:
    from ..lowering import Lowering

# With more rows the weights are used often enough that reading them is not what takes time.
MOST_ROWS = 8


def wants_half(b: Any, low: Lowering, a: Tensor) -> TypeGuard[np.ndarray]:
    """Tell whether the weights b of ``a @ b`` may be kept as bfloat16, and are worth it."""
    if low.options.get("precision") != "bf16_weights":
        return False
    rows = product(a.shape[:-1])
    few = isinstance(rows, int) and rows <= MOST_ROWS
    return few and isinstance(b, np.ndarray) and b.ndim == 2


def emit_half(
    low: Lowering, name: str, a: Tensor, row_stride: Any, b: np.ndarray, bias: np.ndarray | None,
    y: Tensor,
) -> None:  # fmt: skip
    """Emit ``a @ b + bias`` to the dense ``y``; rows of ``a`` are ``row_stride`` apart."""
    depth, columns = b.shape
    low.step(
        half_product,
        outputs=[y],
        flops=2 * product(y.shape) * depth,
        x=a, w=low.constant(pack_half(b), f"{name}.weights"),
        bias=None if bias is None else low.constant(bias, f"{name}.bias"), y=y,
        rows=product(a.shape[:-1]), depth=depth, columns=columns, x_row=row_stride,
    )  # fmt: skip
