"""Emission: what the lowerings of operators call to make tensors and steps."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx_ir as ir

from ..errors import InvalidModel
from ..kernels.abi import ADDRESS_SPACE, ARENA, HOST, INPUT, OUTPUT
from ..kernels.cpu.words import store_words
from .choices import Choices
from .copies import is_in_rows, memory_order
from .devices.kernel_set import CPU_KERNELS, KernelSet
from .graph import Graph, Info, Node, OnHost
from .steps import Steps
from .strides import (
    channels_last_order,
    channels_last_strides,
    contiguous_strides,
    padded_pixels,
    same_strides,
)
from .symbolic import Dim, is_natural, minimum, product
from .tensors import Record, Tensor


class Emission(Steps):
    """Tensors of values, and the steps that compute them.

    Parameters
    ----------
    graph : Graph
    options : dict
        ``precision``: ``"fp32"``, ``"strict"``, ``"bf16x3"``, ``"fast"``, ``"bf16"``,
        ``"bf16_weights"`` or ``"int8_activations"``; ``choices``: forms of steps by the names of
        nodes (``choices``); ``suggested``: these may be of another processor.
    emit_nodes : callable
        Emits the nodes of the attribute ``graph``.
    kernels : KernelSet
        Those of the device.

    Attributes
    ----------
    graph : Graph
        The one whose nodes are being emitted: the model's, or a body.
    places : mapping of onnx_ir.Value to (onnx_ir.Value, Dim)
        For values that are only concatenated the root they lie in, and their first channel there.
    caches : dict of onnx_ir.Value to (Tensor, int)
        For outputs that continue an input along an axis, in its memory: the input, and the axis.
    infos : dict of onnx_ir.Value to Info
        Those of all graphs.
    halves : set of onnx_ir.Value
        Values of float32 that lie in memory as bfloat16, where their writers can write them so.
    takes_halves : bool
        Whether the node that is being emitted reads and writes such values as they lie.
    absorbed : set of int
        Indices of nodes whose results another node's step computes.
    summed : dict of onnx_ir.Value to onnx_ir.Value
        Values that are rows and the sums of their blocks, which products make of the rows
        (`ops.summed_rows`).
    rounded : set of str
        Names of nodes that products of bfloat16 compute.
    """

    def __init__(
        self,
        graph: Graph,
        options: Mapping[str, Any],
        emit_nodes: Callable[[Emission], None],
        kernels: KernelSet = CPU_KERNELS,
    ) -> None:
        super().__init__(graph.known_after, kernels)
        self.graph = graph
        self._emit_nodes = emit_nodes
        self._results = frozenset(graph.outputs)
        self._targets: dict[ir.Value, Tensor] = {}
        self.caches: dict[ir.Value, tuple[Tensor, int]] = {}
        self.infos = graph.infos
        self.options = options
        self.choices = Choices(options.get("choices", {}), not options.get("suggested", False))
        self.places: Mapping[ir.Value, tuple[ir.Value, Dim]] = {}
        self.halves: set[ir.Value] = set()
        self.takes_halves = False
        self.absorbed: set[int] = set()
        self.summed: dict[ir.Value, ir.Value] = {}
        self.rounded: set[str] = set()
        self._tensors: dict[ir.Value, Tensor] = {}
        self._reordered: dict[tuple[Any, ...], Tensor] = {}
        self._constants: dict[tuple[Any, ...], list[tuple[Tensor, np.ndarray]]] = {}

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
        is_external = kind in (INPUT, HOST)
        size = 0 if is_external else product(shape) * np.dtype(dtype).itemsize
        if isinstance(size, int) and size > ADDRESS_SPACE:
            self.refuse(f"{name!r} of shape {list(shape)} takes {size} bytes")
        strides = contiguous_strides(shape, order)
        return Tensor(self.program.buffer(kind, size), 0, dtype, tuple(shape), strides, name)

    def workspace(self, bytes_per_thread: Dim) -> Tensor:
        """Create scratch memory of one step: so many bytes for each that works on it."""
        if isinstance(bytes_per_thread, int) and bytes_per_thread > ADDRESS_SPACE:
            self.refuse(f"each thread would work on {bytes_per_thread} bytes")
        scratch = self.new(((bytes_per_thread + 63) // 64 * 64 * self.kernels.workers,), "uint8")
        scratch.buffer.is_scratch = True
        return scratch

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
        shape, dtype = info.dims, self._dtype_of(node.outputs[index])
        is_plain = same_strides(shape, contiguous_strides(shape, order), contiguous_strides(shape))
        whole, channel = self._place(value) if order is not None else (None, 0)
        if whole is not None and whole.dtype == dtype:
            tensor = whole.view(shape, whole.strides, channel * whole.strides[1], info.name)
        elif value in self._results and is_plain:
            tensor = self.new(shape, info.dtype, name=info.name, kind=OUTPUT)
        elif value in self._targets and is_plain:
            tensor = self._targets[value]
        else:
            tensor = self._new_value(info, dtype, order)
        self._tensors[value] = tensor
        return tensor

    def _dtype_of(self, value: ir.Value) -> str:
        """Element type that the node being emitted gives a value in memory."""
        is_half = self.takes_halves and value in self.halves
        return "bfloat16" if is_half else self.infos[value].dtype

    def _place(self, value: ir.Value) -> tuple[Tensor | None, Dim]:
        """Return the tensor that a value has its place in, if it has, and its first channel."""
        if value not in self.places:
            return None, 0
        root, channel = self.places[value]
        return self._root(root), channel

    def _root(self, value: ir.Value) -> Tensor:
        """Return the tensor that others have their places in."""
        if value not in self._tensors:
            info = self.infos[value]
            dtype = "bfloat16" if value in self.halves else info.dtype
            order = channels_last_order(info.rank)
            self._tensors[value] = self._new_value(info, dtype, order)
        return self._tensors[value]

    def _new_value(self, info: Info, dtype: str, order: Sequence[int] | None) -> Tensor:
        if order != channels_last_order(info.rank):
            return self.new(info.dims, dtype, order, info.name)
        room = padded_pixels(info.dims, np.dtype(dtype).itemsize)
        tensor = self.new(room, dtype, order, info.name)
        return tensor.view(info.dims, tensor.strides)

    def set(self, value: ir.Value, tensor: Tensor) -> None:
        """Let a value be a tensor that needs no step, which would be refused sizes below zero."""
        tensor.name = value.name or ""
        for size in tensor.shape:
            if not is_natural(size):
                self.check(minimum(size, 0), 0, f"a size of {tensor.name!r}, if below zero")
        self._tensors[value] = tensor

    def has_tensor(self, value: ir.Value) -> bool:
        """Tell whether it is settled already where a value lies."""
        return value in self._tensors

    def lies_as_half(self, value: ir.Value) -> bool:
        """Tell whether a value of float32 lies in memory as bfloat16."""
        return self._tensors[value].dtype != self.infos[value].dtype

    def continued(self, value: ir.Value, new: Tensor) -> Tensor:
        """Write elements behind a cache that a value continues; returns the whole.

        Parameters
        ----------
        value : onnx_ir.Value
            One of ``caches``.
        new : Tensor
            Of the sizes of the cache but along the axis.
        """
        past, axis = self.caches[value]
        for i, (size, own) in enumerate(zip(past.shape, new.shape, strict=True)):
            if i != axis:
                self.check(own, size, f"axis {i} of {new.name!r} and of {past.name!r}")
        shape = list(past.shape)
        shape[axis] = shape[axis] + new.shape[axis]
        behind = past.view(new.shape, past.strides, past.shape[axis] * past.strides[axis])
        self.copy(new, behind, "Cache")
        whole = past.view(shape, past.strides, name=value.name or "")
        self._tensors[value] = whole
        return whole

    # --- operands -----------------------------------------------------------------------------

    def tensor(self, value: ir.Value | None) -> Tensor:
        """Return the tensor of a value, storing constants and known sizes when needed.

        A value that lies as bfloat16 is converted, once, for nodes that take float32 only.
        """
        tensor = self._stored(value)
        is_wide = self.takes_halves or self.infos.get(value) is None  # type: ignore[arg-type]
        return tensor if is_wide else self.as_type(tensor, self.infos[value].dtype)  # type: ignore[index]

    def as_type(self, tensor: Tensor, dtype: str) -> Tensor:
        """Return a tensor of floats, float32 or bfloat16, as the other type, converted once."""
        if tensor.dtype == dtype or {tensor.dtype, dtype} != {"bfloat16", "float32"}:
            return tensor

        def convert() -> Tensor:
            source = tensor if is_in_rows(tensor) else self.ordered(tensor)
            converted = self.new(source.shape, dtype, memory_order(source), source.name)
            self.convert(source, converted)
            return converted

        return self.once(tensor, dtype, convert)

    def _stored(self, value: ir.Value | None) -> Tensor:
        """Return the tensor of a value as it lies."""
        assert value is not None
        if value not in self._tensors:
            info = self.infos[value]
            if info.is_constant:
                self._tensors[value] = self.constant(info.array(), info.name)
            elif info.known is not None:
                self._tensors[value] = self.sizes(info)
            else:
                raise InvalidModel(f"value {info.name!r} is used before it is computed")
        return self._tensors[value]

    def constant(self, array: np.ndarray, name: str = "") -> Tensor:
        """Store an array with the weights; equal ones are stored once.

        So weights that several nodes use are in memory once for each form that they are packed in.
        """
        dense = np.ascontiguousarray(array).reshape(array.shape)
        if dense.dtype == np.bool_:
            dense = dense.view(np.uint8)
        content = dense.reshape(-1).view(np.uint8)
        # A checksum of a part would not tell weights apart that differ in a few places.
        key = (str(array.dtype), array.shape, zlib.crc32(content.data))
        alike = self._constants.setdefault(key, [])
        for tensor, other in alike:
            if np.array_equal(content, other):
                return tensor.view(tensor.shape, tensor.strides, name=name)
        buffer, first = self.program.store(dense)
        strides = contiguous_strides(dense.shape)
        tensor = Tensor(buffer, first, str(array.dtype), dense.shape, strides, name)
        alike.append((tensor, content))
        return tensor

    def number(self, value: float) -> Tensor:
        """Store a float32, for kernels that numbers of many nodes share."""
        return self.constant(np.array(value, np.float32))

    def sizes(self, info: Info) -> Tensor:
        """Emit a tensor of sizes, the known contents of a value."""
        tensor = self.new(info.dims, info.dtype, name=info.name)
        sizes = info.sizes()
        self.step(
            store_words, outputs=[tensor], op_type="Shape", y=tensor, itemsize=tensor.itemsize,
            count=len(sizes), words=Record([0, *sizes]),
        )  # fmt: skip
        return tensor

    def ordered(self, tensor: Tensor, order: Sequence[int] | None = None) -> Tensor:
        """Return the tensor dense in memory order ``order``, copied once if it is not.

        A run does not copy what is stored with the weights: it is stored in that order, too.
        """
        strides = contiguous_strides(tensor.shape, order)
        if same_strides(tensor.shape, tensor.strides, strides):
            return tensor.view(tensor.shape, strides)
        stored = self.program.stored(tensor)
        if stored is not None:
            dense = self.constant(stored if order is None else stored.transpose(order))
            return dense.view(tensor.shape, strides, name=tensor.name)

        def reorder() -> Tensor:
            dense = self.new(tensor.shape, tensor.dtype, order, tensor.name)
            self.copy(tensor, dense, "Reorder")
            return dense

        return self.once(tensor, strides, reorder)

    def once(self, tensor: Tensor, form: Any, make: Callable[[], Tensor]) -> Tensor:
        """Return a tensor in another form, which the first call for it makes."""
        key = (tensor.buffer, tensor.offset, tensor.shape, tensor.strides, form)
        if key not in self._reordered:
            self._reordered[key] = make()
        return self._reordered[key]

    def channels_last(self, tensor: Tensor) -> Tensor:
        """Return the tensor with channels of stride 1 and spatial axes in their usual order.

        The pixels may be further apart than the channels need: concatenated buffers are.
        """
        strides = channels_last_strides(tensor.shape, tensor.strides)
        if strides is not None:
            return tensor.view(tensor.shape, strides)
        return self.ordered(tensor, channels_last_order(len(tensor.shape)))

    @contextmanager
    def passed_by(self) -> Iterator[None]:
        """Emit steps that a run may pass by: what they put into another form is forgotten."""
        reordered = len(self._reordered)
        try:
            yield
        finally:
            self._forget(len(self._tensors), reordered)

    # --- bodies -------------------------------------------------------------------------------

    def body(
        self, graph: Graph, inputs: Sequence[Tensor], targets: Sequence[Tensor | None] = ()
    ) -> list[Tensor]:
        """Emit the nodes of a body; returns the tensors of its outputs.

        What its steps give is there within the body only: a run may pass it by.

        Parameters
        ----------
        graph : Graph
        inputs : sequence of Tensor
            Of the body.
        targets : sequence of Tensor or None
            Where the first outputs are wanted, if the steps that compute them can write there;
            nothing in the body may read them.

        Raises
        ------
        OnHost
            A node has no kernel for its inputs.
        """
        outer = self.graph, self.places, self.nodes, self.absorbed
        marks = len(self._tensors), len(self._reordered)
        self.graph, self.absorbed = graph, set()
        self.bodies += 1
        try:
            for value, tensor in zip(graph.inputs, inputs, strict=True):
                self._tensors[value] = tensor
            for value, target in zip(graph.outputs, targets, strict=False):
                if target is not None:
                    self._targets.setdefault(value, target)
            self._emit_nodes(self)
            self.nodes = outer[2]
            return [self.tensor(value) for value in graph.outputs]
        finally:
            self.bodies -= 1
            self.graph, self.places, self.nodes, self.absorbed = outer
            for value in graph.outputs:
                self._targets.pop(value, None)
            self._forget(*marks)

    # --- values of bfloat16 -------------------------------------------------------------------

    @contextmanager
    def taking_halves(self, takes: bool) -> Iterator[None]:
        """Emit a node that reads and writes values which lie as bfloat16 as such, or does not."""
        before, self.takes_halves = self.takes_halves, takes
        try:
            yield
        finally:
            self.takes_halves = before

    # --- attempts -----------------------------------------------------------------------------

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Take back steps, and the values they compute, when one has no kernel (``OnHost``)."""
        marks = self.program.step_count, len(self._tensors), len(self._reordered)
        try:
            yield
        except OnHost:
            self.program.take_back(marks[0])
            self._forget(*marks[1:])
            raise

    def _forget(self, tensors: int, reordered: int) -> None:
        """Forget the tensors of values, and their other forms, but for the first so many."""
        for table, count in ((self._tensors, tensors), (self._reordered, reordered)):
            while len(table) > count:  # what was entered last goes first
                table.popitem()
