"""Operator record: all that passes need to know of an operator of the standard domain.

The families beside this file hold one entry for each operator. A pass asks `lookup` for the record
of a node; what it needs to know of one more operator is a change of that operator's entry.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import onnx_ir as ir

from ..intervals import Interval
from ..values import Size

Order: TypeAlias = tuple[int, ...]
"""Order of axes: axis ``i`` becomes axis ``order[i]``."""

Contents: TypeAlias = np.ndarray
"""Elements of a small tensor of sizes, an array of `Size`."""

Read: TypeAlias = Callable[[ir.Value | None], Contents | None]
"""Reads the contents of a value, where they are known."""


@dataclass
class Reordered:
    """Changes of a node whose axes come in another order.

    Attributes
    ----------
    orders : dict of ir.Value to Order
        Inputs that must come in another order, and outputs that then do.
    constants : dict of int to array
        New contents of constant inputs, by their indices.
    gathered : dict of int to Order
        Inputs whose elements come in another order, by their indices.
    sizes : set of int
        Those of ``gathered`` that must hold sizes throughout: 0 and -1 have another meaning there.
    attributes : dict
        Attributes that change; None for those that go.
    op_type : str, optional
        Operator of the new node, where it is another.
    """

    orders: dict[ir.Value, Order]
    constants: dict[int, np.ndarray] = field(default_factory=dict)
    gathered: dict[int, Order] = field(default_factory=dict)
    sizes: set[int] = field(default_factory=set)
    attributes: dict[str, ir.Attr | None] = field(default_factory=dict)
    op_type: str | None = None


ReorderRule: TypeAlias = Callable[[ir.Node, ir.Value, Order], Reordered | None]
ShapeRule: TypeAlias = Callable[[ir.Node, Contents | None], Sequence[Size] | None]
ContentsRule: TypeAlias = Callable[[ir.Node, Read], Contents | None]
IntervalRule: TypeAlias = Callable[[Sequence[Interval | None]], Interval | None]
KeptRule: TypeAlias = Callable[[ir.Node], Sequence[int]]
UnchangedRule: TypeAlias = Callable[[ir.Node], ir.Value | None]
CarriedRule: TypeAlias = Callable[[ir.Node], Sequence[int]]


@dataclass(frozen=True)
class Operator:
    """Properties and rules of an operator; the defaults hold of one that is not in the table.

    Attributes
    ----------
    elementwise : bool
        Each element of the results is computed from the elements at its position. The axes may
        come in any order.
    broadcasts : bool
        The shape of the result is that to which the inputs broadcast.
    commutative : bool
        The two operands may be exchanged.
    deterministic : bool
        The results are the same whenever it runs.
    foldable : bool
        It may be computed ahead where all its inputs are constant.
    activation : bool
        A function of one tensor that is best computed right behind a convolution or product.
    reshape : bool
        It keeps all elements and their sequence, and changes the shape only.
    product : bool
        A convolution or matrix product, whose weights are the second input.
    window : bool
        It moves a window over the axes behind the second.
    recurrent : bool
        GRU and the like: inputs, outputs and attributes are those that they share.
    shape_input : int, optional
        Which input holds sizes of the result.
    holds_sizes : {"never", "first", "all"}
        The result holds sizes (or sums and products of such) if the first input, or all, do.
    reorder : callable, optional
        What changes when one of the values of a node has another order of axes. Not needed for
        elementwise operators.
    shape : callable, optional
        Sizes of the result, from the node and what its ``shape_input`` holds. Not needed for
        broadcasting ones.
    contents : callable, optional
        Elements of a small result, from the node and a reader of its inputs.
    interval : callable, optional
        Interval of the float32 values of the result, from those of the inputs.
    kept : callable, optional
        Indices of optional outputs that may not be left out although nobody reads them.
    unchanged : callable, optional
        The input that a node returns as it is, None if it does not. Not asked of a node without
        a first input.
    carried : callable, optional
        Indices of the inputs whose elements are those of the results, chosen by their places or by
        their order (the largest): a function that never falls may be applied before or behind.
    """

    elementwise: bool = False
    broadcasts: bool = False
    commutative: bool = False
    deterministic: bool = True
    foldable: bool = True
    activation: bool = False
    reshape: bool = False
    product: bool = False
    window: bool = False
    recurrent: bool = False
    shape_input: int | None = None
    holds_sizes: Literal["never", "first", "all"] = "never"
    reorder: ReorderRule | None = None
    shape: ShapeRule | None = None
    contents: ContentsRule | None = None
    interval: IntervalRule | None = None
    kept: KeptRule | None = None
    unchanged: UnchangedRule | None = None
    carried: CarriedRule | None = None


def first_input(node: ir.Node) -> Sequence[int]:
    """Carried are the elements of the first input."""
    return (0,)


def all_inputs(node: ir.Node) -> Sequence[int]:
    """Carried are the elements of all inputs."""
    return range(len(node.inputs))


def table(items: Sequence[Size], shape: tuple[int, ...] | None = None) -> Contents:
    """Make contents of sizes in order, a vector if no shape is given."""
    contents = np.empty(len(items), object)
    contents[:] = items
    return contents if shape is None else contents.reshape(shape)
