"""A budget is met on data that calibration has not seen, by the fastest mix, or nothing written."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import sardonyx
from onnx import helper, numpy_helper
from sardonyx import InvalidArgument
from sardonyx.kernels import unit_rates
from sardonyx.kernels.amx_permission import EMULATED
from sardonyx.tools import budget, quantize, verification
from sardonyx.tools.demo import DATA, held_out_images
from sardonyx.tools.mixes import Option, mix, steps

F32 = np.float32
DIGITS = str(DATA / "digits.onnx")


@pytest.fixture(autouse=True)
def speeds(monkeypatch) -> dict[str, float]:
    """Times of tiny models are left to chance: here each precision has its own, on any machine.

    bfloat16 is not there, unless a test takes it.
    """
    ns, made = {"int8": 100.0, "fp32": 200.0, "bf16": 150.0}, {}
    really_made = budget.Searcher._made

    def note(self: Any, mix: Any) -> Any:
        model, ranges = really_made(self, mix)
        made["last"] = mix
        return model, ranges

    def layer_times(session: Any, feed: Any, layers: Any, shares: Any = None) -> dict[str, float]:
        is_float = not session.engine.program.metadata["bfloats"] and not has_bytes(session)
        mix = {} if is_float else made["last"]
        return {
            layer: ns.get(f"{layer} in {mix.get(layer, 'fp32')}", ns[mix.get(layer, "fp32")])
            for layer in layers
        }

    monkeypatch.setattr(budget.Searcher, "_made", note)
    monkeypatch.setattr(budget, "bfloat16_speed", lambda: 0.0)
    monkeypatch.setattr(budget, "layer_times", layer_times)
    monkeypatch.setattr(budget, "run_times", as_fast)
    return ns


def has_bytes(session: Any) -> bool:
    return any(tensor.dtype == "uint8" for tensor in session.engine.program.tensors)


def kinds(session: Any) -> set[str]:
    """Precisions of layers, other than float32."""
    names = {"int8": has_bytes(session), "bf16": session.engine.program.metadata["bfloats"]}
    return {name for name, is_there in names.items() if is_there}


def as_fast(sessions: Any, feed: Any) -> list[float]:
    """Bytes take half of the time of the float model, with bfloat16 or without."""
    return [1e4 if "int8" in kinds(session) else 2e4 for session in sessions]


@pytest.fixture
def bfloats(monkeypatch) -> None:
    """Products of bfloat16 by vectors are twice as fast as those of float32, with no AMX."""
    found = {name: rate for name, rate in unit_rates.rates().items() if "AMX" not in name}
    found["bfloat16"] = 2 * found["float32"]
    monkeypatch.setattr(unit_rates, "rates", lambda: found)
    monkeypatch.setattr(budget, "bfloat16_speed", lambda: 2.0)


def chain(outliers: int = 2, count: int = 4) -> Any:
    """Convolutions, of which some read a channel a thousand times as large as the others."""
    rng = np.random.default_rng(0)
    nodes, arrays, x = [], {}, "x"
    for i in range(count):
        weights = rng.standard_normal((8, 8, 3, 3)) / 8
        scales = np.ones((8, 1, 1, 1))
        if i < outliers:
            scales[0] = 1000.0
        if 0 < i <= outliers:
            weights[:, 0] /= 1000.0
        arrays[f"w{i}"] = (weights * scales).astype(F32)
        nodes.append(helper.make_node("Conv", [x, f"w{i}"], [f"c{i}"], f"conv{i}", pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"r{i}"], f"relu{i}"))
        x = f"r{i}"
    arrays["w"] = rng.standard_normal((8, 5)).astype(F32)
    nodes.append(helper.make_node("ReduceMean", [x, "axes"], ["mean"], "mean", keepdims=0))
    nodes.append(helper.make_node("MatMul", ["mean", "w"], ["y"], "head"))
    arrays["axes"] = np.array([2, 3])
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", 1, ("n", 8, 6, 6))],
        [helper.make_tensor_value_info("y", 1, ("n", 5))],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def images(count: int = 32, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 8, 6, 6)).astype(F32)


def in_onnxruntime(model: Any, feeds: dict[str, Any]) -> np.ndarray:
    data = model if isinstance(model, str) else model.SerializeToString()
    result: np.ndarray = onnxruntime.InferenceSession(data).run(None, feeds)[0]
    return result


def angle(a: np.ndarray, b: np.ndarray) -> float:
    """100 points less the cosine of each row, on average."""
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(100 - 100 * ((a * b).sum(1) / lengths).mean())


def quantized_layers(path: Any) -> list[str]:
    model = onnx.load(path)
    made = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    return [node.name for node in model.graph.node if len(made.intersection(node.input)) > 1]


@pytest.mark.parametrize("max_drop", [5.0, 0.05, 0.01])
def test_the_mix_meets_its_budget_on_unseen_data(max_drop, tmp_path):
    """onnxruntime agrees on what is lost; the layers with outliers are the first to stay float."""
    path, model, unseen = tmp_path / "q.onnx", chain(), images(64, seed=2)
    done = sardonyx.quantize(model, images(), path, max_drop=max_drop, validation=unseen)
    assert done.written and done.drop is not None and done.drop <= max_drop
    feeds = {"x": unseen}
    lost = angle(in_onnxruntime(model, feeds), in_onnxruntime(str(path), feeds))
    assert lost == pytest.approx(done.drop, abs=0.2 * max_drop)
    rows = {row.layer: row for row in done.layers}
    assert [row.layer for row in done.layers if row.precision == "int8"] == quantized_layers(path)
    if max_drop < 5.0:
        floats = [row for row in done.layers if row.precision == "fp32"]
        assert floats and all("given back" in row.why for row in floats)
        assert rows["conv1"].precision == "fp32"
        assert rows["conv1"].alone.decibels < rows["conv3"].alone.decibels


def test_labels_are_split_with_the_data(tmp_path):
    """Half of the images calibrate; accuracy is that of the other half."""
    found = held_out_images()
    seen: list[Any] = []

    def score(outputs: np.ndarray, labels: np.ndarray) -> float:
        seen.append((outputs, labels))
        return float((outputs.argmax(1) == labels).mean())

    pixels, labels = found.pixels[:80], found.labels[:80]
    options = {"max_drop": 2.5, "labels": labels, "threads": 1}
    done = sardonyx.quantize(DIGITS, pixels, tmp_path / "q.onnx", **options)
    assert (done.metric, done.verified, done.runs) == ("accuracy", 40, 5)
    other = sardonyx.quantize(DIGITS, pixels, metric=score, **options)
    assert other.metric == "score" and other.drop == pytest.approx(done.drop)
    places = np.arange(80).reshape(10, 8)[1::2].reshape(-1)
    outputs, wanted = seen[0]
    assert (wanted == labels[places]).all()
    expected = in_onnxruntime(DIGITS, {"pixels": pixels[places]})
    np.testing.assert_allclose(outputs, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("metric", ["cosine", "top1", "kl"])
def test_bounds_on_outputs_need_no_labels(metric):
    done = sardonyx.quantize(chain(0), images(), max_drop=3.0, metric=metric)
    assert done.metric == metric and done.drop is not None and 0 <= done.drop <= 3.0
    assert len(quantized_nodes(done)) == 5


def quantized_nodes(done: quantize.Quantization) -> list[str]:
    return [row.layer for row in done.layers if row.precision == "int8"]


def test_a_budget_that_cannot_be_met_writes_nothing(tmp_path):
    path = tmp_path / "q.onnx"
    with pytest.warns(UserWarning, match=r"nothing is written: it loses .* and 0 are allowed"):
        done = sardonyx.quantize(chain(), images(), path, max_drop=0.0)
    assert not done.written and not path.exists()
    assert done.drop is not None and done.drop > 0 and done.layers
    done = sardonyx.quantize(chain(), images(), path, max_drop=0.0, force=True)
    assert done.written and done.refusals and path.exists()


def test_what_is_slower_than_float_is_refused(monkeypatch, tmp_path):
    path, slow = tmp_path / "q.onnx", lambda sessions, feed: [1e4, 2e4]
    monkeypatch.setattr(budget, "run_times", slow)
    monkeypatch.setattr(verification, "run_times", slow)
    for options in ({}, {"max_drop": 50.0}):
        with pytest.warns(UserWarning, match="slower than the float model: 20 µs for a sample"):
            sardonyx.quantize(chain(), images(), path, **options)
        assert not path.exists()
    assert sardonyx.quantize(chain(), images(), path, force=True).written


def test_layers_that_save_no_time_stay_float(monkeypatch, speeds):
    speeds["conv3 in int8"] = 300.0
    monkeypatch.setattr(budget, "run_times", lambda sessions, feed: [2e4, next(times)])
    times = iter([1.5e4, 1e4])
    done = sardonyx.quantize(chain(0), images(), max_drop=50.0)
    (row,) = (row for row in done.layers if row.precision == "fp32")
    assert row.layer == "conv3" and row.why == "no faster in 8 bits: 0.3 µs, 0.2 in float"


def test_bfloat16_is_between(bfloats, speeds, tmp_path):
    """Layers that 8 bits lose too much of may be bfloat16, which the file notes at their nodes."""
    speeds |= {"fp32": 400.0, "bf16": 200.0}
    path = tmp_path / "q.onnx"
    done = sardonyx.quantize(chain(), images(), path, max_drop=0.05)
    rows = {row.layer: row for row in done.layers}
    assert rows["conv1"].precision == "bf16" and "given back" in rows["conv1"].why
    assert rows["conv3"].precision == "int8"
    notes = {
        node.name: {each.key: each.value for each in node.metadata_props}
        for node in onnx.load(path).graph.node
    }
    for name, row in rows.items():
        assert (notes[name].get("sardonyx.precision") == "bf16") == (row.precision == "bf16")


def test_bfloat16_alone_is_a_mix(bfloats, speeds, monkeypatch):
    """A layer whose products are too few to be rounded is not said to be bfloat16."""
    speeds |= {"int8": 500.0, "fp32": 400.0, "bf16": 100.0}
    monkeypatch.setattr(budget, "run_times", lambda sessions, feed: [2e4, next(totals)])
    totals = iter([1.5e4, 1e4])
    done = sardonyx.quantize(chain(0), images(), max_drop=1.0)
    found = {row.layer: row.precision for row in done.layers}
    assert found.pop("head") == ("bf16" if EMULATED else "fp32")
    assert set(found.values()) == {"bf16"} and done.count == 0
    assert all("no faster in 8 bits" in row.why for row in done.layers)


@pytest.mark.parametrize("fastest", ["int8", "bf16"])
def test_a_mix_that_turns_out_slower_than_one_precision_is_not_taken(bfloats, speeds, monkeypatch,
                                                                     fastest):  # fmt: skip
    """What layers take, added up, promises a mix; runs tell, those nearly as fast in turns."""
    speeds |= {"conv1 in int8": 180.0, "conv2 in int8": 180.0}
    turns: list[int] = []

    def run_times(sessions: Any, feed: Any) -> list[float]:
        turns.append(len(sessions))
        return [2e4, *[1e4 if kinds(each) == {fastest} else 1.02e4 for each in sessions[1:]]]

    monkeypatch.setattr(budget, "run_times", run_times)
    done = sardonyx.quantize(chain(0), images(), max_drop=5.0)
    assert {row.precision for row in done.layers if row.layer != "head"} == {fastest}
    assert max(turns) > 2  # those nearly as fast took turns


def test_layers_to_keep(tmp_path):
    path = tmp_path / "q.onnx"
    sardonyx.quantize(chain(), images(), path, keep=["conv1", "head"])
    assert quantized_layers(path) == ["conv0", "conv2", "conv3"]
    with pytest.raises(InvalidArgument, match="no layer 'conv9' to keep; there are conv0, conv1"):
        sardonyx.quantize(chain(), images(), keep=["conv9"])


def test_reports_name_the_worst_and_their_cause(tmp_path):
    """Without a budget all layers are in 8 bits; onnxruntime has the same errors of each."""
    pytest.importorskip("matplotlib")
    path, model, folder = tmp_path / "q.onnx", chain(), tmp_path / "plots"
    done = sardonyx.quantize(model, images(), path, report=True, plots=folder)
    rows = {row.layer: row for row in done.layers}
    assert {row.precision for row in rows.values()} == {"int8"}
    assert sum(row.share for row in rows.values()) == pytest.approx(1)
    advised = [row for row in rows.values() if row.advice]
    assert len(advised) == 3 and max(rows.values(), key=lambda row: row.share) in advised
    assert rows["conv1"].low == 0 and rows["conv1"].high > 100  # of the large channel
    pictures = sorted(each.name for each in folder.iterdir())
    assert [name[:2] for name in pictures] == ["1-", "2-", "3-"]
    graph, feeds = onnx.load(path), {"x": images()[:4]}
    found = []
    for each in (model, graph):
        each.graph.output.extend([onnx.ValueInfoProto(name="r2")])
        session = onnxruntime.InferenceSession(each.SerializeToString())
        found.append(session.run(["r2"], feeds)[0].astype(np.float64))
    noise = np.square(found[1] - found[0]).sum() / np.square(found[0]).sum()
    assert rows["conv2"].accumulated.noise == pytest.approx(noise, rel=0.1)


def test_pictures_need_matplotlib(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InvalidArgument, match="pip install matplotlib"):
        sardonyx.quantize(chain(), images(), plots=tmp_path)


@pytest.mark.parametrize("mode", ["dynamic", "weights", "fp16", "bf16"])
def test_other_modes_are_verified_as_a_whole(mode, tmp_path):
    path, pixels = tmp_path / "q.onnx", held_out_images().pixels[:16]
    done = sardonyx.quantize(DIGITS, pixels, path, mode=mode, max_drop=1.0)
    assert done.written and done.verified == 16 and done.drop is not None
    path.unlink()
    with pytest.warns(UserWarning, match="nothing is written"):
        sardonyx.quantize(DIGITS, pixels, path, mode=mode, max_drop=0.0)
    assert not path.exists()
    with pytest.raises(InvalidArgument, match="needs data to verify on"):
        sardonyx.quantize(DIGITS, mode=mode, max_drop=1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_drop": -1.0}, "max_drop must be a number of points, not -1.0"),
        ({"max_drop": np.nan}, "max_drop must be"),
        ({"metric": "f1"}, "metric must be accuracy, cosine, top1, kl or a function, not 'f1'"),
        ({"metric": "accuracy"}, "'accuracy' needs labels"),
        ({"labels": np.zeros(31, int)}, "31 labels for 32 samples in 4 runs"),
        ({"labels": np.zeros(32)}, "not 16 labels of float64"),
        ({"labels": np.zeros((32, 2), int)}, "16 rows of the first output, not 32 labels"),
        ({"metric": lambda outputs, labels: np.nan}, "the metric gives nan in float"),
        ({"validation": images()[:, :4]}, r"has the shape \(8, 4, 6, 6\)"),
        ({"validation": images()[:0]}, "data is empty"),
    ],
)
def test_bad_input_is_refused(options, message, tmp_path):
    with pytest.raises(InvalidArgument, match=message):
        sardonyx.quantize(chain(), images(), tmp_path / "q.onnx", **{"max_drop": 1.0, **options})
    assert not (tmp_path / "q.onnx").exists()


def test_one_sample_cannot_be_split():
    with pytest.raises(InvalidArgument, match="one sample cannot both calibrate and verify"):
        sardonyx.quantize(chain(), images(1), max_drop=1.0)
    assert sardonyx.quantize(chain(), images(2), max_drop=90.0).verified == 1


def test_steps_are_the_hull_of_each_layer():
    """An option that another beats in both, or two others together, is no step."""
    layers = {
        "a": [Option("fp32", 0, 10), Option("bf16", 1, 6), Option("int8", 9, 4)],
        "b": [Option("fp32", 0, 10), Option("bf16", 4, 9), Option("int8", 3, 4)],
        "c": [Option("fp32", 0, 10), Option("int8", 1, 11)],
    }
    found = steps(layers)
    assert [(each.layer, each.option.precision) for each in found] == [
        ("a", "bf16"),
        ("b", "int8"),
        ("a", "int8"),
    ]
    assert mix(found[:2]) == {"a": "bf16", "b": "int8"}
    assert mix(found) == {"a": "int8", "b": "int8"}


def test_the_command(call, tmp_path):
    found, path = held_out_images(), tmp_path / "q.onnx"
    np.savez(tmp_path / "x.npz", pixels=found.pixels[:64])
    np.save(tmp_path / "y.npy", found.labels[:64])
    arguments = ["quantize", DIGITS, "-o", path, "--data", tmp_path / "x.npz"]
    arguments += ["--labels", tmp_path / "y.npy", "--max-drop", 3.2]
    shown = call(*arguments)
    assert shown.exit_code == 0, shown.stderr
    assert "points of accuracy on 32 samples that calibration has not seen" in shown.stdout
    assert "node_conv2d " in shown.stdout
    path.unlink()
    shown = call(*arguments[:-1], 0, "--metric", "cosine")
    assert shown.exit_code == 1 and not path.exists()
    assert "not written: it loses" in shown.stdout and "stays fp32" in shown.stdout
