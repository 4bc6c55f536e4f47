"""onnx's backend interface, as its conformance tests use it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep

from .runtime.session import Session


class SardonyxRep(BackendRep):
    """A model ready to run."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Run with a list of inputs in order, one array, or a mapping by name."""
        names = [port.name for port in self._session.get_inputs()]
        if isinstance(inputs, np.ndarray):
            inputs = [inputs]
        feeds = inputs if isinstance(inputs, dict) else dict(zip(names, inputs, strict=False))
        return tuple(self._session.run(None, feeds))


class SardonyxBackend(Backend):
    """Runs models by `Session` on the CPU."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> SardonyxRep:
        """Open a model."""
        return SardonyxRep(Session(model.SerializeToString(), threads=1, **kwargs))

    @classmethod
    def run_node(
        cls, node: onnx.NodeProto, inputs: Any, device: str = "CPU", outputs_info: Any = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:  # fmt: skip
        """Run one node on arrays."""
        arrays = [np.asarray(value) for value in inputs]
        ports = [
            onnx.helper.make_tensor_value_info(
                name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
            for name, array in zip(filter(None, node.input), arrays, strict=True)
        ]
        results = [onnx.ValueInfoProto(name=name) for name in node.output if name]
        graph = onnx.helper.make_graph([node], "node", ports, results)
        return cls.prepare(onnx.helper.make_model(graph), device).run(arrays)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Tell whether a device is the CPU."""
        return device.split(":")[0].upper() == "CPU"


prepare = SardonyxBackend.prepare
run_node = SardonyxBackend.run_node
run_model = SardonyxBackend.run_model
supports_device = SardonyxBackend.supports_device
is_compatible = SardonyxBackend.is_compatible
