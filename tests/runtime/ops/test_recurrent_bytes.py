"""DynamicQuantizeLSTM against onnxruntime, one sequence at a time: there, all have one scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import sardonyx
from onnx import helper as oh
from sardonyx.reference import evaluator

F32 = np.float32
INPUTS = ["X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P",
          "W_scale", "W_zero", "R_scale", "R_zero"]  # fmt: skip
WEIGHTS = ("W", "R", "B", "P")
Arrays = dict[str, np.ndarray]


def byte_weights(
    rng: np.random.Generator, dtype: Any, directions: int, inputs: int, size: int,
    by_column: bool, shift: int = 0,
) -> Arrays:  # fmt: skip
    """Draw weights, and zero points as onnxruntime takes them."""
    arrays: Arrays = {}
    for name, depth in (("W", inputs), ("R", size)):
        info = np.iinfo(dtype)
        numbers = rng.integers(info.min, info.max + 1, (directions, depth, 4 * size))
        shape = (directions, 4 * size) if by_column else (directions,)
        middle = 0 if dtype == np.int8 else 128
        arrays[name] = numbers.astype(dtype)
        arrays[f"{name}_zero"] = np.full(shape, middle + shift, dtype)
        arrays[f"{name}_scale"] = (rng.uniform(0.5, 1, shape) / 128 / depth**0.5).astype(F32)
    arrays["B"] = (rng.standard_normal((directions, 8 * size)) / 4).astype(F32)
    arrays["P"] = (rng.standard_normal((directions, 3 * size)) / 4).astype(F32)
    return arrays


def network(arrays: Arrays, feeds: Arrays, **attributes: Any) -> onnx.ModelProto:
    names = [n if n in arrays or n in feeds else "" for n in INPUTS]
    node = oh.make_node(
        "DynamicQuantizeLSTM", names, ["Y", "Y_h", "Y_c"], name="cell", domain="com.microsoft",
        hidden_size=arrays["R"].shape[1], **attributes,
    )  # fmt: skip
    open_axes = {"X": ["T", "B", None], "sequence_lens": ["B"], "initial_h": [None, "B", None]}
    open_axes["initial_c"] = open_axes["initial_h"]
    graph = oh.make_graph(
        [node], "recurrent",
        [oh.make_tensor_value_info(
            n, oh.np_dtype_to_tensor_dtype(a.dtype),
            [label or size for label, size in zip(open_axes[n], a.shape, strict=True)])
         for n, a in feeds.items()],
        [onnx.ValueInfoProto(name=name) for name in ("Y", "Y_h", "Y_c")],
        [onnx.numpy_helper.from_array(a, n) for n, a in arrays.items()],
    )  # fmt: skip
    opsets = [oh.make_opsetid("", 17), oh.make_opsetid("com.microsoft", 1)]
    return oh.make_model(graph, opset_imports=opsets, ir_version=8)


def drawn_feeds(
    rng: np.random.Generator, arrays: Arrays, steps: int, batch: int, optional: list[str]
) -> Arrays:
    """Draw inputs whose first steps of all sequences have the same extremes."""
    directions, inputs, _ = arrays["W"].shape
    x = np.clip(rng.standard_normal((steps, batch, inputs)), -2, 2).astype(F32)
    x[:1, :, :2] = [-2.5, 3.1]
    state = (directions, batch, arrays["R"].shape[1])
    feeds = {
        "X": x,
        "sequence_lens": rng.integers(min(1, steps), steps + 1, batch).astype(np.int32),
        "initial_h": rng.standard_normal(state).astype(F32),
        "initial_c": rng.standard_normal(state).astype(F32),
    }
    return {n: a for n, a in feeds.items() if n == "X" or n in optional}


def by_sequence(model: onnx.ModelProto, feeds: Arrays) -> list[np.ndarray]:
    """Results of onnxruntime, each sequence by itself."""
    session = onnxruntime.InferenceSession(model.SerializeToString())
    results = []
    for b in range(feeds["X"].shape[1]):
        own = {n: a[b : b + 1] if a.ndim == 1 else a[:, b : b + 1] for n, a in feeds.items()}
        results.append(session.run(None, own))
    return [np.concatenate(each, -2) for each in zip(*results, strict=True)]


def agree(found: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    """Sums in another order now and then round a state to the next byte."""
    for a, b in zip(found, wanted, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        error = np.abs(a - b)
        assert error.max() < 1e-2
        assert np.sort(error, axis=None)[: -(error.size // 20) or None].max() < 2e-3


FORMS: list[dict[str, Any]] = [
    {},
    {"clip": 0.7, "input_forget": 1, "activations": ["HardSigmoid", "Softsign", "Tanh"]},
]


@pytest.mark.parametrize("seed", range(12))
def test_drawn_layers(seed):
    """Directions, types, zero points, scales, lengths, states, peepholes and sizes, drawn."""
    rng = np.random.default_rng([seed, 4])
    direction = ["forward", "reverse", "bidirectional"][seed % 3]
    directions = 2 if direction == "bidirectional" else 1
    attributes = {**FORMS[seed % 2], "direction": direction}
    if "activations" in attributes:
        attributes["activations"] = attributes["activations"] * directions
    dtype = [np.int8, np.uint8][seed // 2 % 2]
    by_column = bool(seed // 4 % 2)
    shift = 0 if by_column and dtype == np.int8 else int(rng.choice([0, 0, 3, -9]))
    size, inputs = int(rng.choice([1, 7, 16, 33, 100])), int(rng.integers(2, 30))
    arrays = byte_weights(rng, dtype, directions, inputs, size, by_column, shift)
    arrays = {n: a for n, a in arrays.items() if n not in "BP" or rng.random() < 0.6}
    names = ["sequence_lens", "initial_h", "initial_c"]
    optional = [n for n in names if rng.random() < 0.6]
    feeds = drawn_feeds(rng, arrays, 5, 3, optional)
    model = network(arrays, feeds, **attributes)
    session = sardonyx.Session(model, threads=1 + seed % 2)
    assert not session.engine.program.host_steps
    for steps, batch in ((5, 3), (4, 1), (2, 18)):
        feeds = drawn_feeds(rng, arrays, steps, batch, optional)
        agree(session.run(None, feeds), by_sequence(model, feeds))
        agree(evaluator(model).run(None, feeds), by_sequence(model, feeds))
    feeds = drawn_feeds(rng, arrays, 0, 2, optional)
    assert session.run(None, feeds)[0].shape == (0, directions, 2, size)


def test_threads_and_neighbours_change_nothing(rng):
    """Units of 272 are divided into blocks; a sequence's states have a scale of their own.

    With strict precision functions are more exact, so that a state may round to the next number.
    """
    arrays = byte_weights(rng, np.int8, 1, 24, 272, by_column=True)
    feeds = drawn_feeds(rng, arrays, 12, 19, [])
    model = network(arrays, feeds)
    wanted = sardonyx.Session(model, threads=1).run(None, feeds)
    for threads in (2, 3):
        found = sardonyx.Session(model, threads=threads).run(None, feeds)
        for own, each in zip(found, wanted, strict=True):
            np.testing.assert_array_equal(own, each)
    agree(sardonyx.Session(model, threads=2, precision="strict").run(None, feeds), wanted)
    some = {n: a[:, 3:9] for n, a in feeds.items()}
    for found, each in zip(sardonyx.Session(model, threads=1).run(None, some), wanted, strict=True):
        np.testing.assert_allclose(found, each[..., 3:9, :], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("optional", [[], ["sequence_lens"], ["initial_h"]], ids=str)
def test_onnxruntime_with_a_thread_for_each_sequence(rng, optional):
    """There a thread's sequences have one scale, and inputs one, however far apart rows are."""
    batch = 6
    arrays = byte_weights(rng, np.uint8, 1, 20, 32, by_column=False)
    feeds = drawn_feeds(rng, arrays, 5, batch, optional)
    feeds["X"][1, 2] *= 50
    if "initial_h" in optional:
        feeds["initial_h"][:, 1] *= 9
    model = network(arrays, feeds)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = batch
    reference = onnxruntime.InferenceSession(model.SerializeToString(), options)
    agree(sardonyx.Session(model, threads=1).run(None, feeds), reference.run(None, feeds))


def test_numbers_beyond_the_longest_sequence_do_not_count(rng):
    arrays = byte_weights(rng, np.uint8, 1, 6, 16, by_column=False)
    feeds = drawn_feeds(rng, arrays, 6, 2, ["sequence_lens"])
    feeds["sequence_lens"][:] = [4, 2]
    session = sardonyx.Session(network(arrays, feeds), threads=1)
    wanted = session.run(None, feeds)
    feeds["X"][4:] *= 100
    for found, each in zip(session.run(None, feeds), wanted, strict=True):
        np.testing.assert_array_equal(found, each)


def test_inputs_of_unknown_rank(rng):
    arrays = byte_weights(rng, np.int8, 1, 6, 16, by_column=False)
    feeds = drawn_feeds(rng, arrays, 3, 2, [])
    model = network(arrays, feeds)
    wanted = sardonyx.Session(model, threads=1).run(None, feeds)
    model.graph.input[0].type.tensor_type.ClearField("shape")
    session = sardonyx.Session(model, threads=1)
    for _ in range(3):
        agree(session.run(None, feeds), wanted)


# --- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["W", "R", "B", "W_scale", "R_zero"])
def test_weights_that_do_not_fit_are_refused(rng, name):
    arrays = byte_weights(rng, np.int8, 2, 6, 16, by_column=False)
    feeds = drawn_feeds(rng, arrays, 3, 2, [])
    arrays[name] = arrays[name][:, :-1] if arrays[name].ndim > 1 else arrays[name][:1]
    with pytest.raises(sardonyx.InvalidModel, match=rf"cell.*{name}"):
        sardonyx.Session(network(arrays, feeds, direction="bidirectional"), threads=1)


@pytest.mark.parametrize("name", ["B", "R", "R_zero"])
def test_types_that_do_not_fit_are_refused(rng, name):
    arrays = byte_weights(rng, np.int8, 1, 6, 16, by_column=False)
    feeds = drawn_feeds(rng, arrays, 3, 2, [])
    arrays[name] = arrays[name].astype(np.float64)
    with pytest.raises(sardonyx.InvalidModel, match=rf"cell.*{name}"):
        sardonyx.Session(network(arrays, feeds), threads=1)


def test_weights_that_are_no_constants_are_refused(rng):
    arrays = byte_weights(rng, np.int8, 1, 6, 16, by_column=False)
    model = network(arrays, drawn_feeds(rng, arrays, 3, 2, []))
    model.graph.initializer.pop(0)
    model.graph.input.append(oh.make_tensor_value_info("W", 3, arrays["W"].shape))
    with pytest.raises(sardonyx.UnsupportedModel, match=r"cell.*'W'"):
        sardonyx.Session(model, threads=1)
