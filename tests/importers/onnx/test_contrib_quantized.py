"""Operators of com.microsoft on integers of 8 bits, drawn at random, against onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sardonyx
from onnx import helper as oh

from .contrib_cases import agree, close, computed, model

F32, U8, I8, I32 = np.float32, np.uint8, np.int8, np.int32
Weights = dict[str, np.ndarray]
CASES = 6


class Drawn:
    """Random types, sizes and numbers of a case."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def number(self, least: int, most: int) -> int:
        return int(self.rng.integers(least, most + 1))

    def chance(self) -> bool:
        return bool(self.rng.random() < 0.5)

    def one_of(self, *options: Any) -> Any:
        return options[self.number(0, len(options) - 1)]

    def shape(self, least: int = 1, most: int = 4) -> tuple[int, ...]:
        return tuple(self.number(1, 6) for _ in range(self.number(least, most)))

    def integers(self, kind: type, *shape: int) -> np.ndarray:
        limits = np.iinfo(kind)
        return self.rng.integers(limits.min, limits.max + 1, shape).astype(kind)

    def normal(self, *shape: int) -> np.ndarray:
        return self.rng.standard_normal(shape).astype(F32)

    def scale(self, *shape: int) -> np.ndarray:
        return np.asarray(self.rng.random(shape) * 0.05 + 0.005).astype(F32)

    def described(self, kind: type, stem: str, *shape: int) -> Weights:
        """Scale and zero point of a tensor, one or several."""
        zero = np.asarray(self.integers(kind, *shape) if shape else self.integers(kind, 1)[0])
        return {f"{stem}_scale": self.scale(*shape), f"{stem}_zero": zero}

    def kernel(self, axes: int) -> dict[str, list[int]]:
        """Attributes of a window."""
        sizes = [self.number(1, 3) for _ in range(axes)]
        pads = [self.number(0, size - 1) for size in sizes] * 2
        found = {"kernel_shape": sizes, "strides": [self.number(1, 2) for _ in sizes]}
        return found | ({"pads": pads} if self.chance() else {})

    def images(self, axes: int, channels: int, is_last: int) -> tuple[int, ...]:
        sizes = [self.number(3, 8) for _ in range(axes)]
        return (2, *sizes, channels) if is_last else (2, channels, *sizes)


@pytest.fixture(params=range(CASES))
def drawn(request: pytest.FixtureRequest) -> Drawn:
    return Drawn(request.param)


@pytest.fixture(params=[U8, I8])
def kind(request: pytest.FixtureRequest) -> type:
    return request.param


# --- elementwise, and what moves ----------------------------------------------------------------


def test_arithmetic(drawn, kind):
    shape = drawn.shape()
    other = [drawn.one_of(1, size) for size in shape][drawn.number(0, len(shape) - 1) :]
    a, b, c = (drawn.described(kind, stem) for stem in "abc")
    feeds = {"a": drawn.integers(kind, *shape), "b": drawn.integers(kind, *other)}
    for name in ("QLinearAdd", "QLinearMul"):
        agree(name, feeds, a | b | c, ["a", *a, "b", *b, *c])


def test_activations(drawn, kind):
    x, y = drawn.described(kind, "x"), drawn.described(kind, "y")
    feeds = {"x": drawn.integers(kind, *drawn.shape())}
    agree("QLinearSigmoid", feeds, x | y)
    agree("QLinearLeakyRelu", feeds, x | y, alpha=drawn.rng.random())


def test_softmax(drawn, kind):
    x = drawn.described(kind, "x")
    y = {"y_scale": np.array(1 / 256, F32), "y_zero": np.array(np.iinfo(kind).min, kind)}
    feeds = {"x": drawn.integers(kind, *drawn.shape())}
    axis = drawn.number(-feeds["x"].ndim, feeds["x"].ndim - 1)
    for opset in (11, 13):
        agree("QLinearSoftmax", feeds, x | y, axis=axis, opset=opset)


def test_means(drawn, kind):
    """onnxruntime has no kernel for it: the mean of what the standard dequantizes."""
    shape = drawn.shape(2)
    x, y = drawn.described(kind, "x"), drawn.described(kind, "y")
    feeds = {"x": drawn.integers(kind, *shape)}
    axes, keep = [drawn.number(0, len(shape) - 1)], drawn.number(0, 1)
    proto = model("QLinearReduceMean", feeds, x | y, ["x", *x, *y], axes=axes, keepdims=keep)
    wide = (feeds["x"].astype(F32) - x["x_zero"].astype(F32)) * x["x_scale"]
    mean = wide.mean(axis=tuple(axes), keepdims=bool(keep)) / y["y_scale"]
    limits = np.iinfo(kind)
    wanted = np.clip(np.rint(mean) + int(y["y_zero"]), limits.min, limits.max).astype(kind)
    (found,) = computed(proto, feeds)
    close(found, wanted, 0)


def test_choices(drawn, kind):
    shape = drawn.shape()
    feeds = {"c": drawn.rng.random(shape) < 0.5, "a": drawn.integers(kind, *shape),
             "b": drawn.integers(kind, *shape[-1:])}  # fmt: skip
    a, b, y = (drawn.described(kind, stem) for stem in "aby")
    agree("QLinearWhere", feeds, a | b | y, ["c", "a", *a, "b", *b, *y])


def test_concatenation(drawn, kind):
    shape = drawn.shape()
    axis = drawn.number(-len(shape), len(shape) - 1)
    weights = drawn.described(kind, "y")
    inputs, feeds = [*weights], {}
    for i in range(drawn.number(1, 4)):
        sizes = list(shape)
        sizes[axis] = drawn.number(1, 4)
        own = drawn.described(kind, f"x{i}")
        feeds[f"x{i}"] = drawn.integers(kind, *sizes)
        inputs += [f"x{i}", *own]
        weights |= own
    agree("QLinearConcat", feeds, weights, inputs, axis=axis)


@pytest.mark.parametrize("name", ["QLinearAdd", "QLinearSigmoid", "QLinearAveragePool"])
def test_zero_points_that_are_absent_are_zero(drawn, kind, name):
    """onnxruntime's inference of types fails on those that lie between others."""
    feeds = {n: drawn.integers(kind, 2, 3, 5) for n in ("ab" if name == "QLinearAdd" else "a")}
    more = {"kernel_shape": [2]} if name == "QLinearAveragePool" else {}
    scales = {f"{n}_scale": drawn.scale() for n in (*feeds, "y")}
    order = [(n, f"{n}_scale", z) for n in feeds for z in ("zero",)]
    with_zeros = [*(each for triple in order for each in triple), "y_scale", "zero"]
    zero = {"zero": np.array(0, kind)}
    wanted = computed(model(name, feeds, scales | zero, with_zeros, **more), feeds)
    without = [each if each != "zero" else "" for each in with_zeros]
    (found,) = computed(model(name, feeds, scales, without, **more), feeds)
    assert found.dtype == kind
    np.testing.assert_array_equal(found, wanted[0])


@pytest.mark.parametrize("kind", [U8, I8, np.uint16, np.int16])
def test_quantization(drawn, kind):
    x = drawn.normal(*drawn.shape(2))
    axis = drawn.number(0, x.ndim - 1)
    sizes = (x.shape[axis],) if drawn.chance() else ()
    own = drawn.described(kind, "x", *sizes)
    agree("QuantizeLinear", {"x": x}, own, axis=axis)
    agree("DequantizeLinear", {"x": drawn.integers(kind, *x.shape)}, own, axis=axis)


# --- images -------------------------------------------------------------------------------------


def test_pools(drawn, kind):
    axes, is_last = drawn.one_of(1, 2, 2, 3), drawn.number(0, 1)
    feeds = {"x": drawn.integers(kind, *drawn.images(axes, 3, is_last))}
    window = drawn.kernel(axes)
    x, y = drawn.described(kind, "x"), drawn.described(kind, "y")
    agree("QLinearAveragePool", feeds, x | y, channels_last=is_last,
          count_include_pad=drawn.number(0, 1), **window)  # fmt: skip
    agree("QLinearGlobalAveragePool", feeds, x | y, channels_last=is_last)
    feeds = {"x": drawn.integers(kind, *drawn.images(axes, drawn.number(1, 40), 1))}
    agree("NhwcMaxPool", feeds, ceil_mode=drawn.number(0, 1), **window)


def test_convolutions(drawn, kind):
    axes, is_last, groups = drawn.one_of(1, 2, 2), drawn.number(0, 1), drawn.one_of(1, 1, 2)
    channels, results = groups * drawn.number(1, 4), groups * drawn.number(1, 4)
    own = I8 if kind is I8 else drawn.one_of(U8, I8)
    window = drawn.kernel(axes)
    sizes = (results,) if drawn.chance() else ()
    x, w, y = (drawn.described(kind, "x"), drawn.described(own, "w", *sizes),
               drawn.described(kind, "y"))  # fmt: skip
    if sizes:
        w["w_zero"] = np.zeros(results, own)
    y["y_scale"] *= F32(10)
    weights = {"w": drawn.integers(own, results, channels // groups, *window["kernel_shape"])}
    inputs = ["x", *x, "w", *w, *y]
    if drawn.chance():
        weights["b"] = drawn.rng.integers(-3000, 3000, results).astype(I32)
        inputs.append("b")
    feeds = {"x": drawn.integers(kind, *drawn.images(axes, channels, is_last))}
    agree("QLinearConv", feeds, x | w | y | weights, inputs, channels_last=is_last,
          group=groups, **window)  # fmt: skip


def test_layers_with_channels_last_know_their_ranks_from_those_before(drawn):
    """The rank of a result follows only when what computes it is an operator of the standard."""
    x, y = drawn.described(U8, "x"), drawn.described(U8, "y")
    feeds = {"x": drawn.integers(U8, 1, 4, 5, 6)}
    proto = model("QLinearSigmoid", feeds, x | y, ["x", *x, *y], ["h"])
    proto.graph.node.append(oh.make_node(
        "QLinearGlobalAveragePool", ["h", *y, *x], ["y"], domain="com.microsoft",
        channels_last=1, name="pool",
    ))  # fmt: skip
    proto.graph.output[0].name = "y"
    (found,) = computed(proto, feeds)
    assert found.shape == (1, 1, 1, 6)


# --- products -----------------------------------------------------------------------------------


def test_gemm(drawn, kind):
    rows, depth, columns = drawn.number(1, 8), drawn.number(1, 40), drawn.number(1, 8)
    turned = {"transA": drawn.number(0, 1), "transB": drawn.number(0, 1)}
    own = I8 if kind is I8 else drawn.one_of(U8, I8)
    a, b, y = (drawn.described(kind, "a"), drawn.described(own, "b", *drawn.one_of((), (columns,))),
               drawn.described(kind, "y"))  # fmt: skip
    weights = {"b": drawn.integers(own, depth, columns)}
    if turned["transB"]:
        weights["b"] = weights["b"].T.copy()
    feeds = {"a": drawn.integers(kind, *((depth, rows) if turned["transA"] else (rows, depth)))}
    inputs = ["a", *a, "b", *b, ""]
    if drawn.chance():
        shape = drawn.one_of((columns,), (1, columns), (rows, columns))
        weights["c"] = drawn.rng.integers(-3000, 3000, shape).astype(I32)
        inputs[-1] = "c"
    y["y_scale"] *= F32(10)
    alpha = drawn.one_of(1.0, 0.5)
    agree("QGemm", feeds, a | b | y | weights, [*inputs, *y], alpha=alpha, **turned)
    inputs = inputs if inputs[-1] else inputs[:-1]
    agree("QGemm", feeds, a | b | weights, inputs, alpha=alpha, **turned)


def test_products_that_become_floats(drawn, kind):
    depth, columns = drawn.number(1, 40), drawn.number(1, 8)
    own = I8 if kind is I8 else drawn.one_of(U8, I8)
    rows = drawn.shape(1, 3)
    a, b = drawn.described(kind, "a"), drawn.described(own, "b", *drawn.one_of((), (columns,)))
    weights = {"b": drawn.integers(own, depth, columns), "bias": drawn.normal(columns)}
    zeros, bias = drawn.one_of(["a_zero", "b_zero"], ["", ""]), drawn.one_of("bias", "")
    inputs = ["a", "b", "a_scale", "b_scale", *zeros, bias]
    while not inputs[-1]:
        inputs.pop()
    feeds = {"a": drawn.integers(kind, *rows, depth)}
    agree("MatMulIntegerToFloat", feeds, a | b | weights, inputs, 1e-4)
    inputs = ["a", "b", "b_scale", zeros[1], bias]
    while not inputs[-1]:
        inputs.pop()
    agree("DynamicQuantizeMatMul", {"a": drawn.normal(*rows, depth)}, b | weights, inputs, 1e-2)


@pytest.mark.parametrize("mask", [None, 1, 2, 3])
@pytest.mark.parametrize("weight", [U8, I8])
def test_attention(drawn, mask, weight):
    batch, rows, heads, size = 2, drawn.number(1, 5), drawn.number(1, 3), 4 * drawn.number(1, 3)
    depth, before = drawn.number(1, 30), drawn.one_of(0, 3)
    weights = {
        "w": drawn.integers(weight, depth, 3 * heads * size),
        "bias": drawn.normal(3 * heads * size),
        "xs": np.array(0.02, F32), "ws": np.array(0.01, F32),
        "xz": np.array(drawn.number(0, 255), U8), "wz": drawn.integers(weight, 1),
    }  # fmt: skip
    weights["wz"] = weights["wz"].reshape(())
    feeds = {"x": drawn.integers(U8, batch, rows, depth)}
    total, name = rows + before, "" if mask is None else "mask"
    if mask == 1:
        feeds["mask"] = drawn.rng.integers(1, total + 1, batch).astype(I32)
    elif mask is not None:
        feeds["mask"] = drawn.rng.integers(0, 2, (batch, rows, total)[3 - mask :]).astype(I32)
        if mask == 2:
            feeds["mask"] = drawn.rng.integers(0, 2, (batch, total)).astype(I32)
    inputs, outputs = ["x", "w", "bias", "xs", "ws", name, "xz", "wz"], ["y"]
    if before:
        feeds["past"] = drawn.normal(2, batch, heads, before, size)
        inputs, outputs = [*inputs, "past"], ["y", "present"]
    agree("QAttention", feeds, weights, inputs, 1e-4, outputs, num_heads=heads,
          unidirectional=drawn.number(0, 1))  # fmt: skip


@pytest.mark.parametrize("segments", [False, True])
@pytest.mark.parametrize("mask", [False, True])
def test_embeddings(drawn, kind, segments, mask):
    width = drawn.number(2, 20)
    tables = {"words": 20, "places": 10, "segments": 2, "gamma": 0, "beta": 0}
    if not segments:
        del tables["segments"]
    weights: Weights = {}
    for name, rows in tables.items():
        weights[name] = drawn.integers(kind, *([rows] * bool(rows)), width)
        weights |= drawn.described(kind, name)
    feeds = {"ids": drawn.rng.integers(0, 20, (3, 5)).astype(I32)}
    if segments:
        feeds["kinds"] = drawn.rng.integers(0, 2, (3, 5)).astype(I32)
    if mask:
        feeds["mask"] = drawn.rng.integers(0, 2, (3, 5)).astype(I32)

    def present(stem: str) -> Callable[[str], str]:
        return lambda name: f"{name}{stem}" if name in tables else ""

    names = ["words", "places", "segments", "gamma", "beta"]
    inputs = [
        "ids", "kinds" if segments else "", *map(present(""), names), "mask" if mask else "",
        *map(present("_scale"), names), *map(present("_zero"), names),
    ]  # fmt: skip
    agree("QEmbedLayerNormalization", feeds, weights, inputs, 1e-3, ["y", "count"])


# --- what does not fit --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("QLinearLeakyRelu", {"x_scale": np.ones(3, F32)}),
        ("QLinearConcat", {}),
        ("QLinearReduceMean", {}),
        ("NhwcMaxPool", {}),
        ("QLinearSoftmax", {}),
    ],
)
def test_nodes_that_lack_something_are_refused_by_name(name, change):
    weights = {"x_scale": np.array(0.1, F32), "x_zero": np.array(0, U8)} | change
    feeds = {"x": np.zeros((2, 5), U8)}
    with pytest.raises(sardonyx.SardonyxError, match=f"node.*{name}"):
        sardonyx.Session(model(name, feeds, weights, ["x", *weights]), threads=1)
