"""Products on a GPU by large tiles: on tensor cores, or by multiply-adds where exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ....kernels.cuda.tensor_cores.choice import Order
from ....kernels.cuda.tensor_cores.steps import product_step
from ....kernels.cuda.tensor_cores.tiles import Result
from ...emission import Emission
from ...graph import OnHost
from ...ops.pointwise import broadcast_strides
from ...strides import collapse
from ...symbolic import Dim, product
from ...tensors import Tensor
from .behind import VECTOR_BYTES, Behind, is_multiple
from .tensor_tiles import element_for, is_worth, tile_for

_RESULTS: dict[str, Result] = {"float32": "f32", "int32": "i32"}


@dataclass(frozen=True)
class _Matrices:
    """Matrices of a product by strides: along two axes, from row to row, and from column to column.

    The first three are result, left and right operand, whose rows are along depth if ``kn``;
    others follow, which rows and columns of the result have elements of.
    """

    tensors: Sequence[Tensor]
    sizes: tuple[Dim, Dim]
    batches: Sequence[tuple[Dim, Dim]]
    rows: Sequence[Dim]

    def is_aligned(self, index: int) -> bool:
        """Tell whether all rows begin at multiples of 16 bytes."""
        tensor, steps = self.tensors[index], (*self.batches[index], self.rows[index])
        places = [tensor.offset, *(tensor.itemsize * step for step in steps)]
        return all(is_multiple(place, VECTOR_BYTES) for place in places)


def emit_tensor_product(
    emit: Emission, a: Tensor, b: Tensor, y: Tensor, bias: Tensor | None, behind: Behind
) -> bool:
    """Emit ``y = behind(a @ b + bias)``; tells whether there is a kernel for it.

    Parameters
    ----------
    a, b, y : Tensor
        Of two axes at least, float32; or bytes and int32.
    bias : Tensor or None
        One element for each column.
    """
    element = element_for(emit, a, b, y)
    depth, columns = b.shape[-2:]
    if (y.dtype != "float32" and element is None) or y.strides[-1] != 1 or a.strides[-1] != 1:
        return False
    if bias is not None and (bias.shape != (columns,) or bias.strides != (1,)):
        return False
    order: Order = "nk" if b.strides[-2] == 1 else "kn"
    if order == "kn" and b.strides[-1] != 1:
        return False
    if not is_worth((product(y.shape[:-1]), columns, depth)):
        return False
    if order == "kn" and element is not None:
        b, order = _turned(emit, b), "nk"
    try:
        own = _matrices(emit, a, b, y, behind, order)
    except OnHost:
        return False
    rows = own.rows
    after = behind.epilogue(
        bias,
        [steps[-1] for steps in behind.strides(emit, y)],
        [(rows[i], *own.batches[i]) for i in range(3, len(rows))],
    )
    if after is None:
        return False
    epilogue, record = after
    (outer, inner), m = own.sizes, _rows(own, y)
    # Multiply-adds take elements of operands one by one, but for rows of B.
    vectors = [0, *([1] if element is not None else []), *([2] if element or order == "kn" else [])]
    is_aligned = all(map(own.is_aligned, vectors))
    has_groups = outer == 1 and (inner == 1 or own.batches[2][1] != 0)
    tile = tile_for(
        emit, element, (m, columns, depth), order, is_aligned, _RESULTS[y.dtype], has_groups
    )  # fmt: skip
    kernel = product_step(tile, epilogue)
    if kernel is None:
        return False
    words: dict[str, Any] = {}
    for i, name in enumerate("cab"):
        size, steps = own.tensors[i].itemsize, own.batches[i]
        words[f"{name}_row"] = size * rows[i]
        words[f"{name}_outer"], words[f"{name}_inner"] = (size * step for step in steps)
    emit.step(
        kernel,
        outputs=[y],
        flops=2 * product(y.shape) * depth,
        a=a, b=b, c=y, bias=bias, operands=record, m=m, n=columns, k=depth, outer=outer,
        inner=inner, **words,
    )  # fmt: skip
    return True


def _turned(emit: Emission, b: Tensor) -> Tensor:
    """Return the right operand with its columns contiguous; one that is stored is stored so."""
    rank = len(b.shape)
    order = [*range(rank - 2), rank - 1, rank - 2]
    return emit.ordered(b, order)


def _matrices(
    emit: Emission, a: Tensor, b: Tensor, y: Tensor, behind: Behind, order: Order
) -> _Matrices:
    """Arrange batches along two axes at most.

    Raises
    ------
    OnHost
        There are more.
    """
    tensors = [y, a, b, *behind.tensors]
    batches = y.view(y.shape[:-2], y.strides[:-2])
    table = [list(y.strides[:-2])]
    table += [
        broadcast_strides(emit, each.view(each.shape[:-2], each.strides[:-2]), batches)
        for each in (a, b)
    ]
    others = behind.strides(emit, y)
    table += [steps[:-2] for steps in others]
    rows = [y.strides[-2], a.strides[-2], b.strides[-1 if order == "nk" else -2]]
    rows += [steps[-2] for steps in others]
    count = len(batches.shape)
    if count and all(stride == 0 for stride in table[2]):
        # One right matrix: the rows of all batches are those of one, where they lie evenly.
        walks = [i for i in range(len(table)) if i != 2]
        with_rows = [[*table[i], rows[i]] for i in walks]
        sizes, steps = collapse((*y.shape[:-1],), range(count + 1), with_rows)
        if len(sizes) == 1:
            for i, own in zip(walks, steps, strict=True):
                rows[i] = own[0]
            none = [(0, 0)] * len(tensors)
            return _Matrices(tensors, (1, 1), none, rows)
    sizes, steps = collapse(batches.shape, range(count), table, 2)
    return _Matrices(tensors, (sizes[0], sizes[1]), [(own[0], own[1]) for own in steps], rows)


def _rows(own: _Matrices, y: Tensor) -> Dim:
    """Return the rows of a matrix: of all where they are one."""
    is_one = own.sizes == (1, 1)
    return product(y.shape[:-1]) if is_one else y.shape[-2]
