"""Loader of ONNX models: checked, with mapped weights and types, at the canonical opset."""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from ...declarations import keep_aside, restore
from ...errors import (
    InvalidArgument,
    InvalidModel,
    SardonyxError,
    UnreadableModel,
    UnsupportedModel,
)
from .check import check_model
from .contrib import mark_contrib_nodes, standardize
from .map_types import note_map_types
from .opset import OPSET_NOTE, newest_opset
from .scales import warn_of_scales
from .scopes import make_names_unique
from .shape_inference import infer
from .sparse import SPARSE_LIMIT, densify
from .unsafe import hide_unsafe_nodes, reveal_unsafe_nodes
from .upgrade import upgrade
from .wire import SAME_FILE, SMALL_TENSOR, externalize_weights

if TYPE_CHECKING:
    Path = str | os.PathLike[str]

_ARTIFACT = b"sardonyx-"
"""How files of ``Session.save`` begin."""

_IN_MEMORY = "\0in memory"
"""The ``location`` of external data that means: a tensor of the `onnx_ir.Model` that is loaded."""


def from_onnx(
    source: Path | bytes | onnx.ModelProto | ir.Model,
    base_dir: Path | None = None,
    sparse_limit: int | None = None,
    trusted: bool = False,
) -> ir.Model:
    """Read, check and normalize an ONNX model.

    Functions are inlined, nodes are in order, types and shapes are inferred where they can be, and
    the standard opset is `CANONICAL_OPSET`. Initializers are no longer graph inputs in models of
    IR version 3, which had to list all; since version 4 those that are listed are defaults. A model
    with a node that this opset cannot express, or that onnxruntime lacks there, or with a newer
    opset, stays at the newest one possible, and says why in ``metadata_props["sardonyx.opset"]``.

    Parameters
    ----------
    source
        A file, its bytes, or a model in memory, which is left as it is. Files of any size; weights
        are not read but mapped, so a file must not be written over while its model is in use
        (`sardonyx.save` replaces files instead).
    base_dir
        Where external data lies; by default the folder of the file. It may not lie outside.
    sparse_limit
        Bytes that sparse tensors may take once they are dense, `SPARSE_LIMIT` by default: a
        file of a few bytes must not fill memory.
    trusted
        Whether shapes that a model in memory declares of its results are right.

    Returns
    -------
    onnx_ir.Model
        A new model. It shares the weights of `source`, and holds them read-only.

    Raises
    ------
    InvalidModel
        The model is damaged, contradicts itself, or its external data is missing.
    UnsupportedModel
        The model uses operators or an opset that are not known here, or sparse tensors that are
        too large.
    """
    limit = SPARSE_LIMIT if sparse_limit is None else sparse_limit
    try:
        if isinstance(source, ir.Model):
            return Loader(b"", base_dir, None, limit, trusted).load(source)
        if isinstance(source, onnx.ModelProto):
            return Loader(_serialized(source), base_dir, None, limit).load()
        if isinstance(source, bytes | bytearray | memoryview):
            return Loader(source, base_dir, None, limit).load()
    except RecursionError:
        raise InvalidModel("the model nests graphs too deeply") from None
    path = os.fspath(source)
    with naming(path):
        data = mapped(path)
    return from_mapped(data, base_dir or os.path.dirname(path) or ".", path, limit)


def from_mapped(
    data: mmap.mmap | memoryview, base_dir: Path | None, path: str, sparse_limit: int = SPARSE_LIMIT
) -> ir.Model:
    """Read a model as `from_onnx` does from what a file holds, which is open already."""
    with naming(path):
        return Loader(data, base_dir, path, sparse_limit).load()


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Let errors name the file that is being read."""
    try:
        yield
    except SardonyxError as error:
        raise type(error)(f"{path}: {error}") from error.__cause__
    except RecursionError:
        raise InvalidModel(f"{path}: the model nests graphs too deeply") from None


class Loader:
    """A model that is being loaded, with the buffers that hold its weights."""

    def __init__(
        self,
        data: bytes | bytearray | memoryview | mmap.mmap,
        base_dir: Path | None,
        path: str | None = None,
        sparse_limit: int = SPARSE_LIMIT,
        trusted: bool = False,
    ) -> None:
        self.trusted = trusted
        self.sparse_limit = sparse_limit
        self.data = data
        self.base_dir = base_dir
        self.path = path
        self.source_tensors: list[ir.TensorProtocol] = []
        self.buffers: dict[str, np.ndarray] = {SAME_FILE: np.frombuffer(data, np.uint8)}

    def load(self, source: ir.Model | None = None) -> ir.Model:
        """Import the bytes, or a model in memory."""
        model = self.rebuild(source) if source is not None else self.build(self.parse())
        normalize(model)
        restore(model)
        return model

    def rebuild(self, source: ir.Model) -> ir.Model:
        """Check a model in memory; returns a copy with types and shapes, and the same weights."""
        return self.build(self.light_copy(source))

    def build(self, proto: onnx.ModelProto) -> ir.Model:
        """Check a light proto, which is changed, and build the model from it."""
        note_map_types(proto)
        if proto.ir_version < 4:
            _remove_initializers_from_inputs(proto.graph)
        make_names_unique(proto)
        mark_contrib_nodes(proto)
        check_model(proto)
        densify(proto.graph, self.sparse_limit)
        declared = _declared_shapes(proto.graph)
        hide_unsafe_nodes(proto)
        proto = infer(proto, self.trusted)
        reveal_unsafe_nodes(proto)
        note_map_types(proto)
        with _deserializing():
            model = ir.from_proto(proto)
        keep_aside(model, declared)
        self.attach_weights(model)
        warn_of_scales(model)
        return model

    def parse(self) -> onnx.ModelProto:
        """Return the light proto of the bytes."""
        if not self.data:
            raise UnreadableModel("not an ONNX model: it is empty")
        if self.data[: len(_ARTIFACT)] == _ARTIFACT:
            raise UnreadableModel(
                "not an ONNX model, but an artifact of Session.save: sardonyx.Session opens it "
                "by a name that ends in .sdx"
            )
        try:
            return onnx.ModelProto.FromString(externalize_weights(self.data))
        except SardonyxError:
            raise
        except Exception as error:  # protobuf's own class depends on its backend
            raise UnreadableModel(f"not an ONNX model, or a damaged one: {error}") from error

    def light_copy(self, source: ir.Model) -> onnx.ModelProto:
        """Return the proto of a model in memory whose large tensors are in `source_tensors`."""
        copy = source.clone()
        for holder in _tensor_holders(copy):
            tensor = holder.tensor
            if tensor.nbytes > SMALL_TENSOR and tensor.dtype != ir.DataType.STRING:
                shape = ir.Shape(tensor.shape.numpy())
                holder.put(
                    ir.ExternalTensor(
                        _IN_MEMORY,
                        len(self.source_tensors),
                        tensor.nbytes,
                        tensor.dtype,
                        shape=shape,
                        name=tensor.name or "",
                    )
                )
                self.source_tensors.append(tensor)
        try:
            return ir.to_proto(copy)
        except Exception as error:
            raise InvalidModel(
                f"the model cannot be written as ONNX: {_root_cause(error)}"
            ) from error

    def attach_weights(self, model: ir.Model) -> None:
        """Let the tensors of a model built from a light proto read their values."""
        for holder in _tensor_holders(model):
            tensor = holder.tensor
            if isinstance(tensor, ir.ExternalTensor):
                is_ours = tensor.location == _IN_MEMORY and self.source_tensors
                tensor = self.source_tensors[tensor.offset or 0] if is_ours else self.view(tensor)
                holder.put(tensor)
            if tensor.dtype == ir.DataType.BOOL and (numbers := _odd_numbers(tensor)) is not None:
                holder.put(ir.Tensor(numbers != 0, name=tensor.name))

    def view(self, tensor: ir.ExternalTensor) -> ir.TensorProtocol:
        """Return a tensor that reads the mapped bytes which `tensor` points to."""
        location = os.fspath(tensor.location)
        if location not in self.buffers:
            self.buffers[location] = self.external_file(location, tensor.name)
        if tensor.dtype == ir.DataType.STRING:
            raise InvalidModel(f"tensor {tensor.name!r} holds strings as raw data")
        buffer = self.buffers[location]
        shape = tuple(tensor.shape.numpy())
        need = math.ceil(math.prod(shape) * tensor.dtype.bitwidth / 8)
        start = tensor.offset or 0
        length = need if tensor.length is None else tensor.length
        where = "the model file" if location == SAME_FILE else f"external data {location!r}"
        if length != need:
            raise InvalidModel(
                f"tensor {tensor.name!r} is declared {tensor.dtype.name}{list(shape)}, which takes "
                f"{need} bytes, but {length} are stored in {where}"
            )
        if start < 0 or start + need > len(buffer):
            raise InvalidModel(
                f"tensor {tensor.name!r} lies at bytes {start} to {start + need} of {where}, "
                f"which has only {len(buffer)} (truncated?)"
            )
        values = buffer[start : start + need]
        if tensor.dtype.bitwidth < 8:
            return ir.PackedTensor(values, tensor.dtype, shape=shape, name=tensor.name)
        typed = values.view(tensor.dtype.numpy().newbyteorder("<")).reshape(shape)
        return ir.Tensor(typed, tensor.dtype, name=tensor.name)

    def external_file(self, location: str, name: str) -> np.ndarray:
        """Map a file of external data, which must lie in the model's folder or below."""
        what = f"external data {location!r} of tensor {name!r}"
        if self.base_dir is None:
            raise InvalidModel(f"{what} has no known folder: give it as base_dir=")
        folder = os.path.realpath(self.base_dir)
        path = os.path.join(self.base_dir, location)
        escapes = os.path.isabs(location) or ".." in location.replace("\\", "/").split("/")
        allowed = [folder]
        if self.path is not None:  # a model that is itself a link, as in download caches
            allowed.append(os.path.dirname(os.path.realpath(self.path)))
        if "\0" in location or not location:
            raise InvalidModel(f"{what}: the location is not a file name")
        real = os.path.realpath(path)
        if escapes or not any(os.path.commonpath([parent, real]) == parent for parent in allowed):
            raise InvalidModel(f"{what} lies outside the model's folder; refused")
        if not os.path.isfile(real):
            raise InvalidModel(f"{what} is missing: no file {path}")
        return np.frombuffer(mapped(real), np.uint8)


def normalize(model: ir.Model) -> ir.Model:
    """Inline functions and go to the canonical opset, in place.

    Raises
    ------
    UnsupportedModel
        A function uses another opset than the model, and the two cannot be brought together.
    """
    bodies = [(model.graph, model.graph.opset_imports)]
    bodies += [(each.graph, each.opset_imports) for each in model.functions.values()]
    nodes = [node for graph, opsets in bodies if "" in opsets for node in graph.all_nodes()]
    oldest = min((opsets[""] for _, opsets in bodies if "" in opsets), default=0)
    newest, lacking = newest_opset(nodes, oldest)
    reached, reason = _upgraded(*bodies[0], newest, lacking)
    for function in model.functions.values():
        own_opset, _ = _upgraded(function.graph, function.opset_imports, newest, lacking)
        if own_opset not in (reached, None):
            raise UnsupportedModel(
                f"function {function.domain}:{function.name} uses opset {own_opset}, but the model "
                f"opset {reached}" + (f" ({reason})" if reason else "")
            )
    if model.functions:
        try:
            common.InlinePass()(model)
        except Exception as error:
            raise InvalidModel(f"functions cannot be inlined: {_root_cause(error)}") from error
        common.RemoveUnusedFunctionsPass()(model)
    standardize(model)
    if reached:
        least = onnx.helper.OP_SET_ID_VERSION_MAP.get(("ai.onnx", reached), model.ir_version)
        model.ir_version = max(model.ir_version, least)
    if reason:
        model.metadata_props[OPSET_NOTE] = f"stays at {reached}: {reason}"
    return model


def _upgraded(
    graph: ir.Graph, opsets: dict[str, int], newest: int, lacking: str | None
) -> tuple[int | None, str | None]:
    if "" not in opsets:
        return None, None
    if opsets[""] > newest:
        return opsets[""], lacking or f"it is newer than {newest}"
    opsets[""], reason = upgrade([graph], opsets[""], newest)
    return opsets[""], reason or lacking


class _Holder:
    """Owner of a tensor in a model: an initializer, or an attribute of a node."""

    def __init__(self, owner: ir.Value | ir.Node, tensor: ir.TensorProtocol, name: str = ""):
        self.owner, self.tensor, self.name = owner, tensor, name

    def put(self, tensor: ir.TensorProtocol) -> None:
        if isinstance(self.owner, ir.Value):
            self.owner.const_value = tensor
        else:
            self.owner.attributes[self.name] = ir.AttrTensor(self.name, tensor)


def _tensor_holders(model: ir.Model) -> Iterator[_Holder]:
    graphs = [model.graph, *(function.graph for function in model.functions.values())]
    for graph in [inner for outer in graphs for inner in (outer, *outer.subgraphs())]:
        for value in graph.initializers.values():
            if value.const_value is not None:
                yield _Holder(value, value.const_value)
        for node in graph:
            for attribute in list(node.attributes.values()):
                if attribute.type == ir.AttributeType.TENSOR and not attribute.is_ref():
                    yield _Holder(node, attribute.as_tensor(), attribute.name)


def _odd_numbers(tensor: ir.TensorProtocol) -> np.ndarray | None:
    """Return the bytes of a tensor of bool if some are neither 0 nor 1."""
    numbers = np.ascontiguousarray(tensor.numpy()).view(np.uint8).reshape(tensor.shape.numpy())
    return numbers if numbers.max(initial=0) > 1 else None


def mapped(path: str) -> mmap.mmap:
    """Map a file into memory, read-only."""
    try:
        with open(path, "rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError:
        raise UnreadableModel("not an ONNX model: the file is empty") from None
    except OSError as error:
        raise InvalidArgument(f"{path} cannot be read: {error.strerror}") from error


def _serialized(model: onnx.ModelProto) -> bytes:
    try:
        return model.SerializeToString()
    except Exception as error:
        raise InvalidArgument(
            "the ModelProto cannot be serialized (it is limited to 2 GB): save it with external "
            f"data and load the file ({error})"
        ) from error


@contextmanager
def _deserializing() -> Iterator[None]:
    """Let errors of `onnx_ir`, of text that is not UTF-8, say, be ours."""
    try:
        yield
    except Exception as error:
        raise InvalidModel(f"not a valid ONNX model: {_root_cause(error)}") from error


def _root_cause(error: BaseException) -> BaseException:
    while (earlier := error.__cause__ or error.__context__) is not None:
        error = earlier
    return error


def _remove_initializers_from_inputs(graph: onnx.GraphProto) -> None:
    stored = {tensor.name for tensor in graph.initializer}
    stored |= {sparse.values.name for sparse in graph.sparse_initializer}
    for value in list(graph.input):
        if value.name in stored:
            graph.input.remove(value)


def _declared_shapes(graph: onnx.GraphProto) -> dict[str, ir.Shape]:
    with _deserializing():
        shapes = {
            value.name: ir.serde.deserialize_type_proto_for_shape(value.type)
            for value in graph.output
        }
    return {name: shape for name, shape in shapes.items() if shape is not None}
