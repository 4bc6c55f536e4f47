"""Lowering: an optimized model becomes a program.

Four walks over the nodes, in this order: shape rules (``shape_inference``), fusion groups
(``fusion``), places of concatenated values (``placement``), and emission of steps by the operators'
own lowerings (``ops``), which an ``assembler`` puts together. Layout is not a phase of its own:
tensors carry strides, each lowering asks for the order it needs, and a conversion is emitted once,
where it is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx_ir as ir

from ..errors import InvalidModel
from ..kernels.abi import ARENA, HOST, INPUT, OUTPUT
from ..kernels.cpu.words import store_words
from ..kernels.registry import Kernel
from . import symbolic
from .assembler import Assembler
from .choices import Choices
from .fusion import Group, find_groups
from .graph import Graph, Info, Node, OnHost
from .ops import OPERATORS
from .ops.movement import emit_copy
from .placement import find_places
from .ports import add_ports, input_tensor, model_metadata
from .program import Program
from .shape_inference import infer_shapes
from .strips import find_chains, join
from .symbolic import Dim, product
from .tensors import (
    Pending,
    Record,
    Tensor,
    channels_last_order,
    channels_last_strides,
    contiguous_strides,
    padded_pixels,
    same_strides,
)
from .validity import naming

_THREADS = symbolic.symbol("threads")


def lower(model: ir.Model, options: dict[str, Any] | None = None) -> Program:
    """Lower an optimized model to a program.

    Parameters
    ----------
    model : onnx_ir.Model
        Topologically sorted, functions inlined.
    options : dict, optional
        See `Lowering`.

    Raises
    ------
    InvalidModel, UnsupportedModel
        Naming the node.
    """
    program = Lowering(infer_shapes(model), {"precision": "fp32", **(options or {})}).lower()
    program.metadata["model"] = model_metadata(model)
    return program


class Lowering:
    """State of the lowering of one model, and what operators' lowerings call.

    Parameters
    ----------
    graph : Graph
    options : dict
        ``precision``: ``"fp32"``, ``"strict"`` or ``"bf16_weights"``; ``choices``: forms of steps
        by the names of nodes (``choices``).

    Attributes
    ----------
    infos : dict of onnx_ir.Value to Info
        The graph's.
    places : dict of onnx_ir.Value to (onnx_ir.Value, Dim)
        For values that are only concatenated the root they lie in, and their first channel there.
    absorbed : set of int
        Indices of nodes whose results another node's step computes.
    """

    def __init__(self, graph: Graph, options: dict[str, Any]) -> None:
        self.graph = graph
        self.infos = graph.infos
        self.options = options
        self.choices = Choices(options.get("choices", {}))
        self.places = find_places(graph)
        self.absorbed: set[int] = set()
        self._program = Assembler()
        self._tensors: dict[ir.Value, Tensor] = {}
        self._reordered: dict[tuple[Any, ...], Tensor] = {}
        # A constant's array is kept with its tensor: a freed address could be used again.
        self._constants: dict[tuple[Any, ...], tuple[Tensor, np.ndarray]] = {}
        self._nodes: Sequence[Node] = ()
        self._caught: list[Pending] | None = None

    # --- memory -------------------------------------------------------------------------------

    def new(
        self,
        shape: Sequence[Dim],
        dtype: str,
        order: Sequence[int] | None = None,
        name: str = "",
        kind: int = ARENA,
    ) -> Tensor:
        """Create a dense tensor in a buffer of its own; a run brings that of an input."""
        is_given = kind in (INPUT, HOST)
        size = 0 if is_given else product(shape) * np.dtype(dtype).itemsize
        strides = contiguous_strides(shape, order)
        return Tensor(self._program.buffer(kind, size), 0, dtype, tuple(shape), strides, name)

    def workspace(self, bytes_per_thread: Dim) -> Tensor:
        """Create scratch memory of one step: so many bytes for each thread."""
        made = self.new(((bytes_per_thread + 63) // 64 * 64 * _THREADS,), "uint8")
        made.buffer.is_scratch = True
        return made

    def output(self, node: Node, index: int = 0, order: Sequence[int] | None = None) -> Tensor:
        """Create the tensor of a node's output: its place in a concatenation, or a new one.

        Parameters
        ----------
        node : Node
        index : int
            Which output.
        order : sequence of int, optional
            Axes in memory, outermost first; ONNX's order when not given.
        """
        value, info = node.outputs[index], node.infos[index]
        shape = info.dims
        is_plain = same_strides(shape, contiguous_strides(shape, order), contiguous_strides(shape))
        if value in self.places and order is not None:
            root, channel = self.places[value]
            whole = self._root(root)
            tensor = whole.view(shape, whole.strides, channel * whole.strides[1], info.name)
        elif value in self.graph.outputs and is_plain:
            tensor = self.new(shape, info.dtype, name=info.name, kind=OUTPUT)
        else:
            tensor = self._new_value(info, order)
        self._tensors[value] = tensor
        return tensor

    def _root(self, value: ir.Value) -> Tensor:
        """Return the tensor that others have their places in."""
        if value not in self._tensors:
            info = self.infos[value]
            self._tensors[value] = self._new_value(info, channels_last_order(info.rank))
        return self._tensors[value]

    def _new_value(self, info: Info, order: Sequence[int] | None) -> Tensor:
        if order != channels_last_order(info.rank):
            return self.new(info.dims, info.dtype, order, info.name)
        room = padded_pixels(info.dims, np.dtype(info.dtype).itemsize)
        made = self.new(room, info.dtype, order, info.name)
        return made.view(info.dims, made.strides)

    def set(self, node: Node, tensor: Tensor, index: int = 0) -> None:
        """Let a node's output be a view that needs no step."""
        tensor.name = node.infos[index].name
        self._tensors[node.outputs[index]] = tensor

    def is_placed(self, value: ir.Value) -> bool:
        """Tell whether a value already lies where it is needed."""
        return value in self._tensors

    # --- operands -----------------------------------------------------------------------------

    def tensor(self, value: ir.Value | None) -> Tensor:
        """Return the tensor of a value, storing constants and known sizes when needed."""
        assert value is not None
        if value not in self._tensors:
            info = self.infos[value]
            if info.is_constant:
                self._tensors[value] = self.constant(info.array(), info.name)
            elif info.known is not None:
                self._tensors[value] = self._store_known(info)
            else:
                raise InvalidModel(f"value {info.name!r} is used before it is computed")
        return self._tensors[value]

    def constant(self, array: np.ndarray, name: str = "") -> Tensor:
        """Store an array with the weights; equal objects are stored once."""
        key = (array.__array_interface__["data"][0], array.shape, array.strides, str(array.dtype))
        if array.size and key in self._constants:
            return self._constants[key][0]
        dense = np.ascontiguousarray(array).reshape(array.shape)
        if dense.dtype == np.bool_:
            dense = dense.view(np.uint8)
        buffer, first = self._program.store(dense)
        strides = contiguous_strides(dense.shape)
        tensor = Tensor(buffer, first, str(array.dtype), dense.shape, strides, name)
        self._constants[key] = tensor, array
        return tensor

    def _store_known(self, info: Info) -> Tensor:
        tensor = self.new(info.dims, info.dtype, name=info.name)
        sizes = info.sizes()
        self.step(
            store_words, outputs=[tensor], op_type="Shape", y=tensor, itemsize=tensor.itemsize,
            count=len(sizes), words=Record([0, *sizes]),
        )  # fmt: skip
        return tensor

    def ordered(self, tensor: Tensor, order: Sequence[int] | None = None) -> Tensor:
        """Return the tensor dense in memory order ``order``, copied once if it is not."""
        strides = contiguous_strides(tensor.shape, order)
        if same_strides(tensor.shape, tensor.strides, strides):
            return tensor.view(tensor.shape, strides)
        key = (tensor.buffer, tensor.offset, tensor.shape, tensor.strides, strides)
        if key not in self._reordered:
            dense = self.new(tensor.shape, tensor.dtype, order, tensor.name)
            emit_copy(self, tensor, dense, "Reorder")
            self._reordered[key] = dense
        return self._reordered[key]

    def channels_last(self, tensor: Tensor) -> Tensor:
        """Return the tensor with channels of stride 1 and spatial axes in their usual order.

        The pixels may be further apart than the channels need: concatenated buffers are.
        """
        strides = channels_last_strides(tensor.shape, tensor.strides)
        if strides is not None:
            return tensor.view(tensor.shape, strides)
        return self.ordered(tensor, channels_last_order(len(tensor.shape)))

    # --- steps --------------------------------------------------------------------------------

    def step(
        self,
        kernel: Kernel,
        *,
        outputs: Sequence[Tensor],
        op_type: str = "",
        nodes: Sequence[Node] = (),
        flops: Dim = 0,
        traffic: Dim = 0,
        extra: Sequence[Tensor] = (),
        over: Sequence[Tensor] = (),
        **fields: Any,
    ) -> None:
        """Emit a kernel call.

        Parameters
        ----------
        kernel : Kernel
        outputs : sequence of Tensor
            What it writes.
        op_type : str
            Name for the profile; the operators of the nodes when not given.
        nodes : sequence of Node
            What the step computes; the current fusion group when not given.
        flops, traffic : Dim
            Floating-point operations; bytes that must be moved (computed when 0).
        extra : sequence of Tensor
            Tensors in use that no field names.
        over : sequence of Tensor
            Operands that the kernel reads element by element before it writes the first output at
            the same place, so that it may lie over one of them.
        **fields
            A value for each field of the kernel's record.
        """
        if set(fields) != set(kernel.fields):
            wrong = sorted(set(fields) ^ set(kernel.fields))
            raise TypeError(f"{kernel.ref}: fields differ: {wrong}")
        nodes = nodes or self._nodes
        op_type = op_type or "+".join(node.op_type for node in nodes)
        names = [node.name for node in nodes]
        step = Pending(kernel, outputs, op_type, names, flops, traffic, extra, over, fields)
        if self._caught is None:
            self._program.place(step)
        else:
            self._caught.append(step)

    @property
    def is_catching(self) -> bool:
        """Tell whether steps are caught, perhaps to be run on a part of their rows at a time."""
        return self._caught is not None

    def check(self, left: Dim, right: Dim, message: str, broadcast: bool = False) -> None:
        """Demand at run time that two sizes are equal (or, broadcasting, that left is 1)."""
        if isinstance(left, int) and isinstance(right, int):
            if left != right and not (broadcast and left == 1):
                raise InvalidModel(f"{message}: {left} and {right}")
        elif left != right:
            self._program.check(left, right, broadcast, message)

    def check_some(self, count: Dim, wanted: Dim, message: str) -> None:
        """Demand that there is something to make results of, if results are wanted at all."""
        empty = symbolic.maximum(0, 1 - count)
        self.check(empty * wanted, 0, f"{message} of nothing, in number")

    # --- emission -----------------------------------------------------------------------------

    def lower(self) -> Program:
        """Lower the graph; see `lower`."""
        for value in self.graph.inputs:
            self._tensors[value] = input_tensor(self, self.infos[value])
        groups = find_groups(self.graph)
        chains = find_chains(self.graph, groups, self.places)
        for node in self.graph.nodes:
            chain = chains.get(node.index)
            if chain is None:
                self._emit(node, groups.get(node.index))
            elif chain[-1].last is node and not self._emit_chain(chain):
                for group in chain:
                    self._emit(group.last, group)
        self.choices.check()
        add_ports(self, self._program)
        host = {self.graph.nodes[i].name: why for i, why in self.graph.why_host.items()}
        return self._program.finish({"host": host, "forms": self.choices.offered, **self.options})

    def _emit(self, node: Node, group: Group | None) -> None:
        """Emit a node, or the group whose last node it is."""
        if node.index in self.absorbed or (group is not None and group.last is not node):
            return
        if node.index in self.graph.why_host:
            self._emit_host(node)
            return
        if all(info.known is not None for info in node.infos):
            return
        self._nodes = group.nodes if group is not None else [node]
        made = self._made()
        try:
            with naming(node):
                if group is not None:
                    group.emit(self)
                else:
                    OPERATORS[node.ir.domain, node.op_type].lower(self, node)
        except OnHost as reason:
            self._take_back(*made)
            gated = [group.gate.product] if group is not None and group.gate else []
            for member in (*gated, *self._nodes):
                self.graph.why_host[member.index] = str(reason)
                self._emit_host(member)
        self._nodes = ()

    def _emit_chain(self, chain: Sequence[Group]) -> bool:
        """Emit groups that may run joined; False when one of them has no kernel."""
        made = self._made()
        try:
            with self._catching() as steps:
                for group in chain:
                    self._nodes = group.nodes
                    with naming(group.last):
                        group.emit(self)
        except OnHost:
            self._take_back(*made)
            return False
        finally:
            self._nodes = ()
        for step in join(self, steps):
            self._program.place(step)
        return True

    @contextmanager
    def _catching(self) -> Iterator[list[Pending]]:
        """Catch steps instead of placing them."""
        self._caught = []
        try:
            yield self._caught
        finally:
            self._caught = None

    def _made(self) -> tuple[int, int, int]:
        """Return how much there is, for `_take_back`."""
        return self._program.step_count, len(self._tensors), len(self._reordered)

    def _take_back(self, steps: int, tensors: int, reordered: int) -> None:
        """Forget steps, and the values they compute, when one shows that there is no kernel."""
        self._program.take_back(steps)
        # What was entered last goes first.
        while len(self._tensors) > tensors:
            self._tensors.popitem()
        while len(self._reordered) > reordered:
            self._reordered.popitem()

    def _emit_host(self, node: Node) -> None:
        from .host import HostOp

        operator = HostOp(node.ir, self.graph.opsets)
        inputs = [None if value is None else self.tensor(value) for value in node.values]
        outer = {value.name: value for value in self.infos}
        captured = {name: self.tensor(outer[name]) for name in operator.captured_names}
        read_sizes = self.graph.read_sizes.get(node.index, [])
        if read_sizes:
            self._program.open_phase()
        outputs = []
        for value, info in zip(node.outputs, node.infos, strict=True):
            dtype = info.dtype if info.shape is not None else "object"
            tensor = self.new(info.shape or (), dtype, name=info.name, kind=HOST)
            self._tensors[value] = tensor
            outputs.append(tensor if value.name else None)
        self._program.place_host(node, operator.to_bytes(), inputs, outputs, captured, read_sizes)
