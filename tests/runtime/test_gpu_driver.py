"""A GPU by its driver, whose functions stand here for themselves: what they are called with."""

import importlib.util
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import sardonyx
from sardonyx.kernels.cuda.kernel import Launch

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("cuda") is None or importlib.util.find_spec("cuda.bindings") is None,
    reason="needs cuda-bindings: pip install 'sardonyx[cuda]'",
)


@pytest.fixture
def opened(monkeypatch):
    from sardonyx.kernels.cuda.cubins import Cubin
    from sardonyx.runtime.devices.cuda import gpu, requirements

    from ..fake_cuda import FakeCuda

    def codes(kernels, capability):
        return {kernel.ref: Cubin("3", str(kernel.ref).encode()) for kernel in kernels}

    monkeypatch.setattr(gpu, "cubins", codes)

    def opened(**options):
        fake = FakeCuda(**options)
        return fake, requirements.open_gpu(fake)

    return opened


def kernel(ref="kernel", shared=0):
    bounds = SimpleNamespace(shared_bytes=shared) if shared else None
    return SimpleNamespace(ref=ref, bounds=bounds)


def copied(gpu, address, size):
    from sardonyx.runtime.devices.cuda.driver import Copy

    back = np.zeros(size, np.uint8)
    gpu.to_host([Copy(back.ctypes.data, address, size)])
    return back


def put(gpu, address, data, **options):
    from sardonyx.runtime.devices.cuda.driver import Copy

    gpu.to_device(Copy(address, data.ctypes.data, data.nbytes), **options)


def test_memory_goes_there_and_back(opened):
    fake, gpu = opened()
    assert (gpu.name, gpu.title) == ("cuda:90", "Test GPU")
    data = np.arange(16, dtype=np.uint8)
    first, second = gpu.allocate(16), gpu.allocate(16)
    put(gpu, first, data)
    wanted = data.copy()
    data[:] = 0  # it has been read
    gpu.move(second, first, 16)
    assert copied(gpu, second, 16).tolist() == wanted.tolist()
    gpu.free(first)
    assert list(fake.memory) == [second]


def test_large_copies_go_in_pieces_of_pinned_memory(opened):
    from sardonyx.runtime.devices.cuda.staging import PIECE

    fake, gpu = opened()
    size = 6 * PIECE + 12345
    data = np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)
    address = gpu.allocate(size)
    put(gpu, address, data)
    put(gpu, address + 3, data[:5], follows=False)
    wanted = data.copy()
    wanted[3:8] = data[:5]
    assert np.array_equal(copied(gpu, address, size), wanted)
    assert fake.calls.count("cuMemcpyHtoDAsync") == 8
    assert sum(size for _, size in fake.pinned.values()) == 8 * PIECE


def test_copies_follow_what_was_queued_unless_they_need_not(opened):
    _, gpu = opened()
    a, b = gpu.allocate(8), gpu.allocate(8)
    put(gpu, a, np.full(8, 1, np.uint8))
    gpu.move(b, a, 8)
    put(gpu, a, np.full(8, 2, np.uint8))  # after the move
    assert copied(gpu, b, 8).tolist() == [1] * 8
    assert copied(gpu, a, 8).tolist() == [2] * 8


def test_streams_of_others_wait_and_are_waited_for(opened):
    fake, gpu = opened()
    a, other = gpu.allocate(1), fake._cuStreamCreate(0)
    seen = []
    fake._later(other, lambda: seen.append("theirs"))
    gpu.wait_for(other)
    loaded = gpu.load([kernel()])[0]
    fake.run = lambda *_: seen.append("ours")
    gpu.queue([gpu.prepare(loaded, Launch((1, 1, 1), (1, 1, 1)), np.zeros(3, np.int64))])
    gpu.let_wait(other)
    fake._later(other, lambda: seen.append("after"))
    fake._drain(other)
    assert seen == ["theirs", "ours", "after"]
    fake._later(other, lambda: seen.append("late"))
    gpu.wait_for(None)
    assert seen[-1] == "late"
    assert gpu.owns(a, 1)
    assert not gpu.owns(a, 2)
    assert not gpu.owns(4096, 1)


def test_no_memory_says_how_much_there_is_after_others_have_given_theirs(opened):
    fake, gpu = opened(memory=1 << 20)
    with pytest.raises(
        sardonyx.KernelError, match=r"no memory on Test GPU for 2097152 bytes: 1048576 of 1048576"
    ):
        gpu.allocate(2 << 20)
    held = gpu.allocate(1 << 19)
    gpu.spare = lambda: gpu.free(held)
    assert gpu.allocate(1 << 20)
    assert len(fake.memory) == 1


def test_launches_have_the_words_as_arguments_and_are_captured(opened):
    fake, gpu = opened()
    [loaded] = gpu.load([kernel()])
    launch, words = Launch((4, 5, 1), (128, 2, 1)), np.array([7, -1, 1 << 40])
    ready = gpu.prepare(loaded, launch, words)
    words[0] = 8  # they are the launch's own
    gpu.queue([ready])
    assert fake.launches == []
    gpu.synchronize()
    wanted = (b"kernel", (4, 5, 1, 128, 2, 1, 0), [7, -1, 1 << 40])
    assert fake.launches == [wanted]
    graph = gpu.capture([ready] * 3)
    gpu.synchronize()
    assert fake.launches == [wanted]
    graph()
    gpu.synchronize()
    assert fake.launches == [wanted] * 4
    del graph
    assert fake.calls[-1] == "cuGraphExecDestroy"


def test_shared_memory_and_clusters(opened):
    _, gpu = opened()
    small, large = gpu.load([kernel("small", 1024), kernel("large", 100_000)])
    assert not hasattr(small.function, "shared")
    assert large.function.shared == 100_000
    launch = Launch((4, 1, 1), (128, 1, 1), cluster=(2, 1, 1))
    fake = gpu.api.driver
    gpu.queue([gpu.prepare(large, launch, np.zeros(3, np.int64))])
    gpu.capture([gpu.prepare(large, launch, np.zeros(3, np.int64))] * 2)()
    gpu.synchronize()
    assert fake.launches == [(b"large", (4, 1, 1, 128, 1, 1, 100_000), [0, 0, 0])] * 3
    assert large.function.cluster == (2, 1, 1)
    with pytest.raises(sardonyx.KernelError, match="huge needs 300000 bytes of shared memory"):
        gpu.load([kernel("huge", 300_000)])


@pytest.mark.parametrize(("grid", "block"), [
    ((1 << 31, 1, 1), (1, 1, 1)), ((1, 65536, 1), (1, 1, 1)), ((1, 1, 65536), (1, 1, 1)),
    ((1, 1, 1), (1024, 2, 1)), ((1, 1, 1), (1, 1, 65)),
])  # fmt: skip
def test_a_launch_beyond_limits_is_named(opened, grid, block):
    _, gpu = opened()
    [loaded] = gpu.load([kernel("relu[4]")])
    with pytest.raises(sardonyx.KernelError, match=r"relu\[4\] is beyond what Test GPU takes"):
        gpu.prepare(loaded, Launch(grid, block), np.zeros(3, np.int64))


def test_code_that_does_not_load_is_named(opened):
    fake, gpu = opened()
    fake.failures["cuModuleLoadData"] = "NO_BINARY_FOR_GPU"
    with pytest.raises(
        sardonyx.KernelError, match=r"relu\[4\] does not load on Test GPU.*NO_BINARY_FOR_GPU"
    ):
        gpu.load([kernel("relu[4]")])


@pytest.mark.parametrize("failure", ["ILLEGAL_ADDRESS", "LAUNCH_FAILED", "ECC_UNCORRECTABLE"])
def test_a_gpu_that_has_failed_says_so_from_then_on(opened, failure):
    fake, gpu = opened()
    address = gpu.allocate(8)
    fake.failures["cuStreamSynchronize"] = failure
    text = rf"the GPU has failed: CUDA_ERROR_{failure} in cuStreamSynchronize.*start the process"
    with pytest.raises(sardonyx.KernelError, match=text):
        gpu.synchronize()
    fake.failures.clear()
    calls = len(fake.calls)
    for use in (lambda: gpu.allocate(8), lambda: copied(gpu, address, 8), lambda: gpu.queue([])):
        with pytest.raises(sardonyx.KernelError, match=text):
            use()
    gpu.free(address)  # nothing is left to free
    assert len(fake.calls) == calls


def test_other_failures_pass(opened):
    fake, gpu = opened()
    fake.failures["cuStreamSynchronize"] = "INVALID_VALUE"
    with pytest.raises(sardonyx.KernelError, match="fails in cuStreamSynchronize: CUDA_ERROR_INV"):
        gpu.synchronize()
    fake.failures.clear()
    gpu.synchronize()


def test_times_are_those_of_events(opened):
    _, gpu = opened()
    start, end = gpu.mark(), gpu.mark()
    assert gpu.nanoseconds(start, end) == 1000


@pytest.mark.parametrize(("options", "failures", "text"), [
    ({}, {"cuInit": "NO_DEVICE"}, r"finds no GPU.*NO_DEVICE.*install NVIDIA's driver, 580"),
    ({}, {"cuDeviceGet": "INVALID_DEVICE"}, r"finds no GPU.*check that nvidia-smi"),
    ({"version": 12080}, {}, r"driver of CUDA 13\.0 or newer, this one is of CUDA 12\.8; install"),
    ({"capability": (7, 5)}, {}, r"capability 8\.0 or newer \(Ampere\), this one has 7\.5"),
    ({}, {"cuDevicePrimaryCtxRetain": "DEVICE_UNAVAILABLE"}, r"cannot use the GPU.*UNAVAILABLE"),
    ({}, {"cuStreamCreate": "OUT_OF_MEMORY"}, r"cannot use the GPU: it has no memory left"),
])  # fmt: skip
def test_what_is_missing_is_one_clear_error(options, failures, text):
    from sardonyx.runtime.devices.cuda.requirements import open_gpu

    from ..fake_cuda import FakeCuda

    fake = FakeCuda(**options)
    fake.failures |= failures
    with pytest.raises(sardonyx.InvalidArgument, match=text):
        open_gpu(fake)


def test_functions_that_are_called_are_the_drivers():
    from cuda.bindings import driver
    from sardonyx.runtime.devices import cuda

    folder = Path(cuda.__file__).parent
    names = {name for path in folder.glob("*.py")
             for name in re.findall(r'"(cu[A-Z]\w+)"', path.read_text())}  # fmt: skip
    assert len(names) > 25
    assert all(hasattr(driver, name) for name in names)
