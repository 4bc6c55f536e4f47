"""Products with constant weights kept as bfloat16 (``precision="bf16_weights"``)."""

from __future__ import annotations

from typing import Any, TypeGuard

import numpy as np

from ...kernels.cpu.half_weights import half_product, pack_half
from ..emission import Emission
from ..symbolic import product
from ..tensors import Tensor

# With more rows the weights are used often enough that reading them is not what takes time.
MOST_ROWS = 8


def wants_half(b: Any, emit: Emission, a: Tensor) -> TypeGuard[np.ndarray]:
    """Tell whether the weights b of ``a @ b`` may be kept as bfloat16, and are worth it."""
    if emit.options.get("precision") != "bf16_weights":
        return False
    rows = product(a.shape[:-1])
    few = isinstance(rows, int) and rows <= MOST_ROWS
    return few and isinstance(b, np.ndarray) and b.ndim == 2


def emit_half(
    emit: Emission, name: str, a: Tensor, row_stride: Any, b: np.ndarray, bias: np.ndarray | None,
    y: Tensor,
) -> None:  # fmt: skip
    """Emit ``a @ b + bias`` to the dense ``y``; rows of ``a`` are ``row_stride`` apart."""
    depth, columns = b.shape
    emit.step(
        half_product,
        outputs=[y],
        flops=2 * product(y.shape) * depth,
        x=a, w=emit.constant(pack_half(b), f"{name}.weights"),
        bias=None if bias is None else emit.constant(bias, f"{name}.bias"), y=y,
        rows=product(a.shape[:-1]), depth=depth, columns=columns, x_row=row_stride,
    )  # fmt: skip
