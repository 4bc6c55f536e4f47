"""Attention, whose masks broadcast, and whose scores can be had before they are capped."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx.reference.ops import load_op

from .operator import Original


class Attention(Original):
    """Attention; onnx's own gives scores after the cap also where those before it are asked.

    Where it is causal, it takes a mask of one row for all queries as that of the first alone.
    """

    def __init__(self, onnx_node: onnx.NodeProto, run_params: dict[str, Any]) -> None:
        super().__init__(onnx_node, run_params)
        self.uncapped: Any = None
        given = {attribute.name: attribute for attribute in onnx_node.attribute}
        mode = given["qk_matmul_output_mode"].i if "qk_matmul_output_mode" in given else 0
        if len(onnx_node.output) > 3 and "softcap" in given and mode == 0:
            plain = onnx.NodeProto()
            plain.CopyFrom(onnx_node)
            plain.attribute.remove(given["softcap"])
            version = run_params["opsets"][onnx_node.domain]
            self.uncapped = load_op(onnx_node.domain, onnx_node.op_type, version)(plain, run_params)

    def compute(self, *inputs: Any, **options: Any) -> tuple[Any, ...]:
        """Compute, and once more without the cap where only the scores come from."""
        inputs = _with_all_rows(*inputs)
        results = super().compute(*inputs, **options)
        if self.uncapped is None:
            return results
        return (*results[:3], self.uncapped.run(*inputs, **options)[3])


def _with_all_rows(q: Any, *others: Any) -> tuple[Any, ...]:
    """Return the inputs with a mask that has a row for each query."""
    if len(others) < 3 or others[2] is None:
        return (q, *others)
    mask = np.asarray(others[2])
    shape = (*mask.shape[:-2], q.shape[-2], mask.shape[-1])
    return (q, *others[:2], np.broadcast_to(mask, shape).copy(), *others[3:])
