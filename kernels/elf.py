"""Load a kernel's machine code without LLVM, whose library alone takes 45 MB and 50 ms.

A kernel's object is ELF for x86-64 in the large code model: code and constants, hardly any
relocation. Nothing in it is written to at run time and no exception passes through it, so it lies
in one mapping that is sealed for execution. Whatever else an object needs is `Unsupported`, and
left to LLVM's own loader. Names and numbers after the System V ABI, AMD64 supplement.
"""

from __future__ import annotations

import ctypes
import mmap
import platform

import numpy as np

_MAGIC = b"\x7fELF\x02\x01"
_RELOCATABLE, _X86_64 = 1, 62
_NOBITS, _SYMTAB, _RELA = 8, 2, 4
_WRITE, _ALLOC = 1, 2
_COMMON = 0xFFF2
_R_64, _R_PC32, _R_PLT32, _R_PC64 = 1, 2, 4, 24
_ALIGN = 64

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


class Image:
    """An object in memory, ready to run for as long as this lives.

    Parameters
    ----------
    code : bytes
        A relocatable ELF object.

    Raises
    ------
    Unsupported
        It is for another processor, holds data, or refers to what cannot be found.
    """

    def __init__(self, code: bytes) -> None:
        header = np.frombuffer(code, "<u2", 8, 16) if len(code) > 64 else ()
        expected = (_RELOCATABLE, _X86_64)
        if code[:6] != _MAGIC or tuple(header[:2]) != expected or platform.machine() != "x86_64":
            raise Unsupported("not an object for this processor")
        start = int.from_bytes(code[40:48], "little")
        count = int.from_bytes(code[60:62], "little")
        self._code = code
        self._sections = np.frombuffer(code, _Section, count, start).tolist()
        self._place()
        self._read_symbols()
        self._relocate()
        sealed = mmap.PROT_READ | mmap.PROT_EXEC
        if _libc.mprotect(ctypes.c_void_p(self.base), ctypes.c_size_t(len(self._memory)), sealed):
            raise Unsupported("the system does not let memory be executed")

    def address(self, symbol: str) -> int:
        """Address of a function of the object."""
        return self._addresses[self._names.index(symbol.encode())]

    def _place(self) -> None:
        """Copy the sections into one mapping; ``_at`` says where each begins."""
        self._at: dict[int, int] = {}
        end = 0
        for index, (_, kind, flags, _, _, size, *_) in enumerate(self._sections):
            if not flags & _ALLOC:
                continue
            if flags & _WRITE or kind == _NOBITS:
                raise Unsupported("the object holds data")
            self._at[index] = end
            end += -(-size // _ALIGN) * _ALIGN
        # Globals of numba's that are never touched: eight bytes each.
        commons = end
        for table in self._tables(_SYMTAB, _Symbol):
            end += int(table["size"][table["section"] == _COMMON].sum())
        self._memory = mmap.mmap(-1, max(end, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.base = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._commons = self.base + commons
        for index, at in self._at.items():
            offset, size = self._sections[index][4:6]
            self._memory[at : at + size] = self._code[offset : offset + size]

    def _tables(self, kind: int, dtype: np.dtype) -> list[np.ndarray]:
        found = [section for section in self._sections if section[1] == kind]
        return [np.frombuffer(self._code, dtype, s[5] // dtype.itemsize, s[4]) for s in found]

    def _read_symbols(self) -> None:
        """Fill ``_names`` and ``_addresses``."""
        tables = [section for section in self._sections if section[1] == _SYMTAB]
        if len(tables) != 1:
            raise Unsupported("the object has no table of symbols")
        strings = self._sections[tables[0][6]]
        text = self._code[strings[4] : strings[4] + strings[5]]
        self._names: list[bytes] = []
        self._addresses: list[int] = []
        for name, _, _, section, value, size in self._tables(_SYMTAB, _Symbol)[0].tolist():
            self._names.append(text[name : text.index(b"\0", name)])
            if section == _COMMON:
                self._addresses.append(self._commons)
                self._commons += size
            elif section in self._at:
                self._addresses.append(self.base + self._at[section] + value)
            else:
                self._addresses.append(0)

    def _relocate(self) -> None:
        sections = [section for section in self._sections if section[1] == _RELA]
        for section, table in zip(sections, self._tables(_RELA, _Relocation), strict=True):
            if section[7] not in self._at:
                continue
            for offset, kind, symbol, addend in table.tolist():
                self._patch(self._at[section[7]] + offset, kind, self._target(symbol) + addend)

    def _target(self, symbol: int) -> int:
        if not self._addresses[symbol]:
            self._addresses[symbol] = _process_symbol(self._names[symbol].decode())
        return self._addresses[symbol]

    def _patch(self, place: int, kind: int, value: int) -> None:
        size = 4 if kind in (_R_PC32, _R_PLT32) else 8
        if kind not in (_R_64, _R_PC32, _R_PLT32, _R_PC64):
            raise Unsupported(f"relocation {kind}")
        relative = kind != _R_64
        if relative:
            value -= self.base + place
        try:
            self._memory[place : place + size] = value.to_bytes(size, "little", signed=relative)
        except OverflowError:
            raise Unsupported("a symbol is too far away") from None


def _process_symbol(name: str) -> int:
    """Address of a function of the C library, or of the interpreter."""
    try:
        return int(ctypes.cast(getattr(_libc, name), ctypes.c_void_p).value or 0)
    except AttributeError:
        raise Unsupported(f"{name} is not in this process") from None
