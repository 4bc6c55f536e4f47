"""Whole runs on a GPU's driver that does nothing before it has to; kernels run in the simulator."""

import threading

import numpy as np
import pytest
import sardonyx
from onnx import helper
from sardonyx.kernels.cuda.cubins import Cubin
from sardonyx.kernels.cuda.kernel import Launch, find
from sardonyx.kernels.cuda.simulated import allow, forbid
from sardonyx.kernels.ref import KernelRef
from sardonyx.runtime.devices.cuda import device as module
from sardonyx.runtime.devices.cuda import gpu
from sardonyx.runtime.devices.cuda.requirements import open_gpu
from sardonyx.runtime.devices.cuda.simulator import Simulator
from sardonyx.tools.cuda_cases.runs import floats, model_of

from ..fake_cuda import FakeCuda

node = helper.make_node


class Running(FakeCuda):
    """Kernels run in numba's simulator, whose memory is what is allocated here."""

    def __init__(self, **options):
        super().__init__(run=self._run, **options)
        self._kernels = {}
        self._simulator = Simulator()

    def _allocated(self, size, table):
        address = super()._allocated(size, table)
        allow(address, size)
        return address

    def _cuMemFree(self, address):
        super()._cuMemFree(address)
        forbid(address)

    def _cuMemFreeHost(self, address):
        super()._cuMemFreeHost(address)
        forbid(address)

    def _run(self, code, shape, words):
        if code not in self._kernels:
            kernel = find(eval(code, {"KernelRef": KernelRef}))
            [self._kernels[code]] = self._simulator.load([kernel])
        launch = Launch(tuple(shape[:3]), tuple(shape[3:6]))
        self._kernels[code](launch, np.array(words))


@pytest.fixture
def fake(monkeypatch):
    def codes(kernels, capability):
        found = {}
        for kernel in kernels:
            entry = str(len(kernel.fields) + 1)
            found[kernel.ref] = Cubin(entry, repr(kernel.ref).encode())
        return found

    fake = Running()
    monkeypatch.setattr(gpu, "cubins", codes)
    monkeypatch.setattr(gpu.Gpu, "limits", Simulator.limits)
    driver = open_gpu(fake)
    cuda = module.CudaDevice(driver)
    monkeypatch.setattr(module, "cuda_device", lambda: cuda)
    return fake


def chain():
    nodes = [node("Exp", ["x"], ["a"]), node("Transpose", ["a"], ["b"]), node("Neg", ["b"], ["y"])]
    return model_of(nodes, {"x": floats(2, 3)}, dims={"x": ["n", 3]}).SerializeToString()


def expected(x):
    return -np.exp(x).T


def test_runs_of_several_sizes(fake):
    session = sardonyx.Session(chain(), device="cuda")
    assert session.device == "cuda:90"
    for seed, rows in enumerate([2, 2, 2, 3, 3, 2, 5, 6, 7, 2, 2, 2, 2]):
        x = floats(rows, 3, seed=seed)
        np.testing.assert_allclose(session.run(None, {"x": x})[0], expected(x), rtol=1e-6)
    assert fake.calls.count("cuGraphInstantiate") == 2
    assert fake.calls.count("cuGraphLaunch") >= 5


def test_outputs_that_are_kept_and_runs_that_nobody_waits_for(fake):
    session = sardonyx.Session(chain(), device="cuda")
    binding, kept = session.io_binding(), []
    other = fake._cuStreamCreate(0)
    for seed in range(12):
        x = floats(2, 3, seed=seed)
        binding.bind_input("x", x)
        binding.run(wait=False, stream=other)
        kept.append((binding.get_outputs()[0], expected(x)))
        if seed % 3 == 2:
            kept = kept[-2:]
    fake._drain(other)
    for y, wanted in kept:
        np.testing.assert_allclose(y.numpy(), wanted, rtol=1e-6)
    binding.synchronize()


def test_memory_that_others_still_read_is_not_written(fake):
    session = sardonyx.Session(chain(), device="cuda")
    binding, theirs, read = session.io_binding(), fake._cuStreamCreate(0), []
    for seed in range(8):
        x = floats(2, 3, seed=seed)
        binding.bind_input("x", x)
        binding.run()
        [y] = binding.get_outputs()
        y.__dlpack__(stream=theirs)
        address = y.address

        def later(address=address, x=x):
            import ctypes

            found = np.frombuffer(ctypes.string_at(address, 24), np.float32).reshape(3, 2)
            np.testing.assert_allclose(found, expected(x), rtol=1e-6)
            read.append(address)

        fake._later(theirs, later)
        del y
    fake._drain(theirs)
    assert len(read) == 8
    assert len(set(read)) == 2


def test_steps_of_the_cpu_between(fake):
    nodes = [
        node("Mul", ["x", "x"], ["a"]),
        node("ArrayFeatureExtractor", ["a", "i"], ["v"], domain="ai.onnx.ml"),
        node("Exp", ["v"], ["y"]),
    ]
    model = model_of(nodes, {"x": floats(2, 3)}, {"i": np.array([2, 0])})
    session = sardonyx.Session(model.SerializeToString(), device="cuda")
    for seed in range(5):
        x = floats(2, 3, seed=seed)
        got = session.run(None, {"x": x})[0]
        np.testing.assert_allclose(got, np.exp(x[:, [2, 0]] ** 2), rtol=1e-5)


def test_a_profile_has_the_times_of_events(fake):
    session = sardonyx.Session(chain(), device="cuda")
    profile = session.profile({"x": floats(2, 3)}, runs=3, warmup=1)
    times = [step.times_ns for step in profile.steps if step.kernel != "copy"]
    assert len(times) == 3
    assert all((each > 0).all() for each in times)
    assert profile.device == "cuda:90"


def test_an_index_out_of_range_and_what_comes_after(fake):
    nodes = [node("Exp", ["x"], ["e"]), node("Gather", ["e", "i"], ["y"], name="pick")]
    model = model_of(nodes, {"x": floats(4, 3), "i": np.array([0, 1])})
    session, x = sardonyx.Session(model.SerializeToString(), device="cuda"), floats(4, 3)
    for index in (1, 9, 2, -9, 3, 0):
        feeds = {"x": x, "i": np.array([1, index])}
        if abs(index) == 9:
            with pytest.raises(sardonyx.KernelError, match=rf"'pick'.*index {index} out of range"):
                session.run(None, feeds)
        else:
            got = session.run(None, feeds)[0]
            np.testing.assert_allclose(got, np.exp(x[[1, index]]), rtol=1e-6)


def test_an_illegal_access_closes_the_session(fake):
    session, x = sardonyx.Session(chain(), device="cuda"), floats(2, 3)
    session.run(None, {"x": x})
    fake.failures |= {"cuEventSynchronize": "ILLEGAL_ADDRESS"}
    for _ in range(3):
        with pytest.raises(
            sardonyx.KernelError, match=r"CUDA_ERROR_ILLEGAL_ADDRESS.*start another"
        ):
            session.run(None, {"x": x})
    with pytest.raises(sardonyx.KernelError, match="CUDA_ERROR_ILLEGAL_ADDRESS"):
        sardonyx.Session(chain(), device="cuda").run(None, {"x": x})
    session.close()


def test_memory_that_runs_out_is_taken_from_idle_bindings(fake):
    session = sardonyx.Session(chain(), device="cuda")
    held = lambda: sum(size for _, size in fake.memory.values())  # noqa: E731
    session.run(None, {"x": floats(2, 3)})
    one = held()
    session.run(None, {"x": floats(1000, 3)})
    fake.most = held() + 4000
    session.run(None, {"x": floats(1100, 3)})
    assert held() < fake.most
    with pytest.raises(sardonyx.KernelError, match=r"no memory on Test GPU for .* smaller batches"):
        session.run(None, {"x": floats(9000, 3)})
    x = floats(3, 3)
    np.testing.assert_allclose(session.run(None, {"x": x})[0], expected(x), rtol=1e-6)
    assert one < held()
    session.close()


def test_runs_of_several_threads(fake):
    session, errors = sardonyx.Session(chain(), device="cuda"), []
    lock = threading.Lock()  # this driver is for one thread at a time

    def work(seed):
        try:
            for turn in range(4):
                x = floats(2 + seed, 3, seed=10 * seed + turn)
                with lock:
                    got = session.run(None, {"x": x})[0]
                np.testing.assert_allclose(got, expected(x), rtol=1e-6)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_a_forked_child_is_told(fake):
    import os

    session, x = sardonyx.Session(chain(), device="cuda"), floats(2, 3)
    session.run(None, {"x": x})
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            session.run(None, {"x": x})
        except sardonyx.KernelError as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert b"a forked process cannot use the GPU" in os.read(reader, 4096)
    np.testing.assert_allclose(session.run(None, {"x": x})[0], expected(x), rtol=1e-6)
