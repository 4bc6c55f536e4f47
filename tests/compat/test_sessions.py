"""Sessions of onnxruntime's interface: opened, described and run as those of the real one."""

import json
import pathlib
import pickle
import threading

import numpy as np
import pytest

from .models import LOOP, SUM, WEIGHTED


@pytest.fixture
def session(ort):
    return ort.InferenceSession(SUM.SerializeToString(), providers=["CPUExecutionProvider"])


def test_a_session_describes_its_inputs_and_outputs(session):
    described = [(each.name, each.type, each.shape) for each in session.get_inputs()]
    assert described == [("x", "tensor(float)", ["N", 3]), ("b", "tensor(float)", [3])]
    assert [each.name for each in session.get_outputs()] == ["y", "z"]
    assert str(session.get_inputs()[0]) == "NodeArg(name='x', type='tensor(float)', shape=['N', 3])"
    meta = session.get_modelmeta()
    assert (meta.graph_name, meta.custom_metadata_map) == ("agraph", {"labels": "one,two"})
    assert session.get_providers() == ["CPUExecutionProvider"]
    assert list(session.get_provider_options()) == ["CPUExecutionProvider"]
    assert session.get_overridable_initializers() == []


@pytest.mark.parametrize("names", [None, [], ["z"], ("z", "y"), ["y", "y"]])
def test_a_run_gives_the_outputs_wanted(session, feeds, names):
    results = session.run(names, feeds)
    y = feeds["x"] + feeds["b"]
    values = {"y": y, "z": np.maximum(y, 0)}
    for result, name in zip(results, names or ["y", "z"], strict=True):
        np.testing.assert_array_equal(result, values[name])


def test_lists_values_and_strided_arrays_are_inputs(ort, session, feeds):
    (expected,) = session.run(["y"], feeds)
    strided = np.empty((3, 2), np.float32).T
    strided[...] = feeds["x"]
    value = ort.OrtValue.ortvalue_from_numpy(feeds["x"])
    for x in (feeds["x"].tolist(), strided, value):
        np.testing.assert_array_equal(session.run(["y"], {**feeds, "x": x})[0], expected)


def test_a_name_of_a_dimension_may_have_two_sizes(ort):
    from .models import made

    text = "agraph (float[N] x, float[N] y) => (float[1] z) { s = ReduceMax(x) z = ReduceMax(y) }"
    session = ort.InferenceSession(made(text).SerializeToString())
    feeds = {"x": np.ones(2, np.float32), "y": np.arange(5, dtype=np.float32)}
    assert session.run(None, feeds)[0] == [4]


@pytest.mark.parametrize("kind", [str, pathlib.Path])
def test_a_model_is_a_path(ort, tmp_path, feeds, kind):
    path = tmp_path / "model.with-any.suffix"
    path.write_bytes(SUM.SerializeToString())
    session = ort.InferenceSession(kind(path))
    assert str(session._model_path) == str(path)
    assert session.run(["y"], feeds)[0].shape == (2, 3)


def test_runs_in_the_background_call_back(session, feeds):
    done, got = threading.Event(), []

    def callback(results, user_data, error):
        got.append((results, user_data, error))
        done.set()

    session.run_async(["y"], feeds, callback, "mine")
    assert done.wait(60)
    results, user_data, error = got.pop()
    np.testing.assert_array_equal(results[0], feeds["x"] + feeds["b"])
    assert (user_data, error) == ("mine", "")
    done.clear()
    session.run_async(["y"], {**feeds, "x": np.ones((2, 2), np.float32)}, callback, "bad")
    assert done.wait(60)
    results, user_data, error = got.pop()
    assert results == [] and user_data == "bad" and "x" in error


def test_values_go_in_and_come_out(ort, session, feeds):
    values = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in feeds.items()}
    (y,) = session.run_with_ort_values(["y"], values)
    assert isinstance(y, ort.OrtValue) and y.shape() == [2, 3]
    np.testing.assert_array_equal(y.numpy(), feeds["x"] + feeds["b"])


def test_dimensions_get_sizes_by_name_and_denotation(ort):
    import onnx

    model = onnx.ModelProto.FromString(SUM.SerializeToString())
    model.graph.input[0].type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    for override in ("name", "denotation"):
        options = ort.SessionOptions()
        key = {"name": "N", "denotation": "DATA_BATCH"}[override]
        getattr(options, f"add_free_dimension_override_by_{override}")(key, 2)
        options.add_free_dimension_override_by_name("no such name", 2)
        session = ort.InferenceSession(model.SerializeToString(), options)
        assert session.get_inputs()[0].shape == [2, 3]
        feeds = {"x": np.ones((5, 3), np.float32), "b": np.ones(3, np.float32)}
        with pytest.raises(Exception, match="x"):
            session.run(None, feeds)


def test_initializers_are_given(ort, monkeypatch):
    w = np.array([[0, 1], [1, 0]], np.float32)
    options = ort.SessionOptions()
    value = ort.OrtValue.ortvalue_from_numpy(w)  # which has to live as long as the session
    options.add_initializer("w", value)
    session = ort.InferenceSession(WEIGHTED.SerializeToString(), options)
    x = np.array([[3, 5]], np.float32)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], [[5, 3]])


def test_initializers_take_the_place_of_a_file_that_is_missing(ort, tmp_path):
    import onnx

    path, w = tmp_path / "model.onnx", np.array([[0, 1], [1, 0]], np.float32)
    model = onnx.ModelProto.FromString(WEIGHTED.SerializeToString())
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(-w, "w"))  # of raw bytes
    onnx.save_model(model, path, save_as_external_data=True, location="w.data", size_threshold=0)
    (tmp_path / "w.data").unlink()
    options = ort.SessionOptions()
    value = ort.OrtValue.ortvalue_from_numpy(w)
    options.add_external_initializers(["w"], [value])
    session = ort.InferenceSession(str(path), options)
    x = np.array([[3, 5]], np.float32)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], [[5, 3]])


def test_the_optimized_model_is_written(ort, tmp_path, feeds):
    import onnx

    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    ort.InferenceSession(SUM.SerializeToString(), options)
    onnx.checker.check_model(options.optimized_model_filepath)
    again = ort.InferenceSession(options.optimized_model_filepath)
    np.testing.assert_array_equal(again.run(["y"], feeds)[0], feeds["x"] + feeds["b"])


def test_a_profile_is_a_chrome_trace(ort, tmp_path, feeds):
    options = ort.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "profile")
    session = ort.InferenceSession(SUM.SerializeToString(), options)
    for _ in range(3):
        np.testing.assert_array_equal(session.run(["y"], feeds)[0], feeds["x"] + feeds["b"])
    assert session.get_profiling_start_time_ns() > 0
    path = session.end_profiling()
    assert path.startswith(options.profile_file_prefix) and session.end_profiling() == ""
    with open(path, encoding="utf-8") as file:
        events = json.load(file)
    assert all({"cat", "pid", "tid", "ts", "dur", "ph", "name", "args"} <= e.keys() for e in events)
    assert sum(event["name"] == "model_run" for event in events) == 3
    nodes = [event for event in events if event["cat"] == "Node"]
    assert nodes and all("op_name" in event["args"] for event in nodes)


def test_classes_may_inherit(ort, feeds):
    class Mine(ort.InferenceSession):
        def __init__(self, model):
            self.mine = 1
            super().__init__(model)

        def run(self, *args, **kwargs):
            return super().run(*args, **kwargs)[0]

    session = Mine(SUM.SerializeToString())
    assert isinstance(session, ort.InferenceSession)
    np.testing.assert_array_equal(session.run(["y"], feeds), feeds["x"] + feeds["b"])


def test_a_run_is_terminated_by_another_thread(ort):
    session = ort.InferenceSession(LOOP.SerializeToString())
    options = ort.RunOptions()
    feeds = {"n": np.array(10**9), "x": np.zeros((64, 64), np.float32)}
    timer = threading.Timer(0.3, setattr, (options, "terminate", True))
    timer.start()
    with pytest.raises(Exception, match="terminate"):
        session.run(None, feeds, options)
    timer.join()
    with pytest.raises(Exception, match="terminate"):
        session.run(None, {**feeds, "n": np.array(1)}, options)
    options.terminate = False
    session.run(None, {**feeds, "n": np.array(1)}, options)


def test_sessions_are_pickled(ours, feeds):
    session = pickle.loads(pickle.dumps(ours.InferenceSession(SUM.SerializeToString())))
    np.testing.assert_array_equal(session.run(["y"], feeds)[0], feeds["x"] + feeds["b"])


def test_the_private_names_that_clients_read_are_there(ort, session):
    assert session._model_path is None
    assert session._providers == ["CPUExecutionProvider"]
    assert [each.name for each in session._inputs_meta] == ["x", "b"]
    assert session._sess is not None
