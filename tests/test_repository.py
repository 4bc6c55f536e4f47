"""Files that a repository should not hold: large ones, and archives."""

import io
import shutil
import subprocess
import tarfile
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIMIT = 300_000
"""Bytes of a file."""

SUFFIXES = {
    ".7z", ".bz2", ".egg", ".gz", ".jar", ".lz4", ".rar", ".tar", ".tbz2", ".tgz", ".txz", ".whl",
    ".xz", ".zip", ".zst",
}  # fmt: skip
MAGIC = (
    (0, b"PK\x03\x04"),  # zip
    (0, b"PK\x05\x06"),  # an empty zip
    (0, b"\x1f\x8b"),  # gzip
    (0, b"BZh"),  # bzip2
    (0, b"\xfd7zXZ\x00"),
    (0, b"\x28\xb5\x2f\xfd"),  # zstd
    (0, b"7z\xbc\xaf\x27\x1c"),
    (0, b"Rar!\x1a\x07"),
    (257, b"ustar"),  # tar
)
# A file of arrays is a zip file, too.
ARRAYS = ".npz"


def is_ignored(path, patterns):
    return any(fnmatch(part, pattern) for part in path.parts for pattern in patterns)


def files(root):
    """Files that git tracks below a folder; where git tracks none, those that are not ignored."""
    try:
        done = subprocess.run(
            ["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=False
        )
        tracked = [root / name for name in done.stdout.split("\0") if name]
    except FileNotFoundError:
        tracked = []
    ignored = root / ".gitignore"
    lines = ignored.read_text().splitlines() if ignored.exists() else []
    patterns = [".git", *(line.strip("/") for line in lines)]
    present = tracked or [
        path for path in root.rglob("*") if not is_ignored(path.relative_to(root), patterns)
    ]
    return sorted(path for path in present if path.is_file() and not path.is_symlink())


def is_archive(path):
    if path.suffix.lower() in SUFFIXES:
        return True
    with path.open("rb") as file:
        start = file.read(300)
    return path.suffix != ARRAYS and any(start[at:].startswith(magic) for at, magic in MAGIC)


def refused(root):
    """Names of the files that do not belong into a repository, with the reason."""
    for path in files(root):
        name = path.relative_to(root).as_posix()
        if path.stat().st_size > LIMIT:
            yield f"{name}: {path.stat().st_size} bytes, more than {LIMIT}"
        elif is_archive(path):
            yield f"{name}: an archive"


def test_the_repository_holds_no_large_files_and_no_archives():
    assert list(refused(ROOT)) == []


def archive(kind):
    """Bytes of an archive with one file."""
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as file:
            file.writestr("a.txt", "text")
    else:
        with tarfile.open(fileobj=buffer, mode=kind) as file:
            file.addfile(tarfile.TarInfo("a.txt"))
    return buffer.getvalue()


@pytest.mark.parametrize("tracked", [True, False])
def test_large_files_and_archives_are_refused(tmp_path, tracked):
    if tracked and shutil.which("git") is None:
        pytest.skip("git is not installed")
    contents = {
        ".gitignore": b"build/\n",
        "build/ignored.zip": archive("zip"),
        "a/code.py": b"x = 1\n",
        "a/arrays.npz": archive("zip"),
        "a/large.bin": bytes(LIMIT + 1),
        "a/limit.bin": bytes(LIMIT),
        "compressed": archive("w:gz"),
        "disguised.txt": archive("zip"),
        "packed.dat": archive("w"),
        "wheel-1.0-py3-none-any.whl": b"",
    }
    for name, content in contents.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    if tracked:
        subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
        subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
        (tmp_path / "untracked.zip").write_bytes(archive("zip"))
    assert list(refused(tmp_path)) == [
        f"a/large.bin: {LIMIT + 1} bytes, more than {LIMIT}",
        "compressed: an archive",
        "disguised.txt: an archive",
        "packed.dat: an archive",
        "wheel-1.0-py3-none-any.whl: an archive",
    ]
