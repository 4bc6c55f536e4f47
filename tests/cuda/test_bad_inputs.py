"""What a GPU is given that it cannot take: an error of ours, and the next run is as any other."""

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import helper
from sardonyx.kernels.cuda.kernel import Limits
from sardonyx.kernels.cuda.launches import over_elements, over_rows, over_sums, over_tiles
from sardonyx.kernels.cuda.simulated import LOAD
from sardonyx.runtime.devices.cuda.device import cuda_device
from sardonyx.runtime.devices.cuda.driver import Copy
from sardonyx.runtime.devices.cuda.simulator import Simulator
from sardonyx.tools.cuda_cases.runs import floats, kernels_elsewhere, model_of, on_gpu

node = helper.make_node


def gathering():
    nodes = [node("Exp", ["x"], ["e"]), node("Gather", ["e", "i"], ["y"], name="pick")]
    return model_of(nodes, {"x": floats(4, 3), "i": np.array([0, 1])})


@pytest.mark.parametrize("index", [4, -5, 1 << 40])
def test_an_index_out_of_range_is_named_as_on_the_cpu(index):
    model, x = gathering(), floats(4, 3)
    session = on_gpu(model)
    for each in (session, sardonyx.Session(model.SerializeToString())):
        with pytest.raises(
            sardonyx.KernelError, match=rf"'pick'.*index {index} out of range in 'i'"
        ):
            each.run(None, {"x": x, "i": np.array([1, index])})
    good = session.run(None, {"x": x, "i": np.array([1, -4])})[0]
    np.testing.assert_allclose(good, np.exp(x[[1, 0]]), rtol=1e-6)


def test_a_division_by_zero_is_named():
    x = np.array([4, 6])
    session = on_gpu(model_of([node("Div", ["x", "y"], ["z"], name="half")], {"x": x, "y": x}))
    with pytest.raises(sardonyx.KernelError, match=r"'half'.*integer division by zero"):
        session.run(None, {"x": x, "y": np.array([2, 0])})
    assert session.run(None, {"x": x, "y": np.array([2, 3])})[0].tolist() == [2, 2]


@pytest.mark.parametrize("rows", [0, 1, 31, 70_000, 1 << 33, 1 << 40])
@pytest.mark.parametrize("columns", [0, 1, 3, 1000, 1 << 33])
def test_launches_keep_to_the_limits_of_gpus(rows, columns):
    limits = Limits()
    launches = [
        over_rows(rows, columns, limits),
        over_sums(rows, columns, limits),
        over_elements(rows * columns, limits),
        over_tiles(rows, 256, limits),
    ]
    for grid, block, _ in launches:
        assert grid[0] < 1 << 31
        assert max(grid[1:]) < 1 << 16
        assert np.prod(block) <= 1024
        assert min(block) > 0


class OnGpu:
    """An array on the simulated GPU, as other libraries show it."""

    def __init__(self, array, shape=None, strides=None, offset=0):
        self._driver = cuda_device()._driver
        self._address = self._driver.allocate(array.nbytes + 8)
        self._array = array.copy()
        self._driver.to_device(Copy(self._address, self._array.ctypes.data, array.nbytes))
        self.__cuda_array_interface__ = {
            "shape": shape or array.shape, "typestr": array.dtype.str, "version": 3,
            "data": (self._address + offset, False), "strides": strides,
        }  # fmt: skip


def doubling():
    return model_of([node("Add", ["x", "x"], ["y"])], {"x": floats(3, 4)})


def test_arrays_on_the_gpu_are_read_where_they_lie():
    session, x = on_gpu(doubling()), floats(3, 4)
    given = OnGpu(x)
    for _ in range(2):
        np.testing.assert_array_equal(session.run(None, {"x": given})[0], x + x)
        np.testing.assert_array_equal(session.run(None, {"x": x + 1})[0], 2 * (x + 1))
    copies = [s.op_type for s in session.profile({"x": given}, 1, 0).steps if s.kernel == "copy"]
    assert copies == ["ToHost"]
    strided = OnGpu(x, strides=(16, 4))  # as dense arrays have it
    np.testing.assert_array_equal(session.run(None, {"x": strided})[0], x + x)


def test_a_step_of_the_cpu_gets_what_lies_on_the_gpu():
    output = onnx.ValueInfoProto(name="v")
    branches = {
        f"{which}_branch": helper.make_graph([node(operator, ["x"], ["v"])], which, [], [output])
        for which, operator in (("then", "Exp"), ("else", "Neg"))
    }
    nodes = [node("Greater", ["x", "x"], ["m"]), node("ReduceMax", ["n"], ["c"], keepdims=0),
             node("If", ["g"], ["y"], **branches)]  # fmt: skip
    nodes.insert(1, node("Cast", ["m"], ["n"], to=6))
    nodes.insert(3, node("Cast", ["c"], ["g"], to=9))
    x = floats(2, 3, 3)
    session = on_gpu(model_of(nodes, {"x": x}))
    assert kernels_elsewhere(session)
    np.testing.assert_array_equal(session.run(None, {"x": OnGpu(x)})[0], -x)


def test_arrays_that_cannot_be_read_where_they_lie():
    session, x = on_gpu(doubling()), floats(3, 4)
    for given, text in (
        (OnGpu(x, strides=(4, 12)), "dense array"),
        (OnGpu(x, offset=2), "no multiple of the 4 bytes"),
        (OnGpu(x.astype(np.float64)), "expected float32, got float64"),
        (OnGpu(x, shape=(4, 3)), "expected 3 in dimension 0"),
    ):
        with pytest.raises(sardonyx.InvalidArgument, match=text):
            session.run(None, {"x": given})
    elsewhere = OnGpu(x)
    elsewhere.__cuda_array_interface__["data"] = (x.ctypes.data, False)
    with pytest.raises(sardonyx.InvalidArgument, match="no memory of"):
        session.run(None, {"x": elsewhere})
    with pytest.raises(sardonyx.InvalidArgument, match=r"4800 bytes at .* no memory of"):
        session.run(None, {"x": OnGpu(x, shape=(300, 4))})
    for field, told in (("shape", (-3, 4)), ("typestr", "no type"), ("data", ())):
        odd = OnGpu(x)
        odd.__cuda_array_interface__[field] = told
        with pytest.raises(sardonyx.InvalidArgument, match="'x' says of itself"):
            session.run(None, {"x": odd})
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], x + x)


def test_no_memory_is_one_clear_error(monkeypatch):
    model = model_of([node("Add", ["x", "x"], ["y"])], {"x": floats(4)}, dims={"x": ["n"]})
    session, allocate = on_gpu(model), Simulator.allocate

    def limited(self, size):
        if size > 4000:
            raise sardonyx.KernelError(f"no memory on {self.title} for {size} bytes")
        return allocate(self, size)

    monkeypatch.setattr(Simulator, "allocate", limited)
    with pytest.raises(sardonyx.KernelError, match="no memory on numba's CUDA simulator for"):
        session.run(None, {"x": floats(2000)})
    np.testing.assert_array_equal(session.run(None, {"x": floats(5)})[0], 2 * floats(5))


def test_the_simulated_memory_has_bounds():
    driver = cuda_device()._driver
    address = driver.allocate(64)
    LOAD["f32"](address, 15)
    for index in (16, -1):
        with pytest.raises(IndexError, match="outside of all buffers"):
            LOAD["f32"](address, index)
    with pytest.raises(IndexError, match="not aligned"):
        LOAD["f32"](address + 2, 0)
    driver.free(address)
    with pytest.raises(IndexError):
        LOAD["f32"](address, 0)


def test_names_of_devices():
    assert sardonyx.devices() == ["cpu", "cuda"]
    for wrong in ("gpu", "", None, 3):
        with pytest.raises(sardonyx.InvalidArgument, match="device must be one of"):
            sardonyx.Session(doubling().SerializeToString(), device=wrong)
