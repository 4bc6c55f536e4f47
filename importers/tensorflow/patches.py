"""Patches of tf2onnx."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...patches import Patch

_EXCLUDED = (
    "optimize_transpose",  # wrong where axes of size 1 are beside others; ours goes further
    "einsum_optimizer",  # its results hide the product from our fusions
)


def _without_excluded(get_optimizers: Callable[[], dict[str, Any]]) -> Callable[[], Any]:
    def replacement() -> dict[str, Any]:
        passes = get_optimizers()
        return {name: each for name, each in passes.items() if name not in _EXCLUDED}

    return replacement


OPTIMIZERS = Patch(
    "tf2onnx",
    "tf2onnx.optimizer._get_optimizers",
    _without_excluded,
    "its passes over transposes and Einsum are wrong or weaker than those of the optimizer",
    tested="1.17",
)
