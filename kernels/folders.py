"""Private folders: code and answers that only the user who wrote them can have written.

Every level below the root is opened by its descriptor, without following links, and has to belong
to this user and be closed to the writes of others, as has every file; so nothing changes between
the look at it and its use. What is executed or believed carries a digest (HMAC) keyed by a secret
that lies in the root: a file put there by somebody who cannot read the secret is worth nothing.
Files are written atomically.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import hmac
import mmap
import os
import stat
import time
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

PRIVATE, SHARED = 0o600, 0o666
"""Who may read and write a file, as far as the process's mask allows it."""

DIGEST_BYTES = 64
"""Length of a digest."""

_SECRET, _SECRET_BYTES = "secret", 32
_LOCK = "lock"
_PATIENCE_SECONDS, _PAUSE_SECONDS = 60.0, 0.02
"""For another process that makes a file: a stopped one does not stop others for ever."""
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_FOLDER = os.O_RDONLY | os.O_DIRECTORY
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe in a file's place is not waited for
_warned: set[str] = set()


def warn_once(text: str) -> None:
    """Warn of something that stays as it is."""
    if text not in _warned:
        _warned.add(text)
        warnings.warn(text, RuntimeWarning, stacklevel=3)


def _open(
    path: str, shown: str, flags: int, is_kind: Callable[[int], bool], parent: int | None = None
) -> int:
    """Open a file or folder of this user that others cannot write to; returns its descriptor.

    Raises
    ------
    OSError
        It is not there, of another kind, or not private, of which there is a warning.
    """
    handle = os.open(path, flags, dir_fd=parent)
    try:
        info = os.fstat(handle)
        if not is_kind(info.st_mode):
            raise OSError(f"{shown} is of another kind")
        if info.st_uid != os.geteuid() or info.st_mode & _OTHERS_WRITE:
            warn_once(
                f"{shown} is not used as a cache: it belongs to another user, or others may "
                "write to it (chmod go-w)"
            )
            raise PermissionError(f"{shown} is not private")
    except OSError:
        os.close(handle)
        raise
    return handle


class Folder:
    """A folder at or below a private root, open; to be closed, or used in a ``with`` statement.

    Parameters
    ----------
    root : str
        It may be a link.
    *names : str
        Levels below it; those that are missing are made.

    Attributes
    ----------
    path : Path

    Raises
    ------
    OSError
        A level is not private, or cannot be made.
    """

    def __init__(self, root: str, *names: str) -> None:
        self.path = Path(root)
        self._root = root
        self._handle = _open(root, root, _FOLDER, stat.S_ISDIR)
        try:
            self._key = self._secret()
            for name in names:
                self._enter(name)
        except OSError:
            self.close()
            raise

    def _enter(self, name: str) -> None:
        self.path /= name
        parent = self._handle
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=parent)
        flags = _FOLDER | os.O_NOFOLLOW
        self._handle = _open(name, str(self.path), flags, stat.S_ISDIR, parent)
        os.close(parent)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._handle)

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- files --------------------------------------------------------------------------------

    def open(self, name: str) -> int:
        """Return a descriptor of a private file, for reading.

        Raises
        ------
        OSError
            There is none, or it is not private.
        """
        return _open(name, str(self.path / name), _FILE, stat.S_ISREG, self._handle)

    def read(self, name: str) -> bytes | None:
        """Return the contents of a private file, None where there is none."""
        try:
            with os.fdopen(self.open(name), "rb", buffering=0) as file:
                return file.read()
        except OSError:
            return None

    def write(self, name: str, chunks: Iterable[bytes | memoryview]) -> bool:
        """Write a private file atomically; False, and a warning, when the disk refuses."""
        try:
            _write(name, chunks, PRIVATE, self._handle)
        except OSError as error:
            warn_once(f"nothing new is kept in {self._root}: {error.strerror or error}")
            return False
        return True

    def remove(self, name: str) -> None:
        """Remove a file that may be gone already."""
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self._handle)

    @contextlib.contextmanager
    def making(self, name: str) -> Iterator[None]:
        """Wait until no other process makes the same file, for a while at most.

        One thread of a process at a time: its locks are all given up when one is.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        try:
            handle = os.open(_LOCK, flags, PRIVATE, dir_fd=self._handle)
        except OSError:  # a folder that is only read
            yield
            return
        end = time.monotonic() + _PATIENCE_SECONDS
        try:
            while not _is_locked(handle, zlib.crc32(name.encode())) and time.monotonic() < end:
                time.sleep(_PAUSE_SECONDS)
            yield
        finally:
            os.close(handle)

    # --- digests ------------------------------------------------------------------------------

    def digest(self, *parts: bytes) -> bytes:
        """Return the digest of some bytes, keyed by the secret: `DIGEST_BYTES` hexadecimal digits.

        Each part is digested first, so that it matters where one ends and the next begins.
        """
        text = b"".join(hashlib.sha256(part).digest() for part in parts)
        return hmac.digest(self._key, text, "sha256").hex().encode()

    def is_digest(self, found: bytes, *parts: bytes) -> bool:
        """Tell whether ``found`` is the digest of some bytes."""
        return hmac.compare_digest(found, self.digest(*parts))

    def _secret(self) -> bytes:
        """Read the root's secret; make one where there is none, or where it is damaged."""
        for _ in range(2):
            secret = self.read(_SECRET)
            if secret is not None and len(secret) == _SECRET_BYTES:
                return secret
            if secret is not None:
                self.remove(_SECRET)
            self._make_secret()
        raise OSError(f"{self.path / _SECRET} cannot be made")

    def _make_secret(self) -> None:
        """Put a secret in its place, unless another process has done so meanwhile."""
        name = _temporary()
        if not self.write(name, [os.urandom(_SECRET_BYTES)]):
            return
        handle = self._handle
        try:
            os.link(name, _SECRET, src_dir_fd=handle, dst_dir_fd=handle)
        except OSError:  # it is there by now, belongs to another, or there are no hard links
            with contextlib.suppress(OSError):
                if self.read(_SECRET) is None:
                    os.replace(name, _SECRET, src_dir_fd=handle, dst_dir_fd=handle)
        self.remove(name)


def _is_locked(handle: int, byte: int) -> bool:
    """Lock a byte of a file unless another process has; True where there are no locks, too."""
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN)
    return True


def write_atomically(path: Path, chunks: Iterable[bytes | memoryview], mode: int = PRIVATE) -> bool:
    """Write a file so that readers see all of it or nothing; False when the disk refuses."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        parent = os.open(path.parent, _FOLDER)
    except OSError:
        return False
    try:
        _write(path.name, chunks, mode, parent)
    except OSError:
        return False
    finally:
        os.close(parent)
    return True


def _write(name: str, chunks: Iterable[bytes | memoryview], mode: int, parent: int) -> None:
    temporary = _temporary()
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode, dir_fd=parent)
    try:
        with os.fdopen(handle, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
        os.replace(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=parent)
        raise


def _temporary() -> str:
    return f".tmp-{os.urandom(8).hex()}"


def mapped(handle: int) -> mmap.mmap:
    """Map an open file, read-only, and close it.

    Raises
    ------
    OSError, ValueError
        It cannot be mapped, or is empty.
    """
    try:
        return mmap.mmap(handle, 0, access=mmap.ACCESS_READ)
    finally:
        os.close(handle)
