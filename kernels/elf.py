"""Loader of kernels' machine code without LLVM, whose library alone takes 45 MB and 50 ms.

A kernel's object is ELF for x86-64 in the large code model: code and constants, few
relocations. Nothing in it is written to at run time and no exception passes through it. When it is
compiled it is flattened to what has to be in memory and a list of the words that depend on where
that is; so loading means to copy many kernels into one mapping, add its address to those words,
and seal it for execution. Whatever else an object needs is `Unsupported`, and is left to LLVM's own
loader. Names and numbers after the System V ABI, AMD64 supplement.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_MAGIC = b"\x7fELF\x02\x01"
_RELOCATABLE, _X86_64 = 1, 62
_NOBITS, _SYMTAB, _RELA = 8, 2, 4
_WRITE, _ALLOC = 1, 2
_COMMON = 0xFFF2
_R_64, _R_PC32, _R_PLT32, _R_PC64 = 1, 2, 4, 24
_ALIGN = 64
_WORD = 8

_Section = np.dtype(
    [("name", "u4"), ("type", "u4"), ("flags", "u8"), ("address", "u8"), ("offset", "u8"),
     ("size", "u8"), ("link", "u4"), ("info", "u4"), ("align", "u8"), ("entry", "u8")]
)  # fmt: skip
_Symbol = np.dtype(
    [("name", "u4"), ("info", "u1"), ("other", "u1"), ("section", "u2"), ("value", "u8"),
     ("size", "u8")]
)  # fmt: skip
_Relocation = np.dtype([("offset", "u8"), ("type", "u4"), ("symbol", "u4"), ("addend", "i8")])

_libc = ctypes.CDLL(None)


class Unsupported(Exception):
    """The object needs something this loader does not do."""


class Flat(NamedTuple):
    """A kernel as it lies in memory.

    Attributes
    ----------
    code
        Its bytes; words named below hold what is to be added to an address.
    entry
        Where its function begins.
    inner
        Offsets of words that take the address of the kernel itself.
    outer
        Offsets of words that take the address of a function of this process, and its name.
    """

    code: bytes
    entry: int
    inner: Sequence[int]
    outer: Sequence[tuple[int, str]]


def flatten(code: bytes, symbol: str) -> Flat:
    """Flatten a relocatable ELF object to the function ``symbol`` and all it needs.

    Raises
    ------
    Unsupported
        It is for another processor, holds data, or refers to an unknown symbol.
    """
    return _Object(code).flat(symbol)


def keep(item: object) -> None:
    """Let an object live as long as the process, also while the interpreter takes itself apart.

    Threads may still be in code then, which the interpreter does not wait for.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(item))


def load(kernels: Sequence[Flat]) -> list[int]:
    """Put kernels into one mapping, which stays; returns the addresses of their functions.

    Raises
    ------
    Unsupported
        The system does not let memory be executed, or lacks a function.
    """
    starts, end = [], 0
    for kernel in kernels:
        starts.append(end)
        end += -(-len(kernel.code) // _ALIGN) * _ALIGN
    memory = mmap.mmap(-1, max(end, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    offsets, addresses = [], []
    for start, kernel in zip(starts, kernels, strict=True):
        memory[start : start + len(kernel.code)] = kernel.code
        offsets += [start + offset for offset in kernel.inner]
        addresses += [base + start] * len(kernel.inner)
        offsets += [start + offset for offset, _ in kernel.outer]
        addresses += [_process_symbol(name) for _, name in kernel.outer]
    _add(memory, offsets, addresses)
    sealed = mmap.PROT_READ | mmap.PROT_EXEC
    if _libc.mprotect(ctypes.c_void_p(base), ctypes.c_size_t(len(memory)), sealed):
        raise Unsupported("the system does not let memory be executed")
    keep(memory)
    return [base + s + kernel.entry for s, kernel in zip(starts, kernels, strict=True)]


def _add(memory: mmap.mmap, offsets: list[int], addresses: list[int]) -> None:
    """Add addresses to the words at some offsets, which may lie anywhere."""
    indices = np.array(offsets, np.int64)[:, None] + np.arange(_WORD)
    code = np.frombuffer(memory, np.uint8)
    words = code[indices].view("<u8")[:, 0] + np.array(addresses, "<u8")
    code[indices] = words[:, None].view(np.uint8)


def _process_symbol(name: str) -> int:
    """Address of a function of the C library, or of the interpreter."""
    try:
        return int(ctypes.cast(getattr(_libc, name), ctypes.c_void_p).value or 0)
    except AttributeError:
        raise Unsupported(f"{name} is not in this process") from None


class _Object:
    """A relocatable object whose sections have been laid out."""

    def __init__(self, code: bytes) -> None:
        header = np.frombuffer(code, "<u2", 8, 16) if len(code) > 64 else ()
        expected = (_RELOCATABLE, _X86_64)
        if code[:6] != _MAGIC or tuple(header[:2]) != expected or platform.machine() != "x86_64":
            raise Unsupported("not an object for this processor")
        start = int.from_bytes(code[40:48], "little")
        count = int.from_bytes(code[60:62], "little")
        self._code = code
        self._sections = np.frombuffer(code, _Section, count, start).tolist()
        self._memory = bytearray()
        self._lay_out()
        self._read_symbols()

    def flat(self, symbol: str) -> Flat:
        """Apply what does not depend on the address, and list what does."""
        inner: list[int] = []
        outer: list[tuple[int, str]] = []
        sections = [section for section in self._sections if section[1] == _RELA]
        for section, table in zip(sections, self._tables(_RELA, _Relocation), strict=True):
            if section[7] not in self._at:
                continue
            for offset, kind, index, addend in table.tolist():
                position, target = self._at[section[7]] + offset, self._targets[index]
                if kind not in (_R_64, _R_PC32, _R_PLT32, _R_PC64):
                    raise Unsupported(f"relocation {kind}")
                if target is None:
                    _process_symbol(self._names[index])
                    if kind != _R_64:
                        raise Unsupported(f"{self._names[index]} may be too far away")
                    outer.append((position, self._names[index]))
                    self._write(position, _WORD, addend)
                elif kind == _R_64:
                    inner.append(position)
                    self._write(position, _WORD, target + addend)
                else:
                    self._write(position, 8 if kind == _R_PC64 else 4, target + addend - position)
        entry = self._targets[self._names.index(symbol)]
        assert entry is not None
        return Flat(bytes(self._memory), entry, inner, outer)

    def _write(self, position: int, size: int, value: int) -> None:
        self._memory[position : position + size] = value.to_bytes(size, "little", signed=True)

    def _lay_out(self) -> None:
        """Copy the sections one after the other; ``_at`` says where each begins."""
        self._at: dict[int, int] = {}
        for index, (_, kind, flags, _, offset, size, *_) in enumerate(self._sections):
            if not flags & _ALLOC:
                continue
            if flags & _WRITE or kind == _NOBITS:
                raise Unsupported("the object holds data")
            self._at[index] = len(self._memory)
            self._memory += self._code[offset : offset + size]
            self._memory += bytes(-len(self._memory) % _ALIGN)

    def _tables(self, kind: int, dtype: np.dtype) -> list[np.ndarray]:
        sections = [section for section in self._sections if section[1] == kind]
        return [np.frombuffer(self._code, dtype, s[5] // dtype.itemsize, s[4]) for s in sections]

    def _read_symbols(self) -> None:
        """Fill ``_names`` and ``_targets``; the latter are None outside of the object."""
        tables = [section for section in self._sections if section[1] == _SYMTAB]
        if len(tables) != 1:
            raise Unsupported("the object has no table of symbols")
        strings = self._sections[tables[0][6]]
        text = self._code[strings[4] : strings[4] + strings[5]]
        self._names: list[str] = []
        self._targets: list[int | None] = []
        for name, _, _, section, value, size in self._tables(_SYMTAB, _Symbol)[0].tolist():
            self._names.append(text[name : text.index(b"\0", name)].decode())
            if section == _COMMON:  # globals of numba's that are never touched: eight bytes each
                self._targets.append(len(self._memory))
                self._memory += bytes(size)
            else:
                inside = section in self._at
                self._targets.append(self._at[section] + value if inside else None)
