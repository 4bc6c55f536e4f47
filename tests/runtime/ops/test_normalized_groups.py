"""Elementwise nodes and the normalization of their result as one step, and where they stay two."""

import numpy as np
import pytest
from onnx.helper import make_node

NORMS = {"LayerNormalization": ["s", "b"], "RMSNormalization": ["s"]}


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


def steps(session):
    return [step.op_type for step in session.engine.program.steps]


def weights(n, **more):
    return {"s": normal(n, seed=1), "b": normal(n, seed=2), **more}


def norm(op_type, x="t", outputs=("y",), **attributes):
    return make_node(op_type, [x, *NORMS[op_type]], list(outputs), **attributes)


@pytest.mark.parametrize("op_type", NORMS)
@pytest.mark.parametrize("outputs", [["y"], ["y", "t"]])
@pytest.mark.parametrize("n", [1, 7, 64, 257, 5000])
def test_a_sum_is_one_step_with_its_normalization(check, op_type, outputs, n):
    nodes = [make_node("Add", ["x", "r"], ["a"]), make_node("Add", ["a", "c"], ["t"])]
    feeds = {"x": normal(2, 9, n) + 2, "r": normal(2, 9, n, seed=3)}
    session = check(
        [*nodes, norm(op_type, epsilon=1e-4)], feeds, weights(n, c=normal(n, seed=4)),
        outputs=outputs, threads=[1, 3], opset=23,
    )  # fmt: skip
    assert steps(session) == [f"Add+Add+{op_type}"]


def test_sizes_are_known_when_run(check):
    feeds = [{"x": normal(b, s, 40), "r": normal(b, s, 40, seed=1)} for b, s in ((1, 7), (3, 1))]
    nodes = [make_node("Mul", ["x", "r"], ["t"]), norm("LayerNormalization")]
    feeds.append({"x": normal(0, 4, 40), "r": normal(0, 4, 40)})
    dims = {name: ["batch", "length", 40] for name in "xr"}
    session = check(nodes, feeds, weights(40), dims=dims)
    assert steps(session) == ["Mul+LayerNormalization"]


def test_several_axes_and_statistics(check):
    nodes = [make_node("Sub", ["x", "r"], ["t"]), norm("LayerNormalization", axis=1)]
    nodes[-1].output.extend(["m", "i"])
    given = {"s": normal(4, 6), "b": normal(4, 6, seed=1)}
    session = check(nodes, {"x": normal(5, 4, 6), "r": normal(5, 4, 6, seed=2)}, given)
    assert steps(session) == ["Sub+LayerNormalization"]


def test_a_sum_that_is_normalized_twice(check):
    nodes = [
        make_node("Add", ["x", "r"], ["t"]),
        norm("LayerNormalization"), norm("LayerNormalization", outputs=["z"], epsilon=0.1),
    ]  # fmt: skip
    feeds = {"x": normal(5, 24), "r": normal(5, 24, seed=3)}
    session = check(nodes, feeds, weights(24), outputs=["y", "z"])
    assert len(steps(session)) == 2


def test_statistics_that_come_later_stay_behind(check):
    """A scale that is computed after the sum."""
    nodes = [
        make_node("Add", ["x", "r"], ["t"]), make_node("ReduceMean", ["t"], ["m"], keepdims=0),
        make_node("Mul", ["s", "m"], ["g"]),
        make_node("LayerNormalization", ["t", "g"], ["y"]),
    ]  # fmt: skip
    feeds = {"x": normal(5, 24), "r": normal(5, 24, seed=3)}
    session = check(nodes, feeds, {"s": normal(24)})
    assert "Add" in steps(session)


@pytest.mark.parametrize("shape", [(1, 9, 16), (9, 1), (2, 1, 16)])
def test_operands_that_are_repeated_stay_outside(check, shape):
    nodes = [make_node("Add", ["x", "r"], ["t"]), norm("LayerNormalization")]
    feeds = {"x": normal(2, 9, 16), "r": normal(*shape, seed=3)}
    assert len(steps(check(nodes, feeds, weights(16)))) == 2


def test_operands_that_lie_otherwise_stay_outside(check):
    nodes = [
        make_node("Transpose", ["v"], ["x"], perm=[0, 2, 1]),
        make_node("Add", ["x", "r"], ["t"]), norm("LayerNormalization"),
    ]  # fmt: skip
    feeds = {"v": normal(2, 16, 9), "r": normal(2, 9, 16, seed=3)}
    check(nodes, feeds, weights(16))


def test_a_product_keeps_the_sum_in_its_step(check):
    nodes = [
        make_node("MatMul", ["x", "w"], ["p"]), make_node("Add", ["p", "r"], ["t"]),
        norm("LayerNormalization"),
    ]  # fmt: skip
    feeds = {"x": normal(9, 24), "r": normal(9, 16, seed=3)}
    session = check(nodes, feeds, weights(16, w=normal(24, 16)), outputs=["y", "t"])
    assert steps(session) == ["MatMul+Add", "LayerNormalization"]
