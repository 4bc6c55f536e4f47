"""Operators run on the host by onnx's reference implementation, until they have a kernel.

The bodies of an operator may be computed by programs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from ..errors import KernelError, UnsupportedModel
from ..reference import evaluator
from ..reference.loop import Loop
from ..reference.operator import Mover
from .host_shapes import serialized
from .objects import copied

Body: TypeAlias = Callable[[Mapping[str, Any]], list[Any]]


class HostOp:
    """One node, ready to run on numpy arrays (strings as object arrays, sequences as lists).

    Parameters
    ----------
    node : onnx_ir.Node
    name : str
        What errors call the node, which need not have a name.
    opsets : mapping
        Opset version of each domain.

    Raises
    ------
    UnsupportedModel
        There is no implementation of the operator.

    Attributes
    ----------
    moves : bool
        Whether the results are inputs or parts of them, or values of their own; none is changed.
    """

    def __init__(self, node: ir.Node, name: str, opsets: Mapping[str, int]) -> None:
        proto = serialized(node)
        proto.name = name
        self._prepare(proto, dict(opsets))

    def _prepare(self, proto: onnx.NodeProto, opsets: dict[str, int]) -> None:
        self.name, self.op_type = proto.name, proto.op_type
        self.captured_names = sorted(_captured(proto))
        self._inputs = list(proto.input)
        names = dict.fromkeys([*filter(None, proto.input), *self.captured_names])
        graph = onnx.helper.make_graph(
            [proto],
            "host",
            [onnx.ValueInfoProto(name=name) for name in names],
            [onnx.ValueInfoProto(name=name) for name in proto.output if name],
        )
        self._writes_inputs = False
        self._is_wanted = [bool(name) for name in proto.output]
        imports = [onnx.helper.make_opsetid(d, v) for d, v in opsets.items()]
        self._model = onnx.helper.make_model(graph, opset_imports=imports)
        try:
            (self._node,) = evaluator(self._model).rt_nodes_
        except Exception as error:
            domain = proto.domain or "ai.onnx"
            raise UnsupportedModel(
                f"node {proto.name!r}: no implementation of {domain}.{proto.op_type} "
                f"(opset {opsets.get(proto.domain)}): {error}"
            ) from error
        self.moves = isinstance(self._node, Mover)
        self._needs_context = self._node.need_context()

    def compute_bodies(self, bodies: Mapping[str, Body]) -> None:
        """Let functions compute the bodies of the node, by attribute.

        A function is given all values there are by name, and gives those of the body's outputs.
        """
        for name, body in bodies.items():
            setattr(self._node, f"_run_{name}", lambda feeds, body=body, **_: body(feeds))

    def limit_iterations(self, most: int | None) -> None:
        """Let loops, also those in bodies, fail beyond so many iterations."""
        pending = [self._node]
        while pending:
            node = pending.pop()
            if isinstance(node, Loop):
                node.most = most
            for name in node.attributes_names_:
                if isinstance(graph := getattr(node, name, None), ReferenceEvaluator):
                    pending += graph.rt_nodes_

    def run(self, inputs: Sequence[Any], captured: Mapping[str, Any]) -> list[Any]:
        """Run the node.

        Parameters
        ----------
        inputs : sequence
            A value for each input, None for omitted ones. Read-only arrays are not changed, also by
            an implementation that writes into its inputs: it is given copies.
        captured : mapping
            Values that subgraphs use, by name (``captured_names``).

        Raises
        ------
        KernelError
            The operator failed; names the node and the shapes it was given.
        """
        try:
            results = self._results(inputs, captured)
            return [
                _as_array(results[index]) if is_wanted else None
                for index, is_wanted in enumerate(self._is_wanted)
            ]
        except Exception as error:
            feeds = self._feeds(inputs, captured)
            shapes = {name: getattr(value, "shape", type(value)) for name, value in feeds.items()}
            raise KernelError(
                f"node {self.name!r} ({self.op_type}) with inputs {shapes}: {error}"
            ) from error

    def _feeds(self, inputs: Sequence[Any], captured: Mapping[str, Any]) -> dict[str, Any]:
        named = zip(self._inputs, inputs, strict=True)
        return {**{name: value for name, value in named if name}, **captured}

    def _results(self, inputs: Sequence[Any], captured: Mapping[str, Any]) -> Sequence[Any]:
        if not self._writes_inputs:
            try:
                return self._compute(inputs, captured)
            except ValueError as error:
                if "read-only" not in str(error):  # numpy's word where it may not write
                    raise
                self._writes_inputs = True
        return self._compute(copied(inputs), copied(captured))

    def _compute(self, inputs: Sequence[Any], captured: Mapping[str, Any]) -> Sequence[Any]:
        """Call the operator itself: an evaluator takes ten times as long as most of them."""
        if self._needs_context:
            return self._node.run(*inputs, context=self._feeds(inputs, captured))
        return self._node.run(*inputs)

    def to_bytes(self) -> bytes:
        """Serialize, for the program's artifact."""
        return bytes(self._model.SerializeToString())

    @classmethod
    def from_bytes(cls, data: bytes) -> HostOp:
        """Restore what `to_bytes` gave."""
        model = onnx.ModelProto.FromString(data)
        operator = cls.__new__(cls)
        operator._prepare(model.graph.node[0], {o.domain: o.version for o in model.opset_import})
        return operator


def _as_array(value: Any) -> Any:
    if type(value) is np.ndarray:  # onnxruntime gives strings as objects
        return value.astype(object) if value.dtype.kind == "U" else value
    return np.asarray(value) if isinstance(value, np.generic | int | float | bool) else value


def _captured(node: onnx.NodeProto) -> set[str]:
    """Names that subgraphs of a node take from outside."""
    names: set[str] = set()
    for attribute in node.attribute:
        for graph in (
            [attribute.g, *attribute.graphs] if attribute.HasField("g") else attribute.graphs
        ):
            own = {i.name for i in graph.input} | {i.name for i in graph.initializer}
            for inner in graph.node:
                names |= ({name for name in inner.input if name} | _captured(inner)) - own
                own |= set(inner.output)
            names |= {o.name for o in graph.output} - own
    return names
