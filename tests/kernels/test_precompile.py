"""Kernels are compiled with a bar on a terminal, by any number of threads."""

from __future__ import annotations

import os
import sys
import threading
import time

import pytest
from rich.live import Live
from sardonyx.kernels import precompile
from sardonyx.kernels.compiler import load_cached
from sardonyx.kernels.ref import KernelRef

REFS = [KernelRef("kernels.cpu.words", str(number)) for number in range(3)]


@pytest.fixture
def compiled(monkeypatch):
    """List the kernels that are compiled, on what is taken for a terminal."""
    done = []

    def address(ref):
        time.sleep(0.02)
        done.append(ref)
        return 1

    monkeypatch.setattr(precompile, "load_cached", list)
    monkeypatch.setattr(precompile, "kernel_address", address)
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


def test_another_process_compiles_into_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SARDONYX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(precompile, "FEW", 1)
    refs = [
        KernelRef("kernels.pointwise", "pointwise", (f"add(x0,{n}.0)", "f32v f32v"))
        for n in (123456, 123457)
    ]
    with precompile._second_process(refs):
        end = time.monotonic() + 120
        while (missing := load_cached(refs)) and time.monotonic() < end:
            time.sleep(0.1)
    assert not missing
