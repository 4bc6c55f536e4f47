"""What others could have written is not used; what is used was written by who has the secret."""

from __future__ import annotations

import multiprocessing
import os
import time
from pathlib import Path

import pytest
from sardonyx.kernels import folders
from sardonyx.kernels.folders import Folder

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def root(tmp_path):
    """Make a root with a file two levels below."""
    folder = tmp_path / "root"
    folder.mkdir(mode=0o700)
    with Folder(str(folder), "a", "b") as inner:
        assert inner.write("file", [b"text"])
    return folder


@pytest.fixture(autouse=True)
def _every_warning(monkeypatch):
    monkeypatch.setattr(folders, "_warned", set())


def found(root):
    """Read the file as the cache does; None where that is refused."""
    try:
        with Folder(str(root), "a", "b") as inner:
            return inner.read("file")
    except OSError:
        return None


LEVELS = pytest.mark.parametrize("level", ["", "a", "a/b", "a/b/file"])


@LEVELS
@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_what_others_may_write_to_is_refused_at_every_level(root, level, mode):
    assert found(root) == b"text"
    (root / level).chmod(mode)
    with pytest.warns(RuntimeWarning, match="others may write to it"):
        assert found(root) is None


@as_root
@LEVELS
def test_what_belongs_to_another_user_is_refused_at_every_level(root, level):
    os.chown(root / level, 12345, 12345)
    with pytest.warns(RuntimeWarning, match="belongs to another user"):
        assert found(root) is None


@pytest.mark.parametrize("level", ["a", "a/b", "a/b/file"])
def test_links_are_not_followed_below_the_root(root, level):
    path = root / level
    path.rename(root / "moved")
    path.symlink_to(root / "moved")
    assert found(root) is None


def test_the_root_may_be_a_link(root, tmp_path):
    (tmp_path / "link").symlink_to(root)
    assert found(tmp_path / "link") == b"text"


def test_what_is_no_file_is_refused_at_once(root):
    path = root / "a" / "b" / "file"
    path.unlink()
    os.mkfifo(path)
    assert found(root) is None
    path.unlink()
    path.mkdir()
    assert found(root) is None


def test_levels_and_files_are_for_their_owner_whatever_the_mask(tmp_path):
    root = tmp_path / "root"
    root.mkdir(mode=0o700)
    before = os.umask(0)
    try:
        with Folder(str(root), "a", "b") as inner:
            inner.write("file", [b"text"])
    finally:
        os.umask(before)
    modes = {p.relative_to(root).as_posix(): p.stat().st_mode & 0o777 for p in root.rglob("*")}
    assert modes == {"a": 0o700, "a/b": 0o700, "a/b/file": 0o600, "secret": 0o600}


def test_a_file_that_cannot_be_written_leaves_nothing_behind(root, monkeypatch):
    def full(*_, **__):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full)
    with Folder(str(root), "a") as folder:
        assert not folder.write("other", [b"1"])
    assert sorted(p.name for p in (root / "a").iterdir()) == ["b"]


# --- digests ----------------------------------------------------------------------------------


def digest(root, *parts):
    with Folder(str(root)) as folder:
        return folder.digest(*parts)


def test_digests_depend_on_the_secret_and_on_every_part(root, tmp_path):
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    digests = [
        digest(root, b"key", b"text"),
        digest(root, b"key", b"tex"),
        digest(root, b"keyt", b"ext"),
        digest(root, b"keytext"),
        digest(other, b"key", b"text"),
    ]
    assert len(set(digests)) == len(digests)
    assert digest(root, b"key", b"text") == digests[0]


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 33])
def test_a_damaged_secret_is_replaced(root, damage):
    before = digest(root, b"")
    (root / "secret").write_bytes(damage)
    after = digest(root, b"")
    assert after == digest(root, b"") != before


def test_a_secret_that_others_could_read_or_write_is_replaced(root):
    before = digest(root, b"")
    (root / "secret").chmod(0o666)
    with pytest.warns(RuntimeWarning, match="secret"):
        assert digest(root, b"") != before
    assert (root / "secret").stat().st_mode & 0o777 == 0o600


def _send_digest(root, barrier, queue):
    barrier.wait()
    queue.put(digest(root, b""))


def test_processes_that_begin_together_have_one_secret(tmp_path):
    context = multiprocessing.get_context("fork")
    for number in range(5):
        root = tmp_path / str(number)
        root.mkdir(mode=0o700)
        barrier, queue = context.Barrier(4), context.SimpleQueue()
        arguments = (root, barrier, queue)
        children = [context.Process(target=_send_digest, args=arguments) for _ in range(4)]
        for child in children:
            child.start()
        assert len({queue.get() for _ in children}) == 1
        for child in children:
            child.join()
        assert sorted(path.name for path in root.iterdir()) == ["secret"]


def _make(root, log):
    with Folder(str(root)) as folder, folder.making("file"):
        if folder.read("file") is None:
            time.sleep(0.1)
            with open(log, "a") as file:
                file.write("made\n")
            folder.write("file", [b"1"])


def test_a_file_is_made_by_one_process(root, tmp_path):
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_make, args=(root, tmp_path / "log")) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert Path(tmp_path / "log").read_text() == "made\n"


def test_a_process_that_takes_too_long_is_not_waited_for(root, tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "_PATIENCE_SECONDS", 0.05)
    child = multiprocessing.get_context("fork").Process(target=_hold, args=(root, tmp_path / "on"))
    child.start()
    while not (tmp_path / "on").exists():
        time.sleep(0.01)
    with Folder(str(root)) as folder, folder.making("file"):
        assert child.is_alive()
    child.kill()
    child.join()


def _hold(root, on):
    with Folder(str(root)) as folder, folder.making("file"):
        on.touch()
        time.sleep(60)
