"""Guard mode sees accesses beyond buffers, writes beside them, and results that nobody wrote."""

from __future__ import annotations

import ctypes
import os
import signal

import numpy as np
import pytest
import sardonyx
from onnx import ValueInfoProto, helper, numpy_helper
from sardonyx.kernels.abi import ARENA, BUFFER_KIND, WEIGHTS

from .guard import ALIGNMENT, POISON, SIDES, Room, empty, guarded

each_side = pytest.mark.parametrize("side", SIDES)


def model() -> bytes:
    weights = np.arange(12, dtype=np.float32).reshape(4, 3)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Softmax", ["a"], ["b"]),
        helper.make_node("Compress", ["b", "c"], ["d"], axis=0),
        helper.make_node("Relu", ["d"], ["y"]),
    ]
    ports = [
        helper.make_tensor_value_info("x", 1, ["n", 4]),
        helper.make_tensor_value_info("c", 9, ["n"]),
    ]
    graph = helper.make_graph(
        nodes, "g", ports, [ValueInfoProto(name="y")], [numpy_helper.from_array(weights, "w")]
    )
    imports = [helper.make_opsetid("", 22)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10).SerializeToString()


def signal_of(address: int) -> int:
    """Read a byte in another process; returns the signal that ended it."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        ctypes.string_at(address, 1)
        os._exit(0)
    return os.WTERMSIG(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@each_side
@pytest.mark.parametrize("nbytes", [1, 4096, 5000])
def test_memory_lies_at_a_page_without_access(side, nbytes):
    room = Room(nbytes, 1, side)
    outside = room.address + nbytes if side == "end" else room.address - 1
    assert signal_of(outside) == signal.SIGSEGV
    assert signal_of(room.address) == signal_of(room.address + nbytes - 1) == 0


@each_side
def test_what_is_written_beside_memory_is_found(side):
    room = Room(60, ALIGNMENT, side)
    room.memory[:] = 0
    room.check("it")
    ctypes.memset(room.address + 60 if side == "end" else room.address + 64, 1, 1)
    with pytest.raises(AssertionError, match="written beside it of 60 bytes"):
        room.check("it")


@each_side
def test_fresh_memory_is_poisoned(side):
    assert (empty((3, 5), np.int16, side).view(np.uint8) == POISON).all()


@each_side
def test_every_buffer_of_a_run_is_guarded(side):
    session = sardonyx.Session(model(), threads=1, optimize="none")
    feeds = {"x": np.eye(4, dtype=np.float32)[:3], "c": np.array([True, False, True])}
    wanted = session.run(None, feeds)[0]
    session.shrink()
    with guarded(side):
        (found,) = session.run(None, feeds)
        (context,) = session.engine.idle
        bases, kinds = context.binding.bases, session.engine.program.buffers[:, BUFFER_KIND]
    np.testing.assert_array_equal(found, wanted)
    first = context.binding.arena.ctypes.data
    arena = [(first, first + context.binding.arena.nbytes)]
    for kind in (ARENA, WEIGHTS):
        addresses = [int(base) for base in bases[: len(kinds)][kinds == kind]]
        assert addresses
        assert not any(begin <= base < end for base in addresses for begin, end in arena)
