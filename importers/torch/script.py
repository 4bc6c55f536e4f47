"""TorchScript, through the exporter of PyTorch that reads its graphs.

It marks whatever axes it is told to as dynamic, and a graph that was made by tracing may contain
their sizes all the same. So each module is exported for two sizes: where the graphs are the same,
they hold for any.
"""

from __future__ import annotations

import inspect
import io
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import onnx

from ..errors import ImportFailed, UnsupportedModel
from . import torch_dims
from .frameworks import batches, reason, rename
from .onnx import from_onnx

if TYPE_CHECKING:
    import onnx_ir as ir

_OPSET = 20
"""The newest opset that this exporter writes."""

Dimensions = list[dict[int, str]]
"""For each tensor the names of its open axes."""


def convert_module(
    torch: Any, module: Any, what: str, call: torch_dims.Call, shapes: Any, names: Mapping[str, Any]
) -> ir.Model:
    """Convert an nn.Module: compiled to TorchScript, or else traced.

    Raises
    ------
    ImportFailed
        Neither succeeds, or the trace depends on values of the example inputs.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            script = torch.jit.script(module)
            return convert(torch, script, what, call, shapes, names)
        except Exception as error:
            compiled = reason(error)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", torch.jit.TracerWarning)
            return convert(torch, module, what, call, shapes, names)
    except Exception as error:
        raise ImportFailed(f"{reason(error)} (compiled: {compiled})") from error


def convert(
    torch: Any, module: Any, what: str, call: torch_dims.Call, shapes: Any, names: Mapping[str, Any]
) -> ir.Model:
    """Convert a TorchScript module, or trace an nn.Module.

    Raises
    ------
    UnsupportedModel
        The module keeps values from call to call in its attributes.
    """
    kept = _attributes_set(torch, module)
    if kept:
        parts = [name for name, part in module.named_children() if not _attributes_set(torch, part)]
        raise UnsupportedModel(
            f"{what} keeps {', '.join(kept)} from call to call, which a model cannot: import a "
            f"part that takes and returns its state, with submodule= ({', '.join(parts)})"
        )
    if shapes is not None:
        proto = _export(torch, module, call, torch_dims.given_names(torch, shapes, call), names)
        return _finished(proto)
    failed: Exception | None = None
    for dims in _plans(torch, call):
        try:
            proto = _export(torch, module, call, dims, names)
            if any(dims) and not _holds(torch, module, call, dims, names, proto):
                failed = failed or ImportFailed("its graph contains the size of the examples")
                continue
            model = _finished(proto)
        except Exception as error:
            failed = failed or error
            continue
        if failed is not None:
            warnings.warn(
                f"{what} is imported with fixed dimensions: {reason(failed)}", stacklevel=6
            )
        return model
    raise failed or ImportFailed(f"PyTorch gave no model for {what}")


def trace(
    torch: Any,
    module: Any,
    what: str,
    call: torch_dims.Call,
    dims: Dimensions,
    names: Mapping[str, Any],
) -> ir.Model:
    """Trace an nn.Module of which is known which dimensions are open.

    Raises
    ------
    UnsupportedModel
        The graph holds for the sizes of the examples only.
    """
    proto = _export(torch, module, call, dims, names)
    if any(dims) and not _holds(torch, module, call, dims, names, proto):
        raise UnsupportedModel(
            f"{what}: PyTorch writes the sizes of its open dimensions into its graph, such as the "
            "steps of a sequence; give its inputs all sizes but that of the batch"
        )
    return _finished(proto)


def _attributes_set(torch: Any, module: Any) -> list[str]:
    if not isinstance(module, torch.jit.ScriptModule) or not hasattr(module, "forward"):
        return []
    graph = module.inlined_graph  # the nodes live as long as it does
    return sorted({node.s("name") for node in graph.findAllNodes("prim::SetAttr", True)})


def _plans(torch: Any, call: torch_dims.Call) -> list[Dimensions]:
    """Open dimensions to try, the most first: batch and sequence, batch, none."""
    examples = torch_dims.tensors(torch, call)
    first: dict[int, str] = {0: "batch"} if batches(examples) else {}
    tokens = [value for value in examples if _is_tokens(torch, value)]
    plans: list[Dimensions] = [[first] * len(examples), [{} for _ in examples]]
    if len({value.shape[1] for value in tokens}) == 1:
        both = [first | ({1: "sequence"} if _is_tokens(torch, v) else {}) for v in examples]
        plans.insert(0, both)
    return plans


def _is_tokens(torch: Any, value: Any) -> bool:
    return value.dim() == 2 and value.dtype in (torch.int32, torch.int64)


def _holds(
    torch: Any,
    module: Any,
    call: torch_dims.Call,
    dims: Dimensions,
    names: Mapping[str, Any],
    proto: onnx.ModelProto,
) -> bool:
    """Whether other sizes of the open dimensions, odd for even ones, give the same graph."""
    sizes: dict[tuple[int, int], int] = {}
    for number, value in enumerate(torch_dims.tensors(torch, call)):
        for axis in dims[number]:
            size = value.shape[axis]
            sizes[number, axis] = size // 2 + 1 if size > 3 else size * 2
    other = _export(torch, module, torch_dims.resized(torch, call, sizes), dims, names)
    return _structure(proto.graph, {}) == _structure(other.graph, {})


def _structure(graph: onnx.GraphProto, seen: dict[str, int]) -> list[Any]:
    """All of a graph that counts, with numbers for names: those that PyTorch makes up vary."""

    def number(name: str) -> int:
        return seen.setdefault(name, len(seen))

    found: list[Any] = [number(value.name) for value in graph.input]
    for weight in graph.initializer:
        found += [number(weight.name), weight.data_type, list(weight.dims), weight.raw_data]
    for node in graph.node:
        found += [node.op_type, node.domain, [number(name) for name in node.input]]
        for attribute in node.attribute:
            nested = attribute.HasField("g")
            found.append(attribute.name)
            found.append(_structure(attribute.g, seen) if nested else attribute.SerializeToString())
        found.append([number(name) for name in node.output])
    return [*found, [number(value.name) for value in graph.output]]


def _export(
    torch: Any, module: Any, call: torch_dims.Call, dims: Dimensions, names: Mapping[str, Any]
) -> onnx.ModelProto:
    args, kwargs = call
    inputs = names["input_names"] or _input_names(torch, module, call)
    if isinstance(module, torch.jit.ScriptModule):
        args, kwargs = (*args, *kwargs.values()), {}
    file = io.BytesIO()
    with warnings.catch_warnings():
        # What it fears of other sizes is found out here; what it does not fold, we do.
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            module,
            args,
            file,
            kwargs=kwargs or None,
            dynamo=False,
            opset_version=_OPSET,
            input_names=inputs,
            output_names=names["output_names"],
            dynamic_axes={n: axes for n, axes in zip(inputs, dims, strict=False) if axes},
        )
    proto = onnx.load_from_string(file.getvalue())
    # The sizes in these are those of the examples.
    del proto.graph.value_info[:]
    for output in proto.graph.output:
        output.type.tensor_type.ClearField("shape")
    return proto


def _finished(proto: onnx.ModelProto) -> ir.Model:
    """Import what the exporter wrote; outputs that it named by a number get names."""
    model = from_onnx(proto)
    outputs = model.graph.outputs
    number = [f"output_{i}" if len(outputs) > 1 else "output" for i in range(len(outputs))]
    plain = [str(value.name).isidentifier() for value in outputs]
    rename(model, outputs, ["" if p else n for p, n in zip(plain, number, strict=True)])
    return model


def _input_names(torch: Any, module: Any, call: torch_dims.Call) -> list[str]:
    """Name inputs after the arguments, where each is one tensor."""
    args, kwargs = call
    if isinstance(module, torch.jit.ScriptModule):
        known = [argument.name for argument in module.forward.schema.arguments][1:]
    else:
        known = list(inspect.signature(module.forward).parameters)
    count = len(torch_dims.tensors(torch, call))
    if count == len(args) + len(kwargs) and count <= len(known):
        return list(kwargs) or known[:count]
    return [f"input_{i}" for i in range(count)]
