"""Large graphs of many kinds, to measure how time and memory grow with the number of nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

_OPSET, _IR_VERSION = 21, 10
_WIDTH = 16

KINDS: dict[str, Callable[[int], ModelProto]] = {}
"""Functions from a number of nodes (about that many) to a model, by the kind of graph."""


def _kind(build: Callable[[int], ModelProto]) -> Callable[[int], ModelProto]:
    KINDS[build.__name__.strip("_")] = build
    return build


_node = helper.make_node


def _model(
    inputs: Mapping[str, Sequence[int | str]],
    nodes: Iterable[NodeProto],
    outputs: Iterable[str],
    weights: Mapping[str, Any] | None = None,
) -> ModelProto:
    """Model of float inputs, given by their shapes, and of outputs of any shape."""
    float32 = TensorProto.FLOAT
    graph = helper.make_graph(
        list(nodes),
        "large",
        [helper.make_tensor_value_info(name, float32, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, float32, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in (weights or {}).items()],
    )
    opsets = [helper.make_opsetid("", _OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)


def _chain(count: int, *op_types: str, **attributes: Any) -> list[NodeProto]:
    """Nodes from v0 to v1, and so on, with the operators in turn."""
    types = [op_types[i % len(op_types)] for i in range(count)]
    return [_node(t, [f"v{i}"], [f"v{i + 1}"], **attributes) for i, t in enumerate(types)]


def _eye(size: int, i: int) -> np.ndarray:
    """Weights that differ for each node and change little."""
    return np.eye(size, dtype=np.float32) * np.float32(1 + 1e-6 * i)


# --- one after the other ------------------------------------------------------------------------

_ELEMENTWISE = ("Relu", "Sigmoid", "Neg", "Tanh")


@_kind
def _chain_fixed(nodes: int) -> ModelProto:
    """Elementwise operators of fixed sizes."""
    return _model({"v0": [1, _WIDTH]}, _chain(nodes, *_ELEMENTWISE), [f"v{nodes}"])


@_kind
def _chain_open(nodes: int) -> ModelProto:
    """Elementwise operators of open sizes."""
    return _model({"v0": ["n", _WIDTH]}, _chain(nodes, *_ELEMENTWISE), [f"v{nodes}"])


@_kind
def _reversed(nodes: int) -> ModelProto:
    """Elementwise operators, the last one first."""
    return _model({"v0": ["n", _WIDTH]}, _chain(nodes, *_ELEMENTWISE)[::-1], [f"v{nodes}"])


@_kind
def _leaky(nodes: int) -> ModelProto:
    """Elementwise operators, no two with the same attributes."""
    chain = [
        _node("LeakyRelu", [f"v{i}"], [f"v{i + 1}"], alpha=0.001 * (i + 1)) for i in range(nodes)
    ]
    return _model({"v0": ["n", _WIDTH]}, chain, [f"v{nodes}"])


@_kind
def _matmul(nodes: int) -> ModelProto:
    """Products, each with weights of its own."""
    chain = [_node("MatMul", [f"v{i}", f"w{i}"], [f"v{i + 1}"]) for i in range(nodes)]
    weights = {f"w{i}": _eye(_WIDTH, i) for i in range(nodes)}
    return _model({"v0": ["n", _WIDTH]}, chain, [f"v{nodes}"], weights)


@_kind
def _conv(nodes: int) -> ModelProto:
    """Convolutions, each with weights of its own, and activations."""
    chain, weights = [], {}
    for i in range(nodes // 2):
        weights[f"w{i}"] = np.full((4, 4, 3, 3), (1 + 1e-6 * i) / 36, np.float32)
        chain += [
            _node("Conv", [f"v{i}", f"w{i}"], [f"a{i}"], pads=[1] * 4),
            _node("Relu", [f"a{i}"], [f"v{i + 1}"]),
        ]
    return _model({"v0": ["n", 4, 8, 8]}, chain, [f"v{nodes // 2}"], weights)


@_kind
def _residual(nodes: int) -> ModelProto:
    """Products of one weight, each added to what it was made of."""
    chain = []
    for i in range(nodes // 2):
        chain += [
            _node("MatMul", [f"v{i}", "w"], [f"m{i}"]),
            _node("Add", [f"m{i}", f"v{i}"], [f"v{i + 1}"]),
        ]
    return _model({"v0": ["n", _WIDTH]}, chain, [f"v{nodes // 2}"], {"w": _eye(_WIDTH, 0) * 1e-3})


@_kind
def _transposed(nodes: int) -> ModelProto:
    """Products of which each has its operand in another order of axes."""
    chain, weights = [], {}
    for i in range(nodes // 4):
        weights[f"w{i}"] = _eye(4, i)
        chain += [
            _node("Transpose", [f"v{i}"], [f"t{i}"], perm=[0, 2, 3, 1]),
            _node("Tanh", [f"t{i}"], [f"a{i}"]),
            _node("Transpose", [f"a{i}"], [f"b{i}"], perm=[0, 3, 1, 2]),
            _node("MatMul", [f"b{i}", f"w{i}"], [f"v{i + 1}"]),
        ]
    return _model({"v0": ["n", 4, 4, 4]}, chain, [f"v{nodes // 4}"], weights)


@_kind
def _host(nodes: int) -> ModelProto:
    """Operators without a kernel."""
    return _model({"v0": ["n", _WIDTH]}, _chain(nodes, "Hardmax"), [f"v{nodes}"])


# --- sizes -------------------------------------------------------------------------------------


@_kind
def _reshape(nodes: int) -> ModelProto:
    """Reshapes to constant targets."""
    chain = [
        _node("Reshape", [f"v{i}", "st"[i % 2]], [f"v{i + 1}"], name=f"r{i}") for i in range(nodes)
    ]
    targets = {"s": np.array([-1, 4]), "t": np.array([-1, _WIDTH])}
    return _model({"v0": ["n", _WIDTH]}, chain, [f"v{nodes}"], targets)


@_kind
def _reshape_computed(nodes: int) -> ModelProto:
    """Reshapes to targets computed from sizes, as exporters write them."""
    chain = []
    for i in range(nodes // 5):
        chain += [
            _node("Shape", [f"v{i}"], [f"s{i}"]),
            _node("Gather", [f"s{i}", "zero"], [f"g{i}"]),
            _node("Concat", [f"g{i}", "rest"], [f"c{i}"], axis=0),
            _node("Reshape", [f"v{i}", f"c{i}"], [f"r{i}"]),
            _node("Relu", [f"r{i}"], [f"v{i + 1}"]),
        ]
    weights = {"zero": np.array([0]), "rest": np.array([-1, 4])}
    return _model({"v0": ["n", 4, 4]}, chain, [f"v{nodes // 5}"], weights)


# --- side by side ------------------------------------------------------------------------------


@_kind
def _slices(nodes: int) -> ModelProto:
    """Slices of one value, many of them equal, joined again."""
    names = [f"v{i}" for i in range(nodes - 1)]
    wide = [_node("Slice", ["x", f"s{i}", f"e{i}"], [name]) for i, name in enumerate(names)]
    weights = {}
    for i in range(nodes - 1):
        weights[f"s{i}"], weights[f"e{i}"] = np.array([i % 50]), np.array([i % 50 + 1])
    return _model({"x": ["n", 4]}, [*wide, _node("Concat", names, ["y"], axis=0)], ["y"], weights)


@_kind
def _gated(nodes: int) -> ModelProto:
    """Activations of a computed value, each of two nodes, joined again."""
    wide, names = [_node("Exp", ["x"], ["v"])], []
    for i in range((nodes - 2) // 3):
        names.append(f"y{i}")
        wide += [
            _node("Mul", ["v", f"k{i}"], [f"m{i}"]),
            _node("Sigmoid", [f"m{i}"], [f"s{i}"]),
            _node("Mul", [f"m{i}", f"s{i}"], [names[-1]]),
        ]
    weights = {f"k{i}": np.array(i + 2, np.float32) for i in range(len(names))}
    return _model({"x": ["n", 4]}, [*wide, _node("Concat", names, ["y"], axis=1)], ["y"], weights)


@_kind
def _outputs(nodes: int) -> ModelProto:
    """As many outputs as nodes."""
    wide = [_node("Mul", ["x", f"k{i}"], [f"v{i}"]) for i in range(nodes)]
    weights = {f"k{i}": np.array(i, np.float32) for i in range(nodes)}
    return _model({"x": ["n", 4]}, wide, [f"v{i}" for i in range(nodes)], weights)


@_kind
def _outputs_fused(nodes: int) -> ModelProto:
    """Outputs of activations of two nodes."""
    wide, weights = [], {}
    for i in range(nodes // 3):
        weights[f"k{i}"] = np.array(i + 2, np.float32)
        wide += [
            _node("Mul", ["x", f"k{i}"], [f"m{i}"]),
            _node("Sigmoid", [f"m{i}"], [f"s{i}"]),
            _node("Mul", [f"m{i}", f"s{i}"], [f"v{i}"]),
        ]
    return _model({"x": ["n", 4]}, wide, [f"v{i}" for i in range(nodes // 3)], weights)


@_kind
def _weights(nodes: int) -> ModelProto:
    """One node, and as many initializers as the number says."""
    weights = {f"w{i}": np.full(4, i, np.float32) for i in range(nodes)}
    return _model({"x": ["n", 4]}, [_node("Add", ["x", "w0"], ["y"])], ["y"], weights)


@_kind
def _concat(nodes: int) -> ModelProto:
    """One node with as many inputs as the number says, of seven open sizes."""
    names = [f"x{i % 7}" for i in range(nodes)]
    inputs: dict[str, list[int | str]] = {f"x{i}": [f"n{i}", 4] for i in range(7)}
    return _model(inputs, [_node("Concat", names, ["y"], axis=0)], ["y"])


@_kind
def _concat_open(nodes: int) -> ModelProto:
    """One node with as many inputs as the number says, each of an open size of its own."""
    inputs: dict[str, list[int | str]] = {f"x{i}": [f"n{i}", 4] for i in range(nodes)}
    return _model(inputs, [_node("Concat", list(inputs), ["y"], axis=0)], ["y"])


# --- graphs inside graphs ------------------------------------------------------------------------


def _branch(name: str, nodes: Sequence[NodeProto]) -> GraphProto:
    output = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)
    return helper.make_graph(nodes, name, [], [output])


@_kind
def _branches(nodes: int) -> ModelProto:
    """Branches that read what was computed before."""
    chain = [_node("ReduceSum", ["v0"], ["t"], keepdims=0), _node("Greater", ["t", "zero"], ["c"])]
    for i in range(nodes // 3):
        taken, other = (
            _branch(f"{op_type}{i}", [_node(op_type, [f"v{i}", "v0"], [f"{op_type}{i}"])])
            for op_type in ("Add", "Sub")
        )
        chain.append(_node("If", ["c"], [f"v{i + 1}"], then_branch=taken, else_branch=other))
    return _model({"v0": ["n"]}, chain, [f"v{nodes // 3}"], {"zero": np.array(0, np.float32)})


@_kind
def _branches_nested(nodes: int) -> ModelProto:
    """Branches within branches, ten deep, one after the other."""
    chain = [_node("ReduceSum", ["v0"], ["t"], keepdims=0), _node("Greater", ["t", "zero"], ["c"])]
    depth = 10
    for i in range(max(1, nodes // (2 * depth + 1))):
        inner = _node("Neg", [f"v{i}"], [f"i{i}.0"])
        for level in range(depth):
            taken = _branch(f"t{i}.{level}", [inner])
            other = _branch(f"o{i}.{level}", [_node("Abs", [f"v{i}"], [f"a{i}.{level}"])])
            name = f"v{i + 1}" if level == depth - 1 else f"i{i}.{level + 1}"
            inner = _node("If", ["c"], [name], then_branch=taken, else_branch=other)
        chain.append(inner)
    last = max(1, nodes // (2 * depth + 1))
    return _model({"v0": ["n"]}, chain, [f"v{last}"], {"zero": np.array(0, np.float32)})
