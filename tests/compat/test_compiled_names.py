"""Names of onnxruntime's compiled module that code beside its sessions uses."""

import numpy as np
import onnx
import pytest

from .models import SUM, made


def test_a_session_runs_with_values_below_its_class(ort, state, feeds):
    session = ort.InferenceSession(SUM.SerializeToString())
    values = {
        name: ort.OrtValue.ortvalue_from_numpy(array)._get_c_value()
        for name, array in feeds.items()
    }
    results = session._sess.run_with_ort_values(values, ["y"], state.RunOptions())
    assert isinstance(results, state.OrtValueVector)
    np.testing.assert_array_equal(results[0].numpy(), feeds["x"] + feeds["b"])
    (y,) = session._sess.run(["y"], feeds, None)
    np.testing.assert_array_equal(y, feeds["x"] + feeds["b"])


def test_a_binding_takes_devices(ort, state, feeds):
    session = ort.InferenceSession(SUM.SerializeToString())
    cpu = state.OrtDevice(state.OrtDevice.cpu(), state.OrtDevice.default_memory(), 0)
    binding = state.SessionIOBinding(session._sess)
    x = state.OrtValue.ortvalue_from_numpy(feeds["x"], cpu)
    y = ort.OrtValue.ortvalue_from_shape_and_type([2, 3], 1)
    binding.bind_input("x", cpu, 1, [2, 3], x.data_ptr())
    binding.bind_input("b", feeds["b"])
    binding.bind_output("z", cpu)
    binding.bind_output("y", cpu, 1, [2, 3], y.data_ptr())
    session._sess.run_with_iobinding(binding, None)
    np.testing.assert_array_equal(y.numpy(), feeds["x"] + feeds["b"])
    assert isinstance(binding.get_outputs(), state.OrtValueVector)
    binding.bind_input("x", np.ones((3, 3)))
    with pytest.raises(RuntimeError):
        session._sess.run_with_iobinding(binding, None)


def test_allocators_are_accepted(ort):
    info = ort.OrtMemoryInfo(
        "Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT
    )
    assert (info.name, info.device_id) == ("Cpu", 0)
    assert ort.OrtArenaCfg(8, 0, 4, 2).initial_chunk_size_bytes == 4
    assert ort.OrtArenaCfg({"max_mem": 9}).max_mem == 9
    with pytest.raises(Exception, match="no_such"):
        ort.OrtArenaCfg({"no_such": 9})
    ort.create_and_register_allocator(info, None)


def test_unknown_providers_are_refused_when_they_are_set(ort):
    session = ort.InferenceSession(SUM.SerializeToString(), providers=["CPUExecutionProvider"])
    with pytest.raises(RuntimeError, match="Unknown Provider Type: NoSuchProvider"):
        session.set_providers(["NoSuchProvider"])


def test_arguments_on_providers_are_normalized(ort):
    import importlib

    module = importlib.import_module(f"{ort.__name__}.capi.onnxruntime_inference_collection")
    normalize = module.check_and_normalize_provider_args
    assert normalize([("a", {1: 2}), "b"], None, ["a", "b"]) == (["a", "b"], [{"1": "2"}, {}])
    with pytest.warns(UserWarning):
        assert normalize(["a", "a"], [{"x": 1}, {}], ["a"]) == (["a"], [{"x": "1"}])
    for providers, options in ((3, None), ([3], None), (["a"], 3), (["a"], ["b"]), (["a"], [])):
        with pytest.raises(ValueError):
            normalize(providers, options, ["a"])
    assert "Build Info" in ort.get_build_info()


def test_strings_come_as_bytes_of_one_size(ort):
    text = "agraph (string[2] x) => (string[2] y) { y = Identity(x) }"
    session = ort.InferenceSession(made(text).SerializeToString())
    x = np.array([b"must", b"have"], np.void)
    assert session.run(None, {"x": x})[0].tolist() == ["must", "have"]


def test_the_shape_of_a_map_is_empty(ort):
    text = """agraph (map(int64, float) x) => (float[1, 2] y) {
        y = ai.onnx.ml.DictVectorizer<int64_vocabulary = [0, 1]>(x)
    }"""
    model = made(text)
    model.opset_import.append(onnx.helper.make_opsetid("ai.onnx.ml", 3))
    session = ort.InferenceSession(model.SerializeToString())
    assert session.get_inputs()[0].shape == []


def test_models_are_prepared_by_the_backend(ort, feeds):
    import importlib

    backend = importlib.import_module(f"{ort.__name__}.backend")
    assert backend.supports_device("CPU") and not backend.supports_device("NPU")
    prepared = backend.prepare(SUM, "CPU")
    y, z = prepared.run([feeds["x"], feeds["b"]])
    np.testing.assert_array_equal(y, feeds["x"] + feeds["b"])
    np.testing.assert_array_equal(backend.run(SUM, list(feeds.values()))[1], z)
    with pytest.raises(RuntimeError, match="2 inputs"):
        prepared.run(feeds["x"])
    with pytest.raises(RuntimeError, match="not permitted"):
        backend.prepare(SUM.SerializeToString(), optimized_model_filepath="a.onnx")
