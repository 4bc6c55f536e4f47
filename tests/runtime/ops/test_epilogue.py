"""Epilogues of convolutions and products, against onnxruntime."""

import itertools

import numpy as np
import pytest
from onnx.helper import make_node


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


# Heads that write c, with their inputs and weights; the result of each is given beside it.
def head(kind):
    if kind == "Conv":
        node = make_node("Conv", ["x", "w", "b"], ["c"], pads=[1] * 4)
        return node, normal(2, 5, 6, 7), {"w": normal(9, 5, 3, 3), "b": normal(9)}, (2, 9, 6, 7)
    if kind == "pointwise":
        node = make_node("Conv", ["x", "w"], ["c"])
        return node, normal(2, 5, 6, 7), {"w": normal(9, 5, 1, 1)}, (2, 9, 6, 7)
    if kind == "column":
        node = make_node("Conv", ["x", "w"], ["c"], pads=[1, 0, 1, 0])
        return node, normal(2, 5, 30, 1), {"w": normal(9, 5, 3, 1)}, (2, 9, 30, 1)
    if kind == "depthwise":
        node = make_node("Conv", ["x", "w"], ["c"], group=9, pads=[1] * 4)
        return node, normal(2, 9, 6, 7), {"w": normal(9, 1, 3, 3)}, (2, 9, 6, 7)
    if kind == "one axis":
        node = make_node("Conv", ["x", "w"], ["c"], pads=[1, 1])
        return node, normal(2, 5, 30), {"w": normal(9, 5, 3)}, (2, 9, 30)
    if kind == "MatMul":
        return (
            make_node("MatMul", ["x", "w"], ["c"]),
            normal(2, 6, 5),
            {"w": normal(5, 9)},
            (2, 6, 9),
        )
    if kind == "batched":
        weights = {"w": normal(2, 5, 9)}
        return make_node("MatMul", ["x", "w"], ["c"]), normal(2, 6, 5), weights, (2, 6, 9)
    weights = {"w": normal(9, 5), "b": normal(9)}
    node = make_node("Gemm", ["x", "w", "b"], ["c"], transB=1)
    return node, normal(6, 5), weights, (6, 9)


HEADS = ["Conv", "pointwise", "column", "depthwise", "one axis", "MatMul", "batched", "Gemm"]
every_head = pytest.mark.parametrize("kind", HEADS)


def channel_shape(kind, shape):
    """Shape of an operand that has one element per channel."""
    if len(shape) < 3 or "at" in kind:
        return shape[-1:]
    return (1, shape[1], *[1] * (len(shape) - 2))


def sum_of(op_type, a, b):
    return make_node(op_type, [a, b], ["d"])


ACTIVATIONS = [
    ("Relu", {}),
    ("LeakyRelu", {"alpha": 0.2}),
    ("HardSwish", {}),
    ("Sigmoid", {}),
    ("Tanh", {}),
    ("Gelu", {}),
    ("Gelu", {"approximate": "tanh"}),
    ("Elu", {}),
]


@every_head
@pytest.mark.parametrize(("op_type", "attributes"), ACTIVATIONS, ids=str)
def test_activation(check, kind, op_type, attributes):
    node, x, weights, _ = head(kind)
    check([node, make_node(op_type, ["c"], ["y"], **attributes)], {"x": x}, weights)


@every_head
@pytest.mark.parametrize("limits", [(-0.5, 1.0), (None, 0.5), (0.25, None), (None, None), (2, 1)])
def test_clip(check, kind, limits):
    node, x, weights, _ = head(kind)
    names = ["" if limit is None else f"l{i}" for i, limit in enumerate(limits)]
    given = {
        n: np.array(v, np.float32) for n, v in zip(names, limits, strict=True) if v is not None
    }
    clip = make_node("Clip", ["c", *names], ["y"])
    check([node, clip], {"x": x}, weights | given)
    # Limits that are known only when the model runs.
    check([node, clip], {"x": x, **given}, weights)


@every_head
@pytest.mark.parametrize("op_type", ["Add", "Sum", "Mul", "Sub", "Div"])
@pytest.mark.parametrize("constant", [True, False])
def test_operand_per_channel_then_activation(check, kind, op_type, constant):
    node, x, weights, shape = head(kind)
    other = {"o": normal(*channel_shape(kind, shape)) + 3}
    feeds, weights = ({"x": x}, weights | other) if constant else ({"x": x, **other}, weights)
    for a, b in (("c", "o"), ("o", "c")):
        tail = [make_node(op_type, [a, b], ["d"]), make_node("Relu", ["d"], ["y"])]
        check([node, *tail], feeds, weights)


@every_head
@pytest.mark.parametrize("op_type", ["Add", "Sum", "Mul"])
def test_residual_in_both_orders(check, kind, op_type):
    node, x, weights, shape = head(kind)
    relu = make_node("Relu", ["d"], ["y"])
    for a, b in (("c", "r"), ("r", "c")):
        feeds = {"x": x, "r": normal(*shape, seed=3)}
        check([node, make_node(op_type, [a, b], ["d"]), relu], feeds, weights, threads=[1, 4])


@every_head
def test_bias_residual_and_activation_together(check, kind):
    node, x, weights, shape = head(kind)
    weights["s"] = normal(*channel_shape(kind, shape), seed=4)
    for activation in ("Relu", "Sigmoid"):
        tail = [
            make_node("Add", ["s", "c"], ["d"]),
            make_node("Add", ["r", "d"], ["e"]),
            make_node(activation, ["e"], ["y"]),
        ]
        check([node, *tail], {"x": x, "r": normal(*shape, seed=3)}, weights, threads=[1, 4])


@every_head
def test_operands_of_every_shape_that_broadcasts(check, kind):
    node, x, weights, shape = head(kind)
    ranks = range(len(shape) + 1)
    for rank in ranks:
        for kept in itertools.product((False, True), repeat=rank):
            tail = shape[len(shape) - rank :]
            other = normal(*(n if keep else 1 for n, keep in zip(tail, kept, strict=True)))
            check([node, make_node("Mul", ["c", "o"], ["y"])], {"x": x, "o": other}, weights)
            check([node, make_node("Add", ["o", "c"], ["y"])], {"x": x}, weights | {"o": other})


@every_head
def test_operand_larger_than_the_result(check, kind):
    node, x, weights, shape = head(kind)
    other = normal(3, *shape)
    check([node, make_node("Add", ["c", "o"], ["y"])], {"x": x, "o": other}, weights)


@every_head
def test_result_that_is_needed_twice(check, kind):
    node, x, weights, shape = head(kind)
    weights["s"] = normal(*channel_shape(kind, shape), seed=4)
    for activation in ("Relu", "Sigmoid", "HardSwish"):
        for op_type in ("Add", "Mul", "Sum"):
            act = make_node(activation, ["c"], ["d"])
            check([node, act, make_node(op_type, ["c", "d"], ["y"])], {"x": x}, weights)
            shifted = make_node("Add", ["c", "s"], ["e"])
            act = make_node(activation, ["e"], ["d"])
            for other in ("e", "c"):
                last = make_node(op_type, ["d", other], ["y"])
                check([node, shifted, act, last], {"x": x}, weights)


@every_head
def test_doubled_result(check, kind):
    node, x, weights, _ = head(kind)
    for op_type in ("Add", "Mul", "Sum"):
        check([node, make_node(op_type, ["c", "c"], ["y"])], {"x": x}, weights)


@every_head
def test_results_that_are_outputs_too(check, kind):
    node, x, weights, shape = head(kind)
    feeds = {"x": x, "r": normal(*shape, seed=3)}
    tail = [make_node("Add", ["c", "r"], ["d"]), make_node("Relu", ["d"], ["y"])]
    for outputs in (["c", "y"], ["d", "y"], ["y", "d", "c"], ["c"]):
        check([node, *tail], feeds, weights, outputs=outputs)


@every_head
def test_result_that_others_need_elsewhere(check, kind):
    node, x, weights, _ = head(kind)
    tail = [
        make_node("Relu", ["c"], ["d"]),
        make_node("ReduceMax", ["c"], ["m"]),
        make_node("Mul", ["d", "m"], ["y"]),
    ]
    check([node, *tail], {"x": x}, weights)


@every_head
def test_long_chains(check, kind):
    node, x, weights, shape = head(kind)
    weights["s"] = normal(*channel_shape(kind, shape), seed=4)
    operators = ["Add", "Mul", "Sub"] * 5
    names = ["c", *(f"d{i}" for i in range(len(operators)))]
    chain = [
        make_node(op_type, [a, "s"], [b])
        for op_type, a, b in zip(operators, names, names[1:], strict=False)
    ]
    check([node, *chain], {"x": x}, weights, threads=[1, 4])


@pytest.mark.parametrize("kind", ["pointwise", "depthwise", "Conv"])
def test_residual_equal_to_the_input(check, kind):
    channels = 9
    weights = {
        "pointwise": normal(channels, channels, 1, 1),
        "depthwise": normal(channels, 1, 3, 3),
        "Conv": normal(channels, channels, 3, 3),
    }[kind]
    pads = [weights.shape[2] // 2] * 4
    group = channels if kind == "depthwise" else 1
    for n, h, w in ((1, 6, 7), (3, 9, 1), (1, 1, 1)):
        # The input as the model gets it, and as another convolution wrote it.
        x = normal(n, channels, h, w)
        nodes = [
            make_node("Conv", ["x", "w"], ["c"], pads=pads, group=group),
            make_node("Add", ["x", "c"], ["d"]),
            make_node("Conv", ["d", "w"], ["e"], pads=pads, group=group),
            make_node("Add", ["e", "d"], ["f"]),
            make_node("Relu", ["f"], ["y"]),
        ]
        check(nodes, {"x": x}, {"w": weights}, outputs=["y", "d"])


def test_residual_of_a_product_equal_to_its_operands(check):
    nodes = [
        make_node("MatMul", ["x", "w"], ["c"]),
        make_node("Add", ["x", "c"], ["d"]),
        make_node("MatMul", ["d", "d"], ["e"]),
        make_node("Sum", ["e", "d"], ["y"]),
    ]
    feeds = [{"x": normal(n, 7, 7)} for n in (1, 3)]
    check(nodes, feeds, {"w": normal(7, 7)}, threads=[1, 4])


def test_sums_of_two_convolutions(check):
    weights = {"v": normal(9, 4, 3, 3), "w": normal(9, 4, 1, 1), "b": normal(9)}
    nodes = [
        make_node("Conv", ["x", "v", "b"], ["c"], pads=[1] * 4),
        make_node("Conv", ["x", "w"], ["d"]),
        make_node("Add", ["c", "d"], ["e"]),
        make_node("Relu", ["e"], ["y"]),
    ]
    feeds = [{"x": normal(n, 4, h, w)} for n, h, w in ((1, 8, 5), (2, 1, 9), (3, 4, 1))]
    check(nodes, feeds, weights, threads=[1, 2, 4])


@pytest.mark.parametrize("kind", ["Conv", "MatMul"])
def test_tails_of_other_types(check, kind):
    node, x, weights, _ = head(kind)
    cast = make_node("Cast", ["c"], ["d"], to=7)
    check([node, cast, make_node("Add", ["d", "d"], ["y"])], {"x": x}, weights)
    greater = make_node("Greater", ["c", "t"], ["y"])
    check([node, greater], {"x": x}, weights | {"t": np.array(0.3, np.float32)})


@pytest.mark.parametrize("kind", ["Conv", "one axis", "MatMul"])
def test_tails_at_several_shapes(check, kind):
    node, x, weights, shape = head(kind)
    tail = [make_node("Add", ["c", "r"], ["d"]), make_node("Sigmoid", ["d"], ["y"])]
    feeds = []
    for extra in (0, 5, 1):
        wider = list(x.shape)
        axis = 1 if kind == "MatMul" else len(wider) - 1
        wider[axis] += extra
        result = list(shape)
        result[axis] += extra
        feeds.append({"x": normal(*wider), "r": normal(*result)})
    check([node, *tail], feeds, weights)
    # The operand is repeated at one of the shapes, and is not at the others.
    one = np.ones(len(shape), int)
    feeds[1]["r"] = normal(*one)
    axes = [str(i) for i in range(len(shape))]
    check([node, *tail], feeds, weights, dims={"r": axes})


def test_as_many_operands_as_a_group_may_have(check):
    """Their record has to fit the words that a kernel keeps for it."""
    nodes = [make_node("MatMul", ["x", "w"], ["t0"])]
    feeds = {"x": normal(64, 96)}
    for i in range(11):
        nodes.append(make_node(("Add", "Mul")[i % 2], [f"t{i}", f"s{i}"], [f"t{i + 1}"]))
        feeds[f"s{i}"] = np.array(1 + i / 7, np.float32)
    session = check(nodes, feeds, {"w": normal(96, 128)})
    assert len(session.engine.program.steps) == 1
