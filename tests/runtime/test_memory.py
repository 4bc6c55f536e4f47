"""Working memory begins at a huge page, and a session has it before its first run."""

from __future__ import annotations

import resource

import numpy as np
import onnx
import onnx.helper as oh
import onnx_ir
import pytest
import sardonyx
from sardonyx.runtime import memory
from sardonyx.runtime.options import checked_options
from sardonyx.runtime.program_cache import open_program


@pytest.mark.parametrize("size", [0, 1, 4096, (2 << 20) - 1, 2 << 20, (5 << 20) + 17])
def test_an_arena_is_as_large_as_wanted_and_can_be_written(size):
    arena = memory.new_arena(size)
    memory.prefault(arena, writable=True)
    arena[:] = 7
    assert arena.shape == (size,)
    assert size < 2 << 20 or arena.ctypes.data % (2 << 20) == 0
    assert int(arena.sum(dtype=np.int64)) == 7 * size


@pytest.mark.parametrize("size", [1, 4096, (2 << 20) - 1, (5 << 20) + 17])
def test_weights_are_zeros_that_begin_at_a_line(size):
    weights = memory.new_weights(size)
    assert weights.shape == (size,) and not weights.any()
    assert weights.ctypes.data % 64 == 0
    assert size < 2 << 20 or weights.ctypes.data % (2 << 20) == 0


def test_weights_of_a_program_that_no_folder_keeps_begin_at_a_line():
    numbers = np.random.default_rng(0).standard_normal((300, 500), np.float32)
    weights = onnx.numpy_helper.from_array(numbers, "w")
    sizes = {"x": 300, "y": 500}
    x, y = (oh.make_tensor_value_info(name, 1, [4, size]) for name, size in sizes.items())
    graph = oh.make_graph([oh.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [weights])
    model = oh.make_model(graph, ir_version=9, opset_imports=[oh.make_opsetid("", 17)])
    _, options = checked_options(1, "fp32", "all")
    found = open_program(onnx_ir.serde.deserialize_model(model), options)
    assert found.weights.nbytes >= numbers.nbytes // 2
    assert found.weights.ctypes.data % 64 == 0


def test_pages_made_present_keep_what_is_in_them():
    array = np.arange(100_000)
    for part in (array, array[1:-1], array[:0]):
        memory.prefault(part, writable=True)
    assert (array == np.arange(100_000)).all()


def test_more_memory_than_there_is_is_refused():
    for size in (2**60, 2**64):
        with pytest.raises(sardonyx.KernelError, match="no memory"):
            memory.new_arena(size)


def session(*shape) -> sardonyx.Session:
    x, y = (oh.make_tensor_value_info(name, 1, list(shape)) for name in "xy")
    nodes = [oh.make_node("Softmax", ["x"], ["t"]), oh.make_node("Softmax", ["t"], ["y"], axis=0)]
    graph = oh.make_graph(nodes, "g", [x], [y])
    model = oh.make_model(graph, ir_version=9, opset_imports=[oh.make_opsetid("", 17)])
    return sardonyx.Session(model, threads=1)


def test_a_session_of_known_shapes_is_bound_before_it_runs():
    opened = session(8, 40)
    assert [context.binding.shapes for context in opened.engine.idle] == [((8, 40),)]
    assert opened.engine.idle[0].binding.arena_bytes > 0
    assert opened(np.ones((8, 40), np.float32)).shape == (8, 40)
    assert session("n", 40).engine.idle == []


def test_a_session_opens_though_there_is_no_memory_for_a_run():
    opened = session(1 << 22, 1 << 22)  # 64 TiB
    with pytest.raises(sardonyx.InvalidArgument):
        opened(np.ones((8, 40), np.float32))


def test_results_of_many_runs_are_mapped_once():
    """Together they are more than C's heap keeps by itself, each of them less."""
    count, shape = 24, [64, 512]
    ports = [oh.make_tensor_value_info(f"y{i}", 1, shape) for i in range(count)]
    graph = oh.make_graph(
        [oh.make_node("Add", ["x", f"k{i}"], [f"y{i}"]) for i in range(count)],
        "many",
        [oh.make_tensor_value_info("x", 1, shape)],
        ports,
        [onnx.numpy_helper.from_array(np.float32(i), f"k{i}") for i in range(count)],
    )
    opset = [oh.make_opsetid("", 21)]
    session = sardonyx.Session(oh.make_model(graph, opset_imports=opset, ir_version=10), threads=1)
    feeds = {"x": np.ones(shape, np.float32)}
    for _ in range(5):
        session.run(None, feeds)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        session.run(None, feeds)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    pages = 20 * count * feeds["x"].nbytes // resource.getpagesize()
    assert faults < pages / 4
