"""Tensors in memory, records of kernels, labels, and steps that are not in a program yet.

A tensor is a part of a buffer, reached by strides. All sizes may be symbolic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..kernels.narrow_tables import FLOATS
from ..kernels.record import float_bits
from .devices.kernel_set import AnyKernel
from .strides import contiguous_strides, same_strides
from .symbolic import Dim, product


@dataclass(eq=False, slots=True)
class Buffer:
    """A piece of memory: its kind, size in bytes, and the times of first and last use.

    Scratch memory of one step stays in cache and does not count as traffic.
    """

    kind: int
    size: Dim
    index: int
    phase: int
    first: int = 1 << 40
    last: int = -1
    is_scratch: bool = False


_SHORT = {
    "float32": "f32", "float64": "f64", "float16": "f16", "bfloat16": "bf16", "bool": "bool",
} | {dtype: name for name, dtype in FLOATS.items()}  # fmt: skip


def short_name(dtype: str) -> str:
    """Return the kernels' name of an element type (``bool`` is ``b8`` in memory)."""
    return _SHORT.get(dtype) or dtype[0] + "".join(filter(str.isdigit, dtype))


@dataclass(eq=False, slots=True)
class Tensor:
    """A value in memory; offset in bytes and strides in elements may be symbolic."""

    buffer: Buffer
    offset: Dim
    dtype: str
    shape: tuple[Dim, ...]
    strides: tuple[Dim, ...]
    name: str = ""

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return np.dtype(self.dtype).itemsize

    @property
    def size(self) -> Dim:
        """Number of elements."""
        return product(self.shape)

    @property
    def nbytes(self) -> Dim:
        """Bytes of the elements."""
        return self.size * self.itemsize

    @property
    def is_contiguous(self) -> bool:
        """Tell whether the elements lie densely in ONNX's order."""
        return same_strides(self.shape, self.strides, contiguous_strides(self.shape))

    @property
    def is_dense(self) -> bool:
        """Tell whether the elements fill their memory densely, in ONNX's order but for one axis.

        That axis, of stride 1, is the innermost one.
        """
        axes = sorted(range(len(self.shape)), key=lambda axis: self.strides[axis] == 1)
        return same_strides(self.shape, self.strides, contiguous_strides(self.shape, axes))

    @property
    def is_channels_last(self) -> bool:
        """Tell whether channels have stride 1 and the last axis has not."""
        return len(self.shape) > 2 and self.strides[1] == 1 and self.strides[-1] != 1

    def view(
        self, shape: Sequence[Dim], strides: Sequence[Dim], offset: Dim = 0, name: str = ""
    ) -> Tensor:
        """Return other elements of the same memory; ``offset`` in elements from this one."""
        return Tensor(
            self.buffer,
            self.offset + offset * self.itemsize,
            self.dtype,
            tuple(shape),
            tuple(strides),
            name or self.name,
        )


# --- records and steps ------------------------------------------------------------------------


@dataclass(eq=False, slots=True)
class Record:
    """Words that kernels are given: numbers, sizes, tensors, kernels, labels, other records."""

    fields: list[Any]
    position: int = -1


@dataclass(eq=False, slots=True)
class Label:
    """A step that others let the run go on at; known once it is the next to be added."""

    step: int = -1


@dataclass(frozen=True, slots=True)
class Indexed:
    """Numbers of a tensor that a kernel refuses where they are out of range, for its error.

    Attributes
    ----------
    name : str
        Of the tensor.
    sizes : tuple of Dim
        What they are below, of each axis that they are places on.
    from_end : bool
        Whether numbers below zero count from the end.
    """

    name: str
    sizes: tuple[Dim, ...]
    from_end: bool = False


@dataclass(eq=False, slots=True)
class Pending:
    """A step that is not in the program yet; see ``Emission.step`` for its attributes."""

    kernel: AnyKernel
    outputs: Sequence[Tensor]
    op_type: str
    nodes: list[str]
    operators: list[str]
    flops: Dim
    over: Sequence[Tensor]
    fields: dict[str, Any]
    traffic: Dim | None = None
    indexed: Indexed | None = None


def words_of(kernel: AnyKernel, fields: Mapping[str, Any]) -> list[Any]:
    """Values of a kernel's record in order; floats as bits."""
    return [float_bits(fields[f]) if f in kernel.floats else fields[f] for f in kernel.fields]
