"""What lowerings work with: tensors in memory, records of kernels, and steps not placed yet.

A tensor is a part of a buffer, reached by strides. All sizes may be symbolic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..kernels.registry import Kernel, float_bits
from .symbolic import Dim, product


@dataclass(eq=False)
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


@dataclass(eq=False)
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


# --- strides ----------------------------------------------------------------------------------


def contiguous_strides(shape: Sequence[Dim], order: Sequence[int] | None = None) -> tuple[Dim, ...]:
    """Strides of a dense tensor whose axes lie in memory in ``order`` (outermost first)."""
    axes = list(order) if order is not None else list(range(len(shape)))
    strides: list[Dim] = [0] * len(shape)
    step: Dim = 1
    for axis in reversed(axes):
        strides[axis] = step
        step = step * shape[axis]
    return tuple(strides)


def channels_last_order(rank: int) -> tuple[int, ...]:
    """Axes of (N, C, spatial...) with the channels innermost."""
    return (0, *range(2, rank), 1)


def same_strides(shape: Sequence[Dim], a: Sequence[Dim], b: Sequence[Dim]) -> bool:
    """Tell whether two sets of strides reach the same elements (axes of size 1 do not count)."""
    return all(x == y or n == 1 for n, x, y in zip(shape, a, b, strict=True))


def channels_last_strides(shape: Sequence[Dim], strides: Sequence[Dim]) -> tuple[Dim, ...] | None:
    """Strides with channels of stride 1 and spatial axes in their usual order, evenly apart.

    Those of axes of size 1 are free and made to fit. None when elements would have to move.
    """
    own = list(strides)
    last = len(shape) - 1
    if shape[1] == 1:
        own[1] = 1
    step: Dim = own[last]
    for axis in range(last - 1, 1, -1):
        step = step * shape[axis + 1]
        if shape[axis] == 1:
            own[axis] = step
        elif own[axis] != step:
            return None
    if all(n == 1 for n in shape[2:]):
        own[2:] = contiguous_strides(shape, channels_last_order(len(shape)))[2:]
    return tuple(own) if own[1] == 1 else None


def padded_pixels(shape: Sequence[Dim], itemsize: int) -> tuple[Dim, ...]:
    """Shape (N, C, spatial...) with more channels where pixels would lie pages apart.

    Neighbouring pixels would compete for the same few lines of the first cache, and look to the
    processor as if a load depended on the store before it.
    """
    page, line = 1024, 64
    channels = shape[1] * itemsize if len(shape) > 2 else 0
    has_neighbours = product(shape[2:]) != 1
    if not isinstance(channels, int) or not channels or channels % page or not has_neighbours:
        return tuple(shape)
    return (shape[0], shape[1] + line // itemsize, *shape[2:])


# --- records and steps ------------------------------------------------------------------------


@dataclass(eq=False)
class Record:
    """Words that kernels are given: numbers, sizes, tensors, kernels, other records."""

    fields: list[Any]
    position: int = -1


@dataclass(eq=False)
class Pending:
    """A step before it is placed; its attributes are the parameters of ``Lowering.step``."""

    kernel: Kernel
    outputs: Sequence[Tensor]
    op_type: str
    nodes: list[str]
    flops: Dim
    traffic: Dim
    extra: Sequence[Tensor]
    over: Sequence[Tensor]
    fields: dict[str, Any]


def words_of(kernel: Kernel, fields: Mapping[str, Any]) -> list[Any]:
    """Values of a kernel's record in order; floats as bits."""
    return [float_bits(fields[f]) if f in kernel.floats else fields[f] for f in kernel.fields]
