"""Few bits: which weights of a model take 4, and which of these have had 4 before."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from ..values import attribute, constant, graphs, rank
from .block_sums import moved
from .products import Product, products
from .spaced import Spaced, spaced

LEAST = 1024
"""Numbers of a weight below which it stays as it is."""
LEAST_BLOCK = 16
"""The smallest block that runtimes have."""


@dataclass(frozen=True)
class FewBits:
    """How weights are kept.

    Attributes
    ----------
    bits : {8, 4}
        8: int8 with one scale for each output channel. 4: uint4 in blocks along the axis that is
        summed over, for products; convolutions and lookups take 8, as tables of words do in GGUF.
    block : int
        Of 4 bits.
    method : {"nearest", "mse", "hqq"}
        Of 4 bits, as `in_blocks` takes it.
    wide : collection of str
        Names of products whose weights take 8 bits.
    spaced : mapping of str to Spaced
        Weights of products that had 4 bits before, or take zero points between whole numbers, by
        the names of these.
    """

    bits: int = 8
    block: int = 32
    method: str = "nearest"
    wide: Collection[str] = ()
    spaced: Mapping[str, Spaced] = field(default_factory=dict)

    def take(self, node: ir.Node) -> bool:
        """Tell whether the weights of a node take 4 bits."""
        return self.bits == 4 and node.op_type in ("MatMul", "Gemm") and node.name not in self.wide

    def block_of(self, depth: int) -> int:
        """Return how many of so many weights of a column have one scale.

        OpenVINO takes only blocks that divide them: where ``block`` does not, the largest that
        does; ``block`` where none does.
        """
        block = self.block
        while block > LEAST_BLOCK and depth % block:
            block //= 2
        return self.block if depth % block else block


def few_bits(
    model: ir.Model,
    bits: int,
    block: int,
    method: str,
    wide: Collection[str],
    offsets: bool = False,
) -> FewBits:
    """Choose the bits of each weight of a model, whose nodes have names.

    A product with a table that is looked up, too (words of a decoder, and their scores), takes 8
    bits: the file has these in any case. With ``offsets``, zero points are any numbers where that
    loses less (`block_sums.moved`).
    """
    plain = FewBits(bits, block, method, wide)
    if bits != 4:
        return plain
    tables = list(_tables(model))
    wide, found = set(wide), {}
    of_weights: dict[ir.Value | None, Spaced | None] = {}
    for each in products(model):
        name, value = str(each.node.name), each.node.inputs[1]
        if each.weights.size < LEAST or name in wide:
            continue
        if any(_is_table(each.weights, table) for table in tables):
            wide.add(name)
            continue
        if value not in of_weights:
            of_weights[value] = _spaced(each, plain, offsets)
        own = of_weights[value]
        if own is not None and (_sums_rows(each.node) or not own.has_offsets):
            found[name] = own
    return FewBits(bits, block, method, wide, found)


def _tables(model: ir.Model) -> Iterator[np.ndarray]:
    for graph in graphs(model):
        for node in graph:
            table = constant(node.inputs[0]) if node.op_type == "Gather" else None
            if table is not None and table.ndim == 2 and not attribute(node, "axis", 0):
                yield table


def _is_table(weights: np.ndarray, table: np.ndarray) -> bool:
    return any(
        each.shape == table.shape
        and np.array_equal(each[:1], table[:1])
        and np.array_equal(each, table)
        for each in (weights, weights.T)
    )


def _spaced(product: Product, few: FewBits, offsets: bool) -> Spaced | None:
    weights = np.ascontiguousarray(product.weights.T if product.columns else product.weights)
    found = spaced(weights, few.block)
    if found is None and offsets:
        return moved(weights, few.block_of(weights.shape[1]))
    return found


def _sums_rows(node: ir.Node) -> bool:
    """Tell whether blocks of the rows of an activation can be summed in front of a product."""
    return rank(node.inputs[0]) is not None and not attribute(node, "transA", 0)
