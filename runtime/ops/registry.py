"""The table of operators: all that the runtime knows of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import onnx_ir as ir

from ...custom_operators import find
from ..emission import Emission
from ..graph import BodyInputs, Info, Node
from ..groups import Group
from .terms import Source, Term

Rule = Callable[[Node], None]
Bodies = Callable[[Node], dict[str, BodyInputs]]
Infer = Callable[[Node], list[Info]]
Lower = Callable[[Emission, Node], None]
WriteTerm = Callable[[Node, Sequence[Term]], Term]
Fused = Callable[[Emission, Node, Group], None]
Activation = tuple[int, float, float]
Activate = Callable[[Node], Activation | None]


@dataclass(frozen=True, kw_only=True)
class Operator:
    """An operator: what it takes, what it gives, and how it becomes steps.

    Attributes
    ----------
    rules
        Refuse attributes and sizes that no model may have (``InvalidModel``).
    bodies
        Describes the inputs of the bodies that a node has, by attribute. For `infer` and `lower`
        they are inferred first, and all their nodes must have kernels; on the host they are
        programs of their own.
    infer
        Describes the outputs; raises ``OnHost`` for inputs that no kernel takes. None: there is no
        kernel.
    describe
        Describes the outputs where there is no kernel, with sizes that may be None; by default onnx
        does.
    lower
        Emits the steps of a node, where neither ``term`` nor ``fused`` do.
    term
        Writes a node as a term of the pointwise language: the operator is elementwise.
    parameters
        Attributes that are numbers, with their defaults, which ``term`` takes after the operands.
        The default is a literal of the kernel and any other number an operand, so that nodes with
        numbers of their own share a kernel.
    takes_constants
        Tells whether inputs may be constants of types that no kernel takes.
    sources
        Tells what the operands of ``term`` are, where they are not the inputs as they lie.
    folds
        Function of the language that ``term`` applies to the first two operands, to the result and
        the third, and so on: steps may share them.
    activation
        Describes a node as an activation that a tile applies to sums in registers: code
        (``kernels.emitter``) and two parameters. None, as for values that a tile cannot take: it
        remains an elementwise operator.
    fused
        Emits the steps of a node together with the fusion group that it leads.
    moves
        Tells that elements are only moved, or made of those that are given: of whatever type, and
        however few bits.
    is_alone
        An elementwise operator that no kernel shares with others.
    is_float32
        Its kernel takes float32 alone; of float64, or with its softmax in it, the operator is what
        the standard defines it by.
    layout
        How the output lies: ``"plain"``; ``"channels_last"``, written with any distance between
        pixels, so that it may be a part of a larger buffer; or so ``"as_input"`` does.
    """

    rules: tuple[Rule, ...] = ()
    bodies: Bodies | None = None
    infer: Infer | None = None
    describe: Infer | None = None
    lower: Lower | None = None
    term: WriteTerm | None = None
    parameters: Mapping[str, float] = field(default_factory=dict)
    takes_constants: bool = False
    sources: Callable[[Node], Sequence[Source]] | None = None
    folds: str = ""
    activation: Activate | None = None
    fused: Fused | None = None
    moves: bool = False
    is_alone: bool = False
    is_float32: bool = False
    layout: Literal["plain", "channels_last", "as_input"] = "plain"


_NEWEST = 1 << 31
"""Version of a domain above all others."""

OPERATORS: dict[tuple[str, str], Operator] = {}
"""Operators by domain and name."""


def register(names: str, operator: Operator, domain: str = "") -> None:
    """Enter an operator, under names separated by blanks; by default in the standard domain."""
    for name in names.split():
        OPERATORS[domain, name] = operator


def computes_wide(node: ir.Node) -> bool:
    """Tell whether a node with values of half precision has a kernel for float32 only."""
    operator = OPERATORS.get((node.domain, node.op_type))
    if operator is None or operator.infer is None or operator.describe is not None:
        return False
    return operator.term is None and not operator.moves


def computes(node: ir.Node) -> bool:
    """Tell whether there is a kernel for a node of its element type."""
    operator, first = OPERATORS.get((node.domain, node.op_type)), node.inputs[:1]
    if operator is not None and operator.is_float32 and first and first[0] is not None:
        precision = node.attributes.get("softmax_precision")
        return ir.DataType.DOUBLE not in (first[0].dtype, precision and precision.value)
    return has_kernel(node.domain, node.op_type)


def has_kernel(domain: str, name: str) -> bool:
    """Tell whether an operator has a kernel for some of its inputs."""
    custom = find(domain, name, _NEWEST)
    if custom is not None:
        return custom.is_elementwise
    operator = OPERATORS.get((domain, name))
    return operator is not None and operator.infer is not None
