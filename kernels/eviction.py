"""Eviction from the cache folder: entries of other versions first, then those unused for longest.

Entries are programs, and folders of kernels that were compiled from the same sources. The name of
a program begins with the digest of the sources that made it, up to a dash; a folder's name is
that digest. When an entry was last
used is the time of a stamp beside it: the entries' own times tell whether they were changed.

Processes that use a removed entry go on: mapped pages and loaded code stay, and a missing entry is
created again. Processes that remove at the same time only remove a little more.
"""

from __future__ import annotations

import contextlib
import os
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .folders import PRIVATE
from .storage import cache_folder

_DEFAULT = 8 << 30
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_STAMP = ".used"
_PROGRAMS = (".program", ".sdx")  # the second one of older versions
# What a process leaves behind when it is killed while it writes.
_ABANDONED_SECONDS = 3600
# Answers are a line each; those about deleted files are never looked up again.
_ANSWER_SECONDS = 180 * 24 * 3600
# Down to this part of the limit, so that not every file that is written removes another.
_ROOM = 0.9
# So much may be written, as a part of the limit, before the folder is looked through again.
_UNSEEN = 1 / 32


def limit() -> int:
    """Most bytes of the cache folder: ``SARDONYX_CACHE_LIMIT``, such as ``4G``, or 8 GiB."""
    text = os.environ.get("SARDONYX_CACHE_LIMIT", "").strip()
    if not text:
        return _DEFAULT
    number = text.upper().removesuffix("B").removesuffix("I")
    unit = number[-1:] if number[-1:] in _UNITS else ""
    try:
        size = float(number.removesuffix(unit)) * _UNITS[unit]
        if 0 <= size < 1 << 62:
            return int(size)
    except ValueError:
        pass
    warnings.warn(f"SARDONYX_CACHE_LIMIT={text!r} is no size such as 4G; 8G is used", stacklevel=2)
    return _DEFAULT


def mark_used(path: Path) -> None:
    """Note that an entry is used now."""
    stamp = _stamp_of(path)
    with contextlib.suppress(OSError):
        try:
            os.utime(stamp)
        except FileNotFoundError:
            stamp.touch(mode=PRIVATE)


def _stamp_of(path: Path) -> Path:
    return path.with_suffix(_STAMP)


@dataclass
class _Entry:
    path: Path
    size: int
    used: float
    maker: str

    def remove(self) -> None:
        import shutil

        shutil.rmtree(self.path, ignore_errors=True)
        for path in (self.path, _stamp_of(self.path)):
            with contextlib.suppress(OSError):
                path.unlink()


def _entries(folder: Path) -> Iterator[_Entry]:
    """List entries that may be removed; removes temporary files that were abandoned."""
    for name in ("programs", "kernels"):
        for entry in _scan(folder / name):
            path = Path(entry.path)
            if path.suffix in _PROGRAMS or entry.is_dir(follow_symlinks=False):
                yield _Entry(path, *_held(path, _stamp_of(path)), path.name.partition("-")[0])
            else:
                _remove_old(entry, _ABANDONED_SECONDS, ".tmp-")


def held_bytes(folder: Path) -> dict[str, int]:
    """Return the bytes on disk of the programs and of the kernels in a cache folder."""
    held = {"programs": 0, "kernels": 0}
    for entry in _entries(folder):
        held[entry.path.parent.name] += entry.size
    return held


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    """List what a folder of this user holds; nothing where a link is in its place."""
    try:
        if folder.is_symlink() or folder.lstat().st_uid != os.geteuid():
            return []
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _held(*paths: Path) -> tuple[int, float]:
    """Bytes on disk of files, or of what a folder holds, and the time of the latest."""
    size, latest = 0, 0.0
    for path in paths:
        for each in _scan(path) if path.is_dir() else [path]:
            with contextlib.suppress(OSError):
                info = each.stat()
                size += info.st_blocks * 512
                latest = max(latest, info.st_mtime)
    return size, latest


def _remove_old(entry: os.DirEntry[str], seconds: float, prefix: str = "") -> None:
    with contextlib.suppress(OSError):
        if entry.name.startswith(prefix) and entry.stat().st_mtime < time.time() - seconds:
            os.unlink(entry.path)


class _Unseen:
    """Bytes this process has written since it looked through the folder; None: never."""

    bytes: int | None = None


def written(path: Path, current: str) -> None:
    """Make room after an entry was written, which itself stays.

    Parameters
    ----------
    path : Path
        What was written.
    current : str
        Key of this process's kernels (``compiler.environment_key``).
    """
    mark_used(path)
    folder = cache_folder()
    if folder is None:
        return
    with contextlib.suppress(OSError):
        if _Unseen.bytes is not None:
            _Unseen.bytes += path.stat().st_blocks * 512
    most = limit()
    if _Unseen.bytes is None or _Unseen.bytes > most * _UNSEEN:
        _Unseen.bytes = 0
        trim(folder, most, path, current)


def trim(folder: Path, most: int, protected: Path, current: str) -> None:
    """Remove entries until a folder holds at most ``most`` bytes, and half the disk stays free.

    Neither ``protected`` nor the kernels in use are removed.
    """
    import shutil

    entries = list(_entries(folder))
    held = sum(entry.size for entry in entries)
    with contextlib.suppress(OSError):
        most = min(most, (held + shutil.disk_usage(folder).free) // 2)
    if held <= most:
        return
    for answer in _scan(folder / "answers"):
        _remove_old(answer, _ANSWER_SECONDS)
    makers = {current, protected.name.partition("-")[0]}
    entries.sort(key=lambda entry: (entry.maker in makers, entry.used))
    for entry in entries:
        if held <= most * _ROOM:
            break
        if entry.path != protected and entry.path.name != current:
            entry.remove()
            held -= entry.size
