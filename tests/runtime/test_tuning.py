"""Choices of forms are obeyed, measured once, and kept; what is measured depends on the machine."""

from __future__ import annotations

import json
import pickle

import numpy as np
import onnx
import onnxruntime
import pytest
import sardonyx
from onnx import TensorProto, helper
from sardonyx.runtime import tuning
from sardonyx.runtime.ops import winograd
from sardonyx.runtime.options import checked_options

pytestmark = pytest.mark.usefixtures("by_vectors")

FORMS = ["winograd 2x2", "winograd 2x4", "winograd 4x2", "winograd 4x4"]


def build(shape, weights, groups=1, second=None, **attributes):
    """Conv ``layer``, Relu, and a 1 x 1 Conv ``second`` when it has weights."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="layer", group=groups, **attributes),
        helper.make_node("Relu", ["a"], ["b" if second is not None else "y"], name="relu"),
    ]
    tensors = [onnx.numpy_helper.from_array(weights, "w")]
    if second is not None:
        nodes.append(helper.make_node("Conv", ["b", "v"], ["y"], name="second"))
        tensors.append(onnx.numpy_helper.from_array(second, "v"))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        tensors,
    )
    opsets = [helper.make_opsetid("", 22)]
    return helper.make_model(graph, ir_version=10, opset_imports=opsets).SerializeToString()


def numbers(rng, *shape, scale=1.0):
    return rng.standard_normal(shape).astype(np.float32) * np.float32(scale)


@pytest.fixture
def model(rng):
    """Two convolutions of images (n, 16, h, w)."""
    weights = numbers(rng, 40, 16, 3, 3, scale=0.1), numbers(rng, 24, 40, 1, 1, scale=0.1)
    return build(["n", 16, "h", "w"], weights[0], second=weights[1], pads=[1, 1, 1, 1])


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch):
    monkeypatch.setattr(tuning, "_ROUNDS", (1, 1))


@pytest.fixture
def cache(own_cache):
    return own_cache


@pytest.fixture
def winograd_wins(monkeypatch):
    """Let clocks say that one form takes half the time of all others."""
    right = tuning._Times.of

    def of(times, name):
        fast = times.engine.program.metadata["choices"].get(name) == "winograd 2x4"
        return 1e6 if fast else 2e6

    monkeypatch.setattr(tuning._Times, "of", of)
    monkeypatch.setattr(
        tuning._Times,
        "total",
        lambda times: 1e6 if times.engine.program.metadata["choices"] else 2e6,
    )
    return right


def kernels(session, name):
    return [key for key in map(str, session.engine.program.kernels) if key.startswith(name)]


def expected(model, x):
    return onnxruntime.InferenceSession(model).run(None, {"x": x})[0]


@pytest.mark.parametrize(
    ("shape", "groups", "size"),
    [
        ((40, 16, 3, 3), 1, (2, 16, 13, 17)),
        ((24, 6, 3, 3), 2, (1, 12, 9, 30)),
        ((6, 1, 3, 3), 3, (1, 3, 7, 7)),
        ((17, 5, 5, 5), 1, (1, 5, 12, 11)),
        ((8, 24, 1, 5), 1, (1, 24, 1, 40)),
        ((70, 33, 3, 1), 1, (1, 33, 20, 1)),
        ((30, 8, 1, 1), 1, (3, 8, 5, 9)),
        ((30, 8, 7, 7), 1, (1, 8, 15, 15)),
    ],
)
def test_every_form_that_is_offered_runs_and_agrees(rng, shape, groups, size):
    pads = [shape[2] // 2, shape[3] // 2] * 2
    made = build(["n", size[1], "h", "w"], numbers(rng, *shape, scale=0.1), groups, pads=pads)
    x = numbers(rng, *size)
    offered = sardonyx.Session(made).engine.program.metadata["forms"]["layer"]
    assert len(offered) == len(set(offered)) > 1 or shape[0] <= 8
    for form in offered:
        session = sardonyx.Session(made, threads=2, choices={"layer": form})
        algorithm, sizes = form.split()
        first, second = map(int, sizes.split("x"))
        if algorithm == "winograd":
            column = size[3] == 1 and shape[3] == 1  # seen as a row
            tile = [second, first] if column else [first, second]
            assert any(f"[{tile[0]}, {tile[1]}, " in key or f"[{tile[1]}, {tile[0]}, " in key
                       for key in kernels(session, "winograd_tiles.winograd_input"))  # fmt: skip
            assert kernels(session, "winograd.winograd")
        else:
            assert not kernels(session, "winograd.winograd")
            widths = {int(key.split(",")[1].strip(" ]")) for key in kernels(session, "tile.tile")}
            assert second in widths
        assert session.choices == {"layer": form}
        np.testing.assert_allclose(session(x), expected(made, x), rtol=1e-4, atol=1e-4)


def test_the_cost_models_choice_comes_first(rng):
    made = build([1, 64, 56, 56], numbers(rng, 64, 64, 3, 3), pads=[1, 1, 1, 1])
    offered = sardonyx.Session(made).engine.program.metadata["forms"]["layer"]
    assert offered[0] == "winograd 4x4"
    assert sorted(form for form in offered if "winograd" in form) == FORMS
    assert winograd.choose((3, 3), (1, 56, 56), 64, 64, 1) == (4, 4)


def test_strict_never_gets_winograd(rng, winograd_wins):
    made = build([1, 64, 28, 28], numbers(rng, 64, 64, 3, 3), pads=[1, 1, 1, 1])
    session = sardonyx.Session(made, precision="strict", tune=True)
    assert not any("winograd" in form for form in session.engine.program.metadata["forms"]["layer"])
    assert not kernels(session, "winograd")
    with pytest.raises(sardonyx.InvalidArgument, match=r"'layer' has no form 'winograd 4x4'"):
        sardonyx.Session(made, precision="strict", choices={"layer": "winograd 4x4"})


def test_choices_that_cannot_be_are_refused(model, tmp_path):
    for choices, message in (
        ({"nothing": "direct 6x2"}, "no node 'nothing'"),
        ({"layer": "magic"}, "'layer' has no form 'magic', only"),
        (["layer"], "must be a mapping"),
    ):
        with pytest.raises(sardonyx.InvalidArgument, match=message):
            sardonyx.Session(model, choices=choices)
    sardonyx.Session(model).save(tmp_path / "p.sdx")
    for options in ({"choices": {"layer": "winograd 2x2"}}, {"tune": True}):
        with pytest.raises(sardonyx.InvalidArgument, match="open the model itself"):
            sardonyx.Session(tmp_path / "p.sdx", **options)


@pytest.mark.parametrize(
    ("tune", "message"),
    [
        (True, r"no size is given for \['n', 'h', 'w'\] of input 'x'"),
        ({"n": 1, "h": 5}, r"no size is given for \['w'\]"),
        ({"x": (1, 16, 5)}, "expected 4 dimensions"),
        ({"x": (1, 3, 5, 5)}, "expected 16 in dimension 1"),
        ({"z": 1}, r"no input or dimension 'z'; there are \['x', 'n', 'h', 'w'\]"),
        ({"n": -1, "h": 5, "w": 5}, "'n' is given as -1"),
        ({"n": "one"}, "'n' is given as 'one'"),
        (3, "a mapping of sizes, not a int"),
    ],
)
def test_wrong_sizes_are_named(model, tune, message):
    with pytest.raises(sardonyx.InvalidArgument, match=message):
        sardonyx.Session(model, tune=tune)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "tune",
    [
        {"n": 2, "h": 14, "w": 13},
        {"x": (2, 16, 14, 13)},
        {"x": np.ones((2, 16, 14, 13), np.float32)},
    ],
    ids=["dimensions", "shape", "array"],
)
def test_a_tuned_session_agrees_at_every_size(model, rng, cache, threads, tune):
    session = sardonyx.Session(model, threads=threads, tune=tune)
    found = session.tuning
    assert (found.threads, found.shapes) == (threads, {"x": (2, 16, 14, 13)})
    assert [each.name for each in found.layers] == ["layer", "second"]
    assert [each.shape for each in found.layers] == [(2, 40, 14, 13), (2, 24, 14, 13)]
    assert session.choices == found.choices
    for size in ((2, 16, 14, 13), (1, 16, 30, 7)):
        x = numbers(rng, *size)
        np.testing.assert_allclose(session(x), expected(model, x), rtol=1e-4, atol=1e-4)


def test_the_fastest_form_is_kept_and_not_measured_again(
    model, cache, monkeypatch, winograd_wins, rng
):
    sizes = {"n": 1, "h": 8, "w": 8}
    session = sardonyx.Session(model, tune=sizes)
    assert session.choices == {"layer": "winograd 2x4"}
    assert session.engine.program.metadata["choices"] == session.choices
    assert kernels(session, "winograd_tiles.winograd_input")
    x = numbers(rng, 1, 16, 9, 9)
    np.testing.assert_allclose(session(x), expected(model, x), rtol=1e-4, atol=1e-4)
    monkeypatch.setattr(tuning, "_measure", lambda *_: pytest.fail("measured again"))
    again = sardonyx.Session(model, tune=sizes)
    assert again.tuning == session.tuning
    assert again.engine.program is session.engine.program
    for other in ({"threads": 1}, {"precision": "strict"}, {"tune": {**sizes, "n": 2}}):
        with pytest.raises(pytest.fail.Exception, match="measured again"):
            sardonyx.Session(model, **{"tune": sizes, "threads": 2, **other})


@pytest.mark.parametrize("damage", ["cut", "flipped", "nothing", "other json"])
def test_a_damaged_answer_is_measured_again(model, cache, winograd_wins, damage):
    sizes = {"n": 1, "h": 8, "w": 8}
    first = sardonyx.Session(model, tune=sizes).tuning
    (path,) = (p for p in (cache / "answers").iterdir() if b"winograd 2x4" in p.read_bytes())
    text = path.read_text()
    path.write_text({
        "cut": text[:-20],
        "flipped": text.replace("winograd 2x4", "winograd 4x4"),
        "nothing": "\n",
        "other json": json.dumps({"layers": 1}) + "\n",
    }[damage])  # fmt: skip
    assert sardonyx.Session(model, tune=sizes).tuning == first
    assert path.read_text() == text


def test_without_a_cache_the_session_has_its_answer(model, monkeypatch, winograd_wins):
    monkeypatch.setenv("SARDONYX_CACHE", "off")
    session = sardonyx.Session(model, tune={"n": 1, "h": 8, "w": 8})
    assert session.choices == {"layer": "winograd 2x4"}


def test_a_pickled_session_keeps_its_choices(model, cache, monkeypatch, winograd_wins):
    source = onnx.ModelProto.FromString(model)
    session = sardonyx.Session(source, tune={"n": 1, "h": 8, "w": 8})
    monkeypatch.setattr(tuning, "_measure", lambda *_: pytest.fail("measured again"))
    again = pickle.loads(pickle.dumps(session))
    assert again.choices == session.choices == {"layer": "winograd 2x4"}
    assert kernels(again, "winograd_tiles.winograd_input")


def test_what_is_chosen_by_hand_stays(model, cache, winograd_wins):
    given = {"layer": "winograd 4x4"}
    session = sardonyx.Session(model, tune={"n": 1, "h": 8, "w": 8}, choices=given)
    assert session.choices == given
    assert [each.name for each in session.tuning.layers] == ["second"]


def test_outputs_that_differ_too_much_keep_the_cost_models_forms(
    model, cache, monkeypatch, winograd_wins
):
    monkeypatch.setattr(tuning, "_TOLERANCE", 0.0)
    session = sardonyx.Session(model, tune={"n": 1, "h": 8, "w": 8})
    assert session.choices == {} and "differ by" in session.tuning.note


def test_a_model_without_a_choice(cache):
    x = helper.make_tensor_value_info("x", TensorProto.INT64, [3])
    y = helper.make_tensor_value_info("y", TensorProto.INT64, [3])
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "g", [x], [y])
    opsets = [helper.make_opsetid("", 22)]
    made = helper.make_model(graph, ir_version=10, opset_imports=opsets).SerializeToString()
    session = sardonyx.Session(made, tune=True)
    assert session.tuning.layers == () and session.choices == {}


def test_offsets_of_a_transposed_convolution_share_a_choice(rng):
    nodes = [
        helper.make_node(
            "ConvTranspose", ["x", "w"], ["y"], name="up", strides=[2, 2], pads=[1, 1, 1, 1]
        )
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, 6, 7])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(numbers(rng, 8, 40, 5, 5, scale=0.1), "w")],
    )
    opsets = [helper.make_opsetid("", 22)]
    made = helper.make_model(graph, ir_version=10, opset_imports=opsets).SerializeToString()
    x = numbers(rng, 1, 8, 6, 7)
    for form in sardonyx.Session(made).engine.program.metadata["forms"]["up"]:
        session = sardonyx.Session(made, choices={"up": form})
        np.testing.assert_allclose(session(x), expected(made, x), rtol=1e-4, atol=1e-4)


def test_a_layer_counts_as_it_was_measured_mostly():
    """One of three times was disturbed."""

    def layer(cost_ns):
        return tuning.Layer("a", "Conv", (1,), "direct 6x2", cost_ns, "direct 4x3", 100.0)

    assert tuning._medians([[layer(140.0)], [layer(101.0)], [layer(103.0)]]) == (layer(103.0),)
    assert tuning._medians([[layer(140.0)], [layer(101.0)]]) == (layer(101.0),)


def test_what_seems_slow_is_compared_again(model, monkeypatch, winograd_wins):
    compared = []
    right = tuning._compared
    monkeypatch.setattr(tuning, "_compared", lambda *args: compared.append(1) or right(*args))
    _, options = checked_options(1, "fp32", "all")
    (found, _) = tuning.compare_forms(model, options, 1, {"n": 1, "h": 12, "w": 12})
    assert found.form == "winograd 2x4" and found.ratio == 2.0
    assert len(compared) >= tuning._REPEATS
