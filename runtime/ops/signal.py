"""Windows of signals, and weights of mel filters."""

from __future__ import annotations

import onnx_ir as ir

from ...kernels.cpu.signal import cosine_window, mel_weights
from ..emission import Emission
from ..graph import Info, Node, OnHost, dtype_name
from ..tensors import short_name
from . import checks
from .registry import Operator, register

_FLOAT = 1
_COSINES = {
    "HannWindow": (0.5, 0.5, 0.0),
    "HammingWindow": (25 / 46, 21 / 46, 0.0),
    "BlackmanWindow": (0.42, 0.5, 0.08),
}
"""Factors of 1, of the first cosine (taken away) and of the second one (added)."""


def _kind(node: Node) -> str:
    dtype = dtype_name(ir.DataType(node.attribute("output_datatype", _FLOAT)))
    if dtype not in ("float32", "float64"):
        raise OnHost(f"{node.op_type} as {dtype}")
    return dtype


def _infer_window(node: Node) -> list[Info]:
    return [node.result((node.required(0).sizes()[0],), _kind(node))]


def _lower_window(emit: Emission, node: Node) -> None:
    y = emit.output(node)
    (count,), (a, b, c) = y.shape, _COSINES[node.op_type]
    period = count if node.attribute("periodic", 1) else count - 1
    emit.step(
        cosine_window(short_name(y.dtype)), outputs=[y], flops=count * 64, y=y, count=count,
        period=period, a=a, b=b, c=c,
    )  # fmt: skip


def _infer_mel(node: Node) -> list[Info]:
    if any(node.required(i).dtype != "float32" for i in (3, 4)):
        raise OnHost("frequencies that are not float32")
    filters, length, _ = (node.required(i).sizes()[0] for i in range(3))
    return [node.result((length // 2 + 1, filters), _kind(node))]


def _lower_mel(emit: Emission, node: Node) -> None:
    y = emit.output(node)
    _, length, rate = (node.required(i).sizes()[0] for i in range(3))
    lower, upper = (emit.tensor(value) for value in node.values[3:5])
    emit.step(
        mel_weights(short_name(y.dtype)), outputs=[y], flops=y.size * 8, y=y, lower=lower,
        upper=upper, bins=y.shape[0], filters=y.shape[1], length=length, rate=rate,
    )  # fmt: skip


def _check_numbers(node: Node) -> None:
    for index in range(len(node.inputs)):
        checks.one_number(node, index)


_RULES = (_check_numbers, checks.element_type("output_datatype"))
register(" ".join(_COSINES), Operator(rules=_RULES, infer=_infer_window, lower=_lower_window))
register("MelWeightMatrix", Operator(rules=_RULES, infer=_infer_mel, lower=_lower_mel))
