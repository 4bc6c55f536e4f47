"""Kernels are compiled with a bar on a terminal, by any number of threads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest
from rich.live import Live
from sardonyx.kernels import compiler, precompile
from sardonyx.kernels.compiler import load_cached
from sardonyx.kernels.ref import KernelRef

REFS = [KernelRef("kernels.cpu.words", str(number)) for number in range(3)]


@pytest.fixture
def compiled(monkeypatch):
    """List the kernels that are compiled, on what is taken for a terminal."""
    done = []

    class Batch:
        def __enter__(self):
            return self

        def add(self, ref, advance):
            time.sleep(0.02)
            done.append(ref)
            advance()

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(precompile, "load_cached", list)
    monkeypatch.setattr(precompile, "Batch", Batch)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    return done


def test_threads_that_compile_at_once_do_not_disturb_each_other(compiled):
    errors = []

    def work():
        try:
            precompile.compile_all(REFS)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert sorted(compiled) == sorted(4 * REFS)


def test_the_applications_own_display_is_left_alone(compiled):
    with Live("theirs"):
        precompile.compile_all(REFS)
    assert compiled == REFS


def sums(*numbers):
    """Kernels that no other test compiles."""
    return [
        KernelRef("kernels.pointwise", "pointwise", (f"add(x0,{n}.0)", "f32v f32v"))
        for n in numbers
    ]


def test_what_is_compiled_is_stored_and_loaded(tmp_path, monkeypatch):
    monkeypatch.setenv("SARDONYX_CACHE", str(tmp_path / "cache"))
    refs = sums(123456, 123457, 123458)
    precompile.compile_all(refs)
    assert load_cached(refs) == []
    monkeypatch.setattr(compiler, "_addresses", {})
    assert load_cached(refs) == []


def test_without_a_cache_kernels_are_compiled_too(monkeypatch):
    monkeypatch.setenv("SARDONYX_CACHE", "off")
    refs = sums(223456, 223457)
    precompile.compile_all(refs)
    assert compiler._addresses.keys() >= set(refs)


def test_an_error_of_translation_ends_the_batch(monkeypatch, tmp_path):
    monkeypatch.setenv("SARDONYX_CACHE", str(tmp_path / "cache"))
    good = sums(323456)
    with pytest.raises(AttributeError):
        precompile.compile_all([KernelRef("kernels.cpu.words", "no_such_kernel"), *good])


FORK = """
import os, threading, time
from sardonyx.kernels import compiler, precompile
from sardonyx.kernels.ref import KernelRef

def refs(first):
    names = [f"add(x0,{n}.0)" for n in range(first, first + 12)]
    return [KernelRef("kernels.pointwise", "pointwise", (name, "f32v f32v")) for name in names]

thread = threading.Thread(target=precompile.compile_all, args=(refs(1000),))
thread.start()
for i in range(6):
    time.sleep(0.1)
    child = os.fork()
    if child == 0:
        precompile.compile_all(refs(2000 + 100 * i)[:3])
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
thread.join()
assert compiler._addresses.keys() >= set(refs(1000))
print("done")
"""


def test_a_process_may_fork_while_a_thread_is_in_llvm(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK], capture_output=True, text=True, timeout=120,
        env={**os.environ, "SARDONYX_CACHE": str(tmp_path / "cache")},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr[-2000:]
