"""Graph of a model as lowering sees it: each value's dtype, symbolic shape, and known contents.

Shape rules (``ops/``) run once over all nodes (``shape_inference``) and give every value an
``Info``. Small integer tensors that hold sizes (``Shape``, ``Gather``, ``Concat``, ...) are tracked
element by element as symbolic dimensions, so that shape computations cost nothing at run time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
import onnx_ir as ir

from ..custom_operators import find
from ..errors import InvalidModel
from .element_types import NARROW, NATIVE
from .symbolic import Dim, Expr, Symbol, of_symbol, symbol, symbols_in

KNOWN_LIMIT = 256


class OnHost(Exception):
    """Raised by a shape rule: this node has no kernel for such inputs; says why."""


class NeedsNumbers(OnHost):
    """Raised where there would be a kernel if sizes were numbers.

    Parameters
    ----------
    reason : str
    sizes : sequence of Dim
        Those that should be numbers.
    """

    def __init__(self, reason: str, sizes: Sequence[Dim]) -> None:
        super().__init__(reason)
        self.sizes = tuple(sizes)


class NeedsContents(OnHost):
    """Raised where there would be a kernel if the elements of an input were known as sizes.

    Parameters
    ----------
    info : Info
        The input.
    """

    def __init__(self, info: Info) -> None:
        super().__init__(f"{info.name!r} is known only at run time")
        self.info = info


@dataclass(slots=True)
class Info:
    """What is known of a value.

    Attributes
    ----------
    name : str
    dtype : str
        numpy's name, or ``"object"`` for strings, sequences and the like.
    shape : tuple of Dim, or None
        None when even the rank is unknown.
    known : ndarray of object, optional
        The contents as dimensions, for small integer tensors.
    constant : onnx_ir.TensorProtocol, optional
        The contents of an initializer, or of what follows from some.
    held : onnx.TypeProto, optional
        The type of a sequence or an optional value, with the number of axes of what it holds.
    """

    name: str
    dtype: str
    shape: tuple[Dim, ...] | None
    known: np.ndarray | None = None
    constant: Any = None
    held: Any = None

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.dims)

    @property
    def dims(self) -> tuple[Dim, ...]:
        """The shape of a value whose rank must be known.

        Raises
        ------
        OnHost
            The rank is unknown.
        """
        if self.shape is None:
            raise OnHost(f"the rank of {self.name!r} is unknown")
        return self.shape

    @property
    def is_constant(self) -> bool:
        """Tell whether the contents are an initializer, or follow from some."""
        return self.constant is not None

    @property
    def is_float(self) -> bool:
        """Tell whether the elements are floats."""
        return "float" in self.dtype

    def array(self) -> np.ndarray:
        """Contents of a constant."""
        if self.constant is None:
            raise OnHost(f"{self.name!r} is not a constant")
        return np.asarray(self.constant.numpy()).reshape(self.shape)  # type: ignore[arg-type]

    def sizes(self) -> list[Dim]:
        """Contents as a flat list of dimensions.

        Raises
        ------
        NeedsContents
            They are only known at run time.
        """
        if self.known is None:
            raise NeedsContents(self)
        return list(self.known.reshape(-1))

    @property
    def is_settled(self) -> bool:
        """Tell whether the contents are known without running the node that gives them."""
        return self.known is not None or self.is_constant

    def integers(self) -> list[int]:
        """Contents as a flat list of plain integers.

        Raises
        ------
        NeedsContents, NeedsNumbers
            They are only known at run time, or depend on what a run is given.
        """
        return numbers_of(self.sizes(), f"{self.name!r} depends on the input's shape")


def numbers_of(sizes: Sequence[Dim], reason: str) -> list[int]:
    """Return sizes that must be numbers; raises ``NeedsNumbers`` with a reason otherwise."""
    if not all(isinstance(size, int) for size in sizes):
        raise NeedsNumbers(reason, sizes)
    return [int(size) for size in sizes]  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class BodyInputs:
    """What a body is given: its inputs, and which of them carry a state.

    Attributes
    ----------
    infos : list of Info
        What its inputs are before the first iteration.
    states : list of (int, int)
        Input and output of each state: what an iteration gives, the next one is given.
    """

    infos: list[Info]
    states: list[tuple[int, int]] = field(default_factory=list)


def known_array(values: Sequence[Dim], shape: tuple[int, ...]) -> np.ndarray:
    """Make the contents of an ``Info`` from dimensions."""
    array = np.empty(len(values), object)
    array[:] = list(values)
    return array.reshape(shape)


def wrapped(value: Dim, dtype: str) -> Dim:
    """Return a result of whole numbers as its type holds it, expressions as they are.

    Of these, numbers that 64 bits do not hold are refused when they are evaluated.
    """
    if not isinstance(value, int):
        return value
    limits = np.iinfo(dtype)
    return (value - int(limits.min)) % (1 << limits.bits) + int(limits.min)


class Node:
    """A node as shape rules and lowerings see it.

    Attributes
    ----------
    bodies : dict of str to Graph
        Those of an operator whose bodies are compiled, by attribute.
    demands : list of Dim
        For a node of a body: sizes of results that must not be below zero when it runs.
    counted : list of Symbol
        Sizes of results that one of its own steps counts.
    """

    __slots__ = (
        "bodies",
        "counted",
        "demands",
        "index",
        "infos",
        "inputs",
        "ir",
        "name",
        "op_type",
        "version",
    )

    def __init__(
        self, node: ir.Node, infos: Mapping[ir.Value, Info], version: int, index: int
    ) -> None:
        self.ir = node
        self.version = version
        self.index = index
        self.op_type = node.op_type
        self.name = node.name or f"{node.op_type}_{index}"
        self.inputs = [None if value is None else infos[value] for value in node.inputs]
        self.infos: list[Info] = []
        self.bodies: dict[str, Graph] = {}
        self.demands: list[Dim] = []
        self.counted: list[Symbol] = []

    def count(self) -> Expr:
        """Return a size that one of the node's own steps counts, and ``Emission.read`` reads."""
        size = symbol(f"{self.index}.{len(self.counted)}", "result")
        self.counted += symbols_in(size)
        return size

    @property
    def counted_sizes(self) -> list[Expr]:
        """The sizes that the node counts."""
        return [of_symbol(each) for each in self.counted]

    @property
    def values(self) -> Sequence[ir.Value | None]:
        """Values of the inputs, None for those that are omitted."""
        return self.ir.inputs

    @property
    def outputs(self) -> Sequence[ir.Value]:
        """Values of the outputs."""
        return self.ir.outputs

    @property
    def key(self) -> tuple[str, str]:
        """Domain and name of the operator; those of a custom one are numbered."""
        domain = self.ir.domain
        custom = find(domain, self.op_type, self.version) if domain else None
        return domain, self.op_type if custom is None else custom.key

    def input(self, index: int) -> Info | None:
        """Return an optional input, None when it is omitted."""
        return self.inputs[index] if index < len(self.inputs) else None

    def required(self, index: int) -> Info:
        """Return an input that the operator cannot do without."""
        info = self.input(index)
        if info is None:
            raise OnHost(f"input {index} is missing")
        return info

    def attribute(self, name: str, default: Any = None) -> Any:
        """Value of an attribute; strings as str, lists as list."""
        attribute = self.ir.attributes.get(name)
        if attribute is None:
            return default
        value = attribute.value
        return list(value) if isinstance(value, tuple) else value

    def result(
        self, shape: Sequence[Dim] | None, dtype: str | None = None, index: int = 0, **kwargs: Any
    ) -> Info:
        """Describe an output; its dtype is the first input's unless given."""
        name = self.outputs[index].name or ""
        own = None if shape is None else tuple(shape)
        return Info(name, dtype or self.required(0).dtype, own, **kwargs)


@dataclass(eq=False)
class Graph:
    """A model, or a body of one of its nodes, as shape inference leaves it.

    Attributes
    ----------
    opsets : dict of str to int
        Version by domain.
    inputs, outputs : list of onnx_ir.Value
        Inputs are those that a run is given: no initializers.
    infos : dict of onnx_ir.Value to Info
        Bodies share it with the graph around them.
    nodes : list of Node
        In topological order; a node's index is its position here.
    index_of : dict of onnx_ir.Node to int
    why_host : dict of int to str
        Nodes without a kernel, by index, and the reason.
    needed_numbers : dict of int to tuple of Dim
        For nodes without a kernel that would have one if these sizes were numbers.
    read_sizes : dict of int to list of (int, int, Symbol)
        For nodes on the host (output, axis, symbol) of sizes that are read off their results.
    readings : dict of int to list of (onnx_ir.Value, list of Symbol)
        Inputs of nodes whose elements are read as sizes before the node.
    known_after : dict of Symbol to int
        The node after which a size is known that depends on data.
    contents : dict of Symbol to onnx_ir.Value
        The tensor that a size is an element of; bodies share it, too.
    reads : bool
        Sizes may depend on data; not those of a body that is a part of another program.
    """

    opsets: dict[str, int]
    inputs: list[ir.Value]
    outputs: list[ir.Value]
    infos: dict[ir.Value, Info] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    index_of: dict[ir.Node, int] = field(default_factory=dict)
    why_host: dict[int, str] = field(default_factory=dict)
    needed_numbers: dict[int, tuple[Dim, ...]] = field(default_factory=dict)
    read_sizes: dict[int, list[tuple[int, int, Symbol]]] = field(default_factory=dict)
    readings: dict[int, list[tuple[ir.Value, list[Symbol]]]] = field(default_factory=dict)
    known_after: dict[Symbol, int] = field(default_factory=dict)
    contents: dict[Symbol, ir.Value] = field(default_factory=dict)
    reads: bool = True

    @cached_property
    def named(self) -> dict[str | None, ir.Value]:
        """Values by their names, once all nodes are there."""
        return {value.name: value for value in self.infos}


def refuse(node: Node, what: str, got: Any, expected: str) -> NoReturn:
    """Raise the error of an invalid node."""
    raise InvalidModel(
        f"node {node.name!r} ({node.op_type}): {what} is {got!r}, expected {expected}"
    )


def describe(info: Info | None) -> str:
    """Name, type and shape of an input for an error message."""
    if info is None:
        return "(none)"
    shape = "" if info.shape is None else list(info.shape)
    return f"{info.name!r} {info.dtype}{shape}"


def dtype_name(dtype: ir.DataType | None) -> str:
    """Return numpy's name of an ONNX element type, or ``"object"``."""
    if dtype is None or dtype in (ir.DataType.STRING, ir.DataType.UNDEFINED):
        return "object"
    try:
        name = str(np.dtype(dtype.numpy()).name)
    except TypeError:
        return "object"
    return name if name in NATIVE or name in NARROW else "object"
