"""Cache folder, which outlives a process: compiled code, programs, and results of detection.

It is a folder of executable code, so it is used only when its owner is the current user and
nobody else may write to it (``folders``).
"""

from __future__ import annotations

import functools
import hashlib
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from .folders import Folder, warn_once

_SETTLED_NS = 2_000_000_000
"""How long ago a file must have changed for its times to tell it from later versions."""
_ANSWERS = "answers"
_FORMAT = "2\n"
"""Answers of other formats, which other versions keep in the same folder, have other names."""


def cache_folder() -> Path | None:
    """Return the folder, or None when none can be trusted.

    ``SARDONYX_CACHE`` names another folder; ``SARDONYX_CACHE=off`` turns the cache off.
    """
    folder = opened_folder()
    if folder is None:
        return None
    with folder:
        return folder.path


def opened_folder(*names: str) -> Folder | None:
    """Open a folder in the cache folder, which is made where it is missing; None as above."""
    root = _root(*map(os.environ.get, ("SARDONYX_CACHE", "XDG_CACHE_HOME", "HOME")))
    if root is None:
        return None
    try:
        try:
            return Folder(root, *names)
        except FileNotFoundError:
            make_folder(root)
            return Folder(root, *names)
    except OSError as error:
        if error.errno is not None:  # of what is not private there was a warning
            warn_once(f"nothing is cached in {root}: {error.strerror}")
        return None


def make_folder(path: str) -> None:
    """Make a folder and those above it, for this user alone whatever the process's mask says."""
    parent = os.path.dirname(path)
    if not os.path.isdir(parent):
        make_folder(parent)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if not os.path.isdir(path):
            raise


@functools.lru_cache(maxsize=1)
def _root(chosen: str | None, base: str | None, home: str | None) -> str | None:
    """Return the place of the cache folder by what the environment says."""
    if chosen == "off":
        return None
    if not (base and os.path.isabs(base)):
        base = os.path.join(os.path.expanduser("~") if home is None else home, ".cache")
    root = os.path.abspath(chosen) if chosen else os.path.join(base, "sardonyx")
    if not os.path.isabs(root):
        warn_once("no home folder is known, so nothing is cached: set SARDONYX_CACHE to a folder")
        return None
    return root


def remembered(question: str | None, find: Callable[[], str]) -> str:
    """Return the answer to a question, which is computed once and stored.

    Parameters
    ----------
    question : str, optional
        States everything the answer depends on; None to compute it anew.
    find : callable
        Computes the answer, one line of text. What it raises is passed on, and nothing is stored.
    """
    folder = None if question is None else opened_folder(_ANSWERS)
    if question is None or folder is None:
        return find()
    with folder:
        known = _read(folder, question)
        if known is not None:
            return known
        text = find()
        _write(folder, question, text)
        return text


def replaced(question: str, text: str) -> None:
    """Store an answer in place of the one that there is, perhaps."""
    folder = opened_folder(_ANSWERS)
    if folder is not None:
        with folder:
            _write(folder, question, text)


def _write(folder: Folder, question: str, text: str) -> None:
    asked, answer = question.encode(), text.encode()
    folder.write(_name(question), [folder.digest(asked, answer), b" ", answer, b"\n"])


def recalled(question: str) -> str | None:
    """Return the answer to a question if it is stored."""
    folder = opened_folder(_ANSWERS)
    if folder is None:
        return None
    with folder:
        return _read(folder, question)


def _read(folder: Folder, question: str) -> str | None:
    digest, _, line = (folder.read(_name(question)) or b"").partition(b" ")
    answer = line.removesuffix(b"\n")
    return answer.decode() if folder.is_digest(digest, question.encode(), answer) else None


def forget(question: str | None) -> None:
    """Let a question be answered anew."""
    folder = None if question is None else opened_folder(_ANSWERS)
    if question is not None and folder is not None:
        with folder:
            folder.remove(_name(question))


def _name(question: str) -> str:
    return hashlib.sha256((_FORMAT + question).encode()).hexdigest()[:40]


def state_of(files: Iterable[str | os.PathLike[str] | int]) -> str | None:
    """Describe files so that a change of one of them changes the description.

    The times of last change count, which programs cannot set back, and answers from before
    the machine was last started do not: a crash may have lost changes.

    Parameters
    ----------
    files
        Paths or descriptors.

    Returns
    -------
    str or None
        None when a file changed within the last seconds, or is not there: a second change might
        show the same times.
    """
    states: list[tuple[int, ...]] = []
    for file in files:
        try:
            info = os.stat(file)
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
