"""Compilation of many kernels by two processes, one from each end of their list.

numba compiles under a lock, so threads would only wait for each other. The two processes meet
in the middle: kernels that the other one has put into the cache are loaded from there.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from .compiler import kernel_address, load_cached
from .ref import KernelRef
from .storage import cache_folder

_FEW = 3


def compile_all(refs: Iterable[KernelRef]) -> None:
    """Load kernels, compiling those that are not cached, with a progress bar on a terminal."""
    missing = load_cached(refs)
    if not missing:
        return
    from rich.progress import track

    shown = sys.stderr.isatty()
    with _second_process(missing[::-1]):
        for ref in track(missing, "compiling kernels", transient=True, disable=not shown):
            kernel_address(ref)


@contextmanager
def _second_process(refs: Sequence[KernelRef]) -> Iterator[None]:
    """Let a child compile kernels into the cache meanwhile; the caller compiles what is missing."""
    alone = len(os.sched_getaffinity(0)) < 2 or cache_folder() is None
    if alone or len(refs) <= _FEW or not sys.executable:
        yield
        return
    import subprocess

    names = json.dumps([[ref.module, ref.function, ref.parameters] for ref in refs])
    code = f"import {__name__} as this; this.serve()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        child = subprocess.Popen(
            [sys.executable, "-c", code, names],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        yield
        return
    try:
        yield
    finally:
        child.kill()
        child.wait()


def serve() -> None:
    """Compile the kernels named on the command line, as the child."""
    for module, function, parameters in json.loads(sys.argv[1]):
        kernel_address(KernelRef(module, function, tuple(parameters)))
