"""Constant, whose value is made once."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx.reference.op_run import OpRun
from onnx.reference.ops import load_op

from .operator import Mover


class Constant(Mover):
    """Constant, as onnx's own makes it; strings are objects as everywhere."""

    def __init__(self, onnx_node: onnx.NodeProto, run_params: dict[str, Any]) -> None:
        super().__init__(onnx_node, run_params)
        load: Any = load_op("", "Constant", run_params["opsets"][""])
        self.inner: OpRun = load(onnx_node, run_params)

    def compute(self, *_: Any, **options: Any) -> tuple[Any, ...]:
        """Return the value; one of a function's attribute belongs to the call."""
        if self.has_linked_attribute:
            return tuple(self.inner.run(**options))
        result: tuple[Any, ...] = self.once("value", self._run)
        return result

    def _run(self) -> tuple[Any, ...]:
        (value,) = self.inner.run()
        is_text = isinstance(value, np.ndarray) and value.dtype.kind == "U"
        return (value.astype(object) if is_text else value,)
