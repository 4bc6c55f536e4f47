"""Ports: the tensors a run is given, and those it gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from ..errors import UnsupportedModel
from ..kernels.abi import HOST, INPUT, OUTPUT
from ..notes import DEFAULTS_NOTE, TYPE_NOTE
from .emission import Emission
from .graph import Info
from .growth import find_caches
from .host_steps import tensor_of
from .symbolic import CAPACITY, of_symbol
from .tensors import Buffer, Tensor


def make_inputs(emit: Emission) -> None:
    """Create the tensors of the graph's inputs: arrays that a run brings, or any objects."""
    caches = find_caches(emit.graph, emit.options.get("states", ()))
    for value in emit.graph.inputs:
        info = emit.infos[value]
        if value in caches:
            continuations, axis = caches[value]
            whole = [dim if i != axis else of_symbol(CAPACITY) for i, dim in enumerate(info.dims)]
            tensor = emit.new(whole, info.dtype, name=info.name, kind=INPUT)
            tensor = tensor.view(info.dims, tensor.strides)
            emit.caches |= dict.fromkeys(continuations, (tensor, axis))
        elif info.shape is None or info.dtype == "object":
            tensor = emit.new((), "object", name=info.name, kind=HOST)
        else:
            tensor = emit.new(info.dims, info.dtype, name=info.name, kind=INPUT)
        emit.set(value, tensor)


def add_ports(emit: Emission) -> None:
    """Append the graph's outputs and inputs to the program, once all values are computed."""
    owners: dict[Buffer, ir.Value] = {}
    for value in emit.graph.outputs:
        tensor = tensor_of(emit, value)
        if _is_whole(tensor):
            owners.setdefault(tensor.buffer, value)
    given: set[Buffer] = set()
    for value in emit.graph.outputs:
        tensor = emit.tensor(value)
        if value in emit.caches:
            if tensor.buffer is not emit.caches[value][0].buffer:
                raise UnsupportedModel(f"the cache {value.name!r} is computed on the host")
            emit.program.add_cache(tensor, *emit.caches[value])
            continue
        # A value that is listed twice owns its buffer once.
        if owners.get(tensor.buffer) is value and tensor.buffer not in given:
            given.add(tensor.buffer)
        elif tensor.buffer.kind != HOST:
            tensor = _copied(emit, value, tensor)
        info = emit.infos[value]
        emit.program.add_output(info, tensor, _type(value, info))
    for value in emit.graph.inputs:
        info = emit.infos[value]
        emit.program.add_input(info, emit.tensor(value), _type(value, info))


def _is_whole(tensor: Tensor) -> bool:
    """Tell whether a tensor is dense, in ONNX's order, and all of an output's buffer."""
    whole = tensor.offset == 0 and tensor.buffer.size == tensor.nbytes
    return tensor.buffer.kind == OUTPUT and whole and tensor.is_contiguous


def _copied(emit: Emission, value: ir.Value, tensor: Tensor) -> Tensor:
    """Emit a copy of a tensor into a buffer of its own, which a run returns.

    It belongs to the node that makes the value, which errors of sizes then name.
    """
    target = emit.new(tensor.shape, tensor.dtype, name=emit.infos[value].name, kind=OUTPUT)
    maker = value.producer()
    index = None if maker is None else emit.graph.index_of.get(maker)
    emit.nodes = () if index is None else [emit.graph.nodes[index]]
    emit.copy(tensor, target, "Output")
    emit.nodes = ()
    return target


def _type(value: ir.Value, info: Info) -> str:
    """Return the type of a port in onnxruntime's words; empty if it is not known."""
    if info.dtype != "object":
        return f"tensor({ir.DataType.from_numpy(np.dtype(info.dtype)).name.lower()})"
    return value.metadata_props.get(TYPE_NOTE) or _type_text(value.type)


def _type_text(kind: ir.TypeProtocol | None) -> str:
    if isinstance(kind, ir.SequenceType | ir.OptionalType):
        word = "seq" if isinstance(kind, ir.SequenceType) else "optional"
        return f"{word}({_type_text(kind.elem_type)})"
    return f"tensor({kind.dtype.name.lower()})" if isinstance(kind, ir.TensorType) else ""


def model_metadata(model: ir.Model) -> dict[str, Any]:
    """Collect what a model says of itself, under the names that onnxruntime uses."""
    return {
        "producer_name": model.producer_name or "",
        "graph_name": model.graph.name or "",
        "domain": model.domain or "",
        "description": model.doc_string or "",
        "graph_description": model.graph.doc_string or "",
        "version": model.model_version or 0,
        "custom_metadata_map": {
            name: text for name, text in model.metadata_props.items() if name != DEFAULTS_NOTE
        },
    }
