"""Models with damaged bytes run, or are refused by errors of ours: at opening or at running."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import parser

FIRST = int(os.environ.get("FUZZ_FIRST", "0"))
CASES = int(os.environ.get("FUZZ_CASES", "200"))
MODELS = [
    """g (float[1,3,8,8] x) => (float[1,c,h,w] y)
       <float[2,3,1,1] k = {1, 2, 3, 4, 5, 6}, int64[2] s = {1, 2}>
       { a = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (x, k)
         b = Relu(a)
         y = MaxPool <kernel_shape = [2, 2], strides = [1, 2]> (b) }""",
    """g (float[2,6] x) => (float[6,2] y) <float[2] k = {1, 2}, int64[2] s = {3, 4}>
       { a, b = Split <axis = 1, num_outputs = 2> (x)
         c = Concat <axis = 0> (a, b)
         d = Transpose <perm = [1, 0]> (c)
         e = Reshape(d, s)
         f = Softmax <axis = -1> (e)
         g = ReduceMean <keepdims = 1> (f)
         h = Mul(f, g)
         t = Flatten <axis = 0> (h)
         u = Slice(t, s, s)
         y = Add(u, g) }""",
]
HEAD = '<ir_version: 9, opset_import: ["": 18]> '


def pick(rng: np.random.Generator, values: Any) -> Any:
    return values[int(rng.integers(len(values)))]


def change(rng: np.random.Generator, graph: onnx.GraphProto) -> None:
    """Change one thing of a graph, so that it can still be parsed."""
    node, tensor = pick(rng, graph.node), pick(rng, graph.initializer)
    names = [name for other in graph.node for name in (*other.input, *other.output)]
    attributes = [a for other in graph.node for a in other.attribute]
    kind = int(rng.integers(7))
    if kind == 0:
        pick(rng, attributes).ints[:] = rng.integers(-2, 9, int(rng.integers(4))).tolist()
    elif kind == 1:
        pick(rng, attributes).i = pick(rng, [-(2**40), -3, -1, 0, 1, 2, 7, 2**40])
    elif kind == 2:
        node.op_type = pick(rng, graph.node).op_type
    elif kind == 3:
        node.input[int(rng.integers(len(node.input)))] = pick(rng, names)
    elif kind == 4:
        tensor.dims[int(rng.integers(len(tensor.dims)))] = pick(rng, [0, 1, 2, 3, 2**20])
    elif kind == 5:
        tensor.int64_data[:] = rng.integers(-7, 7, len(tensor.int64_data)).tolist()
    else:
        dim = pick(rng, graph.input[0].type.tensor_type.shape.dim)
        dim.dim_value = pick(rng, [-1, 0, 1, 2, 5, 2**40])


def damaged(number: int) -> bytes:
    """Change, delete or repeat a few bytes of a model, or change a few things in it."""
    rng = np.random.default_rng(number)
    model = parser.parse_model(HEAD + pick(rng, MODELS))
    if rng.random() < 0.6:
        for _ in range(int(rng.integers(1, 4))):
            change(rng, model.graph)
        return model.SerializeToString()
    data = bytearray(model.SerializeToString())
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(data)))
        kind = rng.random()
        if kind < 0.7:
            # A small change often leaves the structure as it is: another size, axis or operator.
            data[at] = rng.integers(256) if rng.random() < 0.5 else (data[at] + 1) % 256
        elif kind < 0.85:
            del data[at : at + int(rng.integers(1, 5))]
        else:
            data[at:at] = data[at : at + int(rng.integers(1, 9))]
    return bytes(data)


def outcome(number: int) -> str:
    data = damaged(number)
    try:
        session = sardonyx.Session(data, threads=1)
        feeds = {}
        for port in session.get_inputs():
            dims = [dim if isinstance(dim, int) else 2 for dim in port.shape or ()]
            if np.prod([float(dim) for dim in dims]) > 1e6:
                return "large"
            feeds[port.name] = np.zeros(dims, np.float32)
        session.run(None, feeds)
    except sardonyx.SardonyxError as error:
        assert str(error), number
        return type(error).__name__
    return "ran"


@pytest.mark.timeout(60 + CASES)
def test_whatever_the_bytes_say_they_run_or_are_refused(monkeypatch):
    monkeypatch.setattr("sardonyx.runtime.program_cache.save_program", lambda *_: False)
    for text in MODELS:
        onnx.checker.check_model(parser.parse_model(HEAD + text))
    outcomes = [outcome(number) for number in range(FIRST, FIRST + CASES)]
    assert outcomes.count("InvalidModel") > CASES // 4
    assert outcomes.count("ran") > CASES // 20
