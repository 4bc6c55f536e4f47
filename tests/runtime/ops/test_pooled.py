"""Max pooling within the Winograd convolution before it, and where it has to stay outside."""

import numpy as np
import pytest
from onnx.helper import make_node

pytestmark = pytest.mark.usefixtures("by_vectors", "lowered_anew")


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


WEIGHTS = {"w": normal(40, 32, 3, 3) / 17, "b": normal(40, seed=1)}
CONV = make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 1, 1, 1])
RELU = make_node("Relu", ["c"], ["a"])


def pool(source="a", **attributes):
    return make_node(
        "MaxPool", [source], ["y"], **{"kernel_shape": [2, 2], "strides": [2, 2], **attributes}
    )


def pools(session):
    """Number of steps that are poolings of their own."""
    assert any("winograd" in str(kernel) for kernel in session.engine.program.kernels)
    return [step.op_type for step in session.engine.program.steps].count("MaxPool")


@pytest.mark.parametrize("sizes", [(1, 28, 28), (2, 17, 23), (3, 8, 6), (1, 2, 30)])
def test_of_any_size(check, sizes):
    images = {"x": normal(sizes[0], 32, *sizes[1:])}
    assert not pools(check([CONV, RELU, pool()], images, WEIGHTS, threads=(1, 2, 4)))


def test_of_a_size_known_when_run(check):
    feeds = [{"x": normal(*sizes)} for sizes in ((1, 32, 40, 41), (2, 32, 12, 30))]
    assert not pools(check([CONV, RELU, pool()], feeds, WEIGHTS))


def test_without_an_activation(check):
    images = {"x": normal(1, 32, 24, 24)}
    assert not pools(check([CONV, pool("c")], images, WEIGHTS))


@pytest.mark.parametrize(
    "activation",
    [make_node("LeakyRelu", ["c"], ["a"], alpha=-0.5), make_node("HardSwish", ["c"], ["a"])],
)
def test_an_activation_that_falls_comes_first(check, activation):
    assert pools(check([CONV, activation, pool()], {"x": normal(1, 32, 24, 24)}, WEIGHTS)) == 1


@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [3, 3]},
        {"strides": [1, 1]},
        {"pads": [1, 1, 0, 0]},
        {"dilations": [2, 2]},
        {"ceil_mode": 1},
        {"auto_pad": "SAME_UPPER"},
    ],
)
def test_other_windows(check, attributes):
    images = {"x": normal(1, 32, 27, 27)}
    assert pools(check([CONV, RELU, pool(**attributes)], images, WEIGHTS)) == 1


def test_the_whole_map_is_wanted_too(check):
    images = {"x": normal(1, 32, 24, 24)}
    assert pools(check([CONV, RELU, pool()], images, WEIGHTS, outputs=["a", "y"])) == 1
    nodes = [CONV, RELU, pool(), make_node("Neg", ["a"], ["n"])]
    assert pools(check(nodes, images, WEIGHTS, outputs=["y", "n"])) == 1


def test_a_transposed_convolution_in_several_steps_has_no_whole_windows(check):
    """With a stride, each step writes every second pixel of a row."""
    images = {"x": normal(1, 32, 24, 24)}
    for taps, stride, separate in ((6, 2, 1), (3, 1, 0)):
        weights = {"w": normal(32, 40, taps, taps) / 17, "b": WEIGHTS["b"]}
        conv = make_node("ConvTranspose", ["x", "w", "b"], ["c"], strides=[stride] * 2)
        assert pools(check([conv, pool("c")], images, weights)) == separate


def test_maxima_in_a_concatenation(check):
    nodes = [
        CONV, RELU, pool(),
        make_node("AveragePool", ["x"], ["s"], kernel_shape=[2, 2], strides=[2, 2]),
        make_node("Concat", ["s", "y"], ["z"], axis=1),
    ]  # fmt: skip
    assert not pools(check(nodes, {"x": normal(1, 32, 24, 24)}, WEIGHTS))


def test_a_residual_stays_outside(check):
    nodes = [CONV, make_node("Add", ["c", "r"], ["a"]), pool()]
    images = {"x": normal(1, 32, 24, 24), "r": normal(1, 40, 24, 24)}
    assert pools(check(nodes, images, WEIGHTS)) == 1


def test_the_output_of_the_model_in_its_own_order(check):
    """A pooled map that is an output is written channels last, and put in order after."""
    assert not pools(check([CONV, RELU, pool()], {"x": normal(2, 32, 10, 10)}, WEIGHTS))
