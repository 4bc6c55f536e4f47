"""Preprocessing of inputs that a model does itself."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

_SIGNS = {"Add": "+", "Sub": "−", "Mul": "×", "Div": "÷"}
_MOVED = ("Cast", "Transpose", "Identity")
_SHOWN = 4


def preprocessing(model: ir.Model) -> list[str]:
    """Describe what a model does with its inputs before anything else.

    Parameters
    ----------
    model : onnx_ir.Model

    Returns
    -------
    list of str
        A line for each input that is scaled, shifted, normalized or resized first, such as
        ``"image: ÷ 255, − [0.485, 0.456, 0.406]"``. Changes of type and order alone are not told.
    """
    lines = []
    for value in model.graph.inputs:
        steps = list(_steps(value))
        while steps and steps[-1][0] in _MOVED:
            steps.pop()
        if any(kind not in _MOVED for kind, _ in steps):
            lines.append(f"{value.name}: {', '.join(text for _, text in steps)}")
    return lines


def _steps(value: ir.Value) -> Iterator[tuple[str, str]]:
    """Follow a value through the operators that prepare it: what each is, and does."""
    while len(value.uses()) == 1 and not value.is_graph_output():
        node = next(iter(value.uses())).node
        text = _described(node, value)
        if text is None or node.domain:
            return
        yield node.op_type, text
        value = node.outputs[0]


def _described(node: ir.Node, value: ir.Value) -> str | None:
    if node.op_type in _SIGNS:
        other = node.inputs[1] if node.inputs[0] is value else node.inputs[0]
        tensor = None if other is None else ir.convenience.get_const_tensor(other)
        if tensor is None or node.inputs[0] is node.inputs[1]:
            return None
        swapped = node.inputs[0] is not value and node.op_type in ("Sub", "Div")
        sign, number = _SIGNS[node.op_type], _numbers(tensor.numpy())
        return f"{number} {sign} itself" if swapped else f"{sign} {number}"
    if node.op_type == "Cast":
        return f"as {node.outputs[0].dtype or 'another type'}".lower()
    if node.op_type == "Transpose":
        order = node.attributes.get("perm")
        return f"axes {list(order.as_ints()) if order else 'reversed'}"
    if node.op_type in ("BatchNormalization", "Resize"):
        return {"Resize": "resized", "BatchNormalization": "batch normalization"}[node.op_type]
    return "" if node.op_type == "Identity" else None


def _numbers(values: np.ndarray) -> str:
    flat = [f"{number:.6g}" for number in values.reshape(-1)[: _SHOWN + 1].astype(np.float64)]
    if values.size == 1:
        return flat[0]
    more = ", …" if values.size > _SHOWN else ""
    return f"[{', '.join(flat[:_SHOWN])}{more}]"
