"""Matrix products: those of integers stay integers."""

from __future__ import annotations

from typing import Any

import numpy as np

from .operator import Operator


class Gemm(Operator):
    """Gemm; factors of 1 multiply nothing, which would make doubles of integers."""

    def _run(
        self, a: np.ndarray, b: np.ndarray, c: np.ndarray | None = None, *,
        alpha: float, beta: float, transA: int, transB: int, **_: Any,
    ) -> tuple[Any, ...]:  # fmt: skip
        y = _times((a.T if transA else a) @ (b.T if transB else b), alpha)
        return (y if c is None else y + _times(c, beta),)


def _times(x: np.ndarray, factor: float) -> np.ndarray:
    return x if factor == 1 else x * factor
