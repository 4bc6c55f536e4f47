"""Random operators: other results whenever they run."""

from __future__ import annotations

import onnx_ir as ir

from ..values import constant
from .record import Operator


def _inference(node: ir.Node) -> ir.Value | None:
    """Return the input of a Dropout that is known not to train, and whose mask is not read."""
    training = node.inputs[2] if len(node.inputs) > 2 else None
    flag = constant(training)
    trains = training is not None and (flag is None or bool(flag.any()))
    mask = any(value.uses() or value.is_graph_output() for value in node.outputs[1:])
    return None if trains or mask else node.inputs[0]


_RANDOM = Operator(deterministic=False)

OPERATORS = {
    "Bernoulli": _RANDOM,
    "Dropout": Operator(deterministic=False, unchanged=_inference),  # random in training mode
    "Multinomial": _RANDOM,
    "RandomNormal": _RANDOM,
    "RandomNormalLike": _RANDOM,
    "RandomUniform": _RANDOM,
    "RandomUniformLike": _RANDOM,
}
