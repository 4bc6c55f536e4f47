"""Operands of matrix products as `Convolution` has them: images of one row, filters of one tap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..emission import Emission
from ..strides import collapse, contiguous_strides
from ..symbolic import Dim, product
from ..tensors import Tensor
from .epilogue import Epilogue
from .pointwise import broadcast_strides


def row_stride(a: Tensor) -> Dim | None:
    """Distance between rows when all leading axes make one long row of rows, else None."""
    if a.strides[-1] != 1 and a.shape[-1] != 1:
        return None
    stride: Dim | None = None
    expected: Dim = 0
    for size, step in zip(reversed(a.shape[:-1]), reversed(a.strides[:-1]), strict=True):
        if size == 1:
            continue
        if stride is None:
            stride = step
        elif step != expected:
            return None
        expected = step * size
    return a.shape[-1] if stride is None else stride


def with_even_rows(emit: Emission, a: Tensor) -> tuple[Tensor, Dim]:
    """Return an operand whose rows have one distance, copied if they have not, and the distance."""
    stride = row_stride(a)
    return (emit.ordered(a), a.shape[-1]) if stride is None else (a, stride)


def images(emit: Emission, a: Tensor, batch: Sequence[Dim], is_shared: bool) -> Tensor:
    """Operand a as images (images, depth, rows) whose pixels are its rows.

    There is one image where all rows meet the same matrix, else one for each of a batch.
    """
    if is_shared:
        a, stride = with_even_rows(emit, a)
        return a.view((1, a.shape[-1], product(a.shape[:-1])), (0, 1, stride))
    view, image = _evenly_apart(emit, a, batch, is_dense=True)
    rows, depth = a.shape[-2:]
    return view.view((product(batch), depth, rows), (image, 1, view.strides[-2]))


def _evenly_apart(
    emit: Emission, matrices: Tensor, batch: Sequence[Dim], is_dense: bool
) -> tuple[Tensor, Dim]:
    """Matrices, one for each of a batch, that have one distance: copied where they have not.

    With ``is_dense`` the elements of a row have to lie one after the other.
    """
    shape = (*batch, *matrices.shape[-2:])
    axes = range(len(batch))
    target = Tensor(matrices.buffer, 0, matrices.dtype, shape, (0,) * len(shape), matrices.name)
    view = matrices.view(shape, broadcast_strides(emit, matrices, target))
    dims, (steps,) = collapse(shape, axes, [view.strides])
    if len(dims) > 1 or (is_dense and view.strides[-1] != 1 and shape[-1] != 1):
        view = emit.ordered(view)
        _, (steps,) = collapse(shape, axes, [view.strides])
    return view, steps[0]


def filters(emit: Emission, b: np.ndarray | Tensor, batch: Sequence[Dim]) -> np.ndarray | Tensor:
    """Matrices (depth, columns) as weights of one tap, a set for each of a batch."""
    if isinstance(b, np.ndarray) and b.ndim > 2:
        sizes = [dim for dim in batch if isinstance(dim, int)]
        if len(sizes) == len(batch):
            b = np.broadcast_to(b, (*sizes, *b.shape[-2:])).reshape(-1, *b.shape[-2:])
        else:
            b = emit.constant(b)
    if isinstance(b, np.ndarray):
        return b.swapaxes(-1, -2)[..., None, None, None]
    depth, columns = b.shape[-2:]
    if len(b.shape) == 2:
        return b.view((1, columns, depth, 1, 1, 1), (0, b.strides[1], b.strides[0], 0, 0, 0))
    view, image = _evenly_apart(emit, b, batch, is_dense=False)
    down, across = view.strides[-2:]
    shape = (product(batch), columns, depth, 1, 1, 1)
    return view.view(shape, (image, across, down, 0, 0, 0))


def over_matrix(emit: Emission, epilogue: Epilogue, y: Tensor, is_shared: bool) -> Epilogue:
    """Let an epilogue run over rows of y as one matrix, or as one for each of a batch."""
    if is_shared:
        shape: tuple[Dim, ...] = (product(y.shape[:-1]), y.shape[-1])
        axes: tuple[int | None, ...] = (None, None, 0, 1)
    else:
        shape, axes = (product(y.shape[:-2]), *y.shape[-2:]), (0, None, 1, 2)
    return epilogue.over_rows(emit, y.view(shape, contiguous_strides(shape)), axes, y.shape)
