"""A process can be forked, and can end, whatever its other threads are in."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest
from sardonyx.forks import ForkLock, fork_lock

from ..children import forked

PREPARATION = """
import os, signal, sys, threading, time
import numpy as np, onnx
from onnx import helper as oh

def build(*nodes, shape=("n",), **weights):
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
    x = oh.make_tensor_value_info("x", 1, shape)
    graph = oh.make_graph(nodes, "g", [x], [onnx.ValueInfoProto(name="y")], tensors)
    opsets = [oh.make_opsetid("", 22)]
    return oh.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
"""

OPENED_IN_A_THREAD = f"""{PREPARATION}
import sardonyx
model = build(
    oh.make_node("LeakyRelu", ["x"], ["a"], alpha=0.37), oh.make_node("CumSum", ["a", "z"], ["y"]),
    z=np.array(0),
)
delay, warm = float(sys.argv[1]), sys.argv[2] == "warm"
if warm:
    sardonyx.Session(build(oh.make_node("Sin", ["x"], ["y"])), threads=1)
opener = threading.Thread(target=lambda: sardonyx.Session(model, threads=1))
opener.start()
time.sleep(delay)
child = os.fork()
if not child:
    signal.alarm(100)
    y = sardonyx.Session(model, threads=1).run(None, {{"x": np.ones(3, np.float32)}})[0]
    os._exit(0 if y.tolist() == [1, 2, 3] else 1)
status = os.waitpid(child, 0)[1]
opener.join()
assert status == 0, status
"""

RUN_AT_THE_END = f"""{PREPARATION}
import sardonyx
w = np.ones((16, 3, 3, 3), np.float32), np.ones((16, 16, 3, 3), np.float32)
model = build(
    oh.make_node("Conv", ["x", "v"], ["a"], pads=[1] * 4),
    oh.make_node("Conv", ["a", "w"], ["y"], pads=[1] * 4),
    shape=("n", 3, "h", "w"), v=w[0], w=w[1],
)
session = sardonyx.Session(model, threads=int(sys.argv[1]))
x = np.ones((16, 3, 256, 256), np.float32)
session.run(None, {{"x": x[:1, :, :9, :9].copy()}})
def run_for_ever():
    while True:
        session.run(None, {{"x": x}})
for _ in range(int(sys.argv[2])):
    threading.Thread(target=run_for_ever, daemon=True).start()
time.sleep(float(sys.argv[3]))
"""

OPENED_AT_THE_END = f"""{PREPARATION}
def open_one():
    import sardonyx
    node = oh.make_node("LeakyRelu", ["x"], ["y"], alpha=0.37)
    sardonyx.Session(build(node), threads=2)
for _ in range(2):
    threading.Thread(target=open_one, daemon=True).start()
time.sleep(float(sys.argv[1]))
"""


def status_of(code, *arguments, **environment):
    """Exit status of a process, and what it wrote of errors."""
    path = os.pathsep.join(filter(None, sys.path))
    run = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )
    return run.returncode, run.stderr


pytestmark = pytest.mark.usefixtures("own_cache")  # in which the kernels of 0.37 are never kept


@pytest.mark.parametrize(("how", "delay"), [("cold", 0.05), ("cold", 1.2), ("warm", 0.3)])
def test_a_process_forked_while_another_thread_opens_a_session_is_usable(how, delay):
    assert status_of(OPENED_IN_A_THREAD, delay, how) == (0, "")


@pytest.mark.parametrize(("threads", "callers"), [(1, 1), (2, 2)])
def test_the_interpreter_ends_during_runs_of_daemon_threads(threads, callers):
    for delay in (0, 0.1):
        assert status_of(RUN_AT_THE_END, threads, callers, delay) == (0, "")


RUN_IN_MANY_WAYS = f"""{PREPARATION}
import ctypes, random
chance = random.Random(int(sys.argv[1]))
threads, callers = chance.choice([1, 2]), chance.choice([2, 4])
import sardonyx
model = build(*(oh.make_node("Conv", [x, "w"], [y], pads=[1] * 4) for x, y in ("xa", "ab", "by")),
    shape=("n", 16, "h", "w"), w=np.ones((16, 16, 3, 3), np.float32))
session = sardonyx.Session(model, threads=threads)
def call():
    while True:
        session.run(None, {{"x": np.ones((1, 16, 16, 16), np.float32)}})
def call_long():
    while True:
        session.run(None, {{"x": np.ones((16, 16, 256, 256), np.float32)}})
def call_async():
    session.run_async(None, {{"x": np.ones((1, 16, 16, 16), np.float32)}})
    time.sleep(100)
def open_one():
    while True:
        other = sardonyx.Session(model, threads=threads)
        other.run(None, {{"x": np.ones((1, 16, 8, 8), np.float32)}})
for work in [*chance.choices([call, call_long], k=callers), call_async, open_one]:
    threading.Thread(target=work, daemon=True).start()
time.sleep(chance.random() / 10)
if chance.random() < 0.5:
    child = os.fork()
    if child:
        status = os.waitpid(child, 0)[1]
        assert status == 0, status
    else:
        signal.alarm(100)
        session.run(None, {{"x": np.ones((1, 16, 8, 8), np.float32)}})
"""

JOINED_BY_A_CALLBACK = f"""{PREPARATION}
import atexit
ending, results = threading.Event(), []
def join():
    ending.set()
    thread.join()
    if not results:
        os._exit(1)
atexit.register(join)
import sardonyx
session = sardonyx.Session(build(oh.make_node("LeakyRelu", ["x"], ["y"])), threads=2)
def run_to_the_end():
    ending.wait()
    time.sleep(0.1)
    results.append(session.run(None, {{"x": np.ones(9, np.float32)}}))
thread = threading.Thread(target=run_to_the_end, daemon=True)
thread.start()
"""

SIGNALS_AFTER_THE_END = """
import ctypes
from sardonyx.kernels.builtin import signal_poll
assert ctypes.CDLL(None).__cxa_atexit(ctypes.c_void_p(signal_poll()), None, None) == 0
"""


@pytest.mark.parametrize("seed", range(4))
def test_the_interpreter_ends_whatever_its_daemon_threads_are_in(seed):
    assert status_of(RUN_IN_MANY_WAYS, seed, MALLOC_PERTURB_="165") == (0, "")


def test_callbacks_of_atexit_may_wait_for_runs_of_other_threads():
    assert status_of(JOINED_BY_A_CALLBACK) == (0, "")


def test_a_walk_that_looks_for_signals_after_the_interpreter_has_ended_finds_none():
    assert status_of(SIGNALS_AFTER_THE_END) == (0, "")


@pytest.mark.parametrize("delay", [0.1, 1.2])
def test_the_interpreter_ends_while_daemon_threads_open_sessions(delay):
    assert status_of(OPENED_AT_THE_END, delay) == (0, "")


# --- the lock ---------------------------------------------------------------------------------


def take():
    with fork_lock, fork_lock:
        pass


def test_a_fork_waits_until_others_have_given_the_lock_up():
    taken, given = threading.Event(), []

    def hold():
        with fork_lock:
            taken.set()
            time.sleep(0.3)
            given.append(True)

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait()
    assert forked(lambda: (take(), given[0]), 20) == 0
    thread.join()
    take()


def test_a_thread_that_takes_the_lock_again_and_again_lets_a_fork_through():
    end = time.monotonic() + 5

    def hold():
        while time.monotonic() < end and not stop:
            with fork_lock:
                time.sleep(0.01)

    stop = []
    thread = threading.Thread(target=hold)
    thread.start()
    assert forked(take, 20) == 0
    stop.append(True)
    left = end - time.monotonic()
    thread.join()
    assert left > 0


def test_a_thread_forks_with_the_lock():
    with fork_lock:
        assert forked(take, 20) == 0
    assert forked(take, 20) == 0


def test_a_fork_that_waited_for_too_long_makes_the_lock_anew(monkeypatch):
    monkeypatch.setattr("sardonyx.forks._PATIENCE_SECONDS", 0.05)
    lock, taken, done = ForkLock(), threading.Event(), threading.Event()

    def hold():
        with lock:
            taken.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait()
    lock.before_fork()

    def take_anew():
        lock.after_in_child()
        with lock:
            pass

    assert forked(take_anew, 20) == 0
    lock.after_in_parent()
    done.set()
    thread.join()
    with lock:
        pass


def test_state_of_all_threads_is_not_locked_for_ever_in_a_child():
    from sardonyx.logs import exclusive, silenced

    taken, done = threading.Event(), threading.Event()

    def hold():
        with exclusive:
            taken.set()
            done.wait()

    def silence():
        with silenced("some"):
            pass

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait()
    assert forked(silence, 20) == 0
    done.set()
    thread.join()
    with exclusive:
        assert forked(silence, 20) == 0
