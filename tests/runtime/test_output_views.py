"""Outputs that are views of one another, listed in any order, twice, or inputs and constants."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import onnx.helper as oh
import onnxruntime
import pytest
import sardonyx

FLOAT = np.float32
GRAPHS = 40


class Drawn:
    """A random graph: computed values, views of them in chains, and some of all as outputs."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.weights = [], {}
        self.given = {"x": self.rng.standard_normal((2, 3, 4, 4)).astype(FLOAT)}
        self.shapes = {"x": (2, 3, 4, 4)}
        for _ in range(self.rng.integers(3, 10)):
            self.add_view() if self.rng.random() < 0.7 else self.add_computation()

    def draw(self, items):
        items = list(items)
        return items[self.rng.integers(len(items))]

    def node(self, op_type, inputs, *shapes, **attributes):
        names = [f"v{len(self.shapes) + i}" for i in range(len(shapes))]
        self.nodes.append(oh.make_node(op_type, inputs, names, **attributes))
        self.shapes.update(zip(names, shapes, strict=True))

    def constant(self, values):
        name = f"c{len(self.weights)}"
        self.weights[name] = np.array(values)
        return name

    def add_computation(self):
        x = self.draw(self.shapes)
        op_type = self.draw(["Relu", "Exp", "Softmax", "Add"])
        self.node(op_type, [x, x] if op_type == "Add" else [x], self.shapes[x])

    def add_view(self):
        x = self.draw(self.shapes)
        shape = self.shapes[x]
        kinds = ["transpose", "flatten", "unsqueeze", "identity"]
        kinds += ["slice", "split", "gather"] * (len(shape) > 1 and max(shape) > 1)
        getattr(self, self.draw(kinds))(x, shape)

    def transpose(self, x, shape):
        order = [int(axis) for axis in self.rng.permutation(len(shape))]
        self.node("Transpose", [x], tuple(shape[axis] for axis in order), perm=order)

    def flatten(self, x, shape):
        self.node("Reshape", [x, self.constant([-1])], (int(np.prod(shape)),))

    def unsqueeze(self, x, shape):
        if len(shape) < 5:
            self.node("Unsqueeze", [x, self.constant([0])], (1, *shape))

    def identity(self, x, shape):
        self.node("Identity", [x], shape)

    def slice(self, x, shape):
        axis = int(np.argmax(shape))
        first, last = 0 if self.rng.random() < 0.5 else 1, shape[axis]
        inputs = [x, *(self.constant([value]) for value in (first, last, axis))]
        self.node("Slice", inputs, (*shape[:axis], last - first, *shape[axis + 1 :]))

    def split(self, x, shape):
        axis = int(np.argmax(shape))
        sizes = [1, shape[axis] - 1]
        parts = [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes]
        self.node("Split", [x, self.constant(sizes)], *parts, axis=axis)

    def gather(self, x, shape):
        axis = int(np.argmax(shape))
        self.node("Gather", [x, self.constant(0)], shape[:axis] + shape[axis + 1 :], axis=axis)

    def model(self, is_open):
        names = list(self.shapes)
        outputs = [self.draw(names) for _ in range(self.rng.integers(1, 6))]
        outputs = list(dict.fromkeys([*outputs, names[-1]]))
        self.rng.shuffle(outputs)
        shape = ["n", 3, "h", "w"] if is_open else self.shapes["x"]
        graph = oh.make_graph(
            self.nodes,
            "g",
            [oh.make_tensor_value_info("x", 1, shape)],
            [oh.make_tensor_value_info(name, 1, None) for name in outputs],
            [onnx.numpy_helper.from_array(a, name) for name, a in self.weights.items()],
        )
        return made(graph)


def made(graph):
    opsets = [oh.make_opsetid("", 21)]
    return oh.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


def compare(model, feeds, optimize):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    expected = onnxruntime.InferenceSession(model, options).run(None, feeds)
    session = sardonyx.Session(model, threads=1, optimize=optimize)
    for _ in range(2):
        results = session.run(None, feeds)
        for a, b in zip(results, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
            assert a.flags.writeable and a.flags.c_contiguous
        for a, b in itertools.combinations([*results, *feeds.values()], 2):
            assert not np.shares_memory(a, b)
        for a in results:
            a[...] = 0


@pytest.mark.parametrize("seed", range(GRAPHS))
def test_random_views_of_values_are_outputs_in_any_order(seed):
    drawn = Drawn(seed)
    model = drawn.model(is_open=seed % 2 == 0)
    compare(model, drawn.given, "none" if seed % 4 < 2 else "all")


VIEWS = {
    "Transpose": {},
    "Flatten": {"axis": 0},
    "Unsqueeze": {"axes": [0]},
    "Slice": {"starts": [0], "ends": [1]},
    "Split": {},
    "Gather": {"indices": 0},
    "Identity": {},
}


@pytest.mark.parametrize("op_type", VIEWS)
@pytest.mark.parametrize("order", ["part first", "whole first", "twice", "three"])
@pytest.mark.parametrize("shape", [[2, 4], ["n", "m"]])
def test_a_part_of_a_value_is_listed_before_or_after_it(op_type, order, shape):
    x = np.arange(-4, 4, dtype=FLOAT).reshape(2, 4)
    names = [name for name in VIEWS[op_type] if name != "axis"]
    attributes = {k: v for k, v in VIEWS[op_type].items() if k == "axis"}
    results = ["z", "z2"] if op_type == "Split" else ["z"]
    attributes |= {"num_outputs": 2} if op_type == "Split" else {}
    outputs = {
        "part first": [*results, "y"],
        "whole first": ["y", *results],
        "twice": ["z", "y", "same"],
        "three": ["z", "again", "y"],
    }[order]
    nodes = [
        oh.make_node("Relu", ["x"], ["y"]),
        oh.make_node(op_type, ["y", *names], results, **attributes),
        oh.make_node("Identity", ["y"], ["same"]),
        oh.make_node("Identity", ["z"], ["again"]),
    ]
    graph = oh.make_graph(
        nodes,
        "g",
        [oh.make_tensor_value_info("x", 1, shape)],
        [oh.make_tensor_value_info(name, 1, None) for name in outputs],
        [onnx.numpy_helper.from_array(np.array(VIEWS[op_type][n]), n) for n in names],
    )
    compare(made(graph), {"x": x}, "all")


def test_an_output_that_is_listed_twice_comes_as_two_arrays():
    value = oh.make_tensor_value_info("y", 1, ["n"])
    given = oh.make_tensor_value_info("x", 1, ["n"])
    relu = oh.make_node("Relu", ["x"], ["y"])
    model = made(oh.make_graph([relu], "g", [given], [value, value]))
    a, b = sardonyx.Session(model, threads=1).run(None, {"x": np.array([-1, 1], FLOAT)})
    np.testing.assert_array_equal([a, b], [[0, 1]] * 2)
    assert not np.shares_memory(a, b)


def test_constants_and_their_views_are_outputs():
    nodes = [
        oh.make_node("Transpose", ["k"], ["t"]),
        oh.make_node("Relu", ["x"], ["y"]),
    ]
    names = ["t", "k", "y"]
    graph = oh.make_graph(
        nodes,
        "g",
        [oh.make_tensor_value_info("x", 1, ["n"])],
        [oh.make_tensor_value_info(name, 1, None) for name in names],
        [onnx.numpy_helper.from_array(np.arange(6, dtype=FLOAT).reshape(2, 3), "k")],
    )
    for optimize in ("none", "all"):
        compare(made(graph), {"x": np.ones(3, FLOAT)}, optimize)
