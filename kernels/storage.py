"""Cache folder, which outlives a process: compiled code, programs, and results of detection.

It is a folder of executable code, so it is used only when its owner is the current user and
nobody else may write to it. Files are written atomically.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path

_SETTLED_NS = 2_000_000_000
"""How long ago a file must have changed for its times to tell it from later versions."""


def cache_folder() -> Path | None:
    """Return the folder, or None when none can be trusted.

    ``SARDONYX_CACHE`` names another folder; ``SARDONYX_CACHE=off`` turns the cache off.
    """
    chosen = os.environ.get("SARDONYX_CACHE", "")
    if chosen == "off":
        return None
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = chosen or os.path.join(base, "sardonyx")
    try:
        try:
            info = os.stat(folder)
        except FileNotFoundError:
            Path(folder).mkdir(parents=True, exist_ok=True, mode=0o700)
            info = os.stat(folder)
    except OSError:
        return None
    if info.st_uid != os.getuid() or info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return None
    return Path(folder)


PRIVATE, SHARED = 0o600, 0o666
"""Who may read and write a file, as far as the process's mask allows it."""


def write_atomically(path: Path, chunks: Iterable[bytes | memoryview], mode: int = PRIVATE) -> bool:
    """Write a file so that readers see all of it or nothing; False when the disk refuses."""
    temporary = path.parent / f".tmp-{os.urandom(8).hex()}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except OSError:
        return False
    try:
        with os.fdopen(handle, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        return False
    return True


def remembered(question: str | None, find: Callable[[], str]) -> str:
    """Return the answer to a question, which is computed once and stored.

    Parameters
    ----------
    question : str, optional
        States everything the answer depends on; None to compute it anew.
    find : callable
        Computes the answer, one line of text. What it raises is passed on, and nothing is stored.
    """
    folder = cache_folder()
    if question is None or folder is None:
        return find()
    path = _answer_path(folder, question)
    with contextlib.suppress(OSError, UnicodeDecodeError):
        answer, end, _ = path.read_text().partition("\n")
        if end:
            return answer
    answer = find()
    write_atomically(path, [f"{answer}\n".encode()])
    return answer


def forget(question: str | None) -> None:
    """Let a question be answered anew."""
    folder = cache_folder()
    if question is not None and folder is not None:
        with contextlib.suppress(OSError):
            _answer_path(folder, question).unlink()


def _answer_path(folder: Path, question: str) -> Path:
    return folder / "answers" / hashlib.sha256(question.encode()).hexdigest()[:40]


def state_of(paths: Iterable[str | os.PathLike[str]]) -> str | None:
    """Describe files so that a change of one of them changes the description.

    The times of last change count, which programs cannot set back, and answers from before
    the machine was last started do not: a crash may have lost changes.

    Returns
    -------
    str or None
        None when a file changed within the last seconds, or is not there: a second change might
        show the same times.
    """
    states: list[tuple[int, ...]] = []
    for path in paths:
        try:
            info = os.stat(path)
        except OSError:
            return None
        times = info.st_mtime_ns, info.st_ctime_ns
        states.append((*times, info.st_dev, info.st_ino, info.st_size))
    newest = max((max(state[:2]) for state in states), default=0)
    return f"{_boot()} {states}" if newest < time.time_ns() - _SETTLED_NS else None


@functools.cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
