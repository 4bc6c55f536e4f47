"""Validity of a ModelProto, checked before anything is built from it.

Every error names the node, the tensor and the reason. The protobuf is read once, without its
large weights (`wire.externalize_weights`), so that a check costs milliseconds for any model.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Mapping, MutableSequence
from typing import NoReturn

import onnx
import onnx_ir as ir
from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto

from ...custom_operators import find
from ...errors import InvalidModel, UnreadableModel, UnsupportedModel
from .adapters import ADAPTERS
from .schemas import introduced, known_domains, schema_of

_ATTRIBUTE_TYPES = {number: name for name, number in AttributeProto.AttributeType.items()}
_TYPES = {number: name for name, number in TensorProto.DataType.items()}
_VALUE_FIELDS = {
    AttributeProto.GRAPH: "g",
    AttributeProto.TENSOR: "t",
    AttributeProto.TYPE_PROTO: "tp",
    AttributeProto.SPARSE_TENSOR: "sparse_tensor",
}


def check_model(model: ModelProto) -> None:
    """Raise an error that names what is wrong with `model`, if anything is.

    Checked are names (unique, produced by somebody, no cycle), operators and their versions,
    numbers of inputs and outputs, attributes, declared against real types and shapes of
    initializers. Nodes out of order are put in order, and imports of domains that are used but
    not declared are added.

    Raises
    ------
    InvalidModel
        The model contradicts itself or the ONNX standard.
    UnsupportedModel
        An operator or an opset is newer than the installed onnx knows.
    """
    if not model.HasField("graph"):
        raise UnreadableModel("not an ONNX model: it holds no graph")
    if not model.ir_version:
        raise UnreadableModel("not an ONNX model: it states no IR version")
    if not model.opset_import and model.ir_version >= 3:
        raise InvalidModel("the model imports no operator set (opset_import is empty)")
    opsets = {_domain(entry.domain): entry.version for entry in model.opset_import}
    if "" not in opsets and model.ir_version < 3:
        opsets[""] = 1
        model.opset_import.add(domain="", version=1)
    _check_text(*(entry.domain for entry in model.opset_import))
    functions = {(_domain(f.domain), f.name): f for f in model.functions}
    _check_opsets(opsets)
    _Scope(opsets, functions).graph(model.graph)
    for function in model.functions:
        own = {_domain(entry.domain): entry.version for entry in function.opset_import}
        _check_opsets(own)
        _Scope(own, functions).function(function)
    for domain in opsets.keys() - {_domain(entry.domain) for entry in model.opset_import}:
        model.opset_import.add(domain=domain, version=1)


def _check_opsets(opsets: Mapping[str, int]) -> None:
    newest = onnx.defs.onnx_opset_version()
    version = opsets.get("", newest)
    if not version >= 1:
        raise InvalidModel(f"opset {version} does not exist; versions count from 1")
    if version > newest:
        raise UnsupportedModel(
            f"the model uses opset {version}; onnx {onnx.__version__}, installed here, knows "
            f"opsets up to {newest}: upgrade onnx or export to an older opset"
        )


class _Scope:
    """Names that are visible to the nodes of the graph that is being checked."""

    def __init__(
        self, opsets: dict[str, int], functions: Mapping[tuple[str, str], FunctionProto]
    ) -> None:
        self.opsets = opsets
        self.functions = functions
        self.visible: set[str] = set()

    def graph(self, graph: GraphProto) -> None:
        where = f"graph {graph.name!r}"
        inputs = [value.name for value in graph.input]
        initializers = [tensor.name for tensor in graph.initializer]
        initializers += [sparse.values.name for sparse in graph.sparse_initializer]
        _check_unique(inputs, f"input of {where}")
        _check_unique(initializers, f"initializer of {where}")
        declared = {value.name: value for value in (*graph.value_info, *graph.input)}
        for tensor in graph.initializer:
            check_tensor(tensor, f"initializer {tensor.name!r}")
            if tensor.name in declared:
                _check_declared(tensor, declared[tensor.name])
        for value in (*graph.input, *graph.output, *graph.value_info):
            _check_value(value, where)
        known = {*inputs, *initializers}
        _reorder(graph.node, self.nodes(list(graph.node), known, where))
        for output in graph.output:
            if output.name not in known:
                hint = ""
                if output.name in self.visible:
                    hint = (
                        "; a value of an outer graph needs an Identity to be the output of a body"
                    )
                raise InvalidModel(
                    f"output {output.name!r} of {where} is produced by no node{hint}"
                )

    def function(self, function: FunctionProto) -> None:
        where = f"function {function.domain}:{function.name}"
        _check_unique(function.input, f"input of {where}")
        known = set(function.input)
        _reorder(function.node, self.nodes(list(function.node), known, where))
        for output in function.output:
            if output not in known:
                raise InvalidModel(f"output {output!r} of {where} is produced by no node")

    def nodes(self, nodes: list[NodeProto], known: set[str], where: str) -> list[NodeProto]:
        """Check the nodes of one graph, return them in order; adds what they produce to `known`."""
        producer: dict[str, int] = {}
        for index, node in enumerate(nodes):
            for output in node.output:
                if output and (output in known or output in producer):
                    raise InvalidModel(
                        f"{describe(node)} produces {output!r}, a name that another value has "
                        f"in {where}"
                    )
                if output:
                    producer[output] = index
        known.update(producer)
        own = known - self.visible
        self.visible |= own
        for node in nodes:
            self.node(node)
        self.visible -= own
        return _in_order(nodes, producer, where)

    def node(self, node: NodeProto) -> None:
        attributes = [attribute.name for attribute in node.attribute]
        _check_text(node.domain, node.op_type, node.name, *node.input, *node.output, *attributes)
        for index, name in enumerate(node.input):
            if name and name not in self.visible:
                raise InvalidModel(
                    f"input {index} of {describe(node)} is {name!r}, which no node produces and "
                    "no initializer or graph input holds"
                )
        domain = _domain(node.domain)
        if domain not in self.opsets:
            if domain == "":
                raise InvalidModel(f"{describe(node)}: the model imports no standard opset")
            self.opsets[domain] = 1
        for attribute in node.attribute:
            self.attribute(node, attribute)
        if (domain, node.op_type) in self.functions:
            _check_call(node, self.functions[domain, node.op_type])
        elif custom := find(domain, node.op_type, self.opsets[domain]):
            custom.check(describe(node), len(node.input), [each.name for each in node.attribute])
        elif domain in known_domains():
            _check_operator(node, domain, self.opsets[domain])

    def attribute(self, node: NodeProto, attribute: AttributeProto) -> None:
        where = f"attribute {attribute.name!r} of {describe(node)}"
        if attribute.type not in _ATTRIBUTE_TYPES or attribute.type == AttributeProto.UNDEFINED:
            raise InvalidModel(f"{where} has the unknown type {attribute.type}")
        if attribute.ref_attr_name:
            return
        field = _VALUE_FIELDS.get(attribute.type)
        if field and not attribute.HasField(field):
            raise InvalidModel(
                f"{where} says it is a {_ATTRIBUTE_TYPES[attribute.type]}, but holds none"
            )
        for tensor in (attribute.t,) if field == "t" else attribute.tensors:
            check_tensor(tensor, where)
        for graph in (attribute.g,) if field == "g" else attribute.graphs:
            self.graph(graph)


def check_tensor(tensor: TensorProto, where: str) -> None:
    """Raise `InvalidModel` unless the tensor's values are as many as its shape says."""
    kind = _TYPES.get(tensor.data_type)
    if kind is None or tensor.data_type == TensorProto.UNDEFINED:
        raise InvalidModel(f"{where} has the unknown element type {tensor.data_type}")
    if any(dim < 0 for dim in tensor.dims):
        raise InvalidModel(f"{where} has a negative dimension: {list(tensor.dims)}")
    if tensor.HasField("segment"):
        raise UnsupportedModel(f"{where} is stored in segments, which no version of ONNX reads")
    if tensor.data_location == TensorProto.EXTERNAL:  # its length is checked where it is mapped
        for entry in tensor.external_data:
            if entry.key in ("offset", "length") and not entry.value.isdecimal():
                raise InvalidModel(f"{where} has external data with {entry.key} {entry.value!r}")
        return
    size = math.prod(tensor.dims)
    if tensor.HasField("raw_data"):
        if kind == "STRING":
            raise InvalidModel(f"{where} holds strings as raw data, which ONNX forbids")
        have, unit = len(tensor.raw_data), "bytes"
        want = math.ceil(size * ir.DataType(tensor.data_type).bitwidth / 8)
    else:
        have, unit = len(getattr(tensor, _storage(tensor.data_type))), "values"
        want = _stored(tensor.data_type, size)
    if have != want:
        raise InvalidModel(
            f"{where} is declared {kind}{list(tensor.dims)}, which takes {want} {unit}, "
            f"but holds {have}"
        )


def describe(node: NodeProto) -> str:
    """Name a node for an error message, by its output where it has no name."""
    domain = f"{node.domain}." if _domain(node.domain) else ""
    name = repr(node.name) if node.name else f"producing {', '.join(map(repr, node.output))}"
    return f"{domain}{node.op_type} node {name}"


@functools.cache
def _storage(kind: int) -> str:
    return onnx.helper.tensor_dtype_to_field(kind)


def _stored(kind: int, size: int) -> int:
    """Return how many entries of the typed fields of a TensorProto hold `size` elements."""
    if kind in (TensorProto.COMPLEX64, TensorProto.COMPLEX128):
        return 2 * size
    bits = 8 if kind == TensorProto.STRING else ir.DataType(kind).bitwidth
    return math.ceil(size * bits / 8) if bits < 8 else size


def _check_declared(tensor: TensorProto, declared: onnx.ValueInfoProto) -> None:
    kind = declared.type.tensor_type
    if kind.elem_type and kind.elem_type != tensor.data_type:
        raise InvalidModel(
            f"initializer {tensor.name!r} holds {_TYPES[tensor.data_type]}, but is declared "
            f"{_TYPES.get(kind.elem_type, kind.elem_type)}"
        )
    if not kind.HasField("shape"):
        return
    dims = [d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim]
    if len(dims) != len(tensor.dims) or any(
        want is not None and want != have for want, have in zip(dims, tensor.dims, strict=True)
    ):
        raise InvalidModel(
            f"initializer {tensor.name!r} has the shape {list(tensor.dims)}, but is declared {dims}"
        )


def _check_value(value: onnx.ValueInfoProto, where: str) -> None:
    if value.type.HasField("tensor_type"):
        kind = value.type.tensor_type
        if kind.elem_type not in _TYPES:
            raise InvalidModel(
                f"{value.name!r} in {where} has the unknown element type {kind.elem_type}"
            )
        if any(dim.dim_value < 0 for dim in kind.shape.dim if dim.HasField("dim_value")):
            for dim in kind.shape.dim:  # some exporters write -1 for "any size"
                if dim.dim_value < 0:
                    dim.ClearField("dim_value")


def _check_text(*texts: str) -> None:
    for text in texts:
        if isinstance(text, bytes):  # protobuf's value where the bytes are not UTF-8
            raise InvalidModel(f"the model is damaged: {text!r} is not text (not UTF-8)")


def _check_unique(names: Iterable[str], what: str) -> None:
    seen: set[str] = set()
    for name in names:
        _check_text(name)
        if not name:
            raise InvalidModel(f"an {what} has no name")
        if name in seen:
            raise InvalidModel(f"the name {name!r} is used for more than one {what}")
        seen.add(name)


def _in_order(nodes: list[NodeProto], producer: Mapping[str, int], where: str) -> list[NodeProto]:
    """Return the nodes so that each follows those it reads from (same list if it did).

    Nodes that are read too early move forward; the order stays otherwise.
    """
    needs = [{producer[name] for name in _read(node) if name in producer} for node in nodes]
    if all(max(need, default=-1) < index for index, need in enumerate(needs)):
        return nodes
    ordered: list[NodeProto] = []
    path: dict[int, Iterator[int]] = {}  # from a node to what it reads, and what is left to visit
    done: set[int] = set()
    for start in range(len(nodes)):
        waiting = iter([start])
        while True:
            index = next((each for each in waiting if each not in done), None)
            if index is not None:
                if index in path:
                    _refuse_cycle([nodes[each] for each in path], nodes[index], where)
                waiting = path[index] = iter(sorted(needs[index]))
            elif path:
                index, _ = path.popitem()
                done.add(index)
                ordered.append(nodes[index])
                waiting = next(reversed(path.values()), iter(()))
            else:
                break
    return ordered


def _refuse_cycle(path: list[NodeProto], again: NodeProto, where: str) -> NoReturn:
    """Refuse a path on which each node reads from the next, and the last from one before it."""
    start = next(index for index, node in enumerate(path) if node is again)
    names = " ← ".join(describe(node) for node in [*path[start:], again])
    raise InvalidModel(f"{where} has a cycle: {names}")


def _reorder(field: MutableSequence[NodeProto], nodes: list[NodeProto]) -> None:
    if any(have is not want for have, want in zip(field, nodes, strict=True)):
        copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del field[:]
        field.extend(copies)


def _read(node: NodeProto) -> Iterable[str]:
    """Yield what a node reads, the values its inner graphs capture included."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from _read(inner)
            yield from (output.name for output in graph.output)


def _check_call(node: NodeProto, function: FunctionProto) -> None:
    if len(node.input) > len(function.input) or len(node.output) > len(function.output):
        raise InvalidModel(
            f"{describe(node)} has {len(node.input)} inputs and {len(node.output)} outputs; the "
            f"function takes {len(function.input)} and returns {len(function.output)}"
        )


def _check_operator(node: NodeProto, domain: str, version: int) -> None:
    schema = schema_of(node.op_type, domain, version)
    opset = f"opset {version}" + (f" of {domain}" if domain else "")
    if schema is None:
        known = introduced(node.op_type, domain)
        hint = f"; opset {known} introduced it" if known > version else ""
        raise UnsupportedModel(f"{describe(node)}: {opset} has no such operator{hint}")
    if schema.deprecated and not any(
        later > version and changed == node.op_type for later, changed in ADAPTERS
    ):
        raise UnsupportedModel(
            f"{describe(node)}: the operator was deprecated in opset {schema.since_version}, "
            f"and the model uses {opset}"
        )
    while node.input and not node.input[-1]:  # trailing absent inputs are none
        del node.input[-1]
    for what, names, least, most in (
        ("inputs", node.input, schema.inputs, schema.most_inputs),
        ("outputs", node.output, schema.outputs, schema.most_outputs),
    ):
        if not least <= len(names) <= most:
            span = f"{least}" if least == most else f"{least} to {most}"
            span = f"at least {least}" if most >= 2**31 - 1 else span
            raise InvalidModel(f"{describe(node)} has {len(names)} {what}; {opset} says {span}")
    attributes = {attribute.name: attribute for attribute in node.attribute}
    if len(attributes) != len(node.attribute):
        raise InvalidModel(f"{describe(node)} states an attribute twice")
    for name, attribute in attributes.items():
        if name not in schema.attributes:
            raise InvalidModel(f"{describe(node)}: {opset} has no attribute {name!r}")
        if attribute.type != schema.attributes[name]:
            want = _ATTRIBUTE_TYPES[schema.attributes[name]]
            raise InvalidModel(
                f"attribute {name!r} of {describe(node)} is a "
                f"{_ATTRIBUTE_TYPES[attribute.type]}; {opset} says {want}"
            )
    for name in schema.required - attributes.keys():
        raise InvalidModel(f"{describe(node)} lacks the attribute {name!r}")


def _domain(name: str) -> str:
    return "" if name == "ai.onnx" else name
