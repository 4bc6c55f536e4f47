"""Sizes that depend on data: memory is planned once they are known, and used again."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.helper as oh
import onnxruntime
import pytest
import sardonyx
from sardonyx.importers import load
from sardonyx.kernels import abi
from sardonyx.runtime import lowering, placement
from sardonyx.runtime.binding import Binding

FLOAT = np.float32
GRAPHS = 30


def made(nodes, inputs, outputs, weights):
    graph = oh.make_graph(
        nodes,
        "g",
        [oh.make_tensor_value_info(name, *port) for name, port in inputs.items()],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [onnx.numpy_helper.from_array(a, name) for name, a in weights.items()],
    )
    opsets = [oh.make_opsetid("", 21)]
    return oh.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


def expected(model, feeds):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # it tells of weights that random graphs do not read
    return onnxruntime.InferenceSession(model, options).run(None, feeds)


class Drawn:
    """A random graph of images whose height and width depend on data or on inputs' sizes.

    Each value is known by its channels and the number of the source of its height and width;
    values of one source can be added and concatenated, also where one source has two names.
    """

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.weights, self.outputs = [], {}, []
        self.values = {"x": (2, 0), "b": (3, 0), "c": (2, 1)}
        self.sources = 2
        for _ in range(self.rng.integers(5, 14)):
            kinds = [self.convolve] * 3 + [self.concatenate] * 4 + [self.activate, self.compress]
            kinds[self.rng.integers(len(kinds))]()
        names = list(self.values)[3:]
        picked = {names[i] for i in self.rng.integers(0, len(names), 2)}
        self.outputs = sorted({names[-1], *picked})

    def draw(self, items):
        items = list(items)
        return items[self.rng.integers(len(items))]

    def node(self, op_type, inputs, channels, source, **attributes):
        name = f"v{len(self.values)}"
        self.nodes.append(oh.make_node(op_type, inputs, [name], name=f"n {name}", **attributes))
        self.values[name] = channels, source

    def convolve(self):
        x = self.draw(self.values)
        weights = self.rng.standard_normal((4, self.values[x][0], 3, 3)).astype(FLOAT) / 4
        self.weights[f"w{len(self.weights)}"] = weights
        self.node("Conv", [x, f"w{len(self.weights) - 1}"], 4, self.values[x][1], pads=[1] * 4)

    def activate(self):
        x = self.draw(self.values)
        self.node(self.draw(["Relu", "Sigmoid"]), [x], *self.values[x])

    def compress(self):
        """Leave away rows of the image, as many as data say."""
        x = self.draw(name for name, value in self.values.items() if value[1] < 2)
        self.node("Compress", [x, "keep"], self.values[x][0], self.sources, axis=2)
        self.sources += 1

    def concatenate(self):
        source = self.draw({source for _, source in self.values.values()})
        same = [name for name, value in self.values.items() if value[1] == source]
        parts = [self.draw(same) for _ in range(self.rng.integers(2, 4))]
        self.node("Concat", parts, sum(self.values[p][0] for p in parts), source, axis=1)

    def model(self):
        inputs = {
            "x": (1, ["n", 2, "h", "w"]),
            "b": (1, ["n", 3, "h2", "w2"]),
            "c": (1, ["n", 2, "h3", "w3"]),
            "keep": (9, ["k"]),
        }
        return made(self.nodes, inputs, self.outputs, self.weights)

    def feeds(self, height, width):
        normal = self.rng.standard_normal
        return {
            "x": normal((1, 2, height, width)).astype(FLOAT),
            "b": normal((1, 3, height, width)).astype(FLOAT),
            "c": normal((1, 2, height + 2, width + 1)).astype(FLOAT),
            "keep": self.rng.random(height) < 0.9,
        }


@pytest.fixture
def planned_sizes(monkeypatch):
    """Compare at the end of each run the sizes of buffers with those that were planned."""
    planned = {}
    original = Binding._plan

    def plan(self, phase):
        original(self, phase)
        for index, row in enumerate(self.program.buffers):
            if row[abi.BUFFER_PHASE] == phase:
                planned[id(self), index] = self.value(row[abi.BUFFER_SIZE])

    monkeypatch.setattr(Binding, "_plan", plan)

    def compare(session):
        count = 0
        for context in session.engine.idle:
            binding = context.binding
            for index, row in enumerate(binding.program.buffers):
                used = row[abi.BUFFER_FIRST] <= row[abi.BUFFER_LAST]
                if row[abi.BUFFER_KIND] in (abi.ARENA, abi.OUTPUT) and used:
                    assert planned[id(binding), index] == binding.value(row[abi.BUFFER_SIZE])
                    count += 1
        return count

    return compare


@pytest.mark.parametrize("seed", range(GRAPHS))
def test_no_buffer_is_planned_before_its_size_is_known(seed, planned_sizes):
    drawn = Drawn(seed)
    model = drawn.model()
    session = sardonyx.Session(model, threads=1 + seed % 2)
    checked = 0
    for height, width in ((6, 5), (24, 18), (3, 40), (24, 18)):
        feeds = drawn.feeds(height, width)
        for a, b in zip(session.run(None, feeds), expected(model, feeds), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
        checked += planned_sizes(session)
    assert checked


def skip_connection():
    """A convolution's result and an image of unknown size, concatenated."""
    nodes = [
        oh.make_node("Conv", ["a", "w"], ["c"], pads=[1] * 4),
        oh.make_node("Compress", ["b", "keep"], ["u"], name="compress", axis=2),
        oh.make_node("Concat", ["u", "c"], ["k"], axis=1),
        oh.make_node("Relu", ["k"], ["y"]),
    ]
    inputs = {
        "a": (1, ["n", 3, "h", "w"]),
        "b": (1, ["n", 4, "h2", "w"]),
        "keep": (9, ["k"]),
    }
    weights = {"w": np.ones((8, 3, 3, 3), FLOAT)}
    return made(nodes, inputs, ["y"], weights)


def test_an_image_may_be_concatenated_with_one_of_a_size_that_is_known_later(rng):
    session = sardonyx.Session(skip_connection(), threads=1)
    for n in (4, 64):
        a = rng.standard_normal((1, 3, n, n)).astype(FLOAT)
        b = rng.standard_normal((1, 4, n + 2, n)).astype(FLOAT)
        feeds = {"a": a, "b": b, "keep": np.arange(n + 2) > 1}
        (y,) = session.run(None, feeds)
        np.testing.assert_allclose(y, expected(skip_connection(), feeds)[0], rtol=1e-5, atol=1e-5)


def test_a_part_of_a_known_buffer_may_have_a_size_that_is_known_later(rng):
    """Sizes of views are looked at when they are known, not when their buffer is planned."""
    nodes = [
        oh.make_node("Conv", ["a", "w"], ["r"]),
        oh.make_node("Relu", ["r"], ["s"]),
        oh.make_node("Compress", ["s", "keep"], ["u"], axis=0),
        oh.make_node("Concat", ["r", "u"], ["k"], axis=1),
        oh.make_node("Relu", ["k"], ["y"]),
    ]
    weights = {"w": np.ones((4, 3, 1, 1), FLOAT)}
    model = made(nodes, {"a": (1, ["n", 3, 2, "w"]), "keep": (9, ["k"])}, ["y"], weights)
    for optimize in ("none", "all"):
        session = sardonyx.Session(model, threads=1, optimize=optimize)
        for n in (2, 5, 1):
            a = rng.standard_normal((n, 3, 2, 4)).astype(FLOAT)
            feeds = {"a": a, "keep": np.ones(n, bool)}
            np.testing.assert_allclose(
                session.run(None, feeds)[0], expected(model, feeds)[0], rtol=1e-5, atol=1e-5
            )
        with pytest.raises(sardonyx.InvalidArgument, match="Concat"):
            session.run(None, {"a": a, "keep": np.zeros(n, bool)})


def test_assembly_refuses_a_step_that_needs_a_size_too_early(monkeypatch):
    monkeypatch.setattr(placement._KnownSince, "__call__", lambda self, value: -1)
    with pytest.raises(sardonyx.UnsupportedModel, match="computing 'c', needs the size"):
        lowering.lower(load(skip_connection()))


def chain(count):
    """Counts of chosen rows, each followed by computations of the size that it gives."""
    nodes, last = [], "x"
    for i in range(count):
        nodes += [
            oh.make_node("Compress", [last, "keep"], [f"a{i}"], axis=0),
            oh.make_node("MatMul", [f"a{i}", "w"], [f"b{i}"]),
            oh.make_node("MatMul", [f"b{i}", "w"], [f"c{i}"]),
        ]
        last = f"c{i}"
    nodes.append(oh.make_node("Add", ["first", "first"], ["y"]))
    nodes.insert(0, oh.make_node("MatMul", ["x", "w"], ["first"]))
    inputs = {"x": (1, ["n", 32]), "keep": (9, ["k"])}
    return made(nodes, inputs, [last, "y"], {"w": np.eye(32, dtype=FLOAT) / 2})


def test_phases_use_the_memory_of_values_that_are_read_no_more():
    x = np.ones((5000, 32), FLOAT)
    feeds = {"x": x, "keep": np.ones(5000, bool)}
    held, results = [], []
    for count in (2, 12):
        session = sardonyx.Session(chain(count), threads=1)
        for _ in range(2):  # phases of the first run find no arena yet that is large enough
            (last, y) = session.run(None, feeds)
            np.testing.assert_allclose(last, x / 4**count, rtol=1e-5)
            np.testing.assert_array_equal(y, x)
        held.append(session.engine.idle[0].binding.arena_bytes)
        results.append(len(session.engine.idle[0].binding.objects))
    assert held[1] == held[0] <= 4 * x.nbytes
    assert results == [0, 0]


def test_what_host_steps_gave_is_let_go_when_nothing_reads_it_any_more(monkeypatch):
    from sardonyx.runtime.executor import Context

    held = []
    original = Context._run_host

    def run_host(self, index, outputs):
        original(self, index, outputs)
        held.append(len(self.binding.objects))

    monkeypatch.setattr(Context, "_run_host", run_host)
    nodes, last = [], "x"
    for i in range(8):  # strings have no kernels
        nodes += [
            oh.make_node("Cast", [last], [f"s{i}"], to=onnx.TensorProto.STRING),
            oh.make_node("Unique", [f"s{i}"], ["", f"k{i}"]),
            oh.make_node("Gather", [last, f"k{i}"], [f"a{i}"]),
        ]
        last = f"a{i}"
    session = sardonyx.Session(made(nodes, {"x": (1, ["n"])}, [last], {}), threads=1)
    session.run(None, {"x": np.arange(4, dtype=FLOAT)})
    assert max(held) <= 2


def test_phases_of_other_sizes_follow_one_another(rng):
    """Phases that are planned again, or are as they were, after larger and smaller ones."""
    session = sardonyx.Session(chain(4), threads=1)
    for count in (10, 10, 500, 10, 500, 0, 10):
        x = rng.standard_normal((500, 32)).astype(FLOAT)
        feeds = {"x": x, "keep": np.ones(count, bool)}
        for a, b in zip(session.run(None, feeds), expected(chain(4), feeds), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
