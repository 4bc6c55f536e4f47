"""Inputs and outputs that stay on the simulated GPU, bound or in arrays of other libraries."""

import ctypes
import gc

import ml_dtypes
import numpy as np
import pytest
import sardonyx
from onnx import helper
from sardonyx.runtime.devices.cuda.device import cuda_device
from sardonyx.runtime.devices.cuda.device_array import DeviceArray
from sardonyx.runtime.devices.cuda.dlpack import described
from sardonyx.tools.cuda_cases.runs import floats, model_of, on_gpu

node = helper.make_node


class Shown:
    """An array of ours as another library's: by one of the two interfaces only."""

    def __init__(self, array, how, **changes):
        self._array = array
        if how == "dlpack":
            self.__dlpack_device__ = array.__dlpack_device__
            self.__dlpack__ = array.__dlpack__
        else:
            self.__cuda_array_interface__ = array.__cuda_array_interface__ | changes


class ByDlpack:
    def __init__(self, array, device=None):
        self._array, self._device = array, device
        self.streams = []

    def __dlpack_device__(self):
        return self._device or self._array.__dlpack_device__()

    def __dlpack__(self, *, stream=None):
        self.streams.append(stream)
        return self._array.__dlpack__(stream=stream)


def chain(dims=("n", 3)):
    nodes = [node("Exp", ["x"], ["a"]), node("Transpose", ["a"], ["b"]), node("Neg", ["b"], ["y"])]
    return model_of(nodes, {"x": floats(2, 3)}, dims={"x": dims})


def expected(x):
    return -np.exp(x).T


def bound(session, x, **outputs):
    binding = session.io_binding()
    binding.bind_input("x", x)
    for name, target in outputs.items():
        binding.bind_output(name, target)
    return binding


def test_outputs_stay_and_do_not_change():
    session = on_gpu(chain())
    kept, wanted = [], []
    binding = session.io_binding()
    for seed in range(9):
        x = floats(2, 3, seed=seed)
        binding.bind_input("x", x)
        session.run_with_iobinding(binding)
        [y] = binding.get_outputs()
        assert isinstance(y, DeviceArray)
        assert (y.shape, y.dtype, y.ndim, y.size, y.nbytes) == ((3, 2), np.float32, 2, 6, 24)
        kept.append(y)
        wanted.append(expected(x))
    for got, each in zip(kept, wanted, strict=True):
        np.testing.assert_allclose(got.numpy(), each, rtol=1e-6)
        np.testing.assert_allclose(np.asarray(got), each, rtol=1e-6)
    np.testing.assert_allclose(binding.copy_outputs_to_cpu()[0], wanted[-1], rtol=1e-6)
    assert "cuda:simulated" in repr(kept[0])
    assert len(kept[0]) == 3


def test_outputs_that_are_dropped_leave_their_memory_and_graphs_to_others():
    session = on_gpu(chain())
    binding, addresses = bound(session, floats(2, 3)), set()
    for _ in range(8):
        session.run_with_iobinding(binding)
        addresses.add(binding.get_outputs()[0].address)
    assert len(addresses) == 2  # the one before is there until the run is over


def test_an_input_is_read_as_it_is_at_each_run():
    session, x = on_gpu(chain()), floats(2, 3)
    first = session.io_binding()
    first.bind_input("x", x)
    own = cuda_device().bound_input("x", x)[1].owner
    binding = bound(session, own)
    for _ in range(4):
        x = x + 1
        ctypes.memmove(own.address, x.ctypes.data, x.nbytes)
        binding.run()
        np.testing.assert_allclose(binding.copy_outputs_to_cpu()[0], expected(x), rtol=1e-6)
    first.run()  # of the host: as it was when it was bound
    np.testing.assert_allclose(first.copy_outputs_to_cpu()[0], expected(floats(2, 3)), rtol=1e-6)


@pytest.mark.parametrize("how", ["dlpack", "interface", "own"])
def test_arrays_go_from_run_to_run_as_they_lie(how):
    session = on_gpu(
        model_of([node("Add", ["x", "x"], ["y"])], {"x": floats(4)}, dims={"x": ["n"]})
    )
    x = floats(5)
    binding = bound(session, x)
    for round in range(1, 7):
        binding.run()
        [y] = binding.get_outputs()
        shown = {"dlpack": ByDlpack, "interface": lambda a: Shown(a, "interface")}.get(how)
        binding.bind_input("x", y if shown is None else shown(y))
        np.testing.assert_array_equal(y.numpy(), x * 2**round)
    got = session.run(None, {"x": y})[0]
    np.testing.assert_array_equal(got, y.numpy() * 2)


def test_an_output_is_written_into_an_array_of_the_caller():
    session, x = on_gpu(chain()), floats(2, 3)
    target = cuda_device().bound_input("y", np.zeros((3, 2), np.float32))[1].owner
    binding = bound(session, x, y=target)
    for seed in range(4):
        x = floats(2, 3, seed=seed)
        binding.bind_input("x", x)
        binding.run()
        assert binding.get_outputs()[0] is target
        np.testing.assert_allclose(target.numpy(), expected(x), rtol=1e-6)
    # More arrays than launches are kept for are written, too.
    for seed in range(12):
        x = floats(2, 3, seed=seed)
        target = cuda_device().bound_input("y", np.zeros((3, 2), np.float32))[1].owner
        globals().setdefault("_kept", []).append(target)
        binding.bind_output("y", Shown(target, "interface"))
        binding.bind_input("x", x)
        binding.run()
        np.testing.assert_allclose(target.numpy(), expected(x), rtol=1e-6)


def test_an_output_of_another_shape_or_type_is_named():
    session, x = on_gpu(chain()), floats(2, 3)
    for array, text in (
        (
            np.zeros((2, 3), np.float32),
            r"'y' is float32 of shape \(3, 2\).*float32 of shape \(2, 3\)",
        ),
        (np.zeros((3, 2), np.int32), r"'y' is float32.*int32"),
    ):
        target = cuda_device().bound_input("y", array)[1].owner
        with pytest.raises(sardonyx.InvalidArgument, match=text):
            bound(session, x, y=target).run()
    read_only = Shown(target, "interface", data=(target.address, True))
    for given, text in (
        (read_only, "'y' is read-only"),
        (np.zeros((3, 2), np.float32), "'y' is bound to a ndarray"),
        ("tpu", "bound to an array or"),
    ):
        with pytest.raises(sardonyx.InvalidArgument, match=text):
            bound(session, x, y=given)
    for bind in (session.io_binding().bind_input, session.io_binding().bind_output):
        with pytest.raises(sardonyx.InvalidArgument, match=r"no (in|out)put 'z'"):
            bind("z", x)
    with pytest.raises(sardonyx.InvalidArgument, match=r"inputs missing: \['x'\]"):
        session.io_binding().run()


def test_outputs_of_steps_and_views_on_the_cpu_are_copied_to_the_gpu():
    nodes = [
        node("Exp", ["x"], ["a"]),
        node("ArrayFeatureExtractor", ["a", "i"], ["v"], domain="ai.onnx.ml"),
    ]
    x = floats(2, 3)
    binding = bound(on_gpu(model_of(nodes, {"x": x}, {"i": np.array([2, 0])})), x)
    for _ in range(3):
        binding.run()
        [v] = binding.get_outputs()
        assert isinstance(v, DeviceArray)
        np.testing.assert_allclose(v.numpy(), np.exp(x[:, [2, 0]]), rtol=1e-5)
    same = model_of([node("Identity", ["x"], ["y"]), node("Reshape", ["y", "s"], ["z"])],
                    {"x": x}, {"s": np.array([-1])})  # fmt: skip
    binding = bound(on_gpu(same), x)
    for _ in range(3):
        binding.run()
        np.testing.assert_array_equal(binding.get_outputs()[0].numpy(), x.ravel())


def test_outputs_whose_sizes_are_data():
    nodes = [node("NonZero", ["x"], ["i"]), node("Transpose", ["i"], ["t"]),
             node("GatherND", ["x", "t"], ["g"]), node("Neg", ["g"], ["y"])]  # fmt: skip
    x = np.array([[0, 1, 0], [2, 0, -3]], np.float32)
    session = on_gpu(model_of(nodes, {"x": x}))
    binding = bound(session, x)
    for each in (x, x * 0, x + 5, x):
        binding.bind_input("x", each)
        binding.run()
        assert binding.get_outputs()[0].numpy().tolist() == (-each[each != 0]).tolist()


def test_some_outputs_on_the_host():
    nodes = [
        node("Exp", ["x"], ["a"]),
        node("Neg", ["x"], ["b"]),
        node("Split", ["b"], ["c", "d"], num_outputs=2),
    ]
    model = model_of(nodes, {"x": floats(4)})
    model.graph.output.append(helper.make_tensor_value_info("a", 1, [4]))
    session, x = on_gpu(model), floats(4)
    binding = bound(session, x, a="cpu", d="cuda")
    for _ in range(4):
        binding.run()
        d, a = binding.get_outputs()
        assert isinstance(a, np.ndarray)
        np.testing.assert_allclose(a, np.exp(x), rtol=1e-6)
        np.testing.assert_array_equal(d.numpy(), -x[2:])


def test_runs_that_are_not_waited_for_report_errors_later():
    nodes = [node("Exp", ["x"], ["e"]), node("Gather", ["e", "i"], ["y"], name="pick")]
    session = on_gpu(model_of(nodes, {"x": floats(4, 3), "i": np.array([0, 1])}))
    binding = session.io_binding()
    binding.bind_input("x", floats(4, 3))
    for index in (1, 2, 9, 3):
        binding.bind_input("i", np.array([0, index]))
        binding.run(wait=False, stream=2)
        if index == 9:
            with pytest.raises(sardonyx.KernelError, match=r"'pick'.*index 9 out of range"):
                binding.synchronize()
        else:
            binding.synchronize()
            wanted = np.exp(floats(4, 3)[[0, index]])
            np.testing.assert_allclose(binding.get_outputs()[0].numpy(), wanted, rtol=1e-6)


def test_capsules_keep_memory_and_say_what_lies_there():
    session = on_gpu(chain())
    binding = bound(session, floats(2, 3))
    binding.run()
    [y] = binding.get_outputs()
    assert y.__dlpack_device__() == (2, 0)
    capsule = y.__dlpack__(stream=-1)
    assert described(capsule) == (y.address, (3, 2), np.float32, (8, 4))
    address = y.address
    del y
    binding.clear_binding_outputs()
    for seed in range(3):
        binding.bind_input("x", floats(2, 3, seed=seed))
        binding.run()
        assert binding.get_outputs()[0].address != address  # the capsule has it still
    found = described(capsule)
    values = np.frombuffer(ctypes.string_at(found.address, 24), np.float32).reshape(3, 2)
    np.testing.assert_allclose(values, expected(floats(2, 3)), rtol=1e-6)
    del capsule
    gc.collect()
    with pytest.raises(sardonyx.InvalidArgument, match="stream must be"):
        binding.get_outputs()[0].__dlpack__(stream=0)
    with pytest.raises(BufferError):
        binding.get_outputs()[0].__dlpack__(dl_device=(1, 0))


def test_types_that_numpy_lacks_go_by_dlpack():
    x = floats(2, 3).astype(ml_dtypes.bfloat16)
    session = on_gpu(model_of([node("Neg", ["x"], ["y"])], {"x": x}))
    binding = bound(session, x)
    for _ in range(3):
        binding.run()
        [y] = binding.get_outputs()
        assert y.dtype == ml_dtypes.bfloat16
        assert not hasattr(y, "__cuda_array_interface__")
        np.testing.assert_array_equal(y.numpy(), -x)
        np.testing.assert_array_equal(session.run(None, {"x": ByDlpack(y)})[0], x)


def test_truth_values_on_the_gpu():
    x = np.array([True, False, True])
    session = on_gpu(model_of([node("Not", ["x"], ["y"])], {"x": x}))
    binding = bound(session, x)
    for _ in range(3):
        binding.run()
        [y] = binding.get_outputs()
        assert y.numpy().tolist() == [False, True, False]
        assert session.run(None, {"x": ByDlpack(y)})[0].tolist() == x.tolist()


def test_arrays_of_other_devices_and_odd_ones():
    session, x = on_gpu(chain()), floats(2, 3)
    own = cuda_device().bound_input("x", x)[1].owner
    big = own.__cuda_array_interface__["typestr"].replace("<", ">")
    for given, text in (
        (ByDlpack(own, (2, 1)), "lies on GPU 1, sessions run on the first one"),
        (ByDlpack(own, (10, 0)), "device of DLPack's kind 10"),
        (Shown(own, "interface", stream=0), "no stream of CUDA"),
        (Shown(own, "interface", typestr=big), "another byte order"),
        (Shown(own, "interface", strides=(4, 8)), "dense array"),
        ("abc", "'x'"),
    ):
        with pytest.raises(sardonyx.InvalidArgument, match=text):
            session.run(None, {"x": given})
        with pytest.raises(sardonyx.InvalidArgument, match=text):
            bound(session, given).run()
    np.testing.assert_allclose(session.run(None, {"x": own})[0], expected(x), rtol=1e-6)


def test_streams_are_waited_for(monkeypatch):
    driver, seen = cuda_device()._driver, []
    monkeypatch.setattr(driver, "wait_for", lambda stream: seen.append(("for", stream)))
    monkeypatch.setattr(driver, "let_wait", lambda stream: seen.append(("let", stream)))
    session = on_gpu(chain())
    own = cuda_device().bound_input("x", floats(2, 3))[1].owner
    for changes, wanted in (
        ({"stream": 7}, [("for", 7)]), ({"stream": None}, []), ({"version": 2, "stream": None}, []),
    ):  # fmt: skip
        seen.clear()
        session.run(None, {"x": Shown(own, "interface", **changes)})
        assert seen == wanted
    old = Shown(own, "interface", version=2)
    del old.__cuda_array_interface__["stream"]
    seen.clear()
    session.run(None, {"x": old})
    assert seen == [("for", None)]  # it does not say: all are waited for
    capsules = ByDlpack(own)
    session.run(None, {"x": capsules})
    assert capsules.streams == [driver.stream]
    binding = bound(session, own)
    seen.clear()
    binding.run(stream=5)
    assert seen == [("for", 5), ("let", 5)]
    seen.clear()
    y = binding.get_outputs()[0]
    y.__dlpack__()
    y.__dlpack__(stream=9)
    y.__dlpack__(stream=-1)
    assert seen == [("let", 1), ("let", 9)]


def test_sizes_of_zero_stay_there():
    session = on_gpu(chain())
    binding = bound(session, np.zeros((0, 3), np.float32))
    for _ in range(3):
        binding.run()
        [y] = binding.get_outputs()
        assert y.numpy().shape == (3, 0)
        assert y.__cuda_array_interface__["data"][0] == 0
        assert (
            session.run(None, {"x": DeviceArray(y._driver, y._block, (0, 3), y.dtype)})[0].size == 0
        )
