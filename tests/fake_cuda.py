"""A GPU's driver that is none: what is queued waits until somebody does, as late as is allowed.

Streams are queues of functions, run when a stream, an event or the context is waited for, and of
the others only what these wait for. Copies read their source when they run. So whoever forgets to
wait, or overwrites what is still to be read, gets wrong numbers.
"""

from __future__ import annotations

import ctypes
from collections import deque
from types import SimpleNamespace

import numpy as np

LEGACY = 1


class Failure(Exception):
    pass


class FakeCuda:
    """Stands for ``cuda.bindings.driver``.

    Attributes
    ----------
    calls : list of str
        Names of the functions that were called.
    launches : list
        Function, sizes and words of each launch that has run.
    failures : dict of str to str
        What functions fail with, by their names.
    """

    def __init__(self, capability=(9, 0), version=13050, memory=1 << 30, run=None):
        from cuda.bindings import driver

        self._real, self.run = driver, run
        self.capability, self.version, self.most = capability, version, memory
        self.calls, self.launches, self.failures = [], [], {}
        self.memory, self.pinned = {}, {}
        self.streams = {LEGACY: deque(), 2: deque()}
        self.events, self.done, self.times = {}, {}, {}
        self.recording = None
        self.clock = 0
        self._next = 1000

    def __getattr__(self, name):
        if not name.startswith("cu"):
            return getattr(self._real, name)
        function = getattr(self, f"_{name}")
        assert hasattr(self._real, name), name

        def call(*arguments):
            self.calls.append(name)
            result = self._real.CUresult
            if name in self.failures:
                return (getattr(result, f"CUDA_ERROR_{self.failures[name]}"), None)
            try:
                value = function(*arguments)
            except Failure as failure:
                return (getattr(result, f"CUDA_ERROR_{failure}"), None)
            if value is None:
                return (result.CUDA_SUCCESS,)
            return (result.CUDA_SUCCESS, *(value if isinstance(value, tuple) else (value,)))

        return call

    def _new(self):
        self._next += 1
        return self._next

    # --- streams ------------------------------------------------------------------------------

    def _later(self, stream, function):
        self.streams[int(stream)].append(function)

    def _drain(self, stream):
        queue = self.streams[int(stream)]
        while queue:
            queue[0]()
            queue.popleft()

    def _drain_all(self):
        for stream in list(self.streams):
            self._drain(stream)

    def _cuStreamCreate(self, flags):
        stream = self._new()
        self.streams[stream] = deque()
        return stream

    def _cuStreamSynchronize(self, stream):
        self._drain(stream)

    def _cuCtxSynchronize(self):
        self._drain_all()

    def _cuEventCreate(self, flags):
        event = self._new()
        self.events[event] = (0, None)
        self.done[event] = 0
        return event

    def _cuEventRecord(self, event, stream):
        count = self.events[event][0] + 1
        self.events[event] = count, int(stream)

        def record():
            self.done[event] = max(self.done[event], count)
            self.clock += 1
            self.times[event] = self.clock

        self._later(stream, record)

    def _reach(self, event, count, stream):
        queue = self.streams.get(stream, ())
        while self.done[event] < count:
            queue[0]()
            queue.popleft()

    def _cuStreamWaitEvent(self, stream, event, flags):
        count, source = self.events[event]
        if count:
            self._later(stream, lambda: self._reach(event, count, source))

    def _cuEventSynchronize(self, event):
        count, source = self.events[event]
        if count:
            self._reach(event, count, source)

    def _cuEventElapsedTime(self, start, end):
        return (self.times[end] - self.times[start]) * 1e-3

    def _cuEventDestroy(self, event):
        pass

    # --- memory -------------------------------------------------------------------------------

    def _allocated(self, size, table):
        array = np.full(size + 4096, 0xA5, np.uint8)
        address = -(-array.ctypes.data // 4096) * 4096
        table[address] = array, size
        return address

    def _cuMemAlloc(self, size):
        if sum(size for _, size in self.memory.values()) + size > self.most:
            raise Failure("OUT_OF_MEMORY")
        return self._allocated(size, self.memory)

    def _cuMemHostAlloc(self, size, flags):
        return self._allocated(size, self.pinned)

    def _cuMemFree(self, address):
        self._drain_all()
        array, _ = self.memory.pop(address)
        array[:] = 0x5A

    def _cuMemFreeHost(self, address):
        self._drain_all()
        del self.pinned[address]

    def _cuMemGetInfo(self):
        return self.most - sum(size for _, size in self.memory.values()), self.most

    def _is_pinned(self, address):
        return any(at <= address < at + size for at, (_, size) in self.pinned.items())

    def _copy(self, target, source, size, stream):
        self._later(stream, lambda: ctypes.memmove(target, source, size))

    def _cuMemcpyHtoDAsync(self, target, source, size, stream):
        assert self._is_pinned(source)
        self._copy(target, source, size, stream)

    def _cuMemcpyDtoHAsync(self, target, source, size, stream):
        assert self._is_pinned(target)
        self._copy(target, source, size, stream)

    _cuMemcpyDtoDAsync = _copy

    def _holder(self, address):
        for at, (_, size) in (*self.memory.items(), *self.pinned.items()):
            if at <= address < at + size:
                return at, size
        raise Failure("INVALID_VALUE")

    def _cuPointerGetAttribute(self, kind, address):
        self._holder(address)
        return 0

    def _cuMemGetAddressRange(self, address):
        return self._holder(address)

    # --- devices and kernels ------------------------------------------------------------------

    def _cuInit(self, flags):
        pass

    def _cuDriverGetVersion(self):
        return self.version

    def _cuDeviceGet(self, ordinal):
        return ordinal

    def _cuDeviceGetName(self, length, device):
        return b"Test GPU".ljust(length, b"\0")

    def _cuDeviceGetAttribute(self, attribute, device):
        known = {"MAJOR": self.capability[0], "MINOR": self.capability[1], "OPTIN": 232448}
        return known[attribute.name.rpartition("_")[2]]

    def _cuDevicePrimaryCtxRetain(self, device):
        return self._new()

    def _cuCtxSetCurrent(self, context):
        pass

    def _cuModuleLoadData(self, code):
        return SimpleNamespace(code=code)

    def _cuModuleGetFunction(self, module, name):
        return SimpleNamespace(code=module.code, name=name, count=None)

    def _cuFuncSetAttribute(self, function, kind, value):
        function.shared = value

    def _cuLaunchKernel(self, function, *more):
        *shape, stream, parameters, _extra = more
        count = int(function.name)
        places = (ctypes.c_int64 * count).from_address(parameters)
        words = [ctypes.c_int64.from_address(place).value for place in places]

        def launch():
            self.launches.append((function.code, tuple(shape), words))
            if self.run is not None:
                self.run(function.code, shape, words)

        if self.recording is not None and int(stream) == self.recording[0]:
            self.recording[1].append(launch)
        else:
            self._later(stream, launch)

    def _cuLaunchKernelEx(self, config, function, parameters, extra):
        cluster = config.attrs[0].value.clusterDim
        function.cluster = cluster.x, cluster.y, cluster.z
        shape = config.gridDimX, config.gridDimY, config.gridDimZ
        shape += config.blockDimX, config.blockDimY, config.blockDimZ, config.sharedMemBytes
        self._cuLaunchKernel(function, *shape, int(config.hStream), parameters, extra)

    def _cuStreamBeginCapture(self, stream, mode):
        assert self.recording is None
        self.recording = int(stream), []

    def _cuStreamEndCapture(self, stream):
        _, graph = self.recording
        self.recording = None
        return SimpleNamespace(launches=graph)

    def _cuGraphInstantiate(self, graph, flags):
        return SimpleNamespace(launches=list(graph.launches))

    def _cuGraphDestroy(self, graph):
        graph.launches = None

    def _cuGraphLaunch(self, graph, stream):
        for launch in graph.launches:
            self._later(stream, launch)

    def _cuGraphExecDestroy(self, graph):
        graph.launches = None
