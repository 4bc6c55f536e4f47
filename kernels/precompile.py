"""Compilation of many kernels by two processes, one from each end of their list.

numba compiles under a lock, so threads would only wait for each other. The other process is a fork,
which has everything imported; it writes kernels into the cache, where the first one finds them, and
ends when they meet. Kernels of one module follow each other: what they share is compiled once.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from ..forks import fork_lock
from .compiler import kernel_address, kernel_folder, load_cached
from .ref import KernelRef

FEW = 3
"""Kernels that one process compiles alone."""
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
    child = 0 if alone or len(refs) <= FEW else _fork(refs)
    try:
        yield
    finally:
        if child:
            with suppress(OSError):  # somebody else has waited for it
                if os.waitpid(child, os.WNOHANG)[0] == 0:
                    os.kill(child, signal.SIGKILL)
                    os.waitpid(child, 0)


def _fork(refs: Sequence[KernelRef]) -> int:
    """Fork a child that compiles kernels; returns its number, 0 where there is none."""
    with fork_lock, warnings.catch_warnings():
        from .numba_compiler import ready_for_fork

        # Other threads may hold locks, but of nothing that the child comes to.
        warnings.simplefilter("ignore")
        with ready_for_fork():
            try:
                child = os.fork()
            except OSError:
                return 0
            if child == 0:
                _serve(refs)
    return child


def _serve(refs: Sequence[KernelRef]) -> None:
    """Compile kernels as the child, which ends here and does nothing else of the parent's."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        parent = os.getppid()
        for ref in refs:
            if os.getppid() != parent:
                break
            kernel_address(ref)
    finally:
        os._exit(0)


def _has_folder() -> bool:
    folder = kernel_folder()
    if folder is not None:
        folder.close()
    return folder is not None
