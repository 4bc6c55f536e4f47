"""Runs in the background, and sessions that share their weights."""

import asyncio
import gc
import os
import pickle
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import CancelledError, wait

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import helper as oh
from sardonyx.runtime import background
from sardonyx.runtime.processors import available_processors


def make_model(seed=0):
    weights = np.random.default_rng(seed).standard_normal((8, 3, 3, 3), np.float32)
    nodes = [
        oh.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1], name="conv"),
        oh.make_node("Relu", ["a"], ["y"], name="relu"),
    ]
    graph = oh.make_graph(
        nodes,
        "test",
        [oh.make_tensor_value_info("x", 1, ["N", 3, "H", "W"])],
        [oh.make_tensor_value_info("y", 1, None)],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    made = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 17)], ir_version=8)
    return made.SerializeToString()


MODEL = make_model()


def images(seed=0, n=1):
    return np.random.default_rng(seed).standard_normal((n, 3, 10 + seed % 5, 12), np.float32)


@pytest.fixture
def own_workers(monkeypatch):
    """Give a test workers of its own."""
    monkeypatch.setattr(background, "_workers", {})


@pytest.fixture
def gate(monkeypatch):
    """Hold back the runs of a session until the gate is opened."""
    gate = threading.Event()
    run = sardonyx.Session.run

    def held(self, *args):
        assert gate.wait(60)
        return run(self, *args)

    monkeypatch.setattr(sardonyx.Session, "run", held)
    yield gate
    gate.set()


@pytest.mark.parametrize("threads", [1, 2])
def test_many_requests_give_what_serial_runs_give(threads):
    sessions = [sardonyx.Session(make_model(i), threads=threads) for i in range(3)]
    inputs = [images(i, 1 + i % 3) for i in range(12)]
    futures = [
        (session, x, session.run_async(["y"], {"x": x}))
        for _ in range(5)
        for x in inputs
        for session in sessions
    ]
    for session, x, future in futures:
        np.testing.assert_array_equal(future.result(60)[0], session(x))


def test_first_runs_at_the_same_time(tmp_path):
    """What a process makes once for all runs is made by one of them."""
    (tmp_path / "model.onnx").write_bytes(MODEL)
    code = (
        "import numpy as np, sardonyx, threading\n"
        "session = sardonyx.Session('model.onnx', threads=1)\n"
        "x = np.ones((1, 3, 9, 9), np.float32)\n"
        "def work():\n"
        "    for _ in range(200): session(x)\n"
        "threads = [threading.Thread(target=work) for _ in range(4)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
    )
    for _ in range(3):
        subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=300)


def test_requests_from_many_threads():
    session = sardonyx.Session(MODEL, threads=1)
    wrong = []

    def work(seed):
        x = images(seed)
        wanted = session(x)
        futures = [session.run_async(None, {"x": x}) for _ in range(20)]
        wrong.extend(seed for f in futures if not np.array_equal(f.result(60)[0], wanted))

    callers = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


def test_as_many_run_at_once_as_there_are_processors_for(own_workers, gate, monkeypatch):
    monkeypatch.setattr(background, "available_processors", lambda: 6)
    session = sardonyx.Session(MODEL, threads=2)
    futures = [session.run_async(None, {"x": images()}) for _ in range(8)]
    assert len(background._workers[2]._threads) == 3
    gate.set()
    assert not wait(futures, 60).not_done
    # The threads stay, and no more come.
    session.run_async(None, {"x": images()}).result(60)
    assert len(background._workers[2]._threads) == 3
    for workers in background._workers.values():
        workers.close()


def test_errors_are_raised_by_the_result():
    session = sardonyx.Session(MODEL)
    for feeds, message in [
        ({"x": images()[0]}, "expected 4 dimensions"),
        ({}, "missing"),
        ([images()], "mapping"),
    ]:
        with pytest.raises(sardonyx.InvalidArgument, match=message):
            session.run_async(None, feeds).result(60)
    with pytest.raises(sardonyx.InvalidArgument, match="no output"):
        session.run_async(["z"], {"x": images()}).result(60)


def test_the_callback_is_onnxruntimes():
    session = sardonyx.Session(MODEL)
    heard = []
    done = threading.Event()

    def callback(results, user_data, error):
        heard.append((results, user_data, error, threading.current_thread()))
        done.set()

    x = images()
    session.run_async(None, {"x": x}, callback, "mine")
    assert done.wait(60)
    ((results, user_data, error, thread),) = heard
    np.testing.assert_array_equal(results[0], session(x))
    assert (user_data, error) == ("mine", "")
    assert thread is not threading.current_thread()
    done.clear()
    session.run_async(None, {"x": x[0]}, callback, 7)
    assert done.wait(60)
    assert heard[1][:2] == ([], 7)
    assert "expected 4 dimensions" in heard[1][2]


def test_a_callback_that_raises_disturbs_no_other_run(caplog):
    session = sardonyx.Session(MODEL)

    def callback(*_):
        raise ValueError("in the callback")

    future = session.run_async(None, {"x": images()}, callback)
    assert future.result(60)[0].shape == (1, 8, 10, 12)
    session.run_async(None, {"x": images()}).result(60)
    assert "in the callback" in caplog.text


def test_runs_can_be_awaited():
    session = sardonyx.Session(MODEL, threads=1)
    inputs = [images(seed) for seed in range(6)]

    async def all_of_them():
        runs = [asyncio.wrap_future(session.run_async(None, {"x": x})) for x in inputs]
        return await asyncio.gather(*runs)

    for x, (found,) in zip(inputs, asyncio.run(all_of_them()), strict=True):
        np.testing.assert_array_equal(found, session(x))


def test_a_request_that_waits_can_be_cancelled(own_workers, gate):
    session = sardonyx.Session(MODEL, threads=available_processors())
    heard = []
    first = session.run_async(None, {"x": images()})
    second = session.run_async(None, {"x": images()}, lambda *outcome: heard.append(outcome), 1)
    assert second.cancel()
    gate.set()
    first.result(60)
    with pytest.raises(CancelledError):
        second.result(60)
    assert heard == [([], 1, "the run was cancelled before it began")]


def test_requests_keep_their_session_alive_and_idle_threads_do_not():
    session = sardonyx.Session(MODEL)
    future = session.run_async(None, {"x": images()})
    alive = weakref.ref(session)
    del session
    future.result(60)
    end = time.monotonic() + 60
    while alive() is not None and time.monotonic() < end:
        gc.collect()
        time.sleep(0.01)
    assert alive() is None


def test_sessions_with_requests_are_pickled_and_closed():
    session = sardonyx.Session(MODEL)
    x = images()
    future = session.run_async(None, {"x": x})
    again = pickle.loads(pickle.dumps(session))
    session.close()
    np.testing.assert_array_equal(again.run_async(None, {"x": x}).result(60)[0], session(x))
    future.result(60)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_has_workers_of_its_own():
    session = sardonyx.Session(MODEL, threads=2)
    x = images()
    wanted = session.run_async(None, {"x": x}).result(60)[0]
    child = os.fork()
    if child == 0:
        try:
            found = session.run_async(None, {"x": x}).result(60)[0]
            os._exit(0 if np.array_equal(found, wanted) else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(session.run_async(None, {"x": x}).result(60)[0], wanted)


ENDINGS = {
    "idle workers": "future.result(); print('end')",
    "requests that run and wait": "print('end')",
    "an exception": "print('end', flush=True); sys.exit(3)",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_interpreter_ends_without_hanging(ending, tmp_path):
    (tmp_path / "model.onnx").write_bytes(MODEL)
    code = (
        "import sys, numpy as np, sardonyx\n"
        "session = sardonyx.Session('model.onnx', threads=1)\n"
        "x = np.zeros((16, 3, 512, 512), np.float32)\n"
        "for _ in range(500): future = session.run_async(None, {'x': x[:1, :, :9, :9]})\n"
        "future.result()\n"
        "for _ in range(500): future = session.run_async(None, {'x': x})\n"
    )
    code += "future.cancel()\n" if ending == "idle workers" else ""
    code += ENDINGS[ending].replace("future.result(); ", "")
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == (3 if "exception" in ending else 0), done.stderr
    assert (done.stdout.strip(), done.stderr) == ("end", "")


def test_no_request_is_taken_after_the_end(own_workers):
    session = sardonyx.Session(MODEL, threads=1)
    session.run_async(None, {"x": images()}).result(60)
    background._close_all()
    with pytest.raises(sardonyx.KernelError, match="ending"):
        session.run_async(None, {"x": images()})


@pytest.mark.parametrize("cached", [True, False])
def test_sessions_of_one_model_share_their_weights(cached, monkeypatch):
    if not cached:
        monkeypatch.setattr("sardonyx.runtime.program_cache.opened_folder", lambda *_: None)
    model = make_model(100 + cached)
    first, second = sardonyx.Session(model, threads=1), sardonyx.Session(model, threads=2)
    strict = sardonyx.Session(model, precision="strict")
    assert np.shares_memory(first.engine.program.weights, second.engine.program.weights)
    assert not np.shares_memory(first.engine.program.weights, strict.engine.program.weights)
    x = images()
    np.testing.assert_allclose(first(x), second(x), rtol=1e-5, atol=1e-6)
    program = weakref.ref(first.engine.program)
    del first, second
    gc.collect()
    assert program() is None


def test_a_thread_that_cannot_start_is_said_or_done_without(own_workers, monkeypatch):
    session = sardonyx.Session(MODEL, threads=1)

    class Thread(threading.Thread):
        def start(self):
            raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(background.threading, "Thread", Thread)
        with pytest.raises(sardonyx.KernelError, match="can't start new thread"):
            session.run_async(None, {"x": images()})
    session.run_async(None, {"x": images()}).result(60)
    with monkeypatch.context() as patch:
        patch.setattr(background.threading, "Thread", Thread)
        futures = [session.run_async(None, {"x": images()}) for _ in range(4)]
        for future in futures:
            np.testing.assert_allclose(future.result(60)[0], session(images()))
