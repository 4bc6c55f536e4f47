import _thread
import dataclasses
import os
import pickle
import signal
import threading
import time

import numpy as np
import onnx
import onnxruntime
import pytest
import sardonyx
from onnx import helper as oh
from sardonyx.runtime.processors import available_processors


def make_model(nodes, inputs, outputs, initializers=(), opset=17):
    graph = oh.make_graph(
        nodes,
        "test",
        [oh.make_tensor_value_info(n, t, s) for n, t, s in inputs],
        [oh.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in outputs],
        [onnx.numpy_helper.from_array(a, n) for n, a in initializers],
    )
    made = oh.make_model(graph, opset_imports=[oh.make_opsetid("", opset)], ir_version=8)
    return made.SerializeToString()


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((8, 3, 3, 3), np.float32)
    nodes = [
        oh.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1], name="conv"),
        oh.make_node("Relu", ["a"], ["b"], name="relu"),
        oh.make_node("GlobalAveragePool", ["b"], ["y"], name="mean"),
    ]
    return make_model(nodes, [("x", 1, ["N", 3, "H", "W"])], ["y"], [("w", weights)])


def expected(model, x):
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(onnx.ModelProto.FromString(model)).run(None, {"x": x})[0]


def images(n=1, h=16, w=12, seed=0):
    return np.random.default_rng(seed).standard_normal((n, 3, h, w), np.float32)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_shapes_may_change_from_run_to_run(model, threads):
    session = sardonyx.Session(model, threads=threads)
    for n, h, w in [(1, 16, 12), (3, 5, 40), (1, 1, 1), (2, 33, 7), (1, 16, 12)]:
        x = images(n, h, w)
        np.testing.assert_allclose(session(x), expected(model, x), rtol=1e-4, atol=1e-5)


def test_metadata_as_in_onnxruntime(tmp_path):
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    info = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [2]) for n in "xy"]
    graph = onnx.helper.make_graph([node], "small", [info[0]], [info[1]], doc_string="one node")
    opsets = [onnx.helper.make_opsetid("", 20)]
    made = onnx.helper.make_model(
        graph, producer_name="me", domain="here", model_version=3, doc_string="what", ir_version=10,
        opset_imports=opsets,
    )  # fmt: skip
    onnx.helper.set_model_props(made, {"labels": '["a", "b"]', "author": "Ä"})
    path = tmp_path / "m.onnx"
    onnx.save(made, path)
    wanted = onnxruntime.InferenceSession(path).get_modelmeta()
    session = sardonyx.Session(path)
    session.save(tmp_path / "m.sdx")
    for found in (session.get_modelmeta(), sardonyx.Session(tmp_path / "m.sdx").get_modelmeta()):
        for name in dataclasses.asdict(found):
            assert getattr(found, name) == getattr(wanted, name), name


def test_interface_is_onnxruntimes(model):
    session = sardonyx.Session(model)
    (port,) = session.get_inputs()
    assert (port.name, port.type, port.shape) == ("x", "tensor(float)", ["N", 3, "H", "W"])
    x = images()
    assert len(session.run(["y"], {"x": x})) == 1
    np.testing.assert_array_equal(session(x=x), session(x))


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, "missing"),
        ({"x": images(), "z": images()}, "z"),
        ({"x": images().astype(np.float64)}, "expected float32, got float64"),
        ({"x": images()[0]}, "expected 4 dimensions"),
        ({"x": np.zeros((1, 4, 5, 5), np.float32)}, "expected 3 in dimension 1"),
    ],
)
def test_wrong_inputs_are_named(model, feeds, message):
    with pytest.raises(sardonyx.InvalidArgument, match=message):
        sardonyx.Session(model).run(None, feeds)


def test_unknown_outputs_and_options_are_refused(model):
    with pytest.raises(sardonyx.InvalidArgument, match="no output"):
        sardonyx.Session(model).run(["nothing"], {"x": images()})
    with pytest.raises(sardonyx.InvalidArgument, match="precision"):
        sardonyx.Session(model, precision="fp8")
    with pytest.raises(sardonyx.InvalidArgument, match="threads"):
        sardonyx.Session(model, threads=0)


def test_threads_default_to_the_variable_then_to_the_processors(model, monkeypatch):
    monkeypatch.delenv("SARDONYX_THREADS", raising=False)
    monkeypatch.setattr("sardonyx.runtime.options.available_processors", lambda: 5)
    assert sardonyx.Session(model).threads == 5
    monkeypatch.setenv("SARDONYX_THREADS", "3")
    assert sardonyx.Session(model).threads == 3
    assert sardonyx.Session(model, threads=2).threads == 2


@pytest.mark.parametrize("text", ["", "0", "-1", "2.0", "all", "9" * 5000])
def test_a_variable_that_is_no_number_of_threads_is_named(model, monkeypatch, text):
    monkeypatch.setenv("SARDONYX_THREADS", text)
    with pytest.raises(sardonyx.InvalidArgument, match=f"SARDONYX_THREADS.*{text!r}"):
        sardonyx.Session(model)
    assert sardonyx.Session(model, threads=1).threads == 1


def test_three_threads_for_each_processor_give_the_same_results(model):
    several = sardonyx.Session(model, threads=3 * available_processors())
    x = images(2, 33, 17)
    wanted = sardonyx.Session(model, threads=1)(x)
    for _ in range(5):
        np.testing.assert_array_equal(several(x), wanted)


def test_arrays_of_any_layout_are_taken(model):
    session = sardonyx.Session(model)
    x = images(2, 8, 8)
    frozen = x.copy()
    frozen.flags.writeable = False
    strided = np.asfortranarray(x)
    raw = np.zeros(x.nbytes + 1, np.uint8)
    unaligned = raw[1:].view(np.float32).reshape(x.shape)
    unaligned[:] = x
    for array in (frozen, strided, unaligned, x[::-1][::-1]):
        np.testing.assert_array_equal(session(array), session(x))


def test_empty_and_non_finite_inputs(model):
    session = sardonyx.Session(model)
    assert session(np.zeros((0, 3, 4, 4), np.float32)).shape == (0, 8, 1, 1)
    x = images()
    x[0, 1, 3, 3] = np.nan
    assert np.isnan(session(x)).all()


@pytest.mark.parametrize("threads", [1, 2])
def test_concurrent_runs(model, threads):
    session = sardonyx.Session(model, threads=threads)
    inputs = [images(1, 10 + i, 12, i) for i in range(4)]
    wanted = [expected(model, x) for x in inputs]
    wrong = []

    def work(i):
        for _ in range(25):
            same = np.allclose(session(inputs[i]), wanted[i], rtol=1e-4, atol=1e-5)
            wrong.extend([] if same else [i])

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_usable_after_fork(model):
    session = sardonyx.Session(model, threads=2)
    x = images()
    wanted = session(x)
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(session(x), wanted) else 1)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(session(x), wanted)


def test_pickling(model, tmp_path):
    x = images()
    path = tmp_path / "model.onnx"
    path.write_bytes(model)
    for source in (model, path, onnx.ModelProto.FromString(model)):
        session = sardonyx.Session(source, threads=1)
        again = pickle.loads(pickle.dumps(session))
        np.testing.assert_array_equal(again(x), session(x))


@pytest.fixture
def interruptible():
    """Hear SIGINT, which background jobs of a shell, and their children, ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_interrupt_ends_a_long_run(interruptible):
    square = np.eye(512, dtype=np.float32)
    nodes = [
        oh.make_node("MatMul", [f"t{i}", "w"], [f"t{i + 1}"], name=f"product{i}")
        for i in range(400)
    ]
    bytes_ = make_model(nodes, [("t0", 1, [512, 512])], ["t400"], [("w", square)])
    session = sardonyx.Session(bytes_, threads=1)
    x = np.ones((512, 512), np.float32)
    timer = threading.Timer(0.2, _thread.interrupt_main)
    start = time.perf_counter()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        while time.perf_counter() - start < 60:
            session(x)
    small = sardonyx.Session(bytes_, threads=1)
    np.testing.assert_array_equal(small(x), x)


def test_index_out_of_range_names_the_node():
    table = np.arange(10, dtype=np.float32)
    node = oh.make_node("Gather", ["w", "i"], ["y"], name="lookup")
    session = sardonyx.Session(
        make_model([node], [("i", onnx.TensorProto.INT64, ["K"])], ["y"], [("w", table)])
    )
    np.testing.assert_array_equal(session(np.array([1, -1])), table[[1, 9]])
    with pytest.raises(sardonyx.KernelError, match=r"lookup.*Gather.*out of range"):
        session(np.array([3, 10]))
