"""Export through the TorchScript exporter, PyTorch's exporter of compiled and traced modules.

It marks whatever axes it is told to as dynamic, and a graph that was made by tracing may contain
their sizes all the same. So each module is exported for several sizes: where the graphs are the
same, they hold for any.
"""

from __future__ import annotations

import dataclasses
import io
import os
import warnings
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import onnx

from ...errors import ImportFailed, UnsupportedModel
from ...patches import applied
from ..frameworks import common_batch_size
from ..names import rename
from ..onnx.loader import from_onnx
from .call import Call, Dimensions, parameter_names
from .dims import requested_names
from .explain import explain
from .export import Export
from .patches import GRAPHS

if TYPE_CHECKING:
    import onnx_ir as ir

_OPSET = 20
"""The newest opset that this exporter writes."""


def _negated(tensor: Any) -> Any:
    return -tensor if tensor.is_floating_point() else tensor.flip(list(range(tensor.dim())))


def _smaller(tensor: Any) -> Any:
    return tensor * 1e-3 if tensor.is_floating_point() else (tensor - 1).clamp(min=1).to(tensor)


def _larger(tensor: Any) -> Any:
    return tensor * 1e3 + 1 if tensor.is_floating_point() else tensor


_CHANGES = (_negated, _smaller, _larger)
"""Other values for the tensors of a call; those of integers stay among small positive numbers."""


class ScriptExport(Export):
    """Export of a module as TorchScript."""

    def compiled_or_traced(self, dynamic_shapes: Any) -> ir.Model:
        """Export an nn.Module: compiled to TorchScript, or else traced.

        Raises
        ------
        ImportFailed
            Neither succeeds, or the trace depends on values of the example inputs.
        """
        import torch

        try:
            with warnings.catch_warnings(action="ignore"):
                script = dataclasses.replace(self, module=torch.jit.script(self.module))
                return script.with_shapes(dynamic_shapes)
        except Exception as error:
            compiled = explain(error)
        try:
            return self.with_shapes(dynamic_shapes)
        except Exception as error:
            traced = explain(error)
        raise ImportFailed(traced if traced == compiled else f"{traced} (compiled: {compiled})")

    def with_shapes(self, dynamic_shapes: Any = None) -> ir.Model:
        """Export with the open dimensions that the caller states, else with as many as hold.

        Raises
        ------
        UnsupportedModel
            The module keeps values from call to call in its attributes.
        """
        changed = _changed_attributes(self.module)
        if changed:
            parts = [
                name for name, part in self.module.named_children() if not _changed_attributes(part)
            ]
            raise UnsupportedModel(
                f"{self.title} keeps {', '.join(changed)} from call to call, and an ONNX model has "
                "no state: import a part that takes and returns its state, with submodule= "
                f"({', '.join(parts)})"
            )
        if dynamic_shapes is not None:
            return self.with_dimensions(requested_names(dynamic_shapes, self.call))
        return self.first_success(
            ("fixed dimensions", partial(self._with_plan, dims)) for dims in self._plans()
        )

    def _with_plan(self, dims: Dimensions) -> ir.Model:
        proto = self._proto(self.call, dims)
        if not self._holds(proto, dims):
            names = sorted({name for axes in dims for name in axes.values()})
            raise ImportFailed(f"its graph is another one for other sizes of {' and '.join(names)}")
        return _finished(proto)

    def with_dimensions(self, dims: Dimensions) -> ir.Model:
        """Export a module whose open dimensions are known.

        Raises
        ------
        UnsupportedModel
            The graph holds for the sizes of the examples only.
        """
        proto = self._proto(self.call, dims)
        if not self._holds(proto, dims):
            raise UnsupportedModel(
                f"{self.title}: PyTorch writes the sizes of its open dimensions into its graph, "
                "such as the steps of a sequence; give its inputs all sizes but that of the batch"
            )
        return _finished(proto)

    def _plans(self) -> list[Dimensions]:
        """Open dimensions to try, the most first: batch and sequence, batch, none."""
        examples = self.call.tensors
        first: dict[int, str] = {0: "batch"} if common_batch_size(examples) else {}
        tokens = [value for value in examples if _is_tokens(value)]
        plans: list[Dimensions] = [[first] * len(examples), [{} for _ in examples]]
        if len({value.shape[1] for value in tokens}) == 1:
            both = [first | ({1: "sequence"} if _is_tokens(v) else {}) for v in examples]
            plans.insert(0, both)
        return plans

    def _holds(self, proto: onnx.ModelProto, dims: Dimensions) -> bool:
        """Whether other sizes of the open dimensions give the same graph.

        They are one, larger and smaller, odd and even; those that the module refuses do not count.

        Raises
        ------
        Exception
            The module refuses all others.
        """
        axes = [(number, axis) for number, names in enumerate(dims) for axis in names]
        changes = (lambda n: n // 2 + 1 if n > 3 else n * 2, lambda n: 1, lambda n: 2 * n + 1)
        calls = [self.call.resized({a: grow(self.call.size(a)) for a in axes}) for grow in changes]
        return not axes or self._same_graph(proto, calls, dims)

    def _same_graph(self, proto: onnx.ModelProto, calls: Sequence[Call], dims: Dimensions) -> bool:
        wanted = _structure(proto.graph, {})
        failures = []
        for call in calls:
            try:
                other, _ = self._exported(call, dims)
            except Exception as error:
                failures.append(error)
                continue
            if _structure(other.graph, {}) != wanted:
                return False
        if len(failures) == len(calls):
            raise failures[0]
        return True

    def _proto(self, call: Call, dims: Dimensions) -> onnx.ModelProto:
        """Export, and where PyTorch traced decisions by values, see that others give the same.

        Raises
        ------
        UnsupportedModel
            They do not.
        """
        proto, decisions = self._exported(call, dims)
        if decisions:
            tensors = call.tensors
            others = [call.with_tensors(list(map(change, tensors))) for change in _CHANGES]
            if not self._same_graph(proto, others, dims):
                raise UnsupportedModel(
                    f"{self.title} decides by values of its inputs, which tracing does once, for "
                    f"the examples ({decisions[0]})"
                )
        return proto

    def _exported(self, call: Call, dims: Dimensions) -> tuple[onnx.ModelProto, list[str]]:
        """Export; the second result is where tracing took values for constants."""
        import torch

        args, kwargs = call.args, call.kwargs
        inputs = self.input_names or self._parameters()
        if isinstance(self.module, torch.jit.ScriptModule):
            args, kwargs = (*args, *kwargs.values()), {}
        file: Any = io.BytesIO()
        # It warns of other sizes, which are tried here, and of constants that we fold. A warning
        # may come inside a call from C++, which does not take an exception in its place.
        with warnings.catch_warnings(record=True) as told, applied([GRAPHS]):
            warnings.simplefilter("always")
            torch.onnx.export(
                self.module,
                args,
                file,
                kwargs=kwargs or None,
                dynamo=False,
                opset_version=_OPSET,
                input_names=inputs,
                output_names=self.output_names,
                dynamic_axes={n: axes for n, axes in zip(inputs, dims, strict=False) if axes},
            )
        proto = onnx.load_from_string(file.getvalue())
        # The sizes in these are those of the examples.
        del proto.graph.value_info[:]
        for output in proto.graph.output:
            output.type.tensor_type.ClearField("shape")
        places = [
            f"{os.path.basename(each.filename)}, line {each.lineno}"
            for each in told
            if issubclass(each.category, torch.jit.TracerWarning)
        ]
        return proto, places

    def _parameters(self) -> list[str]:
        """Name inputs after the parameters, where each is one tensor."""
        args, kwargs = self.call.args, self.call.kwargs
        names = parameter_names(self.module)
        count = len(self.call.tensors)
        if count == len(args) + len(kwargs) and count <= len(names):
            return list(kwargs) or names[:count]
        return [f"input_{i}" for i in range(count)]


def _changed_attributes(module: Any) -> list[str]:
    """Attributes that a TorchScript module sets when it is called."""
    import torch

    if not isinstance(module, torch.jit.ScriptModule) or not hasattr(module, "forward"):
        return []
    graph: Any = module.inlined_graph  # the nodes live as long as it does
    return sorted({node.s("name") for node in graph.findAllNodes("prim::SetAttr", True)})


def _is_tokens(value: Any) -> bool:
    import torch

    return value.dim() == 2 and value.dtype in (torch.int32, torch.int64)


def _structure(graph: onnx.GraphProto, seen: dict[str, int]) -> list[Any]:
    """List a graph's contents with numbers for names, which PyTorch chooses anew each time."""

    def number(name: str) -> int:
        return seen.setdefault(name, len(seen))

    contents: list[Any] = [number(value.name) for value in graph.input]
    for weight in graph.initializer:
        contents += [number(weight.name), weight.data_type, list(weight.dims), weight.raw_data]
    for node in graph.node:
        contents += [node.op_type, node.domain, [number(name) for name in node.input]]
        for attribute in node.attribute:
            nested = attribute.HasField("g")
            contents.append(attribute.name)
            contents.append(
                _structure(attribute.g, seen) if nested else attribute.SerializeToString()
            )
        contents.append([number(name) for name in node.output])
    return [*contents, [number(value.name) for value in graph.output]]


def _finished(proto: onnx.ModelProto) -> ir.Model:
    """Import what the exporter wrote; outputs that it named by a number get names."""
    model = from_onnx(proto)
    outputs = model.graph.outputs
    numbered = [f"output_{i}" if len(outputs) > 1 else "output" for i in range(len(outputs))]
    plain = [str(value.name).isidentifier() for value in outputs]
    rename(model, outputs, ["" if p else n for p, n in zip(plain, numbered, strict=True)])
    return model
