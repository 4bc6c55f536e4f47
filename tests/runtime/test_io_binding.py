"""Bound inputs and outputs of sessions on the CPU, and capsules of DLPack."""

import gc
import sys

import ml_dtypes
import numpy as np
import pytest
import sardonyx
from onnx import TensorProto, helper
from sardonyx.runtime.devices.cuda import dlpack


def model():
    x, y, z = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n"]) for n in "xyz")
    nodes = [helper.make_node("Exp", ["x"], ["y"]), helper.make_node("Neg", ["y"], ["z"])]
    graph = helper.make_graph(nodes, "g", [x], [y, z])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]).SerializeToString()


@pytest.fixture
def session():
    return sardonyx.Session(model(), threads=1)


def test_arrays_are_bound_once(session):
    binding, x = session.io_binding(), np.arange(3, dtype=np.float32)
    target = np.zeros(3, np.float32)
    binding.bind_cpu_input("x", x)
    binding.bind_output("z", target)
    for step in range(3):
        x += step
        session.run_with_iobinding(binding)
        [z] = binding.get_outputs()
        assert z is target
        np.testing.assert_allclose(target, -np.exp(x), rtol=1e-6)
    binding.clear_binding_outputs()
    binding.run()
    y, z = binding.copy_outputs_to_cpu()
    np.testing.assert_allclose(y, np.exp(x), rtol=1e-6)
    np.testing.assert_array_equal(z, -y)
    binding.clear_binding_inputs()
    with pytest.raises(sardonyx.InvalidArgument, match=r"inputs missing: \['x'\]"):
        binding.run()


def test_what_cannot_be_bound(session):
    binding, x = session.io_binding(), np.zeros(3, np.float32)
    binding.bind_input("x", x)
    for target, text in (
        ("cuda", "'z': the session runs on the CPU"),
        ("tpu", r"\('cpu', 'cuda'\), not 'tpu'"),
        ([0.0], "'z' is bound to what is no array"),
        (np.frombuffer(b"\0" * 12, np.float32), "'z' is bound to what is no array to be written"),
    ):
        with pytest.raises(sardonyx.InvalidArgument, match=text):
            binding.bind_output("z", target)
    binding.bind_output("z", np.zeros(4, np.float32))
    with pytest.raises(sardonyx.InvalidArgument, match=r"'z' is float32 of shape \(3,\).*\(4,\)"):
        binding.run()
    with pytest.raises(sardonyx.InvalidArgument, match="no stream of CUDA"):
        binding.run(stream=1)
    with pytest.raises(sardonyx.InvalidArgument, match=r"no input 'y'; the inputs are \['x'\]"):
        binding.bind_input("y", x)


# --- DLPack -------------------------------------------------------------------------------------


class Exported:
    def __init__(self, array):
        self.array = array

    def __dlpack_device__(self):
        return 1, 0

    def __dlpack__(self, **_):
        array = self.array
        return dlpack.capsule_of(array.ctypes.data, array.shape, array.dtype, (1, 0), array)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64, np.uint8, np.bool_])
def test_numpy_reads_capsules_of_ours(dtype):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    references = sys.getrefcount(array)
    exported = Exported(array)
    view = np.from_dlpack(exported)
    np.testing.assert_array_equal(view, array)
    assert np.shares_memory(view, array)
    assert sys.getrefcount(array) > references
    del view, exported
    gc.collect()
    assert sys.getrefcount(array) == references
    assert not dlpack._exported


def test_a_capsule_that_nobody_takes_keeps_nothing():
    array = np.zeros(3)
    references = sys.getrefcount(array)
    capsule = Exported(array).__dlpack__()
    assert dlpack.described(capsule) == (array.ctypes.data, (3,), np.float64, (8,))
    assert sys.getrefcount(array) == references + 1
    del capsule
    assert sys.getrefcount(array) == references


def test_capsules_of_numpy_are_read():
    array = np.arange(12, dtype=np.int16).reshape(3, 4)[:, ::2]
    for options in ({}, {"max_version": (1, 0)}):
        found = dlpack.described(array.__dlpack__(**options))
        assert found == (array.ctypes.data, (3, 2), np.int16, (8, 4))


def test_capsules_of_torch():
    torch = pytest.importorskip("torch")
    tensor = torch.arange(6, dtype=torch.bfloat16).reshape(2, 3)
    found = dlpack.described(tensor.__dlpack__())
    assert found == (tensor.data_ptr(), (2, 3), ml_dtypes.bfloat16, (6, 2))
    array = np.arange(6).reshape(2, 3).astype(ml_dtypes.bfloat16)
    back = torch.from_dlpack(Exported(array))
    assert back.dtype == torch.bfloat16
    assert back.tolist() == array.tolist()
    del back
    gc.collect()
    assert not dlpack._exported


def test_what_dlpack_has_no_name_for():
    with pytest.raises(BufferError, match="DLPack has no type int4"):
        dlpack.capsule_of(0, (), np.dtype(ml_dtypes.int4), (1, 0), None)
    with pytest.raises(ValueError, match="no capsule of DLPack"):
        dlpack.described(object())
    with pytest.raises(ValueError, match="code 5 with 64 bits"):
        dlpack.described(np.zeros(2, np.complex64).__dlpack__())
