"""Program: a model in the form that a device runs, and the artifact that holds it.

A program is plain data: integer tables, a blob of packed weights and the names needed for
errors and profiles. It holds no address; those are filled in when it is bound to actual sizes
(``binding.Binding``). Sizes are slots of a table that ``size_code.Code`` makes, so one
program serves every input shape. The columns of the tables are those of ``kernels.abi``.

Artifact layout: magic, length and CRC-32 of the header, header (JSON), then the tables and the
weights, each aligned to 64 bytes, with their CRC-32 in the header. Weights are memory-mapped.
"""

from __future__ import annotations

import json
import mmap
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InvalidModel
from ..kernels.ref import KernelRef
from ..kernels.storage import PRIVATE, remembered, state_of, write_atomically

MAGIC = b"sardonyx-program-2\n"
_ALIGN = 64


@dataclass
class TensorSpec:
    """Position of a value: buffer, and slots of byte offset, dims and strides (in elements)."""

    buffer: int
    offset: int
    dtype: str
    shape: list[int]
    strides: list[int]
    name: str = ""


@dataclass
class Port:
    """A graph input or output.

    ``dims`` are numbers, expressions in the names that the model gives, or None; ``symbols`` gives
    for each dimension of an input the index of the symbol it defines, or -1.
    """

    name: str
    dtype: str
    dims: list[int | str | None] | None
    tensor: int
    symbols: list[int] = field(default_factory=list)
    kind: str = "tensor"


@dataclass
class Step:
    """One kernel call: what it is, for profiles and errors; its record lies in ``words``."""

    kernel: int
    record: int
    name: str
    op_type: str
    nodes: list[str]
    outputs: list[int]
    layout: str
    flops: int
    bytes: int


@dataclass
class HostStep:
    """An operator run in Python between compiled stretches.

    ``inputs`` and ``outputs`` are tensors (or -1); ``captured`` maps names that subgraphs use
    to tensors; ``defines`` lists (output, axis, symbol) read off the results.
    """

    operator: bytes
    name: str
    op_type: str
    inputs: list[int]
    outputs: list[int]
    captured: dict[str, int]
    defines: list[tuple[int, int, int]]


@dataclass
class Stretch:
    """Steps ``first`` to ``last`` (exclusive), then host step ``host`` if there is one."""

    first: int
    last: int
    host: int = -1


@dataclass
class Check:
    """A condition on sizes: left == right, or left == 1 when ``broadcast``.

    It is tested once the sizes of its phase are known.
    """

    left: int
    right: int
    broadcast: bool
    message: str
    phase: int


@dataclass
class Program:
    """Everything needed to run a model on one kind of processor; see the module's text."""

    inputs: list[Port]
    outputs: list[Port]
    symbols: list[str]
    tensors: list[TensorSpec]
    kernels: list[KernelRef]
    steps: list[Step]
    host_steps: list[HostStep]
    stretches: list[Stretch]
    checks: list[Check]
    metadata: dict[str, Any]
    code: np.ndarray
    buffers: np.ndarray
    words: np.ndarray
    patches: np.ndarray
    weights: np.ndarray

    @property
    def operators(self) -> np.ndarray:
        """Operators of the host steps, one after the other."""
        return np.frombuffer(b"".join(host.operator for host in self.host_steps), np.uint8)

    @property
    def weight_bytes(self) -> int:
        """Bytes of packed weights."""
        return int(self.weights.nbytes)


_TABLES = ("code", "buffers", "words", "patches", "operators", "weights")
_LISTS: dict[str, Any] = {
    "inputs": Port,
    "outputs": Port,
    "tensors": TensorSpec,
    "steps": Step,
    "stretches": Stretch,
    "checks": Check,
}


def _pack_header(program: Program, key: str) -> dict[str, Any]:
    header: dict[str, Any] = {
        name: [list(vars(item).values()) for item in getattr(program, name)] for name in _LISTS
    }
    header["key"] = key
    header["symbols"] = program.symbols
    header["metadata"] = program.metadata
    header["kernels"] = [[k.module, k.function, list(k.parameters)] for k in program.kernels]
    header["host_steps"] = [
        {**asdict(host), "operator": len(host.operator)} for host in program.host_steps
    ]
    return header


def save_program(program: Program, path: Path, key: str, mode: int = PRIVATE) -> bool:
    """Write the artifact atomically; False when the disk refuses.

    Parameters
    ----------
    program : Program
    path : Path
    key : str
        What the program depends on (model, options, processor); compared when it is opened.
    mode : int
        Who may read and write the file, as far as the process's mask allows it.
    """
    header = _pack_header(program, key)
    sections = []
    offset = 0
    arrays = [np.ascontiguousarray(getattr(program, name)) for name in _TABLES]
    for array in arrays:
        checksum = zlib.crc32(array.reshape(-1).view(np.uint8).data)
        sections.append([str(array.dtype), list(array.shape), offset, array.nbytes, checksum])
        offset += -(-array.nbytes // _ALIGN) * _ALIGN
    header["sections"] = sections
    text = json.dumps(header, separators=(",", ":")).encode()
    return write_atomically(path, _artifact(text, arrays), mode)


def _artifact(text: bytes, arrays: list[np.ndarray]) -> Iterator[bytes | memoryview]:
    start = MAGIC + f"{len(text):016x} {zlib.crc32(text):08x}\n".encode() + text
    yield start + bytes(-len(start) % _ALIGN)
    for array in arrays:
        yield array.reshape(-1).view(np.uint8).data
        yield bytes(-array.nbytes % _ALIGN)


def is_artifact(path: Path) -> bool:
    """Tell whether a file begins like a program artifact."""
    try:
        with open(path, "rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def load_program(path: Path, key: str | None = None) -> Program:
    """Open an artifact; weights are memory-mapped read-only.

    Parameters
    ----------
    path : Path
    key : str, optional
        Refuse an artifact that was made for anything else.

    Raises
    ------
    InvalidModel
        The file is truncated, corrupted, or made for another model, version or processor.
    """
    try:
        with open(path, "rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        state = state_of([path])
        return _unpack(data, key, state and f"intact\n{state}")
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        if isinstance(error, InvalidModel):
            raise
        raise InvalidModel(f"{path}: not a readable program artifact ({error})") from error


def _unpack(data: mmap.mmap, key: str | None, question: str | None) -> Program:
    """Read the tables; weights are checked only if no answer to ``question`` is kept."""
    head = len(MAGIC) + 26
    if data[: len(MAGIC)] != MAGIC:
        raise InvalidModel("not a program artifact: the file begins differently")
    length, checksum = (int(part, 16) for part in data[len(MAGIC) : head].split())
    text = data[head : head + length]
    if len(text) != length or zlib.crc32(text) != checksum:
        raise InvalidModel("the program artifact is truncated or corrupted: its header is damaged")
    header = json.loads(text)
    if key is not None and header["key"] != key:
        raise InvalidModel(
            "the program artifact was made for another model, version or processor: "
            f"expected {key}, found {header['key']}"
        )
    start = -(-(head + length) // _ALIGN) * _ALIGN
    tables: dict[str, Any] = {}
    for name, section in zip(_TABLES, header["sections"], strict=True):
        dtype, shape, offset, size, checksum = section
        raw = memoryview(data)[start + offset : start + offset + size]
        damaged = f"the program artifact is truncated or corrupted: {name} is damaged"
        if len(raw) != size:
            raise InvalidModel(damaged)
        remembered(question if name == "weights" else None, partial(_check, raw, checksum, damaged))
        tables[name] = np.frombuffer(raw, dtype).reshape(shape)
    lists: dict[str, Any] = {
        name: [record(*item) for item in header[name]] for name, record in _LISTS.items()
    }
    operators = tables.pop("operators").tobytes()
    ends = np.cumsum([host["operator"] for host in header["host_steps"]]).tolist()
    hosts = [
        HostStep(**{**host, "operator": operators[end - host["operator"] : end]})
        for host, end in zip(header["host_steps"], ends, strict=True)
    ]
    kernels = [KernelRef(m, f, tuple(p)) for m, f, p in header["kernels"]]
    return Program(
        **lists,
        symbols=header["symbols"],
        kernels=kernels,
        host_steps=hosts,
        metadata=header["metadata"],
        **tables,
    )


def _check(raw: memoryview, checksum: int, damaged: str) -> str:
    """Compare with a checksum."""
    if zlib.crc32(raw) != checksum:
        raise InvalidModel(damaged)
    return "yes"
