"""Values and bindings of the interface, which share memory as those of the real one."""

import numpy as np
import pytest

from .models import SUM


def test_a_value_says_what_it_is(ort):
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    value = ort.OrtValue.ortvalue_from_numpy(x)
    assert value.data_type() == "tensor(float)" and value.element_type() == 1
    assert value.shape() == [2, 3] and value.tensor_size_in_bytes() == 24
    assert value.device_name() == "cpu" and value.is_tensor() and value.has_value()
    assert not value.is_sparse_tensor() and not value.is_tensor_sequence()
    assert value.data_ptr() == x.ctypes.data == value.numpy().ctypes.data


def test_values_are_written_in_place(ort):
    value = ort.OrtValue.ortvalue_from_numpy(np.zeros((2, 3), np.float32))
    value.update_inplace(np.ones((2, 3), np.float32))
    np.testing.assert_array_equal(value.numpy(), 1)
    with pytest.raises(RuntimeError, match="size"):
        value.update_inplace(np.ones((3, 3), np.float32))


@pytest.mark.parametrize("element_type", [np.int64, 7, "int64"])
def test_values_are_made_of_shapes(ort, element_type):
    value = ort.OrtValue.ortvalue_from_shape_and_type([2, 3], element_type)
    assert value.data_type() == "tensor(int64)" and value.shape() == [2, 3]
    with pytest.raises(RuntimeError):
        ort.OrtValue.ortvalue_from_shape_and_type([2, -3], element_type)


def test_bits_become_a_type_that_numpy_lacks(ort):
    bits = np.zeros((2, 2), np.uint16)
    assert (
        ort.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, 16).data_type() == "tensor(bfloat16)"
    )


def test_values_speak_dlpack(ort):
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    value = ort.OrtValue.ortvalue_from_numpy(x)
    assert value.__dlpack_device__() == (1, 0)
    seen = np.from_dlpack(value)
    x[0, 0] = 9
    np.testing.assert_array_equal(seen, x)
    again = ort.OrtValue.from_dlpack(x)
    assert again.data_ptr() == x.ctypes.data


def test_other_devices_are_refused(ort):
    with pytest.raises(RuntimeError):
        ort.OrtValue.ortvalue_from_numpy(np.zeros(3), "cuda", 0)
    with pytest.raises(Exception, match="foo"):
        ort.OrtValue.ortvalue_from_numpy(np.zeros(3), "foo", 0)


@pytest.fixture
def binding(ort):
    session = ort.InferenceSession(SUM.SerializeToString())
    return session, session.io_binding()


def test_bound_memory_is_read_and_written(ort, binding, feeds):
    session, io = binding
    y = np.zeros((2, 3), np.float32)
    x, b = feeds["x"], ort.OrtValue.ortvalue_from_numpy(feeds["b"])
    io.bind_input("x", "cpu", 0, np.float32, x.shape, x.ctypes.data)
    io.bind_ortvalue_input("b", b)
    io.bind_output("z")
    io.bind_output("y", "cpu", 0, np.float32, y.shape, y.ctypes.data)
    session.run_with_iobinding(io)
    np.testing.assert_array_equal(y, x + feeds["b"])
    z, again = io.copy_outputs_to_cpu()
    np.testing.assert_array_equal(z, np.maximum(y, 0))
    np.testing.assert_array_equal(again, y)
    assert [value.shape() for value in io.get_outputs()] == [[2, 3], [2, 3]]
    x[...] = -1  # what is bound is read again
    session.run_with_iobinding(io)
    np.testing.assert_array_equal(y, x + feeds["b"])
    io.clear_binding_outputs()
    io.clear_binding_inputs()
    assert len(io.get_outputs()) == 0


def test_bindings_that_do_not_fit(ort, binding, feeds):
    session, io = binding
    with pytest.raises(RuntimeError, match="q"):
        io.bind_cpu_input("q", feeds["x"])
    io.bind_cpu_input("x", feeds["x"])
    io.bind_cpu_input("b", feeds["b"].astype(np.float64))
    io.bind_output("y")
    with pytest.raises(RuntimeError, match="Error in execution"):
        session.run_with_iobinding(io)
    io.bind_cpu_input("b", feeds["b"])
    session.run_with_iobinding(io)
    io.clear_binding_outputs()
    with pytest.raises(RuntimeError, match="output"):
        session.run_with_iobinding(io)
    larger = np.zeros((9, 3), np.float32)
    io.bind_output("z", "cpu", 0, np.float32, larger.shape, larger.ctypes.data)
    with pytest.raises(RuntimeError):
        session.run_with_iobinding(io)


def test_addresses_that_cannot_be(ours, feeds):
    io = ours.InferenceSession(SUM.SerializeToString()).io_binding()
    for shape, address in (((2, 3), 0), ((-2, 3), 4096)):
        with pytest.raises(ours.capi.onnxruntime_pybind11_state.InvalidArgument):
            io.bind_input("x", "cpu", 0, np.float32, shape, address)
    with pytest.raises(ours.capi.onnxruntime_pybind11_state.InvalidArgument, match="address"):
        io.bind_input("x", "cpu", 0, 8, (1,), feeds["x"].ctypes.data)  # of strings
    with pytest.raises(RuntimeError, match="bits"):
        ours.OrtValue.ortvalue_from_numpy_with_onnx_type(np.zeros(2, np.int64), 8)
    with pytest.raises(RuntimeError, match="Failed to find"):
        io.bind_output("w")
