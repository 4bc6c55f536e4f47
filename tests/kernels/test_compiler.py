"""Code is loaded only from objects that this user compiled, for the kernel that is asked for."""

from __future__ import annotations

import ast
import hashlib
import json
from pathlib import Path

import pytest
import sardonyx
from sardonyx.kernels import compiler, folders
from sardonyx.kernels.compiler import KernelRef, _name, _read_object

REF = KernelRef("kernels.cpu.words", "store_words")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Open the folder of kernels of a cache of its own, with the objects of two kernels."""
    monkeypatch.setenv("SARDONYX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(compiler, "_addresses", {})
    monkeypatch.setattr(compiler, "_compile", lambda ref: (str(ref), b"object of " + _code(ref)))
    monkeypatch.setattr(compiler, "_load", lambda codes: [hash(code.data) for code in codes])
    with compiler.kernel_folder() as folder:
        for ref in (REF, KernelRef("kernels.cpu.words", "other")):
            compiler.kernel_address(ref)
        yield folder


def _code(ref):
    return repr(ref).encode()


def file_of(folder, ref=REF):
    return folder.path / _name(ref)


def edited(data):
    """Object of other code, with the digests that one can make without the secret."""
    head = len(compiler._MAGIC)
    digest, body = data[head : head + folders.DIGEST_BYTES], data[head + folders.DIGEST_BYTES :]
    line, _, _ = body.partition(b"\n")
    other = json.dumps(json.loads(line)).encode() + b"\n\x0f\x0b"
    for each in (digest, hashlib.sha256(other).hexdigest().encode(), b"0" * len(digest), b""):
        yield compiler._MAGIC + each + other


def test_an_object_is_read_as_it_was_written(folder):
    code = _read_object(folder, _name(REF))
    assert code.data == b"object of " + _code(REF)


def test_an_object_that_was_edited_is_not_loaded(folder):
    path = file_of(folder)
    data = path.read_bytes()
    for other in (*edited(data), data[:-1], data[: len(data) // 2], b"", b"sardonyx-object-3\n"):
        path.write_bytes(other)
        assert _read_object(folder, _name(REF)) is None


def test_the_object_of_another_kernel_or_of_other_sources_is_not_loaded(folder, monkeypatch):
    other = file_of(folder, KernelRef("kernels.cpu.words", "other"))
    data = file_of(folder).read_bytes()
    file_of(folder).write_bytes(other.read_bytes())
    assert _read_object(folder, _name(REF)) is None
    file_of(folder).write_bytes(data)
    monkeypatch.setattr(compiler, "environment_key", lambda: "other")
    assert _read_object(folder, _name(REF)) is None


def test_an_object_of_another_cache_is_not_loaded(folder, tmp_path):
    (tmp_path / "cache" / "secret").unlink()
    with compiler.kernel_folder() as again:
        assert _read_object(again, _name(REF)) is None


def test_what_is_not_loaded_is_compiled_again(folder, monkeypatch):
    path = file_of(folder)
    data = path.read_bytes()
    path.write_bytes(b"")
    monkeypatch.setattr(compiler, "_addresses", {})
    assert compiler.kernel_address(REF) == hash(b"object of " + _code(REF))
    assert path.read_bytes() == data


def imported_by(path):
    """Modules at the top of the package that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            up = len(path.relative_to(Path(sardonyx.__file__).parent).parts) - node.level
            if up == 0:
                yield from [node.module] if node.module else [name.name for name in node.names]


def test_the_key_covers_all_modules_that_kernels_import():
    root = Path(sardonyx.__file__).parent
    waiting, found = list((root / "kernels").rglob("*.py")), set()
    while waiting:
        names = {f"{name.partition('.')[0]}.py" for name in imported_by(waiting.pop())}
        waiting += [root / name for name in names - found]
        found |= names
    assert {path.name for path in compiler.SOURCES[1:]} == found
    assert compiler.SOURCES[0] == root / "kernels"
