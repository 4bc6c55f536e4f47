"""LSTM, GRU and RNN in compiled code against our reference, and against onnxruntime."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import sardonyx
from onnx import helper as oh
from sardonyx.kernels.cpu.term_rates import TermCosts
from sardonyx.kernels.machine_costs import costs_given, machine_costs
from sardonyx.kernels.target import target
from sardonyx.reference import evaluator
from sardonyx.runtime.ops import recurrent as recurrent_ops
from sardonyx.runtime.ops import recurrent_layer
from sardonyx.runtime.sources import Source

F32 = np.float32
CELLS = {"LSTM": (4, 3), "GRU": (3, 2), "RNN": (1, 1)}
"""Gates and activations."""
# Those whose states stay small: of others, rounding grows from step to step.
FUNCTIONS = ["Relu", "Tanh", "Sigmoid", "Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh",
             "HardSigmoid", "Elu", "Softsign", "Softplus"]  # fmt: skip
STATE_NAMES = ("initial_h", "initial_c")


def weights(rng: np.random.Generator, cell: str, directions: int, inputs: int, size: int) -> dict:
    gates = CELLS[cell][0]

    def normal(*shape: int, scale: float = 1.0) -> np.ndarray:
        return (rng.standard_normal(shape) * scale).astype(F32)

    return {
        "W": normal(directions, gates * size, inputs, scale=0.7 / inputs**0.5),
        "R": normal(directions, gates * size, size, scale=0.7 / size**0.5),
        "B": normal(directions, 2 * gates * size, scale=0.3),
        "P": normal(directions, 3 * size, scale=0.3),
    }


def network(
    cell: str, arrays: dict, optional: tuple[str, ...] = ("B",), outputs: int = 3,
    given: tuple[str, ...] = (), **attributes: Any,
) -> onnx.ModelProto:  # fmt: skip
    """Make a model of one node with open batch and length; ``outputs`` has a bit for each.

    Weights that are ``given`` are inputs.
    """
    dtype = oh.np_dtype_to_tensor_dtype(arrays["W"].dtype)
    directions, _, size = arrays["R"].shape
    order = ["X", "W", "R", "B", "sequence_lens", *STATE_NAMES, "P"][: 8 if cell == "LSTM" else 6]
    names = [n if n in ("X", "W", "R", *optional) else "" for n in order]
    results = ["Y", "Y_h", "Y_c"][: 3 if cell == "LSTM" else 2]
    results = [name if outputs >> i & 1 else "" for i, name in enumerate(results)]
    batch_first = attributes.get("layout", 0)
    state = ["B", directions, size] if batch_first else [directions, "B", size]
    x = [*(["B", "T"] if batch_first else ["T", "B"]), arrays["W"].shape[2]]
    shapes = {"X": x, "sequence_lens": ["B"], **dict.fromkeys(STATE_NAMES, state)}
    shapes |= {n: list(arrays[n].shape) for n in given}
    graph = oh.make_graph(
        [oh.make_node(cell, names, results, name="cell", hidden_size=size, **attributes)],
        "recurrent",
        [oh.make_tensor_value_info(n, 6 if n == "sequence_lens" else dtype, shapes[n])
         for n in names if n in shapes],
        [onnx.ValueInfoProto(name=name) for name in results if name],
        [onnx.numpy_helper.from_array(arrays[n], n)
         for n in names if n in arrays and n not in given],
    )  # fmt: skip
    return oh.make_model(graph, opset_imports=[oh.make_opsetid("", 22)], ir_version=10)


def feeds_of(
    rng: np.random.Generator, model: onnx.ModelProto, steps: int, batch: int
) -> dict[str, np.ndarray]:
    sizes = {"B": batch, "T": steps}
    feeds = {}
    for port in model.graph.input:
        shape = [sizes.get(d.dim_param, d.dim_value) for d in port.type.tensor_type.shape.dim]
        if port.name == "sequence_lens":
            feeds[port.name] = rng.integers(0, steps + 1, shape).astype(np.int32)
        else:
            dtype = oh.tensor_dtype_to_np_dtype(port.type.tensor_type.elem_type)
            feeds[port.name] = rng.standard_normal(shape).astype(dtype)
    return feeds


def agree(
    model: onnx.ModelProto, feeds: dict[str, np.ndarray], session: Any, tolerance: float = 2e-5
) -> None:
    assert not session.engine.program.host_steps
    for found, wanted in zip(
        session.run(None, feeds), evaluator(model).run(None, feeds), strict=True
    ):
        assert found.shape == wanted.shape
        assert found.dtype == wanted.dtype
        np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("seed", range(10))
def test_drawn_layers(cell, seed):
    """Directions, layouts, functions, clipping, lengths, states and sizes, drawn."""
    rng = np.random.default_rng([seed, *cell.encode()])
    direction = ["forward", "reverse", "bidirectional"][seed % 3]
    directions = 2 if direction == "bidirectional" else 1
    size = int(rng.choice([1, 7, 16, 33, 100, 192]))
    arrays = weights(rng, cell, directions, int(rng.integers(1, 30)), size)
    attributes: dict[str, Any] = {"direction": direction, "layout": int(rng.integers(2))}
    if cell == "GRU":
        attributes["linear_before_reset"] = int(rng.integers(2))
    if cell == "LSTM":
        attributes["input_forget"] = int(rng.integers(2))
    if rng.random() < 0.4:
        attributes["clip"] = float(rng.uniform(0.2, 1))
    optional = [n for n in ("B", "sequence_lens", *STATE_NAMES, "P") if rng.random() < 0.6]
    model = network(cell, arrays, tuple(optional), int(rng.integers(1, 8)) | 1, **attributes)
    session = sardonyx.Session(model, threads=1 + seed % 3)
    for steps, batch in ((4, 1), (1, 2), (5, 19), (2, 17), (0, 2)):
        agree(model, feeds_of(rng, model, steps, batch), session)


def drawn_attributes(rng: np.random.Generator, cell: str, directions: int) -> dict[str, Any]:
    """Draw attributes for layers of weights whose kernels the tests of `drawn_layers` have."""
    attributes: dict[str, Any] = {"layout": int(rng.integers(2))}
    if directions == 2:
        attributes["direction"] = "bidirectional"
    if cell == "GRU":
        attributes["linear_before_reset"] = int(rng.integers(2))
    return attributes


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("seed", range(6))
def test_weights_that_are_inputs(cell, seed):
    """Some or all of them; hidden units that are whole vectors, or not."""
    rng = np.random.default_rng([seed, 7, *cell.encode()])
    directions = 1 + seed % 2
    arrays = weights(rng, cell, directions, int(rng.integers(1, 30)), [5, 32, 100][seed % 3])
    optional = tuple(n for n in ("B", "P") if rng.random() < 0.7)
    names = [n for n in ("W", "R", *optional) if n != "P" or cell == "LSTM"]
    given = tuple(n for n in names if seed < 2 or rng.random() < 0.5)
    attributes = drawn_attributes(rng, cell, directions)
    model = network(cell, arrays, optional, given=given, **attributes)
    session = sardonyx.Session(model, threads=2)
    for steps, batch in ((4, 1), (3, 17)):
        feeds = feeds_of(rng, model, steps, batch) | {n: arrays[n] for n in given}
        agree(model, feeds, session)
        agree(model, feeds | {n: feeds[n] / 2 for n in given}, session)


@pytest.mark.parametrize("cell", ["LSTM", "RNN"])
@pytest.mark.parametrize("seed", range(3))
def test_products_with_inputs_and_states_are_joined(cell, seed, monkeypatch):
    """Where a cache holds the weights, and not the products of all steps, these are not made."""
    monkeypatch.setattr(recurrent_layer, "joining_pays", lambda *_: True)
    monkeypatch.setattr(recurrent_layer, "may_take_terms", lambda *_: False)
    rng = np.random.default_rng([seed, 9, *cell.encode()])
    size, features = {"LSTM": (120, 60), "RNN": (200, 190)}[cell]
    arrays = weights(rng, cell, 1 + seed % 2, features + seed, size)
    if seed == 2:
        arrays = {name: array.astype(np.float64) for name, array in arrays.items()}
    machine = dataclasses.replace(target(), l2=arrays["W"].itemsize * 100_000)
    monkeypatch.setattr(recurrent_layer, "target", lambda: machine)
    optional = tuple(n for n in ("B", "sequence_lens", *STATE_NAMES, "P") if rng.random() < 0.6)
    model = network(cell, arrays, optional, **drawn_attributes(rng, cell, 1 + seed % 2))
    feeds = feeds_of(rng, model, steps=30, batch=17 + seed)  # one row is left, or more
    fix_sizes(model, feeds)
    session = sardonyx.Session(model, threads=1 + seed % 2)
    assert [step.op_type for step in session.engine.program.steps].count(cell) == 1
    agree(model, feeds, session, tolerance=1e-12 if seed == 2 else 2e-5)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("seed", range(3))
def test_weights_that_float16_holds_are_stored_so_for_one_sequence(cell, seed, monkeypatch):
    """They are widened in registers; others, and those of several sequences, stay float32."""
    monkeypatch.setattr(recurrent_layer, "halves_pay", lambda _: True)
    rng = np.random.default_rng([seed, 11, *cell.encode()])
    arrays = weights(rng, cell, 1 + seed % 2, 20, [50, 64, 130][seed])
    exact = arrays | {name: as_half(arrays[name]) for name in ("W", "R")}
    optional = tuple(n for n in ("B", "sequence_lens", *STATE_NAMES, "P") if rng.random() < 0.6)
    attributes = drawn_attributes(rng, cell, 1 + seed % 2)
    for own, batch, stored in ((exact, 1, True), (exact, 2, False), (arrays, 1, False)):
        model = network(cell, own, optional, **attributes)
        feeds = feeds_of(rng, model, steps=6, batch=batch)
        fix_sizes(model, feeds)
        session = sardonyx.Session(model, threads=1 + seed % 2)
        kernels = " ".join(map(str, session.engine.program.kernels))
        assert ("'halves'" in kernels) == stored
        agree(model, feeds, session)


def fix_sizes(model, feeds):
    """Give a model's inputs the sizes of its feeds."""
    for port in model.graph.input:
        for axis, dim in enumerate(port.type.tensor_type.shape.dim):
            dim.dim_value = feeds[port.name].shape[axis]


def as_half(array):
    """Round to values that float16 holds."""
    return array.astype(np.float16).astype(np.float32)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("batch", [1, 18])
@pytest.mark.parametrize("given", [(), ("W", "R", "B")])
def test_inputs_without_features(rng, cell, batch, given):
    """Steps follow from states and biases alone."""
    arrays = weights(rng, cell, 2, 1, 70)
    arrays["W"] = arrays["W"][..., :0]
    for optional in ((), ("B",), ("B", "sequence_lens", *STATE_NAMES)):
        own = tuple(name for name in given if name in ("W", "R", *optional))
        model = network(cell, arrays, optional, given=own, direction="bidirectional")
        feeds = feeds_of(rng, model, steps=9, batch=batch) | {n: arrays[n] for n in own}
        session = sardonyx.Session(model, threads=1)
        agree(model, feeds, session)


@pytest.mark.parametrize("cell", CELLS)
def test_weights_of_open_sizes_are_lowered_when_runs_repeat_them(rng, cell):
    """Those that are inputs, and those that are computed of some."""
    arrays = weights(rng, cell, 1, 6, 20)
    model = network(cell, arrays, given=("W", "R", "B"))
    for port in model.graph.input[1:]:
        for axis, dim in enumerate(port.type.tensor_type.shape.dim):
            dim.dim_param = f"{port.name}.{axis}"
    turned = oh.make_node("Transpose", ["R"], ["turned"], perm=[0, 2, 1])
    model.graph.node.insert(0, oh.make_node("Transpose", ["turned"], ["again"], perm=[0, 2, 1]))
    model.graph.node.insert(0, turned)
    model.graph.node[-1].input[2] = "again"
    session = sardonyx.Session(model, threads=1, optimize="none")
    for batch in (2, 3):
        feeds = feeds_of(rng, model, 4, batch) | {name: arrays[name] for name in "WRB"}
        wanted = evaluator(model).run(None, feeds)
        for _ in range(2):
            for found, each in zip(session.run(None, feeds), wanted, strict=True):
                np.testing.assert_allclose(found, each, rtol=2e-5, atol=2e-5)
    assert session.engine.program.host_steps
    assert not session._variants.choose(feeds).program.host_steps


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("seed", range(4))
def test_float64(cell, seed):
    rng = np.random.default_rng([seed, 8, *cell.encode()])
    arrays = weights(rng, cell, 1 + seed % 2, int(rng.integers(1, 30)), [5, 16, 96, 33][seed])
    arrays = {name: array.astype(np.float64) for name, array in arrays.items()}
    optional = tuple(n for n in ("B", "sequence_lens", *STATE_NAMES, "P") if rng.random() < 0.6)
    attributes = drawn_attributes(rng, cell, 1 + seed % 2)
    given = ("R", "W") if seed == 3 else ()
    model = network(cell, arrays, optional, given=given, **attributes)
    session = sardonyx.Session(model, threads=1 + seed % 2)
    for steps, batch in ((4, 1), (3, 18), (0, 2)):
        feeds = feeds_of(rng, model, steps, batch) | {n: arrays[n] for n in given}
        agree(model, feeds, session, tolerance=1e-12)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_in_float64(rng, name):
    arrays = weights(rng, "RNN", 1, 5, 20)
    arrays = {key: array.astype(np.float64) for key, array in arrays.items()}
    model = network(
        "RNN", arrays, activations=[name], activation_alpha=[0.3], activation_beta=[0.2], clip=0.9
    )
    agree(model, feeds_of(rng, model, 3, 2), sardonyx.Session(model, threads=1), tolerance=1e-12)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(rng, cell, name):
    """Each function in each place, with numbers of its own in each direction."""
    arrays = weights(rng, cell, 2, 5, 20)
    count = CELLS[cell][1]
    names = [["Tanh", "Sigmoid"][i % 2] for i in range(2 * count)]
    names[:count] = [name] * count
    model = network(
        cell, arrays, activations=names, direction="bidirectional",
        activation_alpha=[0.3, 0.5, 0.7], activation_beta=[0.2, 0.4, 0.6],
    )  # fmt: skip
    agree(model, feeds_of(rng, model, 3, 2), sardonyx.Session(model, threads=2))


@pytest.mark.parametrize("cell", CELLS)
def test_bounded_functions_of_huge_numbers(rng, cell):
    """A LSTM divides once for a product of two functions: no part of them may overflow."""
    arrays = weights(rng, cell, 1, 5, 20)
    model = network(cell, arrays, activations=["Softsign"] * CELLS[cell][1])
    feeds = {"X": rng.standard_normal((1, 2, 5)).astype(F32) * F32(1e30)}
    session = sardonyx.Session(model, threads=1)
    agree(model, feeds, session)
    assert all(np.isfinite(found).all() for found in session.run(None, feeds))


@pytest.mark.parametrize("cell", CELLS)
def test_onnxruntime_agrees(rng, cell):
    arrays = weights(rng, cell, 2, 40, 130)
    optional = ("B", "initial_h", *(("initial_c", "P") if cell == "LSTM" else ()))
    model = network(cell, arrays, optional, outputs=7, direction="bidirectional")
    session = sardonyx.Session(model, threads=2)
    other = onnxruntime.InferenceSession(model.SerializeToString())
    for steps, batch in ((9, 1), (3, 20)):
        feeds = feeds_of(rng, model, steps, batch)
        for found, wanted in zip(session.run(None, feeds), other.run(None, feeds), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("cell", "size", "linear"),
    [("LSTM", 256, 0), ("GRU", 200, 0), ("GRU", 200, 1), ("RNN", 600, 0)],
)
def test_any_number_of_threads_gives_the_same_bits(rng, cell, size, linear):
    """Hidden units are divided into blocks, which threads compute side by side."""
    arrays = weights(rng, cell, 1, 16, size)
    attributes = {"linear_before_reset": linear} if cell == "GRU" else {}
    model = network(cell, arrays, outputs=7, **attributes)
    sessions = [sardonyx.Session(model, threads=threads) for threads in (1, 2, 3, 4)]
    for steps, batch in ((40, 1), (20, 33)):
        feeds = feeds_of(rng, model, steps, batch)
        agree(model, feeds, sessions[0])
        expected, *others = (session.run(None, feeds) for session in sessions)
        for results in others:
            for wanted, found in zip(expected, results, strict=True):
                np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_weights_that_no_cache_holds_give_the_same_bits(rng, cell, monkeypatch):
    """Panels are fetched ahead, and threads share one direction after another."""
    arrays = weights(rng, cell, 2, 16, 200)
    model = network(cell, arrays, outputs=7, direction="bidirectional")
    results = []
    monkeypatch.setattr(Source, "key", lambda _: None)  # no program is taken from a cache
    for size in (1 << 40, 1):
        monkeypatch.setattr(recurrent_ops, "L3_BYTES", size)
        session = sardonyx.Session(model, threads=2)
        for steps, batch in ((5, 1), (4, 33)):
            rng = np.random.default_rng(3)
            results.append(session.run(None, feeds_of(rng, model, steps, batch)))
    for wanted, found in zip(results[:2], results[2:], strict=True):
        for each, other in zip(wanted, found, strict=True):
            np.testing.assert_array_equal(other, each)


@pytest.mark.parametrize("cell", CELLS)
def test_states_of_zeros_are_as_good_as_none(rng, cell):
    """Products with them are left out, unless weights are not finite."""
    arrays = weights(rng, cell, 1, 5, 20)
    feeds = {"X": rng.standard_normal((3, 2, 5)).astype(F32)}
    wanted = sardonyx.Session(network(cell, arrays), threads=1).run(None, feeds)
    for batch in (2, 1):
        arrays["initial_h"] = np.zeros((1, batch, 20), F32)
        model = network(cell, arrays, ("B", "initial_h"))
        model.graph.input.remove(model.graph.input[1])
        session = sardonyx.Session(model, threads=1)
        if batch == 1:
            with pytest.raises(sardonyx.SardonyxError, match="initial_h"):
                session.run(None, feeds)
            continue
        for found, each in zip(session.run(None, feeds), wanted, strict=True):
            np.testing.assert_array_equal(found, each)
    arrays["R"][0, 7, 3] = np.inf
    model = network(cell, arrays)
    with np.errstate(all="ignore"):
        agree(model, feeds, sardonyx.Session(model, threads=1))


def test_layers_that_follow_one_another_need_no_copies(rng):
    """Results lie as the next layer's input: directions beside one another, batch before them."""
    first, second = weights(rng, "GRU", 2, 6, 16), weights(rng, "GRU", 2, 32, 16)
    named = {f"{n}0": first[n] for n in "WRB"} | {f"{n}1": second[n] for n in "WRB"}
    nodes = [
        oh.make_node(
            "GRU", ["X", "W0", "R0", "B0"], ["y"], hidden_size=16, direction="bidirectional"
        ),
        oh.make_node("Transpose", ["y"], ["t"], perm=[0, 2, 1, 3]),
        oh.make_node("Reshape", ["t", "joined"], ["x1"]),
        oh.make_node(
            "GRU", ["x1", "W1", "R1", "B1"], ["z"], hidden_size=16, direction="bidirectional"
        ),
    ]
    graph = oh.make_graph(
        nodes, "layers", [oh.make_tensor_value_info("X", 1, ["T", "B", 6])],
        [onnx.ValueInfoProto(name="z")],
        [onnx.numpy_helper.from_array(a, n)
         for n, a in (named | {"joined": np.array([0, 0, 32])}).items()],
    )  # fmt: skip
    model = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 22)], ir_version=10)
    session = sardonyx.Session(model, threads=1)
    kinds = [step.op_type for step in session.engine.program.steps]
    assert not {"Transpose", "Reorder", "Reshape"} & set(kinds)
    agree(model, {"X": rng.standard_normal((5, 3, 6)).astype(F32)}, session)


# --- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize("lengths", [[4, 5], [-1, 3], [2**31 - 1, 0]])
def test_lengths_out_of_range_are_refused(rng, lengths):
    model = network("LSTM", weights(rng, "LSTM", 1, 3, 8), ("sequence_lens",))
    feeds = feeds_of(rng, model, 4, 2) | {"sequence_lens": np.array(lengths, np.int32)}
    wrong = next(length for length in lengths if not 0 <= length <= 4)
    text = rf"cell.*LSTM.*index {wrong} out of range in 'sequence_lens': expected 0 to 4$"
    with pytest.raises(sardonyx.SardonyxError, match=text):
        sardonyx.Session(model, threads=1).run(None, feeds)


@pytest.mark.parametrize("name", ["W", "R", "B", "P"])
def test_weights_that_do_not_fit_are_refused(rng, name):
    arrays = weights(rng, "LSTM", 1, 3, 8)
    arrays[name] = arrays[name][:, :-1]
    with pytest.raises(sardonyx.InvalidModel, match=rf"cell.*LSTM.*{name}|cell.*{name}"):
        sardonyx.Session(network("LSTM", arrays, ("B", "P")), threads=1)


def test_states_of_another_size_are_refused(rng):
    model = network("GRU", weights(rng, "GRU", 1, 3, 8), ("initial_h",))
    model.graph.input[1].type.tensor_type.shape.dim[1].dim_param = "other"
    feeds = feeds_of(rng, model, 4, 2) | {"initial_h": np.zeros((1, 1, 8), F32)}
    with pytest.raises(sardonyx.InvalidArgument, match="initial_h"):
        sardonyx.Session(model, threads=1).run(None, feeds)


@pytest.mark.parametrize("names", [["Tanh"], ["Tanh", "Cosine"]])
def test_functions_that_there_are_not_are_refused(rng, names):
    model = network("GRU", weights(rng, "GRU", 1, 3, 8), activations=names)
    with pytest.raises(sardonyx.InvalidModel, match="activation"):
        sardonyx.Session(model, threads=1)


def test_products_are_joined_where_it_is_better_to_read_weights():
    """Products of all steps against joint weights, by what the caches hold."""
    l2, l3 = target().l2, recurrent_layer.L3_BYTES
    layer = recurrent_layer.Layer(
        "lstm", "f32", ((("tanh", 0.0, 0.0),),), 0, False, None, False,
        np.zeros((1, 4, 128, 128), F32), np.zeros((1, 4, 128, 128), F32), None, None, None,
    )  # fmt: skip
    assert layer.blocks > 1
    words = 4 * layer.units * 4
    for depth, steps, wanted in (
        (l2 // words, l2 // words // 16, False),
        (l2 // words, l2 // words // 16 + 1, True),
        (l3 // words // 4, l3 // words // 16, True),
        (l3 // words, l3 // words // 16, False),
        (l2 // words, "T", True),
    ):
        assert layer.is_better_read(depth, steps, 16) == wanted, (depth, steps)


def test_blocks_are_worth_what_threads_take_to_share_them():
    costs, found = machine_costs(), []
    model = network("LSTM", weights(np.random.default_rng(0), "LSTM", 1, 64, 128))
    for alone_ns in (100, 1_000, 1_000_000):
        sharing = costs.sharing._replace(operations_per_ns=32, alone_ns=alone_ns)
        with costs_given(costs._replace(sharing=sharing)):
            session = sardonyx.Session(model, threads=2)
            rng = np.random.default_rng(1)
            agree(model, feeds_of(rng, model, 3, 2), session)
        made = recurrent_layer.Layer.blocks.fget
        with costs_given(costs._replace(sharing=sharing)):
            layer = SimpleNamespace(gates=4, size=128, depth=128, has_terms=False, vectors=8)
            found.append(made(layer))
    assert found == [8, 2, 1]


@pytest.mark.parametrize(("product", "least"), [(0.05, 2), (0.2, 5), (1.0, 32)])
def test_states_become_terms_where_a_tile_takes_less_than_vectors(product, least, monkeypatch):
    costs = TermCosts(product=product, split=2.0, fetch=0.0, result=0.0)
    monkeypatch.setattr(recurrent_layer, "term_costs", lambda terms: costs)
    layer = SimpleNamespace(gates=4, size=256)
    pays = [batch for batch in range(1, 17) if recurrent_layer._terms_pay(layer, batch)]
    assert pays == list(range(least, 17))
