"""Whole models on the simulated GPU: results, what runs where, and the copies between."""

from pathlib import Path

import numpy as np
import pytest
import sardonyx
from onnx import TensorProto, helper
from sardonyx.tools import zoo
from sardonyx.tools.cuda_cases.runs import check, floats, kernels_elsewhere, model_of, on_gpu

node = helper.make_node
DATA = Path(__file__).parents[2] / "tools" / "data"


def assert_same_as_cpu(path, feeds):
    model = Path(path).read_bytes()
    session = sardonyx.Session(model, device="cuda")
    wanted = sardonyx.Session(model).run(None, feeds)
    for got, expected in zip(session.run(None, feeds), wanted, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
    return session


def feeds_of(path, batch, seed=0):
    [port] = sardonyx.Session(Path(path).read_bytes()).get_inputs()
    shape = [size if isinstance(size, int) else batch for size in port.shape]
    return {port.name: floats(*shape, seed=seed)}


def test_the_network_of_the_demo():
    path = DATA / "digits.onnx"
    session = assert_same_as_cpu(path, feeds_of(path, 2))
    assert kernels_elsewhere(session) == []
    assert session.device == "cuda:simulated"


def test_a_network_of_the_zoo():
    try:
        path = zoo.model("mnist")
    except zoo.Unavailable as reason:
        pytest.skip(str(reason))
    assert kernels_elsewhere(assert_same_as_cpu(path, feeds_of(path, 1))) == []


def transformer(attends_causally):
    """A block of a transformer on tokens, of any batch and length."""
    rng = np.random.default_rng(1)

    def drawn(*shape):
        return (rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)

    weights = {
        "table": drawn(11, 8), "s1": drawn(8), "b1": drawn(8), "s2": drawn(8), "b2": drawn(8),
        "wq": drawn(8, 8), "wk": drawn(8, 8), "wv": drawn(8, 8), "wo": drawn(8, 8),
        "up": drawn(8, 16), "bias": drawn(16), "down": drawn(16, 8), "head": drawn(8, 11),
    }  # fmt: skip
    nodes = [
        node("Gather", ["table", "tokens"], ["x"]),
        node("LayerNormalization", ["x", "s1", "b1"], ["h"]),
        *(node("MatMul", ["h", f"w{each}"], [each]) for each in "qkv"),
        node("Attention", ["q", "k", "v"], ["a"], q_num_heads=2, kv_num_heads=2,
             is_causal=attends_causally),
        node("MatMul", ["a", "wo"], ["o"]),
        node("Add", ["x", "o"], ["r"]),
        node("LayerNormalization", ["r", "s2", "b2"], ["g"]),
        node("MatMul", ["g", "up"], ["u"]),
        node("Add", ["u", "bias"], ["ub"]),
        node("Gelu", ["ub"], ["e"]),
        node("MatMul", ["e", "down"], ["d"]),
        node("Add", ["r", "d"], ["z"]),
        node("MatMul", ["z", "head"], ["l"]),
        node("Softmax", ["l"], ["y"]),
    ]  # fmt: skip
    return nodes, weights


@pytest.mark.parametrize("is_causal", [0, 1])
def test_a_block_of_a_transformer_at_several_lengths(is_causal):
    nodes, weights = transformer(is_causal)
    feeds = [
        {"tokens": np.random.default_rng(seed).integers(0, 11, shape)}
        for seed, shape in enumerate([(2, 5), (1, 9), (2, 5), (3, 1)])
    ]
    check(nodes, feeds, weights, {"tokens": ["batch", "length"]})


def test_sizes_of_zero():
    nodes, weights = transformer(0)
    model = model_of(nodes, {"tokens": np.zeros((1, 1), np.int64)}, weights,
                     {"tokens": ["batch", "length"]})  # fmt: skip
    session = on_gpu(model)
    assert session.run(None, {"tokens": np.zeros((0, 4), np.int64)})[0].shape == (0, 4, 11)
    assert session.run(None, {"tokens": np.zeros((2, 3), np.int64)})[0].shape == (2, 3, 11)


def test_what_has_no_kernel_runs_on_the_cpu_between():
    nodes = [
        node("Mul", ["x", "x"], ["a"]),
        node("ArrayFeatureExtractor", ["a", "i"], ["v"], domain="ai.onnx.ml"),
        node("Exp", ["v"], ["y"]),
    ]
    feeds, columns = {"x": floats(2, 3)}, {"i": np.array([2, 0])}
    session = check(nodes, feeds, columns, elsewhere=["lookup.take_columns[4]"])
    steps = session.profile(feeds, runs=2, warmup=0).steps
    copies = [(step.op_type, step.name) for step in steps if step.kernel == "copy"]
    assert copies == [("ToDevice", "x"), ("ToHost", "a"), ("ToDevice", "v"), ("ToHost", "y")]
    assert all(step.times_ns.shape == (2,) for step in steps)


def test_host_steps_and_sizes_that_are_read():
    nodes = [
        node("Abs", ["x"], ["a"]),
        node("NonZero", ["a"], ["i"]),
        node("Transpose", ["i"], ["t"]),
        node("GatherND", ["x", "t"], ["g"]),
        node("Neg", ["g"], ["y"]),
    ]
    x = np.array([[0, 1, 0], [2, 0, -3]], np.float32)
    model = model_of(nodes, {"x": x})
    session = on_gpu(model)
    assert session.run(None, {"x": x})[0].tolist() == [-1, -2, 3]
    assert session.run(None, {"x": x * 0})[0].tolist() == []
    assert session.run(None, {"x": x + 5})[0].tolist() == (-5 - x).ravel().tolist()


def loop_model():
    """``state = state * x + 1``, as often as told."""
    body = helper.make_graph(
        [node("Mul", ["s", "x"], ["m"]), node("Add", ["m", "one"], ["t"]),
         node("Identity", ["c"], ["d"])],
        "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []),
         helper.make_tensor_value_info("c", TensorProto.BOOL, []),
         helper.make_tensor_value_info("s", TensorProto.FLOAT, [2, 3])],
        [helper.make_tensor_value_info("d", TensorProto.BOOL, []),
         helper.make_tensor_value_info("t", TensorProto.FLOAT, [2, 3])],
    )  # fmt: skip
    nodes = [node("Neg", ["x"], ["s0"]), node("Loop", ["n", "go", "s0"], ["y"], body=body)]
    weights = {"go": np.array(True), "one": np.float32(1)}
    return model_of(nodes, {"x": floats(2, 3), "n": np.array(3)}, weights)


def test_loops():
    session = on_gpu(loop_model())
    x = floats(2, 3)
    for count in (0, 1, 4):
        wanted = -x
        for _ in range(count):
            wanted = wanted * x + 1
        got = session.run(None, {"x": x, "n": np.array(count)})[0]
        np.testing.assert_allclose(got, wanted, rtol=1e-5)


def test_trace_gives_every_value():
    nodes = [node("Exp", ["x"], ["a"]), node("Transpose", ["a"], ["b"]), node("Neg", ["b"], ["y"])]
    x = floats(2, 3)
    found = on_gpu(model_of(nodes, {"x": x})).trace({"x": x})
    assert {name for name in found if name in "aby"} >= {"y"}
    np.testing.assert_allclose(found["y"], -np.exp(x).T, rtol=1e-6)


def test_runs_do_not_see_what_others_left():
    model = model_of([node("Add", ["x", "x"], ["y"])], {"x": floats(4)}, dims={"x": ["n"]})
    session = on_gpu(model)
    for size in (4, 9, 2, 0, 9):
        x = floats(size, seed=size)
        np.testing.assert_array_equal(session.run(None, {"x": x})[0], x + x)


def test_sessions_are_saved_and_pickled(tmp_path):
    import pickle

    x = floats(2, 3)
    session = on_gpu(model_of([node("Exp", ["x"], ["y"])], {"x": x}))
    session.save(tmp_path / "model.sdx")
    again = sardonyx.Session(tmp_path / "model.sdx", device="cuda")
    for other in (again, pickle.loads(pickle.dumps(session))):
        assert other.device == "cuda:simulated"
        np.testing.assert_array_equal(other.run(None, {"x": x})[0], session.run(None, {"x": x})[0])
    assert sardonyx.Session(tmp_path / "model.sdx").device == "cpu"


def test_launches_that_come_again_are_captured_once(monkeypatch):
    from sardonyx.runtime.devices.cuda.simulator import Simulator

    captured, capture = [], Simulator.capture

    def noted(self, launches):
        captured.append(launches)
        return capture(self, launches)

    monkeypatch.setattr(Simulator, "capture", noted)
    nodes = [node("Exp", ["x"], ["a"]), node("Transpose", ["a"], ["b"]), node("Neg", ["b"], ["y"])]
    session = on_gpu(model_of(nodes, {"x": floats(2, 3)}, dims={"x": ["n", 3]}))
    # The last few sizes have a binding each, and their graphs.
    runs = (2, 0), (2, 1), (2, 1), (4, 1), (4, 2), (2, 2), (4, 2), (5, 2), (6, 2), (7, 2)
    for rows, graphs in (*runs, (2, 2), (2, 3)):
        x = floats(rows, 3, seed=rows)
        np.testing.assert_allclose(session.run(None, {"x": x})[0], -np.exp(x).T, rtol=1e-6)
        assert len(captured) == graphs


def test_what_follows_from_sizes_is_computed_once_on_either_device():
    nodes = [
        node("EyeLike", ["x"], ["e"]),
        node("Exp", ["e"], ["powers"]),
        node("ArrayFeatureExtractor", ["powers", "i"], ["d"], domain="ai.onnx.ml"),  # on the CPU
        node("Log", ["d"], ["l"]),
        node("Mul", ["x", "l"], ["m"]),
        node("Exp", ["m"], ["y"]),
    ]
    first = {"i": np.array([0])}
    session = on_gpu(model_of(nodes, {"x": floats(3, 3)}, first, {"x": ["n", "n"]}))
    assert session.engine.program.invariant_steps
    for size, copies in ((3, 4), (3, 2), (3, 2), (5, 4), (5, 2), (3, 2)):
        x = floats(size, size, seed=size)
        got = session.run(None, {"x": x})[0]
        np.testing.assert_allclose(got, np.exp(x * np.eye(size)[:, :1]), rtol=1e-4)
        assert len(session.engine.idle[-1].copies) == copies
