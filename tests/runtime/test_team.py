"""Teams: memory that outlives them, and right results wherever their threads run."""

from __future__ import annotations

import gc
import os
import random
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import helper as oh
from sardonyx.runtime import options, team
from sardonyx.runtime.team import Team


def test_a_team_that_ends_leaves_memory_that_is_used_again_alone():
    for _ in range(20):
        mine = Team(4)
        time.sleep(0.002)  # the workers sleep by now
        mine.stop()
        del mine
        later = [np.full(72, 7, np.int64) for _ in range(8)]
        time.sleep(0.002)
        assert all((array == 7).all() for array in later)


def convolutions() -> bytes:
    """Model of steps long enough to be shared, with short ones between."""
    rng = np.random.default_rng(0)
    nodes, weights = [], []
    for i in range(6):
        kernel = rng.standard_normal((16, 16, 3, 3), np.float32) / 12
        weights.append(onnx.numpy_helper.from_array(kernel, f"w{i}"))
        nodes.append(oh.make_node("Conv", [f"x{i}", f"w{i}"], [f"c{i}"], pads=[1] * 4))
        nodes.append(oh.make_node("Softmax", [f"c{i}"], [f"x{i + 1}"], axis=1 + i % 3))
    graph = oh.make_graph(
        nodes,
        "convolutions",
        [oh.make_tensor_value_info("x0", 1, [1, 16, 24, 24])],
        [onnx.ValueInfoProto(name="x6")],
        weights,
    )
    opsets = [oh.make_opsetid("", 22)]
    return oh.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="threads cannot be pinned here")
def test_results_are_right_while_callers_compete_and_move_between_processors():
    model = convolutions()
    x = np.random.default_rng(1).standard_normal((1, 16, 24, 24), np.float32)
    (expected,) = sardonyx.Session(model, threads=1).run(None, {"x0": x})
    sessions = [sardonyx.Session(model, threads=threads) for threads in (2, 3, 5)]
    processors = os.sched_getaffinity(0)
    end = time.monotonic() + 2

    def call(seed: int) -> int:
        chance, wrong = random.Random(seed), 0
        while time.monotonic() < end:
            (y,) = chance.choice(sessions).run(None, {"x0": x})
            wrong += not np.array_equal(y, expected)
            if chance.random() < 0.05:
                time.sleep(chance.random() * 0.002)  # workers may sleep meanwhile
            if chance.random() < 0.05:
                few = {chance.choice(sorted(processors))}
                os.sched_setaffinity(0, few if chance.random() < 0.5 else processors)
        os.sched_setaffinity(0, processors)
        return wrong

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(call, range(4))) == [0] * 4


_SHARED = """
import numpy as np
from sardonyx.kernels import abi
from sardonyx.kernels.cpu.team import _can_be_shared

for state in (abi.AWAKE, abi.ASLEEP, abi.WOKEN):
    words = np.zeros(abi.TEAM_LINES + 2 * abi.LINE_WORDS, np.int64)
    other = abi.TEAM_LINES + abi.LINE_WORDS
    words[other + abi.LINE_ASLEEP] = state
    words[other + abi.LINE_PROCESSOR] = -2  # another than the caller's
    for parts in (abi.SLICED_PARTS, abi.MANY_PARTS, abi.FEW_PARTS):
        print(bool(_can_be_shared(words.ctypes.data, 0, 2, parts)))
"""


def test_a_long_step_is_shared_whatever_the_others_do_when_it_begins():
    """A short step is over before who has been woken comes.

    In a process of its own: where kernels were compiled, numba has no code of what they call.
    """
    child = subprocess.run(
        [sys.executable, "-c", _SHARED], check=True, capture_output=True, text=True
    )
    asleep = ["True", "True", "False"]
    assert child.stdout.split() == ["True", "True", "True", *asleep, *asleep]


# --- number of threads ------------------------------------------------------------------------


def workers(size):
    """Count the threads of teams of a size that nothing else in the tests uses."""
    names = {f"sardonyx-{thread}" for thread in range(1, size)}
    return sum(thread.name in names for thread in threading.enumerate())


def settled_workers(size):
    """Count them when those of sessions that are gone have ended."""
    gc.collect()
    count = workers(size)
    while time.sleep(0.05) or workers(size) != count:
        count = workers(size)
    return count


def wait_until_gone(count):
    end = time.monotonic() + 10
    while (left := workers(SIZE) - count) and time.monotonic() < end:
        time.sleep(0.01)
    return left


SIZE = 9


def test_threads_end_with_the_last_session_that_uses_them():
    model = convolutions()
    x = np.zeros((1, 16, 24, 24), np.float32)
    before = settled_workers(SIZE)
    first, second = (sardonyx.Session(model, threads=SIZE) for _ in range(2))
    for session in (first, second):
        session.run(None, {"x0": x})
    assert workers(SIZE) == before + SIZE - 1  # one team, lent to both
    del first, session
    gc.collect()
    assert workers(SIZE) == before + SIZE - 1
    del second
    gc.collect()
    assert wait_until_gone(before) == 0


def test_threads_end_when_a_session_is_closed_and_come_back_with_the_next_run():
    before = settled_workers(SIZE)
    with sardonyx.Session(convolutions(), threads=SIZE) as session:
        x = np.ones((1, 16, 24, 24), np.float32)
        (expected,) = session.run(None, {"x0": x})
        session.close()
        assert wait_until_gone(before) == 0
        np.testing.assert_array_equal(session.run(None, {"x0": x})[0], expected)
    assert wait_until_gone(before) == 0


def test_closing_in_the_midst_of_the_runs_of_others_changes_nothing():
    session = sardonyx.Session(convolutions(), threads=3)
    x = np.ones((1, 16, 24, 24), np.float32)
    (expected,) = session.run(None, {"x0": x})
    end = time.monotonic() + 1

    def work(closes):
        wrong = 0
        while time.monotonic() < end:
            if closes:
                session.close()
            else:
                wrong += not np.array_equal(session.run(None, {"x0": x})[0], expected)
        return wrong

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, [True, False, False, True])) == [0] * 4


@pytest.mark.parametrize("threads", [0, -1, options.MOST_THREADS + 1, 1000, 10**9, 2.0, "2"])
def test_a_number_of_threads_out_of_bounds_is_refused(threads, monkeypatch):
    match = f"at most {options.MOST_THREADS}"
    with pytest.raises(sardonyx.InvalidArgument, match=match):
        sardonyx.Session(convolutions(), threads=threads)
    monkeypatch.setenv("SARDONYX_THREADS", str(threads) if threads != "2" else "two")
    with pytest.raises(sardonyx.InvalidArgument, match=match):
        sardonyx.Session(convolutions())


def test_a_machine_of_many_processors_gets_as_many_threads_as_a_step_has_parts(monkeypatch):
    monkeypatch.setattr(options, "available_processors", lambda: 1000)
    monkeypatch.delenv("SARDONYX_THREADS", raising=False)
    assert options.checked_options(None, "fp32", "all")[0] == options.MOST_THREADS


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()])
def test_threads_that_cannot_start_are_said_and_the_others_end(monkeypatch, error):
    class Thread(threading.Thread):
        def start(self):
            if self.name == "sardonyx-5":
                raise error
            super().start()

    team.stop_idle(SIZE)
    before = settled_workers(SIZE)  # of teams that other tests keep
    assert wait_until_gone(before) == 0
    session = sardonyx.Session(convolutions(), threads=SIZE)
    x = np.ones((1, 16, 24, 24), np.float32)
    with monkeypatch.context() as patch:
        patch.setattr(team.threading, "Thread", Thread)
        with pytest.raises(sardonyx.KernelError, match=r"thread 6 of 9 cannot be started"):
            session.run(None, {"x0": x})
    assert wait_until_gone(before) == 0
    session.run(None, {"x0": x})
