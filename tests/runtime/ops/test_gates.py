"""Squeeze-and-excite blocks before 1 x 1 convolutions."""

import numpy as np
import pytest
from onnx.helper import make_node
from sardonyx.kernels.costs import StreamCosts
from sardonyx.kernels.machine_costs import costs_given, machine_costs


@pytest.fixture(autouse=True)
def even_streams():
    """Bytes cost the same wherever they lie."""
    with costs_given(machine_costs()._replace(streams=StreamCosts(1.0, 1.0, 1.0, 1.0, 1.0))):
        yield


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


def block(channels, out, *, gate="HardSigmoid", bias=True, after=(), **attributes):
    """A map, its gates, the gated map and its convolution to ``y`` (``z`` after ``after``)."""
    weights = {
        "w1": normal(channels // 2, channels, 1, 1),
        "w2": normal(channels, channels // 2, 1, 1),
        "w": normal(out, channels, 1, 1),
        "b": normal(out, seed=1),
        "k": normal(channels, 1, 3, 3),
    }
    nodes = [
        make_node("Conv", ["x", "k"], ["m"], group=channels, pads=[1, 1, 1, 1]),
        make_node("GlobalAveragePool", ["m"], ["p"]),
        make_node("Conv", ["p", "w1"], ["s"]),
        make_node("Relu", ["s"], ["r"]),
        make_node("Conv", ["r", "w2"], ["e"]),
        make_node(gate, ["e"], ["g"]),
        make_node("Mul", ["g", "m"], ["gated"]),
        make_node("Conv", ["gated", "w", *(["b"] if bias else [])], ["y"], **attributes),
        *after,
    ]
    return nodes, {name: a for name, a in weights.items() if bias or name != "b"}


def scalings(session):
    kernels = session.engine.program.kernels
    return sum("scale_panels" in str(kernels[step.kernel]) for step in session.engine.program.steps)


def images(channels, *sizes, **more):
    return [{"x": normal(n, channels, h, w), **more} for n, h, w in sizes]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch", [1, 3])
def test_gates_scale_weights(check, threads, bias, batch):
    for channels, out in [(2, 1), (6, 8), (24, 33), (48, 24)]:
        nodes, weights = block(channels, out, bias=bias)
        session = check(nodes, images(channels, (batch, 11, 9)), weights, threads=[threads])
        assert scalings(session) == 1


@pytest.mark.parametrize(
    "after",
    [
        [make_node("Relu", ["y"], ["z"])],
        [make_node("Add", ["y", "other"], ["z"])],
        [make_node("Add", ["other", "y"], ["t"]), make_node("Relu", ["t"], ["z"])],
        [make_node("Sigmoid", ["y"], ["t"]), make_node("Mul", ["t", "y"], ["z"])],
    ],
    ids=["activation", "residual", "residual, activation", "chain"],
)
def test_what_follows_the_convolution(check, after):
    nodes, weights = block(8, 12, gate="Sigmoid", after=after)
    feeds = [{"x": normal(n, 8, 7, 5), "other": normal(n, 12, 7, 5)} for n in (1, 3)]
    if not any("other" in node.input for node in after):
        feeds = [{"x": feed["x"]} for feed in feeds]
    assert scalings(check(nodes, feeds, weights, threads=[1, 2, 3])) == 1


def test_strides_and_sizes_known_only_at_run_time(check):
    nodes, weights = block(16, 8, strides=[2, 2])
    sizes = [(1, 9, 13), (3, 8, 5), (2, 2, 2)]
    assert scalings(check(nodes, images(16, *sizes), weights, threads=[1, 2])) == 1


def test_one_gate_for_all_images(check):
    nodes = [
        make_node("Relu", ["x"], ["m"]),
        make_node("Mul", ["m", "g"], ["gated"]),
        make_node("Conv", ["gated", "w"], ["y"]),
        make_node("ReduceMean", ["m"], ["mean"]),
    ]
    feeds = images(6, (3, 8, 8), g=normal(1, 6, 1, 1, seed=2))
    session = check(nodes, feeds, {"w": normal(9, 6, 1, 1)}, outputs=["y", "mean"])
    assert scalings(session) == 1


@pytest.mark.parametrize("reason", ["padded", "grouped", "window", "read elsewhere", "few pixels"])
def test_where_the_map_itself_is_multiplied(check, reason):
    changes = {"padded": {"pads": [1, 0, 0, 1]}, "grouped": {"group": 2}}.get(reason, {})
    nodes, weights = block(8, 6, **changes)
    if reason == "grouped":
        weights["w"] = normal(6, 4, 1, 1)
    elif reason == "window":
        weights["w"] = normal(6, 8, 3, 3)
    elif reason == "read elsewhere":
        nodes.append(make_node("ReduceMax", ["gated"], ["z"]))
    size = 2 if reason == "few pixels" else 9
    outputs = ["y", "z"] if reason == "read elsewhere" else ["y"]
    session = check(nodes, images(8, (2, size, size)), weights, outputs=outputs)
    assert scalings(session) == 0


def test_two_convolutions_of_one_gated_map(check):
    more = [make_node("Conv", ["gated", "v"], ["z"])]
    nodes, weights = block(8, 6, after=more)
    weights["v"] = normal(5, 8, 1, 1)
    session = check(nodes, images(8, (2, 6, 6)), weights, outputs=["y", "z"])
    assert scalings(session) == 2


@pytest.mark.parametrize(("memory", "count"), [(1.0, 1), (9.0, 0)])
def test_weights_are_scaled_where_they_cost_less_than_the_map(check, memory, count):
    """33 results of 99 pixels: weights that come from memory may cost three times as much."""
    nodes, weights = block(24, 33)
    streams = StreamCosts(1.0, 1.0, memory, 1.0, memory)
    with costs_given(machine_costs()._replace(streams=streams)):
        session = check(nodes, images(24, (1, 11, 9)), weights, threads=[1])
    assert scalings(session) == count
