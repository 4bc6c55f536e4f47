"""Frozen graphs of TensorFlow 1: a GraphDef whose variables are constants, in a ``.pb`` file."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...errors import ImportFailed, InvalidArgument, InvalidModel, reason
from ..frameworks import conversion
from ..limits import Budget
from ..notes import Notes
from .graph_def import check_constants, convert_graph

if TYPE_CHECKING:
    import onnx_ir as ir

_PLACEHOLDERS = ("Placeholder", "PlaceholderV2")
_SOURCES = (*_PLACEHOLDERS, "PlaceholderWithDefault", "Const")
_VARIABLES = ("Variable", "VariableV2", "VarHandleOp")
_LISTED = 20  # names in an error


def from_frozen_graph(
    source: Any,
    notes: Notes,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    expansion_limit: int | None = None,
) -> ir.Model:
    """Convert a frozen ``.pb`` file.

    Parameters
    ----------
    source : path
        The file: a serialized GraphDef.
    notes : Notes
        Filled in: how to run the source, labels, normalization.
    inputs, outputs : sequence of str, optional
        Names of nodes (``image``) or of their tensors (``image:0``), in the order wanted; the
        model has them as they are written here. A node that is not a placeholder becomes one when
        it is an input: the graph is cut there. By default the placeholders, and the results that
        no other node reads. A placeholder with a default that is not named has its default.
    expansion_limit : int, optional
        Bytes that constants of one value may take in memory; by default 256 MiB, or eight times
        the file's size.

    Raises
    ------
    ImportFailed
        An operator is not known to TensorFlow, or the
        conversion failed; says why.
    InvalidModel
        The file is damaged, or no GraphDef.
    InvalidArgument
        It belongs to a SavedModel, is not frozen, or has no such nodes; lists those it has.
    """
    import tensorflow as tf

    path = os.fsdecode(source)
    definition = _read(tf, path)
    check_constants(tf, definition, Budget(path, expansion_limit))
    graph = _imported(tf, path, definition)
    known = {tensor.name: tensor for op in graph.get_operations() for tensor in op.outputs}
    fed = _find(path, "inputs", known, inputs, _placeholders(graph))
    fetched = _find(path, "outputs", known, outputs, _results(graph))
    _cut(tf, definition, known, fed)
    with conversion("TensorFlow", path):
        results = [tensor.partition(":")[0] for tensor in fetched]
        whole = definition
        definition = tf.compat.v1.graph_util.extract_sub_graph(whole, results)
    fed = _needed(path, definition, fed, named=inputs is not None)
    used = {node.name for node in definition.node}
    notes.drop((node.op, node.name) for node in whole.node if node.name not in used)
    return convert_graph(tf, definition, path, notes, fed, fetched)


def _read(tf: Any, path: str) -> Any:
    from google.protobuf.message import DecodeError

    with open(path, "rb") as file:
        data = file.read()
    definition = tf.compat.v1.GraphDef()
    try:
        definition.ParseFromString(data)
    except DecodeError as error:
        if _is_saved_model(path, data):
            raise _belongs_to_folder(path) from error
        raise InvalidModel(
            f"{path} is not a frozen TensorFlow graph, or a damaged or truncated one ({error})"
        ) from error
    if not definition.node:
        if _is_saved_model(path, data):
            raise _belongs_to_folder(path)
        raise InvalidModel(f"{path} is not a frozen TensorFlow graph: it holds no nodes")
    return definition


def _is_saved_model(path: str, data: bytes) -> bool:
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    try:
        return os.path.basename(path) == "saved_model.pb" or bool(
            SavedModel.FromString(data).meta_graphs
        )
    except DecodeError:
        return False


def _belongs_to_folder(path: str) -> InvalidArgument:
    folder = os.path.dirname(os.path.abspath(path))
    return InvalidArgument(
        f"{path} is the graph of a SavedModel, without its variables: load its folder, {folder}"
    )


def _imported(tf: Any, path: str, definition: Any) -> Any:
    variables = [node.name for node in definition.node if node.op in _VARIABLES]
    if variables:
        raise InvalidArgument(
            f"{path} is not frozen: {_list(variables)} are variables, whose values lie elsewhere; "
            "load its SavedModel, or freeze it "
            "(tf.compat.v1.graph_util.convert_variables_to_constants)"
        )
    try:
        with tf.Graph().as_default() as graph:
            tf.import_graph_def(definition, name="")
    except Exception as error:
        why = reason(error)
        hint = ""
        if "not registered" in why:
            hint = (
                "; first load the library that brings it: import its package, or tf.load_op_library"
            )
        raise ImportFailed(f"TensorFlow cannot read the graph {path}: {why}{hint}") from error
    return graph


def _placeholders(graph: Any) -> dict[str, str]:
    ops = [op for op in graph.get_operations() if op.type in _PLACEHOLDERS]
    return {op.outputs[0].name: op.name for op in ops}


def _results(graph: Any) -> dict[str, str]:
    """Tensors of nodes that compute something and of which no other node reads anything."""
    names = {}
    for op in graph.get_operations():
        read = any(tensor.consumers() for tensor in op.outputs)
        if op.type not in _SOURCES and not read:
            names.update({tensor.name: tensor.name.removesuffix(":0") for tensor in op.outputs})
    return names


def _find(
    path: str,
    kind: str,
    known: Mapping[str, Any],
    requested: Sequence[str] | None,
    default: dict[str, str],
) -> dict[str, str]:
    """Names by tensors: of those that are requested, else the default."""
    if isinstance(requested, str):
        requested = [requested]
    if requested is None:
        if kind == "outputs" and not default:
            raise InvalidArgument(f"{path} computes nothing that could be an output")
        return default
    tensors = {(name if ":" in name else f"{name}:0"): name for name in requested}
    wrong = [name for tensor, name in tensors.items() if tensor not in known]
    if wrong or not (tensors or kind == "inputs"):
        nodes = sorted({tensor.partition(":")[0] for tensor in known})
        close = [near for name in wrong for near in difflib.get_close_matches(name, nodes)]
        hint = f"; similar: {_list(close)}" if close else ""
        raise InvalidArgument(
            f"{path} has no {_list(wrong) or kind} for {kind}=; its {kind} are "
            f"{_list(default.values())}{hint}"
        )
    return tensors


def _cut(tf: Any, definition: Any, known: Mapping[str, Any], fed: Mapping[str, str]) -> None:
    """Make placeholders of the inputs that are other nodes, and identities of unused defaults."""
    nodes = {node.name: node for node in definition.node}
    for node in definition.node:
        if node.op == "PlaceholderWithDefault" and f"{node.name}:0" not in fed:
            node.op = "Identity"
            node.attr["T"].type = node.attr.pop("dtype").type
            del node.attr["shape"]
    for tensor in fed:
        node = nodes[tensor.partition(":")[0]]
        if node.op in _PLACEHOLDERS:
            continue
        if len(known[tensor].op.outputs) > 1:
            raise InvalidArgument(
                f"{tensor} is one of several results of its node, where the graph cannot be cut; "
                "name the node that reads it as input"
            )
        node.op = "Placeholder"
        del node.input[:]
        node.attr.clear()
        node.attr["dtype"].type = known[tensor].dtype.as_datatype_enum
        node.attr["shape"].shape.CopyFrom(known[tensor].shape.as_proto())


def _needed(path: str, definition: Any, fed: Mapping[str, str], named: bool) -> dict[str, str]:
    """Select the inputs that the outputs depend on; of those that the caller named, all must be."""
    ops = {node.name: node.op for node in definition.node}
    lacking = [name for name, op in ops.items() if op in _PLACEHOLDERS and f"{name}:0" not in fed]
    unused = [name for tensor, name in fed.items() if tensor.partition(":")[0] not in ops]
    if lacking:
        raise InvalidArgument(f"{path}: its outputs need {_list(lacking)} too: add to inputs=")
    if unused and named:
        raise InvalidArgument(f"{path}: its outputs do not depend on {_list(unused)} of inputs=")
    return {tensor: name for tensor, name in fed.items() if name not in unused}


def _list(names: Any) -> str:
    names = list(names)
    some = ", ".join(repr(name) for name in names[:_LISTED])
    return some + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
