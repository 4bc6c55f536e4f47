"""Compilation of many kernels by two processes, one from each end of their list.

numba compiles under a lock, so threads would only wait for each other. The two processes meet
in the middle: kernels that the other one has put into the cache are loaded from there. Those of one
module follow each other: what they share is compiled once.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from ..forks import fork_lock
from .compiler import kernel_address, kernel_folder, load_cached
from .ref import KernelRef

FEW = 3
"""Kernels that one process compiles alone: another one takes a second to start."""
_bar = threading.Lock()
"""Held by who shows the progress bar: others compile without one."""


def compile_all(refs: Iterable[KernelRef]) -> None:
    """Load kernels, compiling those that are not cached, with a progress bar on a terminal."""
    missing = sorted(load_cached(refs), key=lambda ref: (ref.module, ref.function))
    if not missing:
        return
    with _second_process([ref for ref in missing[::-1] if not ref.is_local]):
        if sys.stderr.isatty() and _bar.acquire(blocking=False):
            try:
                _compile_with_bar(missing)
            finally:
                _bar.release()
        else:
            for ref in missing:
                kernel_address(ref)


def _compile_with_bar(refs: Sequence[KernelRef]) -> None:
    with fork_lock:
        from rich.console import Console
        from rich.progress import track
    # A console of its own: rich has one live display on each, perhaps the application's.
    console = Console(stderr=True)
    for ref in track(refs, "compiling kernels", console=console, transient=True):
        kernel_address(ref)


@contextmanager
def _second_process(refs: Sequence[KernelRef]) -> Iterator[None]:
    """Let a child compile kernels into the cache meanwhile; the caller compiles what is missing."""
    alone = len(os.sched_getaffinity(0)) < 2 or not _has_folder()
    if alone or len(refs) <= FEW or not sys.executable:
        yield
        return
    with fork_lock:
        import subprocess

    names = json.dumps([[ref.module, ref.function, ref.parameters] for ref in refs])
    code = f"import {__name__} as this; this.serve()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        child = subprocess.Popen(
            [sys.executable, "-P", "-c", code, names],  # and no module of the current folder
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        yield
        return
    atexit.register(child.kill)
    try:
        yield
    finally:
        atexit.unregister(child.kill)
        child.kill()
        child.wait()


def _has_folder() -> bool:
    folder = kernel_folder()
    if folder is not None:
        folder.close()
    return folder is not None


def serve() -> None:
    """Compile the kernels named on the command line, as the child."""
    for module, function, parameters in json.loads(sys.argv[1]):
        kernel_address(KernelRef(module, function, tuple(parameters)))
