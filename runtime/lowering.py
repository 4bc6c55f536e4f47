"""Lowering: an optimized model becomes a program.

Four walks over the nodes, in this order: shape rules (``graph.Info`` of every value), fusion
groups (``fusion``), places of concatenated values (``placement``), and emission of steps by the
operators' own lowerings (``ops``). Layout is not a phase of its own: tensors carry strides, each
lowering asks for the order it needs, and a conversion is emitted once, where it is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from .. import InvalidModel
from ..kernels.registry import Kernel
from . import symbolic
from .choices import Choices
from .fusion import Group, find_groups
from .graph import Graph, Info, Node, OnHost
from .ops import OPERATORS
from .overwrites import Overwrites
from .placement import find_places
from .program import (
    ADDRESS,
    ARENA,
    HOST,
    INPUT,
    KERNEL,
    OUTPUT,
    RECORD,
    VALUE,
    WEIGHTS,
    Check,
    HostStep,
    Port,
    Program,
    Step,
    Stretch,
    TensorSpec,
)
from .shape_inference import infer_shapes
from .strips import find_chains, join
from .symbolic import Dim, Expr, product, sum_dims
from .tensors import (
    Buffer,
    Pending,
    Record,
    Tensor,
    channels_last_order,
    contiguous_strides,
    same_strides,
    words_of,
)
from .validity import naming

_LINE = 64
_PAGE = 1024
"""Bytes between pixels that are better avoided, with multiples."""


@dataclass
class _Emitted:
    steps: list[Step] = field(default_factory=list)
    hosts: list[HostStep] = field(default_factory=list)
    stretches: list[Stretch] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)


class Lowering:
    """State of the lowering of one model, and what operators' lowerings call.

    Parameters
    ----------
    graph : Graph
        Of which everything is inferred.
    options : dict
        ``precision``: ``"fp32"``, ``"strict"`` or ``"bf16_weights"``; ``choices``: forms of steps
        by the names of nodes (``choices``).
    """

    def __init__(self, graph: Graph, options: dict[str, Any]) -> None:
        self.graph = graph
        self.infos = graph.infos
        self.options = options
        self.choices = Choices(options.get("choices", {}))
        self.code = symbolic.Code()
        self.threads = symbolic.symbol("threads")
        self._buffers: list[Buffer] = []
        self._overwrites = Overwrites()
        self._tensors: dict[ir.Value, Tensor] = {}
        self._converted: dict[tuple[int, tuple[Dim, ...]], Tensor] = {}
        self._weights: list[np.ndarray] = []
        self._weight_bytes = 0
        self._constants: dict[object, Tensor] = {}
        self._specs: list[TensorSpec] = []
        self._spec_index: dict[int, int] = {}
        self._kept: list[Tensor] = []
        self._kernels: dict[Any, int] = {}
        self._words: list[int] = []
        self._patches: list[tuple[int, int, Any, Any]] = []
        self._out = _Emitted()
        self._time = 0
        self._phase = 0
        self._start = 0
        self._current: Node | None = None
        self._group: Sequence[Node] = ()
        self._caught: list[Pending] | None = None
        self.places: dict[ir.Value, tuple[ir.Value, Dim]] = {}
        self._outputs = frozenset(graph.outputs)
        self._given: set[Buffer] = set()

    # --- memory -------------------------------------------------------------------------------

    def buffer(self, kind: int, size: Dim) -> Buffer:
        """Create a buffer of a number of bytes."""
        made = Buffer(kind, size, len(self._buffers), self._phase)
        self._buffers.append(made)
        return made

    def new(
        self, shape: Sequence[Dim], dtype: str, order: Sequence[int] | None = None, name: str = ""
    ) -> Tensor:
        """Create a dense tensor in the arena."""
        own = tuple(shape)
        size = product(own) * np.dtype(dtype).itemsize
        strides = contiguous_strides(own, order)
        return Tensor(self.buffer(ARENA, size), 0, dtype, own, strides, name)

    def workspace(self, bytes_per_thread: Dim) -> Tensor:
        """Create scratch memory of one step: so many bytes for each thread."""
        size = (bytes_per_thread + 63) // 64 * 64 * self.threads
        buffer = self.buffer(ARENA, size)
        buffer.is_scratch = True
        return Tensor(buffer, 0, "uint8", (size,), (1,))

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
        if value in self.places and order is not None:
            root, offset = self.places[value]
            whole = self._place_of(root)
            tensor = whole.view(info.dims, whole.strides, offset * whole.strides[1], info.name)
        elif value in self._outputs and self._is_plain(info.dims, order):
            buffer = self.buffer(OUTPUT, product(info.dims) * np.dtype(info.dtype).itemsize)
            strides = contiguous_strides(info.dims)
            tensor = Tensor(buffer, 0, info.dtype, info.dims, strides, info.name)
        else:
            tensor = self._new_value(info, order)
        self._tensors[value] = tensor
        return tensor

    def _new_value(self, info: Info, order: Sequence[int] | None) -> Tensor:
        """Create the tensor of a value; pixels a page apart get another distance.

        Neighbouring pixels would compete for the same few lines of the first cache, and look to
        the processor as if a load depended on the store before it.
        """
        shape = info.dims
        bytes_ = shape[1] * np.dtype(info.dtype).itemsize if len(shape) > 2 else 0
        pixels = product(shape[2:])
        if order != channels_last_order(len(shape)) or not isinstance(bytes_, int):
            return self.new(shape, info.dtype, order, info.name)
        if not bytes_ or bytes_ % _PAGE or pixels == 1:
            return self.new(shape, info.dtype, order, info.name)
        wide = (shape[0], shape[1] + _LINE // np.dtype(info.dtype).itemsize, *shape[2:])
        made = self.new(wide, info.dtype, order, info.name)
        return made.view(shape, made.strides)

    def _is_plain(self, shape: Sequence[Dim], order: Sequence[int] | None) -> bool:
        strides = contiguous_strides(shape, order)
        return same_strides(shape, strides, contiguous_strides(shape))

    def _place_of(self, root: ir.Value) -> Tensor:
        if root not in self._tensors:
            info = self.infos[root]
            self._tensors[root] = self._new_value(info, channels_last_order(info.rank))
        return self._tensors[root]

    def set(self, node: Node, tensor: Tensor, index: int = 0) -> None:
        """Let a node's output be a view that needs no step."""
        tensor.name = node.infos[index].name
        self._tensors[node.outputs[index]] = tensor

    def is_whole(self, tensor: Tensor) -> bool:
        """Tell whether a tensor fills its memory densely, in whatever order."""
        axes = sorted(range(len(tensor.shape)), key=lambda a: tensor.strides[a] == 1)
        dense = contiguous_strides(tensor.shape, axes)
        return same_strides(tensor.shape, dense, tensor.strides)

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
            return self._constants[key]
        dense = np.ascontiguousarray(array).reshape(array.shape)
        if dense.dtype == np.bool_:
            dense = dense.view(np.uint8)
        buffer = self.buffer(WEIGHTS, dense.nbytes)
        offset = self._weight_bytes
        self._weight_bytes += -(-dense.nbytes // 64) * 64
        self._weights.append(dense)
        dtype = str(array.dtype)
        strides = contiguous_strides(dense.shape)
        tensor = Tensor(buffer, offset, dtype, dense.shape, strides, name)
        # The caller's array is kept with its tensor: a freed address could be used again.
        tensor.source = array  # type: ignore[attr-defined]
        self._constants[key] = tensor
        return tensor

    def _store_known(self, info: Info) -> Tensor:
        from ..kernels.cpu.words import store_words

        tensor = self.new(info.dims, info.dtype, name=info.name)
        words = Record([0, *info.sizes()])
        self.step(
            store_words,
            outputs=[tensor],
            op_type="Shape",
            y=tensor,
            itemsize=tensor.itemsize,
            count=len(words.fields) - 1,
            words=words,
        )
        return tensor

    def ordered(self, tensor: Tensor, order: Sequence[int] | None = None) -> Tensor:
        """Return the tensor dense in memory order ``order``, copied once if it is not."""
        strides = contiguous_strides(tensor.shape, order)
        if same_strides(tensor.shape, tensor.strides, strides):
            return tensor.view(tensor.shape, strides)
        return self._convert(tensor, strides)

    def channels_last(self, tensor: Tensor) -> Tensor:
        """Return the tensor with channels of stride 1 and spatial axes in their usual order.

        The pixels may be further apart than the channels need: concatenated buffers are.
        """
        shape, strides = tensor.shape, list(tensor.strides)
        last = len(shape) - 1
        if shape[1] == 1:
            strides[1] = 1
        steps: Dim = strides[last]
        for axis in range(last - 1, 1, -1):
            steps = steps * shape[axis + 1]
            if shape[axis] == 1:
                strides[axis] = steps
            elif strides[axis] != steps:
                return self.ordered(tensor, channels_last_order(len(shape)))
            steps = strides[axis]
        if all(n == 1 for n in shape[2:]):
            strides[2:] = contiguous_strides(shape, channels_last_order(len(shape)))[2:]
        if strides[1] == 1:
            return tensor.view(shape, strides)
        return self.ordered(tensor, channels_last_order(len(shape)))

    def _convert(self, tensor: Tensor, strides: tuple[Dim, ...]) -> Tensor:
        key = (id(tensor.buffer), (tensor.offset, *tensor.shape, *tensor.strides, *strides))
        if key not in self._converted:
            dense = Tensor(
                self.buffer(ARENA, tensor.nbytes), 0, tensor.dtype, tensor.shape, strides,
                tensor.name,
            )  # fmt: skip
            self.copy(tensor, dense, "Reorder")
            self._converted[key] = dense
        return self._converted[key]

    def copy(self, source: Tensor, target: Tensor, op_type: str = "Copy") -> None:
        """Emit a step that copies elements; both tensors have the same shape."""
        from .ops.movement import emit_copy

        emit_copy(self, source, target, op_type)

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
        nodes = nodes or self._group or ([self._current] if self._current else [])
        op_type = op_type or "+".join(node.op_type for node in nodes)
        names = [node.name for node in nodes]
        step = Pending(kernel, outputs, op_type, names, flops, traffic, extra, over, fields)
        if self._caught is None:
            self._place(step)
        else:
            self._caught.append(step)

    @property
    def is_catching(self) -> bool:
        """Tell whether steps are caught, perhaps to be run on a part of their rows at a time."""
        return self._caught is not None

    @contextmanager
    def _catching(self) -> Iterator[list[Pending]]:
        """Catch steps instead of placing them."""
        self._caught = []
        try:
            yield self._caught
        finally:
            self._caught = None

    def _place(self, step: Pending) -> None:
        record = Record(words_of(step.kernel, step.fields))
        used: list[Tensor] = [*step.outputs, *step.extra]
        position = self._place_record(record, used)
        for tensor in used:
            self._touch(tensor)
        self._overwrites.allow(self._time, step.outputs[0], step.over, used)
        layout = "channels_last" if step.outputs[0].is_channels_last else "plain"
        bytes_ = (t.nbytes for t in _distinct(used) if not t.buffer.is_scratch)
        self._out.steps.append(
            Step(
                self._kernel_index(step.kernel),
                position,
                step.nodes[-1] if step.nodes else step.outputs[0].name,
                step.op_type,
                step.nodes,
                [self._spec(tensor) for tensor in step.outputs],
                layout,
                self.code.slot(step.flops),
                self.code.slot(step.traffic or sum_dims(bytes_)),
            )
        )
        self._time += 1

    def _kernel_index(self, kernel: Kernel) -> int:
        return self._kernels.setdefault(kernel.ref, len(self._kernels))

    def _place_record(self, record: Record, used: list[Tensor]) -> int:
        """Write a record and those it points to into the words; lists the tensors it uses."""
        for item in record.fields:
            if isinstance(item, Record) and item.position < 0:
                self._place_record(item, used)
        record.position = len(self._words)
        for item in record.fields:
            word = len(self._words)
            self._words.append(0)
            if isinstance(item, Tensor):
                used.append(item)
                self._patches.append((word, ADDRESS, item.buffer, item.offset))
            elif isinstance(item, Record):
                self._patches.append((word, RECORD, item.position, 0))
            elif isinstance(item, Kernel):
                self._patches.append((word, KERNEL, self._kernel_index(item), 0))
            elif isinstance(item, Expr):
                self._patches.append((word, VALUE, item, 0))
            elif item is not None:
                self._words[word] = int(item)
        return record.position

    def _touch(self, tensor: Tensor) -> None:
        buffer = tensor.buffer
        buffer.first = min(buffer.first, self._time)
        buffer.last = max(buffer.last, self._time)

    def _spec(self, tensor: Tensor) -> int:
        if id(tensor) not in self._spec_index:
            slot = self.code.slot
            self._kept.append(tensor)
            self._spec_index[id(tensor)] = len(self._specs)
            self._specs.append(
                TensorSpec(
                    tensor.buffer.index,
                    slot(tensor.offset),
                    tensor.dtype,
                    [slot(dim) for dim in tensor.shape],
                    [slot(stride) for stride in tensor.strides],
                    tensor.name,
                )
            )
        return self._spec_index[id(tensor)]

    def check(self, left: Dim, right: Dim, message: str, broadcast: bool = False) -> None:
        """Demand at run time that two sizes are equal (or, broadcasting, that left is 1)."""
        if isinstance(left, int) and isinstance(right, int):
            if left != right and not (broadcast and left == 1):
                raise InvalidModel(f"{message}: {left} and {right}")
        elif left != right:
            slot = self.code.slot
            self._out.checks.append(Check(slot(left), slot(right), broadcast, message, self._phase))

    def check_some(self, count: Dim, wanted: Dim, message: str) -> None:
        """Demand that there is something to make results of, if results are wanted at all."""
        empty = symbolic.maximum(0, 1 - count)
        self.check(empty * wanted, 0, f"{message} of nothing, in number")

    # --- host ---------------------------------------------------------------------------------

    def _emit_host(self, node: Node) -> None:
        from .host import HostOp

        operator = HostOp(node.ir, self.graph.opsets)
        inputs = [None if value is None else self.tensor(value) for value in node.values]
        outer = {value.name: value for value in self.infos}
        captured = {name: self.tensor(outer[name]) for name in operator.captured_names}
        for tensor in [*inputs, *captured.values()]:
            if tensor is not None:
                self._touch(tensor)
        outputs = []
        defined = self.graph.read_sizes.get(node.index, [])
        if defined:
            self._phase += 1
        for value, info in zip(node.outputs, node.infos, strict=True):
            shape = info.shape or ()
            dtype = info.dtype if info.shape is not None else "object"
            buffer = self.buffer(HOST, 0)
            strides = contiguous_strides(shape)
            self._tensors[value] = Tensor(buffer, 0, dtype, shape, strides, info.name)
            outputs.append(self._spec(self._tensors[value]) if value.name else -1)
        symbols = []
        for position, axis, name in defined:
            self.code.slot(symbolic.symbol(name))
            symbols.append((position, axis, self.code.symbols.index(name)))
        self._out.hosts.append(
            HostStep(
                operator.to_bytes(),
                node.name,
                node.op_type,
                [-1 if tensor is None else self._spec(tensor) for tensor in inputs],
                outputs,
                {name: self._spec(tensor) for name, tensor in captured.items()},
                symbols,
            )
        )
        steps = len(self._out.steps)
        self._out.stretches.append(Stretch(self._start, steps, len(self._out.hosts) - 1))
        self._start = steps
        self._time += 1

    # --- the whole ----------------------------------------------------------------------------

    def lower(self) -> Program:
        """Lower the model.

        Raises
        ------
        InvalidModel, UnsupportedModel
            Naming the node.
        """
        groups = find_groups(self.graph)
        self.places = find_places(self.graph)
        for value in self.graph.inputs:
            self._tensors[value] = self._input_tensor(value)
        chains = find_chains(self.graph, groups, self.places)
        for node in self.graph.nodes:
            chain = chains.get(node.index)
            if chain is None:
                self._emit(node, groups)
            elif chain[-1].last is node and not self._emit_chain(chain):
                for group in chain:
                    self._emit(group.last, groups)
        self.choices.check()
        ports = [self._output_port(value) for value in self.graph.outputs]
        self._out.stretches.append(Stretch(self._start, len(self._out.steps)))
        return self._finish(ports)

    def _emit(self, node: Node, groups: dict[int, Group]) -> None:
        group = groups.get(node.index)
        if group is not None and group.last is not node:
            return
        if node.index in self.graph.why_host:
            self._emit_host(node)
            return
        if all(info.known is not None for info in node.infos):
            return
        self._current = node
        self._group = group.nodes if group is not None else (node,)
        made = len(self._out.steps), len(self._tensors), len(self._converted)
        try:
            with naming(node):
                if group is not None:
                    group.emit(self)
                else:
                    OPERATORS[node.ir.domain, node.op_type].lower(self, node)
        except OnHost as reason:
            self._take_back(*made)
            product = [group.gate.product] if group is not None and group.gate else []
            for member in (*product, *self._group):
                self.graph.why_host[member.index] = str(reason)
                self._emit_host(member)
        self._current, self._group = None, ()

    def _emit_chain(self, chain: Sequence[Group]) -> bool:
        """Emit groups that may run joined; False when one of them has no kernel."""
        made = len(self._out.steps), len(self._tensors), len(self._converted)
        try:
            with self._catching() as steps:
                for group in chain:
                    self._current, self._group = group.last, group.nodes
                    with naming(group.last):
                        group.emit(self)
        except OnHost:
            self._take_back(*made)
            return False
        finally:
            self._current, self._group = None, ()
        for step in join(self, steps):
            self._place(step)
        return True

    def _take_back(self, steps: int, tensors: int, converted: int) -> None:
        """Forget steps, and the values they compute, when one shows that there is no kernel."""
        del self._out.steps[steps:]
        # What was entered last goes first.
        while len(self._tensors) > tensors:
            self._tensors.popitem()
        while len(self._converted) > converted:
            self._converted.popitem()

    def _input_tensor(self, value: ir.Value) -> Tensor:
        info = self.infos[value]
        if info.shape is None or info.dtype == "object":
            return Tensor(self.buffer(HOST, 0), 0, "object", (), (), info.name)
        strides = contiguous_strides(info.dims)
        return Tensor(self.buffer(INPUT, 0), 0, info.dtype, info.dims, strides, info.name)

    def _output_port(self, value: ir.Value) -> Port:
        tensor = self.tensor(value)
        info = self.infos[value]
        if tensor.buffer.kind != HOST and (
            tensor.buffer.kind != OUTPUT
            or value not in self._outputs
            or self._shares_output(value, tensor)
        ):
            buffer = self.buffer(OUTPUT, tensor.nbytes)
            strides = contiguous_strides(info.dims)
            target = Tensor(buffer, 0, tensor.dtype, tensor.shape, strides, info.name)
            self.copy(tensor, target, "Output")
            tensor = target
        dims = [d if isinstance(d, int) else repr(d) for d in info.shape or ()]
        declared = None if info.shape is None else dims
        return Port(info.name, info.dtype, declared, self._spec(tensor))  # type: ignore[arg-type]

    def _shares_output(self, value: ir.Value, tensor: Tensor) -> bool:
        """Tell whether another output already owns this memory, or it is only a part of it."""
        taken = tensor.buffer in self._given
        self._given.add(tensor.buffer)
        dense = tensor.offset == 0 and tensor.is_contiguous
        return taken or not dense or tensor.buffer.size != tensor.nbytes

    def _input_port(self, value: ir.Value) -> Port:
        info = self.infos[value]
        tensor = self._spec(self._tensors[value])
        kind = "tensor" if info.dtype != "object" else "object"
        if value.dtype == ir.DataType.STRING and isinstance(value.type, ir.TensorType):
            kind = "string"
        if info.shape is None:
            return Port(info.name, info.dtype, None, tensor, kind=kind)
        symbols, dims = [], []
        for dim in info.shape:
            name = None if isinstance(dim, int) else repr(dim)
            dims.append(dim if isinstance(dim, int) else name)
            if name is not None:
                self.code.slot(dim)
            symbols.append(-1 if name is None else self.code.symbols.index(name))
        return Port(info.name, info.dtype, dims, tensor, symbols, kind=kind)

    def _finish(self, outputs: list[Port]) -> Program:
        inputs = [self._input_port(value) for value in self.graph.inputs]
        self._overwrites.settle()
        for spec in self._specs:
            spec.buffer = self._overwrites.place(self._buffers[spec.buffer]).index
        patches = self._final_patches()
        slot = self.code.slot
        buffers = [[b.kind, slot(b.size), b.first, b.last, b.phase] for b in self._buffers]
        tables = (np.array(rows, np.int64) for rows in (buffers, self._words, patches))
        buffer_table, words, patch_table = tables
        code = np.array(self.code.instructions, np.int64).reshape(-1, 3)
        return Program(
            inputs, outputs, self.code.symbols, self._specs, list(self._kernels),
            self._out.steps, self._out.hosts, self._out.stretches, self._out.checks,
            self._metadata(), code, buffer_table.reshape(-1, 5), words, patch_table.reshape(-1, 4),
            self._weight_blob(),
        )  # fmt: skip

    def _final_patches(self) -> list[tuple[int, int, int, int]]:
        slot = self.code.slot
        done = []
        for word, kind, a, b in self._patches:
            if kind == VALUE:
                done.append((word, kind, slot(a), 0))
            elif kind == ADDRESS:
                done.append((word, kind, self._overwrites.place(a).index, slot(b)))
            else:
                done.append((word, kind, a, b))
        return done

    def _weight_blob(self) -> np.ndarray:
        blob = np.zeros(self._weight_bytes, np.uint8)
        at = 0
        for array in self._weights:
            blob[at : at + array.nbytes] = array.reshape(-1).view(np.uint8)
            at += -(-array.nbytes // 64) * 64
        self._weights.clear()
        return blob

    def _metadata(self) -> dict[str, Any]:
        host = {self.graph.nodes[i].name: why for i, why in self.graph.why_host.items()}
        return {"host": host, "forms": self.choices.offered, **self.options}


def _distinct(tensors: Sequence[Tensor]) -> list[Tensor]:
    return list({(id(t.buffer), t.offset): t for t in tensors}.values())


def lower(model: ir.Model, options: dict[str, Any] | None = None) -> Program:
    """Lower an optimized model to a program; see :class:`Lowering`."""
    return Lowering(infer_shapes(model), {"precision": "fp32", **(options or {})}).lower()
