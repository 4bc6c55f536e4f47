"""Devices that are there or not, and what sessions say of those that are not."""

import importlib.util
import subprocess
import sys

import pytest
import sardonyx
from onnx import TensorProto, helper
from sardonyx.runtime.devices.cuda import requirements
from sardonyx.runtime.devices.cuda.device import cuda_device

has_numba_cuda = importlib.util.find_spec("numba_cuda") is not None


@pytest.fixture(autouse=True)
def looked_for_anew():
    cuda_device.cache_clear()
    yield
    cuda_device.cache_clear()


def model():
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Exp", ["x"], ["y"])], "g", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]).SerializeToString()


def without(monkeypatch, missing):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name == missing else find(name, *more),
    )


def test_the_processor_is_always_there():
    assert sardonyx.devices()[0] == "cpu"
    session = sardonyx.Session(model(), device="cpu")
    assert session.device == sardonyx.Session(model()).device == "cpu"
    assert session.engine.program is sardonyx.Session(model()).engine.program


def test_a_device_that_there_is_not():
    for wrong in ("tpu", "CUDA", "", None):
        with pytest.raises(
            sardonyx.InvalidArgument, match=r"device must be one of \('cpu', 'cuda'\)"
        ):
            sardonyx.Session(model(), device=wrong)


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch):
    without(monkeypatch, "numba_cuda")
    with pytest.raises(
        sardonyx.InvalidArgument, match=r"numba-cuda.*pip install 'sardonyx\[cuda\]'"
    ):
        sardonyx.Session(model(), device="cuda")
    assert sardonyx.devices() == ["cpu"]


@pytest.mark.skipif(not has_numba_cuda, reason="needs numba-cuda: pip install 'sardonyx[cuda]'")
def test_no_gpu_or_one_that_is_too_old(monkeypatch):
    from ..fake_cuda import FakeCuda

    fake = FakeCuda(capability=(7, 5))
    monkeypatch.setattr(requirements, "_bindings", lambda: fake)
    for failures, text in (
        ({}, r"compute capability 8\.0 or newer \(Ampere\), this one has 7\.5"),
        ({"cuInit": "NO_DEVICE"}, r"finds no GPU.*NO_DEVICE; install NVIDIA's driver"),
    ):
        fake.failures |= failures
        with pytest.raises(sardonyx.InvalidArgument, match=text):
            sardonyx.Session(model(), device="cuda")
    assert sardonyx.devices() == ["cpu"]


def test_a_session_on_the_cpu_imports_nothing_of_gpus(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(model())
    code = (
        "import sys, sardonyx; sardonyx.Session(sys.argv[1]); "
        "print([name for name in sys.modules if name.endswith('.cuda') or '.cuda.' in name])"
    )
    command = [sys.executable, "-c", code, path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr
