"""Ports: the tensors a run is given, and those it gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from ..kernels.abi import HOST, INPUT, OUTPUT
from .assembler import Assembler
from .graph import Info
from .ops.movement import emit_copy
from .tensors import Buffer, Tensor

if TYPE_CHECKING:
    from .lowering import Lowering


def input_tensor(low: Lowering, info: Info) -> Tensor:
    """Create the tensor of an input: an array that a run brings, or any object."""
    if info.shape is None or info.dtype == "object":
        return low.new((), "object", name=info.name, kind=HOST)
    return low.new(info.dims, info.dtype, name=info.name, kind=INPUT)


def add_ports(low: Lowering, program: Assembler) -> None:
    """Append the graph's outputs and inputs to the program, once all values are computed."""
    taken: set[Buffer] = set()
    for value in low.graph.outputs:
        program.add_output(low.infos[value], _output_tensor(low, value, taken))
    for value in low.graph.inputs:
        program.add_input(low.infos[value], low.tensor(value), _kind(value, low.infos[value]))


def _output_tensor(low: Lowering, value: ir.Value, taken: set[Buffer]) -> Tensor:
    """Return an output's tensor, copied if it is not dense and alone in an output's buffer."""
    tensor = low.tensor(value)
    if tensor.buffer.kind == HOST:
        return tensor
    if tensor.buffer.kind == OUTPUT:
        is_taken = tensor.buffer in taken
        taken.add(tensor.buffer)
        is_whole = tensor.offset == 0 and tensor.buffer.size == tensor.nbytes
        if is_whole and tensor.is_contiguous and not is_taken:
            return tensor
    target = low.new(tensor.shape, tensor.dtype, name=low.infos[value].name, kind=OUTPUT)
    emit_copy(low, tensor, target, "Output")
    return target


def _kind(value: ir.Value, info: Info) -> str:
    """Return what an input takes: a ``"tensor"``, a ``"string"`` array, or any ``"object"``."""
    if value.dtype == ir.DataType.STRING and isinstance(value.type, ir.TensorType):
        return "string"
    return "object" if info.dtype == "object" else "tensor"


def model_metadata(model: ir.Model) -> dict[str, Any]:
    """Collect what a model says of itself, under the names that onnxruntime uses."""
    return {
        "producer_name": model.producer_name or "",
        "graph_name": model.graph.name or "",
        "domain": model.domain or "",
        "description": model.doc_string or "",
        "graph_description": model.graph.doc_string or "",
        "version": model.model_version or 0,
        "custom_metadata_map": dict(model.metadata_props),
    }
