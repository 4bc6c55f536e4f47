"""Many runs at once, interrupted runs, and runs in other processes."""

import _thread
import os
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import pairwise
from multiprocessing import get_context

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import helper as oh
from sardonyx.kernels import abi

every_team = pytest.mark.parametrize("threads", [1, 2, 4])


def make_model(nodes, dims, weights, kind=1):
    graph = oh.make_graph(
        nodes,
        "test",
        [oh.make_tensor_value_info("x", kind, dims)],
        [onnx.ValueInfoProto(name="y")],
        [onnx.numpy_helper.from_array(a, n) for n, a in weights.items()],
    )
    return oh.make_model(graph, opset_imports=[oh.make_opsetid("", 22)], ir_version=10)


def convolution():
    weights = np.random.default_rng(0).standard_normal((8, 3, 3, 3), np.float32)
    nodes = [
        oh.make_node("Conv", ["x", "w"], ["a"], pads=[1] * 4),
        oh.make_node("Relu", ["a"], ["b"]),
        oh.make_node("GlobalAveragePool", ["b"], ["y"]),
    ]
    return make_model(nodes, ["N", 3, "H", "W"], {"w": weights})


def lookup():
    table = np.arange(10, dtype=np.float32)
    node = oh.make_node("Gather", ["w", "x"], ["y"], name="lookup")
    return make_model([node], ["K"], {"w": table}, onnx.TensorProto.INT64)


def on_the_host():
    """Strings have no kernels, and sizes that they tell follow them."""
    nodes = [
        oh.make_node("Relu", ["x"], ["a"]),
        oh.make_node("Cast", ["a"], ["s"], to=onnx.TensorProto.STRING),
        oh.make_node("Unique", ["s"], ["t", "b"]),
        oh.make_node("Cast", ["b"], ["c"], to=1),
        oh.make_node("Mul", ["c", "two"], ["y"]),
    ]
    return make_model(nodes, ["M", "N"], {"two": np.array(2, np.float32)})


def long_chain(count=300):
    """Products by the identity: 300 take about half a second."""
    nodes = [
        oh.make_node("MatMul", [f"t{i}" if i else "x", "w"], [f"t{i + 1}" if i < count else "y"])
        for i in range(count + 1)
    ]
    return make_model(nodes, [512, 512], {"w": np.eye(512, dtype=np.float32)})


def images(n=1, h=16, w=12):
    return np.random.default_rng([n, h, w]).standard_normal((n, 3, h, w), np.float32)


@every_team
def test_concurrent_runs_on_several_sessions(threads):
    sessions = [sardonyx.Session(convolution(), threads=threads) for _ in range(2)]
    host = sardonyx.Session(on_the_host(), threads=threads)
    inputs = [images(1 + i % 2, 8 + i, 12) for i in range(8)]
    wanted = [sessions[0](x) for x in inputs]
    matrices = [np.random.default_rng(i).standard_normal((5, 4 + i), np.float32) for i in range(8)]
    places = [host(matrix) for matrix in matrices]

    def work(i):
        for _ in range(15):
            # Threads read other rows or columns of the same image: sums come in one order.
            np.testing.assert_array_equal(sessions[i % 2](inputs[i]), wanted[i])
            np.testing.assert_array_equal(host(matrices[i]), places[i])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


@every_team
def test_errors_of_one_run_leave_others_alone(threads):
    session = sardonyx.Session(lookup(), threads=threads)

    def work(i):
        for _ in range(50):
            if i % 2:
                with pytest.raises(sardonyx.KernelError, match="lookup"):
                    session(np.array([i, 10 + i]))
            else:
                np.testing.assert_array_equal(session(np.array([i, -1])), [i, 9])

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))


def test_more_threads_than_cores():
    session = sardonyx.Session(convolution(), threads=3 * (os.cpu_count() or 1) + 1)
    x = images(3, 40, 40)
    wanted = sardonyx.Session(convolution(), threads=1)(x)
    for _ in range(5):
        np.testing.assert_allclose(session(x), wanted, rtol=1e-5, atol=1e-6)


@pytest.fixture
def heard():
    """Ctrl-C reaches Python, even where a shell started the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@every_team
@pytest.mark.usefixtures("heard")
def test_interrupted_sessions_run_again(threads):
    session = sardonyx.Session(long_chain(), threads=threads)
    x = np.random.default_rng(0).standard_normal((512, 512), np.float32)
    threading.Timer(0.1, _thread.interrupt_main).start()
    start = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        while time.perf_counter() - start < 60:
            session(x)
    np.testing.assert_array_equal(session(x), x)


@every_team
def test_cancelled_runs_say_so_and_can_be_repeated(threads):
    session = sardonyx.Session(long_chain(), threads=threads)
    x = np.random.default_rng(0).standard_normal((512, 512), np.float32)
    with session.engine.context((x.shape,)) as context:
        threading.Timer(0.05, context.cancel).start()
        start = time.perf_counter()
        with pytest.raises(sardonyx.KernelError, match="cancelled"):
            while time.perf_counter() - start < 60:
                context.run([x])
        np.testing.assert_array_equal(context.run([x])[0], x)


def one_long_step():
    node = oh.make_node("MatMul", ["x", "x"], ["y"])
    return make_model([node], ["n", "n"], {})


@every_team
@pytest.mark.usefixtures("heard")
def test_a_long_step_is_interrupted_and_cancelled_between_its_parts(threads):
    session = sardonyx.Session(one_long_step(), threads=threads)
    x = np.ones((4096, 4096), np.float32)
    session(x[:64, :64].copy())
    with session.engine.context((x.shape,)) as context:
        table = context.binding.steps[:, abi.STEP_PARTS]
        assert abi.SLICED_PARTS in table
        for end, error in (
            (_thread.interrupt_main, KeyboardInterrupt), (context.cancel, sardonyx.KernelError),
        ):  # fmt: skip
            timer = threading.Timer(0.2, end)
            timer.start()
            with pytest.raises(error):
                while True:
                    context.run([x])
            timer.join()
    small = np.eye(64, dtype=np.float32)
    np.testing.assert_array_equal(session(small), small)


def test_parts_of_a_long_step_give_what_the_whole_gives():
    x = np.random.default_rng(0).standard_normal((1500, 1500), np.float32)
    wanted = None
    for threads in (1, 2, 3):
        session = sardonyx.Session(one_long_step(), threads=threads)
        with session.engine.context((x.shape,)) as context:
            assert abi.SLICED_PARTS in context.binding.steps[:, abi.STEP_PARTS]
        found = session(x)
        wanted = found if wanted is None else wanted
        np.testing.assert_array_equal(found, wanted)
    np.testing.assert_allclose(wanted, x @ x, rtol=1e-3, atol=1e-2)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@every_team
def test_forked_while_others_run(threads):
    session = sardonyx.Session(convolution(), threads=threads)
    x, going = images(2, 30, 30), True
    wanted = session(x)

    def work():
        while going:
            session(x)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(3):
            child = os.fork()
            if child == 0:
                signal.alarm(30)  # a child that hangs ends by itself
                same = all(np.array_equal(session(x), wanted) for _ in range(3))
                os._exit(0 if same else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        going = False
        worker.join()
    np.testing.assert_array_equal(session(x), wanted)


def test_pickled_sessions_run_in_other_processes():
    session = sardonyx.Session(convolution(), threads=2)
    inputs = [images(n, 9, 8) for n in (1, 2, 3)]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(session, inputs))
    for a, x in zip(found, inputs, strict=True):
        np.testing.assert_allclose(a, session(x), rtol=1e-5, atol=1e-6)


def test_results_are_the_callers_own():
    """Later runs do not write into what earlier ones gave, nor into their inputs."""
    session = sardonyx.Session(convolution(), threads=2)
    inputs = [images(1, 9, 8), images(2, 9, 8)]
    copies = [x.copy() for x in inputs]
    results = [session(x) for x in inputs]
    kept = [y.copy() for y in results]
    for x in inputs:
        session(x)[:] = 0
    for a, b in zip([*inputs, *results], [*copies, *kept], strict=True):
        np.testing.assert_array_equal(a, b)


def test_buffers_lie_in_the_arena_however_little_it_grows():
    nodes = [oh.make_node("Relu", ["x"], ["a"]), oh.make_node("ReduceSum", ["a"], ["y"])]
    session = sardonyx.Session(make_model(nodes, ["N"], {}), threads=1)
    for n in range(16, 1600, 16):  # a cache line more each time
        x = np.ones(n, np.float32)
        with session.engine.context((x.shape,)) as context:
            arena, buffers = context.binding.arena, context.program.buffers
            members = np.flatnonzero(buffers[:, abi.BUFFER_KIND] == abi.ARENA)
            sizes = [context.binding.value(i) for i in buffers[members, abi.BUFFER_SIZE]]
            start = arena.ctypes.data
            for base, size in zip(context.binding.bases[members], sizes, strict=True):
                assert start <= base and base + size <= start + arena.nbytes


def chain(sizes, seed=0) -> tuple[bytes, np.ndarray]:
    """Model whose steps are of these sizes, one after the other, and what it gives for ones.

    Each step reads what all threads, or one of them, wrote in the step before.
    """
    rng = np.random.default_rng(seed)
    nodes, weights, value = [], {}, np.ones((1, sizes[0]), np.float32)
    for i, (n, m) in enumerate(pairwise(sizes)):
        weights[f"w{i}"] = rng.standard_normal((n, m)).astype(np.float32) / np.float32(np.sqrt(n))
        name = "y" if i == len(sizes) - 2 else f"v{i}"
        nodes.append(oh.make_node("MatMul", [f"v{i - 1}" if i else "x", f"w{i}"], [name]))
        value = value @ weights[f"w{i}"]
    return make_model(nodes, [1, sizes[0]], weights), value


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize(
    "sizes",
    [
        [8] * 30,
        [700, 900, 4, 8, 4, 900, 4, 900, 700, 4],
        [8, 4, 900, 700, 4, 700, 4],
        [700, 900, 700],
    ],
    ids=["small", "mixed", "small at the ends", "large"],
)
def test_small_steps_between_large_ones_see_what_came_before(sizes, threads):
    model, expected = chain(sizes)
    session = sardonyx.Session(model, threads=threads)
    with session.engine.context(((1, sizes[0]),)) as context:
        ends = context.binding.steps[:, abi.STEP_END]
        alone = ends > np.arange(len(ends))
    work = np.array([n * m for n, m in pairwise(sizes)])
    assert alone[work <= 64].all()
    assert not alone[work > 50_000].any()
    x = np.ones((1, sizes[0]), np.float32)
    error = 2e-5 * np.abs(expected).max()  # of weights of 24 bits
    for _ in range(300):
        np.testing.assert_allclose(session(x), expected, rtol=0, atol=error)
    profile = session.profile({"x": x}, runs=3)
    assert all((step.times_ns >= 0).all() for step in profile.steps)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_an_error_in_a_run_of_small_steps_stops_the_steps_after_it(threads):
    nodes = [
        oh.make_node("Relu", ["x"], ["a"]),
        oh.make_node("Gather", ["a", "i"], ["b"]),
        oh.make_node("Softmax", ["b"], ["y"]),
    ]
    inputs = [oh.make_tensor_value_info("x", 1, [4]), oh.make_tensor_value_info("i", 7, [3])]
    graph = oh.make_graph(nodes, "g", inputs, [oh.make_tensor_value_info("y", 1, [3])])
    model = oh.make_model(graph, ir_version=9, opset_imports=[oh.make_opsetid("", 17)])
    session = sardonyx.Session(model, threads=threads)
    x = np.zeros(4, np.float32)
    for _ in range(20):
        with pytest.raises(sardonyx.KernelError, match=r"Gather.*index 9 out of range"):
            session.run(None, {"x": x, "i": np.array([0, 9, 1])})
        (y,) = session.run(None, {"x": x, "i": np.array([0, 3, 1])})
        np.testing.assert_allclose(y, 1 / 3, rtol=1e-6)


@pytest.mark.parametrize("count", range(5))
def test_a_view_of_what_data_decide_about(rng, count):
    """Where as many elements as axes are found, their places have the same shape either way."""
    nodes = [
        oh.make_node("NonZero", ["x"], ["places"]),
        oh.make_node("Transpose", ["places"], ["y"], perm=[1, 0]),
    ]
    x = np.zeros((3, 4), np.float32)
    x.flat[rng.choice(12, count, replace=False)] = 1
    found = sardonyx.Session(make_model(nodes, [3, 4], {}))(x)
    np.testing.assert_array_equal(found, np.argwhere(x))
