"""What the interface refuses, by the exceptions of the real one."""

import numpy as np
import pytest
import sardonyx

from .models import SUM, made


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("/no/such/file.onnx", "NoSuchFile"),
        (b"junk junk", "InvalidProtobuf"),
        (
            made("g (float[2] x) => (float[2] y) { y = Reshape(x) }").SerializeToString(),
            "InvalidGraph",
        ),
    ],
)
def test_models_that_cannot_be_opened(ort, state, source, kind):
    with pytest.raises(getattr(state, kind), match=r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : "):
        ort.InferenceSession(source)


def test_arguments_of_other_types(ort, feeds):
    with pytest.raises(TypeError):
        ort.InferenceSession(3)
    with pytest.raises(TypeError):
        ort.InferenceSession(SUM.SerializeToString(), sess_options=3)
    session = ort.InferenceSession(SUM.SerializeToString())
    with pytest.raises(TypeError):
        session.run("y", feeds)
    with pytest.raises(TypeError):
        session.run(None, feeds, 3)


@pytest.mark.parametrize(
    "change",
    [
        {"q": np.ones(3, np.float32)},
        {"x": np.ones((2, 3))},
        {"x": np.ones(3, np.float32)},
        {"x": np.ones((2, 2), np.float32)},
    ],
)
def test_inputs_that_do_not_fit(ort, state, feeds, change):
    session = ort.InferenceSession(SUM.SerializeToString())
    with pytest.raises(state.InvalidArgument, match="INVALID_ARGUMENT"):
        session.run(None, {**feeds, **change})
    with pytest.raises(state.InvalidArgument, match="w"):
        session.run(["w"], feeds)
    session.run(None, feeds)


def test_missing_inputs_are_named(ort, feeds):
    session = ort.InferenceSession(SUM.SerializeToString())
    del feeds["b"]
    text = r"Required inputs \(\['b'\]\) are missing from input feed \(\['x'\]\)"
    with pytest.raises(ValueError, match=text):
        session.run(None, feeds)
    with pytest.raises(ValueError, match=text):
        session.run_async(None, feeds, print, None)


def test_every_exception_is_one_of_sardonyx(ours):
    from sardonyx.compat.errors import BY_NAME

    real = pytest.importorskip("onnxruntime.capi.onnxruntime_pybind11_state")
    kinds = {
        name
        for name, each in vars(real).items()
        if isinstance(each, type) and issubclass(each, Exception)
    }
    assert set(BY_NAME) == kinds
    assert all(issubclass(kind, sardonyx.SardonyxError) for kind in BY_NAME.values())


def test_a_load_is_cancelled(ort, state):
    options = ort.SessionOptions()
    options.set_load_cancellation_flag(True)
    with pytest.raises(state.ModelLoadCanceled):
        ort.InferenceSession(SUM.SerializeToString(), options)


def test_providers_that_are_not_there_are_left_out(ort):
    with pytest.warns(UserWarning, match="NoSuchProvider"):
        session = ort.InferenceSession(
            SUM.SerializeToString(), providers=["NoSuchProvider", "CPUExecutionProvider"]
        )
    assert session.get_providers() == ["CPUExecutionProvider"]
