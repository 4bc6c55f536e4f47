"""The simulator: what it refuses, and fragments by the tables of the PTX ISA."""

import numpy as np
import pytest
from sardonyx.kernels.cuda.basic import (
    block_x,
    commit_copies,
    copy_piece,
    load,
    store,
    synchronize,
    thread_index,
    wait_copies,
)
from sardonyx.kernels.cuda.ptx import Instruction, Operand
from sardonyx.kernels.cuda.simulator.block import Deadlock, launch
from sardonyx.kernels.cuda.simulator.fragments import SHAPES
from sardonyx.kernels.cuda.simulator.memory import Memory
from sardonyx.kernels.cuda.simulator.process_memory import ProcessMemory
from sardonyx.kernels.cuda.simulator.program import PtxError


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("which", "abc")
def test_fragments_hold_each_element_once(name, which):
    rows, columns = SHAPES[name].indices(which)
    assert len(set(zip(rows.flat, columns.flat, strict=True))) == rows.size
    assert rows.shape[0] == 32


def run(kernel, threads=32, arrays=(), shared=1024):
    memory = Memory()
    return launch(kernel, (1,), threads, [memory.place(each) for each in arrays], memory, shared)


def test_threads_have_their_places():
    x = np.zeros((3, 64), np.int32)
    put, memory = store("global", "i32"), Memory()

    def kernel(x):
        put(x + 4 * (64 * block_x() + thread_index()), 100 * block_x() + thread_index())

    launch(kernel, (3,), 64, [memory.place(x)], memory)
    assert (x == 100 * np.arange(3)[:, None] + np.arange(64)).all()


def test_a_barrier_that_not_all_reach_is_told():
    def kernel():
        if thread_index() < 5:
            synchronize()

    with pytest.raises(Deadlock, match="5"):
        run(kernel)


def test_a_warp_that_parts_is_told():
    one, two = (Instruction(name, ("bar.sync 0;",), threads=32) for name in ("one", "two"))

    def kernel():
        if thread_index() < 5:
            one()
        else:
            two()

    with pytest.raises(RuntimeError, match="others of its warp are at one"):
        run(kernel)


@pytest.mark.parametrize("offset", [-4, 8, 2])
def test_memory_outside_of_arrays_and_unaligned_is_refused(offset):
    put = store("global", "f32")
    with pytest.raises(IndexError):
        run(lambda x: put(x + offset, 1.0), 1, [np.zeros(2, np.float32)])


@pytest.mark.parametrize("address", [-4, 1024, 2])
def test_shared_memory_outside_and_unaligned_is_refused(address):
    put = store("shared", "f32")
    with pytest.raises(IndexError):
        run(lambda: put(address, 1.0), 1)


def test_copies_are_not_there_before_they_are_waited_for():
    x, seen = np.arange(4, dtype=np.float32), np.zeros(2, np.float32)
    get, put, wait = load("shared", "f32"), store("global", "f32"), wait_copies(0)

    def kernel(x, seen):
        copy_piece(0, x, 16)
        commit_copies()
        put(seen, get(4))
        wait()
        put(seen + 4, get(4))

    run(kernel, 1, [x, seen])
    assert np.isnan(seen[0]) and seen[1] == 1


def test_registers_are_not_read_before_they_are_written():
    bad = Instruction("bad", (".reg .b32 %x;", "add.u32 %y, %x, 1;"), (), Operand("y", "b32"))
    with pytest.raises(PtxError, match="%x is read before"):
        run(lambda: bad(), 1)


def test_what_the_simulator_does_not_know_is_told():
    with pytest.raises(PtxError, match="bfind"):
        run(lambda: Instruction("bad", ("bfind.u32 %a, %b;",))(), 1)


def test_instructions_outside_of_kernels_are_told():
    with pytest.raises(RuntimeError, match="outside of a kernel"):
        synchronize()


def test_kernels_reach_memory_of_the_process_as_far_as_they_may():
    x = np.zeros(4, np.float32)
    put = store("global", "f32")

    def check(address, size):
        if not x.ctypes.data <= address <= x.ctypes.data + x.nbytes - size:
            raise IndexError("outside")

    memory = ProcessMemory(check)
    launch(lambda x: put(x + 4 * thread_index(), 2.0), (1,), 4, [x.ctypes.data], memory)
    assert (x == 2).all()
    with pytest.raises(IndexError, match="outside"):
        launch(lambda x: put(x + 16, 2.0), (1,), 1, [x.ctypes.data], memory)
    with pytest.raises(IndexError, match="not aligned"):
        launch(lambda x: put(x + 2, 2.0), (1,), 1, [x.ctypes.data], memory)
