"""Normalizations against onnxruntime, or onnx's reference."""

import numpy as np
import pytest
from onnx.helper import make_node

CHANNELS = [1, 3, 8, 17, 64, 130]


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


def conv_before(channels):
    return make_node("Conv", ["c", "w"], ["x"]), {"w": normal(channels, 3, 1, 1)}


@pytest.mark.parametrize("channels", CHANNELS)
def test_batch(check, channels):
    names = ["s", "b", "m", "v"]
    weights = {name: normal(channels, seed=i) for i, name in enumerate(names)}
    weights["v"] = np.abs(weights["v"]) + 0.1
    node = make_node("BatchNormalization", ["x", *names], ["y"], epsilon=1e-3)
    for shape in ((2, channels, 4, 5), (3, channels), (2, channels, 7), (0, channels, 2, 2)):
        check([node], {"x": normal(*shape)}, weights)
        check([node], {"x": normal(*shape), **weights})
    conv, more = conv_before(channels)
    for n in (1, 2):
        check([conv, node], {"c": normal(n, 3, 4, 5)}, weights | more, threads=[1, 4])


def test_infinities_of_constant_statistics_do_not_meet(check):
    """As (x - mean) / deviation * scale + bias has it, which onnxruntime multiplies out."""
    given = {"s": [np.inf, 1, 2], "b": [1, 1, 1], "m": [0, np.inf, 0], "v": [1, 1, np.inf]}
    weights = {name: np.array(values, np.float32) for name, values in given.items()}
    node = make_node("BatchNormalization", ["x", *weights], ["y"])
    x = np.array([[2, 2, 2], [-2, -2, -2]], np.float32)
    y = np.array([[np.inf, -np.inf, 1], [-np.inf, -np.inf, 1]], np.float32)
    check([node], {"x": x}, weights, wanted=[[y]])


@pytest.mark.parametrize("op_type", ["LayerNormalization", "RMSNormalization"])
def test_layer(check, op_type):
    outputs = ["y"]
    for shape in ((2, 3, 4), (5, 1), (3, 7), (2, 3, 257), (0, 4)):
        for axis in range(-1, -len(shape), -1):
            weights = {"s": normal(*shape[axis:])}
            names = ["x", "s"]
            if op_type == "LayerNormalization":
                weights["b"] = normal(*shape[axis:], seed=1)
            node = make_node(
                op_type, [*names, *list(weights)[1:]], outputs, axis=axis, epsilon=1e-4
            )
            opset = 23 if op_type == "RMSNormalization" else 22
            x = {"x": normal(*shape) + 3}
            check([node], x, weights, threads=[1, 4], opset=opset)
            check([node], x | weights, opset=opset)
    turn = make_node("Transpose", ["v"], ["x"], perm=[1, 2, 0])
    check(
        [turn, make_node(op_type, ["x", "s"], ["y"])],
        {"v": normal(7, 3, 4)},
        {"s": normal(7)},
        opset=23,
    )


def test_layer_with_statistics(check):
    node = make_node("LayerNormalization", ["x", "s"], ["y", "m", "i"], axis=1)
    check([node], {"x": normal(3, 4, 5)}, {"s": normal(4, 5)})
    node = make_node("LayerNormalization", ["x", "s"], ["y", "", "i"], axis=-1)
    check([node], {"x": normal(3, 4, 5)}, {"s": normal(5)}, outputs=["y", "i"])


@pytest.mark.parametrize("channels", CHANNELS)
def test_instance(check, channels):
    node = make_node("InstanceNormalization", ["x", "s", "b"], ["y"], epsilon=1e-3)
    weights = {"s": normal(channels), "b": normal(channels, seed=1)}
    for shape in ((2, channels, 4, 5), (1, channels, 9), (3, channels, 2, 3, 2)):
        check([node], {"x": normal(*shape)}, weights, threads=[1, 4], tolerance=1e-3)
    conv, more = conv_before(channels)
    check([conv, node], {"c": normal(2, 3, 4, 5)}, weights | more, tolerance=1e-3)


def test_group(check):
    for channels, groups in ((6, 1), (6, 3), (6, 6), (64, 8), (34, 2)):
        node = make_node(
            "GroupNormalization", ["x", "s", "b"], ["y"], num_groups=groups, epsilon=1e-3
        )
        weights = {"s": normal(channels), "b": normal(channels, seed=1)}
        check([node], {"x": normal(2, channels, 4, 5)}, weights, threads=[1, 4])
        conv, more = conv_before(channels)
        check([conv, node], {"c": normal(2, 3, 4, 5)}, weights | more)


def test_mean_variance(check):
    conv, more = conv_before(9)
    for axes in ([0, 2, 3], [2, 3], [-1, -2]):
        node = make_node("MeanVarianceNormalization", ["x"], ["y"], axes=axes)
        check([node], {"x": normal(2, 9, 4, 5)}, threads=[1, 4])
        check([conv, node], {"c": normal(2, 3, 4, 5)}, more)
    for axes in ([1], [0], [1, 3], [0, 1, 2, 3]):
        node = make_node("MeanVarianceNormalization", ["x"], ["y"], axes=axes)
        check([node], {"x": normal(2, 9, 4, 5)}, threads=[1, 4])


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4)])
def test_the_default_axes_of_a_mean_variance_are_those_of_images(refused, shape):
    node = make_node("MeanVarianceNormalization", ["x"], ["y"], "norm")
    assert "norm" in refused([node], {"x": normal(*shape)})


def test_powers(check):
    for p in (1, 2):
        for axis in (0, 1, -1):
            node = make_node("LpNormalization", ["x"], ["y"], axis=axis, p=p)
            check([node], {"x": normal(3, 17, 5)}, threads=[1, 4])
    conv, more = conv_before(9)
    node = make_node("LpNormalization", ["x"], ["y"], axis=1)
    check([conv, node], {"c": normal(2, 3, 4, 5)}, more)


def test_named_dimensions(check):
    feeds = [{"x": normal(n, 6, h, 5)} for n, h in ((1, 4), (3, 1), (2, 30))]
    vectors = {"s": normal(6), "b": normal(6, seed=1)}
    check(
        [make_node("InstanceNormalization", ["x", "s", "b"], ["y"])], feeds, vectors, tolerance=1e-3
    )
    check([make_node("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=2)], feeds, vectors)
    check([make_node("LayerNormalization", ["x", "s"], ["y"])], feeds, {"s": normal(5)})
    check([make_node("LpNormalization", ["x"], ["y"], axis=2)], feeds)


def test_vectors_of_the_wrong_length_are_refused(refused):
    node = make_node("InstanceNormalization", ["x", "s", "b"], ["y"], name="norm")
    feeds = {"x": normal(2, 6, 4, 5), "s": normal(5), "b": normal(5)}
    message = refused([node], feeds, dims={"x": ["N", "C", "H", "W"]})
    assert "norm" in message


@pytest.mark.parametrize("dims", [{}, {"x": "nk"}, {"s": "m"}, {"x": "nk", "s": "m"}])
def test_scales_that_do_not_fit_the_axis_are_refused(refused, dims):
    node = make_node("LayerNormalization", ["x", "s"], ["y"], "norm")
    for size in (2, 7):
        assert "'norm'" in refused([node], {"x": normal(2, 6), "s": normal(size)}, dims=dims)


def test_scale_and_bias_of_fewer_axes(check):
    node = make_node("LayerNormalization", ["x", "s", "b"], ["y"], axis=1)
    for shape in ((5,), (4, 1), (1,), (3, 4, 5)):
        given = {"s": normal(*shape), "b": normal(*shape, seed=1)}
        check([node], {"x": normal(2, 3, 4, 5)}, given, threads=[1, 4])


@pytest.mark.parametrize("name", ["LayerNormalization", "RMSNormalization"])
def test_scale_of_an_open_size_may_be_broadcast(check, name):
    node = make_node(name, ["x", "s"], ["y"])
    given = [{"x": normal(2, 6), "s": normal(size)} for size in (1, 6)]
    check([node], given, opset=23)
    check([node], given, opset=23, dims={"x": "nk", "s": "m"})
    for scale in ("k", [6]):
        check([node], given[1:], opset=23, dims={"x": "nk", "s": scale})


DOUBLES = {
    "LayerNormalization": (["s", "b"], dict(axis=-1), (5,)),
    "RMSNormalization": (["s"], dict(axis=2), (4, 5)),
    "InstanceNormalization": (["s", "b"], {}, (6,)),
    "GroupNormalization": (["s", "b"], dict(num_groups=3), (6,)),
    "MeanVarianceNormalization": ([], dict(axes=[0, 2, 3]), ()),
    "LpNormalization": ([], dict(axis=1, p=1), ()),
    "BatchNormalization": (["s", "b", "m", "v"], {}, (6,)),
}


@pytest.mark.parametrize("name", DOUBLES)
def test_float64(check, name):
    names, attributes, shape = DOUBLES[name]
    x = normal(2, 6, 4, 5).astype(np.float64)
    given = {n: np.abs(normal(*shape, seed=i)).astype(np.float64) for i, n in enumerate(names)}
    node = make_node(name, ["x", *names], ["y"], **attributes)
    opset = 23 if name == "RMSNormalization" else 22
    # onnxruntime normalizes groups in float32.
    tolerance = 1e-6 if name == "GroupNormalization" else 1e-11
    wanted = None
    if name == "MeanVarianceNormalization":  # onnx's reference has it in float32 only
        centred = x - x.mean((0, 2, 3), keepdims=True)
        wanted = [[centred / (x.std((0, 2, 3), keepdims=True) + 1e-9)]]
    for feeds, weights in (({"x": x}, given), ({"x": x, **given}, {})):
        more = {"threads": [1, 4], "tolerance": tolerance, "opset": opset, "wanted": wanted}
        check([node], feeds, weights, **more)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("outputs", [["y", "m", "i"], ["y", "", "i"], ["y", "m"]])
def test_statistics_of_what_several_steps_normalize(check, dtype, outputs):
    node = make_node("LayerNormalization", ["x", "s"], outputs, axis=1)
    given = [name for name in outputs if name]
    x, scale = normal(3, 4, 5).astype(dtype), normal(4, 1).astype(dtype)
    check([node], {"x": x}, {"s": scale}, outputs=given)
