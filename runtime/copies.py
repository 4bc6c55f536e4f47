"""Copies between tensors of one shape: one kernel call moves between any two layouts."""

from __future__ import annotations

from typing import Any

from ..kernels.cpu.copy import RANK, copy
from ..kernels.registry import Kernel
from .strides import collapse
from .tensors import Tensor


def copy_call(source: Tensor, target: Tensor) -> tuple[Kernel, dict[str, Any]]:
    """Return the kernel that copies between tensors, and its fields.

    The target is walked in its own memory order; axes that both tensors walk evenly are merged.

    Raises
    ------
    OnHost
        More axes are left than the kernel has.
    """
    axes = sorted(range(len(target.shape)), key=lambda a: target.strides[a] == 1)
    dims, (to, come) = collapse(target.shape, axes, [target.strides, source.strides], RANK)
    fields: dict[str, Any] = {"x": source, "y": target}
    for name, values in (("d", dims), ("y", to), ("x", come)):
        fields |= {f"{name}{i}": value for i, value in enumerate(values)}
    return copy(target.itemsize), fields
