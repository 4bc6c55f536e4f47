"""Cache of kernels' machine code for GPUs (cubins), which are loaded without a compiler.

They lie in the folder of ``storage``, as the CPU's kernels do (``compiler``), and carry a digest of
their key and contents that is keyed by the folder's secret. The key covers the sources of all
kernels, the versions of what compiles them, and the compute capability.
"""

from __future__ import annotations

import functools
import hashlib
import json
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from ...errors import KernelError, reason
from ...forks import fork_lock
from .. import eviction
from ..compiler import OF_GPUS, SOURCES, sources_digest
from ..folders import DIGEST_BYTES, Folder
from ..precompile import progress
from ..ref import KernelRef
from ..storage import opened_folder
from .kernel import CudaKernel

_MAGIC = b"sardonyx-cubin-1\n"
_COMPILERS = ("numba", "numba-cuda", "llvmlite", "nvidia-nvvm", "nvidia-nvjitlink")


class Cubin(NamedTuple):
    """Machine code of a kernel.

    Attributes
    ----------
    entry : str
        Its name in the code.
    code : bytes
        What a driver loads.
    """

    entry: str
    code: bytes


@functools.cache
def environment_key(target: str) -> str:
    """Digest of what the code of every kernel for a target depends on."""
    from importlib.metadata import version

    versions = [version(name) for name in _COMPILERS]
    parts = sources_digest(*SOURCES, OF_GPUS), versions, sys.version_info[:2], target
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]


def cubins(kernels: Iterable[CudaKernel], capability: tuple[int, int]) -> dict[KernelRef, Cubin]:
    """Return the code of kernels for GPUs of a compute capability.

    What is not in the cache is compiled, which shows its progress on a terminal: one kernel is
    translated while the one before is assembled in another thread.

    Raises
    ------
    KernelError
        A kernel does not compile, or no compiler is installed.
    """
    target = "sm_{}{}".format(*capability)
    folder = _folder(target)
    try:
        found, missing = {}, []
        for kernel in kernels:
            code = None if folder is None else _read(folder, kernel.ref, target)
            if code is None:
                missing.append(kernel)
            else:
                found[kernel.ref] = code
        if missing:
            found |= _made(missing, capability, target, folder)
        return found
    finally:
        if folder is not None:
            folder.close()


def _folder(target: str) -> Folder | None:
    folder = opened_folder("kernels", environment_key(target))
    if folder is not None:
        _mark_used(folder.path)
    return folder


@functools.cache
def _mark_used(path: Path) -> None:
    eviction.mark_used(path)


# --- files ----------------------------------------------------------------------------------------


def _name(ref: KernelRef) -> str:
    return f"{hashlib.sha256(repr(ref).encode()).hexdigest()[:32]}.cubin"


def _key(ref: KernelRef, target: str) -> bytes:
    return f"{environment_key(target)} {ref!r}".encode()


def _read(folder: Folder, ref: KernelRef, target: str) -> Cubin | None:
    data = folder.read(_name(ref)) or b""
    head = len(_MAGIC) + DIGEST_BYTES
    body = data[head:]
    digest = data[len(_MAGIC) : head]
    if data[: len(_MAGIC)] != _MAGIC or not folder.is_digest(digest, _key(ref, target), body):
        return None
    line, _, code = body.partition(b"\n")
    [entry] = json.loads(line)
    return Cubin(entry, code)


def _write(folder: Folder, ref: KernelRef, target: str, cubin: Cubin) -> None:
    body = json.dumps([cubin.entry]).encode() + b"\n" + cubin.code
    folder.write(_name(ref), (_MAGIC, folder.digest(_key(ref, target), body), body))


# --- compilation ----------------------------------------------------------------------------------


def _made(
    kernels: list[CudaKernel], capability: tuple[int, int], target: str, folder: Folder | None
) -> dict[KernelRef, Cubin]:
    """Compile kernels, and store each as soon as it is done."""
    found: dict[KernelRef, Cubin] = {}
    failures: list[KernelError] = []
    before: threading.Thread | None = None
    with progress(len(kernels)) as advance:

        def finish(ref: KernelRef, ptx: bytes, entry: str) -> None:
            from .compilation import assembled

            try:
                found[ref] = Cubin(entry, assembled(ptx))
            except Exception as error:
                failures.append(_refused(ref, error))
                return
            if folder is not None:
                _write(folder, ref, target, found[ref])
            advance()

        for kernel in kernels:
            ptx, entry = _translated(kernel, capability)
            if before is not None:
                before.join()
            before = _in_thread(finish, kernel.ref, ptx, entry)
        if before is not None:
            before.join()
    if failures:
        raise failures[0]
    return found


def _translated(kernel: CudaKernel, capability: tuple[int, int]) -> tuple[bytes, str]:
    try:
        with fork_lock:
            from .compilation import compiled

            ptx, entry = compiled(kernel, capability)
    except ImportError as error:
        raise KernelError(
            f"the kernel {kernel.ref} is not in the cache, and there is no compiler: "
            f"{reason(error)}; install it with: pip install 'sardonyx[cuda]'"
        ) from error
    except Exception as error:
        raise _refused(kernel.ref, error) from error
    return ptx, entry.decode()


def _refused(ref: KernelRef, error: Exception) -> KernelError:
    return KernelError(f"the kernel {ref} does not compile: {reason(error)}")


def _in_thread(function: Callable[..., None], *arguments: object) -> threading.Thread | None:
    """Call a function in a thread, or at once where none begins any more."""
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the interpreter is ending
        function(*arguments)
        return None
    return thread
