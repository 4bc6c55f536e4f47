"""Options of the interface: every field of the real one, obeyed or said to be ignored."""

import numpy as np
import pytest

from .models import SUM


def fields(kind):
    return {name for name in dir(kind) if not name.startswith("_")}


@pytest.mark.parametrize("kind", ["SessionOptions", "RunOptions"])
def test_every_field_is_accepted_with_its_default(ours, kind):
    real = pytest.importorskip("onnxruntime")
    theirs, own = getattr(real, kind)(), getattr(ours, kind)()
    assert fields(theirs) <= fields(own)
    for name in fields(theirs):
        value = getattr(theirs, name)
        if not callable(value):
            plain = int(value) if hasattr(value, "value") else value
            assert getattr(own, name) == plain, name


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("intra_op_num_threads", 2, "a"),
        ("inter_op_num_threads", np.int64(3), 2.5),
        ("logid", "mine", 3),
        ("optimized_model_filepath", "a.onnx", 3),
        ("graph_optimization_level", "ORT_ENABLE_BASIC", 3),
        ("execution_mode", "ORT_PARALLEL", 1),
    ],
)
def test_fields_have_types(ort, name, good, bad):
    options = ort.SessionOptions()
    kinds = {
        "graph_optimization_level": ort.GraphOptimizationLevel,
        "execution_mode": ort.ExecutionMode,
    }
    if name in kinds:
        good = getattr(kinds[name], good)
    setattr(options, name, good)
    assert getattr(options, name) == good
    with pytest.raises(TypeError):
        setattr(options, name, bad)
    assert getattr(options, name) == good


def test_other_attributes_are_refused(ort):
    with pytest.raises(AttributeError):
        ort.SessionOptions().no_such_field = 3
    with pytest.raises(AttributeError):
        ort.RunOptions().no_such_field = 3


def test_entries_are_kept(ort):
    for options, add, get in (
        (ort.SessionOptions(), "add_session_config_entry", "get_session_config_entry"),
        (ort.RunOptions(), "add_run_config_entry", "get_run_config_entry"),
    ):
        getattr(options, add)("key", "value")
        assert getattr(options, get)("key") == "value"
        with pytest.raises(RuntimeError, match="other"):
            getattr(options, get)("other")


def test_threads_and_levels_are_those_of_the_session(ours):
    options = ours.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ours.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ours.InferenceSession(SUM.SerializeToString(), options)
    assert session._sess.session.threads == 1
    assert session._sess.session._options["optimize"] == "none"


def test_what_has_no_effect_is_listed(ours):
    ignored = ours.__sardonyx__.ignored()
    assert "SessionOptions.enable_mem_pattern" in ignored
    assert "SessionOptions.intra_op_num_threads" not in ignored
    assert all(ignored.values())
    options = ours.SessionOptions()
    options.enable_mem_pattern = False
    ours.InferenceSession(SUM.SerializeToString(), options)
    assert ours.__sardonyx__.report()[-1].ignored == ("enable_mem_pattern",)


def test_memory_is_given_back_after_a_run_that_asks_for_it(ours, feeds):
    session = ours.InferenceSession(SUM.SerializeToString())
    options = ours.RunOptions()
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    session.run(None, feeds, options)
    assert session._sess.session.engine.idle == []


def test_functions_of_the_process_are_there(ort):
    assert ort.get_device() == "CPU"
    assert "CPUExecutionProvider" in ort.get_available_providers()
    assert "CUDAExecutionProvider" in ort.get_all_providers()
    assert ort.get_version_string() == ort.__version__
    assert ort.has_collective_ops() is False
    ort.set_default_logger_severity(3)
    ort.set_default_logger_verbosity(0)
    ort.set_seed(5)
    ort.disable_telemetry_events()
    with pytest.raises(RuntimeError):
        ort.set_default_logger_severity(9)
    ort.set_default_logger_severity(2)
    device = ort.OrtDevice.make("cpu", 0)
    assert (device.device_type(), device.device_id()) == (0, 0)
