"""A GPU by its driver, whose functions stand here for themselves: what they are called with."""

import ctypes
import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest
import sardonyx
from sardonyx.kernels.cuda.kernel import Launch
from sardonyx.runtime.devices.cuda import gpu as module

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("cuda") is None,
    reason="needs cuda-bindings: pip install 'sardonyx[cuda]'",
)


class Fake:
    """Memory of the process as that of a GPU; notes launches, alone or in a graph."""

    def __init__(self):
        self.memory, self.launches, self.recording, self.calls = {}, [], None, []

    def __call__(self, name, *arguments):
        self.calls.append(name)
        return getattr(self, name, lambda *_: name)(*arguments)

    def cuDeviceGet(self, ordinal):
        return ordinal

    def cuDeviceGetName(self, length, device):
        return b"Test GPU".ljust(length, b"\0")

    def cuMemAlloc(self, size):
        if size > 1 << 20:
            raise MemoryError
        array = np.zeros(size, np.uint8)
        self.memory[array.ctypes.data] = array
        return array.ctypes.data

    def cuMemGetInfo(self):
        return 1 << 20, 1 << 30

    def cuMemFree(self, address):
        del self.memory[address]

    def copy(self, target, source, size, stream):
        ctypes.memmove(target, source, size)

    cuMemcpyHtoDAsync = cuMemcpyDtoHAsync = cuMemcpyDtoDAsync = copy

    def cuLaunchKernel(self, function, *more):
        *shape, _shared, _stream, parameters, _extra = more
        count = 3
        places = (ctypes.c_int64 * count).from_address(parameters)
        words = [ctypes.c_int64.from_address(place).value for place in places]
        target = self.launches if self.recording is None else self.recording
        target.append((tuple(shape), words))

    def cuStreamBeginCapture(self, stream, mode):
        self.recording = []

    def cuStreamEndCapture(self, stream):
        graph, self.recording = self.recording, None
        return graph

    def cuGraphInstantiate(self, graph, flags):
        return graph

    def cuGraphLaunch(self, graph, stream):
        self.launches += graph


@pytest.fixture
def fake(monkeypatch):
    fake = Fake()
    monkeypatch.setattr(module, "_call", fake)
    monkeypatch.setattr(module, "compiled", lambda kernel, capability: (b"ptx", b"entry"))
    return fake


def test_memory_goes_there_and_back(fake):
    gpu = module.Gpu((9, 0))
    assert (gpu.name, gpu.title) == ("cuda:90", "Test GPU")
    data, back = np.arange(16, dtype=np.uint8), np.zeros(16, np.uint8)
    first, second = gpu.allocate(16), gpu.allocate(16)
    gpu.to_device(first, data.ctypes.data, 16)
    gpu.move(second, first, 16)
    gpu.to_host(back.ctypes.data, second, 16)
    assert back.tolist() == data.tolist()
    gpu.free(first)
    assert list(fake.memory) == [second]


def test_no_memory_says_how_much_there_is(fake):
    with pytest.raises(
        sardonyx.KernelError, match=r"no memory on Test GPU for 2097152 bytes: 1048576"
    ):
        module.Gpu((9, 0)).allocate(2 << 20)


def test_launches_have_the_words_as_arguments_and_are_captured(fake):
    gpu = module.Gpu((9, 0))
    launcher = gpu.load(SimpleNamespace(ref="kernel"))
    launch, words = Launch((4, 5, 1), (128, 2, 1)), np.array([7, -1, 1 << 40])
    launcher(launch, words)
    wanted = ((4, 5, 1, 128, 2, 1), [7, -1, 1 << 40])
    assert fake.launches == [wanted]
    graph = gpu.capture(lambda: [launcher(launch, words) for _ in range(3)])
    assert fake.launches == [wanted]
    words[0] = 8  # the recording has the words as they were
    graph()
    assert fake.launches == [wanted] * 4
    del graph
    assert fake.calls[-1] == "cuGraphExecDestroy"


def test_a_kernel_that_does_not_compile_is_named(fake, monkeypatch):
    def fails(kernel, capability):
        raise RuntimeError("bad code")

    monkeypatch.setattr(module, "compiled", fails)
    with pytest.raises(
        sardonyx.KernelError, match=r"the kernel relu\[4\] does not compile: bad code"
    ):
        module.Gpu((8, 0)).load(SimpleNamespace(ref="relu[4]"))


@pytest.mark.skipif(importlib.util.find_spec("cuda") is None, reason="needs cuda-bindings")
def test_functions_that_are_called_are_the_drivers():
    import re
    from pathlib import Path

    from cuda.bindings import driver

    names = set(re.findall(r'"(cu[A-Z]\w+)"', Path(module.__file__).read_text()))
    assert len(names) > 15
    assert all(hasattr(driver, name) for name in names)
