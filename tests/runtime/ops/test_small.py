"""Operators of a kernel each: reversed sequences, small matrices, mel filters, linear attention."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import sardonyx
from onnx.helper import make_node, tensor_dtype_to_np_dtype

from .conftest import build

FLOAT = np.float32


@pytest.mark.parametrize("dtype", ["float32", "int8", "float64", "bool"])
def test_reversed_sequences(check, rng, dtype):
    for time in (0, 1):
        node = make_node("ReverseSequence", ["x", "n"], ["y"], time_axis=time, batch_axis=1 - time)
        feeds = []
        for shape in ((5, 4, 3), (1, 6, 40), (3, 0, 2)):
            lengths = rng.integers(0, shape[time] + 1, shape[1 - time])
            feeds.append({"x": rng.integers(0, 9, shape).astype(dtype), "n": lengths})
        check([node], feeds, threads=[1, 3])


def test_lengths_that_sequences_have_not_are_refused(refused):
    node = make_node("ReverseSequence", ["x", "n"], ["y"], "back")
    x = np.zeros((3, 2), FLOAT)
    for lengths in ([4, 1], [-1, 1], [1], [2**62, 1]):
        assert "back" in refused([node], {"x": x, "n": np.array(lengths)})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_determinants(check, rng, dtype):
    node = make_node("Det", ["x"], ["y"])
    shapes = (1, 1), (4, 4), (30, 6, 6), (2, 3, 2, 2), (0, 3, 3), (2, 0, 0)
    for shape in shapes:
        x = rng.standard_normal(shape).astype(dtype)
        check([node], {"x": x}, wanted=[[np.asarray(np.linalg.det(x))]])
    singular = np.ones((3, 3), dtype)
    check([node], {"x": singular}, wanted=[[np.asarray(np.zeros((), dtype))]])


def test_matrices_that_are_not_square_are_refused(refused):
    node = make_node("Det", ["x"], ["y"], "det")
    for dims in (None, {"x": ["a", "b"]}):
        assert "det" in refused([node], {"x": np.ones((2, 3), FLOAT)}, dims=dims)


@pytest.mark.parametrize("size", [[2, 3, 4, 5], [2, 1, 3, 4, 5], [1, 1, 1, 6]])
def test_grids_of_affine_maps(check, rng, size):
    rank = len(size) - 2
    theta = rng.standard_normal((size[0], rank, rank + 1)).astype(FLOAT)
    for corners in (0, 1) if 1 not in size[2:] else (0,):
        node = make_node("AffineGrid", ["t", "s"], ["y"], align_corners=corners)
        check([node], {"t": theta}, {"s": np.array(size)}, opset=20, threads=[1, 3])
        check([node], {"t": theta, "s": np.array(size)}, opset=20)


def test_mel_filters_beyond_the_spectrum_are_refused(refused):
    node = make_node("MelWeightMatrix", list("mnrlh"), ["y"], "mel")
    numbers = {"m": np.array(4), "n": np.array(32), "r": np.array(8000)}
    edges = {"l": np.array(0.0, FLOAT)}
    for high in (90_000.0, np.inf, np.nan):
        assert "mel" in refused([node], {**numbers, **edges, "h": np.array(high, FLOAT)})


def test_gated_products(check, rng):
    x, z = (rng.standard_normal((3, 70)).astype(FLOAT) for _ in range(2))
    wanted = [[x / (1 + np.exp(-1.5 * x)) * z]]
    node = make_node("SwiGLU", ["x", "z"], ["y"], alpha=1.5)
    check([node], {"x": x, "z": z}, wanted=wanted, opset=28)


# --- linear attention -------------------------------------------------------------------------


def attending(rng, rule, heads, tokens, values, *, past, each):
    """A node of two heads of the state, and its inputs."""

    def normal(*shape):
        return rng.standard_normal(shape).astype(FLOAT)

    arrays = {"q": normal(2, tokens, heads * 4), "k": normal(2, tokens, 8) / 2,
              "v": normal(2, tokens, 2 * values)}  # fmt: skip
    arrays["p"] = normal(2, 2, 4, values) if past else None
    arrays["d"] = -np.abs(normal(2, tokens, 8 if each else 2)) if "gated" in rule else None
    arrays["b"] = np.abs(normal(2, tokens, 1 if each else 2)) if "delta" in rule else None
    names = ["" if value is None else name for name, value in arrays.items()]
    node = make_node(
        "LinearAttention", names, ["y", "s"], "linear", q_num_heads=heads, kv_num_heads=2,
        update_rule=rule,
    )  # fmt: skip
    return node, {name: a for name, a in arrays.items() if a is not None}


@pytest.mark.parametrize("rule", ["linear", "gated", "delta", "gated_delta"])
def test_linear_attention(check, rng, rule):
    for heads, past, each in itertools.product((2, 6), (False, True), (False, True)):
        several = [
            attending(rng, rule, heads, tokens, values, past=past, each=each)
            for tokens, values in ((1, 5), (7, 5), (7, 33))
        ]
        for node, feeds in several:
            check([node], feeds, opset=27, threads=[1, 3])
        dims = {n: ["b", "t", *a.shape[2:]] for n, a in several[0][1].items() if a.ndim == 3}
        check([several[0][0]], [feeds for _, feeds in several[:2]], opset=27, dims=dims)


def test_linear_attention_to_keys_without_elements(check):
    node = make_node("LinearAttention", list("qkv"), ["y", "s"], q_num_heads=2, kv_num_heads=1,
                     update_rule="linear")  # fmt: skip
    shapes = {"q": (1, 2, 0), "k": (1, 2, 0), "v": (1, 2, 3)}
    wanted = [[np.zeros((1, 2, 6), FLOAT), np.zeros((1, 1, 0, 3), FLOAT)]]
    feeds = {name: np.ones(shape, FLOAT) for name, shape in shapes.items()}
    check([node], feeds, opset=27, wanted=wanted)


def test_what_does_not_fit_the_state_is_refused(refused, rng):
    node, feeds = attending(rng, "gated_delta", 2, 3, 5, past=True, each=True)
    for name, shape in (("p", (2, 2, 4, 6)), ("d", (2, 3, 7)), ("b", (2, 3, 3)), ("k", (2, 2, 8)),
                        ("v", (1, 3, 10)), ("d", (2, 2, 8))):  # fmt: skip
        assert "linear" in refused([node], {**feeds, name: np.zeros(shape, FLOAT)}, opset=27)
    wrong, given = attending(rng, "linear", 3, 3, 5, past=False, each=False)
    assert "q_num_heads" in refused([wrong], given, opset=27)


# --- what the standard defines by other operators -------------------------------------------------


def test_causal_convolution_is_a_convolution(check, rng):
    for activation, past, tokens in itertools.product(("none", "silu"), (False, True), (1, 6)):
        feeds = {"x": rng.standard_normal((2, 3, tokens)).astype(FLOAT)}
        if past:
            feeds["p"] = rng.standard_normal((2, 3, 3)).astype(FLOAT)
        weights = {"w": rng.standard_normal((3, 1, 4)).astype(FLOAT), "b": np.ones(3, FLOAT)}
        node = make_node(
            "CausalConvWithState", ["x", "w", "b", *(["p"] if past else [])], ["y", "s"],
            activation=activation,
        )  # fmt: skip
        session = check([node], feeds, weights, opset=27)
        steps = [step.op_type for step in session.engine.program.steps]
        assert any(name.startswith("Conv") for name in steps)


@pytest.mark.parametrize("kind", [np.float16, np.float64])
def test_what_defines_an_operator_is_taken_to_the_opset_of_the_model(rng, kind):
    """A body of opset 27 or 25 in a model of opset 28."""
    name, shapes, outputs = "CausalConvWithState", {"x": (2, 3, 5), "w": (3, 1, 4)}, ["y", "s"]
    if kind == np.float64:
        name, shapes, outputs = "Attention", dict.fromkeys("qkv", (1, 2, 3, 4)), ["y"]
    feeds = {n: rng.standard_normal(shape).astype(kind) for n, shape in shapes.items()}
    node = make_node(name, list(feeds), outputs)
    found = [
        sardonyx.Session(build([node], [feeds], opset=opset), threads=1).run(None, feeds)[0]
        for opset in (27, 28)
    ]
    assert found[0].dtype == kind
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(
    ("given", "to"),
    [
        ("float32", 6),
        ("int64", 11),
        ("uint8", 3),
        ("float16", 4),
        ("bfloat16", 10),
        ("int16", 16),
        ("bool", 2),
        ("bool", 3),
    ],
)
def test_bits_of_another_type(check, rng, given, to):
    x = rng.integers(0, 250, (3, 5)).astype(given)
    wanted = [[x.view(tensor_dtype_to_np_dtype(to))]]
    cast = make_node("BitCast", ["x"], ["y"], to=to)
    check([cast], {"x": x}, wanted=wanted, opset=26)
    turned = [make_node("Transpose", ["v"], ["x"]), cast]
    check(turned, {"v": np.ascontiguousarray(x.T)}, wanted=wanted, opset=26)


@pytest.mark.parametrize("given", ["uint8", "int8", "float8_e5m2"])
def test_bits_of_bool_are_zero_or_one(check, given):
    x = np.array([0, 1, 2, 255], np.uint8)
    feeds, cast = {"x": x.view(np.dtype(given))}, make_node("BitCast", ["x"], ["y"], to=9)
    check([cast], feeds, wanted=[[x != 0]], opset=26)


def test_bits_of_other_numbers_are_refused(refused):
    node = make_node("BitCast", ["x"], ["y"], "bits", to=11)
    assert "bits" in refused([node], {"x": np.ones(3, FLOAT)}, opset=26)
