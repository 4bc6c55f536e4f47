"""The cache folder stays below a limit, and nobody is harmed by what is removed."""

from __future__ import annotations

import os

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import helper
from sardonyx.kernels import compiler, eviction, storage

KIB = 1024


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("SARDONYX_CACHE", str(folder))
    monkeypatch.setattr(eviction._Unseen, "bytes", None)
    return folder


def write(path, kib, used):
    """Write a file of random bytes, last used at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(kib * KIB))
    os.utime(path, (used, used))
    return path


def left(cache):
    return sorted(
        path.relative_to(cache).as_posix()
        for path in cache.rglob("*")
        if path.is_file() and path.suffix != ".used" and path.name != "secret"
    )


def trim(cache, kib, kept="programs/now-new.program", current="made"):
    write(cache / kept, 64, 1)
    eviction.trim(cache, kib * KIB, cache / kept, current)
    return left(cache)


@pytest.mark.parametrize(
    ("text", "size"),
    [("", 8 << 30), ("4G", 4 << 30), ("1.5 GiB", 3 << 29), ("300m", 300 << 20), ("2048", 2048),
     ("0", 0), ("7kb", 7 << 10)],
)  # fmt: skip
def test_the_limit_has_a_unit(monkeypatch, text, size):
    monkeypatch.setenv("SARDONYX_CACHE_LIMIT", text)
    assert eviction.limit() == size


@pytest.mark.parametrize("text", ["much", "-1G", "nan", "1e99", "G", "4X"])
def test_a_limit_that_is_none_is_warned_of(monkeypatch, text):
    monkeypatch.setenv("SARDONYX_CACHE_LIMIT", text)
    with pytest.warns(UserWarning, match="SARDONYX_CACHE_LIMIT"):
        assert eviction.limit() == 8 << 30


def test_below_the_limit_nothing_is_removed(cache):
    write(cache / "programs" / "old-a.program", 64, 5)
    assert len(trim(cache, 1000)) == 2


def test_what_other_versions_made_goes_first_then_what_was_used_least(cache):
    write(cache / "programs" / "now-old.program", 64, 10)
    write(cache / "programs" / "now-late.program", 64, 90)
    write(cache / "programs" / "flat.program", 64, 80)
    write(cache / "programs" / "old-late.program", 64, 99)
    write(cache / "kernels" / "gone" / "a.o", 64, 95)
    write(cache / "kernels" / "made" / "b.o", 64, 1)
    always = ["kernels/made/b.o", "programs/now-new.program"]
    late, old = "programs/now-late.program", "programs/now-old.program"
    assert trim(cache, 400) == sorted([*always, late, old, "programs/old-late.program"])
    assert trim(cache, 300) == sorted([*always, late, old])
    assert trim(cache, 220) == sorted([*always, late])
    assert trim(cache, 0) == always
    assert not (cache / "kernels" / "gone").exists()


def test_a_use_counts_and_changes_no_file(cache):
    first = write(cache / "programs" / "now-a.program", 64, 10)
    write(cache / "programs" / "now-b.program", 64, 20)
    before = first.stat()
    for _ in range(2):
        eviction.mark_used(first)
    assert (first.stat().st_mtime_ns, first.stat().st_ctime_ns) == (
        before.st_mtime_ns,
        before.st_ctime_ns,
    )
    assert trim(cache, 150) == ["programs/now-a.program", "programs/now-new.program"]
    eviction._Entry(first, 0, 0, "").remove()
    assert not (cache / "programs" / "now-a.used").exists()


def test_half_the_disk_stays_free(cache, monkeypatch):
    write(cache / "programs" / "now-a.program", 64, 10)
    usage = type("Usage", (), {"free": 0})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    assert trim(cache, 10**6) == ["programs/now-new.program"]


def test_what_a_killed_process_left_is_removed(cache):
    write(cache / "programs" / ".tmp-old", 1, 5)
    fresh = cache / "programs" / ".tmp-fresh"
    fresh.write_bytes(b"1")
    assert trim(cache, 1000) == ["programs/.tmp-fresh", "programs/now-new.program"]


def test_old_answers_go_when_room_is_needed(cache):
    storage.remembered("old", lambda: "1")
    (old,) = (cache / "answers").iterdir()
    storage.remembered("new", lambda: "1")
    os.utime(old, (5, 5))
    assert len(trim(cache, 1000)) == 3
    assert len(trim(cache, 0)) == 2
    assert not old.exists()


def test_the_folder_is_looked_through_only_when_much_was_written(cache, monkeypatch):
    monkeypatch.setenv("SARDONYX_CACHE_LIMIT", "3200K")
    looked = []
    monkeypatch.setattr(eviction, "trim", lambda *given: looked.append(given[2].name))
    for number in range(6):
        path = write(cache / "programs" / f"now-{number}.program", 40, number)
        eviction.written(path, "made")
    assert looked == ["now-0.program", "now-3.program"]


def addition(weight):
    """Give the bytes of a model that adds 100 000 numbers."""
    tensor = onnx.numpy_helper.from_array(np.full(100_000, weight, np.float32), "w")
    x, y = (helper.make_tensor_value_info(name, 1, [100_000]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [x], [y], [tensor])
    made = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)])
    return made.SerializeToString()


def test_sessions_whose_programs_are_removed_go_on(cache, monkeypatch):
    monkeypatch.setenv("SARDONYX_CACHE_LIMIT", "1M")
    write(cache / "kernels" / "other" / "a.o", 64, 5)
    write(cache / "programs" / "other-a.program", 64, 6)
    # Of this version; the process may have its kernels already, and write none.
    write(cache / "kernels" / compiler.environment_key() / "a.o", 64, 4)
    sessions = [sardonyx.Session(addition(n), threads=1) for n in range(6)]
    programs = list((cache / "programs").glob("*.program"))
    assert 1 <= len(programs) <= 3
    assert not (cache / "kernels" / "other").exists()
    assert (cache / "kernels" / compiler.environment_key() / "a.o").exists()
    x = np.zeros(100_000, np.float32)
    for number, session in enumerate(sessions):
        assert (session(x) == number).all()
    again = sardonyx.Session(addition(0), threads=2)
    assert (again(x) == 0).all()


def test_a_program_that_another_process_removes_at_once_is_run_from_memory(cache, monkeypatch):
    from sardonyx.runtime import program_cache

    def save_and_lose(program, folder, name, key):
        saved = sardonyx.runtime.program_file.save_program(program, folder, name, key)
        folder.remove(name)
        return saved

    monkeypatch.setattr(program_cache, "save_program", save_and_lose)
    session = sardonyx.Session(addition(3), threads=1)
    assert (session(np.zeros(100_000, np.float32)) == 3).all()


def test_nothing_is_removed_through_a_link(cache, tmp_path):
    kept = write(tmp_path / "documents" / "letters" / "one.txt", 64, 1)
    (cache / "programs").mkdir()
    (cache / "kernels").symlink_to(tmp_path / "documents")
    eviction.trim(cache, 0, cache / "programs" / "now-new.program", "made")
    assert kept.exists()
