"""File of the cache that holds a program.

Kernels believe what a program says, so one is only read from a private folder, where it carries a
digest that is keyed by the folder's secret (``kernels.folders``); others get a model
(``artifact``). Layout: magic, length of the header, digest of key and header, header (JSON), then
the tables and the weights, each aligned to 64 bytes, with their SHA-256 in the header. Bodies, and
the operators of host steps, are tables, too: they lie one after the other. Weights are
memory-mapped.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np

from ..errors import InvalidModel
from ..kernels.folders import DIGEST_BYTES, Folder, mapped
from ..kernels.ref import KernelRef
from ..kernels.storage import remembered, state_of
from .program import Cache, Check, HostStep, Port, Program, Reading, Step, Stretch, TensorSpec

_MAGIC = b"sardonyx-program-5\n"
_HEAD = re.compile(_MAGIC + rb"(?P<length>[0-9a-f]{16})(?P<digest>[0-9a-f]{64})")
_HEAD_BYTES = len(_MAGIC) + 16 + DIGEST_BYTES
_ALIGN = 64

_TABLES = ("code", "buffers", "words", "patches", "operators", "nested", "weights")
_NUMBERS = ("invariant_steps", "kept_buffers")
_LISTS: dict[str, Any] = {
    "inputs": Port,
    "outputs": Port,
    "tensors": TensorSpec,
    "steps": Step,
    "stretches": Stretch,
    "readings": Reading,
    "caches": Cache,
    "checks": Check,
}


def _pack_header(program: Program) -> dict[str, Any]:
    header: dict[str, Any] = {
        name: [[getattr(item, key) for key in record.__slots__] for item in getattr(program, name)]
        for name, record in _LISTS.items()
    }
    for name in _NUMBERS:
        header[name] = getattr(program, name)
    header["symbols"] = program.symbols
    header["metadata"] = program.metadata
    header["kernels"] = [[k.module, k.function, list(k.parameters)] for k in program.kernels]
    header["host_steps"] = [
        {**asdict(host), "operator": len(host.operator)} for host in program.host_steps
    ]
    return header


def save_program(program: Program, folder: Folder, name: str, key: str) -> Program | None:
    """Write a program atomically.

    Parameters
    ----------
    program : Program
    folder : Folder
    name : str
        Of the file.
    key : str
        What the program depends on (model, options, processor); needed to open it.

    Returns
    -------
    Program or None
        The program with the weights of the file, memory-mapped; None when the disk refuses.
    """
    text, arrays = _pack(program)
    start = _start(text, folder.digest(key.encode(), text))
    if not folder.write(name, _pieces(start, arrays)):
        return None
    first = len(start) + sum(_aligned(array.nbytes) for array in arrays[:-1])
    return _sharing(program, folder, name, start[:_HEAD_BYTES], first)


def _pack(program: Program) -> tuple[bytes, list[np.ndarray]]:
    """Return the header of a program, and its tables."""
    header = _pack_header(program)
    sections: list[list[Any]] = []
    offset = 0
    nested = b"".join(map(_packed, program.bodies))
    operators = b"".join(host.operator for host in program.host_steps)
    joined = {"nested": nested, "operators": operators}
    arrays = [
        np.frombuffer(joined[name], np.uint8)
        if name in joined
        else np.ascontiguousarray(getattr(program, name))
        for name in _TABLES
    ]
    for array in arrays:
        checksum = hashlib.sha256(_bytes_of(array)).hexdigest()
        sections.append([str(array.dtype), list(array.shape), offset, array.nbytes, checksum])
        offset += _aligned(array.nbytes)
    header["sections"] = sections
    return json.dumps(header, separators=(",", ":")).encode(), arrays


def _packed(program: Program) -> bytes:
    """Return a body as bytes; what holds it has the digest."""
    text, arrays = _pack(program)
    return b"".join(_pieces(_start(text, b"0" * DIGEST_BYTES), arrays))


def _unpacked(data: memoryview) -> Iterator[Program]:
    """Yield the bodies that are stored one after the other."""
    while len(data):
        head = _HEAD.fullmatch(data[:_HEAD_BYTES])
        if head is None:
            raise InvalidModel("a body of the program is damaged")
        end = _HEAD_BYTES + int(head["length"], 16)
        header = json.loads(bytes(data[_HEAD_BYTES:end]))
        start = _aligned(end)
        yield _unpack(data, header, start, None)
        *_, (_, _, offset, size, _) = header["sections"]
        data = data[start + offset + _aligned(size) :]


def _aligned(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def _start(text: bytes, digest: bytes) -> bytes:
    """Return what comes before the tables."""
    start = _MAGIC + b"%016x" % len(text) + digest + text
    return start + bytes(-len(start) % _ALIGN)


def _sharing(program: Program, folder: Folder, name: str, head: bytes, first: int) -> Program:
    """Return a program with the weights of its file, which begin at a byte.

    It is the program as it is where the file is another one already.
    """
    try:
        data = mapped(folder.open(name))
    except (OSError, ValueError):
        return program
    if data[: len(head)] != head:
        return program
    weights = np.frombuffer(data, np.uint8)[first : first + program.weights.nbytes]
    return replace(program, weights=weights)


def _pieces(start: bytes, arrays: list[np.ndarray]) -> Iterator[bytes | memoryview]:
    yield start
    for array in arrays:
        yield _bytes_of(array)
        yield bytes(-array.nbytes % _ALIGN)


def _bytes_of(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def load_program(folder: Folder, name: str, key: str) -> Program:
    """Open a program; weights are memory-mapped read-only.

    Parameters
    ----------
    folder : Folder
    name : str
        Of the file.
    key : str
        What it was written with.

    Raises
    ------
    InvalidModel
        There is no such file, it is damaged, was written with another key, or by somebody who does
        not know the folder's secret.
    """
    try:
        handle = folder.open(name)
        state = state_of([handle])
        data = mapped(handle)
    except (OSError, ValueError) as error:
        raise InvalidModel(f"{folder.path / name} is no program: {error}") from error
    head = _HEAD.fullmatch(data[:_HEAD_BYTES])
    end = _HEAD_BYTES + (int(head["length"], 16) if head else 0)
    text = data[_HEAD_BYTES:end]
    if head is None or not folder.is_digest(head["digest"], key.encode(), text):
        raise InvalidModel(f"{folder.path / name} is damaged, or a program of something else")
    return _unpack(data, json.loads(text), _aligned(end), state)


def _unpack(
    data: mmap.mmap | memoryview, header: dict[str, Any], start: int, state: str | None
) -> Program:
    """Read the tables; weights are digested only if no answer for the file's state is kept."""
    tables: dict[str, Any] = {}
    for name, section in zip(_TABLES, header["sections"], strict=True):
        dtype, shape, offset, size, checksum = section
        raw = memoryview(data)[start + offset : start + offset + size]
        question = state and f"intact\n{state}\n{checksum}" if name == "weights" else None
        remembered(question, partial(_check, raw, checksum, name))
        tables[name] = np.frombuffer(raw, dtype).reshape(shape)
    lists: dict[str, Any] = {
        name: [record(*item) for item in header[name]] for name, record in _LISTS.items()
    }
    operators, bodies = tables.pop("operators").tobytes(), tables.pop("nested")
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
        bodies=list(_unpacked(bodies.data)),
        **{name: header[name] for name in _NUMBERS},
        **tables,
    )


def _check(raw: memoryview, checksum: str, name: str) -> str:
    """Compare with a checksum."""
    if hashlib.sha256(raw).hexdigest() != checksum:
        raise InvalidModel(f"the program's {name} are damaged")
    return "yes"
