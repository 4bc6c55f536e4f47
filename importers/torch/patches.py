"""Patches of PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...patches import Patch


def _nothing(original: Callable[..., None]) -> Callable[..., None]:
    def replacement(*values: Any) -> None:
        pass

    return replacement


GRAPHS = Patch(
    "torch",
    "torch._C._jit_onnx_log",
    _nothing,
    "the TorchScript exporter prints its graph where it fails, whether its log is on or not",
    tested="2.13",
    during="a module is exported as TorchScript",
)
