"""Random weights for a network, such that its answer depends on its input."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx

# What a parameter is, by the operator that reads it and where: scales and variances lie around 1,
# biases and means around 0.
_AROUND_ONE = {("BatchNormalization", 1), ("BatchNormalization", 4), ("Mul", 1)}

_JOINS = ("Add", "Concat", "Mul", "Sum")
_LAYERS = ("Conv", "ConvTranspose", "Gemm")

_SILU = 0.36
# What an operator makes of the second moment of its input, roughly; others leave it as it is.
_GAIN = {
    "Relu": 0.5,
    "Clip": 0.5,
    "HardSwish": _SILU,
    "MaxPool": 2.0,
    "AveragePool": 0.6,
    "GlobalAveragePool": 0.6,
}

# Of these the second moment hardly depends on the input.
_GATES = {"Sigmoid": 0.29, "HardSigmoid": 0.28}


def draw(
    nodes: Sequence[onnx.NodeProto],
    shapes: Mapping[str, tuple[int, ...]],
    rng: np.random.Generator,
    norms: bool = True,
    last: float = 1.0,
) -> dict[str, np.ndarray]:
    """Draw the parameters of a network.

    Drawn blindly, those of a deep residual network let the signal grow with every block, until a
    softmax is 1 for one class and 0 for all others, whatever the input. So the second moment of
    every activation is followed through the graph, and each layer's weights are drawn for an
    output of unit variance.

    Parameters
    ----------
    nodes : sequence of NodeProto
        In topological order.
    shapes : mapping of str to tuple of int
        Of the parameters, by name. Those that no layer reads, and the shape of a Reshape, are not
        drawn.
    rng : Generator
    norms : bool
        Follow what each BatchNormalization makes of the second moment, too: some percent, which
        add up in deep networks.
    last : float
        Standard deviation of the last layer's output.

    Returns
    -------
    dict of str to ndarray of float32
    """
    layers = [node for node in nodes if node.op_type in _LAYERS]
    drawn: dict[str, np.ndarray] = {}
    alias: dict[str, str] = {}  # a parameter in another shape
    moment: dict[str, float] = {}
    sums: set[str] = set()
    gates: dict[str, str] = {}  # what a Sigmoid was made of, by its output
    for node in nodes:
        names = [alias.get(name, name) for name in node.input]
        if node.op_type in ("Reshape", "Unsqueeze") and names[0] in shapes:
            alias[node.output[0]] = names[0]
            continue
        read = names if node.op_type in _JOINS else names[:1]  # further ones are settings
        power = [moment.get(name, 1 / 3) for name in read if name not in shapes]
        total = _combined(node.op_type, power)
        for index, name in enumerate(names):
            if name not in shapes or name in drawn or node.op_type == "Reshape":
                continue
            if node.op_type in _LAYERS and index == 1:
                size = last if node is layers[-1] else 1.0
                scale = np.float32(size / math.sqrt(_fan(node, shapes[name]) * total))
                drawn[name] = rng.standard_normal(shapes[name], np.float32) * scale
            elif (node.op_type, index) in _AROUND_ONE:
                drawn[name] = rng.uniform(0.8, 1.2, shapes[name]).astype(np.float32)
            else:
                drawn[name] = rng.normal(0, 0.1, shapes[name]).astype(np.float32)
        if node.op_type in _LAYERS:
            total = 1.0
        elif node.op_type in _GATES:
            total, gates[node.output[0]] = _GATES[node.op_type], names[0]
        elif node.op_type == "Mul" and gates.get(names[1]) == names[0]:
            total = _SILU * moment[names[0]]
        elif node.op_type == "BatchNormalization" and norms:
            gamma, beta, mean, variance = (drawn[name] for name in names[1:])
            total = float(np.mean(gamma**2 / variance * (total + mean**2) + beta**2))
        elif not (node.op_type == "Relu" and names[0] in sums):  # a residual sum is mostly positive
            total *= _GAIN.get(node.op_type, 1.0)
        moment.update(dict.fromkeys(node.output, total))
        if node.op_type in ("Add", "Sum") and len(power) > 1:
            sums.add(node.output[0])
    return drawn


def _combined(op_type: str, power: Sequence[float]) -> float:
    """Second moment of an operator's input, of those of the values that are no parameters."""
    if op_type in ("Add", "Sum"):
        return sum(power)
    return math.prod(power) if op_type == "Mul" else float(np.mean(power))


def _fan(node: onnx.NodeProto, shape: tuple[int, ...]) -> float:
    """Return how many products make one output of a layer."""
    if node.op_type == "Gemm":
        return shape[-1]  # the weights may be wrapped in ones: [1, 1, outputs, inputs]
    if node.op_type == "Conv":
        return math.prod(shape[1:])
    strides = next((a.ints for a in node.attribute if a.name == "strides"), [1])
    group = next((a.i for a in node.attribute if a.name == "group"), 1)
    return shape[0] // group * math.prod(shape[2:]) / math.prod(strides)
