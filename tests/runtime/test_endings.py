"""Runs are cancelled when the interpreter ends, and the end waits for them."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import helper as oh
from sardonyx.runtime import endings

from ..children import forked


@pytest.fixture
def session(monkeypatch):
    """Session whose runs alone are known here, with a run of seconds in another thread."""
    monkeypatch.setattr(endings, "_contexts", set())
    nodes = [oh.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 4)]
    weight = onnx.numpy_helper.from_array(np.ones((16, 16, 3, 3), np.float32), "w")
    x = oh.make_tensor_value_info("x", 1, ("n", 16, "h", "w"))
    graph = oh.make_graph(nodes, "g", [x], [onnx.ValueInfoProto(name="y")], [weight])
    model = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 22)], ir_version=10)
    return sardonyx.Session(model, threads=2)


@pytest.fixture
def run(session):
    errors = []

    def call():
        try:
            while True:
                session.run(None, {"x": np.ones((16, 16, 256, 256), np.float32)})
        except sardonyx.KernelError as error:
            errors.append(str(error))

    thread = threading.Thread(target=call)
    thread.start()
    while not any(context.is_walking for context in endings._living()):
        time.sleep(0.001)
    yield thread, errors
    session_contexts = endings._living()
    while thread.is_alive():
        for context in session_contexts:
            context.cancel()
        time.sleep(0.01)


def test_the_end_cancels_runs_and_waits_for_them(run, monkeypatch):
    monkeypatch.setattr(endings.fork_lock, "close", lambda: None)
    endings._end_runs()
    thread, errors = run
    thread.join(10)
    assert errors == ["the run was cancelled"]
    assert not any(context.is_walking for context in endings._living())


def test_the_end_does_not_wait_for_ever(run, monkeypatch):
    monkeypatch.setattr(endings.fork_lock, "close", lambda: None)
    monkeypatch.setattr(endings, "_PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(endings, "_are_quiet", lambda: False)
    endings._end_runs()


def test_a_forked_child_waits_for_no_run_of_its_parent(run):
    def none_walks():
        assert not any(context.is_walking for context in endings._living())

    assert forked(none_walks, 20) == 0


def test_contexts_are_forgotten_with_their_sessions(session):
    session.run(None, {"x": np.ones((1, 16, 8, 8), np.float32)})
    assert endings._living()
    session.shrink()
    assert not endings._contexts


def test_the_end_waits_for_a_session_that_is_being_opened_but_not_for_one_that_waits_for_it():
    opening, opened = threading.Event(), threading.Event()

    def open_one():
        with endings.awaited():
            opening.set()
            opened.wait()
            with endings.fork_lock:
                pass

    thread = threading.Thread(target=open_one)
    thread.start()
    opening.wait()
    assert not endings._are_quiet()
    with endings.fork_lock:
        opened.set()
        while not endings.fork_lock.is_awaited_by(thread.ident):
            time.sleep(0.001)
        assert thread.ident in endings._openers
        assert endings._are_quiet()
    thread.join()
    assert not endings._openers


def test_a_session_that_outlives_the_modules_ends_in_silence():
    code = """
import _thread, builtins, sys, types
import sardonyx
from sardonyx.tools.demo import DATA
session = sardonyx.Session(DATA / "digits.onnx", threads=2)
for keeper in (builtins, _thread, sys.modules.setdefault("keeper", types.ModuleType("keeper"))):
    keeper.kept = session
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
