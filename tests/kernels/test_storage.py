"""Answers are kept exactly as long as what they depend on."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from sardonyx.kernels import folders, storage


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SARDONYX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def answers(question, *values):
    """Ask as often as there are values, which would be found one after the other."""
    found = iter(values)
    return [storage.remembered(question, lambda: next(found)) for _ in values]


def test_an_answer_is_found_once():
    assert answers("a", "1", "2") == ["1", "1"]
    assert answers("b", "3") == ["3"]
    assert answers("a", "4") == ["1"]


def test_without_a_question_or_a_folder_it_is_found_anew(monkeypatch):
    assert answers(None, "1", "2") == ["1", "2"]
    monkeypatch.setenv("SARDONYX_CACHE", "off")
    assert answers("a", "1", "2") == ["1", "2"]


@pytest.mark.parametrize("at", [0, 30, 63, 64, 65, -2])
def test_an_answer_with_another_byte_is_found_again(cache, at):
    answers("a", "123")
    (path,) = (cache / "answers").iterdir()
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    assert answers("a", "4") == ["4"]
    assert answers("a", "5") == ["4"]


def test_the_answer_to_another_question_is_none(cache):
    answers("a", "1")
    (a,) = (cache / "answers").iterdir()
    answers("b", "2")
    (b,) = set((cache / "answers").iterdir()) - {a}
    b.write_bytes(a.read_bytes())
    assert answers("b", "3") == ["3"]


def test_an_answer_that_was_lost_on_its_way_to_the_disk_is_found_again(cache):
    answers("a", "123")
    for path in (cache / "answers").iterdir():
        path.write_bytes(b"12")
    assert answers("a", "4") == ["4"]


def test_a_failure_is_not_kept():
    def fail() -> str:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        storage.remembered("a", fail)
    assert answers("a", "1") == ["1"]


def test_what_is_kept_is_for_its_owner(cache):
    answers("a", "1")
    modes = {path.stat().st_mode & 0o777 for path in (cache / "answers").iterdir()}
    assert modes == {0o600}


def test_the_folder_and_those_above_it_are_for_their_owner_whatever_the_mask(tmp_path, monkeypatch):
    monkeypatch.setenv("SARDONYX_CACHE", str(tmp_path / "x" / "y"))
    before = os.umask(0)
    try:
        answers("a", "1")
    finally:
        os.umask(before)
    made = [tmp_path / "x", *(tmp_path / "x").rglob("*")]
    assert {path.stat().st_mode & 0o77 for path in made} == {0}


@pytest.mark.parametrize("home", [None, "", "relative"])
def test_without_a_home_nothing_is_written(tmp_path, monkeypatch, home):
    def no_user(_):
        raise KeyError("no such user")

    monkeypatch.delenv("SARDONYX_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # not to be used, says its specification
    monkeypatch.delenv("HOME", raising=False)
    if home is not None:
        monkeypatch.setenv("HOME", home)
    monkeypatch.setattr("pwd.getpwuid", no_user)
    monkeypatch.setattr(folders, "_warned", set())
    monkeypatch.chdir(tmp_path)
    storage._root.cache_clear()
    with pytest.warns(RuntimeWarning, match="no home folder"):
        assert storage.cache_folder() is None
    assert answers("a", "1", "2") == ["1", "2"]
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_warned_of(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SARDONYX_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(RuntimeWarning, match="nothing is cached"):
        assert storage.cache_folder() is None


def test_a_cache_others_can_write_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setenv("SARDONYX_CACHE", str(tmp_path))
    tmp_path.chmod(0o700)
    assert storage.cache_folder() == tmp_path
    tmp_path.chmod(0o702)
    with pytest.warns(RuntimeWarning, match="others may write"):
        assert storage.cache_folder() is None


def test_a_file_that_changed_just_now_has_no_state(tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    assert storage.state_of([tmp_path / "a"]) is None
    assert storage.state_of([tmp_path / "none"]) is None


def test_another_content_of_the_same_size_and_time_is_another_state(tmp_path, monkeypatch):
    path = tmp_path / "a"
    monkeypatch.setattr(storage, "_SETTLED_NS", -(10**18))
    path.write_bytes(b"1")
    os.utime(path, ns=(5, 5))
    before = storage.state_of([path])
    assert before == storage.state_of([path])
    path.write_bytes(b"2")
    os.utime(path, ns=(5, 5))
    assert before is not None
    assert storage.state_of([path]) != before


def test_a_cached_program_opens_without_llvm_and_onnx(tmp_path):
    import onnx
    from onnx import helper

    x, y = (helper.make_tensor_value_info(name, 1, [3, 40]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Softmax", ["x"], ["y"])], "g", [x], [y])
    model = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)])
    onnx.save(model, tmp_path / "m.onnx")
    code = (
        "import sys, numpy as np, sardonyx\n"
        "s = sardonyx.Session(sys.argv[1], threads=2)\n"
        "y, = s.run(None, {'x': np.ones((3, 40), np.float32)})\n"
        "assert np.allclose(y, 1 / 40)\n"
        "print(sorted({'onnx', 'onnx_ir', 'numba', 'llvmlite', 'rich'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "m.onnx")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    lines = [
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert "numba" in lines[0]
    assert lines[1].strip() == "[]"


def test_answers_of_other_versions_are_left_to_them(cache):
    """An older one takes a file of the first name for its own, whatever it holds."""
    import hashlib

    answers("a", "1")
    names = {path.name for path in (cache / "answers").iterdir()}
    assert hashlib.sha256(b"a").hexdigest()[:40] not in names
