"""Operators of com.microsoft that have kernels: models that hold them are verified by these."""

from __future__ import annotations

import numpy as np
from onnx.reference.op_run import OpRun


class Inverse(OpRun):
    """Inverses of square matrices."""

    op_domain = "com.microsoft"

    def _run(self, x: np.ndarray) -> tuple[np.ndarray]:
        return (np.linalg.inv(x.astype(np.float64)).astype(x.dtype),)


class QuickGelu(OpRun):
    """Numbers times the logistic function of their multiples."""

    op_domain = "com.microsoft"

    def _run(self, x: np.ndarray, alpha: float = 1.702) -> tuple[np.ndarray]:
        wide = x.astype(np.float64)
        return ((wide * (0.5 + 0.5 * np.tanh(0.5 * alpha * wide))).astype(x.dtype),)
