"""Kernels of a device, as lowering asks for them; those of the CPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ...kernels.ref import KernelRef


class AnyKernel(Protocol):
    """What lowering knows of a kernel: its name, and the words of its record."""

    @property
    def ref(self) -> KernelRef:
        """Its name in a program."""

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the record's words, in order."""

    @property
    def floats(self) -> frozenset[str]:
        """Those of them that hold a float64."""


class KernelSet:
    """What the steps of a program are made of.

    Attributes
    ----------
    has_forms : bool
        Whether steps have the forms that kernels of the CPU have: convolutions and products with
        epilogues and gates, strips, blocks of bytes. Elsewhere every node of that kind, and every
        group of elementwise nodes, is a step of its own.
    """

    has_forms = True

    def kernel(self, kernel: AnyKernel) -> AnyKernel:
        """Return what runs a step instead of a kernel of the CPU, from the same record.

        It may have fewer of its fields.
        """
        return kernel

    def lowering(self, key: tuple[str, str]) -> Callable[..., None] | None:
        """Return what emits the steps of an operator's node, where the operator's own does not."""
        return None

    def leads(self, emit: Any, node: Any) -> bool:
        """Tell whether a convolution or product takes elementwise nodes into its step.

        Those of the CPU do (``has_forms``), but for weights that stay whole numbers.
        """
        return False

    def convolve(self, emit: Any, conv: Any) -> bool:
        """Emit a convolution, which a product is, too (`ops.convolution`), if there is a kernel."""
        return False


CPU_KERNELS = KernelSet()
