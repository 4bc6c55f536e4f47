"""Cache of kernels' ELF objects on disk, which are loaded without numba.

Objects are stored in the folder of ``storage`` and carry a digest of their key and contents that
is keyed by the folder's secret (``folders``); one that does not match is compiled again. The key
of an object covers everything its code depends on: the sources of the kernel package, of what it
imports and of the kernel's own module, the versions of numba and llvmlite, and the processor.
Neither is imported to load what is there (``elf``).
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.util
import json
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple

from ..forks import fork_lock
from . import elf, eviction
from .amx_permission import EMULATED, has_amx
from .folders import DIGEST_BYTES, Folder
from .ref import KernelRef
from .storage import opened_folder, remembered, state_of
from .target import target, version_text

if TYPE_CHECKING:
    from .machine_code import Assembly

_MAGIC = b"sardonyx-object-3\n"
_PACKAGE = Path(__file__).parent
OF_GPUS = _PACKAGE / "cuda"
"""Kernels that others compile: a folder that no kernel of the CPU depends on."""
SOURCES = (
    _PACKAGE,
    *(_PACKAGE.parent / f"{name}.py" for name in ("errors", "forks", "logs", "patches")),
)
"""What is run to compile a kernel: this folder, and the modules outside of it that it imports."""


def _python_files(folder: str | Path) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".py"):
                yield entry.path
            elif entry.name != "__pycache__" and entry.is_dir() and entry.path != str(OF_GPUS):
                yield from _python_files(entry.path)


def sources_digest(*places: Path) -> str:
    """Digest of Python files and of those below folders; they are read only if they changed.

    Kernels of GPUs belong to it if their folder is one of the places.
    """
    paths = sorted(
        str(path)
        for place in places
        for path in (_python_files(place) if place.suffix != ".py" else [place])
    )
    root = _PACKAGE.parent

    def digest() -> str:
        total = hashlib.sha256()
        for path in map(Path, paths):
            total.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
        return total.hexdigest()

    state = state_of(paths)
    return remembered(state and f"sources\n{state}", digest)


@functools.cache
def environment_key() -> str:
    """Digest of what every kernel depends on: package sources, versions, processor.

    Whoever loads code has asked for it, and so for the permission to run what uses AMX.
    """
    versions = [version_text(name) for name in ("numba", "llvmlite")]
    options = os.environ.get("NUMBA_OPT", "")
    unit = has_amx(), EMULATED
    parts = (sources_digest(*SOURCES), versions, target(), options, sys.version_info[:2], unit)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]


@functools.cache
def _module_key(module: str) -> bytes:
    root = __package__.rpartition(".")[0]
    spec = importlib.util.find_spec(f"{root}.{module}")
    assert spec is not None and spec.origin is not None
    return hashlib.sha256(Path(spec.origin).read_bytes()).digest()


def kernel_folder() -> Folder | None:
    """Open the folder of kernels of these sources, which is used from now on; None without one."""
    folder = opened_folder("kernels", environment_key())
    if folder is not None:
        _mark_used(folder.path)
    return folder


@functools.cache
def _mark_used(path: Path) -> None:
    eviction.mark_used(path)


def _name(ref: KernelRef) -> str:
    own = b"" if ref.module.startswith("kernels.") else _module_key(ref.module)
    return f"{hashlib.sha256(repr(ref).encode() + own).hexdigest()[:32]}.o"


class _Code(NamedTuple):
    """A kernel's code: flat, or the object and the symbol for LLVM to load."""

    flat: elf.Flat | None
    data: bytes = b""
    symbol: str = ""


def _read_object(folder: Folder, name: str) -> _Code | None:
    data = folder.read(name) or b""
    head = len(_MAGIC) + DIGEST_BYTES
    body = data[head:]
    if data[: len(_MAGIC)] != _MAGIC or not folder.is_digest(
        data[len(_MAGIC) : head], _key(name), body
    ):
        return None
    line, _, code = body.partition(b"\n")
    symbol, *layout = json.loads(line)
    return _Code(elf.Flat(code, *layout)) if layout else _Code(None, code, symbol)


def _write_object(folder: Folder, name: str, code: _Code) -> None:
    layout = () if code.flat is None else code.flat[1:]
    data = code.data if code.flat is None else code.flat.code
    body = json.dumps([code.symbol, *layout]).encode() + b"\n" + data
    folder.write(name, (_MAGIC, folder.digest(_key(name), body), body))


def _key(name: str) -> bytes:
    """All that an object's code depends on."""
    return f"{environment_key()} {name}".encode()


def _code_of(symbol: str, data: bytes) -> _Code:
    try:
        return _Code(elf.flatten(data, symbol))
    except elf.Unsupported:
        return _Code(None, data, symbol)


def _load(codes: Sequence[_Code]) -> list[int]:
    """Load kernels, all that are flat at once, for the life of the process; returns addresses."""
    flat = iter(elf.load([code.flat for code in codes if code.flat is not None]))
    return [next(flat) if code.flat else _load_by_llvm(code) for code in codes]


def _load_by_llvm(code: _Code) -> int:
    llvm = _llvm()
    # An engine for each object: numba numbers symbols within a process, so objects that
    # were compiled in different processes may hold different code under one name.
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    image = llvm.ObjectFileRef.from_data(code.data)
    engine.add_object_file(image)
    engine.finalize_object()
    elf.keep((engine, image))
    return int(engine.get_function_address(code.symbol))


@functools.cache
def _llvm() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


_addresses: dict[KernelRef, int] = {}


def load_cached(refs: Iterable[KernelRef]) -> list[KernelRef]:
    """Load the kernels that are in the cache; returns those that are not."""
    with fork_lock:
        new = [ref for ref in dict.fromkeys(refs) if ref not in _addresses]
        folder = kernel_folder() if new else None
        if folder is None:
            return new
        with folder:
            codes = [None if ref.is_local else _read_object(folder, _name(ref)) for ref in new]
        cached = [code for code in codes if code is not None]
        addresses = iter(_load(cached) if cached else [])
        missing = []
        for ref, code in zip(new, codes, strict=True):
            if code is None:
                missing.append(ref)
            else:
                _addresses[ref] = next(addresses)
        return missing


def assembled(text: str) -> bytes:
    """Compile LLVM assembly, which needs no optimization, to an object like numba's."""
    llvm = _llvm()
    machine = llvm.Target.from_default_triple().create_target_machine(codemodel="large", jit=True)
    module = llvm.parse_assembly(text)
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    return bytes(machine.emit_object(module))


def load_or_make(name: str, make: Callable[[], tuple[str, bytes]]) -> int:
    """Load an object of the cache; make it, and its file, when there is none."""
    folder = kernel_folder()
    if folder is None:
        return _load([_code_of(*make())])[0]
    with folder:
        code = _read_object(folder, name) or _made(folder, name, make)
    return _load([code])[0]


def _made(folder: Folder, name: str, make: Callable[[], tuple[str, bytes]]) -> _Code:
    with folder.making(name):
        code = _read_object(folder, name)  # perhaps another process has made it meanwhile
        if code is None:
            code = _code_of(*make())
            _write_object(folder, name, code)
        return code


def _compile(ref: KernelRef) -> tuple[str, bytes]:
    from .machine_code import machine_code

    assembly = _translated(ref)
    return assembly.symbol, machine_code(assembly)


def _translated(ref: KernelRef) -> Assembly:
    from .numba_compiler import assembly_of

    if not ref.is_local:
        return assembly_of(ref)
    try:
        return assembly_of(ref)
    except Exception as error:
        from .local_functions import refused

        raise refused(ref, error) from error


class Batch:
    """Kernels of which one is translated while another thread has LLVM compile those before.

    None is waited for until the batch is complete: a with statement. What is compiled is stored as
    soon as it is, and loaded at the end.
    """

    def __init__(self) -> None:
        self._codes: dict[KernelRef, _Code | None] = {}
        self._waiting: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> Batch:
        self._folder = kernel_folder()
        return self

    def add(self, ref: KernelRef, done: Callable[[], object]) -> None:
        """Translate a kernel and let it be compiled; call ``done`` when it is."""
        with fork_lock:
            folder = None if ref.is_local else self._folder
            code = None if folder is None else _read_object(folder, _name(ref))
            assembly = _translated(ref) if code is None else None
        self._codes[ref] = code
        if assembly is None:
            done()
            return

        def make() -> None:
            self._codes[ref] = _made_of(folder, ref, assembly)
            done()

        self._do(make)

    def _do(self, make: Callable[[], None]) -> None:
        try:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True)
                self._thread.start()
        except RuntimeError:  # no thread begins any more once the interpreter ends
            self._thread = None
            make()
            return
        self._waiting.put(make)

    def _work(self) -> None:
        for make in iter(self._waiting.get, None):
            try:
                if self._error is None:
                    make()
            except BaseException as error:
                self._error = error

    def __exit__(self, kind: type | None, error: BaseException | None, _: object) -> None:
        try:
            self._error = self._error or error
            self._waiting.put(None)
            if self._thread is not None:
                self._thread.join()
            if error is None and self._error is not None:
                raise self._error
            if error is None:
                codes = [code for code in self._codes.values() if code is not None]
                with fork_lock:
                    _addresses.update(zip(self._codes, _load(codes), strict=True))
        finally:
            if self._folder is not None:
                self._folder.close()


def _made_of(folder: Folder | None, ref: KernelRef, assembly: Assembly) -> _Code:
    from .machine_code import machine_code

    def make() -> tuple[str, bytes]:
        return assembly.symbol, machine_code(assembly)

    return _code_of(*make()) if folder is None else _made(folder, _name(ref), make)


def kernel_address(ref: KernelRef) -> int:
    """Return the address of a kernel's machine code, compiling it if nothing is cached.

    Parameters
    ----------
    ref : KernelRef
        Kernel to load.

    Returns
    -------
    int
        Address of ``int32 f(int64 *result, void **error, int64 args, int64 thread,
        int64 part, int64 until, int64 parts)``, numba's own calling convention.
    """
    if ref not in _addresses:
        with fork_lock:
            if ref not in _addresses:
                if ref.is_local:
                    _addresses[ref] = _load([_code_of(*_compile(ref))])[0]
                else:
                    _addresses[ref] = load_or_make(_name(ref), lambda: _compile(ref))
    return _addresses[ref]


_PROTOTYPE = ctypes.CFUNCTYPE(
    ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 5
)


def native_function(address: int) -> Callable[..., int]:
    """Wrap a kernel for calling from Python, as ``call(record, thread, part, until, parts)``.

    The GIL is released during the call.
    """
    function = _PROTOTYPE(address)
    scratch = threading.local()

    def call(args: int, thread: int = 0, part: int = 0, until: int = 1, parts: int = 1) -> int:
        try:
            result, error = scratch.pair
        except AttributeError:
            result, error = scratch.pair = (ctypes.c_int64(), ctypes.c_void_p())
        outputs = ctypes.addressof(result), ctypes.addressof(error)
        if function(*outputs, args, thread, part, until, parts):
            raise RuntimeError("compiled code raised; kernels must return an error code instead")
        return result.value

    return call
