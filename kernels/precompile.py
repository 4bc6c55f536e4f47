"""Compilation of many kernels by two threads, of which one translates and the other is in LLVM.

Python's half of a kernel's compilation needs the GIL, LLVM's does not: together they take as long
as two processes would, of which the second imports all packages again, and translates again what
its kernels share with others.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ..forks import fork_lock
from .compiler import Batch, kernel_address, load_cached
from .ref import KernelRef

_bar = threading.Lock()
"""Held by who shows the progress bar: others compile without one."""


def compile_all(refs: Iterable[KernelRef]) -> None:
    """Load kernels, compiling those that are not cached, with a progress bar on a terminal."""
    missing = sorted(load_cached(refs), key=lambda ref: (ref.module, ref.function))
    if len(missing) < 2:
        for ref in missing:
            kernel_address(ref)
        return
    with progress(len(missing)) as advance, Batch() as batch:
        for ref in missing:
            batch.add(ref, advance)


@contextmanager
def progress(count: int) -> Iterator[Any]:
    """Show a progress bar on a terminal; yields what is called for each kernel that is done."""
    if not (sys.stderr.isatty() and _bar.acquire(blocking=False)):
        yield lambda: None
        return
    try:
        with fork_lock:
            from rich.console import Console
            from rich.progress import Progress
        # A console of its own: rich has one live display on each, perhaps the application's.
        with Progress(console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("compiling kernels", total=count)
            yield lambda: bar.advance(task)
    finally:
        _bar.release()
